//! LeaSE itself, in the order and the symbols of `docs/method.md`: stages I to III, the mixed product, and
//! the architecture gradient of stage IV.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::network::{Audience, Dual, Explainer, Vector};

pub mod curvature;
pub mod product;
pub mod stage1;
pub mod stage2;
pub mod stage3;
pub mod stage4;

/// The two networks' functions, f and g.
#[derive(Clone, Debug)]
pub struct Models {
    /// f(·; E, A).
    pub explainer: Arc<dyn Explainer>,
    /// g(·; W).
    pub audience: Audience,
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

/// A mini-batch on the device.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Normalised images, `[batch, channels, h, w]`.
    pub images: Tensor<4>,
    /// The labels as one-hot rows, `[batch, classes]`.
    pub one_hot: Tensor<2>,
    labels: Vec<i64>,
    logits: RefCell<Option<Tensor<2>>>,
}

impl Examples {
    /// Puts a batch on the device. Labels must be below `classes`.
    pub fn new(images: Tensor<4>, labels: Vec<i64>, classes: usize) -> Self {
        let (device, dtype): (Device, DType) = (images.device(), images.dtype());
        let mut one_hot = vec![0f32; labels.len() * classes];
        for (row, label) in labels.iter().enumerate() {
            one_hot[row * classes + *label as usize] = 1.0;
        }
        let data = TensorData::new(one_hot, [labels.len(), classes]);
        Self {
            images,
            one_hot: Tensor::from_data(data, (&device, dtype)),
            labels,
            logits: RefCell::new(None),
        }
    }

    /// Notes the logits of a pass over this batch.
    pub fn note(&self, logits: &Dual<2>) {
        *self.logits.borrow_mut() = Some(logits.value.clone().inner());
    }

    /// How many images the last noted pass classified correctly.
    pub fn correct(&self) -> usize {
        let Some(logits) = self.logits.borrow().clone() else {
            return 0;
        };
        let predicted = logits.argmax(1).into_data();
        let pairs = predicted.iter::<i64>().zip(&self.labels);
        pairs.filter(|(p, label)| p == *label).count()
    }
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
