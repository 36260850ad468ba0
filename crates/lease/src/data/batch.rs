//! From pixels to normalised batches.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Images;
use super::frame::middle;
use super::photo::{Look, Photo};
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
    /// Takes a part of any size and changes its colours, instead of shifting.
    pub photo: Option<Photo>,
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
    fn sizes(&self) -> Sizes {
        let [_, height, width] = self.seen();
        Sizes {
            whole: [self.shape[1], self.shape[2]],
            seen: [height, width],
        }
    }

    /// The images with these indices, normalised, and varied if asked.
    pub fn batch(
        &self,
        indices: &[u32],
        normalisation: &Normalisation,
        vary: Option<(&Augmentation, &mut ChaCha8Rng)>,
    ) -> Batch {
        let [channels, height, width] = self.seen();
        let sizes = self.sizes();
        let (size, area) = (channels * height * width, height * width);
        let mut vary = vary;
        let mut draw = || match &mut vary {
            Some((augmentation, rng)) => augmentation.draw(sizes, rng),
            None => View::default(),
        };
        let views: Vec<View> = indices.iter().map(|_| draw()).collect();
        let mut values = vec![0.0; indices.len() * size];
        let all = indices.par_iter().zip(&views);
        all.zip(values.par_chunks_exact_mut(size))
            .for_each(|((index, view), out)| {
                let pixels = self.image(*index as usize);
                view.show(pixels, self.white, (sizes, normalisation), out);
            });
        let masks = self.masks.as_ref().map(|_| {
            let mut masks = vec![false; indices.len() * area];
            for ((index, view), to) in indices.iter().zip(&views).zip(masks.chunks_exact_mut(area))
            {
                if let Some(mask) = self.relevant(*index as usize) {
                    view.show_mask(mask, sizes, to);
                }
            }
            masks
        });
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

/// Height and width of images as they are kept and as networks see them.
#[derive(Clone, Copy)]
struct Sizes {
    whole: [usize; 2],
    seen: [usize; 2],
}

impl Sizes {
    /// Where the middle that is seen begins.
    fn corner(self) -> [isize; 2] {
        [0, 1].map(|i| middle(self.whole[i], self.seen[i]) as isize)
    }
}

/// One draw of an augmentation.
#[derive(Default)]
struct View {
    look: Option<Look>,
    down: isize,
    right: isize,
    mirrored: bool,
    /// Rows and columns of the square that is blanked.
    blank: Option<[std::ops::Range<usize>; 2]>,
}

impl Augmentation {
    /// Passes over the draws of so many of these images.
    pub fn skip(&self, images: usize, of: &Images, rng: &mut ChaCha8Rng) {
        for _ in 0..images {
            self.draw(of.sizes(), rng);
        }
    }

    fn draw(&self, sizes: Sizes, rng: &mut ChaCha8Rng) -> View {
        let [height, width] = sizes.seen;
        let mut shift = || below(rng, 2 * self.shift + 1) as isize - self.shift as isize;
        let (down, right) = (shift(), shift());
        let mirrored = below(rng, 2) == 1 && self.flip;
        let mut span = |n: usize| {
            let middle = below(rng, n);
            let start = middle.saturating_sub(self.cutout / 2);
            start..(middle + self.cutout.div_ceil(2)).min(n)
        };
        let square = [span(height), span(width)];
        let look = self
            .photo
            .map(|photo| photo.draw(sizes.whole, sizes.seen, rng));
        View {
            look,
            down,
            right,
            mirrored,
            blank: (self.cutout > 0).then_some(square),
        }
    }
}

impl View {
    /// Fills the planes of `out` with what the view shows of an image's, normalised.
    fn show(
        &self,
        pixels: &[u8],
        white: u8,
        (sizes, normalisation): (Sizes, &Normalisation),
        out: &mut [f32],
    ) {
        let [height, width] = sizes.seen;
        let area = height * width;
        if let Some(look) = &self.look {
            look.show(pixels, white, (sizes.whole, sizes.seen), out);
        }
        let whole = pixels.chunks_exact(sizes.whole[0] * sizes.whole[1]);
        for (channel, (from, to)) in whole.zip(out.chunks_exact_mut(area)).enumerate() {
            let (mean, std) = (normalisation.mean[channel], normalisation.std[channel]);
            if self.look.is_some() {
                to.iter_mut().for_each(|v| *v = (*v - mean) / std);
                self.finish(to, width, 0.0);
            } else {
                let scale = 1.0 / (f32::from(white) * std);
                let value = |pixel| f32::from(pixel) * scale - mean / std;
                self.copy((from, 0), (to, 0.0), sizes, value);
            }
        }
    }

    /// Fills `to` with what the view shows of a mask.
    fn show_mask(&self, mask: &[bool], sizes: Sizes, to: &mut [bool]) {
        match &self.look {
            Some(look) => {
                look.show_mask(mask, sizes.whole[1], sizes.seen, to);
                self.finish(to, sizes.seen[1], false);
            }
            None => self.copy((mask, false), (to, false), sizes, |matters| matters),
        }
    }

    /// Mirrors a plane of what is seen, and blanks what is blanked.
    fn finish<T: Clone>(&self, to: &mut [T], width: usize, blank: T) {
        if self.mirrored {
            to.chunks_exact_mut(width).for_each(<[T]>::reverse);
        }
        self.fill(to, width, blank);
    }

    fn fill<T: Clone>(&self, to: &mut [T], width: usize, blank: T) {
        if let Some([rows, columns]) = &self.blank {
            for y in rows.clone() {
                to[y * width..][columns.clone()].fill(blank.clone());
            }
        }
    }

    /// Fills `to` with the values of what the view shows of `from`, beyond whose border all is `outside`; what is blanked
    /// becomes `blank`.
    fn copy<F: Copy, T: Clone>(
        &self,
        (from, outside): (&[F], F),
        (to, blank): (&mut [T], T),
        sizes: Sizes,
        value: impl Fn(F) -> T,
    ) {
        let ([height, width], whole) = (sizes.seen, sizes.whole);
        let [top, left] = sizes.corner();
        let inside = |at: isize, n: usize| (0..n as isize).contains(&at);
        for y in 0..height {
            for x in 0..width {
                let column = if self.mirrored { width - 1 - x } else { x };
                let row = y as isize + top + self.down;
                let column = column as isize + left + self.right;
                let pixel = if inside(row, whole[0]) && inside(column, whole[1]) {
                    from[row as usize * whole[1] + column as usize]
                } else {
                    outside
                };
                to[y * width + x] = value(pixel);
            }
        }
        self.fill(to, width, blank);
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
            photo: None,
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
            look: None,
        };
        let sizes = Sizes {
            whole: [2, 2],
            seen: [2, 2],
        };
        let mut out = [9.0; 4];
        view.copy((&[1u8, 2, 3, 4], 0), (&mut out, 0.0), sizes, f32::from);
        assert_eq!(out, [4.0, 0.0, 0.0, 0.0]);
    }
}
