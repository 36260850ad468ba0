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
use crate::training::{Observer, Outcome, TrainConfig, TrainSettings, Training};

/// An architecture that was trained for a short time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The architecture, in the notation of its space.
    pub genotype: String,
    /// The share of the validation images classified correctly after it.
    pub val_accuracy: f64,
    /// Seconds of the training, if it was not interrupted; 0 where a table knew it.
    pub seconds: f64,
    /// A digest of the settings, the architecture and the images; nothing where a table knew it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
}

/// Short trainings with the settings of a search.
pub struct Trials<'a> {
    search: &'a SearchConfig,
    short: TrainConfig,
    /// The search's parts, with a digest of them; none where nothing is trained.
    images: Option<(Dataset, String)>,
    peers: Arc<dyn Collective>,
}

/// The configuration of a short training: a network of the supernet's size (in a search by stages of the first one's), with the search's
/// batches and learning rate, whose cosine ends at 0.
pub fn short(search: &SearchConfig, epochs: usize, edge_skips: bool) -> TrainConfig {
    let (e, s) = (&search.explainer, &search.search);
    let mut run = search.run.clone();
    (run.report, run.tensorboard) = (false, false);
    let train = TrainSettings {
        channels: e.channels,
        cells: search.stages().first().map_or(e.cells, |of| of.cells),
        epochs,
        batch: s.batch,
        ghost_batches: s.ghost_batches,
        learning_rate: s.learning_rate,
        momentum: s.momentum,
        weight_decay: s.weight_decay,
        clip: s.clip,
        drop_path: 0.0,
        auxiliary: 0.0,
        cutout: 0.0,
        edge_skips,
        ..TrainSettings::default()
    };
    TrainConfig {
        data: search.data.clone(),
        network: search.network.clone(),
        train,
        run,
    }
}

/// The parts of the training images that train and validate, in the order of [`Partition`].
pub fn partition(search: &SearchConfig, dataset: &Dataset) -> Partition {
    let m = &search.method;
    dataset.partition(m.split, m.training_share, search.run.seed)
}

/// The share of validation images that an architecture classifies correctly after the benchmark's own training of 12 epochs, where
/// there is one on these images whose validation images are none of the test images: on CIFAR-100 they are half of them.
fn known(search: &SearchConfig, genotype: &Genotype) -> Option<f64> {
    let brief = search.space.brief(genotype)?;
    let here = search.data.images.dataset == DatasetKind::Cifar10;
    here.then_some(brief.cifar10_valid / 100.0)
}

/// What keeps trainings of 0 epochs from standing for the benchmark's own; nothing if they can.
pub fn unknown(search: &SearchConfig) -> Option<String> {
    let mut rng = stream(0, Purpose::RandomGenotype, 0);
    let known = known(search, &search.space.random(&mut rng));
    known.is_none().then(|| {
        "trainings of 12 epochs are known of NAS-Bench-201 on CIFAR-10 alone, and not beside a table of one's own; give the epochs \
         that architectures are trained for"
            .into()
    })
}

impl<'a> Trials<'a> {
    /// Trainings as in [`short`] by some processes; 0 epochs stand for the benchmark's own trainings.
    pub fn new(
        search: &'a SearchConfig,
        (epochs, edge_skips): (usize, bool),
        dataset: &Dataset,
        peers: Arc<dyn Collective>,
    ) -> Self {
        let images = (epochs > 0).then(|| {
            let parts = partition(search, dataset);
            let images = dataset.validating(&parts.explainer_train, &parts.explainer_val);
            let digest = images.whole_digest();
            (images, digest)
        });
        Self {
            search,
            short: short(search, epochs, edge_skips),
            images,
            peers,
        }
    }

    /// Trains an architecture in a folder, unless that is done or known; nothing if it was stopped. One whose training diverges
    /// classifies nothing.
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
        let Some((images, digest)) = &self.images else {
            let known = known(self.search, genotype);
            return match known {
                Some(accuracy) => Ok(Some(Trial::of(genotype, accuracy))),
                None => Err(Error::Usage(unknown(self.search).unwrap_or_default())),
            };
        };
        let file = path.join("trial.json");
        let more = [
            ("the genotype", genotype.to_string()),
            ("the images", digest.clone()),
        ];
        let fingerprint = Identity::new(&self.short, &more).digest();
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
            images.clone(),
            path,
            self.peers.clone(),
        )?;
        let accuracy = match training.run(observer, stop) {
            Ok(Outcome::Finished(result)) => result.test_accuracy,
            Ok(Outcome::Stopped) => return Ok(None),
            Err(Error::Diverged { step, quantity, .. }) => {
                observer.warn(&format!(
                    "The short training of {genotype} diverged: at step {step} {quantity} is no finite number. It counts as \
                     classifying nothing; where many do, lower --learning-rate or --clip."
                ));
                0.0
            }
            Err(error) => return Err(error),
        };
        let trial = Trial {
            seconds: started.elapsed().as_secs_f64(),
            fingerprint,
            ..Trial::of(genotype, accuracy)
        };
        if self.peers.rank() == 0 {
            RunFolder::open(path)?.write_json("trial.json", &trial)?;
        }
        Ok(Some(trial))
    }
}

impl Trial {
    /// What is known of an architecture without a training.
    fn of(genotype: &Genotype, val_accuracy: f64) -> Self {
        Self {
            genotype: genotype.to_string(),
            val_accuracy,
            seconds: 0.0,
            fingerprint: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Composite;

    #[test]
    fn the_benchmarks_trainings_are_known_of_its_own_space_on_cifar_10_alone() {
        let text = "[explainer]\nspace = \"nas-bench-201\"\n[data]\npath = \"there\"\ndataset = ";
        let of = |more: &str| SearchConfig::parse(&format!("{text}{more}"), "here", &[]).unwrap();
        let cell = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|";
        let cell = Genotype::parse(cell).unwrap();
        assert_eq!(known(&of("\"cifar10\""), &cell), Some(0.63364));
        assert_eq!(unknown(&of("\"cifar10\"")), None);
        let own = "\"cifar10\"\n[nas_bench_201]\nnb201_table = \"own.csv\"";
        for more in ["\"cifar100\"", own] {
            assert_eq!(known(&of(more), &cell), None);
            assert!(unknown(&of(more)).is_some());
        }
    }
}
