//! 3×3 convolutions at stride 1 by Winograd's F(2×2, 3×3) (Lavin and Gray, arXiv 1509.09308): a tile of 2×2 results
//! takes 16 multiplications for each pair of channels instead of 36. Tiles of 4×4 inputs and the kernels are
//! transformed, the products over channels are sixteen 1×1 convolutions whose pixels are the tiles, and the results
//! are transformed back. The transforms add and subtract only, and halve the kernels' sums.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{InOut, View, dense, dense_weights};
use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// Numbers in a transformed tile.
pub const POINTS: usize = 16;

/// Pixels between one point's transforms and the next one's: without them all points' would lie in the same sets of
/// the first cache.
const APART: usize = 6;

/// Tiles that are transformed before they are multiplied: as many as leave both transforms in the second cache, and
/// enough that weights are not read too often.
fn together(blocks: usize) -> usize {
    (1024 / blocks).clamp(32, 128)
}

/// Where the tiles of a view lie.
struct Tiles {
    /// The first pixel that the first tile reads.
    base: usize,
    /// Tiles in a row, and in an image.
    wide: usize,
    each: usize,
}

impl Tiles {
    /// Those of a 3×3 view at stride 1 whose results have even sides; none for others.
    fn of(view: &View) -> Option<Self> {
        let Size { h, w } = view.after;
        let base = view.taps.iter().find(|(_, number)| *number == 0)?.0;
        let side_by_side = |(offset, number): &(usize, usize)| {
            *offset == base + number / 3 * view.width + number % 3
        };
        let square = view.taps.len() == 9 && view.all_taps == 9 && view.step == 1;
        let whole = view.target.step == 1 && view.target.plane == h * w;
        let even = h.is_multiple_of(2) && w.is_multiple_of(2);
        (square && whole && even && view.taps.iter().all(side_by_side)).then_some(Self {
            base,
            wide: w / 2,
            each: h * w / 4,
        })
    }

    /// The row and column of a tile's first result.
    fn place(&self, tile: usize) -> (usize, usize) {
        let tile = tile % self.each;
        (tile / self.wide * 2, tile % self.wide * 2)
    }
}

/// The transforms of weights `[out blocks][9 taps][in channels]`: `[16][out blocks][in channels]`.
pub fn transformed(weights: &[Lanes], inputs: usize) -> Buffer {
    let mut result = Buffer::stale(weights.len() / 9 * POINTS);
    run(Weights {
        weights,
        inputs,
        result: &mut result,
    });
    result
}

struct Weights<'a> {
    weights: &'a [Lanes],
    inputs: usize,
    result: &'a mut [Lanes],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (inputs, apart) = (self.inputs, self.weights.len() / 9);
        let half = s.splat_f32s(0.5);
        // [a, (a + b + c) / 2, (a − b + c) / 2, c]
        let spread = |[a, b, c]: [S::f32s; 3]| {
            let outer = s.add_f32s(a, c);
            let (sum, difference) = (s.add_f32s(outer, b), s.sub_f32s(outer, b));
            [a, s.mul_f32s(sum, half), s.mul_f32s(difference, half), c]
        };
        for (block, weights) in self.weights.chunks_exact(9 * inputs).enumerate() {
            for i in 0..inputs {
                let at = |y: usize, x: usize| load::<S>(&weights[(3 * y + x) * inputs + i]);
                let rows: [[S::f32s; 4]; 3] =
                    std::array::from_fn(|y| spread([at(y, 0), at(y, 1), at(y, 2)]));
                for x in 0..4 {
                    let column = spread([rows[0][x], rows[1][x], rows[2][x]]);
                    for (y, value) in column.into_iter().enumerate() {
                        self.result[(4 * y + x) * apart + block * inputs + i] = lanes::<S>(value);
                    }
                }
            }
        }
    }
}

/// Whether a view's results are whole tiles.
pub fn has_tiles(view: &View) -> bool {
    Tiles::of(view).is_some()
}

/// Whether there are enough of them that the gradient of transformed weights, of which there are more, pays.
pub fn has_many_tiles(view: &View) -> bool {
    Tiles::of(view).is_some_and(|tiles| tiles.each >= 16)
}

/// As [`dense`], by [transformed] weights, for a view that [has tiles](has_tiles).
pub fn winograd(images: &mut [InOut], view: &View, weights: &[Lanes], add: bool) {
    let (Some(tiles), Some((x, out))) = (Tiles::of(view), images.first()) else {
        return;
    };
    let (ins, outs) = (x.len() / view.plane, out.len() / view.target.plane);
    let (all, most) = (images.len() * tiles.each, together(ins + outs));
    let most = most.min(all);
    let mut before = Buffer::stale(POINTS * (ins * most + APART));
    let mut after = Buffer::stale(POINTS * (outs * most + APART));
    for first in (0..all).step_by(most) {
        let chunk = first..(first + most).min(all);
        let n = chunk.len();
        let before = &mut before[..POINTS * (ins * n + APART)];
        let after = &mut after[..POINTS * (outs * n + APART)];
        run(Inputs {
            images: images.iter().map(|(x, _)| *x),
            view,
            tiles: &tiles,
            chunk: chunk.clone(),
            result: before,
        });
        let products = before
            .chunks_exact(ins * n + APART)
            .zip(after.chunks_exact_mut(outs * n + APART));
        let pointwise = View::pointwise(n);
        let weights = weights.chunks_exact(weights.len() / POINTS);
        for (weights, (before, after)) in weights.zip(products) {
            let product = (&before[..ins * n], &mut after[..outs * n]);
            dense(&mut [product], &pointwise, weights, false);
        }
        run(Outputs {
            images,
            view,
            tiles: &tiles,
            chunk,
            products: after,
            add,
        });
    }
}

struct Inputs<'a, I> {
    images: I,
    view: &'a View,
    tiles: &'a Tiles,
    chunk: Range<usize>,
    result: &'a mut [Lanes],
}

impl<'a, I: Iterator<Item = &'a [Lanes]> + Clone> WithSimd for Inputs<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (n, view) = (self.chunk.len(), self.view);
        let apart = self.result.len() / POINTS;
        // [a − c, b + c, c − b, b − d]
        let spread = |[a, b, c, d]: [S::f32s; 4]| {
            [
                s.sub_f32s(a, c),
                s.add_f32s(b, c),
                s.sub_f32s(c, b),
                s.sub_f32s(b, d),
            ]
        };
        let images: Vec<&[Lanes]> = self.images.collect();
        for (t, tile) in self.chunk.enumerate() {
            let x = images[tile / self.tiles.each];
            let (top, left) = self.tiles.place(tile);
            let corner = self.tiles.base + top * view.width + left;
            for b in 0..(apart - APART) / n {
                let x = &x[b * view.plane + corner..];
                let rows: [[S::f32s; 4]; 4] = std::array::from_fn(|y| {
                    let row = &x[y * view.width..][..4];
                    spread(std::array::from_fn(|x| load::<S>(&row[x])))
                });
                for x in 0..4 {
                    let column = spread(std::array::from_fn(|y| rows[y][x]));
                    for (y, value) in column.into_iter().enumerate() {
                        self.result[(4 * y + x) * apart + b * n + t] = lanes::<S>(value);
                    }
                }
            }
        }
    }
}

struct Outputs<'a, 'b> {
    images: &'a mut [InOut<'b>],
    view: &'a View,
    tiles: &'a Tiles,
    chunk: Range<usize>,
    products: &'a [Lanes],
    add: bool,
}

impl WithSimd for Outputs<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (n, view) = (self.chunk.len(), self.view);
        let apart = self.products.len() / POINTS;
        // [a + b + c, b − c − d]
        let gather = |[a, b, c, d]: [S::f32s; 4]| {
            let first = s.add_f32s(s.add_f32s(a, b), c);
            [first, s.sub_f32s(s.sub_f32s(b, c), d)]
        };
        for (t, tile) in self.chunk.enumerate() {
            let (_, out) = &mut self.images[tile / self.tiles.each];
            let (top, left) = self.tiles.place(tile);
            for b in 0..(apart - APART) / n {
                let at =
                    |y: usize, x: usize| load::<S>(&self.products[(4 * y + x) * apart + b * n + t]);
                let columns: [[S::f32s; 2]; 4] =
                    std::array::from_fn(|x| gather(std::array::from_fn(|y| at(y, x))));
                for y in 0..2 {
                    let row = gather(std::array::from_fn(|x| columns[x][y]));
                    let start = b * view.target.plane + (top + y) * view.target.width + left;
                    for (value, out) in row.into_iter().zip(&mut out[start..start + 2]) {
                        *out = lanes::<S>(if self.add {
                            s.add_f32s(load::<S>(out), value)
                        } else {
                            value
                        });
                    }
                }
            }
        }
    }
}

/// As [`dense_weights`], adding to the gradient of [transformed] weights, for a view that [has tiles](has_tiles).
pub fn winograd_weights(images: &[(&[Lanes], &[Lanes])], view: &View, gradient: &mut [Lanes]) {
    let (Some(tiles), Some((x, g))) = (Tiles::of(view), images.first()) else {
        return;
    };
    let (ins, outs) = (x.len() / view.plane, g.len() / view.target.plane);
    let (all, most) = (images.len() * tiles.each, together(ins + outs));
    let most = most.min(all);
    let mut before = Buffer::stale(POINTS * (ins * most + APART));
    let mut after = Buffer::stale(POINTS * (outs * most + APART));
    for first in (0..all).step_by(most) {
        let chunk = first..(first + most).min(all);
        let n = chunk.len();
        let before = &mut before[..POINTS * (ins * n + APART)];
        let after = &mut after[..POINTS * (outs * n + APART)];
        run(Inputs {
            images: images.iter().map(|(x, _)| *x),
            view,
            tiles: &tiles,
            chunk: chunk.clone(),
            result: before,
        });
        run(Adjoints {
            images,
            view,
            tiles: &tiles,
            chunk,
            result: after,
        });
        let points = before
            .chunks_exact(ins * n + APART)
            .zip(after.chunks_exact(outs * n + APART));
        let pointwise = View::pointwise(n);
        let gradients = gradient.chunks_exact_mut(gradient.len() / POINTS);
        for (gradient, (before, after)) in gradients.zip(points) {
            dense_weights(
                &[(&before[..ins * n], &after[..outs * n])],
                &pointwise,
                gradient,
            );
        }
    }
}

/// Transforms adjoints of results.
struct Adjoints<'a> {
    images: &'a [(&'a [Lanes], &'a [Lanes])],
    view: &'a View,
    tiles: &'a Tiles,
    chunk: Range<usize>,
    result: &'a mut [Lanes],
}

impl WithSimd for Adjoints<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (n, view) = (self.chunk.len(), self.view);
        let apart = self.result.len() / POINTS;
        let zero = s.splat_f32s(0.0);
        // [a, a + b, a − b, −b]
        let spread =
            |[a, b]: [S::f32s; 2]| [a, s.add_f32s(a, b), s.sub_f32s(a, b), s.sub_f32s(zero, b)];
        for (t, tile) in self.chunk.enumerate() {
            let (_, g) = self.images[tile / self.tiles.each];
            let (top, left) = self.tiles.place(tile);
            for b in 0..(apart - APART) / n {
                let at = |y: usize, x: usize| {
                    let start = b * view.target.plane + (top + y) * view.target.width + left;
                    load::<S>(&g[start + x])
                };
                let rows: [[S::f32s; 4]; 2] = std::array::from_fn(|y| spread([at(y, 0), at(y, 1)]));
                for x in 0..4 {
                    let column = spread([rows[0][x], rows[1][x]]);
                    for (y, value) in column.into_iter().enumerate() {
                        self.result[(4 * y + x) * apart + b * n + t] = lanes::<S>(value);
                    }
                }
            }
        }
    }
}

/// Adds the gradient of weights `[out blocks][9 taps][in channels]`, from that of their transforms.
pub fn add_untransformed(transformed: &[Lanes], inputs: usize, weights: &mut [Lanes]) {
    run(Untransformed {
        transformed,
        inputs,
        weights,
    });
}

struct Untransformed<'a> {
    transformed: &'a [Lanes],
    inputs: usize,
    weights: &'a mut [Lanes],
}

impl WithSimd for Untransformed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (inputs, apart) = (self.inputs, self.transformed.len() / POINTS);
        let half = s.splat_f32s(0.5);
        // [a + (b + c) / 2, (b − c) / 2, (b + c) / 2 + d]
        let gather = |[a, b, c, d]: [S::f32s; 4]| {
            let sum = s.mul_f32s(s.add_f32s(b, c), half);
            let difference = s.mul_f32s(s.sub_f32s(b, c), half);
            [s.add_f32s(a, sum), difference, s.add_f32s(sum, d)]
        };
        for (block, weights) in self.weights.chunks_exact_mut(9 * inputs).enumerate() {
            for i in 0..inputs {
                let at = |y: usize, x: usize| {
                    load::<S>(&self.transformed[(4 * y + x) * apart + block * inputs + i])
                };
                let columns: [[S::f32s; 3]; 4] =
                    std::array::from_fn(|x| gather(std::array::from_fn(|y| at(y, x))));
                for y in 0..3 {
                    let row = gather(std::array::from_fn(|x| columns[x][y]));
                    for (x, value) in row.into_iter().enumerate() {
                        let out = &mut weights[(3 * y + x) * inputs + i];
                        *out = lanes::<S>(s.add_f32s(load::<S>(out), value));
                    }
                }
            }
        }
    }
}

/// Whether tiles pay for a convolution between so many lanes.
pub fn pays(inputs: usize, outputs: usize) -> bool {
    inputs.min(outputs) >= 2 * LANES
}
