//! What is left in a folder: pictures, tensors, and all numbers.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::Explained;
use super::numbers::Measures;
use super::picture::{picture, sheet};
use super::settings::ExplainConfig;
use super::subject::Subject;
use crate::config::Composite;
use crate::run::RunError;
use crate::run::files::write_atomically;

/// All numbers, the sheet of pictures, the tensors, and the folder of single pictures.
pub const FILES: [&str; 4] = [
    "explanations.json",
    "sheet.png",
    "explanations.safetensors",
    "images",
];

/// The version of `explanations.json`'s contents.
const FORMAT: u32 = 1;

/// What is written.
pub struct Written<'a> {
    /// The network.
    pub subject: &'a Subject,
    /// The explanations.
    pub explained: &'a Explained,
    /// What they are worth, where that was asked.
    pub measures: Option<&'a Measures>,
    /// The settings.
    pub config: &'a ExplainConfig,
}

impl Written<'_> {
    /// All numbers: `explanations.json`.
    pub fn json(&self) -> Value {
        let (subject, explained) = (self.subject, self.explained);
        let chosen = &explained.chosen;
        let m = &self.config.method;
        let images: Vec<Value> = (0..explained.count()).map(|i| self.image(i)).collect();
        json!({
            "format": FORMAT,
            "lease": env!("CARGO_PKG_VERSION"),
            "network": {
                "kind": subject.kind.name(),
                "folder": subject.folder,
                "step": subject.step,
                "classes": subject.classes,
                "image": subject.image,
            },
            "explained": { "from": chosen.from, "count": explained.count(), "of": chosen.of },
            "attack": {
                "epsilon": m.epsilon, "epsilon_unit": m.epsilon_unit, "attack_step": m.attack_step,
                "attack_scale": m.attack_scale, "attack_steps": m.attack_steps, "signed_attack": m.signed_attack,
                "epsilon_normalised": m.attack(&subject.normalisation).epsilon,
            },
            "settings": self.config.table(),
            "predictions": explained.predictions(),
            "measures": self.measures.map(|m| &m.measures),
            "randomisation": self.measures.map(|m| &m.checks),
            "curves": self.measures.map(|m| &m.curves),
            "images": images,
        })
    }

    /// What is said of one image.
    fn image(&self, number: usize) -> Value {
        let explained = self.explained;
        let class = |c: usize| &self.subject.classes[c];
        let [before, after] = explained.probability(number);
        let labels = explained.chosen.labels.as_ref();
        let drawn = number < self.config.explain.pictures;
        json!({
            "name": explained.chosen.names[number],
            "label": labels.map(|labels| class(labels[number])),
            "predicted": class(explained.predicted[number]),
            "probability": before,
            "perturbed_predicted": class(explained.perturbed_predicted[number]),
            "perturbed_probability": after,
            "picture": drawn.then(|| place(number)),
        })
    }

    /// Images, δ, probabilities, predictions and what is known of the images, as safetensors.
    fn tensors(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let (subject, explained) = (self.subject, self.explained);
        let [c, h, w] = subject.image;
        let (n, classes) = (explained.count(), subject.classes.len());
        let floats = |values: &[f32]| bytes(values.iter().map(|v| v.to_le_bytes()));
        let whole = |values: &[usize]| bytes(values.iter().map(|v| (*v as i64).to_le_bytes()));
        let chosen = &explained.chosen;
        let mut all = vec![
            (
                "images",
                Dtype::F32,
                vec![n, c, h, w],
                floats(&chosen.images.values),
            ),
            (
                "delta",
                Dtype::F32,
                vec![n, c, h, w],
                floats(&explained.delta.values),
            ),
            (
                "probabilities",
                Dtype::F32,
                vec![n, classes],
                floats(&explained.clean),
            ),
            (
                "perturbed_probabilities",
                Dtype::F32,
                vec![n, classes],
                floats(&explained.perturbed),
            ),
            (
                "predictions",
                Dtype::I64,
                vec![n],
                whole(&explained.predicted),
            ),
        ];
        if let Some(labels) = &chosen.labels {
            all.push(("labels", Dtype::I64, vec![n], whole(labels)));
        }
        if let Some(masks) = &chosen.masks {
            let ones = masks.iter().map(|m| u8::from(*m)).collect();
            all.push(("relevant", Dtype::U8, vec![n, h, w], ones));
        }
        let views = all.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            view.map(|view| (*name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let normalisation = &subject.normalisation;
        // One entry: several come in any order, and the same command writes the same bytes.
        let about = json!({
            "classes": subject.classes, "mean": normalisation.mean, "std": normalisation.std,
        });
        let metadata = HashMap::from([("lease".to_string(), about.to_string())]);
        safetensors::serialize(views, Some(metadata))
    }
}

fn bytes<const N: usize>(numbers: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    numbers.flatten().collect()
}

/// Where the picture of an image is in the folder.
fn place(number: usize) -> String {
    format!("images/{:04}.png", number + 1)
}

/// Whether explanations can be written into a folder: one that is empty, not there, or has earlier ones.
///
/// # Errors
/// If it has other files.
pub fn free(folder: &Path) -> Result<(), RunError> {
    use crate::run::files::contents;
    let all = contents(folder).map_err(|source| RunError::Io {
        action: "read",
        path: folder.into(),
        source,
    })?;
    let ours = |name: &str| FILES.contains(&name) || name.starts_with("audience");
    let foreign: Vec<String> = all
        .iter()
        .map(|path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !ours(name))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(RunError::Occupied {
        path: folder.into(),
        kind: "explanations",
        files: foreign.into_iter().take(4).collect::<Vec<_>>().join(", "),
    })
}

/// Writes everything; `explanations.json` last, which says that the rest is there.
///
/// # Errors
/// As the file system reports.
pub fn write(folder: &Path, written: &Written) -> Result<(), RunError> {
    let pictures = written
        .config
        .explain
        .pictures
        .min(written.explained.count());
    let images = folder.join("images");
    // Those of earlier explanations, which may have been more.
    if images.is_dir() {
        io("remove", &images, std::fs::remove_dir_all(&images))?;
    }
    io("create", &images, std::fs::create_dir_all(&images))?;
    let mut drawn = Vec::new();
    for number in 0..pictures {
        let picture = picture(written.subject, written.explained, number);
        png(&folder.join(place(number)), &picture)?;
        drawn.push(picture);
    }
    if !drawn.is_empty() {
        png(&folder.join("sheet.png"), &sheet(&drawn))?;
    }
    let path = folder.join("explanations.safetensors");
    let tensors = written.tensors().map_err(std::io::Error::other);
    let tensors = io("write", &path, tensors)?;
    io("write", &path, write_atomically(&path, &tensors))?;
    let path = folder.join("explanations.json");
    let json = serde_json::to_vec_pretty(&written.json()).map_err(std::io::Error::other);
    let mut json = io("write", &path, json)?;
    json.push(b'\n');
    io("write", &path, write_atomically(&path, &json))
}

fn png(path: &Path, image: &RgbImage) -> Result<(), RunError> {
    let mut bytes = Cursor::new(Vec::new());
    let made = image.write_to(&mut bytes, ImageFormat::Png);
    io("write", path, made.map_err(std::io::Error::other))?;
    io("write", path, write_atomically(path, bytes.get_ref()))
}

fn io<T>(action: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, RunError> {
    result.map_err(|source| RunError::Io {
        action,
        path: path.into(),
        source,
    })
}
