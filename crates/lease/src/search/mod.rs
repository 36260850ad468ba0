//! The loop around the method: schedules, optimisers, records, checkpoints.

mod batches;
mod begin;
mod budget;
mod candidates;
mod explaining;
mod freezing;
mod guard;
mod measures;
mod metrics;
mod observer;
pub mod preset;
mod records;
mod searched;
mod selection;
mod settings;
mod state;
mod step;
pub mod trial;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;

use batches::Feed;
pub use begin::{lacking, least_memory, memory, obstacles, problems, too_few};
pub use budget::measure;
pub use candidates::CANDIDATES;
pub use explaining::EXPLANATIONS;
pub use metrics::{EpochMetrics, Metrics, StepMetrics, Summary};
pub use observer::Observer;
use records::Records;
pub use searched::Searched;
use selection::Selection;
pub use settings::{SearchConfig, SearchSettings, Shares, presets};
use state::{Progress, State};

use crate::Error;
use crate::collective::{Agreement, Team};
use crate::method::{Batches, Models, Unrolling};
use crate::run::{Identity, RunError};
use crate::space::cost::Latencies;
use crate::space::{Genotype, StageReached, Standing, Truths};

/// How a search ended.
pub enum Outcome {
    /// All epochs are done.
    Finished(Box<Summary>),
    /// It was asked to stop, and left a checkpoint.
    Stopped,
}

/// A search in progress.
pub struct Search {
    config: SearchConfig,
    device: Device,
    models: Models,
    /// Whether passes of stages I and II keep what stage IV would compute again.
    keeps: bool,
    feed: Feed,
    team: Team,
    folder: PathBuf,
    /// None where another process writes them.
    records: Option<Records>,
    identity: Identity,
    state: State,
    truths: Option<Truths>,
    /// Of the operations, where the time of what is found is bounded.
    latencies: Option<Latencies>,
    notes: Vec<String>,
}

impl Search {
    /// The two networks.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// This process's parts of the batches of a step.
    pub(crate) fn batches(&mut self, step: u64) -> Vec<Batches> {
        self.feed.batches(step)
    }

    /// Searches until the last epoch is done, or `stop` is set on any of the processes.
    ///
    /// # Errors
    /// If a quantity is no finite number any more, the run folder cannot be written, or the processes have come apart.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, Error> {
        let per_epoch = self.feed.per_epoch();
        let stages = self.config.stages();
        let epochs = self.config.search.epochs * stages.len();
        let steps = per_epoch * epochs as u64;
        observer.started(steps, epochs, self.state.progress.step);
        self.announce(observer);
        let (mut saved, mut epoch_started) = (Instant::now(), Instant::now());
        while self.state.progress.step < steps && self.state.progress.fired.is_none() {
            let step = self.state.progress.step;
            let epoch = (step / per_epoch) as usize;
            let metrics = self.step(step, epoch)?;
            self.record(&Metrics::Step(metrics.clone()))?;
            self.state.progress.step += 1;
            let ended = match self.state.progress.step.is_multiple_of(per_epoch) {
                true => Some(self.end_epoch(epoch, &mut epoch_started)?),
                false => None,
            };
            let staged = ended.is_some() && self.next_stage(epoch)?;
            let Agreement { stop, due } = self.team.agree(Agreement {
                stop: stop.load(Ordering::Relaxed),
                due: saved.elapsed().as_secs_f64() >= self.config.run.checkpoint_seconds,
            });
            if ended.is_some() || stop || due {
                self.save()?;
                saved = Instant::now();
            }
            // Of an epoch whoever watches is told once it is saved.
            observer.step(&metrics);
            if let Some(ended) = ended {
                observer.epoch(&ended);
                let weak = observer::weak_attack(&self.config, &metrics);
                if let Some(weak) = weak.filter(|_| epoch == 0) {
                    observer.warn(&weak);
                }
                self.told(staged, observer);
            }
            if stop && self.state.progress.fired.is_none() {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(match self.finish(observer, stop)? {
            Some(summary) => Outcome::Finished(Box::new(summary)),
            None => Outcome::Stopped,
        })
    }

    /// Measures and records an epoch, and asks the safeguards.
    fn end_epoch(&mut self, epoch: usize, started: &mut Instant) -> Result<EpochMetrics, Error> {
        let metrics = self.measured(epoch)?;
        self.record(&Metrics::Epoch(metrics.clone()))?;
        let seconds = started.elapsed().as_secs_f64();
        let sent = self.team.sent_since();
        if let Some(records) = &mut self.records {
            records.time(epoch, seconds, sent)?;
        }
        if self.config.run.report && self.records.is_some() {
            self.write_examples(epoch)?;
        }
        *started = Instant::now();
        let progress = &mut self.state.progress;
        progress.fired = guard::fired(&self.config.search, &progress.watched);
        Ok(metrics)
    }

    /// After the last epoch of a stage begins the next: each edge's strongest candidates, a deeper supernet, and all
    /// learners from the start. Whether it did.
    fn next_stage(&mut self, epoch: usize) -> Result<bool, Error> {
        let stages = self.config.stages();
        let number = self.state.progress.stage.number + 1;
        if !(epoch + 1).is_multiple_of(self.config.search.epochs) || number >= stages.len() {
            return Ok(false);
        }
        let architecture = &self.state.point.architecture;
        let keep = stages[number].candidates;
        let reached = StageReached {
            number,
            candidates: self.models.explainer.kept(architecture, keep),
        };
        let latencies = self.latencies.as_ref();
        let images = self.feed.dataset.size();
        self.models = Self::networks(&self.config, &images, &reached, latencies)?;
        self.keeps = begin::keeping(&self.config, &self.models, &images).is_some();
        let progress = Progress {
            stage: reached,
            ..std::mem::take(&mut self.state.progress)
        };
        self.state = State::start(&self.config, &self.models, &self.device, progress);
        Ok(true)
    }

    /// What is told at the start.
    fn announce(&mut self, observer: &mut dyn Observer) {
        let stage = self.config.stages()[self.state.progress.stage.number];
        let size = (&stage, self.models.explainer.weights().len());
        let folder = self.folder.display();
        let need = begin::taken(&self.config, &self.models, &self.feed.dataset.size());
        let of = (&self.feed.dataset, &self.team);
        let told = observer::announcement(&self.config, of, size, (need, folder));
        let notes = std::mem::take(&mut self.notes);
        told.iter()
            .chain(&notes)
            .for_each(|note| observer.note(note));
    }

    /// Tells that a stage began, or that a safeguard fired.
    fn told(&self, staged: bool, observer: &mut dyn Observer) {
        let progress = &self.state.progress;
        if staged {
            let weights = self.models.explainer.weights().len();
            let (number, stages) = (progress.stage.number, self.config.stages());
            observer.note(&observer::stage(number, &stages, weights));
        }
        if let Some(fired) = &progress.fired {
            observer.warn(&format!(
                "STOPPED EARLY: {}. The result is the choice of epoch {}.",
                fired.reason,
                fired.epoch + 1
            ));
        }
    }

    /// The settings of a step's iteration.
    fn unrolling(&self, step: u64, epoch: usize) -> Unrolling {
        let normalisation = &self.feed.dataset.normalisation;
        self.config.unrolling(step, epoch, normalisation)
    }

    /// The genotype that would be derived now.
    fn genotype(&self) -> Result<Genotype, Error> {
        let architecture = &self.state.point.architecture;
        Ok(self.models.explainer.derive(architecture)?)
    }

    /// What the table says of a genotype.
    fn standing(&self, genotype: &Genotype) -> Option<Standing> {
        self.truths.as_ref()?.standing_of(genotype)
    }

    fn record(&mut self, line: &Metrics) -> Result<(), RunError> {
        match &mut self.records {
            Some(records) => records.measures(line),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint, if all processes are at the same point.
    fn save(&mut self) -> Result<(), Error> {
        let point = &self.state.point;
        let numbers = [
            ("architecture", &point.architecture),
            ("weights of the explainer", &point.explainer),
            ("weights of the audience", &point.audience),
        ];
        let step = self.state.progress.step;
        self.team.together(step, numbers)?;
        match &mut self.records {
            Some(records) => records.save(&mut self.state, &self.identity),
            None => Ok(()),
        }
    }

    /// Selects what the search ends with, and writes it; nothing if it was stopped before, the last epoch being saved.
    fn finish(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Summary>, Error> {
        let mut trained = 0;
        let genotype = match (&self.state.progress.fired, self.config.selection.selection) {
            (Some(fired), _) => {
                Genotype::parse(&self.state.progress.watched[fired.epoch].genotype)?
            }
            (None, Selection::Strongest) => self.genotype()?,
            (None, Selection::Perturbation) => match self.by_perturbation(observer, stop)? {
                Some(genotype) => genotype,
                None => return Ok(None),
            },
            (None, Selection::BestEpoch) => self.best_epoch()?,
            (None, Selection::Trained) => match self.by_training(observer, stop)? {
                Some(selected) => {
                    trained = selected.passes;
                    selected.genotype
                }
                None => return Ok(None),
            },
        };
        let (steps, per_epoch) = (self.state.progress.step, self.feed.per_epoch());
        let passes = |step: u64| {
            let epoch = (step / per_epoch) as usize;
            let settings = self.unrolling(step, epoch);
            let warmup = self.config.warms_up(epoch);
            let parts = self.config.perturbation.passes(!warmup);
            settings.explainer_passes(warmup) + parts + self.config.regulariser.passes()
        };
        let explainer_passes = (0..steps).map(passes).sum::<u64>() + trained;
        let cost = self.cost(&genotype);
        let summary = Summary {
            steps,
            explainer_passes,
            standing: self.standing(&genotype),
            cost,
            genotype,
            folder: self.folder.clone(),
        };
        if let Some(records) = &mut self.records {
            if let Some(cost) = &summary.cost {
                records.cost(cost)?;
            }
            records.finish(&self.state, &summary)?;
        }
        Ok(Some(summary))
    }
}
