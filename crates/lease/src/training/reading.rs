//! Image files as the images that a network takes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView};

use crate::data::{DataError, DataSettings, MOST_IMAGE_BYTES, decode_image};

/// How image files become images.
pub struct Reading {
    size: [usize; 2],
}

/// An image of the right size.
pub struct Resized(DynamicImage);

impl DataSettings {
    /// How image files become images of this height and width.
    pub fn reading(&self, size: [usize; 2]) -> Reading {
        Reading { size }
    }
}

impl Reading {
    /// The image in a file.
    pub fn open(&self, file: &Path) -> Result<Resized, DataError> {
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|file| file.take(MOST_IMAGE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|source| DataError::Read {
                path: file.into(),
                source,
            })?;
        let image = decode_image(&bytes, file)?;
        let [height, width] = self.size.map(|side| side as u32);
        Ok(Resized(match image.dimensions() == (width, height) {
            true => image,
            false => image.resize_exact(width, height, FilterType::Triangle),
        }))
    }
}

impl Resized {
    /// The pixels, `[channels, height, width]`, of one channel or three.
    pub fn planes(&self, channels: usize) -> Vec<u8> {
        let interleaved = match channels {
            1 => self.0.to_luma8().into_raw(),
            _ => self.0.to_rgb8().into_raw(),
        };
        let plane = |channel| interleaved.iter().skip(channel).step_by(channels);
        (0..channels).flat_map(plane).copied().collect()
    }
}
