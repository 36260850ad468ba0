//! Depthwise and dense convolutions of images, and their gradients.

/// Calls a function whose last constant is a view's stride.
macro_rules! with_step {
    ($step:expr, $function:ident :: < $($constant:tt),* > ( $($argument:expr),* )) => {
        match $step {
            1 => $function::<$($constant),*, 1>($($argument),*),
            _ => $function::<$($constant),*, 2>($($argument),*),
        }
    };
}

mod dense;
mod depthwise;
mod view;
mod weights;
pub mod winograd;

pub use dense::{InOut, dense, transposed};
pub use depthwise::{depthwise, depthwise_taps, flipped};
pub use view::View;
pub use weights::dense_weights;

/// A square kernel of odd size, padded so that stride 1 keeps the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Side; 3 or 5 in depthwise convolutions.
    pub size: usize,
    /// 1 or 2.
    pub dilation: usize,
    /// 1 or 2.
    pub stride: usize,
}

impl Kernel {
    /// A kernel that is not dilated.
    pub fn new(size: usize, stride: usize) -> Self {
        Self {
            size,
            dilation: 1,
            stride,
        }
    }

    /// Weights a channel.
    pub fn taps(self) -> usize {
        self.size * self.size
    }

    /// Zeros that it needs on each side.
    pub fn pad(self) -> usize {
        self.dilation * (self.size - 1) / 2
    }

    /// The same taps at stride 1: what carries a gradient back.
    pub fn back(self) -> Self {
        Self { stride: 1, ..self }
    }
}
