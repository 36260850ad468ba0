//! The kernels. Each works on jobs of one sort that do not depend on each other: the second coordinate of a group of threads is
//! its job, the first is its piece of that job.
//!
//! All kernels have the same arguments: `a`, the part's fields; `b`, their tangents at the same places; `p`, the numbers that are
//! not images (weights, coefficients, sums), `q`, their tangents; and `table`, which begins with the place of each job's record in it.
//! What a record holds is said at its kernel, in order. A field is `[images, channels, height, width]`; places count numbers.
//! `dual` is whether tangents are worked on; without it `b` and `q` are never touched.

#![allow(
    clippy::manual_div_ceil,
    clippy::manual_is_multiple_of,
    reason = "the language of kernels has no such methods"
)]

pub mod conv;
pub mod copy;
pub mod gradient;
pub mod norm;
pub mod pool;
pub mod sweep;

use cubecl::prelude::*;

/// A place that is none.
pub const NONE: u32 = u32::MAX;

/// Threads along the pixels of a plane, where a group works on several planes.
pub const LANES: u32 = 64;

/// Planes that such a group works on.
pub const PLANES: u32 = 4;

/// Threads of a group that adds up.
pub const ADDERS: u32 = 256;

/// Pixels that a thread works on at once, a group's width apart, so that the loads of one are under way while another waits.
pub const PIXELS: usize = 4;

/// The sum over a group of [`ADDERS`] threads, for all of them, always in the same order.
#[cube]
pub fn total(shared: &mut Shared<[f32]>, value: f32) -> f32 {
    let unit = UNIT_POS;
    shared[unit as usize] = value;
    sync_cube();
    #[unroll]
    for step in 1..comptime![ADDERS.ilog2() + 1] {
        let half = comptime![ADDERS >> step];
        if unit < half {
            let other = shared[(unit + half) as usize];
            shared[unit as usize] += other;
        }
        sync_cube();
    }
    let sum = shared[0];
    sync_cube();
    sum
}

/// The smaller one.
#[cube]
pub fn least(a: u32, b: u32) -> u32 {
    select(a < b, a, b)
}

/// The larger one.
#[cube]
pub fn greatest(a: u32, b: u32) -> u32 {
    select(a < b, b, a)
}
