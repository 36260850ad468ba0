//! The space of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326): genotypes and networks.
//!
//! A cell has four nodes, the first its input, each connected to all before it by one of five operations; its
//! output is the last node. A network is a stem, three stages of equal cells, and between them residual blocks
//! that halve the resolution and double the channels. The same [`Network`] with all operations on every
//! edge is the supernet, and with one on each a derived network.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;
use lease_kernels::graph::{Id, Normalise, Term, Window};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Genotype, GenotypeError, softmax};
use crate::network::kernels::{Compiled, Emitter, Mode, ZERO, only_means};
use crate::network::layers::{BatchNorm, Builder, Conv, LinearLayer, Pass, ReluConvBn, Square};
use crate::network::{
    DerivedNetwork, DropPath, Dual, Explainer, Init, Kernels, Layout, Leaves, Mixture,
    NetworkError, Slot, Vector, halved_twice,
};

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
    fn kernel(self) -> Option<usize> {
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
const NODES: usize = 3;

/// The number of the edge from one node into another (from 1).
fn edge_index(node: usize, from: usize) -> usize {
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
    fn derive(rows: &[Vec<f64>], choices: &[Operation]) -> Result<Self, GenotypeError> {
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

    /// The share of edges without weights.
    pub fn parameter_free_share(&self) -> f64 {
        let free = self.0.iter().filter(|o| o.kernel().is_none());
        free.count() as f64 / EDGES as f64
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
        for member in &members {
            state = match member {
                Member::Cell(edges) => emit_cell(&mut e, edges, state, cell.is_none()),
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

    fn logits(
        &self,
        pass: &Pass,
        images: Dual<4>,
        mixture: Option<Dual<2>>,
        drop: Option<&DropPath>,
    ) -> Dual<2> {
        if self.kernels.serve(&images.value) {
            let mode = Mode {
                statistics: pass.statistics,
                drop,
            };
            let flat = mixture.map(|m| m.linear(|t| t.reshape([EDGES * Operation::ALL.len()])));
            let means = self.compiled.forward(images, pass.weights, flat, &mode);
            return self.classifier.forward(pass, only_means(means));
        }
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(pass, conv.forward(pass, images));
        for member in &self.members {
            x = match member {
                Member::Cell(edges) => cell_forward(pass, edges, x, mixture.as_ref(), drop),
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

    fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2> {
        let mixture = architecture.get(&self.alphas).softmax();
        self.logits(&Pass::new(weights), images, Some(mixture), None)
    }

    fn mixtures(&self, architecture: &Vector) -> Vec<Mixture> {
        let alphas = architecture.to_f64();
        vec![Mixture {
            kind: "cell",
            rows: alphas.chunks(Operation::ALL.len()).map(softmax).collect(),
        }]
    }

    fn derive(&self, architecture: &Vector) -> Result<Genotype, GenotypeError> {
        let [mixture] = &self.mixtures(architecture)[..] else {
            unreachable!("one kind of cell");
        };
        Ok(Genotype::NasBench201(Cell::derive(
            &mixture.rows,
            self.choices,
        )?))
    }
}

impl DerivedNetwork for Network {
    fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    fn running(&self) -> &Arc<Layout> {
        &self.running
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

/// Adds a cell to a graph; in a supernet edge e's operation k is multiplied by coefficient 5 e + k.
fn emit_cell(e: &mut Emitter, edges: &[Vec<Layer>], input: Id, mixed: bool) -> Id {
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
                terms.push(if mixed {
                    term.times(edge * Operation::ALL.len() + k)
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
}
