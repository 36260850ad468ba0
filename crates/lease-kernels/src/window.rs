//! Pooling windows, forward and backward.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::plane::Size;
use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

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
    fn range(self, at: usize, n: usize) -> Range<usize> {
        let start = at * self.stride;
        start.saturating_sub(self.pad)..(start + self.size - self.pad).min(n)
    }
}

/// Three rows of numbers, those around a row of pixels, as windows of 3×3 pixels side by side need them.
struct Around<T> {
    rows: Vec<T>,
    width: usize,
    outside: T,
}

impl<T: Copy> Around<T> {
    /// Rows of so many numbers that lie outside of the image.
    fn new(width: usize, outside: T) -> Self {
        let rows = vec![outside; 3 * width];
        Self {
            rows,
            width,
            outside,
        }
    }

    /// The memory of row `y` of `h`, which was that of row `y` − 3; the one after the last lies outside and has none.
    #[inline(always)]
    fn row(&mut self, y: usize, h: usize) -> Option<&mut [T]> {
        let row = &mut self.rows[y % 3 * self.width..][..self.width];
        if y == h {
            row.fill(self.outside);
            return None;
        }
        Some(row)
    }

    /// Rows `y` − 1, `y` and `y` + 1.
    #[inline(always)]
    fn around(&self, y: usize) -> [&[T]; 3] {
        std::array::from_fn(|r| &self.rows[(y + 2 + r) % 3 * self.width..][..self.width])
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
        if self.window == Window::three(1) {
            return self.three(s);
        }
        let (window, after) = (self.window, self.window.after(self.size));
        let lowest = s.splat_f32s(f32::NEG_INFINITY);
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
                    better(s, (&mut best, &mut place), load::<S>(pixel), at);
                }
                *maximum = (lanes::<S>(best), lanes::<S>(place));
            }
        }
        for y in 0..after.h {
            let rows = window.range(y, self.size.h);
            for x in 0..after.w {
                let (mut best, mut place) = (lowest, s.splat_f32s(0.0));
                for row in rows.clone() {
                    let above = (row + window.pad - y * window.stride) * window.size;
                    let (value, column) = &maxima[row * after.w + x];
                    let at = s.add_f32s(load::<S>(column), s.splat_f32s(above as f32));
                    better(s, (&mut best, &mut place), load::<S>(value), at);
                }
                let at = y * after.w + x;
                self.out[at] = lanes::<S>(best);
                self.places[at] = small(s, place);
            }
        }
    }
}

/// Takes a number and its place if it is greater.
#[inline(always)]
fn better<S: Simd>(s: S, best: (&mut S::f32s, &mut S::f32s), x: S::f32s, at: S::f32s) {
    let (best, place) = best;
    let better = s.greater_than_f32s(x, *best);
    *best = s.select_f32s(better, x, *best);
    *place = s.select_f32s(better, at, *place);
}

/// Small whole numbers as bytes.
#[inline(always)]
fn small<S: Simd>(s: S, numbers: S::f32s) -> Places {
    // Added to a small whole number, this leaves the number in the lowest bits.
    let whole = lanes::<S>(s.add_f32s(numbers, s.splat_f32s(8_388_608.0)));
    whole.map(|n| n.to_bits() as u8)
}

impl MaxPool<'_> {
    /// The same for 3×3 windows at stride 1, with pixels around that are never a maximum.
    #[inline(always)]
    fn three<S: Simd>(self, s: S) {
        let Size { h, w } = self.size;
        let lowest = s.splat_f32s(f32::NEG_INFINITY);
        let numbers: [S::f32s; 3] = std::array::from_fn(|k| s.splat_f32s(k as f32));
        let outside = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
        let mut pixels = vec![outside.0; w + 2];
        let mut maxima = Around::new(w, outside);
        for y in 0..=h {
            if let Some(row) = maxima.row(y, h) {
                pixels[1..=w].copy_from_slice(&self.x[y * w..][..w]);
                for (maximum, three) in row.iter_mut().zip(pixels.windows(3)) {
                    let (mut best, mut place) = (lowest, numbers[0]);
                    for (pixel, at) in three.iter().zip(numbers) {
                        better(s, (&mut best, &mut place), load::<S>(pixel), at);
                    }
                    *maximum = (lanes::<S>(best), lanes::<S>(place));
                }
            }
            let Some(y) = y.checked_sub(1) else { continue };
            let rows = maxima.around(y);
            let to = self.out[y * w..].iter_mut().zip(&mut self.places[y * w..]);
            for (x, (out, places)) in to.take(w).enumerate() {
                let (mut best, mut place) = (lowest, numbers[0]);
                for (r, row) in rows.iter().enumerate() {
                    let (value, column) = &row[x];
                    let at = s.add_f32s(load::<S>(column), s.splat_f32s(3.0 * r as f32));
                    better(s, (&mut best, &mut place), load::<S>(value), at);
                }
                *out = lanes::<S>(best);
                *places = small(s, place);
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
    if window == Window::three(1) {
        run(AddToMaxima {
            g,
            size,
            places,
            out,
        });
    } else {
        at_maxima(size, window, places, |at, l, pixel| {
            out[pixel][l] += g[at][l];
        });
    }
}

/// For 3×3 windows at stride 1: each pixel looks into the nine windows around it.
struct AddToMaxima<'a> {
    g: &'a [Lanes],
    size: Size,
    places: &'a [Places],
    out: &'a mut [Lanes],
}

impl WithSimd for AddToMaxima<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Size { h, w } = self.size;
        // Places and g of windows, with some around that have their maximum nowhere.
        let nowhere = ([-1.0; LANES], [0.0; LANES]);
        let mut windows = Around::new(w + 2, nowhere);
        let zero = s.splat_f32s(0.0);
        let numbers: [S::f32s; 9] = std::array::from_fn(|k| s.splat_f32s(k as f32));
        for y in 0..=h {
            if let Some(row) = windows.row(y, h) {
                let read = self.places[y * w..].iter().zip(&self.g[y * w..]);
                for (to, (places, g)) in row[1..=w].iter_mut().zip(read) {
                    *to = (places.map(f32::from), *g);
                }
            }
            let Some(y) = y.checked_sub(1) else { continue };
            // In the row of windows above, the pixels are those of the windows' last row.
            let rows = windows.around(y);
            for (x, out) in self.out[y * w..][..w].iter_mut().enumerate() {
                let mut sum = load::<S>(out);
                for (r, row) in rows.iter().enumerate() {
                    for (c, (place, g)) in row[x..x + 3].iter().enumerate() {
                        let here = s.equal_f32s(load::<S>(place), numbers[8 - 3 * r - c]);
                        sum = s.add_f32s(sum, s.select_f32s(here, load::<S>(g), zero));
                    }
                }
                *out = lanes::<S>(sum);
            }
        }
    }
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
        if self.window == Window::three(1) {
            return self.three(s);
        }
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

impl AvgPool<'_> {
    /// The same for 3×3 windows at stride 1: sums of three of a row, then of three of the rows' sums.
    #[inline(always)]
    fn three<S: Simd>(self, s: S) {
        let Size { h, w } = self.size;
        let outside = [0.0; LANES];
        let mut pixels = vec![outside; w + 2];
        let mut sums = Around::new(w, outside);
        for y in 0..=h {
            if let Some(row) = sums.row(y, h) {
                pixels[1..=w].copy_from_slice(&self.x[y * w..][..w]);
                sums_of_three(s, &pixels, row);
            }
            let Some(y) = y.checked_sub(1) else { continue };
            let high = self.window.range(y, h).len();
            let rows = sums.around(y);
            for (x, out) in self.out[y * w..][..w].iter_mut().enumerate() {
                let count = high * self.window.range(x, w).len();
                let sum = sum_at(s, rows, x);
                *out = lanes::<S>(s.div_f32s(sum, s.splat_f32s(count as f32)));
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
        if self.window == Window::three(1) {
            return self.three(s);
        }
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

impl AvgPoolBackward<'_> {
    /// For 3×3 windows at stride 1: sums of three of a row, then of three of the rows' sums.
    #[inline(always)]
    fn three<S: Simd>(self, s: S) {
        let Size { h, w } = self.size;
        let outside = [0.0; LANES];
        let mut shares = vec![outside; w + 2];
        let mut sums = Around::new(w, outside);
        for y in 0..=h {
            if let Some(row) = sums.row(y, h) {
                let high = self.window.range(y, h).len();
                for (x, (share, g)) in shares[1..=w].iter_mut().zip(&self.g[y * w..]).enumerate() {
                    let count = high * self.window.range(x, w).len();
                    *share = lanes::<S>(s.mul_f32s(load::<S>(g), s.splat_f32s(1.0 / count as f32)));
                }
                sums_of_three(s, &shares, row);
            }
            let Some(y) = y.checked_sub(1) else { continue };
            let rows = sums.around(y);
            for (x, out) in self.out[y * w..][..w].iter_mut().enumerate() {
                let sum = sum_at(s, rows, x);
                *out = lanes::<S>(s.add_f32s(load::<S>(out), sum));
            }
        }
    }
}

/// The sum of three rows at one place.
#[inline(always)]
fn sum_at<S: Simd>(s: S, [above, here, below]: [&[Lanes]; 3], x: usize) -> S::f32s {
    let two = s.add_f32s(load::<S>(&above[x]), load::<S>(&here[x]));
    s.add_f32s(two, load::<S>(&below[x]))
}

/// The sums of each three pixels of a row, which has one more on each side.
#[inline(always)]
fn sums_of_three<S: Simd>(s: S, row: &[Lanes], sums: &mut [Lanes]) {
    for (sum, three) in sums.iter_mut().zip(row.windows(3)) {
        let two = s.add_f32s(load::<S>(&three[0]), load::<S>(&three[1]));
        *sum = lanes::<S>(s.add_f32s(two, load::<S>(&three[2])));
    }
}
