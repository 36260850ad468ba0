//! Planes: the pixels of one block of channels of one image; rectifying and padding them.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// Height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
