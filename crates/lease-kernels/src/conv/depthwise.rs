//! Depthwise convolutions of planes.

use pulp::{Simd, WithSimd};

use super::Kernel;
use crate::Lanes;
use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{add_pixels, load_pixels, load_same, pixels, run_widest, store_pixels};

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
    run_widest(DepthwiseTaps {
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
    let planes = Planes {
        g,
        x: padded,
        after,
        of_g: (frame * outer + frame, outer),
        of_x: (first * width + first, width),
    };
    let (taps, _) = taps.as_chunks_mut::<K>();
    // As many rows of taps at a time as there are registers for: each pixel of g is loaded once for all of them.
    let at_once = if pixels::<S>() == 2 { K } else { 3 };
    let mut ky = 0;
    for taps in taps.chunks_mut(at_once) {
        match taps.len() {
            5 => taps_of_rows::<S, K, D, T, 5>(s, &planes, ky, taps),
            3 => taps_of_rows::<S, K, D, T, 3>(s, &planes, ky, taps),
            _ => taps_of_rows::<S, K, D, T, 2>(s, &planes, ky, taps),
        }
        ky += taps.len();
    }
}

/// Planes of g and of x, where each begins, and from one of its rows to the next.
struct Planes<'a> {
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
    planes: &Planes,
    ky: usize,
    taps: &mut [[Lanes; K]],
) {
    let h = planes.after.h;
    let mut sums = [[s.splat_f32s(0.0); K]; R];
    // Rows of g that are `D` apart read the same rows of x but one, if these have no stride: loaded once for both,
    // where there are registers for it.
    let pairs = match pixels::<S>() {
        2 if T == 1 => h / (2 * D),
        _ => 0,
    };
    for y in (0..pairs * 2 * D).filter(|y| (y / D).is_multiple_of(2)) {
        sums = taps_of_row::<S, K, D, T, R, 2>(s, planes, (ky, y), sums);
    }
    for y in pairs * 2 * D..h {
        sums = taps_of_row::<S, K, D, T, R, 1>(s, planes, (ky, y), sums);
    }
    for (taps, sums) in taps.iter_mut().zip(sums) {
        for (tap, sum) in taps.iter_mut().zip(sums) {
            add_pixels(s, tap, sum);
        }
    }
}

/// Adds the products of `G` rows of g, `D` apart.
#[inline(always)]
fn taps_of_row<
    S: Simd,
    const K: usize,
    const D: usize,
    const T: usize,
    const R: usize,
    const G: usize,
>(
    s: S,
    planes: &Planes,
    (ky, y): (usize, usize),
    mut sums: [[S::f32s; K]; R],
) -> [[S::f32s; K]; R] {
    let w = planes.after.w;
    let reach = (K - 1) * D + 1;
    let g: [&[Lanes]; G] =
        std::array::from_fn(|r| &planes.g[planes.of_g.0 + (y + r * D) * planes.of_g.1..][..w]);
    // Those that are read, at most six.
    let x: [&[Lanes]; 6] = std::array::from_fn(|r| {
        let row = y * T + (ky + r.min(R + G - 2)) * D;
        &planes.x[planes.of_x.0 + row * planes.of_x.1..][..(w - 1) * T + reach]
    });
    let n = pixels::<S>();
    for p in 0..w / n {
        sums = taps_of_pixels::<S, K, D, T, R, G>(s, g, x, (p * n, n), sums);
    }
    if !w.is_multiple_of(n) {
        sums = taps_of_pixels::<S, K, D, T, R, G>(s, g, x, (w - 1, 1), sums);
    }
    sums
}

/// Adds the products of a vector of each of these rows, or of the part of one that is left.
#[inline(always)]
fn taps_of_pixels<
    S: Simd,
    const K: usize,
    const D: usize,
    const T: usize,
    const R: usize,
    const G: usize,
>(
    s: S,
    g: [&[Lanes]; G],
    x: [&[Lanes]; 6],
    (p, count): (usize, usize),
    mut sums: [[S::f32s; K]; R],
) -> [[S::f32s; K]; R] {
    let reach = (count - 1) * T + (K - 1) * D + 1;
    let g: [S::f32s; G] = std::array::from_fn(|k| load_pixels::<S, 1>(&g[k][p..p + count]));
    for r in 0..R + G - 1 {
        let x = &x[r][p * T..][..reach];
        for kx in 0..K {
            let x = load_pixels::<S, T>(&x[kx * D..]);
            for k in 0..G {
                if r >= k && r - k < R {
                    sums[r - k][kx] = s.mul_add_e_f32s(x, g[k], sums[r - k][kx]);
                }
            }
        }
    }
    sums
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
