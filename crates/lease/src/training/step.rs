//! One step of a training.

use std::cell::RefCell;

use super::{TrainMetrics, Training};
use crate::Error;
use crate::method::Examples;
use crate::method::product::gradient;
use crate::network::{DropPath, Dual, Leaves, Pass, Statistics, update_running};
use crate::rng::{Draw, Purpose, stream};

impl Training {
    /// One step as in the last epoch, when most paths are dropped: for measuring.
    pub(crate) fn late_step(&mut self) -> Result<(), Error> {
        let t = &self.config.train;
        self.step(&TrainMetrics {
            epoch: 0,
            learning_rate: t.learning_rate,
            drop_path: t.drop_path,
            loss: 0.0,
            accuracy: 0.0,
        })?;
        self.progress.step += 1;
        Ok(())
    }

    pub(super) fn step(&mut self, epoch: &TrainMetrics) -> Result<f64, Error> {
        let (step, seed) = (self.progress.step, self.config.run.seed);
        let (dataset, augmentation) = (&self.dataset, self.augmentation);
        let batch = self.ahead.take(step, |step| {
            let indices = self.order.at(step).to_vec();
            let (train, normalisation) = (dataset.train.clone(), dataset.normalisation.clone());
            move || {
                let mut rng = stream(seed, Purpose::DerivedAugment, step);
                train.batch(&indices, &normalisation, Some((&augmentation, &mut rng)))
            }
        });
        let batch = Examples::of(batch, self.dataset.classes.len(), &self.device);
        let drop = (epoch.drop_path > 0.0).then(|| DropPath {
            probability: epoch.drop_path,
            rng: RefCell::new(stream(seed, Purpose::DropPath, step)),
        });
        let (noted, main_loss) = (RefCell::new(Vec::new()), RefCell::new(None));
        let loss = |[weights]: [&Leaves; 1]| {
            let pass = Pass {
                weights,
                statistics: Statistics::Noted(&noted),
                noise: Draw { seed, step },
            };
            let (logits, auxiliary) =
                self.network
                    .forward(&pass, batch.images.clone(), drop.as_ref());
            let logits = Dual::from(logits);
            batch.note(&logits);
            let loss = logits.cross_entropy(batch.one_hot.clone());
            *main_loss.borrow_mut() = Some(loss.value.clone().inner());
            match auxiliary {
                Some(auxiliary) => {
                    let weight = self.config.train.auxiliary;
                    let more = Dual::from(auxiliary).cross_entropy(batch.one_hot.clone());
                    loss + more.linear(|t| t.mul_scalar(weight))
                }
                None => loss,
            }
        };
        let trained = gradient(loss, [&self.weights], [0]);
        let main = main_loss.into_inner();
        let value = main.map_or(trained.value, |t| t.into_scalar::<f64>());
        let [direction] = &trained.vectors;
        for (quantity, value) in [
            ("the training loss", trained.value),
            ("the norm of the gradient", direction.norm()),
        ] {
            if !value.is_finite() {
                return Err(Error::Diverged {
                    step,
                    quantity,
                    value,
                    advice: "lower --train-learning-rate or --train-clip; check that the images are what they should be",
                });
            }
        }
        self.weights = self
            .stepper
            .step(epoch.learning_rate, &self.weights, direction);
        self.running = update_running(&self.running, noted.into_inner());
        self.progress.tally.add(&batch);
        Ok(value)
    }
}
