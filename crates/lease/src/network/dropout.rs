//! Paths dropped image by image.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::dual::Dual;

/// Dropped paths: each image loses the output of an operation with some probability, and the others are scaled up.
/// Derived networks drop all but identities, the supernets of P-DARTS nothing but these.
pub struct DropPath {
    /// The probability.
    pub probability: f64,
    /// Where the draws come from.
    pub rng: RefCell<ChaCha8Rng>,
}

impl DropPath {
    /// What each image's result of the next path is multiplied by.
    pub(crate) fn factors(&self, batch: usize) -> Vec<f32> {
        let keep = 1.0 - self.probability;
        let mut rng = self.rng.borrow_mut();
        (0..batch)
            .map(|_| {
                let kept = f64::from(rng.next_u32()) < keep * f64::from(u32::MAX);
                if kept { (1.0 / keep) as f32 } else { 0.0 }
            })
            .collect()
    }

    /// Drops the next path.
    pub(crate) fn apply(&self, x: Dual<4>) -> Dual<4> {
        let batch = x.value.dims()[0];
        let scales = self.factors(batch);
        let (device, dtype) = (x.value.device(), x.value.dtype());
        let data = TensorData::new(scales, [batch, 1, 1, 1]);
        x * Tensor::from_data(data, (&device, dtype)).into()
    }
}
