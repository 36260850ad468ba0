//! A derived network: the genotype's cells stacked, with affine batch norm, an auxiliary head and path
//! dropout, as DARTS evaluates architectures (its `NetworkCIFAR`).

use std::sync::Arc;

use burn::tensor::Tensor;

use lease_kernels::graph::{Id, Normalise, Term, Window};

use super::cell::{Preprocess, kernels};
use super::genotype::{CellGenotype, DartsGenotype, Edge};
use super::operation::Operation;
use super::{reduction_positions, stem};
use crate::network::kernels::{Compiled, Emitter, Mode, ZERO, only_means};
use crate::network::layers::{
    BatchNorm, Builder, Conv, FactorizedReduce, LinearLayer, Pass, Separable, Square,
};
use crate::network::noise::Noise;
use crate::network::part::Part;
use crate::network::stem::StemLayers;
use crate::network::{Drawing, DropPath, Dual, Kernels, Layout, NetworkError, Stem};
use crate::space::{DerivedNetwork, DerivedShape};

#[derive(Clone, Debug)]
enum Layer {
    None,
    MaxPool(usize),
    AvgPool(usize),
    Identity,
    Reduce(Box<FactorizedReduce>),
    Separable(Separable),
    Noise(Noise),
}

/// An edge into a node.
#[derive(Clone, Debug)]
struct Incoming {
    layer: Layer,
    /// The skip-connect beside the operation, if there is one: an identity or a reduction.
    beside: Option<Layer>,
    state: usize,
}

#[derive(Clone, Debug)]
struct DerivedCell {
    preprocess: [Preprocess; 2],
    nodes: Vec<[Incoming; 2]>,
    concat: Vec<usize>,
    reduction: bool,
}

#[derive(Clone, Debug)]
struct AuxiliaryHead {
    after: usize,
    first: (Conv, BatchNorm),
    second: (Conv, BatchNorm),
    classifier: LinearLayer,
    /// Of its pool.
    stride: usize,
}

/// A derived network.
#[derive(Clone, Debug)]
pub struct Derived {
    weights: Arc<Layout>,
    running: Arc<Layout>,
    stem: StemLayers,
    cells: Vec<DerivedCell>,
    auxiliary: Option<AuxiliaryHead>,
    kernels: Kernels,
    compiled: Compiled,
    classifier: LinearLayer,
}

/// The auxiliary head's pooling window.
const AUXILIARY_POOL: usize = 5;

/// The stride of that window.
fn auxiliary_stride(stem: Stem) -> usize {
    match stem {
        Stem::Cifar => 3,
        Stem::Imagenet => 2,
    }
}

impl Derived {
    /// Lays out a derived network.
    ///
    /// # Errors
    /// If a size is 0, or the images are too small for the auxiliary head.
    pub fn new(genotype: &DartsGenotype, shape: &DerivedShape) -> Result<Self, NetworkError> {
        let [image_channels, height, width] = shape.image;
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
        let mut builder = Builder {
            keep_running: true,
            ..Builder::default()
        };
        let channels = [image_channels, shape.channels];
        let (stem, [mut before, mut last]) = stem(&mut builder, shape.stem, channels);
        let reductions = reduction_positions(shape.cells);
        let auxiliary_after = 2 * shape.cells / 3;
        let mut side = shape.stem.after(height.min(width));
        let mut channels = shape.channels;
        let mut after_reduction = stem.halves();
        let (mut cells, mut auxiliary) = (Vec::new(), None);
        for i in 0..shape.cells {
            let reduction = reductions.contains(&i);
            if reduction {
                channels *= 2;
                side = side.div_ceil(2);
            }
            let genes = if reduction {
                &genotype.reduce
            } else {
                &genotype.normal
            };
            let name = format!("cells.{i}");
            let inputs = [(before, after_reduction), (last, false)];
            cells.push(DerivedCell::new(
                &mut builder,
                &name,
                genes,
                inputs,
                channels,
                (reduction, shape.edge_skips),
            ));
            (before, last) = (last, genes.concat.len() * channels);
            after_reduction = reduction;
            if let Some(widths) = shape.auxiliary
                && i == auxiliary_after
            {
                // On smaller maps its 2×2 convolution has no room.
                let least = AUXILIARY_POOL + auxiliary_stride(shape.stem);
                if side < least {
                    return Err(NetworkError::Auxiliary { side, least });
                }
                auxiliary = Some((i, last, widths));
            }
        }
        let stride = auxiliary_stride(shape.stem);
        let auxiliary =
            auxiliary.map(|at| AuxiliaryHead::new(&mut builder, at, (shape.classes, stride)));
        let classifier = builder.linear("classifier", last, shape.classes);
        let (mut e, input) = Emitter::new(image_channels);
        let [mut s0, mut s1] = stem.emit(&mut e, input).map(|state| vec![state]);
        let mut read = None;
        for (i, cell) in cells.iter().enumerate() {
            let output = cell.emit(&mut e, [&s0, &s1]);
            (s0, s1) = (s1, output);
            if auxiliary
                .as_ref()
                .is_some_and(|head: &AuxiliaryHead| head.after == i)
            {
                read = Some(s1.clone());
            }
        }
        e.graph.output_means(&s1);
        if let Some(states) = read {
            e.graph.output(&states);
        }
        Ok(Self {
            weights: Arc::new(builder.weights),
            running: Arc::new(builder.running),
            stem,
            cells,
            auxiliary,
            kernels: Kernels::default(),
            compiled: e.finish(),
            classifier,
        })
    }

    /// The same network, computed in this way.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }
}

impl DerivedNetwork for Derived {
    /// The names are those of PyTorch's DARTS.
    fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    fn running(&self) -> &Arc<Layout> {
        &self.running
    }

    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    fn multiply_adds(&self, image: [usize; 3]) -> u64 {
        self.compiled.multiply_adds(image) + self.classifier.multiply_adds()
    }

    fn parameters(&self) -> usize {
        let entries = self.weights.entries().iter();
        entries
            .filter(|e| !e.name.starts_with("auxiliary_head."))
            .map(|e| e.range.len())
            .sum()
    }

    fn drawing(&self) -> Drawing<'_> {
        Drawing::new(&self.compiled, &self.classifier)
    }

    fn forward(
        &self,
        pass: &Pass,
        images: Tensor<4>,
        drop: Option<&DropPath>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        if self.kernels.serve(&images) {
            let mode = Mode {
                statistics: pass.statistics,
                drop,
                noise: pass.noise,
            };
            let results = self
                .compiled
                .forward(images.into(), pass.weights, None, &mode);
            let heads = results.get(1).zip(self.auxiliary.as_ref());
            let auxiliary = heads.map(|(x, head)| head.forward(pass, x.clone()).value);
            let logits = self.classifier.forward(pass, only_means(results));
            return (logits.value, auxiliary);
        }
        let [mut s0, mut s1] = self.stem.forward(pass, images.into());
        let mut auxiliary = None;
        for (i, cell) in self.cells.iter().enumerate() {
            let output = cell.forward(pass, s0, s1.clone(), drop);
            (s0, s1) = (s1, output);
            if let Some(head) = self.auxiliary.as_ref().filter(|head| head.after == i) {
                auxiliary = Some(head.forward(pass, s1.clone()).value);
            }
        }
        (
            self.classifier.forward(pass, s1.global_mean()).value,
            auxiliary,
        )
    }
}

impl DerivedCell {
    fn new(
        builder: &mut Builder,
        name: &str,
        genes: &CellGenotype,
        inputs: [(usize, bool); 2],
        channels: usize,
        (reduction, edge_skips): (bool, bool),
    ) -> Self {
        let preprocess = [0, 1].map(|i| {
            let (input, reduce) = inputs[i];
            let name = format!("{name}.preprocess{i}");
            Preprocess::new(builder, &name, input, channels, reduce, true)
        });
        let mut edge = 0;
        let mut layer = |Edge(operation, state): Edge| {
            let size = (channels, if reduction && state < 2 { 2 } else { 1 });
            let edge_name = format!("{name}._ops.{edge}");
            edge += 1;
            let skip_name = format!("{edge_name}.aux_skip");
            let skip = Operation::SkipConnect;
            let beside = edge_skips.then(|| Layer::new(builder, &skip_name, skip, size));
            let name = match edge_skips {
                true => format!("{edge_name}.operation"),
                false => edge_name,
            };
            let layer = Layer::new(builder, &name, operation, size);
            Incoming {
                layer,
                beside,
                state,
            }
        };
        Self {
            preprocess,
            nodes: genes.nodes.iter().map(|n| n.map(&mut layer)).collect(),
            concat: genes.concat.clone(),
            reduction,
        }
    }

    /// Adds the cell to a graph; inputs and result are states that are joined.
    fn emit(&self, e: &mut Emitter, [s0, s1]: [&[Id]; 2]) -> Vec<Id> {
        let [first, second] = &self.preprocess;
        let mut states = vec![first.emit(e, s0), second.emit(e, s1)];
        for node in &self.nodes {
            let mut terms: Vec<Term> = Vec::with_capacity(4);
            for edge in node {
                terms.extend(edge.emit(e, states[edge.state]));
            }
            if terms.is_empty() {
                // A node at which nothing arrives is zero.
                let like = if self.reduction {
                    e.graph.avg_pool(states[0], Window::three(2))
                } else {
                    states[0]
                };
                terms.push(Term::new(like, Normalise::Not).times(ZERO));
            }
            states.push(e.graph.state(terms, false));
        }
        self.concat.iter().map(|s| states[*s]).collect()
    }

    fn forward(&self, pass: &Pass, s0: Dual<4>, s1: Dual<4>, drop: Option<&DropPath>) -> Dual<4> {
        let [first, second] = &self.preprocess;
        let mut states = vec![first.forward(pass, s0), second.forward(pass, s1)];
        for node in &self.nodes {
            let [a, b] = node
                .each_ref()
                .map(|edge| edge.forward(pass, states[edge.state].clone(), drop));
            states.push(match (a, b) {
                (Some(a), Some(b)) => a + b,
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => {
                    let like = states[0].clone();
                    let like = if self.reduction {
                        like.avg_pool_3x3(2)
                    } else {
                        like
                    };
                    like.linear(|t| t.mul_scalar(0.0))
                }
            });
        }
        Dual::cat(self.concat.iter().map(|s| states[*s].clone()).collect(), 1)
    }
}

impl Incoming {
    /// Adds the edge to a graph, as summands; `none` is none.
    fn emit(&self, e: &mut Emitter, state: Id) -> Vec<Term> {
        let all = [Some(&self.layer), self.beside.as_ref()]
            .into_iter()
            .flatten();
        let mut terms: Vec<Term> = all.filter_map(|layer| layer.emit(e, state)).collect();
        if self.drops() {
            // An operation is dropped together with what is beside it.
            let drop = Some(e.drop());
            terms.iter_mut().for_each(|term| term.drop = drop);
        }
        terms
    }

    /// Whether path dropout drops it, as it does all but bare identities.
    fn drops(&self) -> bool {
        match self.layer {
            Layer::None | Layer::Identity => self.beside.is_some(),
            _ => true,
        }
    }

    fn forward(&self, pass: &Pass, x: Dual<4>, drop: Option<&DropPath>) -> Option<Dual<4>> {
        let beside = self.beside.as_ref();
        let beside = beside.and_then(|layer| layer.forward(pass, x.clone()));
        let y = match (self.layer.forward(pass, x), beside) {
            (Some(y), Some(beside)) => y + beside,
            (y, beside) => y.or(beside)?,
        };
        Some(match drop {
            Some(drop) if self.drops() => drop.apply(y),
            _ => y,
        })
    }
}

/// An operation by itself, of so many channels and this stride.
pub(super) fn part(operation: Operation, (channels, stride): (usize, usize)) -> Part {
    Part::new(
        channels,
        |builder| Layer::new(builder, "part", operation, (channels, stride)),
        |layer, e, state| layer.emit(e, state),
    )
}

impl Layer {
    /// Adds an operation's weights.
    fn new(
        builder: &mut Builder,
        name: &str,
        operation: Operation,
        (channels, stride): (usize, usize),
    ) -> Self {
        match operation {
            Operation::None => Self::None,
            Operation::MaxPool3x3 => Self::MaxPool(stride),
            Operation::AvgPool3x3 => Self::AvgPool(stride),
            Operation::Noise => Self::Noise(Noise::new(builder, stride)),
            Operation::SkipConnect if stride > 1 => Self::Reduce(Box::new(
                builder.factorized_reduce(name, channels, channels, true),
            )),
            operation => match kernels(operation, stride) {
                Some(kernels) => Self::Separable(builder.separable(name, channels, &kernels, true)),
                None => Self::Identity,
            },
        }
    }

    /// Adds the layer to a graph, as a summand; `none` is no summand.
    fn emit(&self, e: &mut Emitter, state: Id) -> Option<Term> {
        let term = match self {
            Self::None => return None,
            Self::MaxPool(stride) => Term::new(
                e.graph.max_pool(state, Window::three(*stride)),
                Normalise::Not,
            ),
            Self::AvgPool(stride) => Term::new(
                e.graph.avg_pool(state, Window::three(*stride)),
                Normalise::Not,
            ),
            Self::Identity => Term::new(state, Normalise::Not),
            Self::Reduce(layer) => layer.emit(e, &[state]),
            Self::Separable(layer) => layer.emit(e, state),
            Self::Noise(noise) => noise.emit(e, state),
        };
        Some(term)
    }

    fn forward(&self, pass: &Pass, x: Dual<4>) -> Option<Dual<4>> {
        Some(match self {
            Self::None => return None,
            Self::MaxPool(stride) => x.max_pool_3x3(*stride),
            Self::AvgPool(stride) => x.avg_pool_3x3(*stride),
            Self::Identity => x,
            Self::Reduce(layer) => layer.forward(pass, x),
            Self::Separable(layer) => layer.forward(pass, x),
            Self::Noise(noise) => noise.forward(pass, &x),
        })
    }
}

impl AuxiliaryHead {
    fn new(
        builder: &mut Builder,
        (after, input, [first, second]): (usize, usize, [usize; 2]),
        (classes, stride): (usize, usize),
    ) -> Self {
        let name = "auxiliary_head.features";
        let mut layer = |at: usize, input, output, size| {
            (
                builder.conv(&format!("{name}.{at}"), input, output, Square::new(size, 1)),
                builder.batch_norm(&format!("{name}.{}", at + 1), output, true),
            )
        };
        Self {
            after,
            first: layer(2, input, first, 1),
            second: layer(5, first, second, 2),
            classifier: builder.linear("auxiliary_head.classifier", second, classes),
            stride,
        }
    }

    fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<2> {
        let apply =
            |(conv, norm): &(Conv, BatchNorm), x| norm.forward(pass, conv.forward(pass, x)).relu();
        let pooled = x.relu().avg_pool(AUXILIARY_POOL, self.stride, 0);
        let x = apply(&self.second, apply(&self.first, pooled));
        self.classifier.forward(pass, x.global_mean())
    }
}
