//! Mini-batches on the device.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::data::Batch;
use crate::network::Dual;

/// A mini-batch on the device.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Normalised images, `[batch, channels, h, w]`.
    pub images: Tensor<4>,
    /// The labels as one-hot rows, `[batch, classes]`.
    pub one_hot: Tensor<2>,
    /// 1 at each pixel that matters and 0 elsewhere, `[batch, 1, h, w]`, where that is known.
    pub relevant: Option<Tensor<4>>,
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
            relevant: None,
            labels,
            logits: RefCell::new(None),
        }
    }

    /// Puts a batch in memory on the device, in f32.
    pub fn of(batch: Batch, classes: usize, device: &Device) -> Self {
        let data = TensorData::new(batch.values, batch.shape);
        let images = Tensor::from_data(data, (device, DType::F32));
        let [count, _, height, width] = batch.shape;
        let relevant = batch.masks.map(|masks| {
            let ones: Vec<f32> = masks.into_iter().map(|m| f32::from(u8::from(m))).collect();
            let data = TensorData::new(ones, [count, 1, height, width]);
            Tensor::from_data(data, (device, DType::F32))
        });
        Self {
            relevant,
            ..Self::new(images, batch.labels, classes)
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

/// Labels as one-hot rows `[batch, classes]` of which this share is spread evenly over all classes (label smoothing, Szegedy et
/// al., arXiv 1512.00567, section 7).
pub fn smoothed(one_hot: Tensor<2>, share: f64) -> Tensor<2> {
    let [_, classes] = one_hot.dims();
    one_hot
        .mul_scalar(1.0 - share)
        .add_scalar(share / classes as f64)
}

/// How many images were classified correctly.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    correct: u64,
    seen: u64,
}

impl Tally {
    /// Counts the batch's last noted pass.
    pub fn add(&mut self, batch: &Examples) {
        self.correct += batch.correct() as u64;
        self.seen += batch.images.dims()[0] as u64;
    }

    /// Counts so many images, of which so many were classified correctly.
    pub fn count(&mut self, correct: u64, seen: u64) {
        self.correct += correct;
        self.seen += seen;
    }

    /// Whether it can be one of at most so many images.
    pub fn is_of_at_most(self, images: u64) -> bool {
        self.correct <= self.seen && self.seen <= images
    }

    /// The share of those seen.
    pub fn accuracy(self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}
