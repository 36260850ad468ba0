//! A derived network from scratch, by the evaluation recipe of DARTS: all training images, augmentation with
//! cutout, an auxiliary head, path dropout that grows with the epochs, a cosine to 0. The test images are
//! read once, at the end.

mod settings;
mod trained;

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::optim::Sgd;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

pub use settings::{TrainConfig, TrainSettings, presets};
pub use trained::{Model, Trained, TrainedError};

use crate::Error;
use crate::config::Composite;
use crate::data::{Augmentation, BatchOrder, DataError, Dataset};
use crate::memory::Need;
use crate::method::optimiser::{Stepper, cosine, sgd};
use crate::method::product::gradient;
use crate::method::{Examples, Tally};
use crate::network::{DropPath, Dual, Leaves, Pass, Statistics, Vector, update_running};
use crate::rng::{Draw, Purpose, stream};
use crate::run::checkpoint::{Checkpoint, CheckpointError};
use crate::run::{Found, Identity, Kind, Log, LogPosition, RunError, RunFolder};
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
    metrics: LogPosition,
}

/// A training in progress.
pub struct Training {
    config: TrainConfig,
    genotype: Genotype,
    dataset: Dataset,
    device: Device,
    network: Box<dyn DerivedNetwork>,
    order: BatchOrder,
    augmentation: Augmentation,
    run: RunFolder,
    identity: Identity,
    weights: Vector,
    running: Vector,
    stepper: Stepper<Sgd>,
    progress: Progress,
    metrics: Log,
    notes: Vec<String>,
}

/// Everything that keeps a training of this genotype with these settings on these images from being done, found
/// without starting it.
pub fn problems(config: &TrainConfig, genotype: &Genotype, dataset: &Dataset) -> Vec<Error> {
    let mut all: Vec<Error> = Vec::new();
    let (images, batch) = (dataset.train.len(), config.train.batch);
    if images < batch {
        all.push(Error::Data(DataError::TooFew {
            part: TRAINING_SET,
            images,
            batch,
        }));
    }
    all.extend(
        crate::device::device(&config.run.device)
            .err()
            .map(Error::from),
    );
    let shape = config.shape(dataset.classes.len(), dataset.train.shape);
    match genotype.network(&shape) {
        Ok(network) => {
            let need = need(config, &*network, dataset);
            all.extend(need.problem("lower --train-batch, --train-channels or --train-cells"));
        }
        Err(error) => all.push(error.into()),
    }
    all
}

/// About the most memory that a training of this genotype with these settings on these images needs at once.
///
/// # Errors
/// If its network cannot be built.
pub fn memory(config: &TrainConfig, genotype: &Genotype, dataset: &Dataset) -> Result<Need, Error> {
    let shape = config.shape(dataset.classes.len(), dataset.train.shape);
    Ok(need(config, &*genotype.network(&shape)?, dataset))
}

/// About the most memory that a training of this network needs at once.
fn need(config: &TrainConfig, network: &dyn DerivedNetwork, dataset: &Dataset) -> Need {
    let activations = network.bytes(config.train.batch, dataset.train.shape);
    // Values, and the gradients that are under way.
    let activations = activations + activations / 4;
    let weights = network.weights().len();
    Need::new("this training", activations, weights, dataset.size().bytes)
}

/// The file that says what came out; a training that has one is finished.
const RESULT: &str = "result.json";

/// The weights and running statistics of a finished training.
const WEIGHTS: &str = "weights.safetensors";

/// What `run.json` says that is read again.
#[derive(Deserialize)]
struct About {
    identity: Identity,
}

/// What `run.json` says.
fn about(config: &TrainConfig, dataset: &Dataset, identity: &Identity) -> serde_json::Value {
    serde_json::json!({
        "lease": env!("CARGO_PKG_VERSION"),
        "device": config.run.device,
        "threads": rayon::current_num_threads(),
        "dataset": dataset.name,
        "platform": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "identity": identity,
    })
}

/// What the training images are called in errors.
const TRAINING_SET: &str = "the training set (--train-batch)";

impl Training {
    /// Starts a training in the folder `path`, or goes on with the one that was interrupted there. A new
    /// folder is made only once all else is in order.
    ///
    /// # Errors
    /// If the network cannot be built, the data are fewer than a batch, the folder holds anything else or cannot be
    /// written, or what is in it is another training.
    pub fn new(
        config: TrainConfig,
        genotype: Genotype,
        dataset: Dataset,
        path: &Path,
    ) -> Result<Self, Error> {
        let device = crate::device::device(&config.run.device)?;
        let (t, seed) = (&config.train, config.run.seed);
        let shape = config.shape(dataset.classes.len(), dataset.train.shape);
        let network = genotype.network(&shape)?;
        let all = (0..dataset.train.len() as u32).collect();
        let order = BatchOrder::new(TRAINING_SET, all, t.batch, seed, Purpose::DerivedTrain)?;
        let identity = Self::identity(&config, &genotype, &dataset);
        let mut stepper = sgd(&config.rule());
        let draw = |layout: &std::sync::Arc<crate::network::Layout>| {
            let mut rng = stream(seed, Purpose::DerivedInit, 0);
            let values = layout.initial_values(&mut rng);
            Vector::from_values(layout.clone(), values, &device, DType::F32)
        };
        let mut notes = Vec::new();
        let found = RunFolder::look(path, Kind::Training)?;
        let earlier = match found {
            Found::Run => Self::newest(path, &identity)?,
            Found::Nothing => None,
        };
        let new = earlier.is_none();
        let (weights, running, progress) = match earlier {
            Some((checkpoint, refused)) => {
                let progress: Progress = checkpoint.state()?;
                let steps = order.batches_per_epoch() * t.epochs as u64;
                if progress.step > steps {
                    let reason = format!("it is at step {} of {steps}", progress.step);
                    return Err(checkpoint.unusable(reason).into());
                }
                let images = order.batches_per_epoch() * t.batch as u64;
                if !progress.tally.is_of_at_most(images) {
                    let reason = format!("it counts more images than the {images} of an epoch");
                    return Err(checkpoint.unusable(reason).into());
                }
                let told = |e: &CheckpointError| format!("Using the checkpoint before: {e}.");
                notes.extend(refused.iter().map(told));
                notes.push(format!("Resuming after step {}.", progress.step));
                let weights = checkpoint.vector("network", network.weights(), &device)?;
                let at = (&weights, progress.step);
                stepper.load("optimiser", &checkpoint, at, &device)?;
                let running = checkpoint.vector("running", network.running(), &device)?;
                (weights, running, progress)
            }
            None => (
                draw(network.weights()),
                draw(network.running()),
                Progress::default(),
            ),
        };
        let about = about(&config, &dataset, &identity);
        let (run, metrics) = match found {
            Found::Nothing => RunFolder::create(path, Kind::Training, about)?,
            Found::Run => {
                let run = RunFolder::open(path)?;
                let metrics = run.go_on(Kind::Training, about, &progress.metrics)?;
                (run, metrics)
            }
        };
        run.write("genotype.json", genotype.to_json().as_bytes())?;
        run.write("config.toml", config.to_toml().as_bytes())?;
        let augmentation = dataset.augmentation(config.data.images.augment, config.train.cutout);
        let mut training = Self {
            config,
            genotype,
            dataset,
            device,
            network,
            order,
            augmentation,
            run,
            identity,
            weights,
            running,
            stepper,
            progress,
            metrics,
            notes,
        };
        if new {
            // A run that has a log has a checkpoint from now on.
            training.save()?;
        }
        Ok(training)
    }

    /// What a training's result depends on.
    fn identity(config: &TrainConfig, genotype: &Genotype, dataset: &Dataset) -> Identity {
        Identity::new(
            config,
            &[
                ("the genotype", genotype.to_string()),
                ("the images", dataset.whole_digest()),
            ],
        )
    }

    /// The newest usable checkpoint in a training's folder, and what was wrong with newer ones.
    fn newest(
        path: &Path,
        identity: &Identity,
    ) -> Result<Option<(Checkpoint, Vec<CheckpointError>)>, Error> {
        let run = RunFolder::open(path)?;
        match Checkpoint::newest(&run.checkpoints(), Kind::Training.name(), identity) {
            Ok(found) => Ok(Some(found)),
            Err(CheckpointError::None { .. }) if run.has_measures() => {
                Err(Error::Run(RunError::NoCheckpoints {
                    path: path.into(),
                    kind: Kind::Training.name(),
                }))
            }
            Err(CheckpointError::None { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The result of this very training, if it is finished in a folder.
    ///
    /// # Errors
    /// If the result is of another training, or is damaged; if the description of the network has gone and cannot be
    /// written.
    pub fn finished(
        config: &TrainConfig,
        genotype: &Genotype,
        dataset: &Dataset,
        path: &Path,
    ) -> Result<Option<TrainResult>, Error> {
        let file = path.join(RESULT);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(None);
        };
        if RunFolder::look(path, Kind::Training)? == Found::Nothing {
            return Ok(None);
        }
        let about = path.join("run.json");
        let damaged = |path: &Path, reason: String| Error::Damaged {
            path: path.into(),
            reason,
        };
        let there = std::fs::read_to_string(&about).unwrap_or_default();
        // Where what it is has been lost, its checkpoints tell.
        let Ok(there) = serde_json::from_str::<About>(&there) else {
            return Ok(None);
        };
        let here = Self::identity(config, genotype, dataset);
        let differences = there.identity.differences(&here);
        if !differences.is_empty() {
            return Err(Error::OtherTraining {
                folder: path.into(),
                differences: differences.join("; "),
            });
        }
        let result = serde_json::from_str(&text).map_err(|e| damaged(&file, e.to_string()))?;
        if !Model::is_in(path) {
            // It was left by a version that did not describe its networks.
            Model::write(&RunFolder::open(path)?, dataset)?;
        }
        Ok(Some(result))
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
        let need = need(&self.config, &*self.network, &self.dataset);
        observer.note(&format!("About {} of memory.", need.told()));
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
                learning_rate: cosine(t.learning_rate, 0.0, epoch, epochs),
                drop_path: t.drop_path * epoch as f64 / epochs as f64,
                loss: 0.0,
                accuracy: 0.0,
            };
            let loss = self.step(&metrics)?;
            self.progress.loss += loss;
            self.progress.step += 1;
            let epoch_done = self.progress.step.is_multiple_of(per_epoch);
            if epoch_done {
                metrics.loss = std::mem::take(&mut self.progress.loss) / per_epoch as f64;
                metrics.accuracy = std::mem::take(&mut self.progress.tally).accuracy();
                self.metrics.append(&metrics)?;
            }
            let stopping = stop.load(Ordering::Relaxed);
            let due = saved.elapsed().as_secs_f64() >= self.config.run.checkpoint_seconds;
            if stopping || due || self.progress.step == steps {
                self.save()?;
                saved = Instant::now();
            }
            observer.step(loss);
            if epoch_done {
                observer.epoch(&metrics);
            }
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished(self.finish()?))
    }

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

    fn step(&mut self, epoch: &TrainMetrics) -> Result<f64, Error> {
        let (step, seed) = (self.progress.step, self.config.run.seed);
        let mut rng = stream(seed, Purpose::DerivedAugment, step);
        let batch = self.dataset.train.batch(
            self.order.at(step),
            &self.dataset.normalisation,
            Some((&self.augmentation, &mut rng)),
        );
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

    fn save(&mut self) -> Result<(), Error> {
        self.progress.metrics = self.metrics.position()?;
        let state = serde_json::to_value(&self.progress).map_err(std::io::Error::other)?;
        let mut checkpoint = Checkpoint::new(Kind::Training.name(), &self.identity, state);
        checkpoint.insert_vector("network", &self.weights);
        checkpoint.insert_vector("running", &self.running);
        self.stepper.save("optimiser", &mut checkpoint);
        checkpoint.save(&self.run.checkpoints(), self.progress.step)?;
        Ok(())
    }

    /// The test error, and the weights.
    fn finish(&mut self) -> Result<TrainResult, Error> {
        let test = self.dataset.test();
        let indices: Vec<u32> = (0..test.len() as u32).collect();
        let leaves = self.weights.open(None, false);
        let mut correct = 0;
        for (number, part) in (0..).zip(indices.chunks(self.config.train.batch)) {
            let pass = Pass {
                weights: &leaves,
                statistics: Statistics::Running(&self.running),
                noise: Draw {
                    seed: self.config.run.seed,
                    step: self.progress.step + number,
                },
            };
            let batch = test.batch(part, &self.dataset.normalisation, None);
            let batch = Examples::of(batch, self.dataset.classes.len(), &self.device);
            let (logits, _) = self.network.forward(&pass, batch.images.clone(), None);
            batch.note(&logits.into());
            correct += batch.correct();
        }
        let result = TrainResult {
            genotype: self.genotype.to_string(),
            parameters: self.network.parameters(),
            epochs: self.config.train.epochs,
            seed: self.config.run.seed,
            test_images: test.len(),
            test_accuracy: correct as f64 / test.len() as f64,
        };
        self.run
            .write_weights(WEIGHTS, &[&self.weights, &self.running])?;
        Model::write(&self.run, &self.dataset)?;
        self.metrics.verify()?;
        // Last, since it says that the training is finished.
        self.run.write_json(RESULT, &result)?;
        Ok(result)
    }
}
