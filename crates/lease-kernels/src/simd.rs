//! Choosing the instruction set at run time.

use pulp::{Scalar256b, Simd, WithSimd, bytemuck};

use crate::Lanes;

/// Runs a kernel with the best vectors of this processor.
#[inline]
pub fn run<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return Simd::vectorize(avx2, op);
    }
    Scalar256b.vectorize(op)
}

/// The vector of eight lanes in memory. Both instruction sets in use have vectors of eight.
#[inline(always)]
pub fn load<S: Simd>(lanes: &Lanes) -> S::f32s {
    bytemuck::cast(*lanes)
}

/// The lanes of a vector.
#[inline(always)]
pub fn lanes<S: Simd>(vector: S::f32s) -> Lanes {
    bytemuck::cast(vector)
}
