//! The images that are explained: some of a data set, or those of a folder.

use std::path::{Path, PathBuf};

use super::settings::{ExplainConfig, Part};
use super::subject::{Planes, Subject};
use crate::config::ImageSize;
use crate::data::{DataError, Dataset, Reading};
use crate::rng::{Purpose, permutation, stream};
use crate::run::files::contents;

/// Images that are explained.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The images, normalised as the network takes them.
    pub images: Planes,
    /// What each is called: its place in the data set, or its file.
    pub names: Vec<String>,
    /// The class of each, where it is known.
    pub labels: Option<Vec<usize>>,
    /// Which pixels of each matter, `[count, h, w]`, where that is known.
    pub masks: Option<Vec<bool>>,
    /// Where they are from, as people read it.
    pub from: String,
    /// How many there are to choose from.
    pub of: usize,
}

impl Chosen {
    /// Images of a data set, drawn at random by the seed.
    ///
    /// # Errors
    /// If the data set's images or classes are not those that the network was made for.
    pub fn of_dataset(
        subject: &Subject,
        dataset: &Dataset,
        part: Part,
        config: &ExplainConfig,
    ) -> Result<Self, crate::Error> {
        if dataset.shape() != subject.image || dataset.classes != subject.classes {
            return Err(crate::Error::Usage(format!(
                "the images of {} have {} classes and shape {:?}, and the network takes {} and {:?}; give the data set \
                 that it was made with",
                dataset.name,
                dataset.classes.len(),
                dataset.shape(),
                subject.classes.len(),
                subject.image
            )));
        }
        let (images, word) = match part {
            Part::Test => (dataset.test(), "test"),
            Part::Train => (&*dataset.train, "training"),
        };
        let mut rng = stream(config.run.seed, Purpose::ExplainedImages, 0);
        let mut indices = permutation(&mut rng, images.len());
        if config.explain.count > 0 {
            indices.truncate(config.explain.count);
        }
        let batch = images.batch(&indices, &subject.normalisation, None);
        Ok(Self {
            images: Planes {
                values: batch.values,
                shape: subject.image,
            },
            names: indices.iter().map(|i| format!("{word} {i}")).collect(),
            labels: Some(batch.labels.iter().map(|label| *label as usize).collect()),
            masks: batch.masks,
            from: format!("{word} images of {}", dataset.name),
            of: images.len(),
        })
    }

    /// The images of a folder in the order of their names, brought to what the network takes as those of its data set were; or of its sub-folders, whose names
    /// are then classes.
    ///
    /// # Errors
    /// If there is no image, one cannot be read, or a sub-folder is no class of the network.
    pub fn of_folder(
        subject: &Subject,
        folder: &Path,
        config: &ExplainConfig,
    ) -> Result<Self, DataError> {
        let files = files(folder, &subject.classes)?;
        let of = files.len();
        let wanted = match config.explain.count {
            0 => of,
            count => count.min(of),
        };
        let [_, height, width] = subject.image;
        let mut reading = config.data.images.reading();
        reading.frame.size = ImageSize { height, width };
        let (mut values, mut names, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (file, label) in files.into_iter().take(wanted) {
            values.extend(normalised(&file, &reading, subject)?);
            let name = file.strip_prefix(folder).unwrap_or(&file);
            names.push(name.display().to_string());
            labels.push(label);
        }
        Ok(Self {
            images: Planes {
                values,
                shape: subject.image,
            },
            names,
            labels: labels.into_iter().collect(),
            masks: None,
            from: format!("images of {}", folder.display()),
            of,
        })
    }
}

/// The visible entries of a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut all = contents(folder).map_err(|source| DataError::Read {
        path: folder.into(),
        source,
    })?;
    let hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with('.')
    };
    all.retain(|path| !hidden(path));
    Ok(all)
}

/// The files of a folder, without classes; where it has none, those of its sub-folders, with theirs.
fn files(folder: &Path, classes: &[String]) -> Result<Vec<(PathBuf, Option<usize>)>, DataError> {
    let invalid = |path: &Path, reason: String| DataError::Invalid {
        path: path.into(),
        reason,
    };
    if !folder.is_dir() {
        return Err(DataError::Missing {
            path: folder.into(),
            advice: "--images must be a folder of images".into(),
        });
    }
    let (folders, files): (Vec<_>, Vec<_>) = entries(folder)?.into_iter().partition(|e| e.is_dir());
    let mut all: Vec<_> = files.into_iter().map(|file| (file, None)).collect();
    if all.is_empty() {
        for class in folders {
            let name = class.file_name().unwrap_or_default().to_string_lossy();
            let Some(label) = classes.iter().position(|c| *c == name) else {
                let reason = format!(
                    "it is no class of the network, whose classes are {}; put images without classes into one folder",
                    classes.join(", ")
                );
                return Err(invalid(&class, reason));
            };
            all.extend(entries(&class)?.into_iter().map(|file| (file, Some(label))));
        }
    }
    if all.is_empty() {
        return Err(invalid(folder, "there is no image in it".into()));
    }
    Ok(all)
}

/// An image as the network takes it, `[channels, h, w]`: the middle of what is kept of it.
fn normalised(file: &Path, reading: &Reading, subject: &Subject) -> Result<Vec<f32>, DataError> {
    let [channels, h, w] = subject.image;
    let pixels = reading.open(file)?.planes(channels);
    let ([_, width], [above, left]) = (reading.size(), reading.frame.margin().map(|n| n / 2));
    let area = pixels.len() / channels;
    let (mean, std) = (&subject.normalisation.mean, &subject.normalisation.std);
    let value = |c: usize, p: usize| {
        let at = c * area + (above + p / w) * width + left + p % w;
        (f32::from(pixels[at]) / 255.0 - mean[c]) / std[c]
    };
    let planes = (0..channels).flat_map(|c| (0..h * w).map(move |p| (c, p)));
    Ok(planes.map(|(c, p)| value(c, p)).collect())
}
