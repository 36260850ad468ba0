//! Operation-level early stopping (Jiang et al., *OLES*, NeurIPS 2023): an operation stops training when it begins to fit
//! its training images more than its validation images.
//!
//! For each candidate operation on each edge the cosine of its weights' training and validation gradients is averaged
//! over some steps; where the mean falls below a threshold, the operation's weights stay as they are from then on. The
//! operation stays in the mixture, and its coefficient goes on moving. (The authors: 20 steps, threshold 0.4 on the DARTS
//! space.) The paper's cosine is that of the operation's whole gradient, which is taken here; the authors' code averages
//! those of slices of its tensors. Where the architecture's gradient goes through stage I, the validation gradient is that at E', a step
//! of stage I further; with SAM, at the coefficients that were stepped to; with SDARTS, the training gradient is that under the perturbation.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::config::{Rule, section};
use crate::network::{Layout, Vector};
use crate::space::Explainer;

section! {
    /// Operation-level early stopping.
    FreezingSettings, "freezing", "" {
        /// An operation's weights stop training when the mean cosine of its training and validation gradients falls below this (OLES: 0.4). 0 means never.
        freeze_below: f64 = 0.0 => Rule::BELOW_1;
        /// Steps that the mean is taken over (OLES: 20).
        freeze_steps: u32 = 20 => Rule::whole(1, 100_000);
    }
}

impl FreezingSettings {
    /// Whether what freezes depends on the setting of this key.
    pub fn reads(&self, key: &str) -> bool {
        key != "freeze_steps" || self.watches()
    }

    /// Whether gradients are watched.
    pub fn watches(&self) -> bool {
        self.freeze_below > 0.0
    }
}

/// What is remembered of the candidate operations, in the order of [`operations`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Freezing {
    /// The sums of their cosines since the last decision.
    sums: Vec<f64>,
    /// Steps since then.
    steps: u32,
    /// Those that train no more.
    pub frozen: Vec<bool>,
}

/// Where in E the weights of each candidate operation with weights lie.
pub(super) fn operations(explainer: &dyn Explainer) -> Vec<Vec<Range<usize>>> {
    let layout: &Layout = explainer.weights();
    let mut all: Vec<(&str, Vec<Range<usize>>)> = Vec::new();
    for entry in layout.entries() {
        let Some(name) = explainer.operation_of(&entry.name) else {
            continue;
        };
        match all.last_mut().filter(|(last, _)| *last == name) {
            Some((_, ranges)) => ranges.push(entry.range.clone()),
            None => all.push((name, vec![entry.range.clone()])),
        }
    }
    all.into_iter().map(|(_, ranges)| ranges).collect()
}

impl Freezing {
    /// How many train no more; none if nothing was ever watched.
    pub fn frozen_count(&self) -> Option<usize> {
        let count = self.frozen.iter().filter(|f| **f).count();
        (!self.frozen.is_empty()).then_some(count)
    }

    /// Takes in a step's gradients of E, and decides when it is time.
    pub fn note(
        &mut self,
        settings: &FreezingSettings,
        operations: &[Vec<Range<usize>>],
        [training, validation]: [&Vector; 2],
    ) {
        self.sums.resize(operations.len(), 0.0);
        self.frozen.resize(operations.len(), false);
        let (training, validation) = (training.to_f64(), validation.to_f64());
        for (sum, ranges) in self.sums.iter_mut().zip(operations) {
            *sum += cosine(&training, &validation, ranges);
        }
        self.steps += 1;
        if self.steps < settings.freeze_steps {
            return;
        }
        for (sum, frozen) in self.sums.iter_mut().zip(&mut self.frozen) {
            let mean = *sum / f64::from(self.steps);
            *frozen |= mean < settings.freeze_below;
            *sum = 0.0;
        }
        self.steps = 0;
    }

    /// 1 for the numbers of E that train, 0 for those that do not; none if all do.
    pub fn trains(&self, operations: &[Vec<Range<usize>>], like: &Vector) -> Option<Vector> {
        if !self.frozen.contains(&true) {
            return None;
        }
        let mut values = vec![1.0; like.layout().len()];
        for (ranges, _) in operations.iter().zip(&self.frozen).filter(|(_, f)| **f) {
            for range in ranges {
                values[range.clone()].fill(0.0);
            }
        }
        Some(like.with_values(values))
    }
}

/// The cosine of the parts of two vectors in these places; 0 where one of them is 0.
fn cosine(a: &[f64], b: &[f64], places: &[Range<usize>]) -> f64 {
    let sum = |x: &[f64], y: &[f64]| -> f64 {
        let of = |range: &Range<usize>| -> f64 {
            let pairs = x[range.clone()].iter().zip(&y[range.clone()]);
            pairs.map(|(x, y)| x * y).sum()
        };
        places.iter().map(of).sum()
    };
    let norms = (sum(a, a) * sum(b, b)).sqrt();
    if norms == 0.0 { 0.0 } else { sum(a, b) / norms }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::Init;

    #[test]
    fn an_operation_freezes_when_its_gradients_part() {
        let mut layout = Layout::default();
        layout.push("w", [4], Init::Zeros);
        let zeros = Vector::zeros(Arc::new(layout), &Device::flex(), DType::F64);
        let vector = |values: [f64; 4]| zeros.with_values(values.into());
        let settings = FreezingSettings {
            freeze_below: 0.4,
            freeze_steps: 2,
        };
        let operations = vec![vec![0..1, 1..2], vec![2..4]];
        let training = vector([1.0, 0.0, 3.0, 4.0]);
        // Cosines 0.6 and 1, then 0 and 1: means 0.3 and 1.
        let mut freezing = Freezing::default();
        let first = vector([0.6, 0.8, 6.0, 8.0]);
        freezing.note(&settings, &operations, [&training, &first]);
        assert!(freezing.trains(&operations, &zeros).is_none());
        let second = vector([0.0, 1.0, 3.0, 4.0]);
        freezing.note(&settings, &operations, [&training, &second]);
        assert_eq!(freezing.frozen, [true, false]);
        let trains = freezing.trains(&operations, &zeros).unwrap();
        assert_eq!(trains.to_f64(), [0.0, 0.0, 1.0, 1.0]);
    }
}
