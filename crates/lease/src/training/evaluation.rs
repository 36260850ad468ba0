//! What a network in training makes of images that it does not train on.

use super::{Confusion, Training};
use crate::data::Images;
use crate::method::Examples;
use crate::network::{Pass, Statistics};
use crate::rng::Draw;

impl Training {
    /// What the network, in evaluation mode, takes images for.
    pub(super) fn confusion(&self, images: &Images) -> Confusion {
        let indices: Vec<u32> = (0..images.len() as u32).collect();
        let classes = self.dataset.classes.len();
        let leaves = self.weights.open(None, false);
        let mut confusion = Confusion::new(classes);
        let batches = indices.chunks(self.config.train.batch);
        let share = self.team.share(batches.len());
        let numbered = (0..).zip(batches);
        for (number, part) in numbered.skip(share.start).take(share.len()) {
            let pass = Pass {
                weights: &leaves,
                statistics: Statistics::Running(&self.running),
                noise: Draw {
                    seed: self.config.run.seed,
                    step: self.progress.step + number,
                },
            };
            let batch = images.batch(part, &self.dataset.normalisation, None);
            let labels = batch.labels.clone();
            let batch = Examples::of(batch, classes, &self.device);
            let (logits, _) = self.network.forward(&pass, batch.images.clone(), None);
            let predicted = logits.argmax(1).into_data();
            for (label, class) in labels.into_iter().zip(predicted.iter::<i64>()) {
                confusion.add(label as usize, class as usize);
            }
        }
        confusion.joined(&self.team)
    }
}
