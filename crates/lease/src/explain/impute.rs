//! What stands where pixels were removed.
//!
//! Noisy linear imputation (Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, arXiv
//! 2202.00449, section 4): each missing pixel is the weighted mean of its eight neighbours, missing or not, 1/6 for each that
//! touches it by a side and 1/12 for each that does by a corner, plus normal noise of σ 0.01; at the border the weights of the
//! neighbours that there are. That is a sparse linear system, one for all channels. It is solved directly, by Cholesky's
//! factorisation of a band: the matrix is symmetric and, as long as a pixel is left, positive definite.

use rand::Rng;

use super::maps::smoothed;
use super::subject::Planes;
use crate::rng::unit;

/// σ of the noise, in units of white = 1.
pub const NOISE: f64 = 0.01;

/// Neighbours, as (rows down, columns right, weight).
const NEIGHBOURS: [(isize, isize, f64); 8] = [
    (-1, -1, 1.0 / 12.0),
    (-1, 0, 1.0 / 6.0),
    (-1, 1, 1.0 / 12.0),
    (0, -1, 1.0 / 6.0),
    (0, 1, 1.0 / 6.0),
    (1, -1, 1.0 / 12.0),
    (1, 0, 1.0 / 6.0),
    (1, 1, 1.0 / 12.0),
];

/// An image `[channels, h, w]` without some of its pixels (`missing`, by number), each of them filled by linear imputation.
/// An image of which all is missing becomes its channels' means.
pub fn linear(image: &[f32], [channels, h, w]: [usize; 3], missing: &[u32]) -> Vec<f32> {
    let area = h * w;
    if missing.len() >= area {
        return mean(image, [channels, h, w], missing);
    }
    let mut unknowns = missing.to_vec();
    unknowns.sort_unstable();
    let mut place = vec![usize::MAX; area];
    for (i, pixel) in unknowns.iter().enumerate() {
        place[*pixel as usize] = i;
    }
    let mut matrix = Band::zeros(unknowns.len(), band(&unknowns, &place, [h, w]));
    let mut right = vec![0.0; unknowns.len() * channels];
    for (i, pixel) in unknowns.iter().enumerate() {
        let mut total = 0.0;
        for (neighbour, weight) in neighbours(*pixel as usize, [h, w]) {
            total += weight;
            match place[neighbour] {
                usize::MAX => {
                    for c in 0..channels {
                        right[i * channels + c] += weight * f64::from(image[c * area + neighbour]);
                    }
                }
                // The lower half is all of a symmetric matrix.
                j if j < i => *matrix.at(i, j) = -weight,
                _ => {}
            }
        }
        *matrix.at(i, i) = total;
    }
    matrix.solve(&mut right, channels);
    let mut filled = image.to_vec();
    for (i, pixel) in unknowns.iter().enumerate() {
        for c in 0..channels {
            filled[c * area + *pixel as usize] = right[i * channels + c] as f32;
        }
    }
    filled
}

/// The neighbours of a pixel, with their weights.
fn neighbours(pixel: usize, [h, w]: [usize; 2]) -> impl Iterator<Item = (usize, f64)> {
    let (y, x) = ((pixel / w) as isize, (pixel % w) as isize);
    NEIGHBOURS.iter().filter_map(move |(down, right, weight)| {
        let (y, x) = (y + down, x + right);
        let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
        inside.then_some((y as usize * w + x as usize, *weight))
    })
}

/// The most places between an unknown and one of its neighbours before it.
fn band(unknowns: &[u32], place: &[usize], shape: [usize; 2]) -> usize {
    let mut most = 0;
    for (i, pixel) in unknowns.iter().enumerate() {
        for (neighbour, _) in neighbours(*pixel as usize, shape) {
            if place[neighbour] < i {
                most = most.max(i - place[neighbour]);
            }
        }
    }
    most
}

/// The lower half of a symmetric matrix that is 0 but for a band.
struct Band {
    rows: usize,
    width: usize,
    /// Row by row, the diagonal last.
    values: Vec<f64>,
}

impl Band {
    fn zeros(rows: usize, width: usize) -> Self {
        Self {
            rows,
            width,
            values: vec![0.0; rows * (width + 1)],
        }
    }

    fn index(&self, i: usize, j: usize) -> usize {
        i * (self.width + 1) + self.width + j - i
    }

    fn at(&mut self, i: usize, j: usize) -> &mut f64 {
        let index = self.index(i, j);
        &mut self.values[index]
    }

    /// x of A x = b for several b, `[rows, columns]`, in their place.
    fn solve(mut self, right: &mut [f64], columns: usize) {
        self.factorise();
        for i in 0..self.rows {
            let first = i.saturating_sub(self.width);
            let diagonal = self.values[self.index(i, i)];
            for c in 0..columns {
                let before = (first..i).map(|j| {
                    let factor = self.values[self.index(i, j)];
                    factor * right[j * columns + c]
                });
                let sum: f64 = before.sum();
                let at = &mut right[i * columns + c];
                *at = (*at - sum) / diagonal;
            }
        }
        for i in (0..self.rows).rev() {
            let first = i.saturating_sub(self.width);
            for c in 0..columns {
                right[i * columns + c] /= self.values[self.index(i, i)];
                let value = right[i * columns + c];
                for j in first..i {
                    right[j * columns + c] -= self.values[self.index(i, j)] * value;
                }
            }
        }
    }

    /// L of A = L Lᵀ, in its place.
    fn factorise(&mut self) {
        for i in 0..self.rows {
            let first = i.saturating_sub(self.width);
            for j in first..=i {
                let from = first.max(j.saturating_sub(self.width));
                let (a, b) = (self.index(i, from), self.index(j, from));
                let pairs = self.values[a..][..j - from]
                    .iter()
                    .zip(&self.values[b..][..j - from]);
                let sum: f64 = pairs.map(|(x, y)| x * y).sum();
                let rest = *self.at(i, j) - sum;
                *self.at(i, j) = if i == j {
                    rest.sqrt()
                } else {
                    rest / self.values[self.index(j, j)]
                };
            }
        }
    }
}

/// What is put where pixels are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Noisy linear imputation.
    NoisyLinear,
    /// The image's mean, channel by channel.
    Mean,
    /// The image blurred by a Gaussian of an eighth of its side.
    Blur,
}

/// An image without some of its pixels; noise, where the fill has some, in units of the channels' deviations.
pub fn filled(
    fill: Fill,
    image: &[f32],
    shape: [usize; 3],
    missing: &[u32],
    (noise, rng): (&[f64], &mut impl Rng),
) -> Vec<f32> {
    match fill {
        Fill::NoisyLinear => {
            let mut all = linear(image, shape, missing);
            let area = shape[1] * shape[2];
            // Drawn for every pixel, so that a pixel's noise does not depend on which others are missing.
            let draws: Vec<f64> = (0..all.len()).map(|_| normal(rng)).collect();
            for pixel in missing {
                for (c, deviation) in noise.iter().enumerate() {
                    let at = c * area + *pixel as usize;
                    all[at] += (deviation * draws[at]) as f32;
                }
            }
            all
        }
        Fill::Mean => mean(image, shape, missing),
        Fill::Blur => blurred(image, shape, missing),
    }
}

/// A standard normal number (Box–Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let (radius, angle) = (unit(rng), unit(rng));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

fn mean(image: &[f32], [_, h, w]: [usize; 3], missing: &[u32]) -> Vec<f32> {
    let mut all = image.to_vec();
    for plane in all.chunks_exact_mut(h * w) {
        let mean = plane.iter().map(|v| f64::from(*v)).sum::<f64>() / (h * w) as f64;
        for pixel in missing {
            plane[*pixel as usize] = mean as f32;
        }
    }
    all
}

fn blurred(image: &[f32], [_, h, w]: [usize; 3], missing: &[u32]) -> Vec<f32> {
    let mut all = image.to_vec();
    for plane in all.chunks_exact_mut(h * w) {
        let blurred = smoothed(plane, [h, w], h.min(w) as f64 / 8.0);
        for pixel in missing {
            plane[*pixel as usize] = blurred[*pixel as usize];
        }
    }
    all
}

/// σ of the noise of each channel of images that were normalised by these deviations.
pub fn noise(deviations: &[f32]) -> Vec<f64> {
    let of = deviations.iter().map(|std| NOISE / f64::from(*std));
    of.collect()
}

/// All images without some of their pixels, by number.
pub fn without(
    images: &Planes,
    fill: Fill,
    missing: impl Fn(usize) -> Vec<u32> + Sync,
    (noise, rng): (&[f64], impl Fn(usize) -> rand_chacha::ChaCha8Rng + Sync),
) -> Planes {
    images.map(|i, image| {
        let mut rng = rng(i);
        filled(fill, image, images.shape, &missing(i), (noise, &mut rng))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_pixel_is_the_weighted_mean_of_its_neighbours_and_a_plane_stays_a_plane() {
        let image = [1.0, 2.0, 3.0, 4.0, 99.0, 6.0, 7.0, 8.0, 10.0];
        let filled = linear(&image, [1, 3, 3], &[4]);
        let expected = (1.0 + 3.0 + 7.0 + 10.0) / 12.0 + (2.0 + 4.0 + 6.0 + 8.0) / 6.0;
        assert!((f64::from(filled[4]) - expected).abs() < 1e-6);
        assert_eq!(&filled[..4], &image[..4]);
        // What is constant stays so however much of it is missing.
        let missing: Vec<u32> = (0..120).filter(|p| *p != 17).collect();
        let flat = linear(&[0.25; 240], [2, 10, 12], &missing);
        assert!(flat.iter().all(|v| (v - 0.25).abs() < 1e-6));
        // With nothing left there is nothing to go by but the mean.
        let all: Vec<u32> = (0..9).collect();
        let nothing = linear(&image, [1, 3, 3], &all);
        assert!(nothing.iter().all(|v| (v - 140.0 / 9.0).abs() < 1e-5));
    }
}
