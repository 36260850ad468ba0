//! What an architecture is: the operations, cells and genotypes of the DARTS space
//! (Liu et al., arXiv 1806.09055) here, and each further space in a file of its own.

mod cursor;
mod derive;
mod error;
mod genotype;
pub mod nas_bench_201;
mod nas_bench_201_notation;
mod notation;
mod operation;
mod paths;
mod progressive;
mod table;
mod text;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use derive::{Row, derive_cell, entropy, softmax, softmax_rows};
pub use error::{GenotypeError, NotationError};
pub use genotype::{CellGenotype, DartsGenotype, Edge};
pub use operation::{Operation, UnknownOperation};
pub use progressive::{Candidates, derive_capped, skip_dropout};
pub use table::{Standing, Table, TableError, Truth};
pub use text::{MOST_BYTES, Read, decode};

use crate::Error;

/// A cell that keeps the resolution, or one that halves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Keeps height and width.
    Normal,
    /// Halves them and doubles the channels.
    Reduction,
}

/// Edges of a cell with this many intermediate nodes: node i has one from each of the states 0 … i + 1.
pub fn edge_count(nodes: usize) -> usize {
    (0..nodes).map(|node| node + 2).sum()
}

/// The number of the edge into an intermediate node from a state; edges are counted node by node.
pub fn edge_index(node: usize, from: usize) -> usize {
    edge_count(node) + from
}

/// The cells that reduce: at 1/3 and 2/3 of the depth (the same one in a single cell).
pub fn reduction_positions(cells: usize) -> [usize; 2] {
    [cells / 3, 2 * cells / 3]
}

/// A discrete architecture of any space: what a search ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Genotype {
    /// Of the DARTS space.
    Darts(DartsGenotype),
    /// Of NAS-Bench-201's.
    NasBench201(nas_bench_201::Cell),
}

impl Genotype {
    /// Reads a genotype as [`Genotype::read`] does, without what there is to tell about it.
    ///
    /// # Errors
    /// As [`Genotype::read`].
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        Ok(Self::read(text, None)?.value)
    }

    /// Finds the genotype in a text: in JSON, in the notation of PyTorch's DARTS (see [`DartsGenotype::parse`]) or in
    /// NAS-Bench-201's (see [`nas_bench_201::Cell::parse`]), with whatever stands around it. Of several in a file of
    /// Python the one of this name is taken, and of those in a log the last one.
    ///
    /// # Errors
    /// Says what was looked for and found instead, where the genotype is wrong, what in its cells cannot be built,
    /// or which names there are.
    pub fn read(text: &str, name: Option<&str>) -> Result<Read<Self>, GenotypeError> {
        let text = text::cleaned(text)?;
        let darts = notation::read(&text, name).map(|r| r.map(|r| r.map(Self::Darts)));
        let cell =
            nas_bench_201_notation::read(&text, name).map(|r| r.map(|r| r.map(Self::NasBench201)));
        let found = text::only([darts, cell]);
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

    /// The genotype as JSON.
    pub fn to_json(&self) -> String {
        match self {
            Self::Darts(genotype) => genotype.to_json(),
            Self::NasBench201(cell) => format!(
                "{{\n  \"{}\": \"{cell}\"\n}}\n",
                nas_bench_201_notation::KEY
            ),
        }
    }

    /// How many edges of the (normal) cell are skip-connects.
    pub fn skip_connects(&self) -> usize {
        match self {
            Self::Darts(genotype) => genotype.normal.skip_connects(),
            Self::NasBench201(cell) => cell.skip_connects(),
        }
    }

    /// The share of operations without weights.
    pub fn parameter_free_share(&self) -> f64 {
        match self {
            Self::Darts(genotype) => genotype.parameter_free_share(),
            Self::NasBench201(cell) => cell.parameter_free_share(),
        }
    }
}

impl Genotype {
    /// Whether each of its cells has a path from an input to its output.
    pub fn is_connected(&self) -> bool {
        self.check_paths().is_ok()
    }

    /// The same, with words for whom it is from.
    ///
    /// # Errors
    /// Names the cell that has none.
    pub fn check_paths(&self) -> Result<(), GenotypeError> {
        match self {
            Self::Darts(genotype) => genotype.check_paths(),
            Self::NasBench201(cell) => cell.check_paths(),
        }
    }
}

impl fmt::Display for Genotype {
    /// The notation of the space's own code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Darts(genotype) => genotype.fmt(f),
            Self::NasBench201(cell) => cell.fmt(f),
        }
    }
}
