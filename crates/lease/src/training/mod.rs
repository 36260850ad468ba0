//! A derived network from scratch, by the evaluation recipe of DARTS: all training images, augmentation with
//! cutout, an auxiliary head, path dropout that grows with the epochs, a cosine to 0. The test images are
//! read once, at the end.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::optim::Sgd;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Config;
use crate::data::{Augmentation, BatchOrder, Dataset};
use crate::method::Examples;
use crate::method::product::gradient;
use crate::network::{
    self, DerivedNetwork, DerivedShape, DropPath, Dual, Leaves, Pass, Statistics, Vector,
    update_running,
};
use crate::optimiser::{Stepper, cosine, sgd};
use crate::rng::{Purpose, stream};
use crate::run::checkpoint::{Checkpoint, CheckpointError};
use crate::run::{Log, RunFolder, fingerprint};
use crate::search::{Tally, examples};
use crate::space::Genotype;

const KIND: &str = "train";

/// The widths of DARTS's auxiliary head.
const AUXILIARY_WIDTHS: [usize; 2] = [128, 768];

/// Who watches a training.
pub trait Observer {
    /// The training is about to do `steps` steps in `epochs` epochs, of which `done` are done.
    fn started(&mut self, parameters: usize, steps: u64, epochs: usize, done: u64);
    /// Something a person should know.
    fn note(&mut self, message: &str);
    /// A step is done, with this loss.
    fn step(&mut self, loss: f64);
    /// An epoch is done.
    fn epoch(&mut self, metrics: &TrainMetrics);
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
}

/// What a training found: `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    /// The architecture, in the notation of PyTorch's DARTS.
    pub genotype: String,
    /// Parameters, the auxiliary head's left out.
    pub parameters: usize,
    /// Epochs trained.
    pub epochs: usize,
    /// The seed.
    pub seed: u64,
    /// Test images.
    pub test_images: usize,
    /// The share of them classified correctly.
    pub test_accuracy: f64,
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
    metrics_bytes: u64,
}

/// A training in progress.
pub struct Training {
    config: Config,
    genotype: Genotype,
    dataset: Dataset,
    device: Device,
    network: Box<dyn DerivedNetwork>,
    order: BatchOrder,
    augmentation: Augmentation,
    run: RunFolder,
    fingerprint: String,
    weights: Vector,
    running: Vector,
    stepper: Stepper<Sgd>,
    progress: Progress,
    metrics: Log,
    notes: Vec<String>,
}

impl Training {
    /// Starts a training in the folder `path`, or goes on with the one that was interrupted there. A new
    /// folder is made only once all else is in order.
    ///
    /// # Errors
    /// If the network cannot be built, the data are fewer than a batch, the folder cannot be written, or a
    /// checkpoint in it is of another training.
    pub fn new(
        config: Config,
        genotype: Genotype,
        dataset: Dataset,
        path: &Path,
    ) -> Result<Self, Error> {
        let device = crate::device::device(&config.search.device)?;
        let (t, seed) = (&config.train, config.search.seed);
        let network = network::derived(
            &genotype,
            &DerivedShape {
                channels: t.channels,
                cells: t.cells,
                classes: dataset.classes.len(),
                image: dataset.train.shape,
                auxiliary: (t.auxiliary > 0.0).then_some(AUXILIARY_WIDTHS),
            },
        )?;
        let all = (0..dataset.train.len() as u32).collect();
        let order = BatchOrder::new(
            "the training set",
            all,
            t.batch,
            seed,
            Purpose::DerivedTrain,
        )?;
        let fingerprint = fingerprint(&config, &format!("{genotype} {}", dataset.digest()));
        let run = RunFolder::open(path)?;
        let mut stepper = sgd(t.momentum, t.weight_decay, t.clip);
        let mut notes = Vec::new();
        let (weights, running, progress) =
            match Checkpoint::newest(&run.checkpoints(), KIND, &fingerprint) {
                Ok((checkpoint, refused)) => {
                    let told = |e: &CheckpointError| format!("Using the checkpoint before: {e}.");
                    notes.extend(refused.iter().map(told));
                    let progress: Progress = checkpoint.state()?;
                    notes.push(format!("Resuming after step {}.", progress.step));
                    stepper.load("optimiser", &checkpoint, &device)?;
                    (
                        checkpoint.vector("network", network.weights(), &device)?,
                        checkpoint.vector("running", network.running(), &device)?,
                        progress,
                    )
                }
                Err(CheckpointError::None { .. }) => {
                    let draw = |layout: &std::sync::Arc<crate::network::Layout>| {
                        let mut rng = stream(seed, Purpose::DerivedInit, 0);
                        let values = layout.initial_values(&mut rng);
                        Vector::from_values(layout.clone(), values, &device, DType::F32)
                    };
                    (
                        draw(network.weights()),
                        draw(network.running()),
                        Progress::default(),
                    )
                }
                Err(error) => return Err(error.into()),
            };
        run.write("genotype.json", genotype.to_json().as_bytes())?;
        run.write("config.toml", config.to_toml().as_bytes())?;
        let metrics = run.log("metrics.jsonl", progress.metrics_bytes)?;
        let augmentation = dataset.augmentation(config.data.augment, config.train.cutout);
        Ok(Self {
            config,
            genotype,
            dataset,
            device,
            network,
            order,
            augmentation,
            run,
            fingerprint,
            weights,
            running,
            stepper,
            progress,
            metrics,
            notes,
        })
    }

    /// Trains until the last epoch is done, or `stop` is set; then reads the test images.
    ///
    /// # Errors
    /// If the loss is no finite number any more, or the folder cannot be written.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, Error> {
        let epochs = self.config.train.epochs;
        let per_epoch = self.order.batches_per_epoch();
        let steps = per_epoch * epochs as u64;
        observer.started(self.network.parameters(), steps, epochs, self.progress.step);
        for note in std::mem::take(&mut self.notes) {
            observer.note(&note);
        }
        let mut saved = Instant::now();
        while self.progress.step < steps {
            let epoch = (self.progress.step / per_epoch) as usize;
            let t = &self.config.train;
            let mut metrics = TrainMetrics {
                epoch,
                learning_rate: cosine(t.learning_rate, 0.0, epoch, epochs),
                drop_path: t.drop_path * epoch as f64 / epochs as f64,
                loss: 0.0,
                accuracy: 0.0,
            };
            let loss = self.step(&metrics)?;
            observer.step(loss);
            self.progress.loss += loss;
            self.progress.step += 1;
            let epoch_done = self.progress.step.is_multiple_of(per_epoch);
            if epoch_done {
                metrics.loss = std::mem::take(&mut self.progress.loss) / per_epoch as f64;
                metrics.accuracy = std::mem::take(&mut self.progress.tally).accuracy();
                self.metrics.append(&metrics)?;
                observer.epoch(&metrics);
            }
            let stopping = stop.load(Ordering::Relaxed);
            let due = saved.elapsed().as_secs_f64() >= self.config.search.checkpoint_seconds;
            if stopping || due || self.progress.step == steps {
                self.save()?;
                saved = Instant::now();
            }
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished(self.finish()?))
    }

    fn step(&mut self, epoch: &TrainMetrics) -> Result<f64, Error> {
        let (step, seed) = (self.progress.step, self.config.search.seed);
        let mut rng = stream(seed, Purpose::DerivedAugment, step);
        let batch = self.dataset.train.batch(
            self.order.at(step),
            &self.dataset.normalisation,
            Some((&self.augmentation, &mut rng)),
        );
        let batch = examples(batch, self.dataset.classes.len(), &self.device);
        let drop = (epoch.drop_path > 0.0).then(|| DropPath {
            probability: epoch.drop_path,
            rng: RefCell::new(stream(seed, Purpose::DropPath, step)),
        });
        let (noted, main_loss) = (RefCell::new(Vec::new()), RefCell::new(None));
        let loss = |[weights]: [&Leaves; 1]| {
            let pass = Pass {
                weights,
                statistics: Statistics::Noted(&noted),
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

    fn save(&mut self) -> Result<(), Error> {
        self.progress.metrics_bytes = self.metrics.position()?;
        let state = serde_json::to_value(&self.progress).map_err(std::io::Error::other)?;
        let mut checkpoint = Checkpoint::new(KIND, &self.fingerprint, state);
        checkpoint.insert_vector("network", &self.weights);
        checkpoint.insert_vector("running", &self.running);
        self.stepper.save("optimiser", &mut checkpoint);
        checkpoint.save(&self.run.checkpoints(), self.progress.step)?;
        Ok(())
    }

    /// The test error, and the weights.
    fn finish(&self) -> Result<TrainResult, Error> {
        let test = self.dataset.test();
        let indices: Vec<u32> = (0..test.len() as u32).collect();
        let leaves = self.weights.open(None, false);
        let pass = Pass {
            weights: &leaves,
            statistics: Statistics::Running(&self.running),
        };
        let mut correct = 0;
        for part in indices.chunks(self.config.train.batch) {
            let batch = test.batch(part, &self.dataset.normalisation, None);
            let batch: Examples = examples(batch, self.dataset.classes.len(), &self.device);
            let (logits, _) = self.network.forward(&pass, batch.images.clone(), None);
            batch.note(&logits.into());
            correct += batch.correct();
        }
        let result = TrainResult {
            genotype: self.genotype.to_string(),
            parameters: self.network.parameters(),
            epochs: self.config.train.epochs,
            seed: self.config.search.seed,
            test_images: test.len(),
            test_accuracy: correct as f64 / test.len() as f64,
        };
        self.run
            .write_weights("weights.safetensors", &[&self.weights, &self.running])?;
        self.run.write_json("result.json", &result)?;
        Ok(result)
    }
}
