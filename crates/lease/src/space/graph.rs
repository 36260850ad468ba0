//! What a cell looks like, for whoever draws it: states, and operations on the edges between them.

/// An edge of a derived cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphEdge {
    /// The state that it comes from.
    pub from: usize,
    /// The state that it goes to.
    pub to: usize,
    /// The name of its operation.
    pub operation: &'static str,
}

/// A derived cell as a graph of states, and the supernet's cell that it is derived from. States are counted from 0: the
/// inputs, then the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellGraph {
    /// The kind, as in [`Mixture`](super::Mixture).
    pub kind: &'static str,
    /// What the inputs are called.
    pub inputs: &'static [&'static str],
    /// Nodes beside the inputs.
    pub nodes: usize,
    /// The edges that were chosen.
    pub edges: Vec<GraphEdge>,
    /// The states that are joined into the output; where there are none, the last node is the output.
    pub joined: Vec<usize>,
    /// All edges of the supernet's cell, from and to, in the order of a mixture's rows.
    pub mixed: Vec<(usize, usize)>,
    /// The names of the candidates, in the order of a mixture's columns.
    pub operations: Vec<&'static str>,
}

impl CellGraph {
    /// All states.
    pub fn states(&self) -> usize {
        self.inputs.len() + self.nodes
    }

    /// What a state is called: an input's name, or a node's number from 0.
    pub fn name(&self, state: usize) -> String {
        match state.checked_sub(self.inputs.len()) {
            None => self.inputs[state].into(),
            Some(node) if self.joined.is_empty() && node + 1 == self.nodes => "out".into(),
            Some(node) => node.to_string(),
        }
    }

    /// The row of a mixture that an edge belongs to.
    pub fn row(&self, from: usize, to: usize) -> Option<usize> {
        self.mixed.iter().position(|edge| *edge == (from, to))
    }
}
