//! The gradients of dense convolutions' weights.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::view::View;
use crate::plane::Size;
use crate::simd::{halves, lanes, load, load_two, run, run_wide};
use crate::{LANES, Lanes};

/// Adds the gradient of a dense convolution's weights, in their layout, from some images' inputs and the gradients
/// of their results.
pub fn dense_weights(images: &[(&[Lanes], &[Lanes])], view: &View, weights: &mut [Lanes]) {
    let Some((_, g)) = images.first() else {
        return;
    };
    let blocks = g.len() / view.after.area();
    let mut work = DenseWeights {
        images,
        view,
        weights,
        blocks,
        first: 0,
    };
    if blocks > 1 && view.taps.len() != 9 && run_wide(Pairs(&mut work)).is_some() {
        work.first = blocks / 2 * 2;
    }
    if work.first < blocks {
        run(work);
    }
}

struct DenseWeights<'a> {
    images: &'a [(&'a [Lanes], &'a [Lanes])],
    view: &'a View,
    weights: &'a mut [Lanes],
    /// Blocks of results, and the first that is worked on.
    blocks: usize,
    first: usize,
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

/// All pixels of some images' results, a few at a time, `T` apart in the input.
fn segments<'a, const T: usize>(
    images: &[(&'a [Lanes], &'a [Lanes])],
    view: &View,
) -> Vec<Segment<'a>> {
    let Size { h, w } = view.after;
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
    segments
}

/// How many of them are worked on for all channels before the next ones.
fn at_once(view: &View) -> usize {
    (CHUNK / view.after.w).max(1)
}

/// Pairs of blocks of results, their sixteen channels in one vector.
struct Pairs<'w, 'a>(&'w mut DenseWeights<'a>);

impl WithSimd for Pairs<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_step!(self.0.view.step, pairs_of_blocks::<S>(s, self.0))
    }
}

#[inline(always)]
fn pairs_of_blocks<S: Simd, const T: usize>(s: S, work: &mut DenseWeights) {
    let rows = work.weights.len() / work.blocks;
    let view = work.view;
    for segments in segments::<T>(work.images, view).chunks(at_once(view)) {
        // Two pairs at a time: a broadcast serves both.
        for (k, weights) in work.weights.chunks_mut(4 * rows).enumerate() {
            match weights.len() / (2 * rows) {
                2 => pair_rows::<S, 2, T>(s, segments, view, 4 * k, weights),
                1 => pair_rows::<S, 1, T>(s, segments, view, 4 * k, &mut weights[..2 * rows]),
                _ => {}
            }
        }
    }
}

/// The gradients of `B` pairs of output blocks.
#[inline(always)]
fn pair_rows<S: Simd, const B: usize, const T: usize>(
    s: S,
    segments: &[Segment],
    view: &View,
    block: usize,
    weights: &mut [Lanes],
) {
    let rows = weights.len() / (2 * B);
    let inputs = rows / view.taps.len();
    for (t, (tap, _)) in view.taps.iter().enumerate() {
        for i in 0..inputs / LANES {
            let start = i * view.plane + tap;
            let sums = pair_tile::<S, B, T>(s, segments, view, (block, start));
            for (weights, sums) in weights.chunks_exact_mut(2 * rows).zip(sums) {
                let (first, second) = weights.split_at_mut(rows);
                let at = t * inputs + i * LANES;
                let outs = first[at..].iter_mut().zip(&mut second[at..]);
                for (sum, (a, b)) in sums.into_iter().zip(outs) {
                    [*a, *b] = halves::<S>(s.add_f32s(load_two::<S>([a, b]), sum));
                }
            }
        }
    }
}

/// Some pairs of blocks of g against all lanes of a block of x.
#[inline(always)]
fn pair_tile<S: Simd, const B: usize, const T: usize>(
    s: S,
    segments: &[Segment],
    view: &View,
    (block, start): (usize, usize),
) -> [[S::f32s; LANES]; B] {
    let mut sums = [[s.splat_f32s(0.0); LANES]; B];
    for segment in segments {
        let halves = |b| (segment.g(view, b), segment.g(view, b + 1));
        let g: [(&[Lanes], &[Lanes]); B] = std::array::from_fn(|b| halves(block + 2 * b));
        let x = segment.x::<T>(start);
        for (p, x) in x.iter().step_by(T).enumerate() {
            let g: [S::f32s; B] = std::array::from_fn(|b| load_two::<S>([&g[b].0[p], &g[b].1[p]]));
            for (l, x) in x.iter().enumerate() {
                let x = s.splat_f32s(*x);
                for b in 0..B {
                    sums[b][l] = s.mul_add_e_f32s(g[b], x, sums[b][l]);
                }
            }
        }
    }
    sums
}

#[inline(always)]
fn weights_blocks<S: Simd, const T: usize>(s: S, work: DenseWeights) {
    let DenseWeights {
        images,
        view,
        weights,
        blocks,
        first,
    } = work;
    let rows = weights.len() / blocks;
    if view.taps.len() == 9 {
        nine_blocks::<S, T>(s, images, view, weights, rows);
        return;
    }
    for segments in segments::<T>(images, view).chunks(at_once(view)) {
        // Two output blocks at a time: three would leave no register free.
        let (mut block, mut rest) = (first, &mut weights[first * rows..]);
        while !rest.is_empty() {
            let n = (rest.len() / rows).min(2);
            let (here, later) = rest.split_at_mut(n * rows);
            match n {
                1 => weights_rows::<S, 1, 8, T>(s, segments, view, block, here),
                _ => weights_rows::<S, 2, 4, T>(s, segments, view, block, here),
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
