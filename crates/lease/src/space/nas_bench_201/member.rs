//! What networks of NAS-Bench-201 are a row of: cells, and the residual blocks between stages.

use lease_kernels::graph::{Id, Normalise, Term, Window};

use super::cell::{Cell, EDGES, NODES, Operation, edge_index};
use crate::network::kernels::{Emitter, ZERO};
use crate::network::layers::{Builder, Conv, Pass, ReluConvBn, Square};
use crate::network::{DropPath, Dual, NetworkError};
use crate::space::partial::PartialChannels;

/// One candidate on an edge.
#[derive(Clone, Debug)]
enum Layer {
    None,
    Identity,
    Conv(Box<ReluConvBn>),
    AvgPool,
}

/// A cell of a supernet, or of a derived network.
#[derive(Clone, Debug)]
pub(super) struct Edges {
    /// The candidates of each edge.
    layers: Vec<Vec<Layer>>,
    partial: PartialChannels,
}

/// The residual block between two stages.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first: ReluConvBn,
    second: ReluConvBn,
    shortcut: Conv,
}

#[derive(Clone, Debug)]
pub(super) enum Member {
    Cell(Edges),
    Block(Box<Block>),
}

/// A supernet cell's mixture.
#[derive(Clone)]
pub(super) struct Mixed {
    /// `[edges, operations]`.
    pub weights: Dual<2>,
    /// The strengths of edges, `[edges]`, with partial channels.
    pub strengths: Option<Dual<1>>,
}

impl Edges {
    /// Adds a cell's weights: of all operations on every edge, one channel in `one_in` of which pass them, or of this cell's.
    ///
    /// # Errors
    /// If the channels cannot be split.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        (channels, one_in): (usize, usize),
        cell: Option<&Cell>,
    ) -> Result<Self, NetworkError> {
        let partial = PartialChannels::new(channels, one_in)?;
        let mut layers = Vec::with_capacity(EDGES);
        for node in 1..=NODES {
            for from in 0..node {
                let index = edge_index(node, from);
                let mut layer = |operation: Operation, name: String| match operation {
                    Operation::None => Layer::None,
                    Operation::SkipConnect => Layer::Identity,
                    Operation::AvgPool3x3 => Layer::AvgPool,
                    Operation::Conv1x1 | Operation::Conv3x3 => {
                        let size = operation.kernel().unwrap_or(1);
                        let (square, affine) = (Square::new(size, 1), cell.is_some());
                        let channels = [partial.mixed(); 2];
                        Layer::Conv(Box::new(
                            builder.relu_conv_bn(&name, channels, square, affine),
                        ))
                    }
                };
                layers.push(match cell {
                    Some(cell) => vec![layer(cell.0[index], format!("{name}.layers.{index}"))],
                    None => Operation::ALL
                        .map(|o| layer(o, format!("{name}.edges.{node}<-{from}.{}", o as usize)))
                        .into(),
                });
            }
        }
        Ok(Self { layers, partial })
    }

    /// Adds the cell to a graph; in a supernet edge e's operation k is multiplied by coefficient `mixed` + 5 e + k, and with
    /// partial channels the whole edge by the one that is e after the last of these.
    pub fn emit(&self, e: &mut Emitter, input: Id, mixed: Option<usize>) -> Id {
        let mut states = vec![input];
        let mut parts: Vec<(Id, Option<Id>)> = Vec::new();
        let mut pools = Vec::new();
        for node in 1..=NODES {
            let mut terms = Vec::new();
            for from in 0..node {
                if parts.len() == from {
                    parts.push(self.partial.emit_split(e, states[from], 1));
                    pools.push(None);
                }
                let ((state, bypass), edge) = (parts[from], edge_index(node, from));
                let mut edge_terms = Vec::new();
                for (k, layer) in self.layers[edge].iter().enumerate() {
                    let term = match layer {
                        Layer::None => continue,
                        Layer::Identity => Term::new(state, Normalise::Not),
                        Layer::Conv(layer) => layer.emit(e, &[state]),
                        Layer::AvgPool => {
                            // One pool serves all edges out of a state.
                            let pool = *pools[from]
                                .get_or_insert_with(|| e.graph.avg_pool(state, Window::three(1)));
                            Term::new(pool, Normalise::Not)
                        }
                    };
                    edge_terms.push(if let Some(first) = mixed {
                        term.times(first + edge * Operation::ALL.len() + k)
                    } else if matches!(layer, Layer::Identity) {
                        term
                    } else {
                        Term {
                            drop: Some(e.drop()),
                            ..term
                        }
                    });
                }
                match (bypass, mixed) {
                    (Some(bypass), Some(first)) => {
                        let strength = first + EDGES * Operation::ALL.len() + edge;
                        let whole = self.partial.emit_joined(e, edge_terms, bypass);
                        terms.push(whole.times(strength));
                    }
                    _ => terms.extend(edge_terms),
                }
            }
            if terms.is_empty() {
                // A node that nothing reaches is zero.
                terms.push(Term::new(input, Normalise::Not).times(ZERO));
            }
            states.push(e.graph.state(terms, false));
        }
        states[NODES]
    }

    /// `[batch, channels, h, w]`, of a supernet by its mixture.
    pub fn forward(
        &self,
        pass: &Pass,
        input: Dual<4>,
        mixture: Option<&Mixed>,
        drop: Option<&DropPath>,
    ) -> Dual<4> {
        let mut states = vec![input];
        for node in 1..=NODES {
            let mut total: Option<Dual<4>> = None;
            for (from, state) in states.iter().enumerate() {
                let edge = edge_index(node, from);
                let (value, bypass) = self.partial.split(state.clone(), 1);
                let all = self.layers[edge]
                    .iter()
                    .enumerate()
                    .filter_map(|(k, layer)| {
                        let x = value.clone();
                        let y = match layer {
                            Layer::None => return None,
                            Layer::Identity => x,
                            Layer::Conv(layer) => layer.forward(pass, x),
                            Layer::AvgPool => x.avg_pool_3x3(1),
                        };
                        Some(match (mixture, drop) {
                            (Some(mixture), _) => y * mixture.weight(edge, k),
                            (None, Some(drop)) if !matches!(layer, Layer::Identity) => {
                                drop.apply(y)
                            }
                            _ => y,
                        })
                    });
                let sum = |total: Option<Dual<4>>, y| match total {
                    Some(sum) => Some(sum + y),
                    None => Some(y),
                };
                let Some(bypass) = bypass else {
                    total = all.fold(total, sum);
                    continue;
                };
                let Some(mixed) = all.reduce(|a, b| a + b) else {
                    continue;
                };
                let whole = self.partial.joined(mixed, bypass);
                let strength = mixture.and_then(|m| m.strength(edge));
                total = sum(
                    total,
                    match strength {
                        Some(strength) => whole * strength,
                        None => whole,
                    },
                );
            }
            let nothing = || states[0].clone().linear(|t| t.mul_scalar(0.0));
            states.push(total.unwrap_or_else(nothing));
        }
        states.swap_remove(NODES)
    }
}

impl Mixed {
    /// One operation's weight, `[1, 1, 1, 1]`.
    fn weight(&self, edge: usize, k: usize) -> Dual<4> {
        let weights = self.weights.clone();
        weights.linear(|t| t.slice([edge..edge + 1, k..k + 1]).reshape([1, 1, 1, 1]))
    }

    /// One edge's strength, `[1, 1, 1, 1]`.
    fn strength(&self, edge: usize) -> Option<Dual<4>> {
        let strengths = self.strengths.clone()?;
        Some(strengths.linear(|t| t.narrow(0, edge, 1).reshape([1, 1, 1, 1])))
    }

    /// All coefficients in the order of [`Edges::emit`].
    pub fn flat(self) -> Vec<Dual<1>> {
        let weights = self.weights;
        let weights = weights.linear(|t| t.reshape([EDGES * Operation::ALL.len()]));
        [Some(weights), self.strengths]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Block {
    /// Adds a block's weights, from these channels to twice as many.
    pub fn new(builder: &mut Builder, name: &str, channels: usize) -> Self {
        let mut conv = |part: &str, input, stride| {
            let name = format!("{name}.{part}");
            builder.relu_conv_bn(&name, [input, 2 * channels], Square::new(3, stride), true)
        };
        Self {
            first: conv("conv_a", channels, 2),
            second: conv("conv_b", 2 * channels, 1),
            shortcut: builder.conv(
                &format!("{name}.downsample.1"),
                channels,
                2 * channels,
                Square::new(1, 1),
            ),
        }
    }

    /// Adds it to a graph.
    pub fn emit(&self, e: &mut Emitter, state: Id) -> Id {
        let first = self.first.emit(e, &[state]);
        let hidden = e.graph.passing(first);
        let second = self.second.emit(e, &[hidden]);
        let halved = e.graph.avg_pool(state, Window::two());
        let halved = e.graph.passing(Term::new(halved, Normalise::Not));
        let shortcut = self.shortcut.emit(e, &[halved], false);
        let terms = vec![second, Term::new(shortcut, Normalise::Not)];
        e.graph.state(terms, false)
    }

    /// `[batch, channels, h, w]` to `[batch, 2 · channels, h / 2, w / 2]`.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        let y = self.first.forward(pass, x.clone());
        let y = self.second.forward(pass, y);
        y + self.shortcut.forward(pass, x.avg_pool(2, 2, 0))
    }
}
