//! Depthwise convolutions of planes.

use pulp::{Simd, WithSimd};

use super::Kernel;
use crate::Lanes;
use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{lanes, load, load_pixels, load_same, pixels, run, run_widest, store_pixels};

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
    run_widest(Depthwise {
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
    let start = first * width + first;
    let mut work = Row {
        x: padded,
        width,
        taps,
        out,
        apart: after.w,
        add,
    };
    // Rows that are `D` apart read the same rows of the input but one, if it has no stride.
    let mut y = 0;
    while y < after.h {
        let at = (start + y * T * width, y * after.w);
        y += match after.h - y {
            left if T == 1 && left >= 2 * D => depthwise_row::<S, K, D, T, 2>(s, &mut work, at),
            _ => depthwise_row::<S, K, D, T, 1>(s, &mut work, at),
        };
    }
}

/// What rows of results are made of.
struct Row<'a> {
    x: &'a [Lanes],
    /// Of the input's rows.
    width: usize,
    taps: &'a [Lanes],
    out: &'a mut [Lanes],
    /// Of the results' rows.
    apart: usize,
    add: bool,
}

/// `R` rows, `D` apart, and those between them if there are any; returns how many these are.
#[inline(always)]
fn depthwise_row<S: Simd, const K: usize, const D: usize, const T: usize, const R: usize>(
    s: S,
    work: &mut Row,
    (from, to): (usize, usize),
) -> usize {
    let rows = if R == 1 { 1 } else { D };
    for y in 0..rows {
        let mut p = 0;
        while p < work.apart {
            let at = (from + y * work.width + p * T, to + y * work.apart + p);
            // So many vectors that their sums need not wait for each other, and no more than there are registers for.
            p += match (work.apart - p) / pixels::<S>() {
                8.. if R == 1 || R == 2 && pixels::<S>() == 2 => {
                    depthwise_tile::<S, K, D, T, 8, R>(s, work, at)
                }
                4.. => depthwise_tile::<S, K, D, T, 4, R>(s, work, at),
                _ => depthwise_tile::<S, K, D, T, 1, R>(s, work, at),
            };
        }
    }
    R * rows
}

/// `N` vectors of each of `R` rows; returns their pixels.
#[inline(always)]
fn depthwise_tile<
    S: Simd,
    const K: usize,
    const D: usize,
    const T: usize,
    const N: usize,
    const R: usize,
>(
    s: S,
    work: &mut Row,
    (from, to): (usize, usize),
) -> usize {
    let n = pixels::<S>();
    // The last one of a row may be a part of a vector.
    let count = match N {
        1 => n.min(work.apart - to % work.apart),
        _ => N * n,
    };
    let apart = D * work.apart;
    let mut sums = [[s.splat_f32s(0.0); N]; R];
    if work.add {
        for (r, sums) in sums.iter_mut().enumerate() {
            let out = &work.out[to + r * apart..][..count];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = load_pixels::<S, 1>(&out[i * n..]);
            }
        }
    }
    let (taps, _) = work.taps.as_chunks::<K>();
    for ky in 0..K + R - 1 {
        let row = &work.x[from + ky * D * work.width..][..(count - 1) * T + (K - 1) * D + 1];
        for kx in 0..K {
            let x: [S::f32s; N] =
                std::array::from_fn(|i| load_pixels::<S, T>(&row[i * n * T + kx * D..]));
            for (r, sums) in sums.iter_mut().enumerate() {
                let Some(taps) = ky.checked_sub(r).and_then(|ky| taps.get(ky)) else {
                    continue;
                };
                let tap = load_same::<S>(&taps[kx]);
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = s.mul_add_e_f32s(x, tap, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut work.out[to + r * apart..][..count];
        for (i, sum) in sums.iter().enumerate() {
            store_pixels::<S>(*sum, &mut out[i * n..]);
        }
    }
    count
}

/// Adds the gradient of a plane's taps: Σ g · x, with x padded by `pad` and g, which may be padded too, by `frame`.
pub fn depthwise_taps(
    kernel: Kernel,
    padded: &[Lanes],
    (size, pad): (Size, usize),
    (g, frame): (&[Lanes], usize),
    taps: &mut [Lanes],
) {
    run(DepthwiseTaps {
        kernel,
        padded,
        size,
        pad,
        g,
        frame,
        taps,
    });
}

struct DepthwiseTaps<'a> {
    kernel: Kernel,
    padded: &'a [Lanes],
    size: Size,
    pad: usize,
    g: &'a [Lanes],
    frame: usize,
    taps: &'a mut [Lanes],
}

impl WithSimd for DepthwiseTaps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        with_kernel!(
            self.kernel,
            taps_rows(
                s,
                self.padded,
                (self.size, self.pad),
                (self.g, self.frame),
                self.taps
            )
        )
    }
}

#[inline(always)]
fn taps_rows<S: Simd, const K: usize, const D: usize, const T: usize>(
    s: S,
    padded: &[Lanes],
    (size, pad): (Size, usize),
    (g, frame): (&[Lanes], usize),
    taps: &mut [Lanes],
) {
    let after = size.strided(T);
    let outer = after.padded(frame).w;
    let width = size.padded(pad).w;
    let first = pad - D * (K - 1) / 2;
    let rows = Rows {
        g,
        x: padded,
        after,
        of_g: (frame * outer + frame, outer),
        of_x: (first * width + first, width),
    };
    // As many rows of taps at a time as there are registers for: each pixel of g is loaded once for all of them.
    let mut ky = 0;
    while ky < K {
        let n = (K - ky).min(3);
        let taps = &mut taps[ky * K..(ky + n) * K];
        match n {
            3 => taps_of_rows::<S, K, D, T, 3>(s, &rows, ky, taps),
            2 => taps_of_rows::<S, K, D, T, 2>(s, &rows, ky, taps),
            _ => taps_of_rows::<S, K, D, T, 1>(s, &rows, ky, taps),
        }
        ky += n;
    }
}

/// Planes of g and of x, where each begins, and from one of its rows to the next.
struct Rows<'a> {
    g: &'a [Lanes],
    x: &'a [Lanes],
    after: Size,
    of_g: (usize, usize),
    of_x: (usize, usize),
}

/// Adds the gradients of `R` rows of taps from row `ky` on.
#[inline(always)]
fn taps_of_rows<S: Simd, const K: usize, const D: usize, const T: usize, const R: usize>(
    s: S,
    rows: &Rows,
    ky: usize,
    taps: &mut [Lanes],
) {
    let mut sums = [[s.splat_f32s(0.0); K]; R];
    let reach = (K - 1) * D + 1;
    for y in 0..rows.after.h {
        let g = &rows.g[rows.of_g.0 + y * rows.of_g.1..][..rows.after.w];
        let x: [&[Lanes]; R] = std::array::from_fn(|r| {
            let start = rows.of_x.0 + (y * T + (ky + r) * D) * rows.of_x.1;
            &rows.x[start..][..(rows.after.w - 1) * T + reach]
        });
        for (p, g) in g.iter().enumerate() {
            let g = load::<S>(g);
            for r in 0..R {
                let x = &x[r][p * T..p * T + reach];
                for kx in 0..K {
                    sums[r][kx] = s.mul_add_e_f32s(load::<S>(&x[kx * D]), g, sums[r][kx]);
                }
            }
        }
    }
    for (taps, sums) in taps.chunks_exact_mut(K).zip(sums) {
        for (tap, sum) in taps.iter_mut().zip(sums) {
            *tap = lanes::<S>(s.add_f32s(load::<S>(tap), sum));
        }
    }
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
