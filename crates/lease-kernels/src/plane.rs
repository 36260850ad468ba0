//! Planes: the pixels of one block of channels of one image; rectifying, padding and pooling them.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// Height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
}

impl Size {
    /// Pixels.
    pub fn area(self) -> usize {
        self.h * self.w
    }

    /// The size after a stride, rounded up.
    pub fn strided(self, stride: usize) -> Self {
        Self {
            h: self.h.div_ceil(stride),
            w: self.w.div_ceil(stride),
        }
    }

    /// The size with this many zeros on each side.
    pub fn padded(self, pad: usize) -> Self {
        Self {
            h: self.h + 2 * pad,
            w: self.w + 2 * pad,
        }
    }
}

/// How a plane's rows lie in memory.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub count: usize,
    /// Where the first one begins.
    start: usize,
    /// From one row to the next.
    stride: usize,
    /// From one plane to the next.
    pub plane: usize,
}

impl Rows {
    /// So many pixels side by side, as one row.
    pub fn whole(area: usize) -> Self {
        Self {
            width: area,
            count: 1,
            start: 0,
            stride: area,
            plane: area,
        }
    }

    /// The rows of a plane with `pad` pixels around it.
    pub fn padded(size: Size, pad: usize) -> Self {
        let outer = size.padded(pad);
        Self {
            width: size.w,
            count: size.h,
            start: pad * outer.w + pad,
            stride: outer.w,
            plane: outer.area(),
        }
    }

    /// As many rows as long, side by side.
    pub fn beside(self) -> Self {
        Self {
            start: 0,
            stride: self.width,
            plane: self.width * self.count,
            ..self
        }
    }

    /// Where a row lies.
    #[inline(always)]
    pub fn row(self, y: usize) -> Range<usize> {
        let start = self.start + y * self.stride;
        start..start + self.width
    }

    /// Where a row of some plane lies.
    #[inline(always)]
    fn of(self, plane: usize, y: usize) -> Range<usize> {
        let Range { start, end } = self.row(y);
        plane * self.plane + start..plane * self.plane + end
    }
}

/// Copies planes side by side to these rows.
pub fn place(planes: &[Lanes], out: &mut [Lanes], rows: Rows) {
    for (k, row) in planes.chunks_exact(rows.width).enumerate() {
        out[rows.of(k / rows.count, k % rows.count)].copy_from_slice(row);
    }
}

/// Copies a plane into one padded by `pad` whose other pixels are zero already, its pixels `step` apart.
/// `outer` is the padded plane's size with its padding.
pub fn widen(
    plane: &[Lanes],
    size: Size,
    padded: &mut [Lanes],
    outer: Size,
    pad: usize,
    step: usize,
) {
    for (y, row) in plane.chunks_exact(size.w).enumerate() {
        let start = (y * step + pad) * outer.w + pad;
        for (x, pixel) in row.iter().enumerate() {
            padded[start + x * step] = *pixel;
        }
    }
}

/// Copies a plane into one padded by `pad`, and sets its other pixels to zero; `outer` is the padded plane's size
/// with its padding.
pub fn frame(plane: &[Lanes], size: Size, padded: &mut [Lanes], outer: Size, pad: usize) {
    let (above, rest) = padded.split_at_mut(pad * outer.w);
    let (rows, below) = rest.split_at_mut(size.h * outer.w);
    above.fill([0.0; LANES]);
    below.fill([0.0; LANES]);
    let rows = rows.chunks_exact_mut(outer.w);
    for (row, padded) in plane.chunks_exact(size.w).zip(rows) {
        padded[..pad].fill([0.0; LANES]);
        padded[pad..pad + size.w].copy_from_slice(row);
        padded[pad + size.w..].fill([0.0; LANES]);
    }
}

/// `x` where `gate` is above 0, else 0: planes side by side, each by its rows in the other two.
pub fn gate(x: &[Lanes], gate: (&[Lanes], Rows), out: (&mut [Lanes], Rows)) {
    run(Gate { x, gate, out });
}

struct Gate<'a> {
    x: &'a [Lanes],
    gate: (&'a [Lanes], Rows),
    out: (&'a mut [Lanes], Rows),
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let zero = s.splat_f32s(0.0);
        let ((gate, gates), (out, outs)) = (self.gate, self.out);
        for (k, x) in self.x.chunks_exact(outs.width).enumerate() {
            let (plane, y) = (k / outs.count, k % outs.count);
            let (gate, out) = (&gate[gates.of(plane, y)], &mut out[outs.of(plane, y)]);
            for ((x, gate), out) in x.iter().zip(gate).zip(out) {
                let open = s.greater_than_f32s(load::<S>(gate), zero);
                *out = lanes::<S>(s.select_f32s(open, load::<S>(x), zero));
            }
        }
    }
}

/// Closes `x` where `gate` is not above 0; numbers that are not finite become NaN there.
pub fn gate_in_place(x: &mut [Lanes], gate: &[Lanes]) {
    run(GateInPlace { x, gate });
}

struct GateInPlace<'a> {
    x: &'a mut [Lanes],
    gate: &'a [Lanes],
}

impl WithSimd for GateInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (zero, one) = (s.splat_f32s(0.0), s.splat_f32s(1.0));
        for (x, gate) in self.x.iter_mut().zip(self.gate) {
            let open = s.greater_than_f32s(load::<S>(gate), zero);
            // Not a choice between x and 0, which compilers make a masked store: slow on many processors.
            let factor = s.select_f32s(open, one, zero);
            *x = lanes::<S>(s.mul_f32s(load::<S>(x), factor));
        }
    }
}

/// Adds `x` where `gate`, which may lie in rows, is above 0.
pub fn add_gated(x: &[Lanes], gate: (&[Lanes], Rows), out: &mut [Lanes]) {
    run(AddGated { x, gate, out });
}

struct AddGated<'a> {
    x: &'a [Lanes],
    gate: (&'a [Lanes], Rows),
    out: &'a mut [Lanes],
}

impl WithSimd for AddGated<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let zero = s.splat_f32s(0.0);
        let (gate, gates) = self.gate;
        let rows = self.x.chunks_exact(gates.width);
        for (k, (x, out)) in rows.zip(self.out.chunks_exact_mut(gates.width)).enumerate() {
            let gate = &gate[gates.of(k / gates.count, k % gates.count)];
            for ((x, gate), out) in x.iter().zip(gate).zip(out) {
                let open = s.greater_than_f32s(load::<S>(gate), zero);
                let x = s.select_f32s(open, load::<S>(x), zero);
                *out = lanes::<S>(s.add_f32s(load::<S>(out), x));
            }
        }
    }
}

/// Adds `x`.
pub fn add(x: &[Lanes], out: &mut [Lanes]) {
    run(Add { x, out });
}

struct Add<'a> {
    x: &'a [Lanes],
    out: &'a mut [Lanes],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for (x, out) in self.x.iter().zip(self.out) {
            *out = lanes::<S>(s.add_f32s(load::<S>(x), load::<S>(out)));
        }
    }
}

/// A square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its side.
    pub size: usize,
    /// Its stride.
    pub stride: usize,
    /// Padding on each side; pixels outside the image don't count.
    pub pad: usize,
}

impl Window {
    /// 3×3 with padding 1.
    pub fn three(stride: usize) -> Self {
        Self {
            size: 3,
            stride,
            pad: 1,
        }
    }

    /// 2×2, side by side.
    pub fn two() -> Self {
        Self {
            size: 2,
            stride: 2,
            pad: 0,
        }
    }

    /// The size of the result.
    pub fn after(self, size: Size) -> Size {
        let one = |n: usize| (n + 2 * self.pad).saturating_sub(self.size) / self.stride + 1;
        Size {
            h: one(size.h),
            w: one(size.w),
        }
    }

    /// The pixels that it covers along one dimension of `n`.
    fn range(self, at: usize, n: usize) -> std::ops::Range<usize> {
        let start = at * self.stride;
        start.saturating_sub(self.pad)..(start + self.size - self.pad).min(n)
    }
}

/// Where in its window a maximum lies, lane by lane, in reading order.
pub type Places = [u8; LANES];

/// Max-pooling; `places` gets the first maximum in reading order, as PyTorch has it.
pub fn max_pool(x: &[Lanes], size: Size, window: Window, out: &mut [Lanes], places: &mut [Places]) {
    run(MaxPool {
        x,
        size,
        window,
        out,
        places,
    });
}

struct MaxPool<'a> {
    x: &'a [Lanes],
    size: Size,
    window: Window,
    out: &'a mut [Lanes],
    places: &'a mut [Places],
}

impl WithSimd for MaxPool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (window, after) = (self.window, self.window.after(self.size));
        let lowest = s.splat_f32s(f32::NEG_INFINITY);
        let better = |best: &mut S::f32s, place: &mut S::f32s, x: S::f32s, at: S::f32s| {
            let better = s.greater_than_f32s(x, *best);
            *best = s.select_f32s(better, x, *best);
            *place = s.select_f32s(better, at, *place);
        };
        // First the maxima of each row's windows, then those of the rows' maxima: with the first one kept
        // both times it is the first in reading order.
        let mut maxima = vec![([0.0; LANES], [0.0; LANES]); self.size.h * after.w];
        for (row, maxima) in maxima.chunks_exact_mut(after.w).enumerate() {
            let pixels = &self.x[row * self.size.w..][..self.size.w];
            for (x, maximum) in maxima.iter_mut().enumerate() {
                let columns = window.range(x, self.size.w);
                let left = window.pad + columns.start - x * window.stride;
                let (mut best, mut place) = (lowest, s.splat_f32s(0.0));
                for (k, pixel) in pixels[columns].iter().enumerate() {
                    let at = s.splat_f32s((left + k) as f32);
                    better(&mut best, &mut place, load::<S>(pixel), at);
                }
                *maximum = (lanes::<S>(best), lanes::<S>(place));
            }
        }
        // Added to a small whole number, this leaves the number in the lowest bits.
        let whole = s.splat_f32s(8_388_608.0);
        for y in 0..after.h {
            let rows = window.range(y, self.size.h);
            for x in 0..after.w {
                let (mut best, mut place) = (lowest, s.splat_f32s(0.0));
                for row in rows.clone() {
                    let above = (row + window.pad - y * window.stride) * window.size;
                    let (value, column) = &maxima[row * after.w + x];
                    let at = s.add_f32s(load::<S>(column), s.splat_f32s(above as f32));
                    better(&mut best, &mut place, load::<S>(value), at);
                }
                let at = y * after.w + x;
                self.out[at] = lanes::<S>(best);
                let place = lanes::<S>(s.add_f32s(place, whole));
                self.places[at] = place.map(|p| p.to_bits() as u8);
            }
        }
    }
}

/// Calls `each` with the number of every result, its lane and the pixel of its maximum.
#[inline(always)]
fn at_maxima(
    size: Size,
    window: Window,
    places: &[Places],
    mut each: impl FnMut(usize, usize, usize),
) {
    let after = window.after(size);
    for (at, places) in places.iter().enumerate() {
        let corner = (at / after.w * window.stride, at % after.w * window.stride);
        for (l, place) in places.iter().enumerate() {
            let place = usize::from(*place);
            // A window without any maximum (all NaN) reports its corner, which may be outside.
            let y = (corner.0 + place / window.size).saturating_sub(window.pad);
            let x = (corner.1 + place % window.size).saturating_sub(window.pad);
            each(at, l, y * size.w + x);
        }
    }
}

/// Takes the pixels at the maxima.
pub fn take_maxima(x: &[Lanes], size: Size, window: Window, places: &[Places], out: &mut [Lanes]) {
    at_maxima(size, window, places, |at, l, pixel| {
        out[at][l] = x[pixel][l]
    });
}

/// Adds to the pixels at the maxima.
pub fn add_to_maxima(
    g: &[Lanes],
    size: Size,
    window: Window,
    places: &[Places],
    out: &mut [Lanes],
) {
    at_maxima(size, window, places, |at, l, pixel| {
        out[pixel][l] += g[at][l];
    });
}

/// The mean over the pixels inside the image.
pub fn avg_pool(x: &[Lanes], size: Size, window: Window, out: &mut [Lanes]) {
    run(AvgPool {
        x,
        size,
        window,
        out,
    });
}

struct AvgPool<'a> {
    x: &'a [Lanes],
    size: Size,
    window: Window,
    out: &'a mut [Lanes],
}

impl WithSimd for AvgPool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let after = self.window.after(self.size);
        for y in 0..after.h {
            let rows = self.window.range(y, self.size.h);
            for xx in 0..after.w {
                let columns = self.window.range(xx, self.size.w);
                let mut sum = s.splat_f32s(0.0);
                for row in rows.clone() {
                    let pixels = &self.x[row * self.size.w..][columns.clone()];
                    if let [a, b, c] = pixels {
                        sum = s.add_f32s(s.add_f32s(sum, load::<S>(a)), load::<S>(b));
                        sum = s.add_f32s(sum, load::<S>(c));
                    } else {
                        for pixel in pixels {
                            sum = s.add_f32s(sum, load::<S>(pixel));
                        }
                    }
                }
                // Divided, not multiplied by a rounded reciprocal: a constant channel should stay constant.
                let count = s.splat_f32s((rows.len() * columns.len()) as f32);
                self.out[y * after.w + xx] = lanes::<S>(s.div_f32s(sum, count));
            }
        }
    }
}

/// Adds the gradient of [`avg_pool`]'s input.
pub fn avg_pool_backward(g: &[Lanes], size: Size, window: Window, out: &mut [Lanes]) {
    run(AvgPoolBackward {
        g,
        size,
        window,
        out,
    });
}

struct AvgPoolBackward<'a> {
    g: &'a [Lanes],
    size: Size,
    window: Window,
    out: &'a mut [Lanes],
}

impl WithSimd for AvgPoolBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let after = self.window.after(self.size);
        for y in 0..after.h {
            let rows = self.window.range(y, self.size.h);
            for x in 0..after.w {
                let columns = self.window.range(x, self.size.w);
                let share = s.splat_f32s(1.0 / (rows.len() * columns.len()) as f32);
                let g = s.mul_f32s(load::<S>(&self.g[y * after.w + x]), share);
                for row in rows.clone() {
                    for pixel in &mut self.out[row * self.size.w..][columns.clone()] {
                        *pixel = lanes::<S>(s.add_f32s(load::<S>(pixel), g));
                    }
                }
            }
        }
    }
}
