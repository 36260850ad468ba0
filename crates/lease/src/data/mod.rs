//! Images: data sets, splits, augmentation and batches.

mod batch;
mod cifar;
mod clutter;
mod digits;
pub mod fetch;
mod folder;
mod settings;
pub mod shapes;
mod split;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use batch::{Augmentation, Batch, Normalisation};
pub use cifar::{cifar_10, cifar_100};
pub use clutter::ClutterSettings;
pub use fetch::FetchError;
pub use folder::{MOST_IMAGE_BYTES, MOST_SIDE, decode_image};
pub use settings::{Augment, DataConfig, DataSettings, DatasetKind, reader};
pub use shapes::ShapesSettings;
pub use split::{BatchOrder, Partition, Split};

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

/// Labelled images in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Channels, height and width of every image.
    pub shape: [usize; 3],
    /// The value of a white pixel.
    pub white: u8,
    /// Pixels, image by image, `[channels, height, width]` each.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u16>,
    /// Which pixels of each image matter, image by image, `[height, width]` each, where that is known.
    pub masks: Option<Vec<bool>>,
}

impl Images {
    /// How many.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Numbers in one image.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pixels of one image.
    pub fn area(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Which pixels of an image matter, `[height, width]`, where that is known: those of what its label says. An explanation
    /// of the image should lie on them.
    ///
    /// # Panics
    /// If there is no image of this number.
    pub fn relevant(&self, image: usize) -> Option<&[bool]> {
        let area = self.area();
        let masks = self.masks.as_ref()?;
        Some(&masks[image * area..(image + 1) * area])
    }

    fn truncate(&mut self, images: usize) {
        if images > 0 && images < self.len() {
            let (size, area) = (self.size(), self.area());
            self.labels.truncate(images);
            self.pixels.truncate(images * size);
            if let Some(masks) = &mut self.masks {
                masks.truncate(images * area);
            }
        }
    }

    /// Adds an image of another set of the same kind.
    fn push(&mut self, from: &Self, image: usize) {
        let size = self.size();
        self.pixels
            .extend(&from.pixels[image * size..(image + 1) * size]);
        self.labels.push(from.labels[image]);
        if let Some((masks, mask)) = self.masks.as_mut().zip(from.relevant(image)) {
            masks.extend(mask);
        }
    }

    /// Moves the images with these (increasing) indices into a set of their own.
    fn split_off(self, taken: &[usize]) -> (Self, Self) {
        let (mut kept, mut moved) = (self.none_like(), self.none_like());
        for i in 0..self.len() {
            let to = if taken.binary_search(&i).is_ok() {
                &mut moved
            } else {
                &mut kept
            };
            to.push(&self, i);
        }
        (kept, moved)
    }

    /// The images with these indices, in this order.
    fn some(&self, indices: &[u32]) -> Self {
        let mut some = self.none_like();
        for i in indices {
            some.push(self, *i as usize);
        }
        some
    }

    /// No images, of the same kind.
    fn none_like(&self) -> Self {
        Self {
            shape: self.shape,
            white: self.white,
            pixels: Vec::new(),
            labels: Vec::new(),
            masks: self.masks.as_ref().map(|_| Vec::new()),
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
        let images = Images {
            shape,
            white: 255,
            pixels: noise.into_iter().map(|v| (v + 128.0) as u8).collect(),
            labels: (0..images).map(|i| (i % classes) as u16).collect(),
            masks: None,
        };
        let names = (0..classes).map(|c| c.to_string()).collect();
        Self::new("random", names, images.clone(), images)
    }

    /// Loads what a configuration asks for.
    ///
    /// # Errors
    /// If a file is missing, truncated, corrupt or wrongly labelled, naming it; if a class has no image.
    pub fn load(config: &DataConfig) -> Result<Self, DataError> {
        let settings = &config.images;
        let path = Path::new(&settings.path);
        let limits = [settings.limit, settings.test_limit];
        let (name, classes, mut train, mut test) = match settings.dataset {
            DatasetKind::Digits => digits::load()?,
            DatasetKind::ClutteredDigits => clutter::load(&config.clutter)?,
            DatasetKind::Shapes => shapes::load(&config.shapes)?,
            DatasetKind::Cifar10 => cifar::load_10(path)?,
            DatasetKind::Cifar100 => cifar::load_100(path)?,
            DatasetKind::Folder => folder::load(path, settings.image_size)?,
        };
        train.truncate(limits[0]);
        test.truncate(limits[1]);
        if let Some(class) =
            (0..classes.len()).find(|c| !train.labels.iter().any(|l| *l as usize == *c))
        {
            return Err(DataError::Invalid {
                path: path.into(),
                reason: format!(
                    "class {} has no training image; add some, or raise --limit",
                    classes[class]
                ),
            });
        }
        if test.is_empty() {
            return Err(DataError::Invalid {
                path: path.into(),
                reason:
                    "no image is left for testing: without `train` and `test` sub-folders every \
                         fifth image of each class tests, so a class needs at least five"
                        .into(),
            });
        }
        Ok(Self::new(name, classes, train, test))
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
            hash.update(&images.pixels);
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

    /// Its sizes.
    pub fn size(&self) -> ImageSet {
        let of = |images: &Images| {
            let masks = images.masks.as_ref().map_or(0, Vec::len);
            images.pixels.len() + 2 * images.labels.len() + masks
        };
        ImageSet {
            classes: self.classes.len(),
            shape: self.train.shape,
            count: self.train.len(),
            bytes: of(&self.train) + of(&self.test),
        }
    }

    /// The variation of training images that a configuration asks for.
    pub fn augmentation(&self, augment: Augment, cutout: f64) -> Augmentation {
        let [_, height, width] = self.train.shape;
        let side = height.min(width);
        Augmentation {
            shift: if augment == Augment::None {
                0
            } else {
                side / 8
            },
            flip: augment == Augment::CropFlip,
            cutout: (side as f64 * cutout).round() as usize,
        }
    }
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

/// For a set without a test part: every fifth image of each class, in order.
fn every_fifth(labels: &[u16], classes: usize) -> Vec<usize> {
    let mut seen = vec![0; classes];
    (0..labels.len())
        .filter(|i| {
            let count = &mut seen[labels[*i] as usize];
            *count += 1;
            *count % 5 == 0
        })
        .collect()
}
