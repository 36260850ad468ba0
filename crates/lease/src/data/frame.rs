//! How an image of any size becomes one of a data set's.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::imageops::FilterType::Triangle;
use image::{DynamicImage, GenericImageView, ImageBuffer, Pixel};
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

    /// The image that is kept of this one: by linear interpolation, with the means of what becomes one pixel, rounded as Pillow
    /// does.
    pub fn fitted(&self, image: &DynamicImage) -> DynamicImage {
        let kept @ [height, width] = self.kept().map(|n| n as u32);
        let (columns, rows) = image.dimensions();
        let sides = match self.framing {
            Framing::Stretch => kept,
            Framing::Crop => covering([rows, columns], kept),
        };
        let resized = match sides == [rows, columns] {
            true => image.clone(),
            false => resized(image, sides),
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

/// The image in other sides.
fn resized(image: &DynamicImage, sides: [u32; 2]) -> DynamicImage {
    let scaled = match image {
        DynamicImage::ImageLuma8(image) => scaled(image, sides).map(DynamicImage::ImageLuma8),
        DynamicImage::ImageRgb8(image) => scaled(image, sides).map(DynamicImage::ImageRgb8),
        DynamicImage::ImageLuma16(image) => scaled(image, sides).map(DynamicImage::ImageLuma16),
        DynamicImage::ImageRgb16(image) => scaled(image, sides).map(DynamicImage::ImageRgb16),
        _ => None,
    };
    // None of what is read is of another kind.
    scaled.unwrap_or_else(|| image.resize_exact(sides[1], sides[0], Triangle))
}

type Pixels<P> = ImageBuffer<P, Vec<<P as Pixel>::Subpixel>>;

fn scaled<P>(image: &Pixels<P>, [height, width]: [u32; 2]) -> Option<Pixels<P>>
where
    P: Pixel,
    P::Subpixel: bytemuck::Pod,
{
    let kind = match (size_of::<P::Subpixel>(), P::CHANNEL_COUNT) {
        (1, 1) => PixelType::U8,
        (1, 3) => PixelType::U8x3,
        (2, 1) => PixelType::U16,
        (2, 3) => PixelType::U16x3,
        _ => return None,
    };
    let linear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut to = Pixels::<P>::new(width, height);
    let pixels = bytemuck::cast_slice(image.as_raw());
    let from = ImageRef::new(image.width(), image.height(), pixels, kind).ok()?;
    let mut into =
        Image::from_slice_u8(width, height, bytemuck::cast_slice_mut(&mut to), kind).ok()?;
    Resizer::new().resize(&from, &mut into, &linear).ok()?;
    Some(to)
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
