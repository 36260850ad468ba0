//! Networks of NAS-Bench-201: a stem, three stages of equal cells, and between them residual blocks that halve the
//! resolution and double the channels. The same [`Network`] with all operations on every edge is the supernet, and
//! with one on each a derived network.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::cell::{Cell, EDGES, NODES, Operation, edge_index};
use super::costs;
use super::member::{Block, Edges, Member, Mixed};
use crate::network::kernels::{Compiled, Emitter, Mode, only_means};
use crate::network::layers::{BatchNorm, Builder, LinearLayer, Pass};
use crate::network::stem::StemLayers;
use crate::network::{
    Drawing, DropPath, Dual, Init, Kernels, Layout, Leaves, NetworkError, Slot, Stem, Vector,
    halved_twice,
};
use crate::space::cost::{Budget, Menu};
use crate::space::mixing::Choice;
use crate::space::partial;
use crate::space::{
    Coefficients, DerivedNetwork, DerivedShape, Explainer, Genotype, GenotypeError, Mixing, Mixture,
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
    /// Of a supernet: one channel in so many passes the mixed operations, and edges have strengths β of their own (PC-DARTS,
    /// arXiv 1907.05737); 1 means that all do.
    pub partial: usize,
    /// What it begins with; the benchmark has but the one for small images.
    pub stem: Stem,
}

/// A supernet or a derived network.
#[derive(Clone, Debug)]
pub struct Network {
    weights: Arc<Layout>,
    running: Arc<Layout>,
    architecture: Arc<Layout>,
    alphas: Slot<2>,
    /// The strengths of edges, `[edges]`, with partial channels.
    betas: Option<Slot<1>>,
    stem: StemLayers,
    members: Vec<Member>,
    last: BatchNorm,
    classifier: LinearLayer,
    kernels: Kernels,
    compiled: Compiled,
    /// What can be derived.
    choices: &'static [Operation],
    mixing: Mixing,
    /// What derived networks may cost.
    budget: Option<Arc<Budget>>,
    /// The coefficients of each cell, where cells do not share them.
    untied: Option<Vec<Slot<2>>>,
}

/// The stages double the channels and halve the resolution between them.
pub(super) const STAGES: usize = 3;

impl Network {
    /// The supernet: all operations on every edge, their batch norms without scale and shift.
    ///
    /// # Errors
    /// If a number is 0, the resolution cannot be halved twice, or the channels cannot be split.
    pub fn supernet(shape: &Shape) -> Result<Self, NetworkError> {
        Self::new(shape, None)
    }

    /// The network that all its cells are this one.
    ///
    /// # Errors
    /// As [`Network::supernet`].
    pub fn derived(cell: &Cell, shape: &Shape) -> Result<Self, NetworkError> {
        let shape = Shape {
            partial: 1,
            ..*shape
        };
        Self::new(&shape, Some(cell))
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
        halved_twice("networks of NAS-Bench-201", shape.image, shape.stem)?;
        let mut builder = Builder {
            keep_running: cell.is_some(),
            ..Builder::default()
        };
        let b = &mut builder;
        let stem = StemLayers::new(b, shape.stem, image_channels, [shape.channels; 2]);
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
                let size = (channels, shape.partial);
                members.push(Member::Cell(Edges::new(b, &name, size, cell)?));
            }
        }
        let last = b.batch_norm("lastact.0", channels, true);
        let classifier = b.linear("classifier", channels, shape.classes);
        let mut architecture = Layout::default();
        let rows = [EDGES, Operation::ALL.len()];
        let alphas = architecture.push("arch_parameters", rows, Init::Normal(1e-3));
        let betas = (shape.partial > 1)
            .then(|| architecture.push("edge_strengths", [EDGES], Init::Normal(1e-3)));
        let coefficients = architecture.len();
        let (mut e, input) = Emitter::new(image_channels);
        let [_, mut state] = stem.emit(&mut e, input);
        let mut first = 0;
        for member in &members {
            state = match member {
                Member::Cell(edges) => {
                    let mixed = cell.is_none().then_some(first);
                    first += coefficients;
                    edges.emit(&mut e, state, mixed)
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
            betas,
            stem,
            members,
            last,
            classifier,
            kernels: Kernels::default(),
            choices: Operation::choices(true),
            mixing: Mixing::default(),
            budget: None,
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

    /// The mixing coefficients of each edge.
    fn rows(&self, architecture: &Vector) -> Vec<Vec<f64>> {
        let alphas = architecture.part(&self.alphas).into_data();
        let alphas: Vec<f64> = alphas.iter::<f64>().collect();
        let edges = alphas.chunks(Operation::ALL.len());
        edges.map(|row| self.mixing.expected(row)).collect()
    }

    fn derived_cell(&self, architecture: &Vector) -> Result<Cell, GenotypeError> {
        let rows = self.rows(architecture);
        let strongest = Cell::derive(&rows, self.choices)?;
        match &self.budget {
            Some(budget) => {
                let within = costs::likeliest(&rows, self.choices, Some(budget), 1);
                Ok(within?.swap_remove(0))
            }
            None => Ok(strongest),
        }
    }

    fn logits(
        &self,
        pass: &Pass,
        images: Dual<4>,
        mixtures: Option<Vec<Mixed>>,
        drop: Option<&DropPath>,
    ) -> Dual<2> {
        if self.kernels.serve(&images.value) {
            let mode = Mode {
                statistics: pass.statistics,
                drop,
                noise: pass.noise,
            };
            let flat = mixtures
                .map(|cells| Dual::cat(cells.into_iter().flat_map(Mixed::flat).collect(), 0));
            let means = self.compiled.forward(images, pass.weights, flat, &mode);
            return self.classifier.forward(pass, only_means(means));
        }
        let [_, mut x] = self.stem.forward(pass, images);
        let mut mixtures = mixtures.map(Vec::into_iter);
        for member in &self.members {
            x = match member {
                Member::Cell(edges) => {
                    let mixture = mixtures.as_mut().and_then(Iterator::next);
                    edges.forward(pass, x, mixture.as_ref(), drop)
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
        let slots = slots.collect();
        let betas = self
            .betas
            .as_ref()
            .map(|betas| architecture.push("edge_strengths", betas.shape(), Init::Zeros));
        Arc::new(Self {
            untied: Some(slots),
            betas,
            architecture: Arc::new(architecture),
            mixing: Mixing::direct(),
            ..self.clone()
        })
    }

    fn choice_in(&self, genotype: &Genotype) -> Option<Choice> {
        let cell: &Cell = genotype.downcast()?;
        Some(vec![cell.0.iter().map(|o| Some(*o as usize)).collect()])
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

    fn menu(&self, shape: &DerivedShape) -> Menu {
        costs::menu(shape)
    }

    fn within(&self, budget: Arc<Budget>) -> Arc<dyn Explainer> {
        Arc::new(Self {
            budget: Some(budget),
            ..self.clone()
        })
    }

    fn budget(&self) -> Option<&Budget> {
        self.budget.as_deref()
    }

    fn with_mixing(&self, mixing: Mixing) -> Arc<dyn Explainer> {
        Arc::new(Self {
            mixing,
            ..self.clone()
        })
    }

    fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2> {
        let parts = self.coefficients();
        let strengths = self.betas.as_ref().map(|slot| {
            let nodes = (1..=NODES).map(|node| edge_index(node, 0)..edge_index(node + 1, 0));
            partial::strengths(architecture.get(slot), nodes)
        });
        let mixtures = parts.iter().map(|of| Mixed {
            weights: self.mixing.weights(architecture, of),
            strengths: strengths.clone(),
        });
        let mut mixtures: Vec<Mixed> = mixtures.collect();
        if self.untied.is_none() {
            mixtures = vec![mixtures[0].clone(); self.cells()];
        }
        self.logits(&Pass::new(weights), images, Some(mixtures), None)
    }

    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    fn mixtures(&self, architecture: &Vector) -> Vec<Mixture> {
        vec![Mixture {
            kind: "cell",
            rows: self.rows(architecture),
        }]
    }

    fn derive(&self, architecture: &Vector) -> Result<Genotype, GenotypeError> {
        Ok(Genotype::new(self.derived_cell(architecture)?))
    }

    fn likeliest(
        &self,
        architecture: &Vector,
        count: usize,
    ) -> Result<Vec<Genotype>, GenotypeError> {
        let (rows, budget) = (self.rows(architecture), self.budget.as_deref());
        let found = costs::likeliest(&rows, self.choices, budget, count)?;
        Ok(found.into_iter().map(Genotype::new).collect())
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

    fn multiply_adds(&self, image: [usize; 3]) -> u64 {
        self.compiled.multiply_adds(image) + self.classifier.multiply_adds()
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
        let logits = self.logits(pass, images.into(), None, drop);
        (logits.value, None)
    }
}
