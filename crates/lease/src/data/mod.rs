//! Images: data sets, splits, augmentation and batches.

mod ahead;
mod batch;
mod cache;
mod checks;
mod cifar;
mod clutter;
mod digits;
pub mod fetch;
mod files;
mod folder;
mod formats;
mod frame;
mod images;
mod jpeg;
mod listing;
mod masks;
mod parts;
mod photo;
mod photos;
mod picture;
mod settings;
pub mod shapes;
mod split;
pub mod survey;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ahead::Ahead;
pub use batch::{Augmentation, Batch, Normalisation};
pub use cifar::{cifar_10, cifar_100};
pub use clutter::ClutterSettings;
pub use fetch::FetchError;
pub use frame::{Frame, Framing};
pub use images::Images;
pub use photo::Photo;
pub use photos::presets;
pub use picture::{
    MOST_IMAGE_BYTES, MOST_SIDE, Oddities, Oddity, Picture, Reading, Resized, decode_image,
};
pub(crate) use settings::called;
pub use settings::{Augment, DataConfig, DataSettings, DatasetKind, reader};
pub use shapes::ShapesSettings;
pub use split::{BatchOrder, Partition, Split};
pub use watch::{Unwatched, Watch};

/// Images that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder is missing.
    #[error("there is no {path}: {advice}")]
    Missing {
        /// What is missing.
        path: PathBuf,
        /// What belongs there.
        advice: String,
    },
    /// A file's contents are wrong.
    #[error("{path} cannot be used: {reason}")]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Several files cannot be used.
    #[error("{path}: {count} files cannot be used:{told}")]
    Several {
        /// The folder or table that they belong to.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them, each on a line.
        told: String,
    },
    /// A class is missing in a part.
    #[error(
        "class {class} has {images} training images, and {part} is left without any of it; add some, or leave the class out"
    )]
    Lacking {
        /// The class.
        class: String,
        /// The part.
        part: &'static str,
        /// Its training images.
        images: usize,
    },
    /// A part of the data is smaller than a batch.
    #[error(
        "{part} has {images} images, fewer than one batch of {batch}; use a smaller batch or more images"
    )]
    TooFew {
        /// The part.
        part: &'static str,
        /// Its images.
        images: usize,
        /// The batch size.
        batch: usize,
    },
}

impl DataError {
    /// The error of all these, of which not more than `most` are told.
    fn several(path: &Path, mut errors: Vec<Self>, most: usize) -> Self {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        let mut told: String = errors
            .iter()
            .take(most)
            .map(|e| format!("\n  {e}"))
            .collect();
        if errors.len() > most {
            told += &format!("\n  … and {} more", errors.len() - most);
        }
        Self::Several {
            path: path.into(),
            count: errors.len(),
            told,
        }
    }
}

/// The sizes of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSet {
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of every image.
    pub shape: [usize; 3],
    /// Training images.
    pub count: usize,
    /// Bytes of all images in memory.
    pub bytes: usize,
}

/// A data set: training images, and test images that are asked for once, after training.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is called.
    pub name: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Training images; searches take their validation images from these. Clones share them.
    pub train: Arc<Images>,
    /// Normalisation, from the training images.
    pub normalisation: Normalisation,
    test: Arc<Images>,
}

impl Dataset {
    fn new(name: &str, classes: Vec<String>, train: Images, test: Images) -> Self {
        Self {
            name: name.into(),
            classes,
            normalisation: Normalisation::of(&train),
            train: Arc::new(train),
            test: Arc::new(test),
        }
    }

    /// The data set whose training and test images are these of its training images: for choices among trained
    /// networks that the test images must not decide.
    pub fn validating(&self, train: &[u32], val: &[u32]) -> Self {
        Self {
            name: self.name.clone(),
            classes: self.classes.clone(),
            normalisation: self.normalisation.clone(),
            train: Arc::new(self.train.some(train)),
            test: Arc::new(self.train.some(val)),
        }
    }

    /// Random images of `shape` (channels, height, width), for measuring; they serve as test images too.
    pub fn random(shape: [usize; 3], classes: usize, images: usize, seed: u64) -> Self {
        let n = images * shape.iter().product::<usize>();
        let noise = crate::rng::symmetric(
            &mut crate::rng::stream(seed, crate::rng::Purpose::Split, 1),
            n,
            127.0,
        );
        let pixels = noise.into_iter().map(|v| (v + 128.0) as u8).collect();
        let labels = (0..images).map(|i| (i % classes) as u16).collect();
        let images = Images::new(shape, 255, pixels, labels);
        let names = (0..classes).map(|c| c.to_string()).collect();
        Self::new("random", names, images.clone(), images)
    }

    /// Loads what a configuration asks for.
    ///
    /// # Errors
    /// If a file is missing, truncated, corrupt or wrongly labelled, naming it; if a class is missing in the training or the
    /// test part, or all images of one are equal.
    pub fn load(config: &DataConfig) -> Result<Self, DataError> {
        Self::load_watched(config, &Unwatched)
    }

    /// Loads what a configuration asks for, while somebody watches.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_watched(config: &DataConfig, watch: &dyn Watch) -> Result<Self, DataError> {
        let settings = &config.images;
        let path = Path::new(&settings.path);
        // Files are chosen before they are decoded.
        let limited = |(name, classes, train, test): Loaded| {
            let limited = |images: Images, limit| match limit {
                0 => images,
                _ => images.some(&parts::limited(&images.labels, classes.len(), limit)),
            };
            let parts = (
                limited(train, settings.limit),
                limited(test, settings.test_limit),
            );
            (name, classes, parts.0, parts.1)
        };
        let loaded = match settings.dataset {
            DatasetKind::Digits => limited(digits::load()?),
            DatasetKind::ClutteredDigits => limited(clutter::load(&config.clutter)?),
            DatasetKind::Shapes => limited(shapes::load(&config.shapes)?),
            DatasetKind::Cifar10 => limited(cifar::load_10(path, watch)?),
            DatasetKind::Cifar100 => limited(cifar::load_100(path, watch)?),
            DatasetKind::Folder => {
                files::load("folder", folder::list(path, watch)?, settings, watch)?
            }
            DatasetKind::Csv => files::load("csv", table::list(path, watch)?, settings, watch)?,
        };
        checks::check(&loaded, settings, watch)?;
        let (name, classes, mut train, mut test) = loaded;
        if let Some(frame) = settings.frame() {
            train.margin = frame.margin();
            test.margin = frame.margin();
        }
        Ok(Self::new(name, classes, train, test))
    }

    /// The training images, shared out for a search.
    pub fn partition(&self, split: Split, training_share: f64, seed: u64) -> Partition {
        let classes = self.classes.len();
        Partition::new(&self.train.labels, classes, split, training_share, seed)
    }

    /// What keeps the classes of the training images from being in each part of a search.
    pub fn lacking(&self, split: Split, training_share: f64, seed: u64) -> Option<DataError> {
        let classes = self.classes.len();
        let parts = self.partition(split, training_share, seed);
        let counts = parts::counts(&self.train.labels, classes);
        parts.named().iter().find_map(|(part, images)| {
            let labels: Vec<u16> = images
                .iter()
                .map(|image| self.train.labels[*image as usize])
                .collect();
            let there = parts::counts(&labels, classes);
            let class = there.iter().position(|count| *count == 0)?;
            Some(DataError::Lacking {
                class: self.classes[class].clone(),
                part,
                images: counts[class],
            })
        })
    }

    /// A digest of the training images and labels, by which a resumed run knows its data again.
    pub fn digest(&self) -> String {
        self.digest_of([&self.train])
    }

    /// A digest of the training and test images and labels, by which a resumed training knows its data again.
    pub fn whole_digest(&self) -> String {
        self.digest_of([&self.train, &self.test])
    }

    fn digest_of<const N: usize>(&self, parts: [&Images; N]) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for images in parts {
            hash.update(format!("{:?} {} ", images.shape, self.classes.len()));
            match images.digests() {
                Some(digests) => digests.for_each(|digest| hash.update(digest)),
                None => images.iter().for_each(|image| hash.update(image)),
            }
            for label in &images.labels {
                hash.update(label.to_le_bytes());
            }
        }
        let digest = hash.finalize();
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The test images. To be read once, after training: a choice made by them is no longer tested by them.
    pub fn test(&self) -> &Images {
        &self.test
    }

    /// Channels, height and width of what networks see of its images.
    pub fn shape(&self) -> [usize; 3] {
        self.train.seen()
    }

    /// Its sizes.
    pub fn size(&self) -> ImageSet {
        ImageSet {
            classes: self.classes.len(),
            shape: self.shape(),
            count: self.train.len(),
            bytes: self.train.bytes() + self.test.bytes(),
        }
    }

    /// The variation of training images that a configuration asks for.
    pub fn augmentation(&self, settings: &DataSettings, cutout: f64) -> Augmentation {
        let [_, height, width] = self.shape();
        let side = height.min(width);
        let augment = settings.augment;
        Augmentation {
            shift: match augment {
                Augment::Crop | Augment::CropFlip => side / 8,
                Augment::None | Augment::Photo => 0,
            },
            flip: matches!(augment, Augment::CropFlip | Augment::Photo),
            cutout: (side as f64 * cutout).round() as usize,
            photo: (augment == Augment::Photo).then_some(Photo {
                smallest_part: settings.smallest_part,
                colour_change: settings.colour_change,
            }),
        }
    }
}

/// So many things, of which one is called by its name and several by that with an s.
pub fn counted(number: usize, name: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {name}{s}")
}

type Loaded = (&'static str, Vec<String>, Images, Images);

/// Reads a file, saying what belongs there if it is missing.
fn read(path: &Path, advice: &str) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            DataError::Missing {
                path: path.into(),
                advice: advice.into(),
            }
        } else {
            DataError::Read {
                path: path.into(),
                source,
            }
        }
    })
}
