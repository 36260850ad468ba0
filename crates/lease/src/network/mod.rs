//! What is trained: the supernet (explainer), the audience and derived networks.
//!
//! A network is a layout of named weights and a function of them. Weights live outside, in
//! [`Vector`]s, because the method differentiates at several of them (E, E', E ± hv) in one iteration.

mod audience;
mod cell;
mod derived;
mod dual;
mod kernels;
mod layers;
mod supernet;
mod vector;

pub use audience::{Audience, ResNet, ResNetShape};
pub use cell::{Cell, CellShape};
pub use derived::{Derived, DerivedShape, DropPath};
pub use dual::Dual;
pub use kernels::Kernels;
pub use layers::{Builder, Noted, Pass, Statistics, update_running};
pub use supernet::{Supernet, SupernetShape};
pub use vector::{Entry, Init, Layout, Leaves, Slot, Vector};

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
    /// Widths and blocks do not match.
    #[error("the audience has {widths} widths but {blocks} block counts; give one of each a stage")]
    Stages {
        /// Widths given.
        widths: usize,
        /// Block counts given.
        blocks: usize,
    },
}
