//! States and adjoints, each in one sweep over memory.

use cubecl::prelude::*;

use super::norm::weighting;
use super::{LANES, NONE, PIXELS, PLANES};

/// Numbers of a term in [`state`]'s record.
pub const TERM: u32 = 6;

/// Numbers of a contribution in [`adjoint`]'s record.
pub const CONTRIBUTION: u32 = 4;

/// An adjoint of what a unit read: field, and what decides where it passes (or none).
pub const READ: u32 = 0;

/// A form of a state's adjoint: field, form, images' factors (or none).
pub const FORM: u32 = 1;

/// A result's gradients, `[images, channels]` of means: place, channels, the first one.
pub const MEANS: u32 = 2;

/// A result's gradients, `[images, channels, pixels]`: place, channels, the first one.
pub const WHOLE: u32 = 3;

/// States: sums of normalised fields. Record: the state, channels, pixels of a plane, planes, whether it is rectified, the first
/// image's number, terms, then each: its field, statistics (or none), scales, shifts (or none), coefficient (or none), the images' factors
/// (or none).
#[cube(launch_unchecked)]
pub fn state(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < table[at + 3] {
        let channels = table[at + 1];
        let area = table[at + 2];
        let rectify = table[at + 4] != 0;
        let channel = plane % channels;
        let image = plane / channels + table[at + 5];
        let mut begin = UNIT_POS_X;
        while begin < area {
            let mut sums = Array::<f32>::new(PIXELS);
            let mut tangents = Array::<f32>::new(PIXELS);
            #[unroll]
            for k in 0..PIXELS {
                sums[k] = 0.0;
                tangents[k] = 0.0;
            }
            for t in 0..table[at + 6] {
                let term = at + 7 + (t * TERM) as usize;
                let of = weighting(p, q, table, term + 1, channels, channel, dual);
                let (k, kt) = (of.coefficient, of.coefficient_tangent);
                let mut factor = 1.0f32;
                if table[term + 5] != NONE {
                    factor = p[(table[term + 5] + image) as usize];
                }
                let scale = of.r * k * of.own;
                let shift = k * of.shift - scale * of.mean;
                let weight_tangent = kt * of.own + k * of.own_tangent;
                let slope = of.r * (weight_tangent - scale * of.projection);
                let shift_tangent =
                    kt * of.shift + k * of.shift_tangent - scale * of.moving - slope * of.mean;
                let from = table[term] + plane * area;
                #[unroll]
                for k in 0..PIXELS {
                    let pixel = begin + comptime![k as u32 * LANES];
                    if pixel < area {
                        let z = a[(from + pixel) as usize];
                        sums[k] += factor * (scale * z + shift);
                        if dual {
                            let zt = b[(from + pixel) as usize];
                            tangents[k] += factor * (scale * zt + slope * z + shift_tangent);
                        }
                    }
                }
            }
            let out = table[at] + plane * area;
            #[unroll]
            for k in 0..PIXELS {
                let pixel = begin + comptime![k as u32 * LANES];
                if pixel < area {
                    let open = !rectify || sums[k] > 0.0;
                    a[(out + pixel) as usize] = select(open, sums[k], 0.0);
                    if dual {
                        b[(out + pixel) as usize] = select(open, tangents[k], 0.0);
                    }
                }
            }
            begin += comptime![LANES * PIXELS as u32];
        }
    }
}

/// Adjoints of nodes from all that reads them. Record: the adjoint, channels, pixels of a plane, planes, the first image's number, the
/// node's field, whether it is rectified, contributions, then each: its sort and what that says.
#[cube(launch_unchecked)]
pub fn adjoint(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < table[at + 3] {
        let channels = table[at + 1];
        let area = table[at + 2];
        let step = channels as usize;
        let channel = plane % channels;
        let image = plane / channels + table[at + 4];
        let own = table[at + 5] + plane * area;
        let rectified = table[at + 6] != 0;
        let share = 1.0 / f32::cast_from(area);
        let mut begin = UNIT_POS_X;
        while begin < area {
            let mut sums = Array::<f32>::new(PIXELS);
            let mut tangents = Array::<f32>::new(PIXELS);
            #[unroll]
            for k in 0..PIXELS {
                sums[k] = 0.0;
                tangents[k] = 0.0;
            }
            let mut along = 0.0f32;
            let mut cross = 0.0f32;
            let mut constant = 0.0f32;
            let mut tangent_constant = 0.0f32;
            for c in 0..table[at + 7] {
                let entry = at + 8 + (c * CONTRIBUTION) as usize;
                let sort = table[entry];
                if sort == READ {
                    let from = table[entry + 1] + plane * area;
                    let gated = table[entry + 2] != NONE;
                    let gate = select(gated, table[entry + 2], table[entry + 1]) + plane * area;
                    #[unroll]
                    for k in 0..PIXELS {
                        let pixel = begin + comptime![k as u32 * LANES];
                        if pixel < area {
                            let open = !gated || a[(gate + pixel) as usize] > 0.0;
                            sums[k] += select(open, a[(from + pixel) as usize], 0.0);
                            if dual {
                                tangents[k] += select(open, b[(from + pixel) as usize], 0.0);
                            }
                        }
                    }
                } else if sort == FORM {
                    let from = table[entry + 1] + plane * area;
                    let form = (table[entry + 2] + channel) as usize;
                    let mut factor = 1.0f32;
                    if table[entry + 3] != NONE {
                        factor = p[(table[entry + 3] + image) as usize];
                    }
                    let of_g = factor * p[form];
                    let of_t = factor * p[form + step];
                    along += p[form + 2 * step];
                    cross += p[form + 3 * step];
                    constant += p[form + 4 * step];
                    tangent_constant += p[form + 5 * step];
                    #[unroll]
                    for k in 0..PIXELS {
                        let pixel = begin + comptime![k as u32 * LANES];
                        if pixel < area {
                            sums[k] += of_g * a[(from + pixel) as usize];
                            if dual {
                                let t = b[(from + pixel) as usize];
                                sums[k] += of_t * t;
                                tangents[k] += of_g * t;
                            }
                        }
                    }
                } else {
                    let index = image * table[entry + 2] + table[entry + 3] + channel;
                    #[unroll]
                    for k in 0..PIXELS {
                        let pixel = begin + comptime![k as u32 * LANES];
                        if pixel < area {
                            let whole = sort == WHOLE;
                            let place = select(whole, index * area + pixel, index);
                            let factor = select(whole, 1.0, share);
                            sums[k] += factor * p[(table[entry + 1] + place) as usize];
                            if dual {
                                tangents[k] += factor * q[(table[entry + 1] + place) as usize];
                            }
                        }
                    }
                }
            }
            let out = table[at] + plane * area;
            #[unroll]
            for k in 0..PIXELS {
                let pixel = begin + comptime![k as u32 * LANES];
                if pixel < area {
                    let z = a[(own + pixel) as usize];
                    let mut sum = sums[k] + along * z + constant;
                    if dual {
                        sum += cross * b[(own + pixel) as usize];
                        let tangent = tangents[k] + cross * z + tangent_constant;
                        let open = !rectified || z > 0.0;
                        b[(out + pixel) as usize] = select(open, tangent, 0.0);
                    }
                    let open = !rectified || z > 0.0;
                    a[(out + pixel) as usize] = select(open, sum, 0.0);
                }
            }
            begin += comptime![LANES * PIXELS as u32];
        }
    }
}

/// A result: states' means over their pixels, or all of them. Record: the state, channels, pixels of a plane, planes, the first image's
/// number, where the result begins, its channels, the first of these.
#[cube(launch_unchecked)]
pub fn result(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] means: bool,
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    let area = table[at + 2];
    let channels = table[at + 1];
    let there = plane < table[at + 3];
    let image = plane / channels + table[at + 4];
    let index = image * table[at + 6] + table[at + 7] + plane % channels;
    let x = table[at] + plane * area;
    let mut sum = 0.0f32;
    let mut tangent = 0.0f32;
    if there {
        let mut pixel = UNIT_POS_X;
        while pixel < area {
            let from = (x + pixel) as usize;
            if means {
                sum += a[from];
                if dual {
                    tangent += b[from];
                }
            } else {
                let to = (table[at + 5] + index * area + pixel) as usize;
                p[to] = a[from];
                if dual {
                    q[to] = b[from];
                }
            }
            pixel += LANES;
        }
    }
    if means {
        let mut shared = Shared::<[f32]>::new_slice((LANES * PLANES) as usize);
        let to = (table[at + 5] + index) as usize;
        let sum = across(&mut shared, sum);
        if there && UNIT_POS_X == 0 {
            p[to] = sum / f32::cast_from(area);
        }
        if dual {
            let tangent = across(&mut shared, tangent);
            if there && UNIT_POS_X == 0 {
                q[to] = tangent / f32::cast_from(area);
            }
        }
    }
}

/// The sum over the threads of a plane.
#[cube]
fn across(shared: &mut Shared<[f32]>, value: f32) -> f32 {
    let unit = UNIT_POS_Y * LANES + UNIT_POS_X;
    shared[unit as usize] = value;
    sync_cube();
    #[unroll]
    for step in 1..comptime![LANES.ilog2() + 1] {
        let half = comptime![LANES >> step];
        if UNIT_POS_X < half {
            let other = shared[(unit + half) as usize];
            shared[unit as usize] += other;
        }
        sync_cube();
    }
    let sum = shared[(UNIT_POS_Y * LANES) as usize];
    sync_cube();
    sum
}
