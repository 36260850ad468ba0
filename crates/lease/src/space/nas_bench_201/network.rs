//! Networks of NAS-Bench-201: a stem, three stages of equal cells, and between them residual blocks that halve the
//! resolution and double the channels. The same [`Network`] with all operations on every edge is the supernet, and
//! with one on each a derived network.

use std::sync::Arc;

use burn::tensor::Tensor;
use lease_kernels::graph::{Id, Normalise, Term, Window};

use super::cell::{Cell, EDGES, NODES, Operation, edge_index};
use crate::network::kernels::{Compiled, Emitter, Mode, ZERO, only_means};
use crate::network::layers::{BatchNorm, Builder, Conv, LinearLayer, Pass, ReluConvBn, Square};
use crate::network::{
    DropPath, Dual, Init, Kernels, Layout, Leaves, NetworkError, Slot, Vector, halved_twice,
};
use crate::space::mixing::Choice;
use crate::space::{
    Coefficients, DerivedNetwork, Explainer, Genotype, GenotypeError, Mixing, Mixture,
};

/// The size of a network of this space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Channels of the first stage (the benchmark: 16).
    pub channels: usize,
    /// Cells of each of the three stages (the benchmark: 5).
    pub cells: usize,
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of the images.
    pub image: [usize; 3],
}

/// One candidate on an edge.
#[derive(Clone, Debug)]
enum Layer {
    None,
    Identity,
    Conv(Box<ReluConvBn>),
    AvgPool,
}

/// The residual block between two stages.
#[derive(Clone, Debug)]
struct Block {
    first: ReluConvBn,
    second: ReluConvBn,
    shortcut: Conv,
}

#[derive(Clone, Debug)]
enum Member {
    /// The candidates of each edge.
    Cell(Vec<Vec<Layer>>),
    Block(Box<Block>),
}

/// A supernet or a derived network.
#[derive(Clone, Debug)]
pub struct Network {
    weights: Arc<Layout>,
    running: Arc<Layout>,
    architecture: Arc<Layout>,
    alphas: Slot<2>,
    stem: (Conv, BatchNorm),
    members: Vec<Member>,
    last: BatchNorm,
    classifier: LinearLayer,
    kernels: Kernels,
    compiled: Compiled,
    /// What can be derived.
    choices: &'static [Operation],
    mixing: Mixing,
    /// The coefficients of each cell, where cells do not share them.
    untied: Option<Vec<Slot<2>>>,
}

/// The stages double the channels and halve the resolution between them.
const STAGES: usize = 3;

impl Network {
    /// The supernet: all operations on every edge, their batch norms without scale and shift.
    ///
    /// # Errors
    /// If a number is 0, or the resolution cannot be halved twice.
    pub fn supernet(shape: &Shape) -> Result<Self, NetworkError> {
        Self::new(shape, None)
    }

    /// The network that all its cells are this one.
    ///
    /// # Errors
    /// As [`Network::supernet`].
    pub fn derived(cell: &Cell, shape: &Shape) -> Result<Self, NetworkError> {
        Self::new(shape, Some(cell))
    }

    fn new(shape: &Shape, cell: Option<&Cell>) -> Result<Self, NetworkError> {
        let [image_channels, ..] = shape.image;
        for (what, n) in [
            ("channels", shape.channels),
            ("cells", shape.cells),
            ("classes", shape.classes),
            ("image channels", image_channels),
        ] {
            if n == 0 {
                return Err(NetworkError::Zero { what });
            }
        }
        halved_twice("NAS-Bench-201", shape.image)?;
        let mut builder = Builder {
            keep_running: cell.is_some(),
            ..Builder::default()
        };
        let b = &mut builder;
        let stem = (
            b.conv("stem.0", image_channels, shape.channels, Square::new(3, 1)),
            b.batch_norm("stem.1", shape.channels, true),
        );
        let mut members = Vec::new();
        let mut channels = shape.channels;
        for stage in 0..STAGES {
            if stage > 0 {
                let name = format!("cells.{}", members.len());
                members.push(Member::Block(Box::new(Block::new(b, &name, channels))));
                channels *= 2;
            }
            for _ in 0..shape.cells {
                let name = format!("cells.{}", members.len());
                members.push(Member::cell(b, &name, channels, cell));
            }
        }
        let last = b.batch_norm("lastact.0", channels, true);
        let classifier = b.linear("classifier", channels, shape.classes);
        let mut architecture = Layout::default();
        let rows = [EDGES, Operation::ALL.len()];
        let alphas = architecture.push("arch_parameters", rows, Init::Normal(1e-3));
        let (mut e, input) = Emitter::new(image_channels);
        let z = stem.0.emit(&mut e, &[input], false);
        let term = stem.1.emit(&mut e, z);
        let mut state = e.graph.state(vec![term], false);
        let mut first = 0;
        for member in &members {
            state = match member {
                Member::Cell(edges) => {
                    let mixed = cell.is_none().then_some(first);
                    first += EDGES * Operation::ALL.len();
                    emit_cell(&mut e, edges, state, mixed)
                }
                Member::Block(block) => block.emit(&mut e, state),
            };
        }
        let term = last.emit(&mut e, state);
        let state = e.graph.state(vec![term], true);
        e.graph.output_means(&[state]);
        Ok(Self {
            compiled: e.finish(),
            weights: Arc::new(builder.weights),
            running: Arc::new(builder.running),
            architecture: Arc::new(architecture),
            alphas,
            stem,
            members,
            last,
            classifier,
            kernels: Kernels::default(),
            choices: Operation::choices(true),
            mixing: Mixing::default(),
            untied: None,
        })
    }

    /// The same supernet, from which cells of these operations are derived; at least one.
    pub fn choosing(self, choices: &'static [Operation]) -> Self {
        Self { choices, ..self }
    }

    /// The same network, computed in this way.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// How many cells there are.
    fn cells(&self) -> usize {
        let cells = self.members.iter();
        cells.filter(|m| matches!(m, Member::Cell(_))).count()
    }

    fn derived_cell(&self, architecture: &Vector) -> Result<Cell, GenotypeError> {
        let [mixture] = &self.mixtures(architecture)[..] else {
            unreachable!("one kind of cell");
        };
        Cell::derive(&mixture.rows, self.choices)
    }

    fn logits(
        &self,
        pass: &Pass,
        images: Dual<4>,
        mixtures: Option<Vec<Dual<2>>>,
        drop: Option<&DropPath>,
    ) -> Dual<2> {
        if self.kernels.serve(&images.value) {
            let mode = Mode {
                statistics: pass.statistics,
                drop,
            };
            let flat = mixtures.map(|cells| {
                let of = |m: Dual<2>| m.linear(|t| t.reshape([EDGES * Operation::ALL.len()]));
                Dual::cat(cells.into_iter().map(of).collect(), 0)
            });
            let means = self.compiled.forward(images, pass.weights, flat, &mode);
            return self.classifier.forward(pass, only_means(means));
        }
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(pass, conv.forward(pass, images));
        let mut mixtures = mixtures.map(Vec::into_iter);
        for member in &self.members {
            x = match member {
                Member::Cell(edges) => {
                    let mixture = mixtures.as_mut().and_then(Iterator::next);
                    cell_forward(pass, edges, x, mixture.as_ref(), drop)
                }
                Member::Block(block) => block.forward(pass, x),
            };
        }
        let x = self.last.forward(pass, x).relu();
        self.classifier.forward(pass, x.global_mean())
    }
}

impl Explainer for Network {
    fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    fn architecture(&self) -> &Arc<Layout> {
        &self.architecture
    }

    fn coefficients(&self) -> Vec<Coefficients> {
        let one = std::slice::from_ref(&self.alphas);
        let slots = self.untied.as_deref().unwrap_or(one);
        let of = |slot: &Slot<2>| Coefficients {
            kind: "cell",
            slot: slot.clone(),
            skips: vec![Some(Operation::SkipConnect as usize); EDGES],
            derivable: vec![self.choices.iter().map(|o| *o as usize).collect(); EDGES],
            nodes: Vec::new(),
        };
        slots.iter().map(of).collect()
    }

    fn untied(&self) -> Arc<dyn Explainer> {
        let mut architecture = Layout::default();
        let slots = (0..self.cells()).map(|cell| {
            let name = format!("cells.{cell}");
            architecture.push(name, self.alphas.shape(), Init::Zeros)
        });
        Arc::new(Self {
            untied: Some(slots.collect()),
            architecture: Arc::new(architecture),
            mixing: Mixing::direct(),
            ..self.clone()
        })
    }

    fn choice(&self, architecture: &Vector) -> Result<Choice, GenotypeError> {
        let cell = self.derived_cell(architecture)?;
        Ok(vec![cell.0.iter().map(|o| Some(*o as usize)).collect()])
    }

    /// Such as `cells.0.edges.2<-1.3`.
    fn operation_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let edge = name.find(".edges.")? + ".edges.".len();
        let mut dots = name[edge..].match_indices('.').map(|(at, _)| edge + at);
        let end = dots.nth(1).unwrap_or(name.len());
        Some(&name[..end])
    }

    fn mixing(&self) -> &Mixing {
        &self.mixing
    }

    fn with_mixing(&self, mixing: Mixing) -> Arc<dyn Explainer> {
        Arc::new(Self {
            mixing,
            ..self.clone()
        })
    }

    fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2> {
        let parts = self.coefficients();
        let mixtures = parts.iter().map(|of| self.mixing.weights(architecture, of));
        let mut mixtures: Vec<Dual<2>> = mixtures.collect();
        if self.untied.is_none() {
            mixtures = vec![mixtures[0].clone(); self.cells()];
        }
        self.logits(&Pass::new(weights), images, Some(mixtures), None)
    }

    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    fn mixtures(&self, architecture: &Vector) -> Vec<Mixture> {
        let alphas = architecture.to_f64();
        vec![Mixture {
            kind: "cell",
            rows: alphas
                .chunks(Operation::ALL.len())
                .map(|row| self.mixing.expected(row))
                .collect(),
        }]
    }

    fn derive(&self, architecture: &Vector) -> Result<Genotype, GenotypeError> {
        Ok(Genotype::new(self.derived_cell(architecture)?))
    }
}

impl DerivedNetwork for Network {
    fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    fn running(&self) -> &Arc<Layout> {
        &self.running
    }

    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    fn parameters(&self) -> usize {
        self.weights.len()
    }

    fn forward(
        &self,
        pass: &Pass,
        images: Tensor<4>,
        drop: Option<&DropPath>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let logits = self.logits(pass, images.into(), None, drop);
        (logits.value, None)
    }
}

impl Member {
    fn cell(builder: &mut Builder, name: &str, channels: usize, cell: Option<&Cell>) -> Self {
        let mut edges = Vec::with_capacity(EDGES);
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
                        let channels = [channels; 2];
                        Layer::Conv(Box::new(
                            builder.relu_conv_bn(&name, channels, square, affine),
                        ))
                    }
                };
                edges.push(match cell {
                    Some(cell) => vec![layer(cell.0[index], format!("{name}.layers.{index}"))],
                    None => Operation::ALL
                        .map(|o| layer(o, format!("{name}.edges.{node}<-{from}.{}", o as usize)))
                        .into(),
                });
            }
        }
        Self::Cell(edges)
    }
}

/// Adds a cell to a graph; in a supernet edge e's operation k is multiplied by coefficient `mixed` + 5 e + k.
fn emit_cell(e: &mut Emitter, edges: &[Vec<Layer>], input: Id, mixed: Option<usize>) -> Id {
    let mut states = vec![input];
    let mut pools = Vec::new();
    for node in 1..=NODES {
        let mut terms = Vec::new();
        for from in 0..node {
            let (state, edge) = (states[from], edge_index(node, from));
            for (k, layer) in edges[edge].iter().enumerate() {
                let term = match layer {
                    Layer::None => continue,
                    Layer::Identity => Term::new(state, Normalise::Not),
                    Layer::Conv(layer) => layer.emit(e, &[state]),
                    Layer::AvgPool => {
                        // One pool serves all edges out of a state.
                        if pools.len() <= from {
                            pools.resize(from + 1, None);
                        }
                        let pool = *pools[from]
                            .get_or_insert_with(|| e.graph.avg_pool(state, Window::three(1)));
                        Term::new(pool, Normalise::Not)
                    }
                };
                terms.push(if let Some(first) = mixed {
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
        }
        if terms.is_empty() {
            // A node that nothing reaches is zero.
            terms.push(Term::new(input, Normalise::Not).times(ZERO));
        }
        states.push(e.graph.state(terms, false));
    }
    states[NODES]
}

fn cell_forward(
    pass: &Pass,
    edges: &[Vec<Layer>],
    input: Dual<4>,
    mixture: Option<&Dual<2>>,
    drop: Option<&DropPath>,
) -> Dual<4> {
    let mut states = vec![input];
    for node in 1..=NODES {
        let mut total: Option<Dual<4>> = None;
        for (from, state) in states.iter().enumerate() {
            let edge = edge_index(node, from);
            for (k, layer) in edges[edge].iter().enumerate() {
                let x = state.clone();
                let y = match layer {
                    Layer::None => continue,
                    Layer::Identity => x,
                    Layer::Conv(layer) => layer.forward(pass, x),
                    Layer::AvgPool => x.avg_pool_3x3(1),
                };
                let y = match (mixture, drop) {
                    (Some(mixture), _) => {
                        let weight = mixture
                            .clone()
                            .linear(|t| t.slice([edge..edge + 1, k..k + 1]).reshape([1, 1, 1, 1]));
                        y * weight
                    }
                    (None, Some(drop)) if !matches!(layer, Layer::Identity) => drop.apply(y),
                    _ => y,
                };
                total = Some(match total {
                    Some(sum) => sum + y,
                    None => y,
                });
            }
        }
        let nothing = || states[0].clone().linear(|t| t.mul_scalar(0.0));
        states.push(total.unwrap_or_else(nothing));
    }
    states.swap_remove(NODES)
}

impl Block {
    fn new(builder: &mut Builder, name: &str, channels: usize) -> Self {
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

    fn emit(&self, e: &mut Emitter, state: Id) -> Id {
        let first = self.first.emit(e, &[state]);
        let hidden = e.graph.passing(first);
        let second = self.second.emit(e, &[hidden]);
        let halved = e.graph.avg_pool(state, Window::two());
        let halved = e.graph.passing(Term::new(halved, Normalise::Not));
        let shortcut = self.shortcut.emit(e, &[halved], false);
        let terms = vec![second, Term::new(shortcut, Normalise::Not)];
        e.graph.state(terms, false)
    }

    fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        let y = self.first.forward(pass, x.clone());
        let y = self.second.forward(pass, y);
        y + self.shortcut.forward(pass, x.avg_pool(2, 2, 0))
    }
}
