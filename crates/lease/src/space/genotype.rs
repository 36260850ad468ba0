//! A discrete architecture of any space: what a search ends with.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::reading::text::{self, MOST_BYTES, Read, decode};
use super::{CellGraph, DerivedNetwork, DerivedShape, FAMILIES, GenotypeError};
use crate::Error;
use crate::network::NetworkError;

/// What a space's genotype must give. Its `Display` is the notation of the space's own code.
pub trait Architecture: Any + fmt::Debug + fmt::Display + Send + Sync {
    /// The genotype as JSON.
    fn to_json(&self) -> String;

    /// How many edges of the (normal) cell are skip-connects.
    fn skip_connects(&self) -> usize;

    /// How many edges of the (normal) cell are convolutions, whatever kind they are.
    fn convolutions(&self) -> usize;

    /// The share of operations without weights.
    fn parameter_free_share(&self) -> f64;

    /// Whether every cell has a path from its inputs to its output; a network without one learns nothing.
    ///
    /// # Errors
    /// Names the cell that has none.
    fn check_paths(&self) -> Result<(), GenotypeError>;

    /// Its cells as graphs.
    fn graphs(&self) -> Vec<CellGraph>;

    /// How the space's authors train such a network, where that differs from the defaults, as TOML.
    fn recipe(&self) -> &'static str;

    /// The network to train from scratch.
    ///
    /// # Errors
    /// If it cannot be built at this size.
    fn network(&self, shape: &DerivedShape) -> Result<Box<dyn DerivedNetwork>, NetworkError>;

    /// The same network as a PyTorch module.
    fn pytorch(&self) -> Python;
}

/// A space's networks as PyTorch modules.
#[derive(Clone, Debug)]
pub struct Python {
    /// Assignments that say which architecture it is, a line each.
    pub constants: String,
    /// A class `Network` of these and of `CHANNELS`, `CELLS`, `STEM`, `EDGE_SKIPS`, `IMAGE` and `CLASSES`, with what it needs. Its
    /// state dict has the names of [`DerivedNetwork::weights`] and [`DerivedNetwork::running`].
    pub network: &'static str,
}

/// A genotype of any space.
#[derive(Clone, Debug)]
pub struct Genotype(Arc<dyn Architecture>);

impl Genotype {
    /// A genotype of a space.
    pub fn new(architecture: impl Architecture) -> Self {
        Self(Arc::new(architecture))
    }

    /// Reads a genotype as [`Genotype::read`] does, without what there is to tell about it.
    ///
    /// # Errors
    /// As [`Genotype::read`].
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        Ok(Self::read(text, None)?.value)
    }

    /// Finds the genotype in a text: in JSON or in the notation of its space, with whatever stands around it. Of several
    /// in a file of Python the one of this name is taken, and of those in a log the last one.
    ///
    /// # Errors
    /// Says what was looked for and found instead, where the genotype is wrong, what in its cells cannot be built,
    /// or which names there are.
    pub fn read(text: &str, name: Option<&str>) -> Result<Read<Self>, GenotypeError> {
        let text = text::cleaned(text)?;
        let found = text::only(FAMILIES.iter().map(|family| (family.read)(&text, name)));
        found.unwrap_or_else(|| Err(text::nothing_in(&text)))
    }

    /// Reads a genotype from the bytes of a file (see [`decode`]).
    ///
    /// # Errors
    /// As [`Genotype::read`], and if the bytes are no text.
    pub fn from_bytes(bytes: &[u8], name: Option<&str>) -> Result<Read<Self>, GenotypeError> {
        Self::read(&decode(bytes)?, name)
    }

    /// Reads a genotype from a file, as [`Genotype::from_bytes`].
    ///
    /// # Errors
    /// Names the file.
    pub fn from_file(path: &Path, name: Option<&str>) -> Result<Read<Self>, Error> {
        let failed = |reason: String| Error::GenotypeFile {
            path: path.into(),
            reason,
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| failed(e.to_string()))?;
        Self::from_bytes(&bytes, name).map_err(|e| failed(e.to_string()))
    }

    /// The genotype as one of a space's own kind; none if it is of another.
    pub fn downcast<T: Architecture>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }
}

impl Deref for Genotype {
    type Target = dyn Architecture;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Genotype {
    /// Equal genotypes are written the same.
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}
