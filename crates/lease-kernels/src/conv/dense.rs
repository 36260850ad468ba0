//! Dense convolutions.

use pulp::{Simd, WithSimd};

use super::view::{Target, View};
use crate::plane::Size;
use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// An image's input and results.
pub type InOut<'a> = (&'a [Lanes], &'a mut [Lanes]);

/// Dense convolutions of some images, each with its input `[in blocks][pixels]` and its results
/// `[out blocks][pixels]`, by `weights` `[out blocks][taps][in channels]` with the output channels in the lanes.
/// Adds to the results, or sets them. Several images at once read the weights once, which pays where these are
/// larger than the images.
pub fn dense<'a>(images: &mut [InOut<'a>], view: &View, weights: &[Lanes], add: bool) {
    run(Dense {
        images,
        view,
        weights,
        add,
    });
}

struct Dense<'a, 'b> {
    images: &'a mut [InOut<'b>],
    view: &'a View,
    weights: &'a [Lanes],
    add: bool,
}

impl WithSimd for Dense<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_step!(self.view.step, dense_blocks::<S>(s, self))
    }
}

#[inline(always)]
fn dense_blocks<S: Simd, const T: usize>(s: S, work: Dense) {
    let Dense {
        images,
        view,
        weights,
        add,
    } = work;
    let Some((_, out)) = images.first() else {
        return;
    };
    let plane = view.target.plane;
    let rows = weights.len() / (out.len() / plane);
    for (k, weights) in weights.chunks(2 * rows).enumerate() {
        for (x, out) in &mut *images {
            let out = &mut out[2 * k * plane..];
            match weights.len() / rows {
                2 => dense_rows::<S, 2, T>(s, x, view, weights, &mut out[..2 * plane], add),
                _ => dense_rows::<S, 1, T>(s, x, view, weights, &mut out[..plane], add),
            }
        }
    }
}

#[inline(always)]
fn dense_rows<S: Simd, const B: usize, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    weights: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    let (Size { h, w }, target) = (view.after, view.target);
    for y in 0..h {
        let mut p = 0;
        while p < w {
            let from = (y * view.width + p) * T;
            let to = target.start + y * target.width + p * target.step;
            // Enough pixels at a time that sums need not wait for each other.
            let n = match (B, w - p) {
                (1, 12..) => 12,
                (1, 8..) => 8,
                (2, 6 | 7 | 9..) => 6,
                (_, 4..) => 4,
                _ => 1,
            };
            let at = (from, to);
            match n {
                12 => dense_tile::<S, B, 12, T>(s, x, view, at, weights, out, add),
                8 => dense_tile::<S, B, 8, T>(s, x, view, at, weights, out, add),
                6 => dense_tile::<S, B, 6, T>(s, x, view, at, weights, out, add),
                4 => dense_tile::<S, B, 4, T>(s, x, view, at, weights, out, add),
                _ => dense_tile::<S, B, 1, T>(s, x, view, at, weights, out, add),
            }
            p += n;
        }
    }
}

#[inline(always)]
fn dense_tile<S: Simd, const B: usize, const N: usize, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    (from, to): (usize, usize),
    weights: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    let Target { plane, step, .. } = view.target;
    let mut sums = [[s.splat_f32s(0.0); N]; B];
    if add {
        for (b, sums) in sums.iter_mut().enumerate() {
            let out = &out[b * plane + to..];
            // Side by side, whose number is known when this is compiled, or apart.
            if step == 1 {
                for (sum, out) in sums.iter_mut().zip(&out[..N]) {
                    *sum = load::<S>(out);
                }
            } else {
                for (sum, out) in sums.iter_mut().zip(out.iter().step_by(step)) {
                    *sum = load::<S>(out);
                }
            }
        }
    }
    let (first, second) = weights.split_at(weights.len() / B);
    let inputs = first.len() / view.all_taps;
    for (tap, number) in &view.taps {
        let start = number * inputs;
        let first = first[start..start + inputs].as_chunks::<LANES>().0;
        let second = if B == 2 {
            &second[start..start + inputs]
        } else {
            &[]
        };
        let second = second.as_chunks::<LANES>().0;
        for (i, w0) in first.iter().enumerate() {
            let row = &x[i * view.plane + from + tap..][..(N - 1) * T + 1];
            let w1 = if B == 2 { &second[i] } else { w0 };
            for l in 0..LANES {
                let (w0, w1) = (load::<S>(&w0[l]), load::<S>(&w1[l]));
                for p in 0..N {
                    let x = s.splat_f32s(row[p * T][l]);
                    sums[0][p] = s.mul_add_e_f32s(x, w0, sums[0][p]);
                    if B == 2 {
                        sums[B - 1][p] = s.mul_add_e_f32s(x, w1, sums[B - 1][p]);
                    }
                }
            }
        }
    }
    for (b, sums) in sums.iter().enumerate() {
        let out = &mut out[b * plane + to..];
        if step == 1 {
            for (sum, out) in sums.iter().zip(&mut out[..N]) {
                *out = lanes::<S>(*sum);
            }
        } else {
            for (sum, out) in sums.iter().zip(out.iter_mut().step_by(step)) {
                *out = lanes::<S>(*sum);
            }
        }
    }
}

/// Weights of the transposed convolution, `[in blocks][taps, reversed][out channels]`, of weights
/// `[out blocks][taps][in channels]`.
pub fn transposed(weights: &[Lanes], taps: usize, inputs: usize, result: &mut [Lanes]) {
    let outputs = weights.len() / (taps * inputs) * LANES;
    for (row, weights) in weights.chunks_exact(LANES).enumerate() {
        let row = row * LANES;
        let (block, tap, i) = (row / inputs / taps, row / inputs % taps, row % inputs);
        let at = (i / LANES * taps + taps - 1 - tap) * outputs + block * LANES;
        for (l, out) in result[at..at + LANES].iter_mut().enumerate() {
            *out = std::array::from_fn(|i| weights[i][l]);
        }
    }
}
