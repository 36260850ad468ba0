//! Random search with short training: architectures drawn uniformly, each
//! trained briefly on the search's training part, and the one kept that is most accurate on its validation part.
//! The test images are not looked at.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Config;
use crate::data::{DataError, Dataset, Partition};
use crate::rng::{Purpose, stream};
use crate::run::{RunFolder, fingerprint};
use crate::space::Genotype;
use crate::training::{Observer, Outcome, TrainResult, Training};

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

/// The configuration of a short training: a network of the supernet's size, with the search's batches and learning
/// rate, whose cosine ends at 0.
fn short(config: &Config) -> Config {
    let (e, s) = (&config.explainer, &config.search);
    let mut short = config.clone();
    let t = &mut short.train;
    t.channels = e.channels;
    t.cells = e.stages().first().map_or(e.cells, |stage| stage.cells);
    t.epochs = s.random_epochs;
    t.batch = s.batch;
    t.learning_rate = s.learning_rate;
    t.momentum = s.momentum;
    t.weight_decay = s.weight_decay;
    t.clip = s.clip;
    (t.drop_path, t.auxiliary, t.cutout) = (0.0, 0.0, 0.0);
    short
}

/// Searches at random in a folder, or goes on with the search that was interrupted there; nothing if it was stopped.
///
/// # Errors
/// If the validation part is smaller than a batch, or a finished draw in the folder is of other settings or images; also
/// as [`Training::new`] and [`Training::run`].
pub fn random_search(
    config: &Config,
    dataset: &Dataset,
    path: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Found>, Error> {
    let (s, m) = (&config.search, &config.method);
    let parts = Partition::new(dataset.train.len(), m.split, m.training_share, s.seed);
    if parts.explainer_val.len() < s.batch {
        return Err(Error::Data(DataError::TooFew {
            part: "the explainer's validation part",
            images: parts.explainer_val.len(),
            batch: s.batch,
        }));
    }
    let dataset = dataset.validating(&parts.explainer_train, &parts.explainer_val);
    let run = RunFolder::open(path)?;
    run.write("config.toml", config.to_toml().as_bytes())?;
    let short = short(config);
    let mut draws = Vec::with_capacity(s.random_draws);
    let mut best: Option<(f64, Genotype)> = None;
    for number in 0..s.random_draws {
        let mut rng = stream(s.seed, Purpose::RandomSearch, number as u64);
        let genotype = config.explainer.random(&mut rng);
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
        steps: (per_epoch * s.random_epochs * s.random_draws) as u64,
    }))
}

/// Trains one architecture, unless that is done.
fn one(
    config: &Config,
    genotype: &Genotype,
    dataset: &Dataset,
    path: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Draw>, Error> {
    let file = path.join("draw.json");
    let fingerprint = fingerprint(config, &format!("{genotype} {}", dataset.digest()));
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
