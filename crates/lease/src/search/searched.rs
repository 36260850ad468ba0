//! The supernet of a search, as its newest checkpoint has it.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use super::{Search, SearchConfig, budget, state};
use crate::Error;
use crate::collective::Team;
use crate::config::{Composite, SectionInfo};
use crate::data::Dataset;
use crate::network::Vector;
use crate::run::RunFolder;
use crate::run::checkpoint::CheckpointError;
use crate::space::Explainer;

/// A search's supernet.
pub struct Searched {
    /// The search's settings.
    pub config: SearchConfig,
    /// f(·; E, A).
    pub explainer: Arc<dyn Explainer>,
    /// E.
    pub weights: Vector,
    /// A.
    pub architecture: Vector,
    /// Steps done.
    pub step: u64,
    /// Where it computes.
    pub device: Device,
}

impl Searched {
    /// That of the search in a folder, finished or not, on the images that its configuration names. `device` is as in
    /// [`crate::device::device`], `others` are sections of other commands that the configuration may have.
    ///
    /// # Errors
    /// If there is no search, or no usable checkpoint of one with these images; if there is no such device.
    pub fn load(
        path: &Path,
        device: &str,
        dataset: &Dataset,
        others: &[&'static SectionInfo],
    ) -> Result<Self, Error> {
        let (text, file) = RunFolder::configuration(path)?;
        let config = SearchConfig::parse(&text, &file.display().to_string(), others)?;
        let device = crate::device::device(device)?;
        let team = Team::alone(1);
        let latencies = budget::kept(&config, path, team.peers())?;
        let identity = Search::identity(&config, dataset, latencies.as_ref());
        let found = state::newest(path, &identity, &team)?;
        let (checkpoint, progress, _) = found.ok_or_else(|| CheckpointError::None {
            folder: path.join("checkpoints"),
        })?;
        let sizes = dataset.size();
        let models = Search::networks(&config, &sizes, &progress.stage, latencies.as_ref())?;
        let explainer = models.explainer;
        Ok(Self {
            weights: checkpoint.vector("explainer", explainer.weights(), &device)?,
            architecture: checkpoint.vector("architecture", explainer.architecture(), &device)?,
            config,
            explainer,
            step: progress.step,
            device,
        })
    }
}
