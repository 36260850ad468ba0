//! All that changes during a search, and its checkpoints.

use std::path::Path;

use burn::optim::{Adam, Sgd};
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use super::SearchConfig;
use super::freezing::Freezing;
use super::guard::{Fired, Watched};
use crate::Error;
use crate::collective::Team;
use crate::method::optimiser::{Stepper, adam, sgd};
use crate::method::{Models, Point, Tally, Unrolling};
use crate::network::Vector;
use crate::rng::{Purpose, stream};
use crate::run::checkpoint::{Checkpoint, CheckpointError};
use crate::run::{Identity, Kind, LogPosition, RunError, RunFolder};
use crate::space::{Genotype, StageReached};

/// The position of a search; with the seed it determines every random number to come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Steps done.
    pub step: u64,
    /// Of this epoch.
    pub explainer: Tally,
    /// Of this epoch.
    pub audience: Tally,
    /// Where `metrics.jsonl` is.
    pub metrics: LogPosition,
    /// Where `timing.jsonl` is.
    pub timing: LogPosition,
    /// The stage.
    pub stage: StageReached,
    /// What operation-level early stopping remembers.
    #[serde(default)]
    pub freezing: Freezing,
    /// What the safeguards remember, epoch by epoch.
    pub watched: Vec<Watched>,
    /// The safeguard that ended the search.
    pub fired: Option<Fired>,
}

impl Progress {
    /// What is wrong with a position that a file says a search with these settings is at.
    pub fn check(&self, config: &SearchConfig, per_epoch: u64) -> Result<(), String> {
        let stages = config.stages().len() as u64;
        let per_stage = per_epoch * config.search.epochs as u64;
        let epochs = self.step / per_epoch;
        let stage = (self.step / per_stage).min(stages - 1);
        if self.step > per_stage * stages {
            return Err(format!("it is at step {}, which there is not", self.step));
        }
        if self.stage.number as u64 != stage {
            return Err(format!(
                "it is in stage {} at step {}",
                self.stage.number, self.step
            ));
        }
        if self.watched.len() as u64 != epochs {
            return Err(format!(
                "it remembers {} epochs of {epochs}",
                self.watched.len()
            ));
        }
        for (epoch, watched) in self.watched.iter().enumerate() {
            if let Err(error) = Genotype::parse(&watched.genotype) {
                return Err(format!("its choice of epoch {epoch}: {error}"));
            }
        }
        if let Some(fired) = self.fired.as_ref().filter(|f| f.epoch as u64 >= epochs) {
            return Err(format!("epoch {} has no choice to go back to", fired.epoch));
        }
        let images = per_epoch * config.search.batch as u64;
        if ![self.explainer, self.audience]
            .iter()
            .all(|t| t.is_of_at_most(images))
        {
            return Err(format!(
                "it counts more images than the {images} of an epoch"
            ));
        }
        Ok(())
    }
}

pub(super) struct State {
    pub point: Point,
    pub progress: Progress,
    pub explainer_stepper: Stepper<Sgd>,
    pub audience_stepper: Stepper<Sgd>,
    pub architecture_stepper: Stepper<Adam>,
}

/// A run's newest usable checkpoint, the progress in it, and what a person should know about it; none where no
/// checkpoint is there. Process 0 reads it for all.
pub(super) fn newest(
    path: &Path,
    identity: &Identity,
    team: &Team,
) -> Result<Option<(Checkpoint, Progress, Vec<String>)>, Error> {
    let kind = Kind::Search.name();
    let folder = path.join("checkpoints");
    let found = match team.leads() {
        true => match Checkpoint::newest(&folder, kind, identity) {
            Ok((checkpoint, refused)) => Some((checkpoint, refused)),
            Err(CheckpointError::None { .. }) => None,
            Err(error) => return Err(error.into()),
        },
        false => None,
    };
    let found = Checkpoint::shared(found, &folder, (kind, identity), team.peers())?;
    let Some((checkpoint, refused)) = found else {
        return Ok(None);
    };
    let progress: Progress = checkpoint.state()?;
    let told = |e: &CheckpointError| format!("Using the checkpoint before: {e}.");
    Ok(Some((
        checkpoint,
        progress,
        refused.iter().map(told).collect(),
    )))
}

/// Whether a run without checkpoints can be started again.
///
/// # Errors
/// If its log has lines: its checkpoints are gone.
pub(super) fn has_no_measures(run: &RunFolder) -> Result<(), RunError> {
    if !run.has_measures() {
        return Ok(());
    }
    Err(RunError::NoCheckpoints {
        path: run.path().into(),
        kind: Kind::Search.name(),
    })
}

impl State {
    /// The start of a stage.
    pub fn start(
        config: &SearchConfig,
        models: &Models,
        device: &Device,
        progress: Progress,
    ) -> Self {
        let stage = progress.stage.number as u64;
        let draw = |layout: &std::sync::Arc<crate::network::Layout>, purpose| {
            let values = layout.initial_values(&mut stream(config.run.seed, purpose, stage));
            Vector::from_values(layout.clone(), values, device, DType::F32)
        };
        let point = Point {
            explainer: draw(models.explainer.weights(), Purpose::ExplainerInit),
            audience: draw(models.audience.weights(), Purpose::AudienceInit),
            architecture: draw(models.explainer.architecture(), Purpose::ArchitectureInit),
        };
        Self::at(config, point, progress)
    }

    fn at(config: &SearchConfig, point: Point, progress: Progress) -> Self {
        Self {
            point,
            progress,
            explainer_stepper: sgd(&config.explainer_rule()),
            audience_stepper: sgd(&config.audience_rule()),
            architecture_stepper: adam(config.search.architecture_weight_decay),
        }
    }

    /// A's real step.
    pub fn step_architecture(&mut self, config: &SearchConfig, gradient: &Vector) {
        let rate = config.search.architecture_learning_rate;
        let at = &self.point.architecture;
        self.point.architecture = self.architecture_stepper.step(rate, at, gradient);
    }

    /// E's real step, in those of its numbers that train.
    pub fn step_explainer(
        &mut self,
        settings: &Unrolling,
        gradient: &Vector,
        trains: Option<&Vector>,
    ) {
        let rate = settings.explainer.learning_rate;
        let at = &self.point.explainer;
        let stepped = self.explainer_stepper.step(rate, at, gradient);
        self.point.explainer = match trains {
            Some(trains) => at.add_scaled(1.0, &stepped.add_scaled(-1.0, at).times(trains)),
            None => stepped,
        };
    }

    /// W's real step.
    pub fn step_audience(&mut self, settings: &Unrolling, gradient: &Vector) {
        let rate = settings.audience.learning_rate;
        let at = &self.point.audience;
        self.point.audience = self.audience_stepper.step(rate, at, gradient);
    }

    /// The state of a checkpoint.
    pub fn restore(
        config: &SearchConfig,
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
        let (p, steps) = (&state.point, state.progress.step);
        state.explainer_stepper.load(
            "optimiser.explainer",
            &checkpoint,
            (&p.explainer, steps),
            device,
        )?;
        state.audience_stepper.load(
            "optimiser.audience",
            &checkpoint,
            (&p.audience, steps),
            device,
        )?;
        state.architecture_stepper.load(
            "optimiser.architecture",
            &checkpoint,
            (&p.architecture, steps),
            device,
        )?;
        Ok(state)
    }

    pub fn checkpoint(&self, identity: &Identity) -> Result<Checkpoint, Error> {
        let progress = serde_json::to_value(&self.progress).map_err(std::io::Error::other)?;
        let mut checkpoint = Checkpoint::new(Kind::Search.name(), identity, progress);
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
