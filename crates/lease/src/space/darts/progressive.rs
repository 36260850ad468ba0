//! P-DARTS (Chen et al., arXiv 1904.12760): the DARTS space searched in stages, each with a deeper supernet and
//! fewer candidates on every edge.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::derive::{Row, derive_cell};
use super::genotype::{CellGenotype, DartsGenotype, Edge, nodes_of};
use super::operation::Operation;
use super::{DartsCells, Supernet, SupernetShape, edge_count, edge_index};
use crate::config::{ConfigError, Rule, Section, SectionInfo, section};
use crate::network::NetworkError;
use crate::rng::below;
use crate::space::{
    Entry, Explainer, Genotype, GenotypeError, SearchSpace, Size, StagePlan, StageReached,
};

section! {
    /// Stages of P-DARTS.
    Stages, "p_darts", "" {
        /// The cells of each stage's supernet, instead of cells. Each stage lasts for all epochs.
        stage_cells: String = "5,11,17".into();
        /// The candidates on each edge in each stage; all 8 in the first.
        stage_candidates: String = "8,5,3".into();
        /// The probability at the start of each stage that an image loses what a skip-connect carries.
        stage_skip_dropout: String = "0,0.4,0.7".into();
        /// The skip-connects in the normal cell at most.
        max_skip_connects: usize = 2 => Rule::whole(0, 100);
    }
}

/// The DARTS space in stages.
#[derive(Clone, Debug)]
struct PDarts {
    cells: DartsCells,
    stages: Stages,
}

pub(super) const P_DARTS: Entry = Entry {
    name: "p-darts",
    about: "the DARTS space in stages",
    sections: &[DartsCells::INFO, Stages::INFO],
    preset: include_str!("p_darts.toml"),
    recipe: "",
    read: |values| {
        Ok(Arc::new(PDarts {
            cells: Section::of(values)?,
            stages: Section::of(values)?,
        }))
    },
};

/// The entries of a list such as `5,11,17`; empty if one cannot be read.
fn list<T: std::str::FromStr>(text: &str) -> Vec<T> {
    let entries = text.split(',').map(|entry| entry.trim().parse());
    entries.collect::<Result<_, _>>().unwrap_or_default()
}

/// The most stages that a search can have.
const MOST_STAGES: usize = 16;

impl SearchSpace for PDarts {
    fn entry(&self) -> &'static Entry {
        &super::FAMILY.spaces[2]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        vec![self.cells.table(), self.stages.table()]
    }

    fn supernet(
        &self,
        size: &Size,
        reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        let stages = self.stages(size.cells);
        let plan = stages.get(reached.number).ok_or(NetworkError::Stage {
            reason: format!("there is no stage {}", reached.number + 1),
        })?;
        let candidates = match &reached.candidates {
            Some(kept) => {
                serde_json::from_value(kept.clone()).map_err(|e| NetworkError::Stage {
                    reason: e.to_string(),
                })?
            }
            None => Candidates::all(self.cells.nodes),
        };
        if candidates.each() != plan.candidates {
            let (each, of) = (candidates.each(), plan.candidates);
            return Err(NetworkError::Stage {
                reason: format!("it has {each} candidates on an edge where {of} belong"),
            });
        }
        let size = Size {
            cells: plan.cells,
            ..*size
        };
        Ok(Arc::new(Supernet::new(&SupernetShape {
            candidates: Some(candidates),
            max_skip_connects: Some(self.stages.max_skip_connects),
            ..self.cells.shape(&size)?
        })?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        // The cap on skip-connects is the search's.
        self.cells.random(rng)
    }

    /// None if the settings cannot be read, which [`SearchSpace::problems`] says.
    fn stages(&self, _cells: usize) -> Vec<StagePlan> {
        let s = &self.stages;
        let rest = list(&s.stage_candidates)
            .into_iter()
            .zip(list(&s.stage_skip_dropout));
        list(&s.stage_cells)
            .into_iter()
            .zip(rest)
            .map(|(cells, (candidates, skip_dropout))| StagePlan {
                cells,
                candidates,
                skip_dropout,
            })
            .collect()
    }

    fn can_end_early(&self) -> bool {
        false
    }

    fn problems(&self) -> Vec<ConfigError> {
        let s = &self.stages;
        let mut errors = Vec::new();
        let mut ensure = |holds: bool, key: &str, value: &String, reason: &str| {
            if !holds {
                errors.push(Stages::setting(key).range(value, reason));
            }
        };
        let cells = list::<usize>(&s.stage_cells);
        ensure(
            (1..=MOST_STAGES).contains(&cells.len()) && cells.iter().all(|n| (1..=256).contains(n)),
            "stage_cells",
            &s.stage_cells,
            "it must be a list of whole numbers from 1 to 256, such as 5,11,17",
        );
        let candidates = list::<usize>(&s.stage_candidates);
        ensure(
            candidates.len() == cells.len()
                && candidates.first() == Some(&Operation::ALL.len())
                && candidates.is_sorted_by(|a, b| a >= b)
                && candidates.iter().all(|n| *n >= 2),
            "stage_candidates",
            &s.stage_candidates,
            "it must have a whole number for each entry of stage-cells, the first 8, none larger than the one before, \
             and none below 2, such as 8,5,3",
        );
        let dropout = list::<f64>(&s.stage_skip_dropout);
        ensure(
            dropout.len() == cells.len() && dropout.iter().all(|p| (0.0..1.0).contains(p)),
            "stage_skip_dropout",
            &s.stage_skip_dropout,
            "it must have a probability of at least 0 and below 1 for each entry of stage-cells, such as 0,0.4,0.7",
        );
        errors
    }
}

/// The candidates on every edge of both kinds of cell, as many on each, in the operations' order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// Of normal cells, then of reduction cells, edge by edge.
    pub cells: [Vec<Vec<Operation>>; 2],
}

impl Candidates {
    /// All operations on every edge of cells with this many nodes.
    pub fn all(nodes: usize) -> Self {
        Self::same(nodes, &Operation::ALL)
    }

    /// These operations, in order, on every edge of cells with this many nodes.
    pub fn same(nodes: usize, operations: &[Operation]) -> Self {
        let cell = vec![operations.to_vec(); edge_count(nodes)];
        Self {
            cells: [cell.clone(), cell],
        }
    }

    /// How many there are on an edge.
    pub fn each(&self) -> usize {
        self.cells[0].first().map_or(0, Vec::len)
    }

    /// The candidates, if they are some for every edge of cells with this many nodes, as many on each.
    ///
    /// # Errors
    /// If they are not.
    pub fn checked(&self, nodes: usize) -> Result<&Self, NetworkError> {
        let each = self.each();
        let edges = self
            .cells
            .iter()
            .all(|edges| edges.len() == edge_count(nodes));
        let equal = self.cells.iter().flatten().all(|edge| edge.len() == each);
        let distinct = |edge: &Vec<Operation>| edge.is_sorted_by(|a, b| a < b);
        if edges && equal && each > 0 && self.cells.iter().flatten().all(distinct) {
            return Ok(self);
        }
        Err(NetworkError::Stage {
            reason: format!(
                "cells of {nodes} nodes need as many different candidates on each of {} edges",
                edge_count(nodes)
            ),
        })
    }

    /// A genotype drawn uniformly: for each node two different states, and on each edge one of its candidates other than `none`,
    /// of which there must be one.
    pub fn random(&self, rng: &mut ChaCha8Rng) -> DartsGenotype {
        let mut cell = |edges: &Vec<Vec<Operation>>| {
            let node = |node: usize| {
                let first = below(rng, node + 2);
                let second = (first + 1 + below(rng, node + 1)) % (node + 2);
                [first, second].map(|state| {
                    let of = edges[edge_index(node, state)].iter();
                    let of: Vec<Operation> =
                        of.copied().filter(|o| *o != Operation::None).collect();
                    Edge(of[below(rng, of.len())], state)
                })
            };
            let nodes = nodes_of(edges.len()).unwrap_or(0);
            CellGenotype::joined((0..nodes).map(node).collect())
        };
        let [normal, reduce] = self.cells.each_ref().map(&mut cell);
        DartsGenotype { normal, reduce }
    }

    /// Has the operations of these cells among the candidates, in place of the weakest by these mixing coefficients.
    pub(super) fn keep(&mut self, cells: &DartsGenotype, rows: &[Vec<Row>; 2]) {
        for (kind, cell) in [&cells.normal, &cells.reduce].into_iter().enumerate() {
            for (node, edges) in cell.nodes.iter().enumerate() {
                for Edge(operation, state) in edges {
                    let edge = edge_index(node, *state);
                    let kept = &mut self.cells[kind][edge];
                    if kept.contains(operation) {
                        continue;
                    }
                    let weight = |o: &Operation| rows[kind][edge][*o as usize];
                    let weakest = kept
                        .iter_mut()
                        .min_by(|a, b| weight(a).total_cmp(&weight(b)));
                    if let Some(weakest) = weakest {
                        *weakest = *operation;
                        kept.sort();
                    }
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(nodes: usize, row: Row) -> Vec<Row> {
        vec![row; edge_count(nodes)]
    }

    #[test]
    fn the_strongest_candidates_stay_in_order() {
        let row = [0.05, 0.3, 0.1, 0.1, 0.05, 0.2, 0.15, 0.05, 0.0];
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
            let mut row = [0.01; 9];
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
        let mut row = [0.0; 9];
        row[0] = 0.3;
        row[Operation::SkipConnect as usize] = 0.7;
        let cell = derive_capped(&rows(2, row), 0).unwrap();
        assert_eq!(cell.skip_connects(), 4, "no operation without weight");
    }
}
