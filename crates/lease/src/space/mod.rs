//! What an architecture is: the operations, cells and genotypes of the DARTS space
//! (Liu et al., arXiv 1806.09055) here, and each further space in a file of its own.

mod derive;
mod genotype;
pub mod nas_bench_201;
mod notation;
mod operation;
mod progressive;
mod table;

use std::fmt;

pub use derive::{Row, derive_cell, entropy, softmax, softmax_rows};
pub use genotype::{CellGenotype, DartsGenotype, Edge, GenotypeError};
pub use operation::{Operation, UnknownOperation};
pub use progressive::{Candidates, derive_capped, skip_dropout};
pub use table::{Standing, Table, TableError, Truth};

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

/// The key of a NAS-Bench-201 cell in JSON.
const NAS_BENCH_201: &str = "nas_bench_201";

impl Genotype {
    /// Reads a genotype in JSON, in the notation of PyTorch's DARTS (see [`DartsGenotype::parse`]), or in
    /// NAS-Bench-201's (see [`nas_bench_201::Cell::parse`]).
    ///
    /// # Errors
    /// Says where the text is wrong, or what in the cells cannot be built.
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        if text.trim_start().starts_with('|') {
            return Ok(Self::NasBench201(nas_bench_201::Cell::parse(text)?));
        }
        if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(text)
            && let Some(cell) = map.get(NAS_BENCH_201)
        {
            let cell = cell.as_str().unwrap_or_default();
            return Ok(Self::NasBench201(nas_bench_201::Cell::parse(cell)?));
        }
        Ok(Self::Darts(DartsGenotype::parse(text)?))
    }

    /// The genotype as JSON.
    pub fn to_json(&self) -> String {
        match self {
            Self::Darts(genotype) => genotype.to_json(),
            Self::NasBench201(cell) => format!("{{\n  \"{NAS_BENCH_201}\": \"{cell}\"\n}}\n"),
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

impl fmt::Display for Genotype {
    /// The notation of the space's own code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Darts(genotype) => genotype.fmt(f),
            Self::NasBench201(cell) => cell.fmt(f),
        }
    }
}
