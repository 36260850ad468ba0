//! Variation of photos, as DARTS's `train_imagenet.py` has it: a part of any size and shape, mirroring, colours. The formulas
//! are torchvision's (`RandomResizedCrop`, `ColorJitter`).

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rand_chacha::ChaCha8Rng;

use super::frame::middle;
use crate::rng::{below, permutation, unit};

/// How photos are varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Photo {
    /// The smallest share of an image's area that is taken.
    pub smallest_part: f64,
    /// By how much brightness, contrast and saturation change at most, as a share of themselves; the hue by half as much of a
    /// turn.
    pub colour_change: f64,
}

/// A part is this much wider than its shape should be, or as much narrower, at most.
const STRETCHED: f64 = 4.0 / 3.0;

/// Draws until a part fits into the image.
const TRIES: usize = 10;

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first row and column.
    pub corner: [usize; 2],
    /// Its height and width.
    pub size: [usize; 2],
}

/// One change of colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// v ← f v.
    Brightness(f64),
    /// v ← f v + (1 − f) · the mean grey.
    Contrast(f64),
    /// v ← f v + (1 − f) · the pixel's grey.
    Saturation(f64),
    /// The hue moves by this share of a turn.
    Hue(f64),
}

/// One draw of a photo's variation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Look {
    part: Part,
    changes: Vec<Change>,
}

impl Photo {
    /// Of images of `whole` (height, width), of which `seen` are to be seen.
    pub(super) fn draw(&self, whole: [usize; 2], seen: [usize; 2], rng: &mut ChaCha8Rng) -> Look {
        let part = self.part(whole, seen, rng);
        let mut changes = Vec::new();
        if self.colour_change > 0.0 {
            let mut between = |bound: f64| (2.0 * unit(rng) - 1.0) * bound;
            let c = self.colour_change;
            let all = [
                Change::Brightness(1.0 + between(c)),
                Change::Contrast(1.0 + between(c)),
                Change::Saturation(1.0 + between(c)),
                Change::Hue(between(c / 2.0)),
            ];
            let order = permutation(rng, all.len());
            changes.extend(order.into_iter().map(|i| all[i as usize]));
        }
        Look { part, changes }
    }

    /// A part whose area is uniform in the shares allowed, and whose shape is uniform in the logarithm of its stretching.
    fn part(&self, whole: [usize; 2], seen: [usize; 2], rng: &mut ChaCha8Rng) -> Part {
        let area = (whole[0] * whole[1]) as f64;
        let shape = seen[1] as f64 / seen[0] as f64;
        for _ in 0..TRIES {
            let share = self.smallest_part + (1.0 - self.smallest_part) * unit(rng);
            let ratio = shape * ((2.0 * unit(rng) - 1.0) * STRETCHED.ln()).exp();
            let exact = [share * area / ratio, share * area * ratio];
            let size = exact.map(|square| square.sqrt().round() as usize);
            if (0..2).all(|i| (1..=whole[i]).contains(&size[i])) {
                let corner = [0, 1].map(|i| below(rng, whole[i] - size[i] + 1));
                return Part { corner, size };
            }
        }
        // The largest part in the middle whose shape is allowed.
        let ratio = whole[1] as f64 / whole[0] as f64;
        let allowed = ratio.clamp(shape / STRETCHED, shape * STRETCHED);
        let cut = |n: f64, most: usize| (n.round() as usize).clamp(1, most);
        let size = match ratio > allowed {
            true => [whole[0], cut(whole[0] as f64 * allowed, whole[1])],
            false => [cut(whole[1] as f64 / allowed, whole[0]), whole[1]],
        };
        let corner = [0, 1].map(|i| middle(whole[i], size[i]));
        Part { corner, size }
    }
}

impl Look {
    /// What is seen of the planes of an image `whole` (height, width), from 0 to `white`: planes of `seen`, from 0 to 1.
    pub(super) fn show(
        &self,
        pixels: &[u8],
        white: u8,
        (whole, seen): ([usize; 2], [usize; 2]),
        out: &mut [f32],
    ) {
        let planes = pixels.chunks_exact(whole[0] * whole[1]);
        let area = seen[0] * seen[1];
        for (plane, out) in planes.zip(out.chunks_exact_mut(area)) {
            let resized = resized(plane, whole[1], self.part, seen);
            for (to, pixel) in out.iter_mut().zip(resized) {
                *to = f32::from(pixel) / f32::from(white);
            }
        }
        for change in &self.changes {
            change.apply(out, area);
        }
    }

    /// What is seen of a mask, by the pixels nearest to those that are seen.
    pub(super) fn show_mask(
        &self,
        mask: &[bool],
        width: usize,
        seen: [usize; 2],
        out: &mut [bool],
    ) {
        let Part { corner, size } = self.part;
        let from = |i: usize, at: usize| corner[i] + (2 * at + 1) * size[i] / (2 * seen[i]);
        for (y, row) in out.chunks_exact_mut(seen[1]).enumerate() {
            for (x, to) in row.iter_mut().enumerate() {
                *to = mask[from(0, y) * width + from(1, x)];
            }
        }
    }
}

/// A part of a plane of this width, brought to a size by linear interpolation, with the means of what becomes one pixel.
fn resized(plane: &[u8], width: usize, part: Part, seen: [usize; 2]) -> Vec<u8> {
    let Part { corner, size } = part;
    let rows = plane.chunks_exact(width).skip(corner[0]).take(size[0]);
    let cut: Vec<u8> = rows
        .flat_map(|row| &row[corner[1]..corner[1] + size[1]])
        .copied()
        .collect();
    let mut out = vec![0; seen[0] * seen[1]];
    let sides = |[height, width]: [usize; 2]| (width as u32, height as u32);
    let ((w, h), (to_w, to_h)) = (sides(size), sides(seen));
    let from = ImageRef::new(w, h, &cut, PixelType::U8);
    let to = Image::from_slice_u8(to_w, to_h, &mut out, PixelType::U8);
    let linear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let done = match (from, to) {
        (Ok(from), Ok(mut to)) => Resizer::new().resize(&from, &mut to, &linear).is_ok(),
        _ => false,
    };
    assert!(done, "buffers have the sizes of their images");
    out
}

/// What the eye sees of three colours.
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// The greys of planes.
fn greys(planes: &[f32], area: usize) -> Vec<f32> {
    match planes.len() / area {
        3 => (0..area)
            .map(|i| (0..3).map(|c| GREY[c] * planes[c * area + i]).sum())
            .collect(),
        _ => planes[..area].to_vec(),
    }
}

impl Change {
    /// Changes planes of one or three colours, from 0 to 1. One colour has no saturation and no hue.
    fn apply(self, planes: &mut [f32], area: usize) {
        let coloured = planes.len() == 3 * area;
        let blend = |v: f32, with: f32, factor: f64| {
            (factor as f32 * v + (1.0 - factor) as f32 * with).clamp(0.0, 1.0)
        };
        match self {
            Self::Brightness(factor) => planes.iter_mut().for_each(|v| *v = blend(*v, 0.0, factor)),
            Self::Contrast(factor) => {
                let sum: f64 = greys(planes, area).into_iter().map(f64::from).sum();
                let mean = (sum / area as f64) as f32;
                planes.iter_mut().for_each(|v| *v = blend(*v, mean, factor));
            }
            Self::Saturation(factor) if coloured => {
                let greys = greys(planes, area);
                for plane in planes.chunks_exact_mut(area) {
                    let pixels = plane.iter_mut().zip(&greys);
                    pixels.for_each(|(v, grey)| *v = blend(*v, *grey, factor));
                }
            }
            Self::Hue(turn) if coloured => {
                for i in 0..area {
                    let turned = turned([0, 1, 2].map(|c| planes[c * area + i]), turn as f32);
                    (0..3).for_each(|c| planes[c * area + i] = turned[c]);
                }
            }
            Self::Saturation(_) | Self::Hue(_) => {}
        }
    }
}

/// A colour whose hue moves by a share of a turn, through hue, saturation and value.
fn turned(rgb: [f32; 3], turn: f32) -> [f32; 3] {
    let [red, green, blue] = rgb;
    let value = red.max(green).max(blue);
    let range = value - red.min(green).min(blue);
    if range == 0.0 {
        return rgb;
    }
    let saturation = range / value;
    let to = rgb.map(|v| (value - v) / range);
    let sixths = if value == red {
        to[2] - to[1]
    } else if value == green {
        2.0 + to[0] - to[2]
    } else {
        4.0 + to[1] - to[0]
    };
    let hue = (sixths / 6.0 + turn).rem_euclid(1.0) * 6.0;
    let (sector, within) = (hue.floor(), hue - hue.floor());
    let low = |share: f32| (value * (1.0 - saturation * share)).clamp(0.0, 1.0);
    let (p, q, t) = (low(1.0), low(within), low(1.0 - within));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::ImageSize;
    use crate::data::frame::{Frame, Framing};
    use crate::rng::{Purpose, stream};

    const WHOLE: [usize; 2] = [9, 12];

    /// The numbers that `reference/make_photos.py` wrote, and the image that they are of.
    fn frozen() -> (Value, Vec<u8>) {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/photos.json"
        ));
        let pixels = (0..3 * 9 * 12).map(|k: u32| (k * 97 % 251) as u8).collect();
        (serde_json::from_str(text).unwrap(), pixels)
    }

    fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn worst(ours: &[f32], theirs: &Value, unit: f32) -> f32 {
        let theirs: Vec<f32> = read(theirs);
        assert_eq!(ours.len(), theirs.len());
        let off = ours.iter().zip(theirs).map(|(a, b)| (a * unit - b).abs());
        off.fold(0.0, f32::max)
    }

    #[test]
    fn parts_and_colours_are_torchvisions() {
        let (all, pixels) = frozen();
        for crop in all["crops"].as_array().unwrap() {
            let [top, left, height, width]: [usize; 4] = read(&crop["box"]);
            let seen: [usize; 2] = read(&crop["size"]);
            let part = Part {
                corner: [top, left],
                size: [height, width],
            };
            let changes = Vec::new();
            let mut out = vec![0.0; 3 * seen[0] * seen[1]];
            Look { part, changes }.show(&pixels, 255, (WHOLE, seen), &mut out);
            // Ours are rounded to whole numbers, once along each side.
            assert!(worst(&out, &crop["out"], 255.0) < 1.01, "{crop}");
        }
        for colour in all["colours"].as_array().unwrap() {
            let factor: f64 = read(&colour["factor"]);
            let change = match colour["name"].as_str().unwrap() {
                "brightness" => Change::Brightness(factor),
                "contrast" => Change::Contrast(factor),
                "saturation" => Change::Saturation(factor),
                _ => Change::Hue(factor),
            };
            let mut planes: Vec<f32> = pixels.iter().map(|p| f32::from(*p) / 255.0).collect();
            change.apply(&mut planes, 9 * 12);
            assert!(worst(&planes, &colour["out"], 1.0) < 2e-5, "{change:?}");
        }
    }

    #[test]
    fn the_middle_of_a_photo_is_torchvisions() {
        let (all, pixels) = frozen();
        let image = image::RgbImage::from_fn(12, 9, |x, y| {
            let at = (y * 12 + x) as usize;
            image::Rgb([0, 1, 2].map(|c| pixels[c * 9 * 12 + at]))
        });
        for view in all["views"].as_array().unwrap() {
            let [side, _]: [usize; 2] = read(&view["crop"]);
            let frame = Frame {
                size: ImageSize::square(side),
                framing: Framing::Crop,
            };
            let [rows, _]: [usize; 2] = read(&view["resized"]);
            let kept = frame.fitted(&image.clone().into()).to_rgb8();
            assert_eq!((kept.width(), kept.height()), (rows as u32, rows as u32));
            let inner = middle(rows, side);
            let mut ours = Vec::new();
            for c in 0..3 {
                for y in 0..side {
                    let row = (0..side)
                        .map(|x| kept.get_pixel((x + inner) as u32, (y + inner) as u32)[c]);
                    ours.extend(row.map(f32::from));
                }
            }
            assert!(worst(&ours, &view["out"], 1.0) < 1.01, "{view}");
        }
    }

    #[test]
    fn parts_lie_in_the_image_and_have_the_shares_and_shapes_that_are_allowed() {
        let photo = Photo {
            smallest_part: 0.08,
            colour_change: 0.4,
        };
        let mut rng = stream(1, Purpose::DerivedAugment, 0);
        let mut shares = 0.0;
        for _ in 0..400 {
            let look = photo.draw([110, 146], [96, 128], &mut rng);
            let Part { corner, size } = look.part;
            assert!(corner[0] + size[0] <= 110 && corner[1] + size[1] <= 146);
            let share = (size[0] * size[1]) as f64 / (110.0 * 146.0);
            let stretched = size[1] as f64 / size[0] as f64 / (128.0 / 96.0);
            assert!((0.07..=1.0).contains(&share) && (0.7..1.4).contains(&stretched));
            assert_eq!(look.changes.len(), 4);
            shares += share / 400.0;
        }
        assert!((0.4..0.6).contains(&shares), "{shares}");
        let thin = photo.part([2, 50], [8, 8], &mut rng);
        assert!(thin.size[0] <= 2 && thin.corner[1] + thin.size[1] <= 50);
    }
}
