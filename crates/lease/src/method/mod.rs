//! LeaSE itself, in the order and the symbols of `docs/method.md`: stages I to III, the mixed product, and
//! the architecture gradient of stage IV.

use std::sync::Arc;

use crate::network::{Audience, Vector};
use crate::space::Explainer;

mod cost;
pub mod curvature;
mod examples;
pub mod iteration;
pub mod layers;
pub mod optimiser;
mod parts;
pub mod perturbation;
pub mod product;
pub mod regulariser;
pub mod settings;
pub mod stage1;
pub mod stage2;
pub mod stage3;
pub mod stage4;
pub mod verify;

pub use examples::{Examples, Tally, smoothed};
pub use iteration::{Gamma, Iteration, Method, Starts, Unrolling};
pub use parts::Part;

/// The two networks' functions, f and g.
#[derive(Clone, Debug)]
pub struct Models {
    /// f(·; E, A).
    pub explainer: Arc<dyn Explainer>,
    /// What stage I trains E as, where that is not f itself: f at a perturbed architecture.
    pub learner: Option<Arc<dyn Explainer>>,
    /// g(·; W).
    pub audience: Audience,
}

impl Models {
    /// What stage I trains E as.
    pub fn learner(&self) -> &dyn Explainer {
        &**self.learner.as_ref().unwrap_or(&self.explainer)
    }
}

/// Where an iteration starts: E, W and A.
#[derive(Clone, Debug)]
pub struct Point {
    /// E.
    pub explainer: Vector,
    /// W.
    pub audience: Vector,
    /// A.
    pub architecture: Vector,
}

/// The four mini-batches of an iteration.
#[derive(Clone, Debug)]
pub struct Batches {
    /// B_e^tr.
    pub explainer_train: Examples,
    /// B_a^tr.
    pub audience_train: Examples,
    /// B_e^val.
    pub explainer_val: Examples,
    /// B_a^val.
    pub audience_val: Examples,
}

/// The learning rate and weight decay of one unrolled step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnrolledStep {
    /// η.
    pub learning_rate: f64,
    /// λ.
    pub weight_decay: f64,
}

/// What the parts of a search compute, by PyTorch (`reference/make_frozen.py`).
#[cfg(test)]
fn frozen_parts() -> serde_json::Value {
    let all = include_str!("../../tests/data/frozen.json");
    let mut all: serde_json::Value = serde_json::from_str(all).unwrap_or_default();
    all["parts"].take()
}

/// A matrix of theirs, row by row.
#[cfg(test)]
fn frozen_rows(matrix: &serde_json::Value) -> Vec<Vec<f64>> {
    serde_json::from_value(matrix.clone()).unwrap_or_default()
}
