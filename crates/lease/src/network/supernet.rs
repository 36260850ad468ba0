//! The explainer: a supernet of the DARTS space, f(·; E, A).

use std::sync::Arc;

use super::NetworkError;
use super::cell::{Cell, CellShape};
use super::dual::Dual;
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

/// The explainer's supernet.
#[derive(Clone, Debug)]
pub struct Supernet {
    shape: SupernetShape,
    weights: Arc<Layout>,
    architecture: Arc<Layout>,
    alphas: [Slot<2>; 2],
    stem: (Conv, BatchNorm),
    cells: Vec<(CellKind, Cell)>,
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
            cells.push((
                kind,
                Cell::new(&mut builder, &format!("cells.{i}"), &cell_shape),
            ));
            (before, last) = (last, shape.nodes * channels);
            after_reduction = kind == CellKind::Reduction;
        }
        let classifier = builder.linear("classifier", last, shape.classes);
        let mut architecture = Layout::default();
        let rows = [edge_count(shape.nodes), Operation::ALL.len()];
        let alphas = ["alphas_normal", "alphas_reduce"]
            .map(|name| architecture.push(name, rows, Init::Normal(1e-3)));
        Ok(Self {
            shape: shape.clone(),
            weights: Arc::new(builder.weights),
            architecture: Arc::new(architecture),
            alphas,
            stem,
            cells,
            classifier,
        })
    }

    /// The size it was made with.
    pub fn shape(&self) -> &SupernetShape {
        &self.shape
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
            .map(|kind| coefficients(architecture.get(self.alphas(kind))));
        let (conv, norm) = &self.stem;
        let stem = norm.forward(pass, conv.forward(pass, images));
        let (mut s0, mut s1) = (stem.clone(), stem);
        for (kind, cell) in &self.cells {
            let output = cell.forward(pass, s0, s1.clone(), &mixtures[*kind as usize]);
            (s0, s1) = (s1, output);
        }
        self.classifier.forward(pass, s1.global_mean())
    }
}

/// softmax(α), one `[1, 1, 1, 1]` tensor for each edge and operation.
fn coefficients(alphas: Dual<2>) -> Vec<Vec<Dual<4>>> {
    let [edges, operations] = alphas.value.dims();
    let weights = alphas.softmax();
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
