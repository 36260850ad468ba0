//! Maps of how much each pixel matters: that of an explanation, and the controls that it has to beat.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::subject::Planes;
use crate::rng::{Purpose, permutation, stream, unit};

/// Where a map is from. All but the first are controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Σ |δ| over the channels, of the image's explanation.
    Explanation,
    /// Uniform random numbers.
    Random,
    /// The size of the image's own slope, by Sobel's filter: it knows nothing of the network.
    Edges,
    /// Σ |∂ logit of the predicted class / ∂ x| over the channels, one backward pass (arXiv 1312.6034).
    Gradient,
    /// The explanation of another image.
    Other,
}

impl Source {
    /// All, the explanation first.
    pub const ALL: [Self; 5] = [
        Self::Explanation,
        Self::Random,
        Self::Edges,
        Self::Gradient,
        Self::Other,
    ];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explanation => "explanation",
            Self::Random => "random map",
            Self::Edges => "edge map",
            Self::Gradient => "gradient",
            Self::Other => "another image's",
        }
    }
}

/// How much each pixel of each image matters, `[count, h, w]`, none below 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// The numbers.
    pub values: Vec<f32>,
    /// Height and width.
    pub shape: [usize; 2],
}

impl Maps {
    /// Σ |·| over the channels.
    pub fn of(planes: &Planes) -> Self {
        let (size, area) = (planes.size(), planes.area());
        let [channels, h, w] = planes.shape;
        let one = |image: &[f32]| -> Vec<f32> {
            let pixel = |p: usize| (0..channels).map(|c| image[c * area + p].abs()).sum();
            (0..area).map(pixel).collect()
        };
        Self {
            values: planes.values.chunks_exact(size).flat_map(one).collect(),
            shape: [h, w],
        }
    }

    /// Uniform random numbers.
    pub fn random(count: usize, shape: [usize; 2], (seed, draw): (u64, u64)) -> Self {
        let area = shape[0] * shape[1];
        let one = |image: usize| {
            let mut rng = stream(seed, Purpose::RandomMap, (draw << 32) + image as u64);
            (0..area).map(|_| unit(&mut rng) as f32).collect::<Vec<_>>()
        };
        Self {
            values: (0..count).flat_map(one).collect(),
            shape,
        }
    }

    /// √(gₓ² + g_y²) of the mean over the channels, by Sobel's 3×3 filters; beyond the border the border's pixels go on.
    pub fn edges(planes: &Planes) -> Self {
        let [channels, h, w] = planes.shape;
        let area = planes.area();
        let one = |image: &[f32]| -> Vec<f32> {
            let grey = |y: isize, x: isize| -> f32 {
                let (y, x) = (y.clamp(0, h as isize - 1), x.clamp(0, w as isize - 1));
                let p = y as usize * w + x as usize;
                (0..channels).map(|c| image[c * area + p]).sum::<f32>() / channels as f32
            };
            let slope = |p: usize| {
                let (y, x) = ((p / w) as isize, (p % w) as isize);
                let along = |dy: isize, dx: isize| {
                    // One step along (dy, dx), smoothed across it.
                    let side = |s: isize, t: isize| grey(y + s * dy + t * dx, x + s * dx + t * dy);
                    let at = |s: isize| side(s, -1) + 2.0 * side(s, 0) + side(s, 1);
                    at(1) - at(-1)
                };
                along(0, 1).hypot(along(1, 0))
            };
            (0..area).map(slope).collect()
        };
        let images = planes.values.par_chunks_exact(planes.size());
        let all: Vec<Vec<f32>> = images.map(one).collect();
        Self {
            values: all.concat(),
            shape: [h, w],
        }
    }

    /// Those of the next image for each; the last has that of the first.
    pub fn of_others(&self) -> Self {
        let mut values = self.values.clone();
        values.rotate_left(self.area().min(self.values.len()));
        Self {
            values,
            shape: self.shape,
        }
    }

    /// Pixels of one.
    pub fn area(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.values.len() / self.area()
    }

    /// One of them.
    pub fn map(&self, number: usize) -> &[f32] {
        &self.values[number * self.area()..][..self.area()]
    }

    /// Each map through a function of its number and values.
    pub fn each<T: Send>(&self, value: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        (0..self.count())
            .into_par_iter()
            .map(|i| value(i, self.map(i)))
            .collect()
    }

    /// The pixels of each image, the most relevant first; equals in random order, which depends on seed and image alone.
    pub fn orders(&self, seed: u64) -> Vec<Vec<u32>> {
        self.each(|image, map| {
            let mut rng = stream(seed, Purpose::RandomMap, (1 << 63) + image as u64);
            let mut order = permutation(&mut rng, map.len());
            order.sort_by(|a, b| map[*b as usize].total_cmp(&map[*a as usize]));
            order
        })
    }
}

/// An image `[h, w]` smoothed by a Gaussian of this deviation in pixels; beyond the border the border's pixels go on.
pub fn smoothed(map: &[f32], [h, w]: [usize; 2], deviation: f64) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as isize;
    let weight = |d: isize| (-0.5 * (d as f64 / deviation).powi(2)).exp();
    let weights: Vec<f64> = (-reach..=reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let along = |from: &[f64], length: usize, stride: usize, start: usize, i: usize| -> f64 {
        let all = weights.iter().zip(-reach..);
        let parts = all.map(|(weight, d)| {
            let at = (i as isize + d).clamp(0, length as isize - 1) as usize;
            weight * from[start + at * stride]
        });
        parts.sum::<f64>() / sum
    };
    let from: Vec<f64> = map.iter().map(|v| f64::from(*v)).collect();
    let pixels = 0..h * w;
    let rows: Vec<f64> = pixels
        .clone()
        .map(|p| along(&from, w, 1, p / w * w, p % w))
        .collect();
    let both = pixels.map(|p| along(&rows, h, w, p % w, p / w) as f32);
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_where_the_image_changes_and_flat_images_have_none() {
        // Left half 0, right half 1.
        let step: Vec<f32> = (0..24).map(|p| f32::from(u8::from(p % 6 >= 3))).collect();
        let planes = Planes {
            values: [step, vec![0.7; 24]].concat(),
            shape: [1, 4, 6],
        };
        let edges = Maps::edges(&planes);
        let row = [0.0, 0.0, 4.0, 4.0, 0.0, 0.0];
        assert_eq!(edges.map(0), [row; 4].concat());
        assert_eq!(edges.map(1), [0.0; 24]);
    }

    #[test]
    fn orders_begin_with_the_most_relevant_and_draw_lots_among_equals() {
        let maps = Maps {
            values: [[0.0, 3.0, 1.0, 0.0]; 40].concat(),
            shape: [2, 2],
        };
        let orders = maps.orders(5);
        assert!(orders.iter().all(|order| order[..2] == [1, 2]));
        let first = orders.iter().filter(|order| order[2] == 0).count();
        assert!((5..35).contains(&first), "{first}");
        assert_eq!(maps.orders(5), orders);
    }

    #[test]
    fn smoothing_keeps_the_mean_of_what_is_constant_and_spreads_a_point_evenly() {
        let flat = smoothed(&[2.0; 12], [3, 4], 1.0);
        assert!(flat.iter().all(|v| (v - 2.0).abs() < 1e-6));
        let mut point = vec![0.0; 81];
        point[40] = 1.0;
        let spread = smoothed(&point, [9, 9], 1.0);
        assert!((spread[31] - spread[41]).abs() < 1e-7 && spread[40] > spread[31]);
        let ratio = f64::from(spread[31] / spread[40]);
        assert!((ratio - (-0.5f64).exp()).abs() < 1e-5, "{ratio}");
    }
}
