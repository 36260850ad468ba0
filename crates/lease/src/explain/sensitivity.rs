//! How far an explanation moves when its image hardly does (Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*, arXiv
//! 1901.09392, as Captum's `sensitivity_max` computes it):
//!
//! max over draws r of ‖φ(x + r) − φ(x)‖ / ‖φ(x)‖, r uniform in ±radius for every number of x,
//!
//! in Frobenius's norm; where φ(x) is 0 it is not divided.

use super::subject::Planes;
use crate::rng::{Purpose, stream, symmetric};

/// Images with a small change of every number; the draw of an image depends on seed, draw and its number alone.
pub fn shifted(images: &Planes, radius: f64, (seed, draw): (u64, u64)) -> Planes {
    images.map(|i, image| {
        let mut rng = stream(seed, Purpose::Shift, (draw << 32) + i as u64);
        let shift = symmetric(&mut rng, image.len(), radius);
        image.iter().zip(shift).map(|(x, r)| x + r).collect()
    })
}

/// ‖φ(x + r) − φ(x)‖ / ‖φ(x)‖ of each image.
pub fn moved(before: &Planes, after: &Planes) -> Vec<f64> {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let one = |i: usize| {
        let (a, b) = (before.image(i), after.image(i));
        let pairs = a.iter().zip(b);
        let change = norm(&mut pairs.map(|(a, b)| f64::from(*b) - f64::from(*a)));
        let size = norm(&mut a.iter().map(|a| f64::from(*a)));
        if size == 0.0 { change } else { change / size }
    };
    (0..before.count()).map(one).collect()
}

/// The larger of each image's.
pub fn larger(most: &[f64], now: &[f64]) -> Vec<f64> {
    let pairs = most.iter().zip(now);
    pairs.map(|(a, b)| a.max(*b)).collect()
}
