//! A derived network from scratch, by the evaluation recipe of DARTS: all training images, augmentation with
//! cutout, an auxiliary head, path dropout that grows with the epochs, a cosine to 0; of photos by its recipe for ImageNet. Part
//! of the images may be held out to choose the epoch whose weights are kept. The test images are read once, at the end.

mod begin;
mod confusion;
mod evaluation;
mod order;
mod predict;
mod records;
mod settings;
mod step;
mod trained;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::optim::Sgd;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

pub use begin::{memory, problems};
pub use confusion::Confusion;
pub use predict::{Answer, BATCH, Files, Told};
pub use settings::{Balance, Schedule, TrainConfig, TrainSettings, presets};
pub use trained::{Model, Trained, TrainedError};

use order::Order;
use records::Records;

use crate::Error;
use crate::collective::{Agreement, Team};
use crate::data::{Ahead, Augmentation, Batch, Dataset, Unwatched};
use crate::method::Tally;
use crate::method::optimiser::Stepper;
use crate::network::Vector;
use crate::run::{Identity, LogPosition};
use crate::space::cost::NetworkCost;
use crate::space::{DerivedNetwork, Genotype};

/// Who watches a training.
pub trait Observer {
    /// The training is about to do `steps` steps in `epochs` epochs, of which `done` are done.
    fn started(&mut self, parameters: usize, steps: u64, epochs: usize, done: u64);
    /// Something a person should know.
    fn note(&mut self, message: &str);
    /// Something that may not be as it should.
    fn warn(&mut self, message: &str);
    /// A step is done, with this loss.
    fn step(&mut self, loss: f64);
    /// An epoch is done.
    fn epoch(&mut self, metrics: &TrainMetrics);
}

impl Observer for Unwatched {
    fn started(&mut self, _: usize, _: u64, _: usize, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
    fn step(&mut self, _: f64) {}
    fn epoch(&mut self, _: &TrainMetrics) {}
}

/// One epoch of a training: a line of its `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainMetrics {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Its probability of dropping a path.
    pub drop_path: f64,
    /// The mean loss of its steps, without the auxiliary head's.
    pub loss: f64,
    /// The share of its images classified correctly when they were trained on.
    pub accuracy: f64,
    /// The share of the images held out that were classified correctly after it, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// The mean of that share over the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_balanced_accuracy: Option<f64>,
}

/// What a training found: `result.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    /// The architecture, in the notation of PyTorch's DARTS.
    pub genotype: String,
    /// Parameters, the auxiliary head's left out.
    pub parameters: usize,
    /// Multiply-adds for one image, without the auxiliary head's.
    #[serde(default)]
    pub multiply_adds: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// The seed.
    pub seed: u64,
    /// Test images.
    pub test_images: usize,
    /// The share of them classified correctly.
    pub test_accuracy: f64,
    /// The mean over the classes of the share of their test images classified correctly. Results of earlier versions have neither
    /// this nor what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// The classes, in the order of the confusion matrix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassResult>,
    /// How many test images of each class (a row) were taken for each (a column).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// The epoch whose weights were kept, where images were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// What a test found of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// Its name.
    pub class: String,
    /// Its test images.
    pub images: u64,
    /// The share of them classified correctly; none where there are none.
    pub accuracy: Option<f64>,
}

impl ClassResult {
    /// Those of classes with these names.
    pub fn of(names: &[String], confusion: &Confusion) -> Vec<Self> {
        let shares = confusion.images().into_iter().zip(confusion.by_class());
        let all = names.iter().zip(shares);
        all.map(|(class, (images, accuracy))| Self {
            class: class.clone(),
            images,
            accuracy,
        })
        .collect()
    }
}

/// What the images held out said of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// How many were held out.
    pub images: usize,
    /// The epoch, from 0.
    pub epoch: usize,
    /// The share of them classified correctly after it.
    pub accuracy: f64,
    /// The mean of that share over the classes.
    pub balanced_accuracy: f64,
}

/// How a training ended.
pub enum Outcome {
    /// All epochs are done.
    Finished(TrainResult),
    /// It was asked to stop, and left a checkpoint.
    Stopped,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    step: u64,
    tally: Tally,
    loss: f64,
    metrics: LogPosition,
    /// The best epoch so far, where images are held out.
    #[serde(default)]
    best: Option<Validation>,
}

/// A training in progress.
pub struct Training {
    config: TrainConfig,
    genotype: Genotype,
    dataset: Dataset,
    device: Device,
    network: Box<dyn DerivedNetwork>,
    order: Order,
    /// The training images held out.
    validation: Vec<u32>,
    /// What each class's loss is multiplied by, where that is wanted.
    class_weights: Option<Vec<f32>>,
    augmentation: Augmentation,
    ahead: Ahead<Vec<Batch>>,
    team: Team,
    /// None where another process writes them.
    records: Option<Records>,
    identity: Identity,
    weights: Vector,
    running: Vector,
    /// Weights and running statistics of the best epoch so far.
    best: Option<[Vector; 2]>,
    stepper: Stepper<Sgd>,
    progress: Progress,
    notes: Vec<String>,
}

/// The file that says what came out; a training that has one is finished.
const RESULT: &str = "result.json";

/// What the network costs.
pub const COST: &str = "cost.json";

/// The weights and running statistics of a finished training.
const WEIGHTS: &str = "weights.safetensors";

impl Training {
    /// Trains until the last epoch is done, or `stop` is set on any of the processes; then reads the test images.
    ///
    /// # Errors
    /// If the loss is no finite number any more, the folder cannot be written, or the processes have come apart.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, Error> {
        let epochs = self.config.train.epochs;
        let per_epoch = self.order.batches_per_epoch();
        let steps = per_epoch * epochs as u64;
        observer.started(self.network.parameters(), steps, epochs, self.progress.step);
        let need = begin::need(&self.config, &*self.network, &self.dataset);
        observer.note(&format!("About {} of memory.", need.told()));
        if self.team.size() > 1 {
            let (size, batch) = (self.team.size(), self.config.train.batch);
            let told = format!(
                "{size} processes, each with {} of every {batch} images.",
                batch / size
            );
            observer.note(&told);
        }
        for note in std::mem::take(&mut self.notes) {
            observer.note(&note);
        }
        if let Err(error) = self.genotype.check_paths() {
            observer.warn(&error.to_string());
        }
        let mut saved = Instant::now();
        while self.progress.step < steps {
            let epoch = (self.progress.step / per_epoch) as usize;
            let t = &self.config.train;
            let mut metrics = TrainMetrics {
                epoch,
                learning_rate: t.rate(epoch),
                drop_path: t.drop_path * epoch as f64 / epochs as f64,
                loss: 0.0,
                accuracy: 0.0,
                validation_accuracy: None,
                validation_balanced_accuracy: None,
            };
            let loss = self.step(&metrics)?;
            self.progress.loss += loss;
            self.progress.step += 1;
            let epoch_done = self.progress.step.is_multiple_of(per_epoch);
            if epoch_done {
                metrics.loss = std::mem::take(&mut self.progress.loss) / per_epoch as f64;
                metrics.accuracy = std::mem::take(&mut self.progress.tally).accuracy();
                self.validate(&mut metrics);
                if let Some(records) = &mut self.records {
                    records.epoch(&metrics)?;
                }
            }
            let Agreement { stop, due } = self.team.agree(Agreement {
                stop: stop.load(Ordering::Relaxed),
                due: saved.elapsed().as_secs_f64() >= self.config.run.checkpoint_seconds,
            });
            // At the end of an epoch processes that have come apart are found.
            let together = epoch_done && self.team.size() > 1;
            if stop || due || together || self.progress.step == steps {
                self.save()?;
                saved = Instant::now();
            }
            observer.step(loss);
            if epoch_done {
                observer.epoch(&metrics);
            }
            if stop {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished(self.finish()?))
    }

    /// The test error, and the weights.
    fn finish(&mut self) -> Result<TrainResult, Error> {
        let last = [&self.weights, &self.running];
        let kept = self.best.as_ref().map_or(last, <[Vector; 2]>::each_ref);
        let test = self.dataset.test();
        let all: Vec<u32> = (0..test.len() as u32).collect();
        let confusion = self.confusion(kept, test, &all);
        let result = TrainResult {
            genotype: self.genotype.to_string(),
            parameters: self.network.parameters(),
            multiply_adds: self.network.multiply_adds(self.dataset.shape()),
            epochs: self.config.train.epochs,
            seed: self.config.run.seed,
            test_images: test.len(),
            test_accuracy: confusion.accuracy(),
            balanced_accuracy: Some(confusion.balanced_accuracy()),
            classes: ClassResult::of(&self.dataset.classes, &confusion),
            confusion: Some(confusion),
            validation: self.progress.best.clone(),
        };
        // In a file of its own, since no two measurements are equal, and results of equal trainings are.
        let (classes, image) = (self.dataset.classes.len(), self.dataset.shape());
        let shape = self.config.shape(classes, image).without_auxiliary();
        if let Some(records) = &mut self.records {
            records.cost(&NetworkCost::of(&self.genotype, &shape)?)?;
            records.finish(&kept, &self.dataset, &result)?;
        }
        Ok(result)
    }
}
