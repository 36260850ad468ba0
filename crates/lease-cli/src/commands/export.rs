//! `lease export`: a trained network for other programs.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use lease::Error;
use lease::export::{Inside, onnx, pytorch};
use lease::run::RunError;
use lease::run::files::write_atomically;
use lease::training::Trained;

use crate::Ended;
use crate::terminal;

/// Write a trained network as an ONNX file, or as a PyTorch module with its weights.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that `lease train` left, or a run folder of `lease run`
    #[arg(value_name = "TRAINED")]
    trained: PathBuf,
    /// Form
    #[arg(long, value_enum)]
    to: Form,
    /// Where it goes: the ONNX file, or a folder for network.py and weights.safetensors [default: network.onnx or pytorch/ in
    /// the training's folder]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Leave the normalisation out of the ONNX file, which then takes normalised images instead of pixels from 0 to 1
    #[arg(long)]
    no_normalisation: bool,
    /// Leave the softmax out of the ONNX file, which then gives logits instead of probabilities
    #[arg(long)]
    no_softmax: bool,
    /// Write over other files of these names
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// ONNX, opset 17
    Onnx,
    /// A module of Python that needs torch and safetensors, and its weights
    Pytorch,
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let trained = Trained::load(&arguments.trained, "cpu")?;
    let out = |name: &str| {
        let given = arguments.out.clone();
        given.unwrap_or_else(|| trained.folder.join(name))
    };
    let inside = Inside {
        normalisation: !arguments.no_normalisation,
        softmax: !arguments.no_softmax,
    };
    if arguments.to == Form::Pytorch && inside != Inside::default() {
        return Err(Error::Usage(
            "the PyTorch module has normalisation and softmax beside the network; leave out --no-normalisation and \
             --no-softmax"
                .into(),
        ));
    }
    let files = match arguments.to {
        Form::Onnx => {
            let path = out("network.onnx");
            if path.is_dir() {
                let told = format!("{} is a folder; name the file: --out FILE", path.display());
                return Err(Error::Usage(told));
            }
            vec![(path, onnx::onnx(&trained, inside)?)]
        }
        Form::Pytorch => {
            let folder = out("pytorch");
            let files = pytorch::pytorch(&trained)?;
            vec![
                (folder.join(pytorch::MODULE), files.module.into_bytes()),
                (folder.join(pytorch::WEIGHTS), files.weights),
            ]
        }
    };
    // Nothing is written where something else is in the way.
    for (path, bytes) in &files {
        let other = std::fs::read(path).is_ok_and(|there| there != *bytes);
        if other && !arguments.force {
            let told = format!(
                "{} is there already and is another; choose another --out, or write over it by --force",
                path.display()
            );
            return Err(Error::Usage(told));
        }
    }
    for (path, bytes) in &files {
        write(path, bytes)?;
        terminal::result(path.display());
    }
    Ok(Ended::Well)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| write_atomically(path, bytes))
        .map_err(|source| RunError::Io {
            action: "write",
            path: path.into(),
            source,
        })
}
