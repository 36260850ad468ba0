//! The explainer: a supernet of the DARTS space, f(·; E, A).

use std::sync::Arc;

use super::NetworkError;
use super::cell::{Cell, CellShape};
use super::dual::Dual;
use super::kernels::{Compiled, Emitter, Kernels, Mode, only_means};
use super::layers::{BatchNorm, Builder, Conv, LinearLayer, Pass, Square};
use super::vector::{Init, Layout, Leaves, Slot};
use crate::space::{CellKind, Operation, edge_count, reduction_positions};

/// The size of an explainer.
#[derive(Clone, Debug, PartialEq)]
pub struct SupernetShape {
    /// Channels of the first cells' nodes (DARTS: 16); doubled by each reduction cell.
    pub channels: usize,
    /// Cells (DARTS: 8); those at 1/3 and 2/3 of the depth reduce.
    pub cells: usize,
    /// Intermediate nodes of a cell (DARTS: 4).
    pub nodes: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub image_channels: usize,
}

/// A cell in its place.
#[derive(Clone, Debug)]
struct Member {
    kind: CellKind,
    cell: Cell,
}

/// The explainer's supernet.
#[derive(Clone, Debug)]
pub struct Supernet {
    weights: Arc<Layout>,
    architecture: Arc<Layout>,
    alphas: [Slot<2>; 2],
    stem: (Conv, BatchNorm),
    cells: Vec<Member>,
    kernels: Kernels,
    compiled: Compiled,
    classifier: LinearLayer,
}

impl Supernet {
    /// Lays out a supernet.
    ///
    /// # Errors
    /// If a number is 0.
    pub fn new(shape: &SupernetShape) -> Result<Self, NetworkError> {
        for (what, n) in [
            ("channels", shape.channels),
            ("cells", shape.cells),
            ("nodes", shape.nodes),
            ("classes", shape.classes),
            ("image channels", shape.image_channels),
        ] {
            if n == 0 {
                return Err(NetworkError::Zero { what });
            }
        }
        let mut builder = Builder::default();
        let stem_channels = 3 * shape.channels;
        let stem = (
            builder.conv(
                "stem.0",
                shape.image_channels,
                stem_channels,
                Square::new(3, 1),
            ),
            builder.batch_norm("stem.1", stem_channels, true),
        );
        let reductions = reduction_positions(shape.cells);
        let (mut before, mut last, mut channels) = (stem_channels, stem_channels, shape.channels);
        let mut after_reduction = false;
        let mut cells = Vec::with_capacity(shape.cells);
        for i in 0..shape.cells {
            let kind = if reductions.contains(&i) {
                CellKind::Reduction
            } else {
                CellKind::Normal
            };
            if kind == CellKind::Reduction {
                channels *= 2;
            }
            let cell_shape = CellShape {
                nodes: shape.nodes,
                channels: [before, last, channels],
                kind,
                after_reduction,
            };
            let cell = Cell::new(&mut builder, &format!("cells.{i}"), &cell_shape);
            cells.push(Member { kind, cell });
            (before, last) = (last, shape.nodes * channels);
            after_reduction = kind == CellKind::Reduction;
        }
        let classifier = builder.linear("classifier", last, shape.classes);
        let mut architecture = Layout::default();
        let rows = [edge_count(shape.nodes), Operation::ALL.len()];
        let alphas = ["alphas_normal", "alphas_reduce"]
            .map(|name| architecture.push(name, rows, Init::Normal(1e-3)));
        let (mut e, input) = Emitter::new(shape.image_channels);
        let z = stem.0.emit(&mut e, &[input], false);
        let normal = stem.1.emit(&mut e, z);
        let stem_state = vec![e.graph.state(vec![normal], false)];
        let (mut s0, mut s1) = (stem_state.clone(), stem_state);
        for Member { kind, cell } in &cells {
            // The coefficients are those of normal cells, then those of reduction cells.
            let first = *kind as usize * rows.iter().product::<usize>();
            let output = cell.emit(&mut e, [&s0, &s1], first);
            (s0, s1) = (s1, output);
        }
        e.graph.output_means(&s1);
        Ok(Self {
            compiled: e.finish(),
            weights: Arc::new(builder.weights),
            architecture: Arc::new(architecture),
            alphas,
            stem,
            cells,
            kernels: Kernels::default(),
            classifier,
        })
    }

    /// The same supernet, its cells computed in this way.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The layout of E. The names are those of PyTorch's DARTS.
    pub fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    /// The layout of A: `alphas_normal` and `alphas_reduce`, each `[edges, operations]`.
    pub fn architecture(&self) -> &Arc<Layout> {
        &self.architecture
    }

    /// The handle of one cell kind's α, `[edges, operations]`.
    pub fn alphas(&self, kind: CellKind) -> &Slot<2> {
        &self.alphas[kind as usize]
    }

    /// Logits `[batch, classes]` for images `[batch, channels, h, w]`, by batch statistics.
    pub fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2> {
        let pass = &Pass::new(weights);
        let mixtures = [CellKind::Normal, CellKind::Reduction]
            .map(|kind| architecture.get(self.alphas(kind)).softmax());
        let pooled = if self.kernels.serve(&images.value) {
            let flat = mixtures.map(|m| {
                let [edges, operations] = m.value.dims();
                m.linear(|t| t.reshape([edges * operations]))
            });
            let coefficients = Dual::cat(flat.to_vec(), 0);
            let means =
                self.compiled
                    .forward(images, weights, Some(coefficients), &Mode::default());
            only_means(means)
        } else {
            let (conv, norm) = &self.stem;
            let stem = norm.forward(pass, conv.forward(pass, images));
            self.cells_composed(pass, stem, mixtures)
        };
        self.classifier.forward(pass, pooled)
    }

    /// The cells from ordinary operations, on any device.
    fn cells_composed(&self, pass: &Pass, stem: Dual<4>, mixtures: [Dual<2>; 2]) -> Dual<2> {
        let mixtures = mixtures.map(coefficients);
        let (mut s0, mut s1) = (stem.clone(), stem);
        for member in &self.cells {
            let mixture = &mixtures[member.kind as usize];
            let output = member.cell.forward(pass, s0, s1.clone(), mixture);
            (s0, s1) = (s1, output);
        }
        s1.global_mean()
    }
}

/// The mixing coefficients, one `[1, 1, 1, 1]` tensor for each edge and operation.
fn coefficients(weights: Dual<2>) -> Vec<Vec<Dual<4>>> {
    let [edges, operations] = weights.value.dims();
    (0..edges)
        .map(|edge| {
            (0..operations)
                .map(|k| {
                    weights.clone().linear(|t| {
                        t.slice([edge..edge + 1, k..k + 1])
                            .reshape([1usize, 1, 1, 1])
                    })
                })
                .collect()
        })
        .collect()
}
