//! What is read of images.

use serde::{Deserialize, Serialize};

use crate::config::{Rule, section};

/// Where images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// The embedded handwritten digits.
    #[default]
    Digits,
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
            Self::Digits => include_str!("digits.toml"),
            Self::Cifar10 | Self::Cifar100 | Self::Folder => "",
        }
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
        /// Data set: the embedded digits, CIFAR-10 or CIFAR-100 in the official binary layout, or a folder with one sub-folder per class.
        dataset: DatasetKind = DatasetKind::Digits, ["digits", "cifar10", "cifar100", "folder"];
        /// Where the data set lies; not used for digits.
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

impl DataSettings {
    /// What is wrong with these settings together.
    pub fn problems(&self) -> Vec<crate::config::ConfigError> {
        if self.dataset != DatasetKind::Digits && self.path.is_empty() {
            let setting = Self::setting("path");
            return vec![setting.range("\"\"", "this data set needs the folder where it lies")];
        }
        Vec::new()
    }
}
