//! What networks cost: parameters, multiply-adds, and the time that the kernels take for an image on this machine.
//!
//! The cost of a network is that of what all networks of its size have, and of the operations on its cells' edges, one by one: a
//! sum, for parameters and multiply-adds exactly, for the time by measuring each operation for itself. Multiply-adds are those
//! of convolutions and of the classifier, its bias included, as NAS-Bench-201 counts them.

mod budget;
mod choice;
mod latency;
mod menu;
mod settings;

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

pub(crate) use budget::entry;
pub use budget::{Bounds, Budget};
pub use choice::{COSTS, Entry, least, several};
pub use latency::{Latencies, LatencyError, Measured};
pub use menu::{Costs, Key, Menu};
pub use settings::BudgetSettings;

use super::{DerivedNetwork, DerivedShape, Genotype};
use crate::Error;
use crate::network::part::{start, timed};
use crate::network::{Pass, Statistics};
use burn::tensor::{DType, Device, Tensor};

/// What a network, or a part of one, costs for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Parameters.
    pub parameters: u64,
    /// Multiplications with an addition.
    pub multiply_adds: u64,
    /// Nanoseconds; 0 where they are not known.
    pub nanoseconds: u64,
}

impl Cost {
    /// Parameters, multiply-adds, nanoseconds.
    pub fn each(self) -> [u64; 3] {
        [self.parameters, self.multiply_adds, self.nanoseconds]
    }

    /// So many times as much.
    fn times(self, count: u64) -> Self {
        Self {
            parameters: self.parameters * count,
            multiply_adds: self.multiply_adds * count,
            nanoseconds: self.nanoseconds * count,
        }
    }

    /// What is left without another cost, at least 0.
    fn without(self, other: Self) -> Self {
        Self {
            parameters: self.parameters.saturating_sub(other.parameters),
            multiply_adds: self.multiply_adds.saturating_sub(other.multiply_adds),
            nanoseconds: self.nanoseconds.saturating_sub(other.nanoseconds),
        }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            parameters: self.parameters + other.parameters,
            multiply_adds: self.multiply_adds + other.multiply_adds,
            nanoseconds: self.nanoseconds + other.nanoseconds,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

/// What the network of a genotype costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkCost {
    /// The channels of its first cells.
    pub channels: usize,
    /// Its cells.
    pub cells: usize,
    /// Channels, height and width of its images.
    pub image: [usize; 3],
    /// Its parameters, without an auxiliary head's.
    pub parameters: u64,
    /// Its multiply-adds for one image.
    pub multiply_adds: u64,
    /// The milliseconds that it takes for one image, measured.
    pub latency_ms: f64,
    /// The milliseconds that its operations take together by the search's table of latencies, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table_latency_ms: Option<f64>,
}

impl NetworkCost {
    /// That of a genotype's network of this size, measured here.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn of(genotype: &Genotype, shape: &DerivedShape) -> Result<Self, Error> {
        let network = genotype.network(shape)?;
        let counted = counted(&*network, shape.image);
        Ok(Self {
            channels: shape.channels,
            cells: shape.cells,
            image: shape.image,
            parameters: counted.parameters,
            multiply_adds: counted.multiply_adds,
            latency_ms: milliseconds(measured(&*network, shape.image)),
            table_latency_ms: None,
        })
    }
}

/// Nanoseconds in milliseconds.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// A network's parameters and multiply-adds for an image (channels, height, width), without its auxiliary head.
pub fn counted(network: &dyn DerivedNetwork, image: [usize; 3]) -> Cost {
    Cost {
        parameters: network.parameters() as u64,
        multiply_adds: network.multiply_adds(image),
        nanoseconds: 0,
    }
}

/// The nanoseconds that the CPU's kernels take for one image (channels, height, width) by a network, whatever its weights: the
/// median of several passes, on as many threads as there are here.
pub fn measured(network: &dyn DerivedNetwork, image: [usize; 3]) -> u64 {
    let (weights, running) = (start(network.weights()), start(network.running()));
    let weights = weights.open(None, false);
    let [channels, height, width] = image;
    timed(|| {
        let pass = Pass {
            statistics: Statistics::Running(&running),
            ..Pass::new(&weights)
        };
        let like = (&Device::flex(), DType::F32);
        let images = Tensor::<4>::ones([1, channels, height, width], like);
        network.forward(&pass, images, None);
    })
}
