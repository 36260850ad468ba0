//! `lease train`: train a derived network from scratch.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lease::Error;
use lease::config::Config;
use lease::data::Dataset;
use lease::rng::{Purpose, stream};
use lease::run::RunFolder;
use lease::space::Genotype;
use lease::training::{Outcome, TrainResult, Training};

use crate::Ended;
use crate::console::{Console, stop_on_interrupt};
use crate::settings::Settings;

/// Train a derived network from scratch and report its test error. The same command goes on with a
/// training that was interrupted.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, a file with a genotype (JSON or the space's notation), the notation itself, or random:SEED
    #[arg(value_name = "RUN|GENOTYPE")]
    source: String,
    /// Where the training's folder goes [default: train/ in the run folder, else a folder in runs/]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let (config, genotype, folder) = resolve(&arguments)?;
    let dataset = Dataset::load(&config.data)?;
    let folder = arguments.out.unwrap_or(folder);
    let stop = stop_on_interrupt();
    match train(config, genotype, dataset, &folder, &stop)? {
        Some(result) => {
            report(&result);
            println!("Folder: {}", folder.display());
            Ok(Ended::Well)
        }
        None => {
            eprintln!("Stopped with a checkpoint. The same command goes on.");
            Ok(Ended::Stopped)
        }
    }
}

/// Configuration, genotype and the default folder.
fn resolve(arguments: &Arguments) -> Result<(Config, Genotype, PathBuf), Error> {
    let source = arguments.source.as_str();
    let path = Path::new(source);
    if path.is_dir() {
        let (_, run_config) = RunFolder::existing(path)?;
        let file = path.join("genotype.json");
        if !file.is_file() {
            return Err(Error::Usage(
                "this run has no genotype.json yet, so its search is not finished; \
                 go on with it by `lease search --resume`",
            ));
        }
        let config = run_config.overlaid(
            arguments.settings.file.as_deref(),
            &arguments.settings.flags,
        )?;
        return Ok((config, read_genotype(&file)?, path.join("train")));
    }
    let config = arguments.settings.resolve()?;
    let seed = config.search.seed;
    if let Some(text) = source.strip_prefix("random:") {
        let number: u64 = text
            .parse()
            .map_err(|_| Error::Usage("random: needs a seed, as in random:7"))?;
        let folder = format!("runs/train-random{number}-seed{seed}");
        return Ok((config.clone(), random(&config, number), folder.into()));
    }
    let (genotype, name) = if path.is_file() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        (read_genotype(path)?, stem.into_owned())
    } else if source.contains(['(', '{', '|']) {
        (Genotype::parse(source)?, "genotype".into())
    } else {
        return Err(Error::Usage(
            "the first argument is no folder, no file, and no genotype in a space's notation",
        ));
    };
    Ok((
        config,
        genotype,
        format!("runs/train-{name}-seed{seed}").into(),
    ))
}

/// A genotype from a file.
pub fn read_genotype(path: &Path) -> Result<Genotype, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::GenotypeFile {
        path: path.into(),
        reason: source.to_string(),
    })?;
    Genotype::parse(&text).map_err(|e| Error::GenotypeFile {
        path: path.into(),
        reason: e.to_string(),
    })
}

/// A random architecture of the space with the configured number of nodes.
pub fn random(config: &Config, seed: u64) -> Genotype {
    let mut rng = stream(seed, Purpose::RandomGenotype, 0);
    config.explainer.random(&mut rng)
}

/// Trains, or goes on training, in a folder; nothing if it was stopped.
pub fn train(
    config: Config,
    genotype: Genotype,
    dataset: Dataset,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Option<TrainResult>, Error> {
    let outcome = lease::device::with_threads(config.search.threads, || {
        Training::new(config, genotype, dataset, folder)?.run(&mut Console::new(), stop)
    })??;
    Ok(match outcome {
        Outcome::Finished(result) => Some(result),
        Outcome::Stopped => None,
    })
}

/// What came out.
fn report(result: &TrainResult) {
    println!(
        "Test accuracy {:.2} % (error {:.2} %) on {} images; {} parameters, {} epochs, seed {}",
        100.0 * result.test_accuracy,
        100.0 * (1.0 - result.test_accuracy),
        result.test_images,
        result.parameters,
        result.epochs,
        result.seed
    );
}
