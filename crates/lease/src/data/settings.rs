//! What is read of images.

use serde::{Deserialize, Serialize};

use toml::Table;

use super::{ClutterSettings, ShapesSettings};
use crate::config::{Composite, ConfigError, Rule, Section, SectionInfo, Setting, section};

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
}

impl DatasetKind {
    /// Settings that fit the data set where they differ from the defaults, as TOML.
    pub fn preset(self) -> &'static str {
        match self {
            Self::ClutteredDigits => include_str!("cluttered_digits.toml"),
            Self::Digits => include_str!("digits.toml"),
            Self::Shapes => include_str!("shapes.toml"),
            Self::Cifar10 | Self::Cifar100 | Self::Folder => "",
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
}

section! {
    /// Images.
    DataSettings, "data", "" {
        /// Data set: embedded digits, cluttered or as they are, shapes that are drawn, CIFAR-10 or CIFAR-100 in the official binary layout, or a folder with one sub-folder per class.
        dataset: DatasetKind = DatasetKind::ClutteredDigits, ["cluttered-digits", "digits", "shapes", "cifar10", "cifar100", "folder"];
        /// Where the data set lies; not used for embedded ones.
        path: String = String::new() => Rule::PATH;
        /// Side in pixels to which the images of a folder are resized.
        image_size: usize = 32 => Rule::whole(1, 1_024);
        /// Use only the first N training images; 0 means all.
        limit: usize = 0 => Rule::whole(0, u32::MAX);
        /// Use only the first N test images; 0 means all.
        test_limit: usize = 0 => Rule::whole(0, u32::MAX);
        /// Variation of training images (never of validation or test images).
        augment: Augment = Augment::CropFlip, ["none", "crop", "crop-flip"];
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
        if !self.images.dataset.is_embedded() && self.images.path.is_empty() {
            let setting = DataSettings::setting("path");
            return vec![setting.range("\"\"", "this data set needs the folder where it lies")];
        }
        Vec::new()
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
}
