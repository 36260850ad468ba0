//! What every network is made of: vectors of weights, dual numbers, layers, the graph for kernels; and the
//! audience.
//!
//! A network is a layout of named weights and a function of them. Weights live outside, in
//! [`Vector`]s, because the method differentiates at several of them (E, E', E ± hv) in one iteration.

mod audience;
mod drawing;
mod dropout;
mod dual;
pub(crate) mod kernels;
pub(crate) mod layers;
mod memo;
pub(crate) mod noise;
#[cfg(all(feature = "cube", not(feature = "fusion")))]
mod on_gpu;
pub(crate) mod part;
pub(crate) mod stem;
mod vector;

pub use audience::{Audience, ResNet, ResNetShape};
pub use drawing::Drawing;
pub use dropout::DropPath;
pub use dual::{Dual, softmax};
pub use kernels::Kernels;
pub use layers::{Builder, Noted, Pass, Statistics, update_running};
pub use memo::Memo;
pub use stem::{NetworkSettings, PHOTO_SIDE, Stem, StemChoice};
pub use vector::{Entry, Init, Layout, Leaves, Slot, Vector};

/// Whether what a stem leaves of images of `image` (channels, height, width) can be halved twice without a remainder.
///
/// # Errors
/// If not, in the name of the networks that do.
pub(crate) fn halved_twice(
    networks: &'static str,
    [_, height, width]: [usize; 3],
    stem: Stem,
) -> Result<(), NetworkError> {
    if stem.after(height).is_multiple_of(4) && stem.after(width).is_multiple_of(4) {
        return Ok(());
    }
    Err(NetworkError::Halved {
        networks,
        height,
        width,
        divisor: match stem {
            Stem::Cifar => 4,
            Stem::Imagenet => 32,
        },
    })
}

/// A network that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A size is zero.
    #[error("the number of {what} is 0; it must be at least 1")]
    Zero {
        /// What there is none of.
        what: &'static str,
    },
    /// The images are too small for the auxiliary head.
    #[error(
        "the auxiliary head needs feature maps of at least {least}×{least} after two thirds of the cells, \
         but these are {side}×{side}; train without it by --train-auxiliary 0"
    )]
    Auxiliary {
        /// The side there.
        side: usize,
        /// The smallest that works.
        least: usize,
    },
    /// The channels cannot be split.
    #[error(
        "--partial {partial} passes one channel in {partial} through the mixed operations, but {channels} channels \
         cannot be split so; give a number of --channels that is divisible by {partial}"
    )]
    Partial {
        /// Channels.
        channels: usize,
        /// Their divisor.
        partial: usize,
    },
    /// The images cannot be halved twice.
    #[error(
        "{networks} halve the images {} times, which {height}×{width} pixels cannot be; \
         give images whose sides are divisible by {divisor}",
        .divisor.ilog2()
    )]
    Halved {
        /// Which networks, as in "networks of …".
        networks: &'static str,
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
        /// What their sides must be divisible by.
        divisor: usize,
    },
    /// An auxiliary head on networks that have none.
    #[error("networks of {space} have no auxiliary head; train without one by --train-auxiliary 0")]
    NoAuxiliary {
        /// The space.
        space: &'static str,
    },
    /// Skip-connects beside operations in networks that have none.
    #[error(
        "networks of {space} have no skip-connects beside operations; leave out --train-edge-skips"
    )]
    NoEdgeSkips {
        /// The space.
        space: &'static str,
    },
    /// What is left of a space in a stage of a search is not to be read.
    #[error("the stage of the search cannot be built: {reason}")]
    Stage {
        /// What is wrong.
        reason: String,
    },
    /// Widths and blocks do not match.
    #[error("the audience has {widths} widths but {blocks} block counts; give one of each a stage")]
    Stages {
        /// Widths given.
        widths: usize,
        /// Block counts given.
        blocks: usize,
    },
}
