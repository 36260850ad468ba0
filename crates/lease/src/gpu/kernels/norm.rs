//! Batch norms: the batch's statistics, and what their adjoints need. The formulas are those of `lease_kernels`' `norm`.
//!
//! Sums are made in two steps, always in the same order: chunks of the images, then the chunks.

use cubecl::prelude::*;

use super::{ADDERS, LANES, NONE, least, total};

/// Added to a variance before its root is taken.
const EPSILON: f32 = lease_kernels::norm::EPSILON as f32;

/// Numbers that a chunk of a channel leaves, here and in [`against`].
pub const SUMS: u32 = 5;

/// Numbers a channel that [`norms`] leaves: μ, r, ṁ and p.
pub const STATISTICS: u32 = 4;

/// Coefficients a channel of a form of an adjoint, [`forms`].
pub const FORM: u32 = 6;

/// Gradients a channel that [`forms`] leaves: of scale, shift and coefficient.
pub const GRADIENTS: u32 = 3;

/// How many numbers, their mean, the squares around it, the tangents' mean, and their products with what is around the mean, of
/// chunks of each channel. Record: z, channels, pixels of a plane, images, images of a chunk, chunks, the first one's number, chunks in
/// all parts, where the sums go.
#[cube(launch_unchecked)]
pub fn sums(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 1];
    let chunks = table[at + 5];
    if CUBE_POS_X < channels * chunks {
        let mut shared = Shared::<[f32]>::new_slice(ADDERS as usize);
        let channel = CUBE_POS_X / chunks;
        let chunk = CUBE_POS_X % chunks;
        let area = table[at + 2];
        let begin = chunk * table[at + 4];
        let images = least(table[at + 4], table[at + 3] - begin);
        let count = images * area;
        let z = table[at];
        let share = 1.0 / f32::cast_from(count);
        let mut sum = 0.0f32;
        let mut moving = 0.0f32;
        let mut i = UNIT_POS;
        while i < count {
            let image = i / area;
            let place = z + ((begin + image) * channels + channel) * area + i - image * area;
            sum += a[place as usize];
            if dual {
                moving += b[place as usize];
            }
            i += ADDERS;
        }
        let mean = total(&mut shared, sum) * share;
        let mut squares = 0.0f32;
        let mut cross = 0.0f32;
        let mut i = UNIT_POS;
        while i < count {
            let image = i / area;
            let place = z + ((begin + image) * channels + channel) * area + i - image * area;
            let away = a[place as usize] - mean;
            squares += away * away;
            if dual {
                cross += away * b[place as usize];
            }
            i += ADDERS;
        }
        let squares = total(&mut shared, squares);
        let to =
            (table[at + 8] + (channel * table[at + 7] + table[at + 6] + chunk) * SUMS) as usize;
        if UNIT_POS == 0 {
            p[to] = f32::cast_from(count);
            p[to + 1] = mean;
            p[to + 2] = squares;
        }
        if dual {
            let moving = total(&mut shared, moving) * share;
            let cross = total(&mut shared, cross);
            if UNIT_POS == 0 {
                p[to + 3] = moving;
                p[to + 4] = cross;
            }
        }
    }
}

/// The statistics of each channel from its chunks' sums. Record: the sums, channels, chunks, where the statistics go.
#[cube(launch_unchecked)]
pub fn norms(
    _a: &mut [f32],
    _b: &mut [f32],
    p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 1];
    let channel = CUBE_POS_X * LANES + UNIT_POS_X;
    if channel < channels {
        let chunks = table[at + 2];
        let first = table[at] + channel * chunks * SUMS;
        let mut count = 0.0f32;
        let mut mean = 0.0f32;
        let mut moving = 0.0f32;
        for c in 0..chunks {
            let of = (first + c * SUMS) as usize;
            count += p[of];
            mean += p[of] * p[of + 1];
            if dual {
                moving += p[of] * p[of + 3];
            }
        }
        mean /= count;
        moving /= count;
        let mut squares = 0.0f32;
        let mut cross = 0.0f32;
        for c in 0..chunks {
            let of = (first + c * SUMS) as usize;
            let away = p[of + 1] - mean;
            squares += p[of + 2] + p[of] * away * away;
            if dual {
                cross += p[of + 4] + p[of] * away * p[of + 3];
            }
        }
        let r = 1.0 / f32::sqrt(squares / count + EPSILON);
        let to = (table[at + 3] + channel) as usize;
        let step = channels as usize;
        p[to] = mean;
        p[to + step] = r;
        if dual {
            p[to + 2 * step] = moving;
            p[to + 3 * step] = r * cross / count;
        } else {
            p[to + 2 * step] = 0.0;
            p[to + 3 * step] = 0.0;
        }
    }
}

/// Sums of a state's adjoint against a term's source, of chunks of each channel: Σ g, Σ g·(z − μ), Σ g', Σ g'·(z − μ) and
/// Σ g'·(ż − ṁ). Record: g, z, the statistics of z (or none), channels, pixels of a plane, images, images of a chunk, chunks, the
/// first one's number, chunks in all parts, where the sums go, the images' factors (or none).
#[cube(launch_unchecked)]
pub fn against(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 3];
    let chunks = table[at + 7];
    if CUBE_POS_X < channels * chunks {
        let mut shared = Shared::<[f32]>::new_slice(ADDERS as usize);
        let channel = CUBE_POS_X / chunks;
        let chunk = CUBE_POS_X % chunks;
        let area = table[at + 4];
        let begin = chunk * table[at + 6];
        let images = least(table[at + 6], table[at + 5] - begin);
        let count = images * area;
        let mut mean = 0.0f32;
        let mut moving = 0.0f32;
        if table[at + 2] != NONE {
            mean = p[(table[at + 2] + channel) as usize];
            moving = p[(table[at + 2] + 2 * channels + channel) as usize];
        }
        let drops = table[at + 11];
        let mut sum_g = 0.0f32;
        let mut sum_gz = 0.0f32;
        let mut sum_t = 0.0f32;
        let mut sum_tz = 0.0f32;
        let mut sum_tc = 0.0f32;
        let mut i = UNIT_POS;
        while i < count {
            let image = i / area;
            let place = ((begin + image) * channels + channel) * area + i - image * area;
            let mut factor = 1.0f32;
            if drops != NONE {
                factor = p[(drops + begin + image) as usize];
            }
            let g = factor * a[(table[at] + place) as usize];
            let z = a[(table[at + 1] + place) as usize] - mean;
            sum_g += g;
            sum_gz += g * z;
            if dual {
                let t = factor * b[(table[at] + place) as usize];
                let c = b[(table[at + 1] + place) as usize] - moving;
                sum_t += t;
                sum_tz += t * z;
                sum_tc += t * c;
            }
            i += ADDERS;
        }
        let to =
            (table[at + 10] + (channel * table[at + 9] + table[at + 8] + chunk) * SUMS) as usize;
        let sum_g = total(&mut shared, sum_g);
        let sum_gz = total(&mut shared, sum_gz);
        if UNIT_POS == 0 {
            p[to] = sum_g;
            p[to + 1] = sum_gz;
        }
        if dual {
            let sum_t = total(&mut shared, sum_t);
            let sum_tz = total(&mut shared, sum_tz);
            let sum_tc = total(&mut shared, sum_tc);
            if UNIT_POS == 0 {
                p[to + 2] = sum_t;
                p[to + 3] = sum_tz;
                p[to + 4] = sum_tc;
            }
        }
    }
}

/// A term's weight and shift with their tangents, without and with its coefficient, and that. At `at`: the places of the statistics,
/// of scales, of shifts and of the coefficient.
#[derive(CubeType, Clone, Copy)]
pub struct Weighting {
    /// Own weight, and its tangent.
    pub own: f32,
    pub own_tangent: f32,
    /// Own shift, and its tangent.
    pub shift: f32,
    pub shift_tangent: f32,
    /// Coefficient, and its tangent.
    pub coefficient: f32,
    pub coefficient_tangent: f32,
    /// μ, r, ṁ and p.
    pub mean: f32,
    pub r: f32,
    pub moving: f32,
    pub projection: f32,
}

/// Reads a term's [`Weighting`] of a channel.
#[cube]
pub fn weighting(
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    at: usize,
    channels: u32,
    channel: u32,
    #[comptime] dual: bool,
) -> Weighting {
    let mut own = 1.0f32;
    let mut own_tangent = 0.0f32;
    let mut shift = 0.0f32;
    let mut shift_tangent = 0.0f32;
    let mut coefficient = 1.0f32;
    let mut coefficient_tangent = 0.0f32;
    let mut mean = 0.0f32;
    let mut r = 1.0f32;
    let mut moving = 0.0f32;
    let mut projection = 0.0f32;
    let statistics = table[at];
    if statistics != NONE {
        let of = (statistics + channel) as usize;
        let step = channels as usize;
        mean = p[of];
        r = p[of + step];
        if dual {
            moving = p[of + 2 * step];
            projection = p[of + 3 * step];
        }
    }
    if table[at + 1] != NONE {
        own = p[(table[at + 1] + channel) as usize];
        shift = p[(table[at + 2] + channel) as usize];
        if dual {
            own_tangent = q[(table[at + 1] + channel) as usize];
            shift_tangent = q[(table[at + 2] + channel) as usize];
        }
    }
    if table[at + 3] != NONE {
        coefficient = p[table[at + 3] as usize];
        if dual {
            coefficient_tangent = q[table[at + 3] as usize];
        }
    }
    Weighting {
        own,
        own_tangent,
        shift,
        shift_tangent,
        coefficient,
        coefficient_tangent,
        mean,
        r,
        moving,
        projection,
    }
}

/// The adjoints of a term's source as forms of the state's, and the gradients of its scale, shift and coefficient. Record: the sums,
/// chunks (0: there are none), channels, how many numbers were normalised (0: infinitely many), where the form goes, where the
/// gradients go, then as in [`weighting`].
#[cube(launch_unchecked)]
pub fn forms(
    _a: &mut [f32],
    _b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 2];
    let channel = CUBE_POS_X * LANES + UNIT_POS_X;
    if channel < channels {
        let chunks = table[at + 1];
        let first = table[at] + channel * chunks * SUMS;
        let mut g = 0.0f32;
        let mut gz = 0.0f32;
        let mut t = 0.0f32;
        let mut tz = 0.0f32;
        let mut tc = 0.0f32;
        for c in 0..chunks {
            let of = (first + c * SUMS) as usize;
            g += p[of];
            gz += p[of + 1];
            if dual {
                t += p[of + 2];
                tz += p[of + 3];
                tc += p[of + 4];
            }
        }
        let mut share = 0.0f32;
        if table[at + 3] != 0 {
            share = 1.0 / f32::cast_from(table[at + 3]);
        }
        let own = weighting(p, q, table, at + 6, channels, channel, dual);
        let (k, kt) = (own.coefficient, own.coefficient_tangent);
        let (r, pr) = (own.r, own.projection);
        let w = k * own.own;
        let wt = kt * own.own + k * own.own_tangent;
        let mean_product = w * r * tz * share;
        let mean_t = w * t * share;
        let mean_y = (w * g + wt * t) * share;
        let mean_yx = r * (w * gz + wt * tz) * share;
        let s = w * tc * share;
        let x = 0.0 - r * mean_yx - r * r * (s - 3.0 * pr * mean_product);
        let cross = 0.0 - r * r * mean_product;
        let to = (table[at + 4] + channel) as usize;
        let step = channels as usize;
        p[to] = r * w;
        p[to + step] = r * (wt - r * pr * w);
        p[to + 2 * step] = x * r;
        p[to + 3 * step] = cross;
        p[to + 4 * step] = r * r * pr * mean_t - r * mean_y - cross * own.moving - x * r * own.mean;
        p[to + 5 * step] = 0.0 - r * mean_t - cross * own.mean;
        let along = r * gz + r * (tc - pr * r * tz);
        let across = r * tz;
        let to = (table[at + 5] + channel) as usize;
        p[to] = k * along + kt * across;
        p[to + step] = k * g + kt * t;
        p[to + 2 * step] =
            own.own * along + own.own_tangent * across + own.shift * g + own.shift_tangent * t;
    }
}
