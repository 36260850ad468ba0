//! Pictures in event files.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::proto::Image;
use crate::report::read::Examples;

/// Pixels of a side of a mixture's square.
const SQUARE: usize = 16;

/// A mixture as squares, edges in rows and operations in columns, dark for 1.
pub fn mixture(rows: &[Vec<f64>]) -> Option<Image> {
    let columns = rows.first()?.len();
    let colour = |x: usize, y: usize| {
        let weight = rows[y / SQUARE].get(x / SQUARE).copied().unwrap_or(0.0) as f32;
        [31.0, 95.0, 174.0].map(|end: f32| 250.0 + (end - 250.0) * weight.clamp(0.0, 1.0))
    };
    picture([SQUARE * columns, SQUARE * rows.len()], colour)
}

/// Examples side by side: images above, their δ in the middle (grey is 0), and what the audience is told below.
pub fn examples(all: &Examples) -> Option<Image> {
    let [channels, height, width] = all.shape;
    let scale = (64 / height.max(1)).max(1);
    let (high, wide) = (height * scale, width * scale);
    let colour = |x: usize, y: usize| {
        let example = &all.all[x / wide];
        let pixel = (y % high) / scale * width + (x % wide) / scale;
        let values: [f32; 3] = std::array::from_fn(|i| {
            let channel = if channels == 3 { i } else { 0 };
            let at = channel * height * width + pixel;
            let signed = |values: &[f32], most: f32| 0.5 + 0.5 * values[at] / most.max(1e-12);
            match y / high {
                0 => example.image[at],
                1 => signed(
                    &example.delta,
                    all.epsilon.get(channel).copied().unwrap_or(1.0) as f32,
                ),
                _ => signed(
                    &example.weighted,
                    example.weighted.iter().fold(0.0, |m, v| m.max(v.abs())),
                ),
            }
        });
        values.map(|v| 255.0 * v)
    };
    picture([wide * all.all.len(), 3 * high], colour)
}

fn picture(
    [width, height]: [usize; 2],
    colour: impl Fn(usize, usize) -> [f32; 3],
) -> Option<Image> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let bytes = places.flat_map(|(x, y)| colour(x, y).map(|v| v.clamp(0.0, 255.0).round() as u8));
    let image = RgbImage::from_raw(width as u32, height as u32, bytes.collect())?;
    let mut png = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image)
        .write_to(&mut png, ImageFormat::Png)
        .ok()?;
    Some(Image {
        height: i32::try_from(height).ok()?,
        width: i32::try_from(width).ok()?,
        colorspace: 3,
        encoded: png.into_inner(),
    })
}
