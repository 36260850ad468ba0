//! Sizes of images as settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

/// The most pixels on a side.
const MOST: usize = 1_024;

/// Height and width of images, in pixels: one number where they are equal, as in `96`, else both, as in `96x128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

impl ImageSize {
    /// What stands for the size that fits, as a setting.
    pub const AUTO: &str = "auto";

    /// A square's.
    pub const fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// What a size must be.
    pub(super) fn needed() -> String {
        format!(
            "a number of pixels from 1 to {MOST}, height and width as in 96x128, or {}, is needed",
            Self::AUTO
        )
    }

    /// The size as a value of TOML.
    pub(crate) fn value(self) -> Value {
        match self.height == self.width {
            true => Value::Integer(self.height as i64),
            false => Value::String(self.to_string()),
        }
    }
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| {
            let side = text.trim().parse().ok();
            side.filter(|n| (1..=MOST).contains(n))
        };
        let sides = match text.split_once(['x', 'X', '×']) {
            Some((height, width)) => side(height).zip(side(width)),
            None => side(text).map(|n| (n, n)),
        };
        let (height, width) = sides.ok_or_else(Self::needed)?;
        Ok(Self { height, width })
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.height == self.width {
            true => write!(f, "{}", self.height),
            false => write!(f, "{}x{}", self.height, self.width),
        }
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(to)
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(from)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_number_or_two() {
        let read = |text: &str| text.parse::<ImageSize>();
        let (height, width) = (96, 128);
        assert_eq!(read("96x128"), Ok(ImageSize { height, width }));
        assert_eq!(read("224"), Ok(ImageSize::square(224)));
        for wrong in ["", "0", "96x", "x96", "1025", "96x96x3", "-3"] {
            assert!(read(wrong).unwrap_err().contains("96x128"), "{wrong}");
        }
    }
}
