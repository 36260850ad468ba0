//! The candidate operations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A candidate operation of the DARTS space or a subset of it, in the order of its α columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Operation {
    /// No connection.
    None,
    /// 3×3 max-pooling.
    MaxPool3x3,
    /// 3×3 mean-pooling.
    AvgPool3x3,
    /// The identity, or a factorized reduction.
    SkipConnect,
    /// Two depthwise-separable 3×3 convolutions.
    SepConv3x3,
    /// Two depthwise-separable 5×5 convolutions.
    SepConv5x5,
    /// A dilated depthwise-separable 3×3 convolution.
    DilConv3x3,
    /// A dilated depthwise-separable 5×5 convolution.
    DilConv5x5,
    /// Standard normal numbers, whatever the input: only in the subset S4 (Zela et al., arXiv 1909.09656).
    Noise,
}

impl Operation {
    /// All operations of the DARTS space, in order.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::MaxPool3x3,
        Self::AvgPool3x3,
        Self::SkipConnect,
        Self::SepConv3x3,
        Self::SepConv5x5,
        Self::DilConv3x3,
        Self::DilConv5x5,
    ];

    /// Those and what subsets have beside them, in order.
    pub const EVERY: [Self; 9] = [
        Self::None,
        Self::MaxPool3x3,
        Self::AvgPool3x3,
        Self::SkipConnect,
        Self::SepConv3x3,
        Self::SepConv5x5,
        Self::DilConv3x3,
        Self::DilConv5x5,
        Self::Noise,
    ];

    /// The name in DARTS's code.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::MaxPool3x3 => "max_pool_3x3",
            Self::AvgPool3x3 => "avg_pool_3x3",
            Self::SkipConnect => "skip_connect",
            Self::SepConv3x3 => "sep_conv_3x3",
            Self::SepConv5x5 => "sep_conv_5x5",
            Self::DilConv3x3 => "dil_conv_3x3",
            Self::DilConv5x5 => "dil_conv_5x5",
            Self::Noise => "noise",
        }
    }

    /// Whether it has no weights (at stride 1).
    pub fn is_parameter_free(self) -> bool {
        (self as usize) < Self::SepConv3x3 as usize || self == Self::Noise
    }
}

/// A name that is no operation of the space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no operation of this space; it has {}", known())]
pub struct UnknownOperation {
    /// The name.
    pub name: String,
}

fn known() -> String {
    Operation::EVERY.map(Operation::name).join(", ")
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::EVERY.into_iter().find(|op| op.name() == name);
        found.ok_or_else(|| UnknownOperation { name: name.into() })
    }
}

impl TryFrom<String> for Operation {
    type Error = UnknownOperation;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Operation> for String {
    fn from(operation: Operation) -> Self {
        operation.name().into()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
