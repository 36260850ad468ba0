//! Numbers to and from the fields.

use cubecl::prelude::*;

/// Copies `length` numbers.
#[cube(launch_unchecked)]
pub fn copy(from: &[f32], to: &mut [f32], first: u32, at: u32, length: u32) {
    let mut i = CUBE_POS_X * CUBE_DIM_X + UNIT_POS_X;
    while i < length {
        to[(at + i) as usize] = from[(first + i) as usize];
        i += CUBE_COUNT_X * CUBE_DIM_X;
    }
}

/// Sets `length` numbers to zero.
#[cube(launch_unchecked)]
pub fn clear(to: &mut [f32], at: u32, length: u32) {
    let mut i = CUBE_POS_X * CUBE_DIM_X + UNIT_POS_X;
    while i < length {
        to[(at + i) as usize] = 0.0;
        i += CUBE_COUNT_X * CUBE_DIM_X;
    }
}
