//! A discrete architecture of any space: what a search ends with.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{DerivedNetwork, DerivedShape, FAMILIES, GenotypeError};
use crate::network::NetworkError;

/// What a space's genotype must give. Its `Display` is the notation of the space's own code.
pub trait Architecture: Any + fmt::Debug + fmt::Display + Send + Sync {
    /// The genotype as JSON.
    fn to_json(&self) -> String;

    /// How many edges of the (normal) cell are skip-connects.
    fn skip_connects(&self) -> usize;

    /// The share of operations without weights.
    fn parameter_free_share(&self) -> f64;

    /// How the space's authors train such a network, where that differs from the defaults, as TOML.
    fn recipe(&self) -> &'static str;

    /// The network to train from scratch.
    ///
    /// # Errors
    /// If it cannot be built at this size.
    fn network(&self, shape: &DerivedShape) -> Result<Box<dyn DerivedNetwork>, NetworkError>;
}

/// A genotype of any space.
#[derive(Clone, Debug)]
pub struct Genotype(Arc<dyn Architecture>);

impl Genotype {
    /// A genotype of a space.
    pub fn new(architecture: impl Architecture) -> Self {
        Self(Arc::new(architecture))
    }

    /// Reads a genotype in JSON or in the notation of its space.
    ///
    /// # Errors
    /// Says where the text is wrong, or what in the cells cannot be built.
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        let mut read = FAMILIES.iter().filter_map(|family| (family.parse)(text));
        read.next().unwrap_or_else(|| {
            Err(GenotypeError::Json(
                "it is in the notation of no space".into(),
            ))
        })
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
