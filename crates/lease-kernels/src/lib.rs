//! CPU kernels for networks of convolutions, pools and batch norms: slices in, slices out.
//!
//! Activations are *blocked*: `[image][block][pixel]` of eight channels each ([`Lanes`]), channels padded with
//! zeros to a multiple of eight. A depthwise convolution, a pool or a batch norm then works lane by lane, and
//! a 1×1 convolution is a product whose output lanes are channels.
//!
//! The unit is a whole network, a [`graph::Graph`]: forward on values, or on dual numbers (value, tangent),
//! and backward. Work is shared out over images in a number of tasks that is the same for one to four threads, and
//! their partial sums are added in order.
//!
//! The kernels are written once over [`pulp`]'s vectors: AVX2 with FMA where the processor has it, plain
//! eight-element arrays elsewhere. Convolutions, gradients of their weights and Winograd's transforms take two blocks or
//! two pixels at a time by AVX-512 where there is any; the bits are the same, but for gradients of depthwise taps, where
//! even and odd pixels are added up apart. Sums of planes, batch norms and pools wait for memory, and are no faster by
//! wider vectors. There is no `unsafe` code.

#![forbid(unsafe_code)]

pub mod combine;
pub mod conv;
pub mod field;
pub mod graph;
pub mod norm;
pub mod plane;
mod pool;
mod simd;
mod stage;
pub mod window;

pub use pool::Buffer;
pub use simd::peak;

/// Eight channels of one pixel.
pub type Lanes = [f32; 8];

/// The lanes in [`Lanes`].
pub const LANES: usize = 8;

/// The blocks that hold this many channels.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}
