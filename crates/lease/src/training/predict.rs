//! What a trained network says of images in files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;

use super::{Confusion, Trained};
use crate::Error;
use crate::config::ImageSize;
use crate::data::{DataError, Dataset, Images, Normalisation, Oddities};

/// Images that a pass takes together where nothing else is asked for.
pub const BATCH: usize = 32;

/// What the names of image files end in.
const ENDINGS: [&str; 12] = [
    "png", "jpg", "jpeg", "jfif", "gif", "bmp", "webp", "tif", "tiff", "avif", "heic", "heif",
];

/// Image files in the order in which they are to be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    /// The files.
    pub images: Vec<PathBuf>,
    /// Files in the folders that were passed over, since their names are not those of images.
    pub others: usize,
}

impl Files {
    /// Adds a file, or all files in a folder and its sub-folders that have names of images, sorted. Links are followed, each
    /// folder once; hidden files and folders are passed over.
    ///
    /// # Errors
    /// If there is no such file or folder, a folder cannot be read, or it is neither.
    pub fn add(&mut self, path: &Path) -> Result<(), DataError> {
        let about = std::fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DataError::Missing {
                path: path.into(),
                advice: "give image files, or folders of them".into(),
            },
            _ => read_error(path, source),
        })?;
        if about.is_dir() {
            return self.folder(path, &mut BTreeSet::new());
        }
        if !about.is_file() {
            return Err(DataError::Invalid {
                path: path.into(),
                reason: "it is neither a file nor a folder".into(),
            });
        }
        self.images.push(path.into());
        Ok(())
    }

    fn folder(&mut self, path: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<(), DataError> {
        let whole = path.canonicalize().map_err(|e| read_error(path, e))?;
        if !seen.insert(whole) {
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in path.read_dir().map_err(|e| read_error(path, e))? {
            entries.push(entry.map_err(|e| read_error(path, e))?.path());
        }
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name == "__MACOSX" {
                continue;
            }
            // A link that leads nowhere is told when it is read.
            if entry.is_dir() {
                self.folder(&entry, seen)?;
            } else if is_named_as_image(&entry) {
                self.images.push(entry);
            } else {
                self.others += 1;
            }
        }
        Ok(())
    }
}

fn read_error(path: &Path, source: io::Error) -> DataError {
    DataError::Read {
        path: path.into(),
        source,
    }
}

fn is_named_as_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e))
}

/// Decoded images of a batch, normalised, with what is odd about their files, or why they could not be.
type Decoded = Vec<Result<(Vec<f32>, Oddities), DataError>>;

/// What the network says of an image.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The probability of each class, in their order.
    pub probabilities: &'a [f32],
    /// What is odd about the file.
    pub oddities: Oddities,
}

/// Who is told of each image what the network says of it, or why it could not be read.
pub type Told<'a> = dyn FnMut(&Path, Result<Answer, DataError>) + Send + 'a;

impl Trained {
    /// Probabilities of the classes for each of these image files, so many at a time, in their order. While some are
    /// computed, the next are decoded.
    pub fn predict(&self, files: &[PathBuf], batch: usize, told: &mut Told) {
        let mut ready: Option<(&[PathBuf], Decoded)> = None;
        for next in files.chunks(batch.max(1)) {
            let now = ready.take();
            let compute = || {
                if let Some((files, decoded)) = now {
                    self.tell(files, decoded, told);
                }
            };
            let (decoded, ()) = rayon::join(|| self.decoded(next), compute);
            ready = Some((next, decoded));
        }
        if let Some((files, decoded)) = ready {
            self.tell(files, decoded, told);
        }
    }

    fn decoded(&self, files: &[PathBuf]) -> Decoded {
        let [channels, height, width] = self.image();
        let mut reading = self.config.data.images.reading();
        reading.frame.size = ImageSize { height, width };
        let [kept_height, kept_width] = reading.size();
        let one = |file: &PathBuf| {
            let read = reading.open(file)?;
            let pixels = read.planes(channels);
            let shape = [channels, kept_height, kept_width];
            let mut image = Images::new(shape, u8::MAX, pixels, vec![0]);
            image.margin = reading.frame.margin();
            let batch = image.batch(&[0], &self.normalisation, None);
            Ok((batch.values, read.oddities))
        };
        files.par_iter().map(one).collect()
    }

    /// What a channel's pixels, 255 being white, are multiplied by, and what is then subtracted.
    fn scales(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        let Normalisation { mean, std } = &self.normalisation;
        let all = mean.iter().zip(std);
        all.map(|(mean, std)| (1.0 / (255.0 * std), mean / std))
    }

    fn tell(&self, files: &[PathBuf], decoded: Decoded, told: &mut Told) {
        let count = decoded.iter().filter(|image| image.is_ok()).count();
        let classes = self.classes.len();
        let mut rows = Vec::new();
        if count > 0 {
            let [channels, height, width] = self.image();
            let mut all = Vec::with_capacity(count * channels * height * width);
            for (values, _) in decoded.iter().flatten() {
                all.extend_from_slice(values);
            }
            let data = TensorData::new(all, [count, channels, height, width]);
            let images = Tensor::from_data(data, (&self.device, DType::F32));
            let data = self.probabilities(images).into_data();
            rows = data.iter::<f32>().collect();
        }
        let mut rows = rows.chunks_exact(classes);
        for (file, image) in files.iter().zip(decoded) {
            match image {
                Ok((_, oddities)) => {
                    let probabilities = rows.next().unwrap_or_default();
                    let answer = Answer {
                        probabilities,
                        oddities,
                    };
                    told(file, Ok(answer));
                }
                Err(error) => told(file, Err(error)),
            }
        }
    }

    /// The number that this network gives each class of a data set.
    ///
    /// # Errors
    /// If the data set has a class that the network does not know.
    pub fn numbers_of(&self, dataset: &Dataset) -> Result<Vec<usize>, Error> {
        let known = |class: &String| self.classes.iter().position(|c| c == class);
        let unknown: Vec<&String> = dataset
            .classes
            .iter()
            .filter(|class| known(class).is_none())
            .collect();
        if let Some(first) = unknown.first() {
            return Err(Error::Usage(format!(
                "the data set has {} that the network does not know, `{first}` among them; it knows {}",
                match unknown.len() {
                    1 => "a class".to_string(),
                    n => format!("{n} classes"),
                },
                some_of(&self.classes)
            )));
        }
        Ok(dataset.classes.iter().filter_map(known).collect())
    }

    /// What the network takes images for, which are labelled by these numbers of its own classes for theirs.
    ///
    /// # Errors
    /// If the images are not of the shape that it takes; grey ones serve where it takes colours.
    pub fn confusion(&self, images: &Images, numbers: &[usize]) -> Result<Confusion, Error> {
        let [channels, height, width] = self.image();
        let [given, there @ ..] = images.seen();
        if there != [height, width] || (given != channels && given != 1) {
            return Err(Error::Usage(format!(
                "the images have {given} channels and {}×{} pixels, and the network takes {channels} channels and {height}×{width} pixels",
                there[0], there[1]
            )));
        }
        // As they are, in units of white = 1.
        let plain = Normalisation {
            mean: vec![0.0; given],
            std: vec![1.0; given],
        };
        let (area, classes) = (height * width, self.classes.len());
        let mut confusion = Confusion::new(classes);
        let indices: Vec<u32> = (0..images.len() as u32).collect();
        for part in indices.chunks(BATCH) {
            let batch = images.batch(part, &plain, None);
            let mut values = Vec::with_capacity(part.len() * channels * area);
            for image in batch.values.chunks_exact(given * area) {
                let planes = image.chunks_exact(area).cycle().take(channels);
                for (plane, (scale, offset)) in planes.zip(self.scales()) {
                    values.extend(plane.iter().map(|x| x * 255.0 * scale - offset));
                }
            }
            let data = TensorData::new(values, [part.len(), channels, height, width]);
            let logits = self.logits(Tensor::from_data(data, (&self.device, DType::F32)));
            let predicted = logits.argmax(1).into_data();
            for (label, class) in batch.labels.iter().zip(predicted.iter::<i64>()) {
                confusion.add(numbers[*label as usize], class as usize);
            }
        }
        Ok(confusion)
    }
}

/// Some of these names, as they are told.
fn some_of(names: &[String]) -> String {
    const TOLD: usize = 8;
    let mut told = names
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > TOLD {
        told += &format!(" and {} more", names.len() - TOLD);
    }
    told
}
