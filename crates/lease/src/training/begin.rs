//! What is looked at before a training, and how it is begun or gone on with.

use std::path::Path;
use std::sync::Arc;

use burn::optim::Sgd;
use burn::tensor::{DType, Device};
use serde::Deserialize;

use super::order::{Order, Parts, class_weights};
use super::records::Records;
use super::settings::Balance;
use super::{Model, Progress, RESULT, TrainConfig, TrainResult, Training, WEIGHTS};
use crate::Error;
use crate::collective::{Collective, alone};
use crate::config::Composite;
use crate::data::{Ahead, Dataset};
use crate::memory::Need;
use crate::method::optimiser::{Stepper, sgd};
use crate::network::{Layout, Vector};
use crate::rng::{Purpose, stream};
use crate::run::checkpoint::{Checkpoint, CheckpointError};
use crate::run::{Found, Identity, Kind, RunError, RunFolder};
use crate::space::{DerivedNetwork, Genotype};

/// Everything that keeps a training of this genotype with these settings on these images from being done, found
/// without starting it.
pub fn problems(config: &TrainConfig, genotype: &Genotype, dataset: &Dataset) -> Vec<Error> {
    let mut all: Vec<Error> = Vec::new();
    all.extend(Parts::new(config, dataset).err().map(Error::from));
    all.extend(
        crate::device::device(&config.run.device)
            .err()
            .map(Error::from),
    );
    let shape = config.shape(dataset.classes.len(), dataset.shape());
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
    let shape = config.shape(dataset.classes.len(), dataset.shape());
    Ok(need(config, &*genotype.network(&shape)?, dataset))
}

/// About the most memory that a training of this network needs at once.
pub(super) fn need(config: &TrainConfig, network: &dyn DerivedNetwork, dataset: &Dataset) -> Need {
    // Parts are computed one after the other.
    let batch = config.train.batch / config.train.ghost_batches.max(1);
    let activations = network.bytes(batch, dataset.shape());
    // Values, and the gradients that are under way.
    let activations = activations + activations / 4;
    let weights = network.weights().len();
    Need::new("this training", activations, weights, dataset.size().bytes)
}

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

/// Where a training stands when it begins, or goes on.
struct Start {
    weights: Vector,
    running: Vector,
    best: Option<[Vector; 2]>,
    stepper: Stepper<Sgd>,
    progress: Progress,
    notes: Vec<String>,
}

impl Start {
    /// The beginning.
    fn new(config: &TrainConfig, network: &dyn DerivedNetwork, device: &Device) -> Self {
        let draw = |layout: &Arc<Layout>| {
            let mut rng = stream(config.run.seed, Purpose::DerivedInit, 0);
            let values = layout.initial_values(&mut rng);
            Vector::from_values(layout.clone(), values, device, DType::F32)
        };
        Self {
            weights: draw(network.weights()),
            running: draw(network.running()),
            best: None,
            stepper: sgd(&config.rule()),
            progress: Progress::default(),
            notes: Vec::new(),
        }
    }

    /// Where a checkpoint is, newer ones having been refused.
    fn from(
        (checkpoint, refused): (Checkpoint, Vec<CheckpointError>),
        config: &TrainConfig,
        (network, order): (&dyn DerivedNetwork, &Order),
        device: &Device,
    ) -> Result<Self, Error> {
        let progress: Progress = checkpoint.state()?;
        let steps = order.batches_per_epoch() * config.train.epochs as u64;
        if progress.step > steps {
            let reason = format!("it is at step {} of {steps}", progress.step);
            return Err(checkpoint.unusable(reason).into());
        }
        let images = order.batches_per_epoch() * config.train.batch as u64;
        if !progress.tally.is_of_at_most(images) {
            let reason = format!("it counts more images than the {images} of an epoch");
            return Err(checkpoint.unusable(reason).into());
        }
        let told = |e: &CheckpointError| format!("Using the checkpoint before: {e}.");
        let mut notes: Vec<String> = refused.iter().map(told).collect();
        notes.push(format!("Resuming after step {}.", progress.step));
        let weights = checkpoint.vector("network", network.weights(), device)?;
        let running = checkpoint.vector("running", network.running(), device)?;
        let best = match progress.best {
            Some(_) => Some([
                checkpoint.vector("best_network", network.weights(), device)?,
                checkpoint.vector("best_running", network.running(), device)?,
            ]),
            None => None,
        };
        let mut stepper = sgd(&config.rule());
        stepper.load("optimiser", &checkpoint, (&weights, progress.step), device)?;
        Ok(Self {
            weights,
            running,
            best,
            stepper,
            progress,
            notes,
        })
    }
}

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
        Self::together(config, genotype, dataset, path, alone())
    }

    /// The same by all of `peers`, of which process 0 writes the folder.
    ///
    /// # Errors
    /// As [`Training::new`]; also if the processes cannot share the parts of a batch, or do not have the same settings and
    /// images.
    pub fn together(
        config: TrainConfig,
        genotype: Genotype,
        dataset: Dataset,
        path: &Path,
        peers: Arc<dyn Collective>,
    ) -> Result<Self, Error> {
        let team = config.team(peers)?;
        let device = crate::device::device(&config.run.device)?;
        let shape = config.shape(dataset.classes.len(), dataset.shape());
        let network = genotype.network(&shape)?;
        let parts = Parts::new(&config, &dataset)?;
        let order = Order::new(&config, &dataset, &parts.train)?;
        let weights = class_weights(&dataset, &parts.train);
        let identity = Self::identity(&config, &genotype, &dataset);
        team.same(&identity.digest())?;
        let found = match team.leads() {
            true => RunFolder::look(path, Kind::Training)?,
            false => Found::Nothing,
        };
        let earlier = match found {
            Found::Run => Self::newest(path, &identity)?,
            Found::Nothing => None,
        };
        let whose = (Kind::Training.name(), &identity);
        let earlier = Checkpoint::shared(earlier, path, whose, team.peers())?;
        let new = earlier.is_none();
        let at = match earlier {
            Some(found) => Start::from(found, &config, (&*network, &order), &device)?,
            None => Start::new(&config, &*network, &device),
        };
        let records = match team.leads() {
            true => {
                let about = about(&config, &dataset, &identity);
                let (run, metrics) = match found {
                    Found::Nothing => RunFolder::create(path, Kind::Training, about)?,
                    Found::Run => {
                        let run = RunFolder::open(path)?;
                        let metrics = run.go_on(Kind::Training, about, &at.progress.metrics)?;
                        (run, metrics)
                    }
                };
                run.write("genotype.json", genotype.to_json().as_bytes())?;
                run.write("config.toml", config.to_toml().as_bytes())?;
                Some(Records::new(run, metrics))
            }
            false => None,
        };
        let augmentation = dataset.augmentation(&config.data.images, config.train.cutout);
        let config_balance = config.train.balance;
        let mut training = Self {
            config,
            genotype,
            dataset,
            device,
            network,
            order,
            validation: parts.validation,
            class_weights: (config_balance == Balance::Weights).then_some(weights),
            augmentation,
            ahead: Ahead::default(),
            team,
            records,
            identity,
            weights: at.weights,
            running: at.running,
            best: at.best,
            stepper: at.stepper,
            progress: at.progress,
            notes: at.notes,
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
        if !Model::is_in(path) && path.join(WEIGHTS).is_file() {
            // It was left by a version that did not describe its networks.
            Model::write(&RunFolder::open(path)?, dataset)?;
        }
        Ok(Some(result))
    }
}
