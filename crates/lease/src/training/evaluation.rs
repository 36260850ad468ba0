//! What a network in training makes of images that it does not train on.

use super::settings::Balance;
use super::{Confusion, TrainMetrics, Training, Validation};
use crate::data::Images;
use crate::method::Examples;
use crate::network::{Pass, Statistics, Vector};
use crate::rng::Draw;

impl Training {
    /// What the network with these weights and running statistics, in evaluation mode, takes some images for.
    pub(super) fn confusion(
        &self,
        [weights, running]: [&Vector; 2],
        images: &Images,
        indices: &[u32],
    ) -> Confusion {
        let classes = self.dataset.classes.len();
        let leaves = weights.open(None, false);
        let mut confusion = Confusion::new(classes);
        let batches = indices.chunks(self.config.train.batch);
        let share = self.team.share(batches.len());
        let numbered = (0..).zip(batches);
        for (number, part) in numbered.skip(share.start).take(share.len()) {
            let pass = Pass {
                weights: &leaves,
                statistics: Statistics::Running(running),
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

    /// Looks at the images held out after an epoch, if there are any, and keeps the weights if they are the best so far.
    pub(super) fn validate(&mut self, epoch: &mut TrainMetrics) {
        if self.validation.is_empty() {
            return;
        }
        let images = self.dataset.train.clone();
        let confusion = self.confusion([&self.weights, &self.running], &images, &self.validation);
        let found = Validation {
            images: self.validation.len(),
            epoch: epoch.epoch,
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
        };
        epoch.validation_accuracy = Some(found.accuracy);
        epoch.validation_balanced_accuracy = Some(found.balanced_accuracy);
        let measure = |of: &Validation| match self.config.train.balance {
            Balance::None => of.accuracy,
            Balance::Weights | Balance::Sampling => of.balanced_accuracy,
        };
        let before = self.progress.best.as_ref().map(measure);
        if before.is_none_or(|before| measure(&found) > before) {
            self.best = Some([self.weights.clone(), self.running.clone()]);
            self.progress.best = Some(found);
        }
    }
}
