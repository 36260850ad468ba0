//! How an image of any size becomes one of a data set's.

use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView};
use serde::{Deserialize, Serialize};

use crate::config::ImageSize;

/// What becomes of an image whose sides are not those of the data set's images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// All of it is brought to the size, each side by its own factor.
    #[default]
    Stretch,
    /// It is brought to 256/224 of the size on its shorter side, keeping its shape, and the middle is cut out.
    Crop,
}

/// The size of a data set's images, and how others are brought to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What networks see.
    pub size: ImageSize,
    /// How images are brought to it.
    pub framing: Framing,
}

/// The pixels on each side of an image of 224 pixels before the middle of it is taken.
const BEFORE: f64 = 256.0 / 224.0;

impl Frame {
    /// Height and width of the images that are kept, of which networks see the middle in testing and a part of any size in
    /// training.
    pub fn kept(&self) -> [usize; 2] {
        let ImageSize { height, width } = self.size;
        match self.framing {
            Framing::Stretch => [height, width],
            Framing::Crop => [height, width].map(|n| (BEFORE * n as f64).round() as usize),
        }
    }

    /// Rows and columns of the images that are kept which networks do not see in testing.
    pub fn margin(&self) -> [usize; 2] {
        let [height, width] = self.kept();
        [height - self.size.height, width - self.size.width]
    }

    /// The image that is kept of this one: by linear interpolation, with the means of what becomes one pixel.
    pub fn fitted(&self, image: &DynamicImage) -> DynamicImage {
        let kept @ [height, width] = self.kept().map(|n| n as u32);
        let (columns, rows) = image.dimensions();
        let sides = match self.framing {
            Framing::Stretch => kept,
            Framing::Crop => covering([rows, columns], kept),
        };
        let resized = match sides == [rows, columns] {
            true => image.clone(),
            false => image.resize_exact(sides[1], sides[0], FilterType::Triangle),
        };
        if sides == kept {
            return resized;
        }
        // So that what networks see is the very middle.
        let seen = [self.size.height, self.size.width];
        let [top, left] = [0, 1].map(|i| {
            let [all, kept] = [sides[i], kept[i]].map(|n| n as usize);
            let first = middle(all, seen[i]) - middle(kept, seen[i]);
            first.min(all - kept) as u32
        });
        resized.crop_imm(left, top, width, height)
    }
}

/// The smallest sides in the shape of `sides` that cover `kept`: one of them is equal, the other rounded down, as torchvision does.
fn covering(sides: [u32; 2], kept: [u32; 2]) -> [u32; 2] {
    let scaled = |by: usize| {
        let other = |i: usize| {
            let exact = u64::from(sides[i]) * u64::from(kept[by]) / u64::from(sides[by]);
            u32::try_from(exact).unwrap_or(u32::MAX)
        };
        let mut scaled = [0, 1].map(other);
        scaled[by] = kept[by];
        scaled
    };
    let first = scaled(0);
    if first[1] >= kept[1] {
        return first;
    }
    let [height, width] = scaled(1);
    [height.max(kept[0]), width]
}

/// Where the middle `part` of `whole` begins, as torchvision has it.
pub(super) fn middle(whole: usize, part: usize) -> usize {
    ((whole - part) as f64 / 2.0).round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_brought_to_their_shorter_side_and_cut() {
        let frame = Frame {
            size: ImageSize::square(224),
            framing: Framing::Crop,
        };
        assert_eq!((frame.kept(), frame.margin()), ([256, 256], [32, 32]));
        assert_eq!(covering([375, 500], [256, 256]), [256, 341]);
        assert_eq!(covering([500, 333], [256, 256]), [384, 256]);
        assert_eq!(covering([100, 100], [110, 146]), [146, 146]);
        let photo = DynamicImage::new_rgb8(50, 3);
        assert_eq!(frame.fitted(&photo).dimensions(), (256, 256));
    }
}
