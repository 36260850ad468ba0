//! Dense convolutions.

use pulp::{Simd, WithSimd};

use super::view::{Target, View};
use crate::plane::Size;
use crate::simd::{halves, lanes, load, load_two, run, run_wide};
use crate::{LANES, Lanes};

/// An image's input and results.
pub type InOut<'a> = (&'a [Lanes], &'a mut [Lanes]);

/// Dense convolutions of some images, each with its input `[in blocks][pixels]` and its results
/// `[out blocks][pixels]`, by `weights` `[out blocks][taps][in channels]` with the output channels in the lanes.
/// Adds to the results, or sets them. Several images at once read the weights once, which pays where these are
/// larger than the images.
pub fn dense<'a>(images: &mut [InOut<'a>], view: &View, weights: &[Lanes], add: bool) {
    let Some((_, out)) = images.first() else {
        return;
    };
    let blocks = out.len() / view.target.plane;
    let mut work = Dense {
        images,
        view,
        weights,
        blocks,
        first: 0,
        add,
    };
    if blocks > 1 && run_wide(Pairs(&mut work)).is_some() {
        work.first = blocks / 2 * 2;
    }
    if work.first < blocks {
        run(work);
    }
}

struct Dense<'a, 'b> {
    images: &'a mut [InOut<'b>],
    view: &'a View,
    weights: &'a [Lanes],
    /// Blocks of results, and the first that is worked on.
    blocks: usize,
    first: usize,
    add: bool,
}

/// Pairs of blocks of results, each pixel's sixteen channels in one vector.
struct Pairs<'w, 'a, 'b>(&'w mut Dense<'a, 'b>);

impl WithSimd for Pairs<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_step!(self.0.view.step, pairs_of_blocks::<S>(s, self.0))
    }
}

#[inline(always)]
fn pairs_of_blocks<S: Simd, const T: usize>(s: S, work: &mut Dense) {
    let rows = work.weights.len() / work.blocks;
    let plane = work.view.target.plane;
    // Two pairs at a time: a broadcast serves both.
    for (k, weights) in work.weights.chunks(4 * rows).enumerate() {
        for (x, out) in &mut *work.images {
            let out = &mut out[4 * k * plane..];
            let (view, add) = (work.view, work.add);
            match weights.len() / (2 * rows) {
                2 => pair_rows::<S, 2, T>(s, x, view, weights, out, add),
                1 => pair_rows::<S, 1, T>(s, x, view, &weights[..2 * rows], out, add),
                _ => {}
            }
        }
    }
}

/// `B` pairs of blocks of one image.
#[inline(always)]
fn pair_rows<S: Simd, const B: usize, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    weights: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    let (Size { h, w }, target) = (view.after, view.target);
    let weights = Blocks::of(weights, 2 * B, view);
    for y in 0..h {
        let mut p = 0;
        while p < w {
            let from = (y * view.width + p) * T;
            let to = target.start + y * target.width + p * target.step;
            let at = (from, to);
            p += match w - p {
                12 | 13 | 20.. if B == 1 => {
                    pair_tile::<S, B, 12, T>(s, x, view, at, &weights, out, add)
                }
                8.. => pair_tile::<S, B, 8, T>(s, x, view, at, &weights, out, add),
                4.. => pair_tile::<S, B, 4, T>(s, x, view, at, &weights, out, add),
                _ => pair_tile::<S, B, 1, T>(s, x, view, at, &weights, out, add),
            };
        }
    }
}

/// Some blocks' weights, and how many of them a tap has: worked out once, since a division takes as long as a good part of
/// a tile.
struct Blocks<'a, const N: usize> {
    each: [&'a [Lanes]; N],
    inputs: usize,
}

impl<'a, const N: usize> Blocks<'a, N> {
    /// Those of so many blocks, at most `N`; places beyond them hold some again.
    #[inline(always)]
    fn of(weights: &'a [Lanes], count: usize, view: &View) -> Self {
        let n = weights.len() / count;
        Self {
            each: std::array::from_fn(|b| &weights[b % count * n..][..n]),
            inputs: n / view.all_taps,
        }
    }
}

/// `N` pixels of some pairs of blocks; returns how many these are.
#[inline(always)]
fn pair_tile<S: Simd, const B: usize, const N: usize, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    (from, to): (usize, usize),
    weights: &Blocks<4>,
    out: &mut [Lanes],
    add: bool,
) -> usize {
    let Target { plane, step, .. } = view.target;
    let mut sums = [[s.splat_f32s(0.0); N]; B];
    if add {
        sums = std::array::from_fn(|b| {
            let (low, high) = out[2 * b * plane + to..].split_at(plane);
            std::array::from_fn(|p| load_two::<S>([&low[p * step], &high[p * step]]))
        });
    }
    let inputs = weights.inputs;
    for (tap, number) in &view.taps {
        let range = number * inputs..(number + 1) * inputs;
        let blocks = weights
            .each
            .map(|w| w[range.clone()].as_chunks::<LANES>().0);
        for i in 0..inputs / LANES {
            let row = &x[i * view.plane + from + tap..][..(N - 1) * T + 1];
            let w = blocks.map(|w| &w[i]);
            for l in 0..LANES {
                let w: [S::f32s; B] =
                    std::array::from_fn(|b| load_two::<S>([&w[2 * b][l], &w[2 * b + 1][l]]));
                for p in 0..N {
                    let x = s.splat_f32s(row[p * T][l]);
                    for b in 0..B {
                        sums[b][p] = s.mul_add_e_f32s(x, w[b], sums[b][p]);
                    }
                }
            }
        }
    }
    for (b, sums) in sums.into_iter().enumerate() {
        let (low, high) = out[2 * b * plane + to..].split_at_mut(plane);
        let (low, high) = (
            &mut low[..(N - 1) * step + 1],
            &mut high[..(N - 1) * step + 1],
        );
        for (p, sum) in sums.into_iter().enumerate() {
            [low[p * step], high[p * step]] = halves::<S>(sum);
        }
    }
    N
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
        blocks,
        first,
        add,
    } = work;
    let plane = view.target.plane;
    let rows = weights.len() / blocks;
    for (k, weights) in weights[first * rows..].chunks(2 * rows).enumerate() {
        for (x, out) in &mut *images {
            let out = &mut out[(first + 2 * k) * plane..];
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
    let weights = Blocks::of(weights, B, view);
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
                12 => dense_tile::<S, B, 12, T>(s, x, view, at, &weights, out, add),
                8 => dense_tile::<S, B, 8, T>(s, x, view, at, &weights, out, add),
                6 => dense_tile::<S, B, 6, T>(s, x, view, at, &weights, out, add),
                4 => dense_tile::<S, B, 4, T>(s, x, view, at, &weights, out, add),
                _ => dense_tile::<S, B, 1, T>(s, x, view, at, &weights, out, add),
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
    weights: &Blocks<B>,
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
    let inputs = weights.inputs;
    for (tap, number) in &view.taps {
        let range = number * inputs..(number + 1) * inputs;
        let blocks = weights
            .each
            .map(|w| w[range.clone()].as_chunks::<LANES>().0);
        for i in 0..inputs / LANES {
            let row = &x[i * view.plane + from + tap..][..(N - 1) * T + 1];
            let w = blocks.map(|w| &w[i]);
            for l in 0..LANES {
                let w: [S::f32s; B] = std::array::from_fn(|b| load::<S>(&w[b][l]));
                for p in 0..N {
                    let x = s.splat_f32s(row[p * T][l]);
                    for b in 0..B {
                        sums[b][p] = s.mul_add_e_f32s(x, w[b], sums[b][p]);
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
