//! Depthwise and dense convolutions of one image, and their gradients.

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
            // Tiles of 6 and 4 pixels; 8 = 4 + 4, since smaller tiles wait for their sums.
            let left = w - p;
            p += match left {
                0..4 => {
                    dense_tile::<S, B, 1, T>(s, x, view, (from, to), weights, out, add);
                    1
                }
                4 | 5 | 8 => {
                    dense_tile::<S, B, 4, T>(s, x, view, (from, to), weights, out, add);
                    4
                }
                _ => {
                    dense_tile::<S, B, 6, T>(s, x, view, (from, to), weights, out, add);
                    6
                }
            };
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
    let pixels = h * w;
    let rows = weights.len() / (g.len() / pixels);
    let group = (CHUNK / w).max(1);
    for top in (0..h).step_by(group) {
        for left in (0..w).step_by(CHUNK) {
            let part = Part {
                rows: top..(top + group).min(h),
                columns: left..(left + CHUNK).min(w),
            };
            for (k, weights) in weights.chunks_mut(2 * rows).enumerate() {
                for (x, g) in images {
                    let g = &g[2 * k * pixels..];
                    weights_rows::<S, T>(s, x, view, g, &part, weights.split_at_mut(rows));
                }
            }
        }
    }
}

#[inline(always)]
fn weights_rows<S: Simd, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    g: &[Lanes],
    part: &Part,
    (first, second): (&mut [Lanes], &mut [Lanes]),
) {
    let inputs = first.len() / view.taps.len();
    if view.taps.len() == 9 && !second.is_empty() {
        for i in 0..inputs / LANES {
            let x = &x[i * view.plane..];
            let both = [&mut *first, &mut *second];
            weights_nine::<S, T>(s, x, view, g, part, (i, inputs), both);
        }
        return;
    }
    for (t, (tap, _)) in view.taps.iter().enumerate() {
        for i in 0..inputs / LANES {
            let x = &x[i * view.plane + tap..];
            let at = t * inputs + i * LANES;
            let first = &mut first[at..at + LANES];
            if second.is_empty() {
                weights_tile::<S, 8, T>(s, x, view, g, part, 0, first);
            } else {
                let second = &mut second[at..at + LANES];
                let (a, b) = first.split_at_mut(4);
                let (c, d) = second.split_at_mut(4);
                weights_pair::<S, T>(s, x, view, g, part, 0, [a, c]);
                weights_pair::<S, T>(s, x, view, g, part, 4, [b, d]);
            }
        }
    }
}

/// Some rows and columns of an output.
struct Part {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl Part {
    /// The rows of one block of g and of x.
    #[inline(always)]
    fn rows<'a, const T: usize>(
        &self,
        g: &'a [Lanes],
        x: &'a [Lanes],
        view: &View,
    ) -> impl Iterator<Item = (&'a [Lanes], &'a [Lanes])> {
        let (n, left, w, width) = (
            self.columns.len(),
            self.columns.start,
            view.after.w,
            view.width,
        );
        self.rows.clone().map(move |y| {
            let x = &x[(y * width + left) * T..][..(n - 1) * T + 1];
            (&g[y * w + left..][..n], x)
        })
    }
}

#[inline(always)]
fn weights_tile<S: Simd, const L: usize, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    g: &[Lanes],
    part: &Part,
    lane: usize,
    out: &mut [Lanes],
) {
    let mut sums = [s.splat_f32s(0.0); L];
    for (g, x) in part.rows::<T>(g, x, view) {
        for (i, g) in g.iter().enumerate() {
            let (g, x) = (load::<S>(g), &x[i * T]);
            for (l, sum) in sums.iter_mut().enumerate() {
                *sum = s.mul_add_e_f32s(g, s.splat_f32s(x[lane + l]), *sum);
            }
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        *out = lanes::<S>(s.add_f32s(load::<S>(out), *sum));
    }
}

/// Two blocks of g against four lanes of x: one broadcast serves both.
#[inline(always)]
fn weights_pair<S: Simd, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    g: &[Lanes],
    part: &Part,
    lane: usize,
    out: [&mut [Lanes]; 2],
) {
    let (first, second) = g.split_at(view.after.area());
    let mut sums = [[s.splat_f32s(0.0); 4]; 2];
    let seconds = part.rows::<T>(second, x, view);
    for ((a, x), (b, _)) in part.rows::<T>(first, x, view).zip(seconds) {
        for ((a, b), x) in a.iter().zip(b).zip(x.iter().step_by(T)) {
            let (a, b) = (load::<S>(a), load::<S>(b));
            for l in 0..4 {
                let x = s.splat_f32s(x[lane + l]);
                sums[0][l] = s.mul_add_e_f32s(a, x, sums[0][l]);
                sums[1][l] = s.mul_add_e_f32s(b, x, sums[1][l]);
            }
        }
    }
    for (sums, out) in sums.iter().zip(out) {
        for (sum, out) in sums.iter().zip(out) {
            *out = lanes::<S>(s.add_f32s(load::<S>(out), *sum));
        }
    }
}

/// Two blocks of g against the three taps of a 3×3 kernel's row, two lanes of x at a time: twelve sums, so that no
/// addition need wait for the last.
#[inline(always)]
fn weights_nine<S: Simd, const T: usize>(
    s: S,
    x: &[Lanes],
    view: &View,
    g: &[Lanes],
    part: &Part,
    (block, inputs): (usize, usize),
    out: [&mut [Lanes]; 2],
) {
    let (first, second) = g.split_at(view.after.area());
    let [out_a, out_b] = out;
    let apart = view.taps[1].0 - view.taps[0].0;
    let (left, n, w) = (part.columns.start, part.columns.len(), view.after.w);
    for row in 0..3 {
        for lane in (0..LANES).step_by(2) {
            let mut sums = [[[s.splat_f32s(0.0); 2]; 3]; 2];
            for y in part.rows.clone() {
                let start = (y * view.width + left) * T + view.taps[3 * row].0;
                let x = &x[start..][..(n - 1) * T + 2 * apart + 1];
                let a = &first[y * w + left..][..n];
                let b = &second[y * w + left..][..n];
                let mut pixel = |a: &Lanes, b: &Lanes, x: [&Lanes; 3]| {
                    let (a, b) = (load::<S>(a), load::<S>(b));
                    for tap in 0..3 {
                        for l in 0..2 {
                            let x = s.splat_f32s(x[tap][lane + l]);
                            sums[0][tap][l] = s.mul_add_e_f32s(a, x, sums[0][tap][l]);
                            sums[1][tap][l] = s.mul_add_e_f32s(b, x, sums[1][tap][l]);
                        }
                    }
                };
                if T == 1 {
                    let [x0, x1, x2] = [0, 1, 2].map(|tap| &x[tap * apart..][..n]);
                    for ((a, b), ((x0, x1), x2)) in a.iter().zip(b).zip(x0.iter().zip(x1).zip(x2)) {
                        pixel(a, b, [x0, x1, x2]);
                    }
                } else {
                    for (i, (a, b)) in a.iter().zip(b).enumerate() {
                        pixel(a, b, [0, 1, 2].map(|tap| &x[i * T + tap * apart]));
                    }
                }
            }
            for (sums, out) in sums.iter().zip([&mut *out_a, &mut *out_b]) {
                for (tap, sums) in sums.iter().enumerate() {
                    let at = (3 * row + tap) * inputs + block * LANES + lane;
                    for (sum, out) in sums.iter().zip(&mut out[at..]) {
                        *out = lanes::<S>(s.add_f32s(load::<S>(out), *sum));
                    }
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
