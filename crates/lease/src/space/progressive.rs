//! P-DARTS (Chen et al., arXiv 1904.12760): the DARTS space searched in stages, each with a deeper supernet and
//! fewer candidates on every edge.

use serde::{Deserialize, Serialize};

use super::genotype::CellGenotype;
use super::operation::Operation;
use super::{GenotypeError, Row, derive_cell, edge_count, edge_index};

/// The candidates on every edge of both kinds of cell, as many on each, in the operations' order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// Of normal cells, then of reduction cells, edge by edge.
    pub cells: [Vec<Vec<Operation>>; 2],
}

impl Candidates {
    /// All operations on every edge of cells with this many nodes.
    pub fn all(nodes: usize) -> Self {
        let cell = vec![Operation::ALL.to_vec(); edge_count(nodes)];
        Self {
            cells: [cell.clone(), cell],
        }
    }

    /// How many there are on an edge.
    pub fn each(&self) -> usize {
        self.cells[0].first().map_or(0, Vec::len)
    }

    /// Every edge's strongest `keep` candidates by their mixing coefficients in both kinds of cell; of equals the
    /// first stay.
    pub fn strongest(&self, rows: &[Vec<Row>; 2], keep: usize) -> Self {
        let of = |kind: usize| {
            let edges = self.cells[kind].iter().zip(&rows[kind]);
            edges
                .map(|(candidates, row)| {
                    let weight = |o: &Operation| row[*o as usize];
                    let mut ranked = candidates.clone();
                    ranked.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
                    ranked.truncate(keep);
                    ranked.sort();
                    ranked
                })
                .collect()
        };
        Self {
            cells: [of(0), of(1)],
        }
    }
}

/// Derives a cell with at most `cap` skip-connects: while there are more, the weakest is ruled out and the cell
/// derived again (the paper's search space regularisation).
///
/// # Errors
/// As [`derive_cell`].
pub fn derive_capped(rows: &[Row], cap: usize) -> Result<CellGenotype, GenotypeError> {
    let mut rows = rows.to_vec();
    loop {
        let cell = derive_cell(&rows)?;
        let skip = Operation::SkipConnect;
        let edges = cell.nodes.iter().enumerate().flat_map(|(node, edges)| {
            let skips = edges.iter().filter(|e| e.0 == skip);
            skips.map(move |e| edge_index(node, e.1))
        });
        let edges: Vec<usize> = edges.collect();
        let weight = |edge: &usize| rows[*edge][skip as usize];
        // An edge with no other candidate left keeps its skip-connect.
        let others = |edge: &&usize| {
            let all = rows[**edge].iter().enumerate();
            let mut others = all.filter(|(k, _)| ![0, skip as usize].contains(k));
            others.any(|(_, weight)| *weight > 0.0)
        };
        let able = edges.iter().filter(others).copied();
        let weakest = able.min_by(|a, b| weight(a).total_cmp(&weight(b)));
        match weakest {
            Some(edge) if edges.len() > cap => rows[edge][skip as usize] = 0.0,
            _ => return Ok(cell),
        }
    }
}

/// The probability with which an image loses what a skip-connect carries, in an epoch of a stage of `epochs`, the
/// first `warmup` of which leave the architecture as it is: from `start` it falls linearly, then by e^−0.2 an
/// epoch (the schedule of the authors' code).
pub fn skip_dropout(start: f64, epoch: usize, epochs: usize, warmup: usize) -> f64 {
    match epoch.checked_sub(warmup) {
        None => start * (epochs - epoch - 1) as f64 / epochs as f64,
        Some(since) => start * (-0.2 * since as f64).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(nodes: usize, row: Row) -> Vec<Row> {
        vec![row; edge_count(nodes)]
    }

    #[test]
    fn the_strongest_candidates_stay_in_order() {
        let row = [0.05, 0.3, 0.1, 0.1, 0.05, 0.2, 0.15, 0.05];
        let both = [rows(1, row), rows(1, row)];
        let kept = Candidates::all(1).strongest(&both, 4);
        use Operation::*;
        let expected = vec![MaxPool3x3, AvgPool3x3, SepConv5x5, DilConv3x3];
        assert_eq!(
            kept.cells[0],
            vec![expected; 2],
            "of equals the first stays"
        );
        let fewer = kept.strongest(&both, 2);
        assert_eq!(fewer.cells[1][0], [MaxPool3x3, SepConv5x5]);
        assert_eq!(fewer.each(), 2);
    }

    #[test]
    fn skip_connects_beyond_the_cap_give_way_weakest_first() {
        let skip = |weight: f64| {
            let mut row = [0.01; 8];
            row[Operation::SkipConnect as usize] = weight;
            row[Operation::SepConv3x3 as usize] = 0.2;
            row
        };
        let rows: Vec<Row> = [0.9, 0.8, 0.7, 0.6, 0.1].map(skip).into();
        assert_eq!(derive_cell(&rows).unwrap().skip_connects(), 4);
        let capped = derive_capped(&rows, 2).unwrap();
        assert_eq!(capped.skip_connects(), 2);
        let skips = |node: usize| {
            let edges = capped.nodes[node].iter();
            edges.filter(|e| e.0 == Operation::SkipConnect).count()
        };
        assert_eq!(
            (skips(0), skips(1)),
            (2, 0),
            "the weaker two were in node 1"
        );
        assert_eq!(
            derive_capped(&rows, 8).unwrap(),
            derive_cell(&rows).unwrap()
        );
    }

    #[test]
    fn an_edge_with_nothing_else_keeps_its_skip_connect() {
        let mut row = [0.0; 8];
        row[0] = 0.3;
        row[Operation::SkipConnect as usize] = 0.7;
        let cell = derive_capped(&rows(2, row), 0).unwrap();
        assert_eq!(cell.skip_connects(), 4, "no operation without weight");
    }

    #[test]
    fn dropout_falls_linearly_then_exponentially() {
        let at = |epoch| skip_dropout(0.4, epoch, 25, 10);
        assert_eq!(at(0), 0.4 * 24.0 / 25.0);
        assert_eq!(at(10), 0.4);
        assert!((at(15) - 0.4 * (-1.0f64).exp()).abs() < 1e-15);
    }
}
