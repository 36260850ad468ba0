//! Short trainings, by which architectures are told apart: networks of the supernet's size, trained from scratch on the search's
//! training part and tested on its validation part. The test images are not looked at.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::SearchConfig;
use crate::Error;
use crate::collective::{Collective, told_by_first};
use crate::data::{Dataset, DatasetKind, Partition};
use crate::rng::{Purpose, stream};
use crate::run::{Identity, RunFolder};
use crate::space::Genotype;
use crate::training::{Observer, Outcome, TrainConfig, Training};

/// An architecture that was trained for a short time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The architecture, in the notation of its space.
    pub genotype: String,
    /// The share of the validation images classified correctly after it.
    pub val_accuracy: f64,
    /// Parameters of the network that was trained.
    pub parameters: usize,
    /// Seconds of the training, if it was not interrupted.
    pub seconds: f64,
    /// A digest of the settings, the architecture and the images.
    pub fingerprint: String,
}

/// Short trainings with the settings of a search.
pub struct Trials<'a> {
    search: &'a SearchConfig,
    short: TrainConfig,
    /// The search's parts.
    dataset: Dataset,
    peers: Arc<dyn Collective>,
}

/// The configuration of a short training: a network of the supernet's size, with the search's batches and learning
/// rate, whose cosine ends at 0; the rest as in `base`.
pub fn short(search: &SearchConfig, base: TrainConfig, epochs: usize) -> TrainConfig {
    let (e, s) = (&search.explainer, &search.search);
    let mut short = base;
    let t = &mut short.train;
    t.channels = e.channels;
    t.cells = search.stages().first().map_or(e.cells, |of| of.cells);
    t.epochs = epochs;
    t.batch = s.batch;
    t.learning_rate = s.learning_rate;
    (t.momentum, t.nesterov) = (s.momentum, false);
    t.weight_decay = s.weight_decay;
    t.clip = s.clip;
    (t.drop_path, t.auxiliary, t.cutout) = (0.0, 0.0, 0.0);
    short
}

/// The parts of the training images that train and validate, in the order of [`Partition`].
pub fn partition(search: &SearchConfig, dataset: &Dataset) -> Partition {
    let m = &search.method;
    dataset.partition(m.split, m.training_share, search.run.seed)
}

/// The share of validation images that an architecture classifies correctly after the benchmark's own training of 12 epochs, where
/// there is one on these images.
fn known(search: &SearchConfig, genotype: &Genotype) -> Option<f64> {
    let brief = search.space.brief(genotype)?;
    match search.data.images.dataset {
        DatasetKind::Cifar10 => Some(brief.cifar10_valid / 100.0),
        DatasetKind::Cifar100 => Some(brief.cifar100_valid / 100.0),
        _ => None,
    }
}

/// What keeps trainings of 0 epochs from standing for the benchmark's own; nothing if they can.
pub fn unknown(search: &SearchConfig) -> Option<String> {
    let mut rng = stream(0, Purpose::RandomGenotype, 0);
    let known = known(search, &search.space.random(&mut rng));
    known.is_none().then(|| {
        "trainings of 12 epochs are known of NAS-Bench-201 alone, on CIFAR-10 and CIFAR-100; give the epochs that architectures \
         are trained for"
            .into()
    })
}

impl<'a> Trials<'a> {
    /// Trainings of so many epochs by some processes, with what is not said by the search as in `base`; 0 epochs stand for the
    /// benchmark's own trainings.
    pub fn new(
        search: &'a SearchConfig,
        (base, epochs): (TrainConfig, usize),
        dataset: &Dataset,
        peers: Arc<dyn Collective>,
    ) -> Self {
        let parts = partition(search, dataset);
        Self {
            search,
            short: short(search, base, epochs),
            dataset: dataset.validating(&parts.explainer_train, &parts.explainer_val),
            peers,
        }
    }

    /// Trains an architecture in a folder, unless that is done or known; nothing if it was stopped.
    ///
    /// # Errors
    /// If a finished one there is of other settings or images; as [`Training::together`] and [`Training::run`].
    pub fn tried(
        &self,
        genotype: &Genotype,
        path: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Trial>, Error> {
        let file = path.join("trial.json");
        let images = ("the images", self.dataset.whole_digest());
        let more = [("the genotype", genotype.to_string()), images];
        let fingerprint = Identity::new(&self.short, &more).digest();
        if self.short.train.epochs == 0 {
            return self.looked_up(genotype, fingerprint).map(Some);
        }
        let done = match self.peers.rank() {
            0 => std::fs::read_to_string(&file).ok(),
            _ => None,
        };
        if let Some(text) = told_by_first(&*self.peers, || done) {
            let damaged = |reason: String| Error::Damaged { path: file, reason };
            let trial: Result<Trial, _> = serde_json::from_str(&text);
            return match trial {
                Ok(trial) if trial.fingerprint == fingerprint => Ok(Some(trial)),
                Ok(_) => Err(damaged("of other settings or images".into())),
                Err(e) => Err(damaged(e.to_string())),
            };
        }
        let started = Instant::now();
        let training = Training::together(
            self.short.clone(),
            genotype.clone(),
            self.dataset.clone(),
            path,
            self.peers.clone(),
        )?;
        let Outcome::Finished(result) = training.run(observer, stop)? else {
            return Ok(None);
        };
        let trial = Trial {
            genotype: result.genotype,
            val_accuracy: result.test_accuracy,
            parameters: result.parameters,
            seconds: started.elapsed().as_secs_f64(),
            fingerprint,
        };
        if self.peers.rank() == 0 {
            RunFolder::open(path)?.write_json("trial.json", &trial)?;
        }
        Ok(Some(trial))
    }

    /// What the benchmark knows.
    fn looked_up(&self, genotype: &Genotype, fingerprint: String) -> Result<Trial, Error> {
        let accuracy = known(self.search, genotype)
            .ok_or_else(|| Error::Usage(unknown(self.search).unwrap_or_default()))?;
        let shape = (self.dataset.classes.len(), self.dataset.shape());
        let network = genotype.network(&self.short.shape(shape.0, shape.1))?;
        Ok(Trial {
            genotype: genotype.to_string(),
            val_accuracy: accuracy,
            parameters: network.parameters(),
            seconds: 0.0,
            fingerprint,
        })
    }
}
