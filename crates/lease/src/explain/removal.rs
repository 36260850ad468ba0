//! What becomes of predictions when the pixels that a map calls relevant are taken away, or the others.
//!
//! ROAD (Rong et al., arXiv 2202.00449): the share p of the pixels is removed, the most relevant first (MoRF) or the least
//! relevant first (LeRF), and filled by noisy linear imputation, which leaves no outline of what was removed to be read; the network
//! is not trained again. A good map has a low accuracy by MoRF and a high one by LeRF:
//!
//! gap = mean over p = 10 %, 20 %, …, 90 % of (accuracy by LeRF − accuracy by MoRF).
//!
//! Deletion and insertion (Petsiuk et al., *RISE*, arXiv 1806.07421): the area under the curve of the predicted class's probability as
//! the most relevant pixels go, or come, from 0 to 100 %. What stands for a missing pixel decides much of it, so there are two fills,
//! and both measures are secondary.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::impute::{Fill, noise, without};
use super::subject::{Planes, Subject};
use crate::rng::{Purpose, stream};

/// Steps of the shares that are removed.
pub const LEVELS: usize = 9;

/// The share that is removed at a level, from 0.
pub fn share(level: usize) -> f64 {
    (level + 1) as f64 / (LEVELS + 1) as f64
}

/// One of the two orders in which pixels go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The most relevant first.
    Most,
    /// The least relevant first.
    Least,
}

/// So many pixels of an order that begins with the most relevant.
pub fn removed(order: &[u32], first: First, count: usize) -> &[u32] {
    match first {
        First::Most => &order[..count],
        First::Least => &order[order.len() - count..],
    }
}

/// The number of pixels that are a share of them.
pub fn pixels(area: usize, level: usize) -> usize {
    area * (level + 1) / (LEVELS + 1)
}

/// What the network says of images as they lose pixels.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The predicted class's probability, `[level][image]`.
    pub probability: Vec<Vec<f64>>,
    /// 1 where the class that counts is predicted and 0 elsewhere, `[level][image]`.
    pub correct: Vec<Vec<f64>>,
}

/// What is measured on.
pub struct Removal<'a> {
    /// The network.
    pub subject: &'a Subject,
    /// The images.
    pub images: &'a Planes,
    /// The class that the network predicts for each image as it is.
    pub predicted: &'a [usize],
    /// The class that counts as correct.
    pub counted: &'a [usize],
    /// The seed.
    pub seed: u64,
    /// Images in one pass.
    pub at_once: usize,
}

impl Removal<'_> {
    /// Probability and correctness of images.
    fn scores(&self, images: &Planes) -> [Vec<f64>; 2] {
        let classes = self.subject.classes.len();
        let probabilities = self.subject.probabilities(images, self.at_once);
        let rows: Vec<&[f32]> = probabilities.chunks_exact(classes).collect();
        let of = rows.iter().zip(self.predicted);
        let probability = of.map(|(row, class)| f64::from(row[*class])).collect();
        let of = rows.iter().zip(self.counted);
        let correct = of.map(|(row, class)| f64::from(u8::from(largest(row) == *class)));
        [probability, correct.collect()]
    }

    /// The images with these pixels filled, at a level.
    fn at(
        &self,
        fill: Fill,
        level: usize,
        missing: impl Fn(usize) -> Vec<u32> + Sync,
    ) -> [Vec<f64>; 2] {
        let noise = noise(&self.subject.normalisation.std);
        let rng = |image: usize| {
            let index = ((level as u64) << 32) + image as u64;
            stream(self.seed, Purpose::Imputation, index)
        };
        self.scores(&without(self.images, fill, missing, (&noise, rng)))
    }

    /// The curve by which pixels go in an order, `tick` after each level; none if it was asked to stop.
    pub fn curve(
        &self,
        orders: &[Vec<u32>],
        (fill, first): (Fill, First),
        (tick, stop): (&mut dyn FnMut(), &AtomicBool),
    ) -> Option<Curve> {
        let area = self.images.area();
        let (mut probability, mut correct) = (Vec::new(), Vec::new());
        for level in 0..LEVELS {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let missing = |i: usize| removed(&orders[i], first, pixels(area, level)).to_vec();
            let [p, c] = self.at(fill, level, missing);
            probability.push(p);
            correct.push(c);
            tick();
        }
        Some(Curve {
            probability,
            correct,
        })
    }

    /// The predicted class's probability of the images as they are, and where all of each is filled.
    pub fn ends(&self, fill: Fill) -> [Vec<f64>; 2] {
        let [whole, _] = self.scores(self.images);
        let all: Vec<u32> = (0..self.images.area() as u32).collect();
        let [none, _] = self.at(fill, LEVELS, |_| all.clone());
        [whole, none]
    }
}

/// The place of the largest number, of equals the first.
pub fn largest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best })
}

/// For each image the mean over the levels of what one curve has more than another.
pub fn gap(more: &[Vec<f64>], less: &[Vec<f64>]) -> Vec<f64> {
    let images = more.first().map_or(0, Vec::len);
    let one = |i: usize| {
        let levels = more.iter().zip(less);
        levels.map(|(m, l)| m[i] - l[i]).sum::<f64>() / more.len() as f64
    };
    (0..images).map(one).collect()
}

/// For each image the area under a curve from 0 to 1 in equal steps, by trapezoids, between its two ends.
pub fn area_under(first: &[f64], between: &[Vec<f64>], last: &[f64]) -> Vec<f64> {
    let steps = (between.len() + 1) as f64;
    let one = |i: usize| {
        let inner: f64 = between.iter().map(|level| level[i]).sum();
        (0.5 * (first[i] + last[i]) + inner) / steps
    };
    (0..first.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_take_their_own_end_and_areas_are_those_of_trapezoids() {
        let order = [7, 3, 5, 1];
        assert_eq!(removed(&order, First::Most, 2), [7, 3]);
        assert_eq!(removed(&order, First::Least, 1), [1]);
        assert_eq!([0, 4, 8].map(|level| pixels(64, level)), [6, 32, 57]);
        // A straight line from 1 to 0.
        let line: Vec<Vec<f64>> = (1..10).map(|k| vec![1.0 - k as f64 / 10.0]).collect();
        let area = area_under(&[1.0], &line, &[0.0]);
        assert!((area[0] - 0.5).abs() < 1e-12);
        let gaps = gap(
            &[vec![1.0, 0.0], vec![1.0, 1.0]],
            &[vec![0.0, 0.0], vec![1.0, 0.0]],
        );
        assert_eq!(gaps, [0.5, 0.5]);
    }
}
