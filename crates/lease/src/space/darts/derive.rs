//! From mixing coefficients to a discrete cell, by the rule of DARTS (arXiv 1806.09055, section 2.4).

use super::genotype::{CellGenotype, Edge, nodes_of};
use super::operation::Operation;
use crate::space::{GenotypeError, softmax};

/// One row of mixing coefficients: an edge's weight of each operation.
pub type Row = [f64; Operation::EVERY.len()];

/// Softmax of each row of α, given flat, edge by edge for each of its candidates; other operations weigh nothing.
pub fn softmax_rows(alphas: &[f64], candidates: &[Vec<Operation>]) -> Vec<Row> {
    weighted_rows(alphas, candidates, softmax)
}

/// The same with other weights than the softmax.
pub(super) fn weighted_rows(
    alphas: &[f64],
    candidates: &[Vec<Operation>],
    weights_of: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<Row> {
    let mut rest = alphas;
    candidates
        .iter()
        .map(|candidates| {
            let (row, later) = rest.split_at(candidates.len());
            rest = later;
            let mut weights = [0.0; Operation::EVERY.len()];
            for (operation, weight) in candidates.iter().zip(weights_of(row)) {
                weights[*operation as usize] = weight;
            }
            weights
        })
        .collect()
}

/// Derives a cell: each node keeps the two incoming edges whose strongest operation other than `none` is
/// strongest, with that operation, the stronger edge first. Ties go to the lower state and operation, as
/// in DARTS's code.
///
/// # Errors
/// If the rows are not those of whole nodes, or a coefficient is not finite.
pub fn derive_cell(rows: &[Row]) -> Result<CellGenotype, GenotypeError> {
    let nodes = nodes_of(rows.len()).ok_or_else(|| {
        GenotypeError::Coefficients(format!("{} rows are not 2 + 3 + 4 + …", rows.len()))
    })?;
    if rows.iter().flatten().any(|p| !p.is_finite()) {
        return Err(GenotypeError::Coefficients(
            "one of them is not a finite number".into(),
        ));
    }
    let mut rest = rows;
    let mut genes = Vec::with_capacity(nodes);
    for node in 0..nodes {
        let (incoming, later) = rest.split_at(node + 2);
        rest = later;
        let mut ranked: Vec<(usize, usize)> = incoming.iter().map(best).enumerate().collect();
        // The sort is stable, so the lower state stays first among equals.
        ranked.sort_by(|a, b| incoming[b.0][b.1].total_cmp(&incoming[a.0][a.1]));
        genes.push([0, 1].map(|i| Edge(Operation::EVERY[ranked[i].1], ranked[i].0)));
    }
    Ok(CellGenotype::joined(genes))
}

/// The strongest operation of an edge other than `none`.
fn best(row: &Row) -> usize {
    let mut best = 1;
    for k in 2..row.len() {
        if row[k] > row[best] {
            best = k;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_lower_state_and_operation() {
        let cell = derive_cell(&[[0.125; 9]; 5]).unwrap();
        let expected = [0, 1].map(|s| Edge(Operation::MaxPool3x3, s));
        assert_eq!(cell.nodes, [expected, expected]);
    }

    #[test]
    fn coefficients_of_no_cell_are_refused() {
        assert!(derive_cell(&[[0.1; 9]; 4]).is_err());
        assert!(derive_cell(&[[f64::NAN; 9]; 2]).is_err());
    }

    proptest! {
        #[test]
        fn a_derived_cell_keeps_the_two_strongest_edges(
            nodes in 1usize..5,
            values in proptest::collection::vec(-3.0f64..3.0, 14 * 8),
        ) {
            let edges = super::super::edge_count(nodes);
            let rows = softmax_rows(&values[..edges * 8], &vec![Operation::ALL.to_vec(); edges]);
            let cell = derive_cell(&rows).unwrap();
            prop_assert_eq!(cell.nodes.len(), nodes);
            let mut start = 0;
            for (node, edges) in cell.nodes.iter().enumerate() {
                let strength = |state: usize| {
                    rows[start + state][1..].iter().copied().fold(0.0, f64::max)
                };
                let weakest_kept = edges.iter().map(|e| strength(e.1)).fold(1.0, f64::min);
                for Edge(operation, state) in edges {
                    prop_assert_eq!(rows[start + state][*operation as usize], strength(*state));
                }
                for state in (0..node + 2).filter(|s| edges.iter().all(|e| e.1 != *s)) {
                    prop_assert!(strength(state) <= weakest_kept);
                }
                start += node + 2;
            }
        }
    }
}
