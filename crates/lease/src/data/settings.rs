//! What is read of images.

use std::path::Path;

use serde::{Deserialize, Serialize};

use toml::Table;

use super::frame::{Frame, Framing};
use super::{ClutterSettings, Reading, ShapesSettings};
use crate::config::{
    Composite, ConfigError, ImageSize, Layers, Rule, Section, SectionInfo, Setting, section,
};

/// Where images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetKind {
    /// Cluttered digits, drawn from the embedded ones.
    #[default]
    ClutteredDigits,
    /// The embedded handwritten digits.
    Digits,
    /// Shapes, drawn.
    Shapes,
    /// CIFAR-10, official binary files.
    Cifar10,
    /// CIFAR-100, official binary files.
    Cifar100,
    /// A folder with one sub-folder per class.
    Folder,
    /// A table of paths and labels.
    Csv,
}

impl DatasetKind {
    /// Settings that fit the data set where they differ from the defaults, as TOML.
    pub fn preset(self) -> &'static str {
        match self {
            Self::ClutteredDigits => include_str!("cluttered_digits.toml"),
            Self::Digits => include_str!("digits.toml"),
            Self::Shapes => include_str!("shapes.toml"),
            Self::Cifar10 | Self::Cifar100 | Self::Folder | Self::Csv => {
                include_str!("natural.toml")
            }
        }
    }

    /// Whether it comes along with the program.
    pub fn is_embedded(self) -> bool {
        matches!(self, Self::ClutteredDigits | Self::Digits | Self::Shapes)
    }
}

/// How training images are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Not at all.
    None,
    /// Shifted by up to an eighth of their size.
    Crop,
    /// Shifted, and mirrored half the time.
    #[default]
    CropFlip,
    /// As photos are: a part of any size and shape brought to the images' size, mirrored half the time, colours changed.
    Photo,
}

section! {
    /// Images.
    DataSettings, "data", "" {
        /// Data set: embedded digits, cluttered or as they are, shapes that are drawn, CIFAR-10 or CIFAR-100 in the official binary layout, a folder with one sub-folder per class, or a CSV file with the columns path, label and, where parts are given, part.
        dataset: DatasetKind = DatasetKind::ClutteredDigits, ["cluttered-digits", "digits", "shapes", "cifar10", "cifar100", "folder", "csv"];
        /// Where the data set lies: a folder, for CIFAR also the archive as downloaded, for csv the file; not used for embedded ones.
        path: String = String::new() => Rule::PATH;
        /// Pixels of the images that networks see, to which those from files are brought: one number for both sides, or height and width as in 96x128; auto is the size of the search that is trained, else 32, 64 from images of 48 pixels on (the median of their shorter sides), and 96 from 80 on.
        image_size: ImageSize = ImageSize::square(32) => Rule::SIZE;
        /// How images from files are brought to that size: each side by its own factor (stretch), or the shorter side to 256/224 of it, of which networks see the middle in testing (crop).
        framing: Framing = Framing::Stretch, ["stretch", "crop"];
        /// What is behind transparent images: a colour by its name or as #rrggbb.
        background: String = "white".into();
        /// Use only N training images, of each class the first of its share; 0 means all.
        limit: usize = 0 => Rule::whole(0, u32::MAX);
        /// Use only N test images, of each class the first of its share; 0 means all.
        test_limit: usize = 0 => Rule::whole(0, u32::MAX);
        /// Folder in which decoded images are kept from one run to the next, or none; where nothing is said, those of large sets are kept in the user's cache folder.
        cache: String = String::new() => Rule::PATH;
        /// Variation of training images (never of validation or test images): shifts by up to an eighth of their size (crop), these and mirroring (crop-flip), or that of photos, which brings a part of each image to its size, mirrors it and changes its colours (photo).
        augment: Augment = Augment::CropFlip, ["none", "crop", "crop-flip", "photo"];
        /// With augment = photo: the smallest share of an image's area that is taken.
        smallest_part: f64 = 0.08 => Rule::PART;
        /// With augment = photo: by how much brightness, contrast and saturation change at most, as a share of themselves; the hue by half as much of a turn.
        colour_change: f64 = 0.4 => Rule::SHARE;
    }
}

/// A colour by its name or numbers, if it is one.
fn colour(text: &str) -> Option<[u8; 3]> {
    let [red, green, blue, opacity] = csscolorparser::parse(text.trim()).ok()?.to_rgba8();
    (opacity == 255).then_some([red, green, blue])
}

/// What images are called: a folder or a table by its own name, other data sets by theirs.
pub(crate) fn called(dataset: &str, path: &str) -> String {
    let name = Path::new(path).file_name();
    match (dataset, name) {
        ("folder" | "csv", Some(name)) => name.to_string_lossy().into(),
        _ => dataset.into(),
    }
}

impl DataSettings {
    /// The size of the images, where they are not those that the data set has by itself, and how they are brought to it.
    pub fn frame(&self) -> Option<Frame> {
        let own = self.dataset.is_embedded()
            || matches!(self.dataset, DatasetKind::Cifar10 | DatasetKind::Cifar100);
        (!own).then(|| self.reading().frame)
    }

    /// What the images are called.
    pub fn called(&self) -> String {
        let (_, values) = self.table();
        called(values["dataset"].as_str().unwrap_or_default(), &self.path)
    }

    /// Why this data set does not read a setting of its section; nothing if it does.
    fn unread(&self, key: &str) -> Option<String> {
        let (_, values) = self.table();
        let name = values["dataset"].as_str().unwrap_or_default();
        let own = self.dataset.is_embedded();
        let cifar = matches!(self.dataset, DatasetKind::Cifar10 | DatasetKind::Cifar100);
        match key {
            "path" | "cache" if own => Some(format!(
                "--dataset {name} comes with the program; for images of one's own say --dataset folder or --dataset csv, for \
                 CIFAR --dataset cifar10 or cifar100"
            )),
            "image_size" | "framing" | "background" if own || cifar => {
                let side = match self.dataset {
                    DatasetKind::ClutteredDigits => ", which --clutter-side changes",
                    DatasetKind::Shapes => ", which --shapes-side changes",
                    _ => "",
                };
                Some(format!(
                    "images of --dataset {name} have a size of their own{side}; it is for --dataset folder and csv"
                ))
            }
            "smallest_part" | "colour_change" if self.augment != Augment::Photo => Some(format!(
                "it is a setting of --augment photo, and this is {}",
                values["augment"].as_str().unwrap_or_default()
            )),
            _ => None,
        }
    }

    /// How image files become images of the data set: also of others that a network trained on it is shown.
    pub fn reading(&self) -> Reading {
        Reading {
            frame: Frame {
                size: self.image_size,
                framing: self.framing,
            },
            background: colour(&self.background).unwrap_or([255; 3]),
        }
    }
}

/// All that is read of images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataConfig {
    /// What all data sets read.
    pub images: DataSettings,
    /// What cluttered digits read.
    pub clutter: ClutterSettings,
    /// What shapes read.
    pub shapes: ShapesSettings,
}

impl From<DataSettings> for DataConfig {
    fn from(images: DataSettings) -> Self {
        Self {
            images,
            ..Self::default()
        }
    }
}

/// The name of the data set that alone reads a section; none if all or none do.
pub fn reader(section: &str) -> Option<&'static str> {
    let readers = [
        (ClutterSettings::INFO, "cluttered-digits"),
        (ShapesSettings::INFO, "shapes"),
    ];
    let reader = readers.iter().find(|(info, _)| info.name == section)?;
    Some(reader.1)
}

impl Composite for DataConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        vec![
            DataSettings::INFO,
            ClutterSettings::INFO,
            ShapesSettings::INFO,
        ]
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            images: Section::of(values)?,
            clutter: Section::of(values)?,
            shapes: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = vec![self.images.table()];
        match self.images.dataset {
            DatasetKind::ClutteredDigits => all.push(self.clutter.table()),
            DatasetKind::Shapes => all.push(Section::table(&self.shapes)),
            _ => (),
        }
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        match self.images.dataset {
            DatasetKind::ClutteredDigits => return self.clutter.problems(),
            DatasetKind::Shapes => {
                let mut all = self.shapes.problems();
                all.extend(self.shapes.too_large());
                return all;
            }
            _ => (),
        }
        let mut problems = Vec::new();
        if !self.images.dataset.is_embedded() && self.images.path.is_empty() {
            let setting = DataSettings::setting("path");
            let fetched = match self.images.dataset {
                DatasetKind::Cifar10 => "; `lease data fetch cifar10` fetches it",
                DatasetKind::Cifar100 => "; `lease data fetch cifar100` fetches it",
                _ => "",
            };
            let needed = format!("this data set needs to know where it lies{fetched}");
            problems.push(setting.range("\"\"", needed));
        }
        if colour(&self.images.background).is_none() {
            let setting = DataSettings::setting("background");
            let needed = "a colour without transparency is needed, such as white, grey or #c0ffee";
            problems.push(setting.range(&self.images.background, needed));
        }
        problems
    }

    fn unread(&self, setting: &Setting) -> String {
        let (_, data) = self.images.table();
        match reader(setting.section) {
            Some(reader) => format!(
                "it is a setting of --dataset {reader}, and this is {}",
                data["dataset"].as_str().unwrap_or_default()
            ),
            None => format!("nothing reads the section [{}]", setting.section),
        }
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        let ours = |setting: &&&Setting| setting.section == DataSettings::INFO.name;
        let flags = upper.flags.iter().filter(ours);
        let mut all: Vec<ConfigError> = flags
            .filter_map(|setting| {
                Some(ConfigError::Unread {
                    flag: setting.flag(),
                    reason: self.images.unread(setting.key)?,
                })
            })
            .collect();
        // A file that says where images lie and not which they are; with the data set named as well, others may be meant.
        let said = |key| upper.values.get(DataSettings::INFO.name)?.get(key);
        let path = said("path").filter(|path| path.as_str() != Some(""));
        if let (Some(path), None, true) = (path, said("dataset"), all.is_empty())
            && let Some(reason) = self.images.unread("path")
        {
            all.push(DataSettings::setting("path").range(path, reason));
        }
        all
    }
}
