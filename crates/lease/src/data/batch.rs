//! From pixels to normalised batches.

use rand_chacha::ChaCha8Rng;

use super::Images;
use crate::rng::below;

/// Mean and standard deviation of each channel, in units of white = 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations; 1 for a channel that never changes.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// That of these images.
    pub fn of(images: &Images) -> Self {
        let white = f64::from(images.white);
        let n = (images.len() * images.area()) as f64;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for channel in 0..images.shape[0] {
            let [sum, squares] = images.sums(channel);
            let average = sum as f64 / n;
            let variance = squares as f64 / n - average * average;
            mean.push((average / white) as f32);
            std.push(if variance > 0.0 {
                (variance.sqrt() / white) as f32
            } else {
                1.0
            });
        }
        Self { mean, std }
    }
}

/// Variation of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Shift by up to this many pixels each way; black comes in (a random crop of the padded image).
    pub shift: usize,
    /// Mirror left and right half the time.
    pub flip: bool,
    /// Side of a square set to the mean, anywhere, cut off at the border (DeVries & Taylor, arXiv 1708.04552).
    pub cutout: usize,
}

/// A batch in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised values, `[batch, channels, height, width]`.
    pub values: Vec<f32>,
    /// The shape of the values.
    pub shape: [usize; 4],
    /// The classes.
    pub labels: Vec<i64>,
    /// Which pixels matter, `[batch, height, width]`, where that is known.
    pub masks: Option<Vec<bool>>,
}

impl Images {
    /// The images with these indices, normalised, and varied if asked.
    pub fn batch(
        &self,
        indices: &[u32],
        normalisation: &Normalisation,
        vary: Option<(&Augmentation, &mut ChaCha8Rng)>,
    ) -> Batch {
        let [channels, height, width] = self.shape;
        let mut values = vec![0.0; indices.len() * self.size()];
        let mut masks = self.masks.as_ref().map(|_| Vec::new());
        let mut vary = vary;
        for (index, out) in indices.iter().zip(values.chunks_exact_mut(self.size())) {
            let view = match &mut vary {
                Some((augmentation, rng)) => augmentation.draw(height, width, rng),
                None => View::default(),
            };
            let pixels = self.image(*index as usize);
            let planes = pixels
                .chunks_exact(height * width)
                .zip(out.chunks_exact_mut(height * width));
            for (channel, (from, to)) in planes.enumerate() {
                let scale = 1.0 / (f32::from(self.white) * normalisation.std[channel]);
                let offset = normalisation.mean[channel] / normalisation.std[channel];
                let value = |pixel| f32::from(pixel) * scale - offset;
                view.copy((from, 0), (to, 0.0), [height, width], value);
            }
            if let Some((masks, mask)) = masks.as_mut().zip(self.relevant(*index as usize)) {
                let start = masks.len();
                masks.resize(start + mask.len(), false);
                let to = (&mut masks[start..], false);
                view.copy((mask, false), to, [height, width], |matters| matters);
            }
        }
        Batch {
            values,
            shape: [indices.len(), channels, height, width],
            labels: indices
                .iter()
                .map(|i| i64::from(self.labels[*i as usize]))
                .collect(),
            masks,
        }
    }
}

/// One draw of an augmentation.
#[derive(Default)]
struct View {
    down: isize,
    right: isize,
    mirrored: bool,
    /// Rows and columns of the square that is blanked.
    blank: Option<[std::ops::Range<usize>; 2]>,
}

impl Augmentation {
    /// Passes over the draws of so many images of this height and width.
    pub fn skip(&self, images: usize, [height, width]: [usize; 2], rng: &mut ChaCha8Rng) {
        for _ in 0..images {
            self.draw(height, width, rng);
        }
    }

    /// Always takes the same number of random values.
    fn draw(&self, height: usize, width: usize, rng: &mut ChaCha8Rng) -> View {
        let mut shift = || below(rng, 2 * self.shift + 1) as isize - self.shift as isize;
        let (down, right) = (shift(), shift());
        let mirrored = below(rng, 2) == 1 && self.flip;
        let mut span = |n: usize| {
            let middle = below(rng, n);
            let start = middle.saturating_sub(self.cutout / 2);
            start..(middle + self.cutout.div_ceil(2)).min(n)
        };
        let square = [span(height), span(width)];
        View {
            down,
            right,
            mirrored,
            blank: (self.cutout > 0).then_some(square),
        }
    }
}

impl View {
    /// Fills `to` with the values of what the view shows of `from`, beyond whose border all is `outside`; what is blanked
    /// becomes `blank`.
    fn copy<F: Copy, T: Clone>(
        &self,
        (from, outside): (&[F], F),
        (to, blank): (&mut [T], T),
        [height, width]: [usize; 2],
        value: impl Fn(F) -> T,
    ) {
        for y in 0..height {
            for x in 0..width {
                let column = if self.mirrored { width - 1 - x } else { x };
                let (row, column) = (y as isize + self.down, column as isize + self.right);
                let inside =
                    (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
                let pixel = if inside {
                    from[row as usize * width + column as usize]
                } else {
                    outside
                };
                to[y * width + x] = value(pixel);
            }
        }
        if let Some([rows, columns]) = &self.blank {
            for y in rows.clone() {
                to[y * width..][columns.clone()].fill(blank.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Dataset;
    use super::*;
    use crate::rng::{Purpose, stream};

    fn digits() -> Dataset {
        let settings = crate::data::DataSettings {
            dataset: crate::data::DatasetKind::Digits,
            ..Default::default()
        };
        Dataset::load(&settings.into()).unwrap()
    }

    #[test]
    fn the_digits_are_1797_images_and_normalise_to_mean_0_and_deviation_1() {
        let data = digits();
        assert_eq!(data.train.len() + data.test().len(), 1797);
        assert_eq!(data.train.image(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        let all: Vec<u32> = (0..data.train.len() as u32).collect();
        let batch = data.train.batch(&all, &data.normalisation, None);
        let n = batch.values.len() as f64;
        let mean = batch.values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let squares = batch
            .values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            / n;
        assert!(
            mean.abs() < 1e-5 && (squares - 1.0).abs() < 1e-5,
            "{mean} {squares}"
        );
    }

    #[test]
    fn variation_shifts_mirrors_and_blanks_by_the_seed_alone() {
        let data = digits();
        let vary = Augmentation {
            shift: 2,
            flip: true,
            cutout: 3,
        };
        let draw = |step| {
            let mut rng = stream(5, Purpose::AugmentExplainer, step);
            let with = Some((&vary, &mut rng));
            data.train.batch(&[7, 8], &data.normalisation, with)
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let view = View {
            down: 1,
            right: 0,
            mirrored: true,
            blank: Some([0..1, 1..2]),
        };
        let mut out = [9.0; 4];
        view.copy((&[1u8, 2, 3, 4], 0), (&mut out, 0.0), [2, 2], f32::from);
        assert_eq!(out, [4.0, 0.0, 0.0, 0.0]);
    }
}
