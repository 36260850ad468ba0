//! Depthwise convolutions of planes.

use pulp::{Simd, WithSimd};

use super::Kernel;
use crate::Lanes;
use crate::plane::Size;
use crate::pool::Buffer;
use crate::simd::{lanes, load, run};

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
