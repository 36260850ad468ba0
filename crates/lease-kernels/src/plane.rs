//! Planes: the pixels of one block of channels of one image; rectifying, padding and pooling them.

use pulp::{Simd, WithSimd};

use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// Zeros around a padded plane: enough for a 5×5 convolution of dilation 2.
pub const PAD: usize = 4;

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

    /// The size with zeros around.
    pub fn padded(self) -> Self {
        Self {
            h: self.h + 2 * PAD,
            w: self.w + 2 * PAD,
        }
    }
}

/// Copies a plane into a padded one whose border is zero already, its pixels `step` apart.
pub fn pad(plane: &[Lanes], size: Size, padded: &mut [Lanes], outer: Size, step: usize) {
    let width = outer.padded().w;
    for (y, row) in plane.chunks_exact(size.w).enumerate() {
        let start = (y * step + PAD) * width + PAD;
        if step == 1 {
            padded[start..start + size.w].copy_from_slice(row);
        } else {
            for (x, pixel) in row.iter().enumerate() {
                padded[start + x * step] = *pixel;
            }
        }
    }
}

/// max(x, 0).
pub fn rectify(x: &[Lanes], out: &mut [Lanes]) {
    run(Gate {
        x,
        gate: x,
        out,
        add: false,
    });
}

/// `x` where `gate` is above 0, else 0.
pub fn gate(x: &[Lanes], gate: &[Lanes], out: &mut [Lanes]) {
    run(Gate {
        x,
        gate,
        out,
        add: false,
    });
}

/// Adds `x` where `gate` is above 0.
pub fn add_gated(x: &[Lanes], gate: &[Lanes], out: &mut [Lanes]) {
    run(Gate {
        x,
        gate,
        out,
        add: true,
    });
}

struct Gate<'a> {
    x: &'a [Lanes],
    gate: &'a [Lanes],
    out: &'a mut [Lanes],
    add: bool,
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let zero = s.splat_f32s(0.0);
        let pixels = self.x.iter().zip(self.gate).zip(self.out);
        if self.add {
            for ((x, gate), out) in pixels {
                let open = s.greater_than_f32s(load::<S>(gate), zero);
                let x = s.select_f32s(open, load::<S>(x), zero);
                *out = lanes::<S>(s.add_f32s(load::<S>(out), x));
            }
        } else {
            for ((x, gate), out) in pixels {
                let open = s.greater_than_f32s(load::<S>(gate), zero);
                *out = lanes::<S>(s.select_f32s(open, load::<S>(x), zero));
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

/// The window of a 3×3 pool with padding 1 along one dimension.
fn window(at: usize, stride: usize, n: usize) -> std::ops::Range<usize> {
    let middle = at * stride;
    middle.saturating_sub(1)..(middle + 2).min(n)
}

/// 3×3 max-pooling; `index` gets the place of each maximum in the plane, the first one in reading order, as
/// PyTorch has it.
pub fn max_pool(
    x: &[Lanes],
    size: Size,
    stride: usize,
    out: &mut [Lanes],
    index: &mut [[u32; LANES]],
) {
    let after = size.strided(stride);
    for y in 0..after.h {
        for xx in 0..after.w {
            let (mut best, mut place) = ([f32::NEG_INFINITY; LANES], [0u32; LANES]);
            for row in window(y, stride, size.h) {
                for column in window(xx, stride, size.w) {
                    let at = row * size.w + column;
                    for l in 0..LANES {
                        let better = x[at][l] > best[l];
                        best[l] = if better { x[at][l] } else { best[l] };
                        place[l] = if better { at as u32 } else { place[l] };
                    }
                }
            }
            out[y * after.w + xx] = best;
            index[y * after.w + xx] = place;
        }
    }
}

/// Takes the pixels at the maxima.
pub fn take_maxima(x: &[Lanes], index: &[[u32; LANES]], out: &mut [Lanes]) {
    for (index, out) in index.iter().zip(out) {
        for l in 0..LANES {
            out[l] = x[index[l] as usize][l];
        }
    }
}

/// Adds to the pixels at the maxima.
pub fn add_to_maxima(g: &[Lanes], index: &[[u32; LANES]], out: &mut [Lanes]) {
    for (index, g) in index.iter().zip(g) {
        for l in 0..LANES {
            out[index[l] as usize][l] += g[l];
        }
    }
}

/// 3×3 mean over the pixels inside the image.
pub fn avg_pool(x: &[Lanes], size: Size, stride: usize, out: &mut [Lanes]) {
    run(AvgPool {
        x,
        size,
        stride,
        out,
    });
}

struct AvgPool<'a> {
    x: &'a [Lanes],
    size: Size,
    stride: usize,
    out: &'a mut [Lanes],
}

impl WithSimd for AvgPool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let after = self.size.strided(self.stride);
        for y in 0..after.h {
            let rows = window(y, self.stride, self.size.h);
            for xx in 0..after.w {
                let columns = window(xx, self.stride, self.size.w);
                let mut sum = s.splat_f32s(0.0);
                for row in rows.clone() {
                    for pixel in &self.x[row * self.size.w..][columns.clone()] {
                        sum = s.add_f32s(sum, load::<S>(pixel));
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
pub fn avg_pool_backward(g: &[Lanes], size: Size, stride: usize, out: &mut [Lanes]) {
    run(AvgPoolBackward {
        g,
        size,
        stride,
        out,
    });
}

struct AvgPoolBackward<'a> {
    g: &'a [Lanes],
    size: Size,
    stride: usize,
    out: &'a mut [Lanes],
}

impl WithSimd for AvgPoolBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let after = self.size.strided(self.stride);
        for y in 0..after.h {
            let rows = window(y, self.stride, self.size.h);
            for x in 0..after.w {
                let columns = window(x, self.stride, self.size.w);
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
