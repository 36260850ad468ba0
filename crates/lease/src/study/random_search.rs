//! Random search with short training: architectures drawn uniformly, each
//! trained briefly on the search's training part, and the one kept that is most accurate on its validation part.
//! The test images are not looked at.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::{ComparisonConfig, RandomSearchSettings};
use crate::Error;
use crate::collective::alone;
use crate::config::Composite;
use crate::data::{DataError, Dataset};
use crate::memory::Need;
use crate::rng::{Purpose, stream};
use crate::run::RunFolder;
use crate::search::trial::{self, Trial, Trials};
use crate::space::Genotype;
use crate::training::{self, Observer, TrainConfig};

/// What a random search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The architecture most accurate on the validation part; of equals the first.
    pub genotype: Genotype,
    /// All draws, in order.
    pub draws: Vec<Trial>,
    /// Steps of training in all.
    pub steps: u64,
}

/// What it reads of a search's settings, as section and key, beside the space.
pub(super) const READ: [(&str, &str); 10] = [
    ("explainer", "channels"),
    ("explainer", "cells"),
    ("search", "batch"),
    ("search", "ghost_batches"),
    ("search", "learning_rate"),
    ("search", "momentum"),
    ("search", "weight_decay"),
    ("search", "clip"),
    ("method", "split"),
    ("method", "training_share"),
];

/// The configuration of a draw's training.
fn short(config: &ComparisonConfig) -> TrainConfig {
    let edge_skips = config.study.train.train.edge_skips;
    trial::short(&config.study.search, config.random.epochs, edge_skips)
}

/// Everything that keeps a random search with these settings on these images from being done.
pub fn problems(config: &ComparisonConfig, dataset: &Dataset) -> Vec<Error> {
    let parts = trial::partition(&config.study.search, dataset);
    let batch = config.study.search.search.batch;
    let mut all: Vec<Error> = Vec::new();
    if config.random.epochs == 0 {
        let reason = trial::unknown(&config.study.search);
        let setting = RandomSearchSettings::setting("epochs");
        all.extend(reason.map(|reason| setting.range("0", reason).into()));
    }
    for (part, images) in [
        ("the explainer's training part", parts.explainer_train.len()),
        ("the explainer's validation part", parts.explainer_val.len()),
    ] {
        if images < batch {
            all.push(Error::Data(DataError::TooFew {
                part,
                images,
                batch,
            }));
        }
    }
    all.extend(crate::search::lacking(&config.study.search, dataset));
    let genotype = config.study.random_genotype(0);
    let shape = short(config).shape(dataset.classes.len(), dataset.shape());
    all.extend(genotype.network(&shape).err().map(Error::from));
    all
}

/// About the most memory that a random search with these settings on these images needs at once.
///
/// # Errors
/// If a network cannot be built.
pub fn memory(config: &ComparisonConfig, dataset: &Dataset) -> Result<Need, Error> {
    let genotype = config.study.random_genotype(0);
    training::memory(&short(config), &genotype, dataset)
}

/// Searches at random in a folder, or goes on with the search that was interrupted there; nothing if it was stopped.
///
/// # Errors
/// If the validation part is smaller than a batch, or a finished draw in the folder is of other settings or images; also
/// as [`Trials::tried`].
pub fn random_search(
    config: &ComparisonConfig,
    dataset: &Dataset,
    path: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Found>, Error> {
    let (s, seed) = (&config.study.search.search, config.study.search.run.seed);
    Error::all(problems(config, dataset))?;
    let run = RunFolder::open(path)?;
    run.tidy();
    run.write("config.toml", config.to_toml().as_bytes())?;
    let how = (config.random.epochs, config.study.train.train.edge_skips);
    let trials = Trials::new(&config.study.search, how, dataset, alone());
    let mut draws = Vec::with_capacity(config.random.draws);
    let mut best: Option<(f64, Genotype)> = None;
    for number in 0..config.random.draws {
        let mut rng = stream(seed, Purpose::RandomSearch, number as u64);
        let space = &config.study.search.space;
        let genotype = config
            .study
            .random_within(dataset, || space.random(&mut rng))?;
        let folder = path.join(format!("draw-{number}"));
        let Some(draw) = trials.tried(&genotype, &folder, observer, stop)? else {
            return Ok(None);
        };
        if best.as_ref().is_none_or(|(a, _)| draw.val_accuracy > *a) {
            best = Some((draw.val_accuracy, genotype));
        }
        draws.push(draw);
    }
    let Some((_, genotype)) = best else {
        unreachable!("the configuration has at least one draw");
    };
    run.write_json("draws.json", &draws)?;
    run.write("genotype.json", genotype.to_json().as_bytes())?;
    let parts = trial::partition(&config.study.search, dataset);
    let per_epoch = parts.explainer_train.len() / s.batch;
    Ok(Some(Found {
        genotype,
        draws,
        steps: (per_epoch * config.random.epochs * config.random.draws) as u64,
    }))
}
