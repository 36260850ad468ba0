//! What an architecture is: operations, cells and genotypes of the DARTS space
//! (Liu et al., arXiv 1806.09055).

mod derive;
mod genotype;
mod notation;
mod operation;

pub use derive::{Row, derive_cell, entropy, softmax_rows};
pub use genotype::{CellGenotype, Edge, Genotype, GenotypeError};
pub use operation::{Operation, UnknownOperation};

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
