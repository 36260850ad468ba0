//! The loop around the method: schedules, optimisers, records, checkpoints.

mod batches;
mod begin;
mod freezing;
mod guard;
mod measures;
mod metrics;
mod observer;
pub mod preset;
mod selection;
mod settings;
mod state;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;

use batches::Feed;
pub use begin::{memory, problems};
pub use metrics::{EpochMetrics, Metrics, StepMetrics, Summary};
pub use observer::Observer;
use selection::Selection;
pub use settings::{SearchConfig, SearchSettings, Shares, presets};
use state::{Progress, State};

use crate::Error;
use crate::method::layers::agreement;
use crate::method::product::gradient;
use crate::method::{Batches, Iteration, Method, Models, Unrolling, stage1};
use crate::network::Vector;
use crate::rng::{Draw, Purpose, stream};
use crate::run::{Identity, Log, RunFolder};
use crate::space::{Genotype, SkipDropout, StageReached, Standing, Truths};

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
    feed: Feed,
    run: RunFolder,
    identity: Identity,
    state: State,
    metrics: Log,
    timing: Log,
    truths: Option<Truths>,
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

    /// The batches of a step.
    pub(crate) fn batches(&mut self, step: u64) -> Batches {
        self.feed.batches(step)
    }

    /// Searches until the last epoch is done, or `stop` is set.
    ///
    /// # Errors
    /// If a quantity is no finite number any more, or the run folder cannot be written.
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
            self.metrics.append(&Metrics::Step(metrics.clone()))?;
            self.state.progress.step += 1;
            let ended = match self.state.progress.step.is_multiple_of(per_epoch) {
                true => Some(self.end_epoch(epoch, &mut epoch_started)?),
                false => None,
            };
            let staged = ended.is_some() && self.next_stage(epoch)?;
            let stopping = stop.load(Ordering::Relaxed);
            let due = saved.elapsed().as_secs_f64() >= self.config.run.checkpoint_seconds;
            if ended.is_some() || stopping || due {
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
            if stopping && self.state.progress.fired.is_none() {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished(Box::new(self.finish()?)))
    }

    /// Measures and records an epoch, and asks the safeguards.
    fn end_epoch(&mut self, epoch: usize, started: &mut Instant) -> Result<EpochMetrics, Error> {
        let metrics = self.measured(epoch)?;
        self.metrics.append(&Metrics::Epoch(metrics.clone()))?;
        let seconds = started.elapsed().as_secs_f64();
        self.timing
            .append(&serde_json::json!({ "epoch": epoch, "seconds": seconds }))?;
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
        self.models = Self::networks(&self.config, &self.feed.dataset.size(), &reached)?;
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
        let folder = self.run.path().display();
        let need = begin::need(&self.config, &self.models, &self.feed.dataset.size());
        let told = observer::announcement(&self.config, &self.feed.dataset, size, (need, folder));
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

    /// How far the stage is.
    fn shares(&self, step: u64) -> Shares {
        let per_epoch = self.feed.per_epoch();
        let within = step % (per_epoch * self.config.search.epochs as u64);
        self.config.shares(within, per_epoch)
    }

    /// The networks in a step, on its batches: with skip-connects dropped out where the stage says so, the step's noise and
    /// mixture, and what E learns as.
    fn models_at(&self, step: u64, epoch: usize, batches: &Batches) -> Models {
        let mut models = self.models.clone();
        let (s, seed) = (&self.config.search, self.config.run.seed);
        let shares = self.shares(step);
        let stage = self.config.stages()[self.state.progress.stage.number];
        let probability = stage.skip_dropout_in(epoch % s.epochs, s.epochs, s.warmup_epochs);
        if probability > 0.0 {
            let dropout = SkipDropout {
                probability,
                seed,
                step,
            };
            let dropping = models.explainer.dropping(dropout);
            models.explainer = dropping.unwrap_or(models.explainer);
        }
        let noisy = models.explainer.noisy(Draw { seed, step });
        models.explainer = noisy.unwrap_or(models.explainer);
        let mixing = self.config.mixing.at(seed, step, shares.steps);
        models.explainer = models.explainer.with_mixing(mixing);
        let perturbation = &self.config.perturbation;
        if perturbation.perturbs() {
            let mut rng = stream(seed, Purpose::Perturbation, step);
            let on = (&batches.explainer_train, shares.steps);
            let point = &self.state.point;
            let learner = perturbation.learner(&*models.explainer, point, on, &mut rng);
            models.learner = Some(learner);
        }
        models
    }

    /// One iteration: stages I to IV, then the real steps of E and W.
    pub(crate) fn step(&mut self, step: u64, epoch: usize) -> Result<StepMetrics, Error> {
        let settings = self.unrolling(step, epoch);
        let batches = self.feed.batches(step);
        let starts = self.config.listens().then(|| self.feed.starts(step));
        let models = self.models_at(step, epoch, &batches);
        let mut at = self.state.point.clone();
        let warmup = self.config.warms_up(epoch);
        let perturbation = &self.config.perturbation;
        if !warmup && perturbation.sam_radius > 0.0 {
            let (f, val) = (&*models.explainer, &batches.explainer_val);
            at.architecture = perturbation.sharpened(f, &at, val);
        }
        let watched = self.config.freezing.watches();
        let operations = watched.then(|| freezing::operations(&*models.explainer));
        let operations = operations.unwrap_or_default();
        let trains = self
            .state
            .progress
            .freezing
            .trains(&operations, &at.explainer);
        let iteration = Iteration {
            models: &models,
            at: &at,
            batches: &batches,
            starts: starts.as_ref(),
            settings: &settings,
            trains: trains.as_ref(),
        };
        let mut m = StepMetrics::at(step, epoch, warmup);

        let first_order = settings.method == Method::DartsFirst;
        let stages = (!first_order).then(|| iteration.stages());
        let mut validation = None;
        if !warmup {
            let explainer = match &stages {
                Some(stages) => iteration.explainer_term(stages),
                None => iteration.first_order_term(watched),
            };
            validation = explainer.weights.clone();
            let heard = stages
                .as_ref()
                .and_then(|s| Some((s, s.audience.as_ref()?)));
            let audience =
                heard.map(|(stages, audience)| iteration.audience_term(stages, audience));
            let mut gradient = iteration.architecture_gradient(&explainer, audience.as_ref());
            m.terms(&explainer, audience.as_ref(), &gradient);
            let share = self.shares(step).moves;
            if let Some(added) = self.config.regulariser.added(&at.architecture, share) {
                m.regulariser = Some(added.value);
                m.regulariser_norm = Some(added.gradient.norm());
                gradient.total = gradient.total.add_scaled(1.0, &added.gradient);
            }
            m.check()?;
            self.state.step_architecture(&self.config, &gradient.total);
        }

        // Stage I for real, with the new architecture; if that has not moved, the gradient is known.
        let explainer_gradient = match (&stages, warmup) {
            (Some(stages), true) => stages.explainer_gradient.clone(),
            _ => {
                let loss = stage1::loss(models.learner(), &batches.explainer_train);
                let point = [&at.explainer, &self.state.point.architecture];
                let learned = gradient(loss, point, [0]);
                m.explainer_train_loss = learned.value;
                let [vector] = learned.vectors;
                vector
            }
        };
        if let Some(stages) = &stages {
            m.explainer_train_loss = stages.explainer_loss;
        }
        let explainer_gradient = match self.agreeing(&models, &batches, step) {
            Some((agreement, towards)) => {
                m.agreement = Some(agreement);
                explainer_gradient.add_scaled(-1.0, &towards)
            }
            None => explainer_gradient,
        };
        m.explainer_gradient_norm = explainer_gradient.norm();
        self.state
            .step_explainer(&settings, &explainer_gradient, trains.as_ref());
        if let Some(validation) = validation.filter(|_| watched) {
            let both = [&explainer_gradient, &validation];
            let freezing = &mut self.state.progress.freezing;
            freezing.note(&self.config.freezing, &operations, both);
        }
        self.state.progress.explainer.add(&batches.explainer_train);

        // Stage III for real: W and δ' are those of the unrolled step, and so is the gradient.
        if let Some(audience) = stages.as_ref().and_then(|s| s.audience.as_ref()) {
            m.audience(audience);
            self.state.step_audience(&settings, &audience.gradient);
            self.state.progress.audience.add(&batches.audience_train);
        }
        m.check()?;
        Ok(m)
    }

    /// How well the layers agree on the architecture, and λ ∇_E of that; none if it has no weight.
    fn agreeing(&self, models: &Models, batches: &Batches, step: u64) -> Option<(f64, Vector)> {
        let lambda = self.config.regulariser.lambda * self.shares(step).steps;
        if self.config.regulariser.lambda == 0.0 {
            return None;
        }
        let point = &self.state.point;
        let at = [&point.explainer, &point.architecture];
        let product = self.config.method.product();
        let found = agreement(&*models.explainer, at, &batches.explainer_train, product);
        Some((found.value, found.gradient.scale(lambda)))
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

    fn save(&mut self) -> Result<(), Error> {
        self.state.progress.metrics = self.metrics.position()?;
        self.state.progress.timing = self.timing.position()?;
        let checkpoint = self.state.checkpoint(&self.identity)?;
        checkpoint.save(&self.run.checkpoints(), self.state.progress.step)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<Summary, Error> {
        let genotype = match (&self.state.progress.fired, self.config.selection.selection) {
            (Some(fired), _) => {
                Genotype::parse(&self.state.progress.watched[fired.epoch].genotype)?
            }
            (None, Selection::Strongest) => self.genotype()?,
            (None, Selection::Perturbation) => self.by_perturbation()?,
            (None, Selection::BestEpoch) => self.best_epoch()?,
        };
        let progress = &self.state.progress;
        let point = &self.state.point;
        for (name, vector) in [
            ("weights/explainer.safetensors", &point.explainer),
            ("weights/audience.safetensors", &point.audience),
            ("weights/architecture.safetensors", &point.architecture),
        ] {
            self.run.write_weights(name, &[vector])?;
        }
        self.metrics.verify()?;
        self.timing.verify()?;
        // Last, since it says that the search is finished.
        self.run
            .write("genotype.json", genotype.to_json().as_bytes())?;
        let (steps, per_epoch) = (progress.step, self.feed.per_epoch());
        let passes = |step: u64| {
            let epoch = (step / per_epoch) as usize;
            let settings = self.unrolling(step, epoch);
            let warmup = self.config.warms_up(epoch);
            let parts = self.config.perturbation.passes(!warmup);
            settings.explainer_passes(warmup) + parts + self.config.regulariser.passes()
        };
        Ok(Summary {
            steps,
            explainer_passes: (0..steps).map(passes).sum(),
            standing: self.standing(&genotype),
            genotype,
            folder: self.run.path().into(),
        })
    }
}
