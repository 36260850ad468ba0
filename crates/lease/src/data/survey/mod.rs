//! What a data set is like, and whether a search would read it.

mod files;
mod sheet;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;

use super::{DataConfig, Dataset, DatasetKind, Images, Watch, checks, parts};
pub use files::{Broken, Files};
pub use sheet::sheet;

/// Classes whose sizes differ by more are told.
const MOST_IMBALANCE: usize = 10;

/// A class with fewer training images is told.
const FEW: usize = 10;

/// What a data set is like.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// Which it is, as `--dataset` names it.
    pub dataset: DatasetKind,
    /// Where it lies; empty for one that is drawn or embedded.
    pub path: PathBuf,
    /// Whether a search would read it.
    pub usable: bool,
    /// What keeps it from being read.
    pub problem: Option<String>,
    /// What may not be as it should.
    pub warnings: Vec<String>,
    /// What is told of how it is read.
    pub notes: Vec<String>,
    /// Channels, height and width of the images as they are read.
    pub shape: Option<[usize; 3]>,
    /// Mean of each channel over the training images, white = 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, white = 1.
    pub deviation: Vec<f32>,
    /// Whether it is known which pixels matter.
    pub masks: bool,
    /// The classes.
    pub classes: Vec<Class>,
    /// The files, where it consists of image files.
    pub files: Option<Files>,
    /// Images that are there more than once, as they are read.
    pub twice: Vec<Twice>,
}

/// A class.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its training images, of which a search takes its validation images.
    pub train: usize,
    /// Its test images.
    pub test: usize,
}

/// Equal images.
#[derive(Clone, Debug, Serialize)]
pub struct Twice {
    /// They.
    pub images: Vec<One>,
    /// Whether some train and some test.
    pub across_parts: bool,
    /// Whether they are of different classes.
    pub across_classes: bool,
}

/// One image.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// Its file, or its part and number in it from 0.
    pub name: String,
    /// Its class.
    pub class: String,
}

/// Hears what is told while images are read, and passes on how far that is.
struct Heard<'a> {
    watch: &'a dyn Watch,
    notes: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

fn push(to: &Mutex<Vec<String>>, message: &str) {
    if let Ok(mut to) = to.lock() {
        to.push(message.into());
    }
}

impl Watch for Heard<'_> {
    fn started(&self, files: usize) {
        self.watch.started(files);
    }

    fn read(&self) {
        self.watch.read();
    }

    fn ended(&self) {
        self.watch.ended();
    }

    fn note(&self, message: &str) {
        push(&self.notes, message);
    }

    fn warn(&self, message: &str) {
        push(&self.warnings, message);
    }
}

/// Looks at what a configuration would read, by reading it; the data set too, where it is usable. `watch` hears how far it is.
pub fn survey(config: &DataConfig, watch: &dyn Watch) -> (Survey, Option<Dataset>) {
    let heard = Heard {
        watch,
        notes: Mutex::default(),
        warnings: Mutex::default(),
    };
    let settings = &config.images;
    let dataset = Dataset::load_watched(config, &heard);
    let (files, names) = files::look(settings, dataset.is_ok(), watch);
    let taken = |all: Mutex<Vec<String>>| all.into_inner().unwrap_or_default();
    let mut survey = Survey {
        dataset: settings.dataset,
        path: PathBuf::from(&settings.path),
        usable: dataset.is_ok(),
        problem: dataset.as_ref().err().map(ToString::to_string),
        warnings: taken(heard.warnings),
        notes: taken(heard.notes),
        shape: None,
        mean: Vec::new(),
        deviation: Vec::new(),
        masks: false,
        classes: Vec::new(),
        files,
        twice: Vec::new(),
    };
    let dataset = dataset.ok();
    if let Some(dataset) = &dataset {
        survey.fill(dataset, &names);
    }
    (survey, dataset)
}

impl Survey {
    /// What is known of images that were read; `names` are those of their files, training images first, where there are files.
    fn fill(&mut self, dataset: &Dataset, names: &[String]) {
        let parts = [&*dataset.train, dataset.test()];
        self.shape = Some(dataset.shape());
        self.mean.clone_from(&dataset.normalisation.mean);
        self.deviation.clone_from(&dataset.normalisation.std);
        self.masks = dataset.train.masks.is_some();
        let [train, test] = parts.map(|part| parts::counts(&part.labels, dataset.classes.len()));
        let counts = dataset.classes.iter().zip(train.iter().zip(&test));
        self.classes = counts
            .map(|(name, (train, test))| Class {
                name: name.clone(),
                train: *train,
                test: *test,
            })
            .collect();
        self.warn_of_counts();
        self.twice = twice(dataset, parts, names);
    }

    fn warn_of_counts(&mut self) {
        let by_train = |class: &&Class| class.train;
        let classes = || self.classes.iter();
        let (Some(least), Some(most)) = (
            classes().min_by_key(by_train),
            classes().max_by_key(by_train),
        ) else {
            return;
        };
        let mut warnings = Vec::new();
        if most.train > MOST_IMBALANCE * least.train {
            warnings.push(format!(
                "Classes are not balanced: {} has {} training images, {} has {}.",
                most.name, most.train, least.name, least.train
            ));
        }
        let few = classes().filter(|class| class.train < FEW).count();
        if few > 0 {
            warnings.push(format!(
                "Fewer than {FEW} training images: {few} of {} classes; {} has {}, half of which a search validates with.",
                self.classes.len(),
                least.name,
                least.train
            ));
        }
        self.warnings.extend(warnings);
    }
}

/// The groups of equal images, in the order of their first ones.
fn twice(dataset: &Dataset, parts: [&Images; 2], names: &[String]) -> Vec<Twice> {
    let count = parts[0].len();
    let digests: Vec<[u8; 32]> = parts
        .iter()
        .flat_map(|part| checks::digests(part))
        .collect();
    let mut groups: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    for (image, digest) in digests.into_iter().enumerate() {
        groups.entry(digest).or_default().push(image);
    }
    let mut groups: Vec<Vec<usize>> = groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect();
    groups.sort();
    let place = |image: usize| match image.checked_sub(count) {
        None => ("train", parts[0], image),
        Some(number) => ("test", parts[1], number),
    };
    let label = |image: usize| {
        let (_, part, number) = place(image);
        part.labels[number]
    };
    let one = |image: usize| {
        let (part, _, number) = place(image);
        One {
            name: names
                .get(image)
                .cloned()
                .unwrap_or_else(|| format!("{part} {number}")),
            class: dataset.classes[usize::from(label(image))].clone(),
        }
    };
    groups
        .into_iter()
        .map(|group| Twice {
            across_parts: group[0] < count && group.iter().any(|image| *image >= count),
            across_classes: group.iter().any(|image| label(*image) != label(group[0])),
            images: group.into_iter().map(one).collect(),
        })
        .collect()
}

/// Which data set a path is of, by what is there: one of the two CIFARs as their files or archives are called, a table, or a
/// folder of classes.
pub fn kind_of(path: &Path) -> DatasetKind {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let there = |names: [&str; 3]| names.iter().any(|inner| path.join(inner).exists());
    if there([
        "data_batch_1.bin",
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
    ]) || name.starts_with("cifar-10-")
    {
        DatasetKind::Cifar10
    } else if there([
        "fine_label_names.txt",
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
    ]) || name.starts_with("cifar-100-")
    {
        DatasetKind::Cifar100
    } else if path.is_file() {
        DatasetKind::Csv
    } else {
        DatasetKind::Folder
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, RgbImage};

    use super::super::{DataSettings, Unwatched};
    use super::*;
    use crate::config::ImageSize;

    /// A picture that a number tells from others.
    fn picture(number: u32, width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x * 7 + number, y * 11, number * 50].map(|level| level as u8))
        })
    }

    fn looked(root: &Path) -> (Survey, Option<Dataset>) {
        let images = DataSettings {
            dataset: kind_of(root),
            path: root.to_str().unwrap().into(),
            image_size: ImageSize::square(16),
            ..DataSettings::default()
        };
        survey(&images.into(), &Unwatched)
    }

    #[test]
    fn files_classes_and_what_is_twice_are_told_and_a_sheet_is_drawn() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for class in ["cat", "dog"] {
            std::fs::create_dir(path(class)).unwrap();
            for number in 0..5 {
                let shift = if class == "dog" { 100 } else { 0 };
                let file = path(&format!("{class}/{number}.png"));
                picture(number + shift, 20, 10 + number).save(file).unwrap();
            }
        }
        let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(40, 8, image::Luma([9])));
        grey.save(path("dog/9.jpg")).unwrap();
        std::fs::copy(path("cat/0.png"), path("cat/4.png")).unwrap();
        std::fs::copy(path("cat/1.png"), path("dog/1.png")).unwrap();
        let (survey, dataset) = looked(root.path());
        assert!(survey.usable && survey.problem.is_none(), "{survey:?}");
        assert_eq!(survey.shape, Some([3, 16, 16]));
        let counts: Vec<(usize, usize)> =
            survey.classes.iter().map(|c| (c.train, c.test)).collect();
        assert_eq!(counts, [(4, 1), (5, 1)]);
        let files = survey.files.unwrap();
        assert_eq!(
            (files.count, files.formats["PNG"], files.modes["grey"]),
            (11, 10, 1)
        );
        assert_eq!((files.smallest, files.largest), ([20, 10], [40, 8]));
        assert_eq!((files.sizes, files.enlarged), (6, 11));
        let told = survey.twice.iter().map(|group| {
            let names: Vec<String> = group
                .images
                .iter()
                .map(|one| one.name.replace('\\', "/"))
                .collect();
            (names.join(" "), group.across_parts, group.across_classes)
        });
        let told = told.collect::<Vec<_>>();
        assert_eq!(told[0], ("cat/0.png cat/4.png".into(), true, false));
        assert_eq!(told[1], ("cat/1.png dog/1.png".into(), false, true));
        assert!(
            survey
                .warnings
                .iter()
                .any(|told| told.contains("Fewer than 10 training images"))
        );
        let sheet = image::load_from_memory(&sheet(&dataset.unwrap()).unwrap())
            .unwrap()
            .into_rgb8();
        let dark = sheet.pixels().filter(|pixel| pixel.0 == [40; 3]).count();
        assert!(
            sheet.width() > 1000 && sheet.height() > 160 && dark > 500,
            "{dark}"
        );
    }

    #[test]
    fn all_that_is_broken_is_named_and_the_data_set_cannot_be_used() {
        let root = tempfile::tempdir().unwrap();
        for class in 0..2 {
            let folder = root.path().join(class.to_string());
            std::fs::create_dir(&folder).unwrap();
            for number in 0..5 {
                picture(10 * class + number, 8, 8)
                    .save(folder.join(format!("{number}.png")))
                    .unwrap();
            }
            let file = folder.join("2.png");
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }
        let (survey, dataset) = looked(root.path());
        assert!(!survey.usable && dataset.is_none());
        assert!(survey.problem.unwrap().contains("2 files cannot be used"));
        let broken = survey.files.unwrap().broken;
        assert_eq!(broken.len(), 2);
        assert!(broken[0].reason.contains("no readable image"), "{broken:?}");
        let (nothing, _) = looked(&root.path().join("none"));
        assert!(nothing.problem.unwrap().contains("there is no") && nothing.files.is_none());
    }
}
