//! What a training leaves in its folder. One of several processes writes it.

use super::{COST, Model, RESULT, TrainMetrics, TrainResult, Training, WEIGHTS};
use crate::Error;
use crate::data::Dataset;
use crate::network::Vector;
use crate::run::checkpoint::Checkpoint;
use crate::run::{Kind, Log, LogPosition, RunError, RunFolder};
use crate::space::cost::NetworkCost;

/// The folder with its log.
pub(super) struct Records {
    run: RunFolder,
    metrics: Log,
}

impl Records {
    /// Those of a folder whose log is open.
    pub fn new(run: RunFolder, metrics: Log) -> Self {
        Self { run, metrics }
    }

    /// Records an epoch.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn epoch(&mut self, metrics: &TrainMetrics) -> Result<(), RunError> {
        self.metrics.append(metrics)
    }

    /// Writes what the network costs.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn cost(&self, cost: &NetworkCost) -> Result<(), RunError> {
        self.run.write_json(COST, cost)
    }

    /// Where the log is, once that is on the disk.
    fn position(&mut self) -> Result<LogPosition, RunError> {
        self.metrics.position()
    }

    /// Writes what a training ends with.
    ///
    /// # Errors
    /// As the file system reports, or if something else has changed the log.
    pub fn finish(
        &mut self,
        weights: &[&Vector],
        dataset: &Dataset,
        result: &TrainResult,
    ) -> Result<(), Error> {
        self.run.write_weights(WEIGHTS, weights)?;
        Model::write(&self.run, dataset)?;
        self.metrics.verify()?;
        // Last, since it says that the training is finished.
        self.run.write_json(RESULT, result)?;
        Ok(())
    }
}

impl Training {
    /// Writes a checkpoint, if all processes are at the same point.
    pub(super) fn save(&mut self) -> Result<(), Error> {
        let numbers = [
            ("weights", &self.weights),
            ("running statistics", &self.running),
        ];
        self.team.together(self.progress.step, numbers)?;
        let Some(records) = &mut self.records else {
            return Ok(());
        };
        self.progress.metrics = records.position()?;
        let state = serde_json::to_value(&self.progress).map_err(std::io::Error::other)?;
        let mut checkpoint = Checkpoint::new(Kind::Training.name(), &self.identity, state);
        checkpoint.insert_vector("network", &self.weights);
        checkpoint.insert_vector("running", &self.running);
        if let Some([weights, running]) = &self.best {
            checkpoint.insert_vector("best_network", weights);
            checkpoint.insert_vector("best_running", running);
        }
        self.stepper.save("optimiser", &mut checkpoint);
        checkpoint.save(&records.run.checkpoints(), self.progress.step)?;
        Ok(())
    }
}
