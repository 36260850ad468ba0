//! What networks of the DARTS space cost, and the best cells within a budget.

use super::cell::stride;
use super::derive::Row;
use super::derived::part;
use super::genotype::{CellGenotype, DartsGenotype, Edge};
use super::operation::Operation;
use super::progressive::Candidates;
use super::{CellKind, edge_index, reduction_positions};
use crate::space::cost::{Budget, Entry, Key, Menu, entry};
use crate::space::{DerivedShape, GenotypeError};

/// The operations of networks of this size, whose cells have these candidates.
pub(super) fn menu(shape: &DerivedShape, candidates: &Candidates, nodes: usize) -> Menu {
    let counts = |edges: &Vec<Vec<Operation>>| edges.iter().map(Vec::len).collect();
    let mut menu = Menu::new(candidates.cells.iter().map(counts));
    let [_, height, width] = shape.image;
    let mut size = [height, width].map(|n| shape.stem.after(n));
    let mut channels = shape.channels;
    for cell in 0..shape.cells {
        let kind = match reduction_positions(shape.cells).contains(&cell) {
            true => CellKind::Reduction,
            false => CellKind::Normal,
        };
        let mut after = size;
        if kind == CellKind::Reduction {
            channels *= 2;
            after = size.map(|n| n.div_ceil(2));
        }
        for (node, from) in (0..nodes).flat_map(|node| (0..node + 2).map(move |from| (node, from)))
        {
            let stride = stride(kind, from);
            let [height, width] = if stride == 2 { size } else { after };
            let edge = edge_index(node, from);
            for (k, operation) in candidates.cells[kind as usize][edge].iter().enumerate() {
                // An operation, and what is beside it.
                let beside = shape.edge_skips.then_some(Operation::SkipConnect);
                for operation in [Some(*operation), beside].into_iter().flatten() {
                    let key = Key {
                        operation: operation.name().into(),
                        channels,
                        stride,
                        height,
                        width,
                    };
                    let place = [kind as usize, edge, k];
                    menu.add(place, key, || part(operation, (channels, stride)));
                }
            }
        }
        size = after;
    }
    menu
}

/// Two edges into a node, with their operations.
type Pair = [Edge; 2];

/// The cells that a budget allows which have the largest product of the weights of their edges' operations, with at most so many
/// skip-connects in the normal cell.
///
/// # Errors
/// If none is allowed.
pub(super) fn within(
    rows: &[Vec<Row>; 2],
    (candidates, nodes): (&Candidates, usize),
    budget: &Budget,
    most_skips: Option<usize>,
) -> Result<DartsGenotype, GenotypeError> {
    let places = || (0..2).flat_map(|kind| (0..nodes).map(move |node| (kind, node)));
    let groups = places().map(|at| pairs(rows, candidates, budget, at));
    let (pairs, entries): (Vec<Vec<Pair>>, Vec<Vec<Entry>>) = groups.unzip();
    let edges = 2 * nodes;
    let capped = budget.best(&entries, edges, most_skips.map(|most| most as u64));
    // Where edges have nothing but skip-connects left there can be no cap.
    let chosen = match (capped, most_skips) {
        (Err(_), Some(_)) => budget.best(&entries, edges, None)?,
        (chosen, _) => chosen?,
    };
    let mut genes: Vec<Pair> = pairs
        .iter()
        .zip(chosen)
        .map(|(pairs, chosen)| pairs[chosen])
        .collect();
    let reduce = genes.split_off(nodes);
    Ok(DartsGenotype {
        normal: CellGenotype::joined(genes),
        reduce: CellGenotype::joined(reduce),
    })
}

/// All that can lead into a node of a kind of cell, the stronger edge of two first.
fn pairs(
    rows: &[Vec<Row>; 2],
    candidates: &Candidates,
    budget: &Budget,
    (kind, node): (usize, usize),
) -> (Vec<Pair>, Vec<Entry>) {
    let edges = &budget.costs().edges[kind];
    let edge = |from: usize| {
        let edge = edge_index(node, from);
        let operations = candidates.cells[kind][edge].iter().enumerate();
        let derivable = operations.filter(|(_, o)| **o != Operation::None);
        derivable.map(move |(k, operation)| {
            let weight = rows[kind][edge][*operation as usize];
            let normal = kind == CellKind::Normal as usize;
            let of = [
                operation.is_parameter_free(),
                *operation == Operation::SkipConnect,
            ];
            let score = weight.max(f64::MIN_POSITIVE).ln();
            let cost = entry(score, edges[edge][k], of.map(|of| u64::from(normal && of)));
            (weight, Edge(*operation, from), cost)
        })
    };
    let mut all = (Vec::new(), Vec::new());
    for second in 1..node + 2 {
        for first in 0..second {
            for (strong, a, cost) in edge(first) {
                for (weak, b, more) in edge(second) {
                    let pair = if weak > strong { [b, a] } else { [a, b] };
                    all.0.push(pair);
                    all.1.push(Entry {
                        score: cost.score + more.score,
                        costs: std::array::from_fn(|d| cost.costs[d] + more.costs[d]),
                    });
                }
            }
        }
    }
    all
}
