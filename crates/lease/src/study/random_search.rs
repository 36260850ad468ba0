//! Random search with short training: architectures drawn uniformly, each
//! trained briefly on the search's training part, and the one kept that is most accurate on its validation part.
//! The test images are not looked at.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::ComparisonConfig;
use crate::Error;
use crate::config::Composite;
use crate::data::{DataError, Dataset, Partition};
use crate::memory::Need;
use crate::rng::{Purpose, stream};
use crate::run::{Identity, RunFolder};
use crate::space::Genotype;
use crate::training::{self, Observer, Outcome, TrainConfig, TrainResult, Training};

/// One architecture drawn and trained: a line of `draws.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// The architecture, in the notation of its space.
    pub genotype: String,
    /// The share of the validation images classified correctly after the short training.
    pub val_accuracy: f64,
    /// Parameters of the network that was trained.
    pub parameters: usize,
    /// Seconds of the training, if it was not interrupted.
    pub seconds: f64,
    /// A digest of the settings, the architecture and the images.
    pub fingerprint: String,
}

/// What a random search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The architecture most accurate on the validation part; of equals the first.
    pub genotype: Genotype,
    /// All draws, in order.
    pub draws: Vec<Draw>,
    /// Steps of training in all.
    pub steps: u64,
}

/// What it reads of a search's settings, as section and key, beside the space.
pub(super) const READ: [(&str, &str); 9] = [
    ("explainer", "channels"),
    ("explainer", "cells"),
    ("search", "batch"),
    ("search", "learning_rate"),
    ("search", "momentum"),
    ("search", "weight_decay"),
    ("search", "clip"),
    ("method", "split"),
    ("method", "training_share"),
];

/// The configuration of a short training: a network of the supernet's size, with the search's batches and learning
/// rate, whose cosine ends at 0.
fn short(config: &ComparisonConfig) -> TrainConfig {
    let (e, s) = (&config.study.search.explainer, &config.study.search.search);
    let mut short = config.study.train.clone();
    let t = &mut short.train;
    t.channels = e.channels;
    t.cells = config
        .study
        .search
        .stages()
        .first()
        .map_or(e.cells, |stage| stage.cells);
    t.epochs = config.random.epochs;
    t.batch = s.batch;
    t.learning_rate = s.learning_rate;
    (t.momentum, t.nesterov) = (s.momentum, false);
    t.weight_decay = s.weight_decay;
    t.clip = s.clip;
    (t.drop_path, t.auxiliary, t.cutout) = (0.0, 0.0, 0.0);
    short
}

/// The parts of the training images that train and validate, in the order of [`Partition`].
fn partition(config: &ComparisonConfig, dataset: &Dataset) -> Partition {
    let m = &config.study.search.method;
    dataset.partition(m.split, m.training_share, config.study.search.run.seed)
}

/// Everything that keeps a random search with these settings on these images from being done.
pub fn problems(config: &ComparisonConfig, dataset: &Dataset) -> Vec<Error> {
    let parts = partition(config, dataset);
    let batch = config.study.search.search.batch;
    let mut all: Vec<Error> = Vec::new();
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
/// as [`Training::new`] and [`Training::run`].
pub fn random_search(
    config: &ComparisonConfig,
    dataset: &Dataset,
    path: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Found>, Error> {
    let (s, seed) = (&config.study.search.search, config.study.search.run.seed);
    let parts = partition(config, dataset);
    Error::all(problems(config, dataset))?;
    let dataset = dataset.validating(&parts.explainer_train, &parts.explainer_val);
    let run = RunFolder::open(path)?;
    run.tidy();
    run.write("config.toml", config.to_toml().as_bytes())?;
    let short = short(config);
    let mut draws = Vec::with_capacity(config.random.draws);
    let mut best: Option<(f64, Genotype)> = None;
    for number in 0..config.random.draws {
        let mut rng = stream(seed, Purpose::RandomSearch, number as u64);
        let space = &config.study.search.space;
        let genotype = config
            .study
            .random_within(&dataset, || space.random(&mut rng))?;
        let folder = path.join(format!("draw-{number}"));
        let Some(draw) = one(&short, &genotype, &dataset, &folder, observer, stop)? else {
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
    let per_epoch = parts.explainer_train.len() / s.batch;
    Ok(Some(Found {
        genotype,
        draws,
        steps: (per_epoch * config.random.epochs * config.random.draws) as u64,
    }))
}

/// Trains one architecture, unless that is done.
fn one(
    config: &TrainConfig,
    genotype: &Genotype,
    dataset: &Dataset,
    path: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Draw>, Error> {
    let file = path.join("draw.json");
    let images = ("the images", dataset.whole_digest());
    let more = [("the genotype", genotype.to_string()), images];
    let fingerprint = Identity::new(config, &more).digest();
    if let Ok(text) = std::fs::read_to_string(&file) {
        let damaged = |reason: String| Error::Damaged { path: file, reason };
        let draw: Result<Draw, _> = serde_json::from_str(&text);
        return match draw {
            Ok(draw) if draw.fingerprint == fingerprint => Ok(Some(draw)),
            Ok(_) => Err(damaged("of other settings or images".into())),
            Err(e) => Err(damaged(e.to_string())),
        };
    }
    let started = Instant::now();
    let training = Training::new(config.clone(), genotype.clone(), dataset.clone(), path)?;
    let result: TrainResult = match training.run(observer, stop)? {
        Outcome::Finished(result) => result,
        Outcome::Stopped => return Ok(None),
    };
    let draw = Draw {
        genotype: result.genotype,
        val_accuracy: result.test_accuracy,
        parameters: result.parameters,
        seconds: started.elapsed().as_secs_f64(),
        fingerprint,
    };
    RunFolder::open(path)?.write_json("draw.json", &draw)?;
    Ok(Some(draw))
}
