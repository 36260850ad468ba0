//! Cells of NAS-Bench-201: the genotypes of the space.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::space::GenotypeError;

/// An operation, in the order of its α columns (that of the benchmark's code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// No connection.
    None,
    /// The identity.
    SkipConnect,
    /// ReLU, 1×1 convolution, batch norm.
    Conv1x1,
    /// ReLU, 3×3 convolution, batch norm.
    Conv3x3,
    /// 3×3 mean-pooling.
    AvgPool3x3,
}

impl Operation {
    /// All operations, in order.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::SkipConnect,
        Self::Conv1x1,
        Self::Conv3x3,
        Self::AvgPool3x3,
    ];

    /// What a derived cell can have on an edge: all operations, which is the benchmark's rule, or all but `none`,
    /// which is DARTS's. In the mixture `none` only scales an edge, and to the scale of all edges into a node the
    /// batch norms behind it are blind, so its coefficient says little about what an edge is worth.
    pub fn choices(none: bool) -> &'static [Self] {
        if none { &Self::ALL } else { &Self::ALL[1..] }
    }

    /// The benchmark's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SkipConnect => "skip_connect",
            Self::Conv1x1 => "nor_conv_1x1",
            Self::Conv3x3 => "nor_conv_3x3",
            Self::AvgPool3x3 => "avg_pool_3x3",
        }
    }

    /// The side of its convolution, if it is one.
    pub(super) fn kernel(self) -> Option<usize> {
        match self {
            Self::Conv1x1 => Some(1),
            Self::Conv3x3 => Some(3),
            _ => None,
        }
    }
}

/// Edges of a cell: into node 1 from 0, into node 2 from 0 and 1, into node 3 from 0, 1 and 2.
pub const EDGES: usize = 6;

/// Nodes but the first.
pub(super) const NODES: usize = 3;

/// The number of the edge from one node into another (from 1).
pub(super) fn edge_index(node: usize, from: usize) -> usize {
    node * (node - 1) / 2 + from
}

/// A discrete cell: the operation of each edge, in the order of [`EDGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cell(pub [Operation; EDGES]);

impl Cell {
    /// Architectures in the space.
    pub const COUNT: usize = Operation::ALL.len().pow(EDGES as u32);

    /// The number of the architecture: its operations as digits.
    pub fn index(&self) -> usize {
        let base = Operation::ALL.len();
        self.0.iter().fold(0, |n, o| n * base + *o as usize)
    }

    /// The architecture of this number, below [`Cell::COUNT`].
    pub fn numbered(index: usize) -> Self {
        let base = Operation::ALL.len();
        let mut operations = [Operation::None; EDGES];
        let mut rest = index;
        for operation in operations.iter_mut().rev() {
            *operation = Operation::ALL[rest % base];
            rest /= base;
        }
        Self(operations)
    }

    /// Reads the benchmark's notation: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.
    ///
    /// # Errors
    /// Says which part is not as it must be.
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        let wrong = |reason: String| GenotypeError::NasBench201 { reason };
        let nodes: Vec<&str> = text.trim().split('+').collect();
        if nodes.len() != NODES {
            return Err(wrong(format!(
                "it has {} nodes joined by `+`, but {NODES} are needed",
                nodes.len()
            )));
        }
        let mut operations = [Operation::None; EDGES];
        for (node, part) in (1..).zip(nodes) {
            let edges = part
                .trim()
                .strip_prefix('|')
                .and_then(|p| p.strip_suffix('|'));
            let Some(edges) = edges else {
                return Err(wrong(format!(
                    "node {node} is `{part}`, which does not begin and end with `|`"
                )));
            };
            let edges: Vec<&str> = edges.split('|').collect();
            if edges.len() != node {
                return Err(wrong(format!(
                    "node {node} has {} edges, but {node} are needed",
                    edges.len()
                )));
            }
            for (from, edge) in edges.into_iter().enumerate() {
                let (name, source) = edge.split_once('~').unwrap_or((edge, ""));
                if source != from.to_string() {
                    return Err(wrong(format!(
                        "edge {} of node {node} is `{edge}`, which does not end with `~{from}`",
                        from + 1
                    )));
                }
                let known = Operation::ALL.into_iter().find(|o| o.name() == name);
                operations[edge_index(node, from)] = known.ok_or_else(|| {
                    let names = Operation::ALL.map(Operation::name).join(", ");
                    wrong(format!("`{name}` is no operation of it ({names})"))
                })?;
            }
        }
        Ok(Self(operations))
    }

    /// A cell drawn uniformly from these operations on every edge.
    pub fn random(choices: &[Operation], rng: &mut impl Rng) -> Self {
        Self([(); EDGES].map(|()| choices[crate::rng::below(rng, choices.len())]))
    }

    /// Each edge's strongest operation of these, of which there must be one; ties go to the first.
    pub(super) fn derive(rows: &[Vec<f64>], choices: &[Operation]) -> Result<Self, GenotypeError> {
        if rows.iter().flatten().any(|p| !p.is_finite()) {
            return Err(GenotypeError::Coefficients(
                "one of them is not a finite number".into(),
            ));
        }
        let mut operations = [choices[0]; EDGES];
        for (operation, row) in operations.iter_mut().zip(rows) {
            for candidate in choices {
                if row[*candidate as usize] > row[*operation as usize] {
                    *operation = *candidate;
                }
            }
        }
        Ok(Self(operations))
    }

    /// How many edges are skip-connects.
    pub fn skip_connects(&self) -> usize {
        let skips = self.0.iter().filter(|o| **o == Operation::SkipConnect);
        skips.count()
    }

    /// How many edges are convolutions.
    pub fn convolutions(&self) -> usize {
        self.0.iter().filter(|o| o.kernel().is_some()).count()
    }

    /// The share of edges without weights.
    pub fn parameter_free_share(&self) -> f64 {
        (EDGES - self.convolutions()) as f64 / EDGES as f64
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in 1..=NODES {
            f.write_str(if node == 1 { "|" } else { "+|" })?;
            for from in 0..node {
                write!(f, "{}~{from}|", self.0[edge_index(node, from)].name())?;
            }
        }
        Ok(())
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        cell.to_string()
    }
}

impl TryFrom<String> for Cell {
    type Error = GenotypeError;

    fn try_from(text: String) -> Result<Self, GenotypeError> {
        Self::parse(&text)
    }
}

impl Cell {
    /// Whether there is a path from the input to the output.
    pub fn is_connected(&self) -> bool {
        let mut operations = self.0.iter();
        let mut reached = vec![true];
        while operations.len() > 0 {
            let edges = reached.iter().zip(operations.by_ref());
            let arrives = edges.fold(false, |any, (from, operation)| {
                any || *from && *operation != Operation::None
            });
            reached.push(arrives);
        }
        reached.last() == Some(&true)
    }

    /// The same, with words for whom it is from.
    ///
    /// # Errors
    /// If there is none.
    pub fn check_paths(&self) -> Result<(), GenotypeError> {
        if self.is_connected() {
            return Ok(());
        }
        Err(GenotypeError::NoPath { cell: "cell" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_reads_back() {
        for index in 0..Cell::COUNT {
            let cell = Cell::numbered(index);
            assert_eq!(cell.index(), index);
            assert_eq!(Cell::parse(&cell.to_string()).unwrap(), cell);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let text = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|";
        assert!(Cell::parse(text).is_ok());
        let refused = |from: &str, to: &str| {
            let text = text.replacen(from, to, 1);
            Cell::parse(&text).unwrap_err().to_string()
        };
        assert!(refused("nor_conv_3x3", "sep_conv_3x3").contains("`sep_conv_3x3` is no operation"));
        assert!(refused("|none~0|none~1|", "|none~0|").contains("node 2 has 1 edges, but 2"));
        assert!(refused("~2", "~1").contains("edge 3 of node 3"));
        assert!(refused("+", "").contains("2 nodes"));
        assert!(refused("|nor_conv_3x3~0|", "nor_conv_3x3~0").contains("begin and end"));
    }

    #[test]
    fn ties_go_to_the_first_operation() {
        let all = Operation::choices(true);
        let equal = vec![vec![0.2; 5]; EDGES];
        assert_eq!(Cell::derive(&equal, all).unwrap(), Cell::numbered(0));
        let cell = Cell::derive(&equal, Operation::choices(false)).unwrap();
        assert_eq!(cell.skip_connects(), EDGES, "the first after none");
        let mut rows = vec![vec![0.1, 0.3, 0.2, 0.3, 0.1]; EDGES];
        rows[5] = vec![0.1, 0.1, 0.1, 0.1, 0.6];
        let cell = Cell::derive(&rows, all).unwrap();
        assert_eq!(cell.skip_connects(), 5);
        assert_eq!(cell.0[5], Operation::AvgPool3x3);
        assert!(Cell::derive(&vec![vec![f64::NAN; 5]; EDGES], all).is_err());
    }

    #[test]
    fn a_cell_of_nas_bench_201_is_connected_if_its_last_node_is_reached() {
        for (text, connected) in [
            ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", false),
            (
                "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|",
                false,
            ),
            (
                "|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
                false,
            ),
            (
                "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|",
                true,
            ),
            (
                "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|",
                true,
            ),
        ] {
            let cell = Cell::parse(text).unwrap();
            assert_eq!(cell.is_connected(), connected, "{text}");
            assert_eq!(cell.check_paths().is_ok(), connected);
        }
    }
}
