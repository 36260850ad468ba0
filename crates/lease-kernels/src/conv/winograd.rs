//! 3×3 convolutions at stride 1 by Winograd's F(2×2, 3×3) (Lavin and Gray, arXiv 1509.09308): a tile of 2×2 results
//! takes 16 multiplications for each pair of channels instead of 36. Tiles of 4×4 inputs and the kernels are
//! transformed, the products over channels are sixteen 1×1 convolutions whose pixels are the tiles, and the results
//! are transformed back. The transforms add and subtract only, and halve the kernels' sums.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{InOut, View, dense, dense_weights};
use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{lanes, load, load_pixels, pixels, run, run_widest, store_pixels};
use crate::{LANES, Lanes};

/// Numbers in a transformed tile.
pub const POINTS: usize = 16;

/// Pixels between one point's transforms and the next one's: without them all points' would lie in the same sets of
/// the first cache.
const APART: usize = 6;

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

    /// Some tiles after the other, out of so many images between so many planes, and how many at most: as many as leave
    /// both transforms in the second cache, and enough that weights are not read too often, and an even number: two
    /// neighbours are never parted.
    fn chunks(
        &self,
        images: usize,
        [inputs, outputs]: [usize; 2],
    ) -> (impl Iterator<Item = Range<usize>> + use<>, usize) {
        let all = images * self.each;
        let most = (512 / (inputs + outputs)).clamp(16, 64) * 2;
        let most = most.min(all);
        let starts = (0..all).step_by(most);
        (starts.map(move |i| i..(i + most).min(all)), most)
    }

    /// Every `step`-th of some tiles: its image, and the row and column of its first result.
    fn places(&self, chunk: Range<usize>, step: usize) -> impl Iterator<Item = [usize; 3]> {
        let (wide, high) = (2 * self.wide, 2 * self.each / self.wide);
        let (image, tile) = (chunk.start / self.each, chunk.start % self.each);
        let mut next = [image, tile / self.wide * 2, tile % self.wide * 2];
        chunk.step_by(step).map(move |_| {
            let here = next;
            let [image, top, left] = &mut next;
            *left += 2 * step;
            if *left == wide {
                (*top, *left) = (*top + 2, 0);
            }
            if *top == high {
                (*image, *top) = (*image + 1, 0);
            }
            here
        })
    }

    /// Runs a kernel by vectors of two neighbours where rows have an even number of tiles.
    fn run<Op: WithSimd>(&self, op: Op) -> Op::Output {
        if self.wide.is_multiple_of(2) {
            run_widest(op)
        } else {
            run(op)
        }
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
        for (block, weights) in self.weights.chunks_exact(9 * inputs).enumerate() {
            for i in 0..inputs {
                let at = |y: usize, x: usize| load::<S>(&weights[(3 * y + x) * inputs + i]);
                let a = of_weights(s, [at(0, 0), at(0, 1), at(0, 2)]);
                let b = of_weights(s, [at(1, 0), at(1, 1), at(1, 2)]);
                let c = of_weights(s, [at(2, 0), at(2, 1), at(2, 2)]);
                for x in 0..4 {
                    let column = of_weights(s, [a[x], b[x], c[x]]);
                    for (y, value) in column.into_iter().enumerate() {
                        self.result[(4 * y + x) * apart + block * inputs + i] = lanes::<S>(value);
                    }
                }
            }
        }
    }
}

/// [a, (a + b + c) / 2, (a − b + c) / 2, c]
#[inline(always)]
fn of_weights<S: Simd>(s: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = s.splat_f32s(0.5);
    let outer = s.add_f32s(a, c);
    let (sum, difference) = (s.add_f32s(outer, b), s.sub_f32s(outer, b));
    [a, s.mul_f32s(sum, half), s.mul_f32s(difference, half), c]
}

/// Whether a view's results are whole tiles.
pub fn has_tiles(view: &View) -> bool {
    Tiles::of(view).is_some()
}

/// Whether there are enough of them that the gradient of transformed weights, of which there are more, pays.
pub fn has_many_tiles(view: &View) -> bool {
    Tiles::of(view).is_some_and(|tiles| tiles.each >= 16)
}

/// Transforms of some tiles in some planes, point by point.
struct Transforms {
    numbers: Buffer,
    planes: usize,
    tiles: usize,
}

impl Transforms {
    /// Memory for so many tiles at most.
    fn new(planes: usize, tiles: usize) -> Self {
        Self {
            numbers: Buffer::stale(POINTS * (planes * tiles + APART)),
            planes,
            tiles,
        }
    }

    /// Pixels from one point's to the next one's.
    fn apart(&self) -> usize {
        self.planes * self.tiles + APART
    }

    /// All of so many tiles, to be written.
    fn begin(&mut self, tiles: usize) -> &mut [Lanes] {
        self.tiles = tiles;
        let n = POINTS * self.apart();
        &mut self.numbers[..n]
    }

    /// Each point's, `[plane][tile]`.
    fn points(&self) -> impl Iterator<Item = &[Lanes]> {
        let points = self.numbers.chunks_exact(self.apart()).take(POINTS);
        points.map(|point| &point[..self.planes * self.tiles])
    }

    /// The same, to be written.
    fn points_mut(&mut self) -> impl Iterator<Item = &mut [Lanes]> {
        let (apart, n) = (self.apart(), self.planes * self.tiles);
        let points = self.numbers.chunks_exact_mut(apart).take(POINTS);
        points.map(move |point| &mut point[..n])
    }
}

/// As [`dense`], by [transformed] weights, for a view that [has tiles](has_tiles).
pub fn winograd(images: &mut [InOut], view: &View, weights: &[Lanes], add: bool) {
    let (Some(tiles), Some((x, out))) = (Tiles::of(view), images.first()) else {
        return;
    };
    let planes = [x.len() / view.plane, out.len() / view.target.plane];
    let (chunks, most) = tiles.chunks(images.len(), planes);
    let [mut inputs, mut products] = planes.map(|n| Transforms::new(n, most));
    for chunk in chunks {
        let n = chunk.len();
        tiles.run(Inputs {
            images: images.iter().map(|(x, _)| *x),
            view,
            tiles: &tiles,
            chunk: chunk.clone(),
            result: inputs.begin(n),
        });
        products.begin(n);
        let pointwise = View::pointwise(n);
        let weights = weights.chunks_exact(weights.len() / POINTS);
        let points = inputs.points().zip(products.points_mut());
        for (weights, product) in weights.zip(points) {
            dense(&mut [product], &pointwise, weights, false);
        }
        run(Outputs {
            images,
            view,
            tiles: &tiles,
            chunk,
            products: products.begin(n),
            add,
        });
    }
}

/// As [`dense_weights`], adding to the gradient of [transformed] weights, for a view that [has tiles](has_tiles).
pub fn winograd_weights(images: &[(&[Lanes], &[Lanes])], view: &View, gradient: &mut [Lanes]) {
    let (Some(tiles), Some((x, g))) = (Tiles::of(view), images.first()) else {
        return;
    };
    let planes = [x.len() / view.plane, g.len() / view.target.plane];
    let (chunks, most) = tiles.chunks(images.len(), planes);
    let [mut inputs, mut adjoints] = planes.map(|n| Transforms::new(n, most));
    for chunk in chunks {
        let n = chunk.len();
        tiles.run(Inputs {
            images: images.iter().map(|(x, _)| *x),
            view,
            tiles: &tiles,
            chunk: chunk.clone(),
            result: inputs.begin(n),
        });
        tiles.run(Adjoints {
            images,
            view,
            tiles: &tiles,
            chunk,
            result: adjoints.begin(n),
        });
        let pointwise = View::pointwise(n);
        let gradients = gradient.chunks_exact_mut(gradient.len() / POINTS);
        for (gradient, point) in gradients.zip(inputs.points().zip(adjoints.points())) {
            dense_weights(&[point], &pointwise, gradient);
        }
    }
}

struct Inputs<'a, I> {
    images: I,
    view: &'a View,
    tiles: &'a Tiles,
    chunk: Range<usize>,
    result: &'a mut [Lanes],
}

impl<'a, I: Iterator<Item = &'a [Lanes]>> WithSimd for Inputs<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (n, view) = (self.chunk.len(), self.view);
        let apart = self.result.len() / POINTS;
        let images: Vec<&[Lanes]> = self.images.collect();
        let step = pixels::<S>();
        for (k, [i, top, left]) in self.tiles.places(self.chunk, step).enumerate() {
            let corner = self.tiles.base + top * view.width + left;
            for b in 0..(apart - APART) / n {
                let x = &images[i][b * view.plane + corner..];
                let row = |y: usize| &x[y * view.width..][..2 + 2 * pixels::<S>()];
                let rows = [
                    row_of_inputs(s, row(0)),
                    row_of_inputs(s, row(1)),
                    row_of_inputs(s, row(2)),
                    row_of_inputs(s, row(3)),
                ];
                let column = |column| of_inputs(s, column);
                scatter::<S, 4>(rows, column, self.result, apart, b * n + k * step);
            }
        }
    }
}

/// Transforms a tile's columns, or two neighbours', and writes the points at this place among those of each point.
///
/// Without loops: vectors in an array that one runs over go through the stack, and where that crosses a page, each
/// store does.
#[inline(always)]
fn scatter<S: Simd, const N: usize>(
    rows: [[S::f32s; 4]; N],
    column: impl Fn([S::f32s; N]) -> [S::f32s; 4],
    result: &mut [Lanes],
    apart: usize,
    at: usize,
) {
    let columns = [
        column(across(rows, 0)),
        column(across(rows, 1)),
        column(across(rows, 2)),
        column(across(rows, 3)),
    ];
    let rest = put_row::<S>(across(columns, 0), result, apart, at);
    let rest = put_row::<S>(across(columns, 1), rest, apart, at);
    let rest = put_row::<S>(across(columns, 2), rest, apart, at);
    put_row::<S>(across(columns, 3), rest, apart, at);
}

#[inline(always)]
fn put_row<S: Simd>(
    [a, b, c, d]: [S::f32s; 4],
    rest: &mut [Lanes],
    apart: usize,
    at: usize,
) -> &mut [Lanes] {
    let rest = put::<S>(a, rest, apart, at);
    let rest = put::<S>(b, rest, apart, at);
    let rest = put::<S>(c, rest, apart, at);
    put::<S>(d, rest, apart, at)
}

#[inline(always)]
fn put<S: Simd>(value: S::f32s, rest: &mut [Lanes], apart: usize, at: usize) -> &mut [Lanes] {
    let (point, rest) = rest.split_at_mut(apart);
    store_pixels::<S>(value, &mut point[at..]);
    rest
}

/// A column of rows.
#[inline(always)]
fn across<T: Copy, const N: usize, const M: usize>(rows: [[T; N]; M], x: usize) -> [T; M] {
    rows.map(|row| row[x])
}

/// The transform of one row of a tile's inputs, or of two neighbours'.
#[inline(always)]
fn row_of_inputs<S: Simd>(s: S, row: &[Lanes]) -> [S::f32s; 4] {
    let points = [
        load_pixels::<S, 2>(row),
        load_pixels::<S, 2>(&row[1..]),
        load_pixels::<S, 2>(&row[2..]),
        load_pixels::<S, 2>(&row[3..]),
    ];
    of_inputs(s, points)
}

/// [a − c, b + c, c − b, b − d]
#[inline(always)]
fn of_inputs<S: Simd>(s: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        s.sub_f32s(a, c),
        s.add_f32s(b, c),
        s.sub_f32s(c, b),
        s.sub_f32s(b, d),
    ]
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
        for (t, [i, top, left]) in self.tiles.places(self.chunk, 1).enumerate() {
            let (_, out) = &mut self.images[i];
            for b in 0..(apart - APART) / n {
                let at =
                    |y: usize, x: usize| load::<S>(&self.products[(4 * y + x) * apart + b * n + t]);
                let columns = [
                    of_products(s, [at(0, 0), at(1, 0), at(2, 0), at(3, 0)]),
                    of_products(s, [at(0, 1), at(1, 1), at(2, 1), at(3, 1)]),
                    of_products(s, [at(0, 2), at(1, 2), at(2, 2), at(3, 2)]),
                    of_products(s, [at(0, 3), at(1, 3), at(2, 3), at(3, 3)]),
                ];
                for y in 0..2 {
                    let row = of_products(s, columns.map(|column| column[y]));
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

/// [a + b + c, b − c − d]
#[inline(always)]
fn of_products<S: Simd>(s: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    let first = s.add_f32s(s.add_f32s(a, b), c);
    [first, s.sub_f32s(s.sub_f32s(b, c), d)]
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
        let step = pixels::<S>();
        for (k, [i, top, left]) in self.tiles.places(self.chunk, step).enumerate() {
            let (_, g) = self.images[i];
            for b in 0..(apart - APART) / n {
                let row = |y: usize| {
                    let start = b * view.target.plane + (top + y) * view.target.width + left;
                    &g[start..][..2 * pixels::<S>()]
                };
                let rows = [row_of_adjoints(s, row(0)), row_of_adjoints(s, row(1))];
                let column = |column| of_adjoints(s, column);
                scatter::<S, 2>(rows, column, self.result, apart, b * n + k * step);
            }
        }
    }
}

/// The transform of one row of a tile's adjoints, or of two neighbours'.
#[inline(always)]
fn row_of_adjoints<S: Simd>(s: S, row: &[Lanes]) -> [S::f32s; 4] {
    let points = [load_pixels::<S, 2>(row), load_pixels::<S, 2>(&row[1..])];
    of_adjoints(s, points)
}

/// [a, a + b, a − b, −b]
#[inline(always)]
fn of_adjoints<S: Simd>(s: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    let zero = s.splat_f32s(0.0);
    [a, s.add_f32s(a, b), s.sub_f32s(a, b), s.sub_f32s(zero, b)]
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
        for (block, weights) in self.weights.chunks_exact_mut(9 * inputs).enumerate() {
            for i in 0..inputs {
                let at = |y: usize, x: usize| {
                    load::<S>(&self.transformed[(4 * y + x) * apart + block * inputs + i])
                };
                let a = of_gradients(s, [at(0, 0), at(1, 0), at(2, 0), at(3, 0)]);
                let b = of_gradients(s, [at(0, 1), at(1, 1), at(2, 1), at(3, 1)]);
                let c = of_gradients(s, [at(0, 2), at(1, 2), at(2, 2), at(3, 2)]);
                let d = of_gradients(s, [at(0, 3), at(1, 3), at(2, 3), at(3, 3)]);
                for y in 0..3 {
                    let row = of_gradients(s, [a[y], b[y], c[y], d[y]]);
                    for (x, value) in row.into_iter().enumerate() {
                        let out = &mut weights[(3 * y + x) * inputs + i];
                        *out = lanes::<S>(s.add_f32s(load::<S>(out), value));
                    }
                }
            }
        }
    }
}

/// [a + (b + c) / 2, (b − c) / 2, (b + c) / 2 + d]
#[inline(always)]
fn of_gradients<S: Simd>(s: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = s.splat_f32s(0.5);
    let sum = s.mul_f32s(s.add_f32s(b, c), half);
    let difference = s.mul_f32s(s.sub_f32s(b, c), half);
    [s.add_f32s(a, sum), difference, s.add_f32s(sum, d)]
}

/// Whether tiles pay for a convolution between so many lanes.
pub fn pays(inputs: usize, outputs: usize) -> bool {
    inputs.min(outputs) >= 2 * LANES
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<Lanes> {
        let value = |i: usize| (i * 7919 % 997) as f32 / 997.0 - 0.5;
        (0..n)
            .map(|i| std::array::from_fn(|l| value((i + seed) * LANES + l)))
            .collect()
    }

    fn largest_difference(a: &[Lanes], b: &[Lanes]) -> f32 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn tiles_and_direct_convolutions_agree() {
        // More tiles than are transformed together, in rows of an odd and of an even number.
        agree(Size { h: 18, w: 22 }, 2, 3);
        agree(Size { h: 18, w: 20 }, 5, 6);
    }

    fn agree(size: Size, ins: usize, outs: usize) {
        let images = 2;
        let inputs = ins * LANES;
        let (outer, area) = (size.padded(2).area(), size.area());
        let x = numbers(images * ins * outer, 1);
        let g = numbers(images * outs * area, 2);
        let weights = numbers(outs * 9 * inputs, 3);
        let view = View::padded(Kernel::new(3, 1), size, 2);
        assert!(has_tiles(&view));
        let (mut direct, mut tiled) = (g.clone(), g.clone());
        let planes = |out| {
            x.chunks(ins * outer)
                .zip(<[Lanes]>::chunks_mut(out, outs * area))
        };
        dense(
            &mut planes(&mut direct).collect::<Vec<_>>(),
            &view,
            &weights,
            true,
        );
        winograd(
            &mut planes(&mut tiled).collect::<Vec<_>>(),
            &view,
            &transformed(&weights, inputs),
            true,
        );
        assert!(largest_difference(&direct, &g) > 1.0);
        assert!(largest_difference(&direct, &tiled) < 1e-4);
        let pairs: Vec<(&[Lanes], &[Lanes])> =
            x.chunks(ins * outer).zip(g.chunks(outs * area)).collect();
        let mut direct = weights.clone();
        dense_weights(&pairs, &view, &mut direct);
        let mut of_transforms = vec![[0.0; LANES]; weights.len() / 9 * POINTS];
        winograd_weights(&pairs, &view, &mut of_transforms);
        let mut tiled = weights.clone();
        add_untransformed(&of_transforms, inputs, &mut tiled);
        assert!(largest_difference(&direct, &weights) > 1.0);
        assert!(largest_difference(&direct, &tiled) < 1e-3);
    }

    #[test]
    fn views_of_other_kernels_and_odd_sizes_have_no_tiles() {
        let of = |kernel, h, w| has_tiles(&View::padded(kernel, Size { h, w }, 4));
        assert!(of(Kernel::new(3, 1), 4, 6));
        assert!(!of(Kernel::new(3, 1), 4, 5) && !of(Kernel::new(3, 1), 3, 6));
        assert!(!of(Kernel::new(3, 2), 8, 8) && !of(Kernel::new(5, 1), 8, 8));
        let dilated = Kernel {
            dilation: 2,
            ..Kernel::new(3, 1)
        };
        assert!(!of(dilated, 8, 8));
    }
}
