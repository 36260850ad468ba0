//! One cell of a comparison: a method with a seed, and what it found.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ComparisonConfig;
use super::compare::Found;
use super::random_search::{self, random_search};
use super::variant::{Kind, Variant};
use crate::Error;
use crate::collective::{Collective, alone, told_by_first};
use crate::config::{Composite, differences};
use crate::data::{Dataset, DatasetKind};
use crate::run::files::{contents, write_atomically};
use crate::run::{self, RunError, RunFolder};
use crate::search::{self, Search, SearchConfig};
use crate::space::cost::NetworkCost;
use crate::space::{Genotype, Standing, Truths};
use crate::training::{self, TrainConfig, Training};

/// The file that says that a cell is done.
const RESULT: &str = "found.json";

/// A method with a seed, in a folder of its own.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The method.
    pub variant: &'a Variant,
    /// The seed.
    pub seed: u64,
    /// Its place among all cells, from 1.
    pub number: usize,
    /// All settings.
    pub config: ComparisonConfig,
    /// The folder.
    pub folder: PathBuf,
    /// The file that keeps other processes out while one is at work on it.
    pub lock: PathBuf,
}

/// What an architecture cost to find.
struct Costs {
    steps: u64,
    explainer_passes: u64,
    seconds: f64,
}

/// An architecture and its costs.
struct Discovery {
    genotype: Genotype,
    costs: Costs,
}

impl Cell<'_> {
    /// Whether it is done.
    pub fn is_done(&self) -> bool {
        self.folder.join(RESULT).is_file()
    }

    /// The result, if the cell is done.
    ///
    /// # Errors
    /// If the result cannot be read.
    pub fn result(&self) -> Result<Option<Found>, Error> {
        if !self.is_done() {
            return Ok(None);
        }
        read(&self.folder).map(Some)
    }

    /// A cell that was begun with other settings is not gone on with. Those of the training may change as long as none
    /// is done.
    ///
    /// # Errors
    /// If other settings were used.
    pub fn same_configuration(&self) -> Result<(), Error> {
        if !self.folder.join("config.toml").is_file() {
            return match self.variant.kind {
                // A search looks at its folder itself.
                Kind::Search => Ok(()),
                Kind::Random | Kind::RandomSearch => Ok(RunFolder::empty(&self.folder)?),
            };
        }
        let (text, file) = RunFolder::configuration(&self.folder)?;
        let there = ComparisonConfig::parse(&text, &file.display().to_string(), &[])?;
        let here = &self.config;
        let whole = !self.is_done() && self.variant.kind == Kind::Search;
        let settings = |c: &ComparisonConfig| {
            let mut all = c.study.search.identity();
            // What is done is what it would be with any value of a setting that is not read.
            all.retain(|name, _| whole || self.variant.reads_named(c, name));
            all
        };
        let trained = self.is_done() || self.folder.join("train/run.json").is_file();
        let mut found = differences(&settings(&there), &settings(here));
        // All that is not the search's is the training's or random search's.
        let rest = differences(&there.identity(), &here.identity());
        found.extend(rest.into_iter().filter(|d| {
            let random = d.starts_with("random_search.") && self.variant.kind == Kind::RandomSearch;
            random || (d.starts_with("train.") && trained)
        }));
        if found.is_empty() {
            return Ok(());
        }
        Err(Error::Comparison {
            folder: self.folder.clone(),
            differences: found.join("; "),
        })
    }

    /// Whether architectures are judged by a table instead of being trained: the benchmark's, where it is of the images that
    /// are searched on, or one of the user's.
    fn judges(&self, truths: &Truths) -> bool {
        let dataset = self.config.study.search.data.images.dataset;
        truths.is_own() || matches!(dataset, DatasetKind::Cifar10 | DatasetKind::Cifar100)
    }

    /// The accuracy that a table says.
    fn judged(&self, standing: &Standing) -> f64 {
        match self.config.study.search.data.images.dataset {
            DatasetKind::Cifar100 => standing.truth.cifar100_test,
            _ => standing.truth.cifar10_test,
        }
    }

    /// Everything that keeps the cell from being done on these images, found without starting it.
    pub fn obstacles(&self, dataset: &Dataset) -> Vec<Error> {
        let study = &self.config.study;
        let mut all = match self.variant.kind {
            Kind::Random => Vec::new(),
            Kind::Search => {
                let mut all = search::obstacles(&study.search, dataset);
                all.extend(self.unrepeatable());
                all
            }
            Kind::RandomSearch => random_search::problems(&self.config, dataset),
        };
        match study.search.space.truths() {
            // Nothing is trained where the truth is known.
            Ok(Some(truths)) if self.judges(&truths) => {}
            Ok(_) => {
                let genotype = study.random_genotype(self.seed);
                let training = training::problems(&study.train, &genotype, dataset);
                let told = |e: &Error| all.iter().any(|a| a.to_string() == e.to_string());
                let new: Vec<Error> = training.into_iter().filter(|e| !told(e)).collect();
                all.extend(new);
            }
            Err(error) if self.variant.kind != Kind::Search => all.push(error.into()),
            Err(_) => {}
        }
        all
    }

    /// Cells that measure latencies each for itself cannot be compared.
    fn unrepeatable(&self) -> Option<Error> {
        let budget = &self.config.study.search.budget;
        let measures = budget.bounds().times() && budget.latency_table.is_empty();
        measures.then(|| {
            Error::Usage(
                "--max-latency-ms in a comparison needs --latency-table FILE, so that all searches have the same \
                 latencies; measure one by `lease bench --latency FILE` with the settings of the comparison"
                    .into(),
            )
        })
    }

    /// About the most memory that it must have at once on these images, in bytes, where its networks can be built.
    pub fn memory(&self, dataset: &Dataset) -> u64 {
        let study = &self.config.study;
        let finding = match self.variant.kind {
            Kind::Random => None,
            Kind::Search => search::least_memory(&study.search, &dataset.size()).ok(),
            Kind::RandomSearch => random_search::memory(&self.config, dataset).ok(),
        };
        let judged = |truths: Truths| self.judges(&truths);
        let known = study
            .search
            .space
            .truths()
            .ok()
            .flatten()
            .is_some_and(judged);
        let training = (!known).then(|| {
            let genotype = study.random_genotype(self.seed);
            training::memory(&study.train, &genotype, dataset).ok()
        });
        let all = [finding, training.flatten()];
        all.iter()
            .flatten()
            .map(|need| need.bytes)
            .max()
            .unwrap_or(0)
    }

    /// Searches (or draws), and finds out what the result is worth; nothing if it was stopped.
    ///
    /// # Errors
    /// As searches and trainings.
    pub fn run<W>(
        &self,
        dataset: &Dataset,
        watcher: &mut W,
        stop: &AtomicBool,
    ) -> Result<Option<Found>, Error>
    where
        W: search::Observer + training::Observer,
    {
        let Some(Discovery { genotype, costs }) = self.find(dataset, watcher, stop)? else {
            return Ok(None);
        };
        let truths = self.config.study.search.space.truths()?;
        let standing = truths.as_ref().and_then(|t| t.standing_of(&genotype));
        let judging = truths.is_some_and(|truths| self.judges(&truths));
        let known = standing.filter(|_| judging);
        let (accuracy, parameters) = match known {
            Some(standing) => (self.judged(&standing), standing.truth.params),
            None => {
                let folder = self.folder.join("train");
                let train = self.config.study.train.clone();
                let done = train_in(train, genotype.clone(), dataset, &folder, watcher, stop)?;
                let Some(result) = done else {
                    return Ok(None);
                };
                (100.0 * result.test_accuracy, result.parameters as u64)
            }
        };
        let shape = self
            .config
            .study
            .train
            .shape(dataset.classes.len(), dataset.shape());
        let cost = NetworkCost::of(&genotype, &shape.without_auxiliary()).ok();
        let found = Found {
            method: self.variant.name.clone(),
            seed: self.seed,
            accuracy,
            genotype: genotype.to_string(),
            skip_connects: genotype.skip_connects(),
            parameter_free_share: genotype.parameter_free_share(),
            parameters,
            multiply_adds: cost.as_ref().map(|cost| cost.multiply_adds),
            latency_ms: cost.map(|cost| cost.latency_ms),
            search_seconds: costs.seconds,
            steps: costs.steps,
            explainer_passes: costs.explainer_passes,
            standing,
        };
        let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::other)?;
        write_atomically(&self.folder.join(RESULT), text.as_bytes())?;
        Ok(Some(found))
    }

    /// Searches or draws; nothing if it was stopped.
    fn find<W>(
        &self,
        dataset: &Dataset,
        watcher: &mut W,
        stop: &AtomicBool,
    ) -> Result<Option<Discovery>, Error>
    where
        W: search::Observer + training::Observer,
    {
        let config = &self.config;
        Ok(Some(match self.variant.kind {
            Kind::Random => {
                let genotype = config.study.random_allowed(self.seed, dataset)?;
                let run = RunFolder::open(&self.folder)?;
                run.tidy();
                run.write("config.toml", config.to_toml().as_bytes())?;
                run.write("genotype.json", genotype.to_json().as_bytes())?;
                let costs = Costs {
                    steps: 0,
                    explainer_passes: 0,
                    seconds: 0.0,
                };
                Discovery { genotype, costs }
            }
            Kind::RandomSearch => {
                let found = random_search(config, dataset, &self.folder, watcher, stop)?;
                let Some(found) = found else {
                    return Ok(None);
                };
                let costs = Costs {
                    steps: found.steps,
                    explainer_passes: found.steps,
                    seconds: found.draws.iter().map(|d| d.seconds).sum(),
                };
                Discovery {
                    genotype: found.genotype,
                    costs,
                }
            }
            Kind::Search => {
                let settings = config.study.search.clone();
                let toml = config.to_toml();
                let search = search_in(settings, &toml, dataset, &self.folder, alone())?;
                let search::Outcome::Finished(summary) = search.run(watcher, stop)? else {
                    return Ok(None);
                };
                let costs = Costs {
                    steps: summary.steps,
                    explainer_passes: summary.explainer_passes,
                    seconds: seconds(&self.folder)?,
                };
                Discovery {
                    genotype: summary.genotype,
                    costs,
                }
            }
        }))
    }
}

/// A search in a folder by some processes, to be gone on with if it is there; `toml` is the whole configuration, to be
/// written there.
///
/// # Errors
/// As [`Search::start`] and [`Search::resume`].
pub fn search_in(
    config: SearchConfig,
    toml: &str,
    dataset: &Dataset,
    folder: &Path,
    peers: Arc<dyn Collective>,
) -> Result<Search, Error> {
    let dataset = dataset.clone();
    let there = match peers.rank() {
        0 => RunFolder::look(folder, run::Kind::Search)? == run::Found::Run,
        _ => false,
    };
    match told_by_first(&*peers, || there) {
        true => Search::resume(config, toml, dataset, folder, peers),
        false => Search::start(config, toml, dataset, folder, peers),
    }
}

/// Trains, or goes on training, in a folder, unless that is done already; nothing if it was stopped.
///
/// # Errors
/// As [`Training::new`] and [`Training::run`].
pub fn train_in(
    config: TrainConfig,
    genotype: Genotype,
    dataset: &Dataset,
    folder: &Path,
    watcher: &mut dyn training::Observer,
    stop: &AtomicBool,
) -> Result<Option<training::TrainResult>, Error> {
    train_together(config, genotype, (dataset, folder), alone(), watcher, stop)
}

/// The same by some processes.
///
/// # Errors
/// As [`Training::together`] and [`Training::run`].
pub fn train_together(
    config: TrainConfig,
    genotype: Genotype,
    (dataset, folder): (&Dataset, &Path),
    peers: Arc<dyn Collective>,
    watcher: &mut dyn training::Observer,
    stop: &AtomicBool,
) -> Result<Option<training::TrainResult>, Error> {
    let finished = match peers.rank() {
        0 => Training::finished(&config, &genotype, dataset, folder)?,
        _ => None,
    };
    if let Some(result) = told_by_first(&*peers, || finished) {
        return Ok(Some(result));
    }
    let training = Training::together(config, genotype, dataset.clone(), folder, peers)?;
    Ok(match training.run(watcher, stop)? {
        training::Outcome::Finished(result) => Some(result),
        training::Outcome::Stopped => None,
    })
}

/// The result of a cell that is done.
fn read(folder: &Path) -> Result<Found, Error> {
    let path = folder.join(RESULT);
    let text = std::fs::read_to_string(&path).map_err(|source| RunError::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|e| Error::Damaged {
        path,
        reason: e.to_string(),
    })
}

/// The cells done, of these methods in this order and all seeds that there are.
///
/// # Errors
/// If a result cannot be read.
pub fn collect(folder: &Path, variants: &[Variant]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for variant in variants {
        let mut of = Vec::new();
        for cell in contents(&folder.join(&variant.name))? {
            if cell.join(RESULT).is_file() {
                of.push(read(&cell)?);
            }
        }
        of.sort_by_key(|f| f.seed);
        found.extend(of);
    }
    Ok(found)
}

/// The seconds of all epochs of a search, and of its candidates' trainings.
fn seconds(folder: &Path) -> Result<f64, Error> {
    let path = folder.join("timing.jsonl");
    let text = std::fs::read_to_string(&path)?;
    let mut total = 0.0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).map_err(|e| Error::Damaged {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        total += line["seconds"].as_f64().unwrap_or(0.0);
    }
    let candidates = folder.join(search::CANDIDATES);
    if let Ok(text) = std::fs::read_to_string(&candidates) {
        let all: Vec<search::trial::Trial> = serde_json::from_str(&text).map_err(|e| {
            let reason = e.to_string();
            let path = candidates;
            Error::Damaged { path, reason }
        })?;
        total += all.iter().map(|candidate| candidate.seconds).sum::<f64>();
    }
    Ok(total)
}
