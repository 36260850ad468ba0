//! All that changes during a search, and its checkpoints.

use burn::optim::{Adam, Sgd};
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use super::guard::{Fired, Watched};
use crate::Error;
use crate::config::{Config, StageReached};
use crate::method::{Examples, Models, Point};
use crate::network::Vector;
use crate::optimiser::{Stepper, adam, sgd};
use crate::rng::{Purpose, stream};
use crate::run::RunFolder;
use crate::run::checkpoint::{Checkpoint, CheckpointError};

const KIND: &str = "search";

/// How many images were classified correctly.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    correct: u64,
    seen: u64,
}

impl Tally {
    /// Counts the batch's last noted pass.
    pub(crate) fn add(&mut self, batch: &Examples) {
        self.correct += batch.correct() as u64;
        self.seen += batch.images.dims()[0] as u64;
    }

    pub(crate) fn accuracy(self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}

/// The position of a search; with the seed it determines every random number to come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Steps done.
    pub step: u64,
    /// Of this epoch.
    pub explainer: Tally,
    /// Of this epoch.
    pub audience: Tally,
    /// The length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// The length of `timing.jsonl`.
    pub timing_bytes: u64,
    /// The stage.
    #[serde(default)]
    pub stage: StageReached,
    /// What the safeguards remember, epoch by epoch.
    #[serde(default)]
    pub watched: Vec<Watched>,
    /// The safeguard that ended the search.
    #[serde(default)]
    pub fired: Option<Fired>,
}

pub(super) struct State {
    pub point: Point,
    pub progress: Progress,
    pub explainer_stepper: Stepper<Sgd>,
    pub audience_stepper: Stepper<Sgd>,
    pub architecture_stepper: Stepper<Adam>,
}

/// The newest usable checkpoint and the progress in it, if there is a checkpoint yet.
pub(super) type Found = Option<(Checkpoint, Progress)>;

/// Looks for a run's newest usable checkpoint; also what a person should know about it.
pub(super) fn newest(run: &RunFolder, fingerprint: &str) -> Result<(Found, Vec<String>), Error> {
    let (checkpoint, refused) = match Checkpoint::newest(&run.checkpoints(), KIND, fingerprint) {
        Ok(found) => found,
        Err(CheckpointError::None { .. }) => {
            let note = "No checkpoint was written yet: starting from the beginning.";
            return Ok((None, vec![note.into()]));
        }
        Err(error) => return Err(error.into()),
    };
    let progress: Progress = checkpoint.state()?;
    let refused = refused.iter();
    let mut notes: Vec<String> = refused
        .map(|e| format!("Using the checkpoint before: {e}."))
        .collect();
    notes.push(format!("Resuming after step {}.", progress.step));
    Ok((Some((checkpoint, progress)), notes))
}

impl State {
    /// The start of a stage.
    pub fn start(config: &Config, models: &Models, device: &Device, progress: Progress) -> Self {
        let stage = progress.stage.number as u64;
        let draw = |layout: &std::sync::Arc<crate::network::Layout>, purpose| {
            let values = layout.initial_values(&mut stream(config.search.seed, purpose, stage));
            Vector::from_values(layout.clone(), values, device, DType::F32)
        };
        let point = Point {
            explainer: draw(models.explainer.weights(), Purpose::ExplainerInit),
            audience: draw(models.audience.weights(), Purpose::AudienceInit),
            architecture: draw(models.explainer.architecture(), Purpose::ArchitectureInit),
        };
        Self::at(config, point, progress)
    }

    fn at(config: &Config, point: Point, progress: Progress) -> Self {
        let (s, w) = (&config.search, &config.audience);
        Self {
            point,
            progress,
            explainer_stepper: sgd(s.momentum, s.weight_decay, s.clip),
            audience_stepper: sgd(s.momentum, w.weight_decay, s.clip),
            architecture_stepper: adam(s.architecture_weight_decay),
        }
    }

    /// The state of a checkpoint.
    pub fn restore(
        config: &Config,
        models: &Models,
        device: &Device,
        (checkpoint, progress): (Checkpoint, Progress),
    ) -> Result<Self, Error> {
        let vector = |name, layout| checkpoint.vector(name, layout, device);
        let point = Point {
            explainer: vector("explainer", models.explainer.weights())?,
            audience: vector("audience", models.audience.weights())?,
            architecture: vector("architecture", models.explainer.architecture())?,
        };
        let mut state = Self::at(config, point, progress);
        state
            .explainer_stepper
            .load("optimiser.explainer", &checkpoint, device)?;
        state
            .audience_stepper
            .load("optimiser.audience", &checkpoint, device)?;
        state
            .architecture_stepper
            .load("optimiser.architecture", &checkpoint, device)?;
        Ok(state)
    }

    pub fn checkpoint(&self, fingerprint: &str) -> Result<Checkpoint, Error> {
        let progress = serde_json::to_value(&self.progress).map_err(std::io::Error::other)?;
        let mut checkpoint = Checkpoint::new(KIND, fingerprint, progress);
        checkpoint.insert_vector("explainer", &self.point.explainer);
        checkpoint.insert_vector("audience", &self.point.audience);
        checkpoint.insert_vector("architecture", &self.point.architecture);
        self.explainer_stepper
            .save("optimiser.explainer", &mut checkpoint);
        self.audience_stepper
            .save("optimiser.audience", &mut checkpoint);
        self.architecture_stepper
            .save("optimiser.architecture", &mut checkpoint);
        Ok(checkpoint)
    }
}
