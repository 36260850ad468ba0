//! How long a search will take, from how long its parts take.

use serde::Serialize;

use super::bench::{AUDIENCE_VALIDATION, EXPLAINER_VALIDATION, ITERATION, PRODUCT, Timing, WARMUP};
use crate::data::Partition;
use crate::search::SearchConfig;

/// What a search of one stage is expected to take where its parts were timed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Epochs.
    pub epochs: usize,
    /// Steps of all epochs.
    pub steps: u64,
    /// Those of them in which the architecture does not move.
    pub warmup_steps: u64,
    /// Seconds of all steps.
    pub steps_seconds: f64,
    /// Seconds of the accuracies after all epochs.
    pub validation_seconds: f64,
}

impl Prediction {
    /// That of a search on so many training images, from the medians of these timings. What is made at the end by other
    /// selections than the strongest, eigenvalues and pages are not counted.
    pub fn of(config: &SearchConfig, images: usize, timings: &[Timing]) -> Self {
        let (s, m) = (&config.search, &config.method);
        let [train, _, explainer_val, audience_val] =
            Partition::sizes(images, m.split, m.training_share);
        let median = |name| {
            let timing = timings.iter().find(|timing| timing.name == name);
            timing.map_or(0.0, Timing::median)
        };
        let per_epoch = (train / s.batch) as u64;
        let (steps, warmup) = (
            per_epoch * s.epochs as u64,
            per_epoch * s.warmup_epochs as u64,
        );
        let moves = (steps - warmup.min(steps)) as f64;
        // A step that carries the terms apart takes one more product.
        let apart = match m.norms_every {
            every if every > 0 && config.listens() => moves / every as f64 * s.ghost_batches as f64,
            _ => 0.0,
        };
        let size = (s.batch / s.ghost_batches) as f64;
        let validated = |images: usize, name| images as f64 / size * median(name);
        let explainer = validated(explainer_val, EXPLAINER_VALIDATION);
        let audience = match config.listens() {
            true => validated(audience_val, AUDIENCE_VALIDATION),
            false => 0.0,
        };
        Self {
            epochs: s.epochs,
            steps,
            warmup_steps: warmup,
            steps_seconds: moves * median(ITERATION)
                + apart * median(PRODUCT)
                + warmup as f64 * median(WARMUP),
            validation_seconds: s.epochs as f64 * (explainer + audience),
        }
    }

    /// Seconds of all of it.
    pub fn seconds(&self) -> f64 {
        self.steps_seconds + self.validation_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Composite;

    #[test]
    fn a_search_is_predicted_from_steps_and_measured_seconds() {
        let text = "[search]\nepochs = 10\nwarmup_epochs = 2\nbatch = 10\nghost_batches = 2\n\
                    [method]\nnorms_every = 4\n";
        let config = SearchConfig::parse(text, "here", &[]).unwrap();
        let timing = |name, seconds| Timing {
            name,
            seconds: vec![seconds],
            peak_mebibytes: None,
        };
        let all = [
            timing(ITERATION, 3.0),
            timing(PRODUCT, 2.0),
            timing(WARMUP, 1.0),
            timing(EXPLAINER_VALIDATION, 0.5),
            timing(AUDIENCE_VALIDATION, 0.25),
        ];
        let found = Prediction::of(&config, 200, &all);
        // Ten steps an epoch; parts of 5 of 100 validation images.
        assert_eq!((found.steps, found.warmup_steps), (100, 20));
        assert_eq!(found.steps_seconds, 80.0 * 3.0 + 20.0 * 2.0 * 2.0 + 20.0);
        assert_eq!(found.validation_seconds, 10.0 * 20.0 * 0.75);
    }
}
