//! What networks of the DARTS space cost, and the likeliest cells, within a budget or without.

use super::cell::stride;
use super::derive::Row;
use super::derived::part;
use super::genotype::{CellGenotype, DartsGenotype, Edge};
use super::operation::Operation;
use super::progressive::Candidates;
use super::{CellKind, edge_index, reduction_positions};
use crate::space::cost::{Budget, COSTS, Entry, Key, Menu, entry, several};
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

/// So many of the cells with the largest products of the weights of their edges' operations, the likeliest first, that a budget
/// allows and that have at most so many skip-connects in the normal cell. Where a kind's cell is given, it is that one in all.
///
/// # Errors
/// If none is allowed.
pub(super) fn likeliest(
    rows: &[Vec<Row>; 2],
    (candidates, nodes): (&Candidates, usize),
    (budget, most_skips): (Option<&Budget>, Option<usize>),
    (count, given): (usize, [Option<&CellGenotype>; 2]),
) -> Result<Vec<DartsGenotype>, GenotypeError> {
    let places = || (0..2).flat_map(|kind| (0..nodes).map(move |node| (kind, node)));
    let groups = places().map(|(kind, node)| {
        let all = pairs(rows, candidates, budget, (kind, node));
        match given[kind].map(|cell| cell.nodes[node]) {
            Some([a, b]) => {
                let both = all.0.into_iter().zip(all.1);
                both.filter(|(pair, _)| [[a, b], [b, a]].contains(pair))
                    .unzip()
            }
            None => all,
        }
    });
    let (pairs, entries): (Vec<Vec<Pair>>, Vec<Vec<Entry>>) = groups.unzip();
    let best = |most: Option<usize>| {
        let most = most.map(|most| most as u64);
        match budget {
            Some(budget) => budget.best(&entries, 2 * nodes, most, count),
            None => {
                let mut bounds = [u64::MAX; COSTS];
                bounds[COSTS - 1] = most.unwrap_or(u64::MAX);
                Ok(several(&entries, [0; COSTS], bounds, count))
            }
        }
    };
    // Where edges have nothing but skip-connects left there can be no cap.
    let capped = best(most_skips).ok().filter(|found| !found.is_empty());
    let found = match capped {
        Some(found) => found,
        None => best(None)?,
    };
    let cells = found.into_iter().map(|chosen| {
        let chosen = pairs.iter().zip(chosen);
        let mut genes: Vec<Pair> = chosen.map(|(pairs, chosen)| pairs[chosen]).collect();
        let reduce = genes.split_off(nodes);
        DartsGenotype {
            normal: CellGenotype::joined(genes),
            reduce: CellGenotype::joined(reduce),
        }
    });
    Ok(cells.collect())
}

/// All that can lead into a node of a kind of cell, the stronger edge of two first.
fn pairs(
    rows: &[Vec<Row>; 2],
    candidates: &Candidates,
    budget: Option<&Budget>,
    (kind, node): (usize, usize),
) -> (Vec<Pair>, Vec<Entry>) {
    let costs = budget.map(|budget| &budget.costs().edges[kind]);
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
            let cost = costs.map(|edges| edges[edge][k]).unwrap_or_default();
            let cost = entry(score, cost, of.map(|of| u64::from(normal && of)));
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
