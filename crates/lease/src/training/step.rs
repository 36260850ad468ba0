//! One step of a training.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};

use super::{TrainMetrics, Training};
use crate::Error;
use crate::data::Batch;
use crate::method::product::{Gradient, gradient};
use crate::method::{Examples, smoothed};
use crate::network::{DropPath, Dual, Leaves, Pass, Statistics, Vector, update_running};
use crate::rng::{Draw, Purpose, of_part, stream};

/// What one part of a batch gives.
struct Trained {
    /// The loss, and its gradient.
    gradient: Gradient<1>,
    /// The loss without the auxiliary head's.
    loss: f64,
    /// The running statistics, moved towards the part's.
    running: Vector,
}

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
            validation_accuracy: None,
            validation_balanced_accuracy: None,
        })?;
        self.progress.step += 1;
        Ok(())
    }

    pub(super) fn step(&mut self, epoch: &TrainMetrics) -> Result<f64, Error> {
        let (step, team) = (self.progress.step, self.team.clone());
        let parts = self.parts(step);
        let mut told = Vec::new();
        let trained = team.mean(team.own().zip(&parts).map(|(number, batch)| {
            let trained = self.part((step, number), batch, epoch);
            told.push([trained.loss, batch.correct() as f64]);
            let [direction] = trained.gradient.vectors;
            Gradient {
                value: trained.gradient.value,
                vectors: [direction, trained.running],
            }
        }));
        let [loss, correct] = team.total(told.into_iter());
        let [direction, running] = trained.vectors;
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
            .step(epoch.learning_rate, &self.weights, &direction);
        self.running = running;
        let images = self.config.train.batch as u64;
        self.progress.tally.count(correct as u64, images);
        Ok(team.fraction() * loss)
    }

    /// This process's parts of a step's batch, varied, each image as it would be if all were read here. Those of the next
    /// step are read meanwhile.
    fn parts(&mut self, step: u64) -> Vec<Examples> {
        let (seed, own) = (self.config.run.seed, self.team.own());
        let size = self.config.train.batch / self.team.parts();
        let (dataset, augmentation) = (&self.dataset, self.augmentation);
        let read = self.ahead.take(step, |step| {
            let indices = self.order.at(step)[own.start * size..own.end * size].to_vec();
            let (train, normalisation) = (dataset.train.clone(), dataset.normalisation.clone());
            let before = own.start * size;
            move || {
                let mut rng = stream(seed, Purpose::DerivedAugment, step);
                augmentation.skip(before, &train, &mut rng);
                let parts = indices.chunks(size).map(|indices| {
                    train.batch(indices, &normalisation, Some((&augmentation, &mut rng)))
                });
                parts.collect::<Vec<Batch>>()
            }
        });
        let of = |batch| Examples::of(batch, dataset.classes.len(), &self.device);
        read.into_iter().map(of).collect()
    }

    /// The loss of one part of a step's batch, and what follows from it.
    fn part(
        &self,
        (step, number): (u64, usize),
        batch: &Examples,
        epoch: &TrainMetrics,
    ) -> Trained {
        let (step, seed) = (of_part(step, number), self.config.run.seed);
        let mut target = match self.config.train.label_smoothing {
            0.0 => batch.one_hot.clone(),
            share => smoothed(batch.one_hot.clone(), share),
        };
        let drop = (epoch.drop_path > 0.0).then(|| DropPath {
            probability: epoch.drop_path,
            rng: RefCell::new(stream(seed, Purpose::DropPath, step)),
        });
        if let Some(weights) = &self.class_weights {
            target = target * of_labels(weights, batch.one_hot.clone());
        }
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
            let loss = logits.cross_entropy(target.clone());
            *main_loss.borrow_mut() = Some(loss.value.clone().inner());
            match auxiliary {
                Some(auxiliary) => {
                    let weight = self.config.train.auxiliary;
                    let more = Dual::from(auxiliary).cross_entropy(target.clone());
                    loss + more.linear(|t| t.mul_scalar(weight))
                }
                None => loss,
            }
        };
        let gradient = gradient(loss, [&self.weights], [0]);
        let main = main_loss.into_inner();
        Trained {
            loss: main.map_or(gradient.value, |t| t.into_scalar::<f64>()),
            running: update_running(&self.running, noted.into_inner()),
            gradient,
        }
    }
}

/// The weight of each image's class, `[batch, 1]`, by one-hot rows.
fn of_labels(weights: &[f32], one_hot: Tensor<2>) -> Tensor<2> {
    let like = (&one_hot.device(), one_hot.dtype());
    let data = TensorData::new(weights.to_vec(), [1, weights.len()]);
    (one_hot * Tensor::from_data(data, like)).sum_dim(1)
}
