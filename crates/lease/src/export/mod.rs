//! Trained networks for other programs: ONNX, and PyTorch.

mod messages;
pub mod onnx;
pub mod pytorch;

use crate::network::NetworkError;

/// A network that cannot be written in another form.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It answers differently each time.
    #[error(
        "the network has noise for an operation, so that its answers are random; it cannot be exported"
    )]
    Noise,
    /// It has something that derived networks do not have.
    #[error("the network cannot be exported: {0}")]
    Unknown(&'static str),
    /// It cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// What is in an exported network beside the network itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The normalisation: the network then takes pixels in units of white = 1.
    pub normalisation: bool,
    /// The softmax: the network then gives probabilities, not logits.
    pub softmax: bool,
}

impl Default for Inside {
    /// Both.
    fn default() -> Self {
        Self {
            normalisation: true,
            softmax: true,
        }
    }
}
