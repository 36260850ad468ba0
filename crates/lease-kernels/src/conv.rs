//! Depthwise and dense convolutions of one image, and their gradients.

pub mod winograd;

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// A square kernel of odd size, padded so that stride 1 keeps the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Side; 3 or 5 in depthwise convolutions.
    pub size: usize,
    /// 1 or 2.
    pub dilation: usize,
    /// 1 or 2.
    pub stride: usize,
}

impl Kernel {
    /// A kernel that is not dilated.
    pub fn new(size: usize, stride: usize) -> Self {
        Self {
            size,
            dilation: 1,
            stride,
        }
    }

    /// Weights a channel.
    pub fn taps(self) -> usize {
        self.size * self.size
    }

    /// Zeros that it needs on each side.
    pub fn pad(self) -> usize {
        self.dilation * (self.size - 1) / 2
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

/// Convolves one plane padded by `pad`; `size` is that of the plane without its padding. Adds to `out`, or
/// sets it.
pub fn depthwise(
    kernel: Kernel,
    padded: &[Lanes],
    (size, pad): (Size, usize),
    taps: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    run(Depthwise {
        kernel,
        padded,
        size,
        pad,
        taps,
        out,
        add,
    });
}

struct Depthwise<'a> {
    kernel: Kernel,
    padded: &'a [Lanes],
    size: Size,
    pad: usize,
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
            depthwise_rows(
                s,
                self.padded,
                (self.size, self.pad),
                self.taps,
                self.out,
                self.add
            )
        )
    }
}

#[inline(always)]
fn depthwise_rows<S: Simd, const K: usize, const D: usize, const T: usize>(
    s: S,
    padded: &[Lanes],
    (size, pad): (Size, usize),
    taps: &[Lanes],
    out: &mut [Lanes],
    add: bool,
) {
    let after = size.strided(T);
    let width = size.padded(pad).w;
    let first = pad - D * (K - 1) / 2;
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
    (size, pad): (Size, usize),
    g: &[Lanes],
    taps: &mut [Lanes],
) {
    run(DepthwiseTaps {
        kernel,
        padded,
        size,
        pad,
        g,
        taps,
    });
}

struct DepthwiseTaps<'a> {
    kernel: Kernel,
    padded: &'a [Lanes],
    size: Size,
    pad: usize,
    g: &'a [Lanes],
    taps: &'a mut [Lanes],
}

impl WithSimd for DepthwiseTaps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_kernel!(
            self.kernel,
            taps_rows(s, self.padded, (self.size, self.pad), self.g, self.taps)
        )
    }
}

#[inline(always)]
fn taps_rows<S: Simd, const K: usize, const D: usize, const T: usize>(
    s: S,
    padded: &[Lanes],
    (size, pad): (Size, usize),
    g: &[Lanes],
    taps: &mut [Lanes],
) {
    let after = size.strided(T);
    let width = size.padded(pad).w;
    let first = pad - D * (K - 1) / 2;
    let reach = (K - 1) * D + 1;
    let row = |y: usize, ky: usize| {
        let x = &padded[(y * T + ky * D + first) * width + first..];
        &x[..(after.w - 1) * T + reach]
    };
    for ky in 0..K {
        let rows = g.chunks_exact(after.w).enumerate();
        let rows = rows.map(|(y, g)| (g, row(y, ky)));
        // Sums for some pixels at a time, so that one addition need not wait for the last.
        let sums = if K == 3 {
            taps_row::<S, K, D, T, 3>(s, rows, reach)
        } else {
            taps_row::<S, K, D, T, 2>(s, rows, reach)
        };
        for (tap, sum) in taps[ky * K..][..K].iter_mut().zip(sums) {
            *tap = lanes::<S>(s.add_f32s(load::<S>(tap), sum));
        }
    }
}

#[inline(always)]
fn taps_row<'a, S: Simd, const K: usize, const D: usize, const T: usize, const P: usize>(
    s: S,
    rows: impl Iterator<Item = (&'a [Lanes], &'a [Lanes])>,
    reach: usize,
) -> [S::f32s; K] {
    let mut sums = [[s.splat_f32s(0.0); K]; P];
    for (g, x) in rows {
        let (tiles, rest) = g.as_chunks::<P>();
        for (i, g) in tiles.iter().enumerate() {
            let x = &x[P * i * T..][..(P - 1) * T + reach];
            for p in 0..P {
                let g = load::<S>(&g[p]);
                for kx in 0..K {
                    sums[p][kx] = s.mul_add_e_f32s(load::<S>(&x[p * T + kx * D]), g, sums[p][kx]);
                }
            }
        }
        for (i, g) in rest.iter().enumerate() {
            let x = &x[(tiles.len() * P + i) * T..][..reach];
            for kx in 0..K {
                sums[0][kx] = s.mul_add_e_f32s(load::<S>(&x[kx * D]), load::<S>(g), sums[0][kx]);
            }
        }
    }
    let mut total = sums[0];
    for part in &sums[1..] {
        for (total, part) in total.iter_mut().zip(part) {
            *total = s.add_f32s(*total, *part);
        }
    }
    total
}

/// Taps in reverse order, which carry gradients back.
pub fn flipped(taps: &[Lanes], kernel: Kernel) -> Buffer {
    let mut result = Buffer::stale(taps.len());
    let planes = result.chunks_exact_mut(kernel.taps());
    for (flipped, taps) in planes.zip(taps.chunks_exact(kernel.taps())) {
        flipped.copy_from_slice(taps);
        flipped.reverse();
    }
    result
}

/// How a dense convolution reads its input and writes its output.
#[derive(Clone, Debug)]
pub struct View {
    /// Where each tap reads, from the pixel that a result starts at, and its number among the kernel's.
    taps: Vec<(usize, usize)>,
    /// Taps of the kernel, whether this view reads them or not.
    all_taps: usize,
    /// Pixels of one block of the input.
    plane: usize,
    /// Pixels from one row of the input to the next.
    width: usize,
    /// Stride.
    step: usize,
    /// Rows and columns of the output.
    after: Size,
    /// Where the output lies in its planes.
    target: Target,
}

/// Where a convolution's results lie in the planes that they are written to.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// Pixels of one block.
    plane: usize,
    /// Pixels from one row of results to the next.
    width: usize,
    /// Pixels from one result to the next.
    step: usize,
    /// The first.
    start: usize,
}

impl Target {
    /// The whole of a plane.
    fn whole(size: Size) -> Self {
        Self {
            plane: size.area(),
            width: size.w,
            step: 1,
            start: 0,
        }
    }
}

impl View {
    /// Of a 1×1 convolution at stride 1.
    pub fn pointwise(pixels: usize) -> Self {
        let after = Size { h: 1, w: pixels };
        Self {
            taps: vec![(0, 0)],
            all_taps: 1,
            plane: pixels,
            width: pixels,
            step: 1,
            after,
            target: Target::whole(after),
        }
    }

    /// Of a kernel over planes of `size` padded by `pad`.
    pub fn padded(kernel: Kernel, size: Size, pad: usize) -> Self {
        let outer = size.padded(pad);
        let first = pad - kernel.pad();
        let taps = (0..kernel.taps()).map(|t| {
            let (y, x) = (t / kernel.size, t % kernel.size);
            let offset = (first + y * kernel.dilation) * outer.w + first + x * kernel.dilation;
            (offset, t)
        });
        let after = size.strided(kernel.stride);
        Self {
            taps: taps.collect(),
            all_taps: kernel.taps(),
            plane: outer.area(),
            width: outer.w,
            step: kernel.stride,
            after,
            target: Target::whole(after),
        }
    }

    /// What carries gradients of a kernel's results, in planes padded by the kernel's padding, back to its input of
    /// `size`, with the taps in reverse order. At stride 2 every other pixel of the input, along either dimension,
    /// is read by every other tap: four views, of as many pixels and taps as there are products to add up.
    pub fn back(kernel: Kernel, size: Size) -> Vec<Self> {
        let (stride, pad, reach) = (kernel.stride, kernel.pad(), kernel.dilation);
        let outer = size.strided(stride).padded(pad);
        // Result o reads pixel o · stride + tap · dilation − pad. So the i-th pixel of those that start at `first`
        // is read by result i + (first + pad − tap · dilation) / stride, where that is whole.
        let reads = |first: usize| {
            (0..kernel.size).filter_map(move |tap| {
                let ahead = (first + (stride + 1) * pad).checked_sub(tap * reach)?;
                (ahead % stride == 0).then_some((tap, ahead / stride))
            })
        };
        let firsts = (0..stride).flat_map(|y| (0..stride).map(move |x| (y, x)));
        let view = |(top, left): (usize, usize)| {
            let row = |(y, down)| {
                reads(left).map(move |(x, right)| {
                    let number = kernel.taps() - 1 - (y * kernel.size + x);
                    (down * outer.w + right, number)
                })
            };
            Self {
                taps: reads(top).flat_map(row).collect(),
                all_taps: kernel.taps(),
                plane: outer.area(),
                width: outer.w,
                step: 1,
                after: Size {
                    h: (size.h - top.min(size.h)).div_ceil(stride),
                    w: (size.w - left.min(size.w)).div_ceil(stride),
                },
                target: Target {
                    plane: size.area(),
                    width: size.w * stride,
                    step: stride,
                    start: top * size.w + left,
                },
            }
        };
        let views = firsts.map(view);
        views
            .filter(|v| !v.taps.is_empty() && v.after.area() > 0)
            .collect()
    }
}

/// Calls a function whose last constant is a view's stride.
macro_rules! with_step {
    ($step:expr, $function:ident :: < $($constant:tt),* > ( $($argument:expr),* )) => {
        match $step {
            1 => $function::<$($constant),*, 1>($($argument),*),
            _ => $function::<$($constant),*, 2>($($argument),*),
        }
    };
}

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
            let out = out[b * plane + to..].iter().step_by(step);
            for (sum, out) in sums.iter_mut().zip(out) {
                *sum = load::<S>(out);
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
        let out = out[b * plane + to..].iter_mut().step_by(step);
        for (sum, out) in sums.iter().zip(out) {
            *out = lanes::<S>(*sum);
        }
    }
}

/// Adds the gradient of a dense convolution's weights, in their layout, from some images' inputs and the gradients
/// of their results.
pub fn dense_weights(images: &[(&[Lanes], &[Lanes])], view: &View, weights: &mut [Lanes]) {
    run(DenseWeights {
        images,
        view,
        weights,
    });
}

struct DenseWeights<'a> {
    images: &'a [(&'a [Lanes], &'a [Lanes])],
    view: &'a View,
    weights: &'a mut [Lanes],
}

impl WithSimd for DenseWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_step!(self.view.step, weights_blocks::<S>(s, self))
    }
}

/// Pixels that are worked on for all channels before the next ones: few enough to stay in the first cache,
/// enough to be worth loading and storing the sums for.
const CHUNK: usize = 128;

/// Some pixels of a row of one image's results, and where they begin in its planes and in those of the input.
struct Segment<'a> {
    x: &'a [Lanes],
    g: &'a [Lanes],
    from: usize,
    to: usize,
    pixels: usize,
}

#[inline(always)]
fn weights_blocks<S: Simd, const T: usize>(s: S, work: DenseWeights) {
    let DenseWeights {
        images,
        view,
        weights,
    } = work;
    let Some((_, g)) = images.first() else {
        return;
    };
    let Size { h, w } = view.after;
    let rows = weights.len() / (g.len() / (h * w));
    if view.taps.len() == 9 {
        nine_blocks::<S, T>(s, images, view, weights, rows);
        return;
    }
    let mut segments: Vec<Segment> = Vec::with_capacity(images.len() * h * w.div_ceil(CHUNK));
    for (x, g) in images {
        for y in 0..h {
            for left in (0..w).step_by(CHUNK) {
                segments.push(Segment {
                    x,
                    g,
                    from: (y * view.width + left) * T,
                    to: y * w + left,
                    pixels: CHUNK.min(w - left),
                });
            }
        }
    }
    for segments in segments.chunks((CHUNK / w).max(1)) {
        // Three output blocks at a time keep the most sums in registers; four are two and two.
        let (mut block, mut rest) = (0, &mut *weights);
        while !rest.is_empty() {
            let n = match rest.len() / rows {
                1 => 1,
                2 | 4 => 2,
                _ => 3,
            };
            let (here, later) = rest.split_at_mut(n * rows);
            match n {
                1 => weights_rows::<S, 1, 8, T>(s, segments, view, block, here),
                2 => weights_rows::<S, 2, 4, T>(s, segments, view, block, here),
                _ => weights_rows::<S, 3, 4, T>(s, segments, view, block, here),
            }
            (block, rest) = (block + n, later);
        }
    }
}

/// The gradients of `B` output blocks, `L` input lanes at a time.
#[inline(always)]
fn weights_rows<S: Simd, const B: usize, const L: usize, const T: usize>(
    s: S,
    segments: &[Segment],
    view: &View,
    block: usize,
    weights: &mut [Lanes],
) {
    let rows = weights.len() / B;
    let inputs = rows / view.taps.len();
    for (t, (tap, _)) in view.taps.iter().enumerate() {
        for i in 0..inputs / LANES {
            for lane in (0..LANES).step_by(L) {
                let places = (block, i * view.plane + tap, lane);
                let sums = weights_tile::<S, B, L, T>(s, segments, view, places);
                for (b, sums) in sums.iter().enumerate() {
                    let out = &mut weights[b * rows + t * inputs + i * LANES + lane..];
                    for (sum, out) in sums.iter().zip(out) {
                        *out = lanes::<S>(s.add_f32s(load::<S>(out), *sum));
                    }
                }
            }
        }
    }
}

impl<'a> Segment<'a> {
    /// Its pixels of one block of g.
    #[inline(always)]
    fn g(&self, view: &View, block: usize) -> &'a [Lanes] {
        &self.g[block * view.after.area() + self.to..][..self.pixels]
    }

    /// What a tap at `start` reads for them, `T` apart.
    #[inline(always)]
    fn x<const T: usize>(&self, start: usize) -> &'a [Lanes] {
        &self.x[start + self.from..][..(self.pixels - 1) * T + 1]
    }
}

/// Some blocks of g against some lanes of x: a broadcast serves all blocks.
#[inline(always)]
fn weights_tile<S: Simd, const B: usize, const L: usize, const T: usize>(
    s: S,
    segments: &[Segment],
    view: &View,
    (block, start, lane): (usize, usize, usize),
) -> [[S::f32s; L]; B] {
    let mut sums = [[s.splat_f32s(0.0); L]; B];
    for segment in segments {
        let g: [&[Lanes]; B] = std::array::from_fn(|b| segment.g(view, block + b));
        let x = segment.x::<T>(start);
        for p in 0..segment.pixels {
            let g: [S::f32s; B] = std::array::from_fn(|b| load::<S>(&g[b][p]));
            for l in 0..L {
                let x = s.splat_f32s(x[p * T][lane + l]);
                for b in 0..B {
                    sums[b][l] = s.mul_add_e_f32s(g[b], x, sums[b][l]);
                }
            }
        }
    }
    sums
}

/// Some rows and columns of one image's results.
struct Piece<'a> {
    x: &'a [Lanes],
    g: &'a [Lanes],
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Pixels that lie side by side: what the three taps of a kernel's row read for them, and the planes of g from the
/// first of them on.
struct Stretch<'a> {
    x: [&'a [Lanes]; 3],
    g: &'a [Lanes],
}

/// Rows that are shorter are copied to where they lie side by side.
const SHORT: usize = 16;

/// The gradient of a 3×3 kernel's weights.
#[inline(always)]
fn nine_blocks<S: Simd, const T: usize>(
    s: S,
    images: &[(&[Lanes], &[Lanes])],
    view: &View,
    weights: &mut [Lanes],
    rows: usize,
) {
    let Size { h, w } = view.after;
    let (inputs, area) = (rows / 9, h * w);
    let high = (CHUNK / w).max(1);
    let mut pieces: Vec<Piece> = Vec::with_capacity(images.len());
    for (x, g) in images {
        for top in (0..h).step_by(high) {
            for left in (0..w).step_by(CHUNK) {
                pieces.push(Piece {
                    x,
                    g,
                    rows: top..(top + high).min(h),
                    columns: left..(left + CHUNK).min(w),
                });
            }
        }
    }
    let copied = T > 1 || w < SHORT;
    let together = (CHUNK / area).max(1);
    let mut copies = vec![[[0.0; LANES]; CHUNK]; if copied { 3 * together } else { 0 }];
    for pieces in pieces.chunks(together) {
        for i in 0..inputs / LANES {
            for row in 0..3 {
                let taps: [usize; 3] =
                    std::array::from_fn(|t| i * view.plane + view.taps[3 * row + t].0);
                let mut stretches: Vec<Stretch> = Vec::with_capacity(pieces.len() * high);
                if copied {
                    let (copies, _) = copies.as_chunks_mut::<3>();
                    for (piece, copies) in pieces.iter().zip(copies) {
                        stretches.push(piece.copied::<T>(view, taps, copies));
                    }
                } else {
                    for piece in pieces {
                        stretches.extend(piece.in_place(view, taps));
                    }
                }
                let at = 3 * row * inputs + i * LANES;
                for (k, weights) in weights.chunks_mut(2 * rows).enumerate() {
                    let (first, second) = weights.split_at_mut(rows);
                    let first = &mut first[at..];
                    let of = (2 * k * area, area, inputs);
                    if second.is_empty() {
                        nine_tile::<S, 1, 4>(s, &stretches, of, [first]);
                    } else {
                        nine_tile::<S, 2, 2>(s, &stretches, of, [first, &mut second[at..]]);
                    }
                }
            }
        }
    }
}

impl<'a> Piece<'a> {
    /// Where a row's first pixel lies in the results.
    fn start(&self, view: &View, y: usize) -> usize {
        y * view.after.w + self.columns.start
    }

    /// Its rows, where they are, at stride 1.
    fn in_place(&self, view: &View, taps: [usize; 3]) -> impl Iterator<Item = Stretch<'a>> {
        self.rows.clone().map(move |y| Stretch {
            x: taps.map(|tap| {
                let start = tap + y * view.width + self.columns.start;
                &self.x[start..][..self.columns.len()]
            }),
            g: &self.g[self.start(view, y)..],
        })
    }

    /// All its rows side by side, in so much memory.
    fn copied<'b, const T: usize>(
        &self,
        view: &View,
        taps: [usize; 3],
        copies: &'b mut [[Lanes; CHUNK]; 3],
    ) -> Stretch<'b>
    where
        'a: 'b,
    {
        let n = self.columns.len();
        for (tap, copy) in taps.into_iter().zip(&mut *copies) {
            for (y, to) in self.rows.clone().zip(copy.chunks_mut(n)) {
                let start = tap + (y * view.width + self.columns.start) * T;
                let from = self.x[start..].iter().step_by(T);
                for (to, from) in to.iter_mut().zip(from) {
                    *to = *from;
                }
            }
        }
        let all = self.rows.len() * n;
        Stretch {
            x: copies.each_ref().map(|copy| &copy[..all]),
            g: &self.g[self.start(view, self.rows.start)..],
        }
    }
}

/// Some blocks of g against the three taps of a row, some lanes of x at a time: twelve sums, so that no addition need
/// wait for the last. The blocks' planes are `area` pixels from `first` on, and taps `inputs` apart in `out`.
#[inline(always)]
fn nine_tile<S: Simd, const B: usize, const L: usize>(
    s: S,
    stretches: &[Stretch],
    (first, area, inputs): (usize, usize, usize),
    out: [&mut [Lanes]; B],
) {
    let mut out = out;
    for lane in (0..LANES).step_by(L) {
        let mut sums = [[[s.splat_f32s(0.0); L]; 3]; B];
        for stretch in stretches {
            let n = stretch.x[0].len();
            let g: [&[Lanes]; B] = std::array::from_fn(|b| &stretch.g[first + b * area..][..n]);
            let [x0, x1, x2] = stretch.x;
            for (p, ((x0, x1), x2)) in x0.iter().zip(x1).zip(x2).enumerate() {
                let g: [S::f32s; B] = std::array::from_fn(|b| load::<S>(&g[b][p]));
                for (tap, x) in [x0, x1, x2].into_iter().enumerate() {
                    for l in 0..L {
                        let x = s.splat_f32s(x[lane + l]);
                        for b in 0..B {
                            sums[b][tap][l] = s.mul_add_e_f32s(g[b], x, sums[b][tap][l]);
                        }
                    }
                }
            }
        }
        for (sums, out) in sums.iter().zip(&mut out) {
            for (tap, sums) in sums.iter().enumerate() {
                for (sum, out) in sums.iter().zip(&mut out[tap * inputs + lane..]) {
                    *out = lanes::<S>(s.add_f32s(load::<S>(out), *sum));
                }
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
