//! Noise as an operation: numbers of the standard normal distribution that depend on nothing.

use std::sync::LazyLock;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lease_kernels::graph::{Id, Normalise, Term};
use rand::Rng;
use special::Error as _;

use super::dual::Dual;
use super::kernels::Emitter;
use super::layers::{Builder, Pass};
use crate::rng::{Draw, Purpose, stream};

/// Standard normal numbers, whatever the input.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    number: usize,
    stride: usize,
}

impl Noise {
    /// The next noise of a network, of the shape of its input at this stride.
    pub fn new(builder: &mut Builder, stride: usize) -> Self {
        builder.noises += 1;
        Self {
            number: builder.noises - 1,
            stride,
        }
    }

    /// Adds it to a graph, as a summand.
    pub fn emit(self, e: &mut Emitter, like: Id) -> Term {
        let unit = e.graph.noise(like, self.stride, self.number);
        Term::new(unit, Normalise::Not)
    }

    /// Of the shape of `[batch, channels, h, w]` at its stride.
    pub fn forward(self, pass: &Pass, like: &Dual<4>) -> Dual<4> {
        let [batch, channels, h, w] = like.value.dims();
        let shape = [
            batch,
            channels,
            h.div_ceil(self.stride),
            w.div_ceil(self.stride),
        ];
        let on = (&like.value.device(), like.value.dtype());
        tensor(pass.noise, self.number, shape, on)
    }
}

/// How many magnitudes there are.
const MAGNITUDES: usize = 1 << 15;

/// The magnitudes of a standard normal number that are equally likely: its quantiles at (k + 1/2) / [`MAGNITUDES`]. Taking
/// one and a sign costs a few bits and a look-up, where a supernet needs some millions of numbers in every pass.
static QUANTILES: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let quantile = |k: usize| {
        let share = (k as f64 + 0.5) / MAGNITUDES as f64;
        (std::f64::consts::SQRT_2 * share.inv_error()) as f32
    };
    (0..MAGNITUDES).map(quantile).collect()
});

/// Fills in one image's numbers of a network's noise of this number.
pub fn fill(draw: Draw, number: usize, image: usize, out: &mut [f32]) {
    let mut rng = stream(draw.seed, Purpose::Noise, draw.step);
    rng.set_stream((number as u64) << 32 | image as u64);
    let quantiles = &QUANTILES[..];
    for numbers in out.chunks_mut(4) {
        let bits = rng.next_u64();
        for (at, x) in numbers.iter_mut().enumerate() {
            let bits = (bits >> (16 * at)) as usize;
            let magnitude = quantiles[bits % MAGNITUDES];
            *x = if bits & MAGNITUDES == 0 {
                magnitude
            } else {
                -magnitude
            };
        }
    }
}

/// The same of a batch, in this shape.
fn tensor(
    draw: Draw,
    number: usize,
    shape: [usize; 4],
    (device, dtype): (&Device, DType),
) -> Dual<4> {
    let [batch, channels, h, w] = shape;
    let each = channels * h * w;
    let mut values = vec![0.0; batch * each];
    for (image, values) in values.chunks_exact_mut(each).enumerate() {
        fill(draw, number, image, values);
    }
    Tensor::from_data(TensorData::new(values, shape), (device, dtype)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_standard_normal_and_its_own_in_each_step_place_and_image() {
        assert!((QUANTILES[(0.95 * MAGNITUDES as f64) as usize] - 1.96).abs() < 1e-3);
        let of = |step, number, image| {
            let mut values = vec![0.0; 100_001];
            fill(Draw { seed: 3, step }, number, image, &mut values);
            values
        };
        let x = of(1, 2, 3);
        assert_eq!(x, of(1, 2, 3));
        for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)] {
            let product: f32 = x.iter().zip(&other).map(|(a, b)| a * b).sum();
            assert!((product / x.len() as f32).abs() < 0.02);
        }
        let moment = |power: i32| {
            let sum: f64 = x.iter().map(|x| f64::from(*x).powi(power)).sum();
            sum / x.len() as f64
        };
        // Standard errors of 100,000 numbers: 0.003, 0.0045, 0.012 and 0.031.
        for (power, expected, within) in [
            (1, 0.0, 0.01),
            (2, 1.0, 0.015),
            (3, 0.0, 0.04),
            (4, 3.0, 0.1),
        ] {
            assert!(
                (moment(power) - expected).abs() < within,
                "{power}: {}",
                moment(power)
            );
        }
    }
}
