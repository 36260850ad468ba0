//! The settings of a training from scratch, and all that it reads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::collective::{Collective, CollectiveError, Team};
use crate::config::{
    Composite, ConfigError, Layers, Rule, Section, SectionInfo, Setting, overlay, preset, section,
};
use crate::data::{self, DataConfig, DataSettings};
use crate::method::optimiser::{SgdRule, cosine};
use crate::network::NetworkSettings;
use crate::run::RunSettings;
use crate::space::{DerivedShape, Entry, Genotype};

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// By a cosine.
    #[default]
    Cosine,
    /// By the same amount in each epoch.
    Linear,
}

/// The widths of DARTS's auxiliary head.
const AUXILIARY_WIDTHS: [usize; 2] = [128, 768];

/// What is done where classes have different numbers of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Nothing: each image counts alike.
    #[default]
    None,
    /// The loss of an image is multiplied by images / (classes · images of its class).
    Weights,
    /// Equally many images of each class are drawn.
    Sampling,
}

section! {
    /// Training a derived network from scratch.
    TrainSettings, "train", "train" {
        /// Channels of the first cells.
        channels: usize = 36 => Rule::whole(1, 4_096);
        /// Cells; in networks of NAS-Bench-201 those of each of the three stages.
        cells: usize = 20 => Rule::whole(1, 256);
        /// Epochs.
        epochs: usize = 600 => Rule::whole(1, 100_000);
        /// Images in a mini-batch.
        batch: usize = 96 => Rule::whole(1, 65_536);
        /// Parts that every batch is cut into ("ghost batches"): batch norm normalises each by itself, and they are computed one after the other, which takes less memory. Several processes share them, so it is a multiple of their number.
        ghost_batches: usize = 1 => Rule::whole(1, 65_536);
        /// Learning rate at the start; it ends at 0.
        learning_rate: f64 = 0.025 => Rule::POSITIVE;
        /// How the learning rate falls: by a cosine, or linearly.
        schedule: Schedule = Schedule::Cosine, ["cosine", "linear"];
        /// Momentum.
        momentum: f64 = 0.9 => Rule::BELOW_1;
        /// Whether the momentum looks ahead (Nesterov).
        nesterov: bool = false;
        /// Weight decay.
        weight_decay: f64 = 3e-4 => Rule::NOT_NEGATIVE;
        /// Largest norm of the gradient; 0 means any.
        clip: f64 = 5.0 => Rule::NOT_NEGATIVE;
        /// Probability of dropping a path, reached at the last epoch and proportional to the epoch before.
        drop_path: f64 = 0.2 => Rule::BELOW_1;
        /// Weight of the auxiliary head's loss; 0 means no auxiliary head.
        auxiliary: f64 = 0.4 => Rule::NOT_NEGATIVE;
        /// Whether every operation has a skip-connect beside it, as in the all-skip spaces of DARTS-Bench-Suite.
        edge_skips: bool = false;
        /// Side of the square that cutout blanks, as a share of the image's side; 0 means none.
        cutout: f64 = 0.5 => Rule::SHARE;
        /// The share of each label that is spread evenly over all classes.
        label_smoothing: f64 = 0.0 => Rule::BELOW_1;
        /// Share of the training images held out, class by class: their accuracy is told after each epoch, and the weights of the best epoch are kept. 0 means none, and the last weights.
        validation: f64 = 0.0 => Rule::BELOW_1.later();
        /// What makes classes with few images count as much as those with many: nothing, weights of their losses, or equally many images of each in an epoch.
        balance: Balance = Balance::None, ["none", "weights", "sampling"] => Rule::ANY.later();
    }
}

/// All that a training reads.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    /// Images.
    pub data: DataConfig,
    /// What all networks share.
    pub network: NetworkSettings,
    /// The training.
    pub train: TrainSettings,
    /// The run.
    pub run: RunSettings,
}

impl Composite for TrainConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = DataConfig::scope();
        all.extend([
            NetworkSettings::INFO,
            TrainSettings::INFO,
            RunSettings::INFO,
        ]);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            data: DataConfig::read(values)?,
            network: Section::of(values)?,
            train: Section::of(values)?,
            run: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = self.data.tables();
        all.extend([self.network.table(), self.train.table(), self.run.table()]);
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        let t = &self.train;
        let mut all = self.data.problems();
        if !t.batch.is_multiple_of(t.ghost_batches) {
            let reason = format!("it must divide the batch of {} images", t.batch);
            let setting = TrainSettings::setting("ghost_batches");
            all.push(setting.range(t.ghost_batches.to_string(), reason));
        }
        all
    }

    fn unread(&self, setting: &Setting) -> String {
        self.data.unread(setting)
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.data.stray(upper)
    }
}

/// The presets that a training of this genotype lies on: how the authors of its kind of networks train, and those of the space
/// that it was found in, if that is known; and what fits the data set.
///
/// # Errors
/// If a preset cannot be read.
pub fn presets(
    genotype: &Genotype,
    space: Option<&Entry>,
    upper: &[&Table],
) -> Result<Vec<Table>, ConfigError> {
    let mut values = Table::new();
    for section in [DataSettings::INFO, NetworkSettings::INFO] {
        values.insert(section.name.into(), Value::Table(Table::new()));
    }
    upper.iter().for_each(|table| overlay(&mut values, table));
    let dataset = DataSettings::of(&values)?.dataset;
    let mut all = data::presets(&values)?;
    all.extend([
        preset(genotype.recipe())?,
        preset(space.map_or("", |space| space.recipe))?,
        preset(dataset.preset())?,
    ]);
    Ok(all)
}

impl TrainSettings {
    /// The learning rate in an epoch.
    pub fn rate(&self, epoch: usize) -> f64 {
        match self.schedule {
            Schedule::Cosine => cosine(self.learning_rate, 0.0, epoch, self.epochs),
            Schedule::Linear => self.learning_rate * (1.0 - epoch as f64 / self.epochs as f64),
        }
    }
}

impl TrainConfig {
    /// The network for images of `image` (channels, height, width).
    pub fn shape(&self, classes: usize, image: [usize; 3]) -> DerivedShape {
        let t = &self.train;
        DerivedShape {
            channels: t.channels,
            cells: t.cells,
            classes,
            image,
            auxiliary: (t.auxiliary > 0.0).then_some(AUXILIARY_WIDTHS),
            edge_skips: t.edge_skips,
            stem: self.network.stem.for_images(image),
        }
    }

    /// The processes `peers` over the parts of a batch.
    ///
    /// # Errors
    /// If they cannot share them.
    pub fn team(&self, peers: Arc<dyn Collective>) -> Result<Team, CollectiveError> {
        Team::new(peers, self.train.ghost_batches, "--train-ghost-batches")
    }

    /// How the weights step.
    pub fn rule(&self) -> SgdRule {
        let t = &self.train;
        SgdRule {
            momentum: t.momentum,
            nesterov: t.nesterov,
            weight_decay: t.weight_decay,
            clip: t.clip,
        }
    }
}
