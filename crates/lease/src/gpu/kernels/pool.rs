//! Pools, chosen channels, and what carries their adjoints back.

use cubecl::prelude::*;

use super::{LANES, NONE, PLANES, greatest, least};

/// Maxima of windows, or means. Record: x, y, where the maxima's places in their windows go, planes, height and width of x, of y,
/// side of a window, stride, padding, whether it is maxima.
#[cube(launch_unchecked)]
pub fn pool(
    a: &mut [f32],
    b: &mut [f32],
    _p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < table[at + 3] {
        let h = table[at + 4];
        let w = table[at + 5];
        let width = table[at + 7];
        let area = table[at + 6] * width;
        let side = table[at + 8];
        let maxima = table[at + 11] != 0;
        let x = table[at] + plane * h * w;
        let y = table[at + 1] + plane * area;
        let places = table[at + 2] + plane * area;
        let mut pixel = UNIT_POS_X;
        while pixel < area {
            let row = pixel / width * table[at + 9] - table[at + 10];
            let column = pixel % width * table[at + 9] - table[at + 10];
            let mut best = 0.0f32;
            let mut found = 0u32;
            let mut sum = 0.0f32;
            let mut tangent = 0.0f32;
            let mut taken = 0.0f32;
            let mut inside = 0u32;
            for ky in 0..side {
                for kx in 0..side {
                    // What lies before the first pixel wraps around, and so lies behind the last.
                    if row + ky < h && column + kx < w {
                        let place = (x + (row + ky) * w + column + kx) as usize;
                        let value = a[place];
                        let better = inside == 0 || value > best;
                        best = select(better, value, best);
                        found = select(better, ky * side + kx, found);
                        sum += value;
                        if dual {
                            let moving = b[place];
                            taken = select(better, moving, taken);
                            tangent += moving;
                        }
                        inside += 1;
                    }
                }
            }
            let out = (y + pixel) as usize;
            if maxima {
                a[out] = best;
                a[(places + pixel) as usize] = f32::cast_from(found);
                if dual {
                    b[out] = taken;
                }
            } else {
                a[out] = sum / f32::cast_from(inside);
                if dual {
                    b[out] = tangent / f32::cast_from(inside);
                }
            }
            pixel += LANES;
        }
    }
}

/// The adjoint of x from that of y. Record as [`pool`]'s, with the adjoints in place of x and y.
#[cube(launch_unchecked)]
pub fn pool_back(
    a: &mut [f32],
    b: &mut [f32],
    _p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < table[at + 3] {
        let h = table[at + 4];
        let w = table[at + 5];
        let height = table[at + 6];
        let width = table[at + 7];
        let side = table[at + 8];
        let maxima = table[at + 11] != 0;
        let stride = table[at + 9];
        let pad = table[at + 10];
        let x = table[at] + plane * h * w;
        let y = table[at + 1] + plane * height * width;
        let places = table[at + 2] + plane * height * width;
        let mut pixel = UNIT_POS_X;
        while pixel < h * w {
            let row = pixel / w + pad;
            let column = pixel % w + pad;
            let mut sum = 0.0f32;
            let mut tangent = 0.0f32;
            for ky in 0..side {
                for kx in 0..side {
                    let top = row - ky;
                    let left = column - kx;
                    let oy = top / stride;
                    let ox = left / stride;
                    if top % stride == 0 && left % stride == 0 && oy < height && ox < width {
                        let out = oy * width + ox;
                        let mut factor = 0.0f32;
                        if maxima {
                            let found = u32::cast_from(a[(places + out) as usize]);
                            factor = select(found == ky * side + kx, 1.0, 0.0);
                        } else {
                            let bottom = least(top + side, h + pad);
                            let right = least(left + side, w + pad);
                            let rows = bottom - greatest(top, pad);
                            let columns = right - greatest(left, pad);
                            factor += 1.0 / f32::cast_from(rows * columns);
                        }
                        sum += factor * a[(y + out) as usize];
                        if dual {
                            tangent += factor * b[(y + out) as usize];
                        }
                    }
                }
            }
            a[(x + pixel) as usize] = sum;
            if dual {
                b[(x + pixel) as usize] = tangent;
            }
            pixel += LANES;
        }
    }
}

/// Channels of some fields, or zeros. Record: y, its channels, pixels of a plane, planes, then for each channel: x, the channels of
/// x, the channel to take (or none).
#[cube(launch_unchecked)]
pub fn gather(
    a: &mut [f32],
    b: &mut [f32],
    _p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < table[at + 3] {
        let channels = table[at + 1];
        let area = table[at + 2];
        let from = at + 4 + 3 * (plane % channels) as usize;
        let taken = table[from + 2];
        let there = taken != NONE;
        let x = table[from] + (plane / channels * table[from + 1] + select(there, taken, 0)) * area;
        let y = table[at] + plane * area;
        let mut pixel = UNIT_POS_X;
        while pixel < area {
            a[(y + pixel) as usize] = select(there, a[(x + pixel) as usize], 0.0);
            if dual {
                b[(y + pixel) as usize] = select(there, b[(x + pixel) as usize], 0.0);
            }
            pixel += LANES;
        }
    }
}
