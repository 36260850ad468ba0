//! How long each operation takes on this machine: a table that is measured once and read again, so that a search can be repeated.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::menu::example;
use super::{Costs, Key, measured};
use crate::Error;
use crate::network::Stem;
use crate::network::part::Part;
use crate::space::{DerivedShape, Explainer};

/// A table of latencies that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LatencyError {
    /// The file cannot be read.
    #[error(
        "{path} is no table of latencies: {reason}; measure one by `lease bench --latency FILE` with the settings of the search"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of other networks.
    #[error(
        "the table of latencies is of {there}, but the budget is for {here}; measure one of these by \
         `lease bench --latency FILE` with the settings of the search"
    )]
    Other {
        /// The networks of the table.
        there: String,
        /// Those that are wanted.
        here: String,
    },
    /// An operation is missing.
    #[error(
        "the table of latencies has no {} of {} channels and stride {} on {}×{} pixels; measure one by \
         `lease bench --latency FILE` with the settings of the search",
        .0.operation, .0.channels, .0.stride, .0.height, .0.width
    )]
    Missing(Key),
}

/// An operation's latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The operation.
    #[serde(flatten)]
    pub key: Key,
    /// Nanoseconds for one image, beyond those of passing it on.
    pub nanoseconds: u64,
}

/// The networks that a table is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Networks {
    channels: usize,
    cells: usize,
    classes: usize,
    image: [usize; 3],
    photos: bool,
    edge_skips: bool,
}

impl Networks {
    fn of(shape: &DerivedShape) -> Self {
        Self {
            channels: shape.channels,
            cells: shape.cells,
            classes: shape.classes,
            image: shape.image,
            photos: shape.stem == Stem::Imagenet,
            edge_skips: shape.edge_skips,
        }
    }

    fn told(&self) -> String {
        let [channels, height, width] = self.image;
        let stem = if self.photos { "imagenet" } else { "cifar" };
        format!(
            "networks of {} channels and {} cells with the stem {stem} for {} classes of images of {channels}×{height}×{width}",
            self.channels, self.cells, self.classes
        )
    }
}

/// The latencies of all operations of networks of one size, and of the rest of such a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// What measured.
    lease: String,
    /// The machine.
    platform: String,
    /// The threads.
    threads: usize,
    networks: Networks,
    /// Nanoseconds of all but the operations.
    rest_nanoseconds: u64,
    /// The operations.
    operations: Vec<Measured>,
}

impl Latencies {
    /// Measures the operations of the networks that can be derived from a supernet, at this size, and a whole network.
    ///
    /// # Errors
    /// If a network cannot be built.
    pub fn measure(explainer: &dyn Explainer, shape: &DerivedShape) -> Result<Self, Error> {
        let menu = explainer.menu(shape);
        let operations = menu.parts().iter().map(|(key, part)| {
            let size = [key.height, key.width];
            let passing = Part::new(key.channels, |_| (), |(), _, state| Some(passing(state)));
            let beyond = part
                .nanoseconds(size)
                .saturating_sub(passing.nanoseconds(size));
            Measured {
                key: key.clone(),
                nanoseconds: beyond,
            }
        });
        let mut table = Self {
            lease: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            threads: rayon::current_num_threads(),
            networks: Networks::of(shape),
            rest_nanoseconds: 0,
            operations: operations.collect(),
        };
        let costs = Costs::of(explainer, shape, Some(&table))?;
        let (choice, genotype) = example(explainer)?;
        let whole = measured(&*genotype.network(shape)?, shape.image);
        table.rest_nanoseconds = whole.saturating_sub(costs.of_choice(&choice).nanoseconds);
        Ok(table)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// If the file cannot be read or is no table.
    pub fn read(path: &Path) -> Result<Self, LatencyError> {
        let wrong = |reason: String| LatencyError::File {
            path: path.into(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))
    }

    /// The table as it is written.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// A digest of the table.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.to_json());
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The operations.
    pub fn operations(&self) -> &[Measured] {
        &self.operations
    }

    /// An operation's nanoseconds.
    pub(super) fn of(&self, key: &Key) -> Result<u64, LatencyError> {
        let mut all = self.operations.iter();
        let found = all.find(|measured| measured.key == *key);
        found
            .map(|measured| measured.nanoseconds)
            .ok_or_else(|| LatencyError::Missing(key.clone()))
    }

    /// The nanoseconds of the rest of networks of this size.
    pub(super) fn rest(&self, shape: &DerivedShape) -> Result<u64, LatencyError> {
        let here = Networks::of(shape);
        if self.networks != here {
            return Err(LatencyError::Other {
                there: self.networks.told(),
                here: here.told(),
            });
        }
        Ok(self.rest_nanoseconds)
    }
}

/// A state, passed on.
fn passing(state: lease_kernels::graph::Id) -> lease_kernels::graph::Term {
    lease_kernels::graph::Term::new(state, lease_kernels::graph::Normalise::Not)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::cost::{Bounds, Budget};
    use crate::space::darts::{Supernet, SupernetShape};

    #[test]
    fn a_table_is_read_as_it_was_written_and_only_for_its_own_networks() {
        let explainer = Supernet::new(&SupernetShape {
            channels: 2,
            cells: 1,
            nodes: 1,
            classes: 3,
            ..SupernetShape::default()
        });
        let explainer = explainer.unwrap();
        let shape = DerivedShape {
            channels: 4,
            cells: 2,
            classes: 3,
            image: [3, 8, 8],
            auxiliary: None,
            edge_skips: false,
            stem: Stem::Cifar,
        };
        let table = Latencies::measure(&explainer, &shape).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("latency.json");
        std::fs::write(&file, table.to_json()).unwrap();
        let read = Latencies::read(&file).unwrap();
        assert_eq!(read, table);
        let costs = Costs::of(&explainer, &shape, Some(&read)).unwrap();
        assert!(costs.rest.nanoseconds > 0);
        let other = DerivedShape {
            cells: 3,
            ..shape.clone()
        };
        let error = Costs::of(&explainer, &other, Some(&read)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("lease bench --latency FILE"), "{error}");
        // No network is faster than what all have in common.
        let bounds = Bounds {
            costs: [None, None, Some(costs.rest.nanoseconds / 2)],
            ..Bounds::default()
        };
        let budget = Budget::new(&explainer, &shape, bounds, Some(&read)).unwrap();
        let explainer = explainer.within(std::sync::Arc::new(budget));
        let level = crate::network::part::start(explainer.architecture());
        let error = explainer.derive(&level).unwrap_err().to_string();
        assert!(error.contains("ms by the table of latencies"), "{error}");
    }
}
