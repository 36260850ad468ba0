//! Depthwise and 1×1 convolutions of one image, and their gradients.

use pulp::{Simd, WithSimd};

use crate::plane::{PAD, Size};
use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// A square depthwise kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// 3 or 5.
    pub size: usize,
    /// 1 or 2.
    pub dilation: usize,
    /// 1 or 2.
    pub stride: usize,
}

impl Kernel {
    /// Weights a channel.
    pub fn taps(self) -> usize {
        self.size * self.size
    }

    /// The same taps at stride 1: what carries a gradient back.
    pub fn back(self) -> Self {
        Self { stride: 1, ..self }
    }
}

/// Calls a function whose three constants are a kernel's.
macro_rules! with_kernel {
    ($kernel:expr, $function:ident ( $($argument:expr),* )) => {
        match ($kernel.size, $kernel.dilation, $kernel.stride) {
            (3, 1, 1) => $function::<S, 3, 1, 1>($($argument),*),
            (3, 1, 2) => $function::<S, 3, 1, 2>($($argument),*),
            (3, 2, 1) => $function::<S, 3, 2, 1>($($argument),*),
            (3, 2, 2) => $function::<S, 3, 2, 2>($($argument),*),
            (5, 1, 1) => $function::<S, 5, 1, 1>($($argument),*),
            (5, 1, 2) => $function::<S, 5, 1, 2>($($argument),*),
            (5, 2, 1) => $function::<S, 5, 2, 1>($($argument),*),
            (5, 2, 2) => $function::<S, 5, 2, 2>($($argument),*),
            _ => unreachable!("kernels are 3 or 5 wide, dilation and stride 1 or 2"),
        }
    };
}

/// Convolves one padded plane; `size` is that of the plane without its padding. Adds to `out`, or sets it.
pub fn depthwise(
    kernel: Kernel,
    padded: &[Lanes],
    size: Size,
    taps: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    run(Depthwise {
        kernel,
        padded,
        size,
        taps,
        out,
        add,
    });
}

struct Depthwise<'a> {
    kernel: Kernel,
    padded: &'a [Lanes],
    size: Size,
    taps: &'a [Lanes],
    out: &'a mut [Lanes],
    add: bool,
}

impl WithSimd for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_kernel!(
            self.kernel,
            depthwise_rows(s, self.padded, self.size, self.taps, self.out, self.add)
        )
    }
}

#[inline(always)]
fn depthwise_rows<S: Simd, const K: usize, const D: usize, const T: usize>(
    s: S,
    padded: &[Lanes],
    size: Size,
    taps: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    let after = size.strided(T);
    let width = size.padded().w;
    let first = PAD - D * (K - 1) / 2;
    for (y, row) in out.chunks_exact_mut(after.w).enumerate() {
        let top = &padded[(y * T + first) * width + first..];
        let (tiles, rest) = row.as_chunks_mut::<8>();
        let done = tiles.len() * 8;
        for (i, tile) in tiles.iter_mut().enumerate() {
            depthwise_tile::<S, K, D, T, 8>(s, &top[8 * i * T..], width, taps, tile, add);
        }
        let (tiles, rest) = rest.as_chunks_mut::<4>();
        let here = done + 4 * tiles.len();
        for tile in tiles {
            depthwise_tile::<S, K, D, T, 4>(s, &top[done * T..], width, taps, tile, add);
        }
        for (i, pixel) in rest.iter_mut().enumerate() {
            let tile = std::array::from_mut(pixel);
            depthwise_tile::<S, K, D, T, 1>(s, &top[(here + i) * T..], width, taps, tile, add);
        }
    }
}

#[inline(always)]
fn depthwise_tile<S: Simd, const K: usize, const D: usize, const T: usize, const N: usize>(
    s: S,
    top: &[Lanes],
    width: usize,
    taps: &[Lanes],
    out: &mut [Lanes; N],
    add: bool,
) {
    let mut sums = [s.splat_f32s(0.0); N];
    if add {
        for (sum, out) in sums.iter_mut().zip(out.iter()) {
            *sum = load::<S>(out);
        }
    }
    for ky in 0..K {
        let row = &top[ky * D * width..][..(N - 1) * T + (K - 1) * D + 1];
        let taps = &taps[ky * K..][..K];
        for kx in 0..K {
            let tap = load::<S>(&taps[kx]);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = s.mul_add_e_f32s(load::<S>(&row[i * T + kx * D]), tap, *sum);
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        *out = lanes::<S>(*sum);
    }
}

/// Adds the gradient of a plane's taps: Σ g · x.
pub fn depthwise_taps(
    kernel: Kernel,
    padded: &[Lanes],
    size: Size,
    g: &[Lanes],
    taps: &mut [Lanes],
) {
    run(DepthwiseTaps {
        kernel,
        padded,
        size,
        g,
        taps,
    });
}

struct DepthwiseTaps<'a> {
    kernel: Kernel,
    padded: &'a [Lanes],
    size: Size,
    g: &'a [Lanes],
    taps: &'a mut [Lanes],
}

impl WithSimd for DepthwiseTaps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_kernel!(
            self.kernel,
            taps_rows(s, self.padded, self.size, self.g, self.taps)
        )
    }
}

#[inline(always)]
fn taps_rows<S: Simd, const K: usize, const D: usize, const T: usize>(
    s: S,
    padded: &[Lanes],
    size: Size,
    g: &[Lanes],
    taps: &mut [Lanes],
) {
    let after = size.strided(T);
    let width = size.padded().w;
    let first = PAD - D * (K - 1) / 2;
    for ky in 0..K {
        let mut sums = [[s.splat_f32s(0.0); K]; 2];
        for (y, row) in g.chunks_exact(after.w).enumerate() {
            let x = &padded[(y * T + ky * D + first) * width + first..];
            let x = &x[..(after.w - 1) * T + (K - 1) * D + 1];
            // Two sets of sums, so that one addition need not wait for the last.
            for (i, g) in row.iter().enumerate() {
                let (g, sums) = (load::<S>(g), &mut sums[i % 2]);
                let x = &x[i * T..][..(K - 1) * D + 1];
                for (kx, sum) in sums.iter_mut().enumerate() {
                    *sum = s.mul_add_e_f32s(load::<S>(&x[kx * D]), g, *sum);
                }
            }
        }
        let [even, odd] = sums;
        for (kx, tap) in taps[ky * K..][..K].iter_mut().enumerate() {
            let sum = s.add_f32s(even[kx], odd[kx]);
            *tap = lanes::<S>(s.add_f32s(load::<S>(tap), sum));
        }
    }
}

/// Taps in reverse order, which carry gradients back.
pub fn flipped(taps: &[Lanes], kernel: Kernel) -> Vec<Lanes> {
    let planes = taps.chunks_exact(kernel.taps());
    planes.flat_map(|t| t.iter().rev().copied()).collect()
}

/// A 1×1 convolution of one image: `x` is `[in blocks][pixels]`, `weights` `[out blocks][in channels]` with
/// the output channels in the lanes, `out` `[out blocks][pixels]`. Adds to `out`, or sets it.
pub fn pointwise(x: &[Lanes], weights: &[Lanes], pixels: usize, out: &mut [Lanes], add: bool) {
    run(Pointwise {
        x,
        weights,
        pixels,
        out,
        add,
    });
}

struct Pointwise<'a> {
    x: &'a [Lanes],
    weights: &'a [Lanes],
    pixels: usize,
    out: &'a mut [Lanes],
    add: bool,
}

impl WithSimd for Pointwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (n, inputs) = (self.pixels, self.x.len() / self.pixels * LANES);
        let pairs = self.out.chunks_mut(2 * n);
        for (out, weights) in pairs.zip(self.weights.chunks(2 * inputs)) {
            let two = out.len() == 2 * n;
            let mut p = 0;
            while p + 6 <= n {
                if two {
                    pointwise_tile::<S, 2, 6>(s, self.x, weights, n, p, out, self.add);
                } else {
                    pointwise_tile::<S, 1, 6>(s, self.x, weights, n, p, out, self.add);
                }
                p += 6;
            }
            while p < n {
                if two {
                    pointwise_tile::<S, 2, 1>(s, self.x, weights, n, p, out, self.add);
                } else {
                    pointwise_tile::<S, 1, 1>(s, self.x, weights, n, p, out, self.add);
                }
                p += 1;
            }
        }
    }
}

#[inline(always)]
fn pointwise_tile<S: Simd, const B: usize, const N: usize>(
    s: S,
    x: &[Lanes],
    weights: &[Lanes],
    pixels: usize,
    at: usize,
    out: &mut [Lanes],
    add: bool,
) {
    let mut sums = [[s.splat_f32s(0.0); N]; B];
    if add {
        for (b, sums) in sums.iter_mut().enumerate() {
            for (sum, out) in sums.iter_mut().zip(&out[b * pixels + at..][..N]) {
                *sum = load::<S>(out);
            }
        }
    }
    let inputs = weights.len() / B;
    let (first, second) = weights.split_at(inputs);
    let rows = x.chunks_exact(pixels);
    let first = first.as_chunks::<LANES>().0;
    let second = second.as_chunks::<LANES>().0;
    for (i, row) in rows.enumerate() {
        let x: &[Lanes] = &row[at..][..N];
        for l in 0..LANES {
            let w0 = load::<S>(&first[i][l]);
            let w1 = if B == 2 { load::<S>(&second[i][l]) } else { w0 };
            for p in 0..N {
                let x = s.splat_f32s(x[p][l]);
                sums[0][p] = s.mul_add_e_f32s(x, w0, sums[0][p]);
                if B == 2 {
                    sums[B - 1][p] = s.mul_add_e_f32s(x, w1, sums[B - 1][p]);
                }
            }
        }
    }
    for (b, sums) in sums.iter().enumerate() {
        for (sum, out) in sums.iter().zip(&mut out[b * pixels + at..][..N]) {
            *out = lanes::<S>(*sum);
        }
    }
}

/// Adds the gradient of a 1×1 convolution's weights, in their layout.
pub fn pointwise_weights(g: &[Lanes], x: &[Lanes], pixels: usize, weights: &mut [Lanes]) {
    run(PointwiseWeights {
        g,
        x,
        pixels,
        weights,
    });
}

struct PointwiseWeights<'a> {
    g: &'a [Lanes],
    x: &'a [Lanes],
    pixels: usize,
    weights: &'a mut [Lanes],
}

impl WithSimd for PointwiseWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let tiles = self.weights.as_chunks_mut::<LANES>().0.iter_mut();
        let mut tiles = tiles;
        for g in self.g.chunks_exact(self.pixels) {
            for x in self.x.chunks_exact(self.pixels) {
                let Some(tile) = tiles.next() else { return };
                let mut sums = [s.splat_f32s(0.0); LANES];
                for (g, x) in g.iter().zip(x) {
                    let g = load::<S>(g);
                    for l in 0..LANES {
                        sums[l] = s.mul_add_e_f32s(g, s.splat_f32s(x[l]), sums[l]);
                    }
                }
                for (sum, tile) in sums.iter().zip(tile) {
                    *tile = lanes::<S>(s.add_f32s(load::<S>(tile), *sum));
                }
            }
        }
    }
}

/// Packed weights of the transposed convolution: `[in blocks][out channels]`.
pub fn transposed(weights: &[Lanes], inputs: usize) -> Vec<Lanes> {
    let outputs = weights.len() / inputs * LANES;
    let mut result = vec![[0.0; LANES]; inputs / LANES * outputs];
    for (block, rows) in weights.chunks_exact(inputs).enumerate() {
        for (i, row) in rows.iter().enumerate() {
            for (l, w) in row.iter().enumerate() {
                let o = block * LANES + l;
                result[i / LANES * outputs + o][i % LANES] = *w;
            }
        }
    }
    result
}
