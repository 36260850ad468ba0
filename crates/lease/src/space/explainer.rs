//! What the method asks of an explainer, and the training of a derived network, whatever the search space.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::cost::{Budget, Menu};
use super::mixing::Choice;
use super::{Coefficients, Genotype, GenotypeError, Mixing};
use crate::network::{Drawing, DropPath, Dual, Layout, Leaves, Pass, Stem, Vector};
use crate::rng::Draw;

/// The mixing coefficients of one kind of cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// The kind: `normal`, `reduction`, or `cell` where there is but one.
    pub kind: &'static str,
    /// For each edge the weight of each operation; they sum to 1.
    pub rows: Vec<Vec<f64>>,
}

/// A supernet f(·; E, A).
pub trait Explainer: Debug + Send + Sync {
    /// The layout of E.
    fn weights(&self) -> &Arc<Layout>;

    /// The layout of A.
    fn architecture(&self) -> &Arc<Layout>;

    /// The coefficients in A, one kind of cell after another.
    fn coefficients(&self) -> Vec<Coefficients>;

    /// For each kind of cell and each edge the operation of the cell that would be derived from A.
    ///
    /// # Errors
    /// As [`Explainer::derive`].
    fn choice(&self, architecture: &Vector) -> Result<Choice, GenotypeError> {
        let derived = self.derive(architecture)?;
        let choice = self.choice_in(&derived);
        Ok(choice.unwrap_or_else(|| unreachable!("what is derived is of the space")))
    }

    /// The same of a genotype of the space; none of another's.
    fn choice_in(&self, genotype: &Genotype) -> Option<Choice>;

    /// The candidate operation that a tensor of E belongs to, by the start of its name; none for what is no candidate's.
    fn operation_of<'a>(&self, name: &'a str) -> Option<&'a str>;

    /// The same supernet with an A of its own in each cell, the mixing weights themselves: its [`Explainer::coefficients`] come
    /// cell by cell, each with its kind.
    fn untied(&self) -> Arc<dyn Explainer>;

    /// How they become the mixtures' weights.
    fn mixing(&self) -> &Mixing;

    /// The same supernet with other mixtures.
    fn with_mixing(&self, mixing: Mixing) -> Arc<dyn Explainer>;

    /// The operations that the networks of this size have which can be derived from it.
    fn menu(&self, shape: &DerivedShape) -> Menu;

    /// Whether their operations have skip-connects beside them.
    fn edge_skips(&self) -> bool {
        false
    }

    /// The same supernet, from which only what this budget allows is derived and chosen.
    fn within(&self, budget: Arc<Budget>) -> Arc<dyn Explainer>;

    /// Its budget, if it has one.
    fn budget(&self) -> Option<&Budget>;

    /// Logits `[batch, classes]` for images `[batch, channels, h, w]`, by batch statistics.
    fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2>;

    /// The bytes of activations that a pass over a batch of images (channels, height, width) keeps until its backward
    /// pass is done, by the CPU's kernels.
    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64;

    /// The mixing coefficients that A stands for.
    fn mixtures(&self, architecture: &Vector) -> Vec<Mixture>;

    /// The discrete architecture that would be derived from A.
    ///
    /// # Errors
    /// If a number in A is not finite.
    fn derive(&self, architecture: &Vector) -> Result<Genotype, GenotypeError>;

    /// So many of the discrete architectures that A and the budget leave, those with the largest products of their operations' weights
    /// (with partial channels times those of their edges), the likeliest first; fewer where there are fewer, but one at least. They
    /// differ in kinds of cells that the supernet has, and lead somewhere where the space can tell.
    ///
    /// # Errors
    /// As [`Explainer::derive`].
    fn likeliest(
        &self,
        architecture: &Vector,
        count: usize,
    ) -> Result<Vec<Genotype>, GenotypeError>;

    /// What is left of the space in the next stage, with `keep` candidates on every edge, in a form that the space
    /// reads again; none in spaces that are not searched in stages.
    fn kept(&self, _architecture: &Vector, _keep: usize) -> Option<serde_json::Value> {
        None
    }

    /// The same function with its noise drawn by this; none if it has none. It is the same in all passes over a batch.
    fn noisy(&self, _draw: Draw) -> Option<Arc<dyn Explainer>> {
        None
    }

    /// The same function with skip-connects dropped out; none if it never drops any. It is the same in all passes
    /// over a batch, so that a step's derivatives are those of one function.
    fn dropping(&self, _dropout: SkipDropout) -> Option<Arc<dyn Explainer>> {
        None
    }
}

/// Dropout of what skip-connects carry, image by image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkipDropout {
    /// The probability of a loss; below 1.
    pub probability: f64,
    /// The seed of the draws.
    pub seed: u64,
    /// The step that the draws are for.
    pub step: u64,
}

/// The size of a derived network.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedShape {
    /// Channels of the first cells' nodes (DARTS: 36).
    pub channels: usize,
    /// Cells (DARTS: 20).
    pub cells: usize,
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of the images.
    pub image: [usize; 3],
    /// The auxiliary head's two widths (DARTS: 128 and 768), if there is one.
    pub auxiliary: Option<[usize; 2]>,
    /// Whether every operation has a skip-connect beside it (DARTS-Bench-Suite's all-skip).
    pub edge_skips: bool,
    /// What it begins with.
    pub stem: Stem,
}

impl DerivedShape {
    /// The same without an auxiliary head.
    pub fn without_auxiliary(self) -> Self {
        Self {
            auxiliary: None,
            ..self
        }
    }
}

/// A network with a derived architecture, to be trained from scratch.
pub trait DerivedNetwork: Debug + Send + Sync {
    /// The layout of its weights.
    fn weights(&self) -> &Arc<Layout>;

    /// The layout of its running statistics.
    fn running(&self) -> &Arc<Layout>;

    /// The bytes of activations that a pass over a batch of images (channels, height, width) keeps until its backward
    /// pass is done, by the CPU's kernels.
    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64;

    /// Parameters, an auxiliary head's left out as is usual.
    fn parameters(&self) -> usize;

    /// Multiplications with an addition of convolutions and of the classifier with its bias, for an image (channels, height,
    /// width); an auxiliary head's left out.
    fn multiply_adds(&self, image: [usize; 3]) -> u64;

    /// The network, but for an auxiliary head, as a graph.
    fn drawing(&self) -> Drawing<'_>;

    /// Logits `[batch, classes]` for images `[batch, channels, h, w]`, and those of the auxiliary head if
    /// there is one.
    fn forward(
        &self,
        pass: &Pass,
        images: Tensor<4>,
        drop: Option<&DropPath>,
    ) -> (Tensor<2>, Option<Tensor<2>>);
}
