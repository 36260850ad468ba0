//! What a search leaves in its folder while it goes on. One of several processes writes it.

use serde::Serialize;
use serde_json::json;

use super::Summary;
use super::state::{Progress, State};
use super::trial::Trial;
use crate::Error;
use crate::run::{Identity, Log, RunError, RunFolder};
use crate::space::cost::NetworkCost;

/// The run folder with its logs.
pub(super) struct Records {
    run: RunFolder,
    metrics: Log,
    timing: Log,
}

impl Records {
    /// Those of a folder whose log of measures is open, where a search is at `progress`.
    ///
    /// # Errors
    /// If the other log cannot be opened.
    pub fn open(run: RunFolder, metrics: Log, progress: &Progress) -> Result<Self, RunError> {
        Ok(Self {
            timing: run.log("timing.jsonl", &progress.timing)?,
            run,
            metrics,
        })
    }

    /// Records measures.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn measures(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        self.metrics.append(line)
    }

    /// Records the seconds of an epoch, and the bytes that a process has sent to others in it, if there are any.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn time(&mut self, epoch: usize, seconds: f64, sent: u64) -> Result<(), RunError> {
        let mut line = json!({ "epoch": epoch, "seconds": seconds });
        if sent > 0 {
            line["sent_bytes"] = sent.into();
        }
        self.timing.append(&line)
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// As the file system reports, or if something else has changed a log.
    pub fn save(&mut self, state: &mut State, identity: &Identity) -> Result<(), Error> {
        state.progress.metrics = self.metrics.position()?;
        state.progress.timing = self.timing.position()?;
        let checkpoint = state.checkpoint(identity)?;
        checkpoint.save(&self.run.checkpoints(), state.progress.step)?;
        Ok(())
    }

    /// Writes examples of explanations.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn examples(&self, file: &[u8]) -> Result<(), RunError> {
        self.run.write(super::EXPLANATIONS, file)
    }

    /// Writes what the network of what was found costs.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn cost(&self, cost: &NetworkCost) -> Result<(), RunError> {
        self.run.write_json("cost.json", cost)
    }

    /// Writes what the candidates of a selection by trainings reached.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn candidates(&self, all: &[Trial]) -> Result<(), RunError> {
        self.run.write_json(super::CANDIDATES, &all)
    }

    /// Writes what a search ends with: its weights, and last, since it says that the search is finished, its choice.
    ///
    /// # Errors
    /// As the file system reports, or if something else has changed a log.
    pub fn finish(&mut self, state: &State, summary: &Summary) -> Result<(), Error> {
        let point = &state.point;
        for (name, vector) in [
            ("weights/explainer.safetensors", &point.explainer),
            ("weights/audience.safetensors", &point.audience),
            ("weights/architecture.safetensors", &point.architecture),
        ] {
            self.run.write_weights(name, &[vector])?;
        }
        self.metrics.verify()?;
        self.timing.verify()?;
        let about = json!({
            "steps": summary.steps, "explainer_passes": summary.explainer_passes, "standing": summary.standing,
        });
        self.run.write_json("summary.json", &about)?;
        let genotype = summary.genotype.to_json();
        self.run.write("genotype.json", genotype.as_bytes())?;
        Ok(())
    }
}
