//! One cell of the DARTS supernet: the unit of computation.
//!
//! [`Cell::forward`] computes a cell from ordinary tensor operations that run on every device; [`Cell::emit`]
//! adds the same cell to a graph for the CPU's kernels.

use lease_kernels::graph::{Id, Normalise, Term, Window};

use super::operation::Operation;
use super::{CellKind, edge_index};
use crate::network::kernels::Emitter;
use crate::network::layers::{
    BatchNorm, Builder, FactorizedReduce, Pass, ReluConvBn, Separable, Square,
};
use crate::network::noise::Noise;
use crate::network::{DropPath, Dual, NetworkError};
use crate::space::partial::PartialChannels;

/// How a cell is built.
#[derive(Clone, Copy, Debug)]
pub struct CellShape {
    /// Intermediate nodes.
    pub nodes: usize,
    /// Channels of the cell before the last one, of the last one, and of this cell's nodes.
    pub channels: [usize; 3],
    /// Normal or reduction.
    pub kind: CellKind,
    /// Whether the last cell was a reduction, so that the one before has twice the resolution.
    pub after_reduction: bool,
    /// One channel in so many passes the mixed operations, the others pass them by (PC-DARTS, arXiv
    /// 1907.05737); 1 means all. It divides the channels.
    pub partial: usize,
    /// Whether images lose what identities carry with some probability (P-DARTS, arXiv 1904.12760).
    pub drop_skips: bool,
    /// How many of the last nodes the output joins.
    pub joined: usize,
    /// Whether every edge has a skip-connect beside its mixture.
    pub edge_skips: bool,
}

/// How the first input is brought to the cell's channels (and resolution).
#[derive(Clone, Debug)]
pub(super) enum Preprocess {
    Project(Box<ReluConvBn>),
    Reduce(Box<FactorizedReduce>),
}

impl Preprocess {
    pub(super) fn new(
        builder: &mut Builder,
        name: &str,
        input: usize,
        output: usize,
        reduce: bool,
        affine: bool,
    ) -> Self {
        if reduce {
            Self::Reduce(Box::new(
                builder.factorized_reduce(name, input, output, affine),
            ))
        } else {
            let channels = [input, output];
            let kernel = Square::new(1, 1);
            Self::Project(Box::new(
                builder.relu_conv_bn(name, channels, kernel, affine),
            ))
        }
    }

    /// Adds it to a graph, as a state.
    pub(super) fn emit(&self, e: &mut Emitter, sources: &[Id]) -> Id {
        let term = match self {
            Self::Project(layer) => layer.emit(e, sources),
            Self::Reduce(layer) => layer.emit(e, sources),
        };
        e.graph.state(vec![term], false)
    }

    pub(super) fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        match self {
            Self::Project(layer) => layer.forward(pass, x),
            Self::Reduce(layer) => layer.forward(pass, x),
        }
    }
}

/// The kernels of the four convolutional operations: one for each depthwise convolution.
pub(super) fn kernels(operation: Operation, stride: usize) -> Option<Vec<Square>> {
    let separable = |size| vec![Square::new(size, stride), Square::new(size, 1)];
    let dilated = |size| {
        vec![Square {
            size,
            stride,
            dilation: 2,
        }]
    };
    match operation {
        Operation::SepConv3x3 => Some(separable(3)),
        Operation::SepConv5x5 => Some(separable(5)),
        Operation::DilConv3x3 => Some(dilated(3)),
        Operation::DilConv5x5 => Some(dilated(5)),
        _ => None,
    }
}

/// A candidate on a mixed edge. Pools and plain skip-connects have no weights and depend on the state alone, so they
/// are computed once for all edges out of it.
#[derive(Clone, Debug)]
enum Candidate {
    None,
    MaxPool,
    AvgPool,
    Skip(Option<Box<FactorizedReduce>>),
    Separable(Separable),
    Noise(Noise),
}

/// A supernet cell: every edge a mixture of all candidates.
#[derive(Clone, Debug)]
pub struct Cell {
    preprocess0: Preprocess,
    preprocess1: Preprocess,
    kind: CellKind,
    nodes: usize,
    edges: Vec<Vec<Candidate>>,
    /// What is beside each edge's mixture, if anything is.
    beside: Vec<Candidate>,
    joined: usize,
    pool_norm: BatchNorm,
    partial: PartialChannels,
    drop_skips: bool,
}

/// What all edges out of a state share.
struct State {
    /// The channels that pass the edges by, at the resolution after them.
    bypass: Option<Dual<4>>,
    value: Dual<4>,
    rectified: Dual<4>,
    max_pool: Dual<4>,
    avg_pool: Dual<4>,
}

impl Cell {
    /// Adds a cell's weights under `name`, such as `cells.3`, with these candidates on its edges.
    ///
    /// # Errors
    /// If the channels cannot be split.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        shape: &CellShape,
        candidates: &[Vec<Operation>],
    ) -> Result<Self, NetworkError> {
        let [before, last, channels] = shape.channels;
        let preprocess0 = Preprocess::new(
            builder,
            &format!("{name}.preprocess0"),
            before,
            channels,
            shape.after_reduction,
            false,
        );
        let preprocess1 = Preprocess::new(
            builder,
            &format!("{name}.preprocess1"),
            last,
            channels,
            false,
            false,
        );
        let partial = PartialChannels::new(channels, shape.partial)?;
        let mixed = partial.mixed();
        let (mut edges, mut beside) = (Vec::new(), Vec::new());
        for node in 0..shape.nodes {
            for from in 0..2 + node {
                let stride = stride(shape.kind, from);
                let skip = |builder: &mut Builder, name: &str| {
                    let reduce = |b: &mut Builder| b.factorized_reduce(name, mixed, mixed, false);
                    Candidate::Skip((stride == 2).then(|| Box::new(reduce(builder))))
                };
                let edge = format!("{name}._ops.{}", edges.len());
                if shape.edge_skips {
                    beside.push(skip(builder, &format!("{edge}.aux_skip")));
                }
                let name = format!("{edge}._ops");
                let candidates = candidates[edges.len()].iter().enumerate();
                let edge = candidates.map(|(k, operation)| {
                    let name = format!("{name}.{k}");
                    if let Some(kernels) = kernels(*operation, stride) {
                        let op = builder.separable(&name, mixed, &kernels, false);
                        return Candidate::Separable(op);
                    }
                    match operation {
                        Operation::MaxPool3x3 => Candidate::MaxPool,
                        Operation::AvgPool3x3 => Candidate::AvgPool,
                        Operation::SkipConnect => skip(builder, &name),
                        Operation::Noise => Candidate::Noise(Noise::new(builder, stride)),
                        _ => Candidate::None,
                    }
                });
                edges.push(edge.collect());
            }
        }
        Ok(Self {
            preprocess0,
            preprocess1,
            kind: shape.kind,
            nodes: shape.nodes,
            edges,
            beside,
            joined: shape.joined,
            pool_norm: builder.batch_norm(&format!("{name}.pool_norm"), mixed, false),
            partial,
            drop_skips: shape.drop_skips,
        })
    }

    /// Computes the cell from the outputs of the two cells before it.
    ///
    /// `mixture[edge][candidate]` are the mixing coefficients, each `[1, 1, 1, 1]`, and `strengths[edge]` those
    /// of whole edges, if there are any; `drop` drops what skip-connects carry. The result joins the last nodes' states: `[batch, joined · channels, h, w]`,
    /// half the height and width (rounded up) in a reduction cell.
    pub fn forward(
        &self,
        pass: &Pass,
        s0: Dual<4>,
        s1: Dual<4>,
        mixture: &[Vec<Dual<4>>],
        strengths: Option<&[Dual<4>]>,
        drop: Option<&DropPath>,
    ) -> Dual<4> {
        let mut states = vec![
            self.state(pass, 0, self.preprocess0.forward(pass, s0)),
            self.state(pass, 1, self.preprocess1.forward(pass, s1)),
        ];
        let mut outputs = Vec::with_capacity(self.nodes);
        for node in 0..self.nodes {
            let mut total: Option<Dual<4>> = None;
            for (from, state) in states.iter().enumerate() {
                let edge = edge_index(node, from);
                let sum = |total: Option<Dual<4>>, term| match total {
                    Some(sum) => Some(sum + term),
                    None => Some(term),
                };
                let candidates = (&self.edges[edge][..], self.beside.get(edge));
                let terms = terms(pass, candidates, state, &mixture[edge], drop);
                let Some(bypass) = &state.bypass else {
                    total = terms.into_iter().fold(total, sum);
                    continue;
                };
                let Some(mixed) = terms.into_iter().reduce(|a, b| a + b) else {
                    continue;
                };
                let whole = self.partial.joined(mixed, bypass.clone());
                total = sum(
                    total,
                    match strengths {
                        Some(strengths) => whole * strengths[edge].clone(),
                        None => whole,
                    },
                );
            }
            let Some(output) = total else { continue };
            outputs.push(output.clone());
            if node + 1 < self.nodes {
                states.push(self.state(pass, node + 2, output));
            }
        }
        let first = outputs.len().saturating_sub(self.joined);
        Dual::cat(outputs.split_off(first), 1)
    }

    /// Adds the cell to a graph; the inputs are the states that the two cells before it join, the result
    /// those that this one joins. Edge e's k-th of n candidates is multiplied by coefficient `first + e · n + k`, the
    /// whole edge by `strengths + e` in a cell with partial channels.
    pub fn emit(
        &self,
        e: &mut Emitter,
        [s0, s1]: [&[Id]; 2],
        (first, strengths): (usize, usize),
    ) -> Vec<Id> {
        let mut states = vec![self.preprocess0.emit(e, s0), self.preprocess1.emit(e, s1)];
        let mut pools: Vec<[Option<Term>; 2]> = Vec::new();
        let mut parts: Vec<(Id, Option<Id>)> = Vec::new();
        for node in 0..self.nodes {
            let mut terms = Vec::new();
            for from in 0..node + 2 {
                if parts.len() == from {
                    let stride = stride(self.kind, from);
                    parts.push(self.partial.emit_split(e, states[from], stride));
                }
                let (state, bypass) = parts[from];
                if pools.len() == from {
                    pools.push([None, None]);
                }
                let window = Window::three(stride(self.kind, from));
                let [max, avg] = &mut pools[from];
                let index = edge_index(node, from);
                let edge = &self.edges[index];
                let mut edge_terms = Vec::new();
                let beside = self.beside.get(index).map(|skip| (None, skip));
                let candidates = edge.iter().enumerate().map(|(k, c)| (Some(k), c));
                for (k, candidate) in candidates.chain(beside) {
                    let term = match candidate {
                        Candidate::None => continue,
                        Candidate::MaxPool => *max.get_or_insert_with(|| {
                            let pool = e.graph.max_pool(state, window);
                            self.pool_norm.emit(e, pool)
                        }),
                        Candidate::AvgPool => *avg.get_or_insert_with(|| {
                            let pool = e.graph.avg_pool(state, window);
                            self.pool_norm.emit(e, pool)
                        }),
                        Candidate::Skip(reduce) => Term {
                            drop: (self.drop_skips && reduce.is_none()).then(|| e.drop()),
                            ..match reduce {
                                Some(reduce) => reduce.emit(e, &[state]),
                                None => Term::new(state, Normalise::Not),
                            }
                        },
                        Candidate::Separable(op) => op.emit(e, state),
                        Candidate::Noise(noise) => noise.emit(e, state),
                    };
                    edge_terms.push(match k {
                        Some(k) => term.times(first + index * edge.len() + k),
                        None => term,
                    });
                }
                let Some(bypass) = bypass else {
                    terms.extend(edge_terms);
                    continue;
                };
                if !edge_terms.is_empty() {
                    let whole = self.partial.emit_joined(e, edge_terms, bypass);
                    terms.push(whole.times(strengths + index));
                }
            }
            states.push(e.graph.state(terms, false));
        }
        states.split_off(2 + self.nodes - self.joined)
    }

    fn state(&self, pass: &Pass, index: usize, whole: Dual<4>) -> State {
        let stride = stride(self.kind, index);
        let (value, bypass) = self.partial.split(whole, stride);
        let pooled = |x| self.pool_norm.forward(pass, x);
        State {
            bypass,
            rectified: value.clone().relu(),
            max_pool: pooled(value.clone().max_pool_3x3(stride)),
            avg_pool: pooled(value.clone().avg_pool_3x3(stride)),
            value,
        }
    }
}

/// Edges out of a reduction cell's inputs halve the resolution; all others keep it.
pub(super) fn stride(kind: CellKind, from: usize) -> usize {
    if kind == CellKind::Reduction && from < 2 {
        2
    } else {
        1
    }
}

/// An edge's weighted candidates, and what is beside them; `none` contributes nothing.
fn terms(
    pass: &Pass,
    (edge, beside): (&[Candidate], Option<&Candidate>),
    state: &State,
    mixture: &[Dual<4>],
    drop: Option<&DropPath>,
) -> Vec<Dual<4>> {
    let output = |candidate: &Candidate| {
        Some(match candidate {
            Candidate::None => return None,
            Candidate::MaxPool => state.max_pool.clone(),
            Candidate::AvgPool => state.avg_pool.clone(),
            Candidate::Skip(reduce) => match (reduce, drop) {
                (Some(reduce), _) => reduce.forward_rectified(pass, state.rectified.clone()),
                (None, Some(drop)) => drop.apply(state.value.clone()),
                (None, None) => state.value.clone(),
            },
            Candidate::Separable(op) => op.forward_rectified(pass, state.rectified.clone()),
            Candidate::Noise(noise) => noise.forward(pass, &state.value),
        })
    };
    let weighted = edge.iter().zip(mixture);
    let weighted = weighted.filter_map(|(c, weight)| Some(output(c)? * weight.clone()));
    let mut terms: Vec<Dual<4>> = weighted.collect();
    terms.extend(beside.and_then(output));
    terms
}
