//! The space of DARTS (Liu et al., arXiv 1806.09055): plain, by PC-DARTS's supernet (Xu et al., arXiv
//! 1907.05737), and in P-DARTS's stages.

mod cell;
mod costs;
mod derive;
mod derived;
mod genotype;
mod notation;
mod operation;
mod paths;
mod progressive;
mod settings;
mod shape;
mod supernet;

use crate::network::Stem;
use crate::network::layers::Builder;
use crate::network::stem::StemLayers;
use crate::space::{Family, Genotype};

pub use cell::{Cell, CellShape};
pub use derive::{Row, derive_cell, softmax_rows};
pub use derived::Derived;
pub use genotype::{CellGenotype, DartsGenotype, Edge};
pub use operation::{Operation, UnknownOperation};
pub use progressive::{Candidates, derive_capped};
pub use settings::DartsCells;
pub use shape::SupernetShape;
pub use supernet::Supernet;

/// The DARTS space in its three forms.
pub static FAMILY: Family = Family {
    spaces: &[settings::DARTS, settings::PC_DARTS, progressive::P_DARTS],
    read: |text, name| notation::read(text, name).map(|read| read.map(|r| r.map(Genotype::new))),
};

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

/// The stem of a network whose first cells have so many channels, and the channels of its two results.
fn stem(
    builder: &mut Builder,
    stem: Stem,
    [image, channels]: [usize; 2],
) -> (StemLayers, [usize; 2]) {
    let wide = 3 * channels;
    let layers = StemLayers::new(builder, stem, image, [wide, channels]);
    let each = match stem {
        Stem::Cifar => wide,
        Stem::Imagenet => channels,
    };
    (layers, [each; 2])
}
