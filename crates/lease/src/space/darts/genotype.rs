//! Genotypes: the discrete cells that a search ends with.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Derived, Operation, edge_count, notation};
use crate::network::NetworkError;
use crate::space::reading::text;
use crate::space::{
    Architecture, CellGraph, DerivedNetwork, DerivedShape, GenotypeError, GraphEdge, Python,
};

/// An incoming edge of a node: an operation on a state (0 and 1 are the cell's inputs, 2 the first node).
/// In JSON `["sep_conv_3x3", 0]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge(pub Operation, pub usize);

/// One cell: for each node its two edges, and the states that are joined into the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellGenotype {
    /// The two edges of each node.
    pub nodes: Vec<[Edge; 2]>,
    /// The joined states.
    pub concat: Vec<usize>,
}

/// A genotype of the DARTS space: a normal and a reduction cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DartsGenotype {
    /// The cell that keeps the resolution.
    pub normal: CellGenotype,
    /// The cell that halves it.
    pub reduce: CellGenotype,
}

impl DartsGenotype {
    /// Reads a genotype in JSON or in the notation of PyTorch's DARTS,
    /// `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], …)`, wherever it stands in
    /// the text.
    ///
    /// # Errors
    /// Says where the text is wrong, or what in the cells cannot be built.
    pub fn parse(text: &str) -> Result<Self, GenotypeError> {
        let text = text::cleaned(text)?;
        match notation::read(&text, None) {
            Some(read) => Ok(read?.value),
            None => Err(text::nothing_in(&text)),
        }
    }

    pub(super) fn validated(self) -> Result<Self, GenotypeError> {
        for (cell, genes) in [("normal", &self.normal), ("reduce", &self.reduce)] {
            genes
                .check()
                .map_err(|reason| GenotypeError::Cell { cell, reason })?;
        }
        Ok(self)
    }

    /// The genotype as JSON, with a line for each node.
    pub fn to_json(&self) -> String {
        let cell = |c: &CellGenotype| {
            let nodes: Vec<String> = c
                .nodes
                .iter()
                .map(|[a, b]| format!("      [[\"{}\", {}], [\"{}\", {}]]", a.0, a.1, b.0, b.1))
                .collect();
            format!(
                "{{\n    \"nodes\": [\n{}\n    ],\n    \"concat\": {:?}\n  }}",
                nodes.join(",\n"),
                c.concat
            )
        };
        format!(
            "{{\n  \"normal\": {},\n  \"reduce\": {}\n}}\n",
            cell(&self.normal),
            cell(&self.reduce)
        )
    }

    /// A genotype drawn uniformly: for each node two different states, and operations other than `none`.
    pub fn random(nodes: usize, rng: &mut impl Rng) -> Self {
        let mut below = |n: usize| crate::rng::below(rng, n);
        let mut cell = || {
            let nodes = 0..nodes;
            CellGenotype::joined(
                nodes
                    .map(|node| {
                        let first = below(node + 2);
                        let second = (first + 1 + below(node + 1)) % (node + 2);
                        [first, second].map(|state| Edge(Operation::ALL[1 + below(7)], state))
                    })
                    .collect(),
            )
        };
        Self {
            normal: cell(),
            reduce: cell(),
        }
    }

    /// The share of operations without weights, in both cells.
    pub fn parameter_free_share(&self) -> f64 {
        let edges = || self.normal.edges().chain(self.reduce.edges());
        let free = edges().filter(|e| e.0.is_parameter_free()).count();
        free as f64 / edges().count() as f64
    }
}

impl CellGenotype {
    /// More nodes than this are refused.
    pub const MOST_NODES: usize = 1000;

    /// A cell whose output joins all nodes.
    pub fn joined(nodes: Vec<[Edge; 2]>) -> Self {
        let concat = (2..2 + nodes.len()).collect();
        Self { nodes, concat }
    }

    /// The same cell, its output joining the last nodes, so many at most.
    pub fn joining(self, last: usize) -> Self {
        let end = 2 + self.nodes.len();
        Self {
            concat: (end.saturating_sub(last).max(2)..end).collect(),
            ..self
        }
    }

    /// All edges, node by node.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.nodes.iter().flatten()
    }

    /// How many edges are skip-connects.
    pub fn skip_connects(&self) -> usize {
        let edges = self.edges();
        edges.filter(|e| e.0 == Operation::SkipConnect).count()
    }

    /// The cell as a graph.
    fn graph(&self, kind: &'static str) -> CellGraph {
        let states = 2..2 + self.nodes.len();
        let into = self.nodes.iter().zip(states.clone());
        let edges = into.flat_map(|(edges, to)| {
            edges.iter().map(move |edge| GraphEdge {
                from: edge.1,
                to,
                operation: edge.0.name(),
            })
        });
        CellGraph {
            kind,
            inputs: &["c_{k-2}", "c_{k-1}"],
            nodes: self.nodes.len(),
            edges: edges.collect(),
            joined: self.concat.clone(),
            mixed: states
                .flat_map(|to| (0..to).map(move |from| (from, to)))
                .collect(),
            operations: Operation::EVERY.map(Operation::name).into(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("it has no node".into());
        }
        if self.nodes.len() > Self::MOST_NODES {
            let (n, most) = (self.nodes.len(), Self::MOST_NODES);
            return Err(format!(
                "it has {n} nodes, and no more than {most} can be built"
            ));
        }
        for (node, edges) in self.nodes.iter().enumerate() {
            for Edge(_, state) in edges {
                if *state >= node + 2 {
                    return Err(format!(
                        "node {node} takes state {state}, but only states 0 to {} come before it",
                        node + 1
                    ));
                }
            }
        }
        if self.concat.is_empty() {
            return Err("it joins no state into its output".into());
        }
        let mut joined = vec![false; 2 + self.nodes.len()];
        for state in &self.concat {
            if *state < 2 || *state >= 2 + self.nodes.len() {
                return Err(format!(
                    "its output joins state {state}, but its nodes are states 2 to {}",
                    1 + self.nodes.len()
                ));
            }
            if std::mem::replace(&mut joined[*state], true) {
                return Err(format!("its output joins state {state} twice"));
            }
        }
        Ok(())
    }
}

impl DartsGenotype {
    /// The genotype as JSON, which is Python too, a line for each cell.
    fn compact(&self) -> String {
        let cell = |genes: &CellGenotype| serde_json::to_string(genes).unwrap_or_default();
        let [normal, reduce] = [cell(&self.normal), cell(&self.reduce)];
        format!("{{\n    \"normal\": {normal},\n    \"reduce\": {reduce},\n}}")
    }
}

impl Architecture for DartsGenotype {
    fn to_json(&self) -> String {
        Self::to_json(self)
    }

    fn skip_connects(&self) -> usize {
        self.normal.skip_connects()
    }

    fn convolutions(&self) -> usize {
        let edges = self.normal.edges();
        edges.filter(|e| !e.0.is_parameter_free()).count()
    }

    fn parameter_free_share(&self) -> f64 {
        Self::parameter_free_share(self)
    }

    fn check_paths(&self) -> Result<(), GenotypeError> {
        Self::check_paths(self)
    }

    fn graphs(&self) -> Vec<CellGraph> {
        vec![self.normal.graph("normal"), self.reduce.graph("reduction")]
    }

    fn recipe(&self) -> &'static str {
        ""
    }

    fn pytorch(&self) -> Python {
        Python {
            constants: format!("GENOTYPE = {}\n", self.compact()),
            network: include_str!("network.py"),
        }
    }

    fn network(&self, shape: &DerivedShape) -> Result<Box<dyn DerivedNetwork>, NetworkError> {
        Ok(Box::new(Derived::new(self, shape)?))
    }
}

impl fmt::Display for DartsGenotype {
    /// The notation of PyTorch's DARTS.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let genes = |cell: &CellGenotype| {
            let edges: Vec<String> = cell
                .edges()
                .map(|Edge(operation, state)| format!("('{operation}', {state})"))
                .collect();
            edges.join(", ")
        };
        let (n, r) = (&self.normal, &self.reduce);
        write!(
            f,
            "Genotype(normal=[{}], normal_concat={:?}, reduce=[{}], reduce_concat={:?})",
            genes(n),
            n.concat,
            genes(r),
            r.concat
        )
    }
}

/// The number of nodes that this many edges belong to, where there is one.
pub(super) fn nodes_of(edges: usize) -> Option<usize> {
    (1..=edges).find(|nodes| edge_count(*nodes) == edges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const DARTS_V2: &str = "DARTS_V2 = Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), \
        ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), \
        ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], \
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
        ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), \
        ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])";

    #[test]
    fn the_published_darts_v2_is_read() {
        let genotype = DartsGenotype::parse(DARTS_V2).unwrap();
        assert_eq!(genotype.normal.skip_connects(), 2);
        assert_eq!(genotype.reduce.nodes[3][1], Edge(Operation::MaxPool3x3, 1));
        assert_eq!(format!("DARTS_V2 = {genotype}"), DARTS_V2);
    }

    #[test]
    fn tolerant_spellings_mean_the_same() {
        let plain = "Genotype(normal=[('skip_connect',0),('none_',1)],reduce=[])";
        assert!(DartsGenotype::parse(plain).is_err());
        let text = "# found today\nGenotype(\n  reduce = ((\"skip_connect\", 1), ['avg_pool_3x3', 0],),\n  \
            reduce_concat = range(2, 3), normal = [('sep_conv_5x5', 0), ('skip_connect', 1)] # no concat\n)";
        let genotype = DartsGenotype::parse(text).unwrap();
        assert_eq!(genotype.normal.concat, [2]);
        assert_eq!(genotype.reduce.nodes[0][1], Edge(Operation::AvgPool3x3, 0));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let refused = |text: &str| DartsGenotype::parse(text).unwrap_err().to_string();
        let unknown =
            refused("Genotype(normal=[('sep_conv_7x7', 0), ('skip_connect', 1)], reduce=[])");
        assert!(
            unknown.contains("line 1, column 19") && unknown.contains("sep_conv_7x7"),
            "{unknown}"
        );
        let odd = refused("Genotype(normal=[('skip_connect', 0)], reduce=[])");
        assert!(odd.contains("two edges"), "{odd}");
        let late = DARTS_V2.replacen("('sep_conv_3x3', 1)", "('sep_conv_3x3', 2)", 1);
        assert!(
            refused(&late).contains("node 0 takes state 2"),
            "{}",
            refused(&late)
        );
        let concat = |states: &str| {
            let text = format!("normal_concat={states}");
            refused(&DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", &text))
        };
        assert!(concat("[2, 6]").contains("joins state 6"));
        assert!(concat("[2, 3, 2]").contains("joins state 2 twice"));
        assert!(refused("{\"normal\": 3}").contains("line 1, column 12: `[` or `(`"));
        assert!(refused("").contains("Genotype("));
    }

    proptest! {
        #[test]
        fn both_forms_read_back(nodes in 1usize..6, seed: u64) {
            let genotype = DartsGenotype::random(nodes, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert_eq!(&DartsGenotype::parse(&genotype.to_string()).unwrap(), &genotype);
            prop_assert_eq!(&DartsGenotype::parse(&genotype.to_json()).unwrap(), &genotype);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*", at in 0usize..400, cut in 0usize..40) {
            let _ = DartsGenotype::parse(&text);
            let mut broken = DARTS_V2.to_string();
            let start = at.min(broken.len());
            let end = (start + cut).min(broken.len());
            broken.replace_range(start..end, &text);
            let _ = DartsGenotype::parse(&broken);
        }
    }
}
