//! One step of a search: stages I to IV, then the real steps of A, E and W.

use std::ops::Range;

use super::{Search, Shares, StepMetrics, freezing};
use crate::Error;
use crate::method::iteration::Stages;
use crate::method::layers::agreement;
use crate::method::product::gradient;
use crate::method::{Batches, Iteration, Method, Models, Point, Starts, Unrolling, stage1};
use crate::network::Vector;
use crate::rng::{Draw, Purpose, stream};
use crate::space::SkipDropout;

/// What a step is made of.
struct Prepared {
    step: u64,
    warmup: bool,
    settings: Unrolling,
    batches: Batches,
    starts: Option<Starts>,
    models: Models,
    /// Where the stages start; A is perturbed where it is to be differentiated elsewhere.
    at: Point,
    /// Where in E the candidate operations' weights lie, if they are watched.
    operations: Vec<Vec<Range<usize>>>,
    /// Which of E trains.
    trains: Option<Vector>,
}

impl Prepared {
    fn iteration(&self) -> Iteration<'_> {
        Iteration {
            models: &self.models,
            at: &self.at,
            batches: &self.batches,
            starts: self.starts.as_ref(),
            settings: &self.settings,
            trains: self.trains.as_ref(),
        }
    }
}

impl Search {
    /// One iteration: stages I to IV, then the real steps of E and W.
    pub(crate) fn step(&mut self, step: u64, epoch: usize) -> Result<StepMetrics, Error> {
        let now = self.prepared(step, epoch);
        let mut m = StepMetrics::at(step, epoch, now.warmup);
        let first_order = now.settings.method == Method::DartsFirst;
        let stages = (!first_order).then(|| now.iteration().stages());
        let validation = match now.warmup {
            true => None,
            false => self.move_architecture(&now, stages.as_ref(), &mut m)?,
        };
        self.train_explainer(&now, (stages.as_ref(), validation), &mut m);
        // Stage III for real: W and δ' are those of the unrolled step, and so is the gradient.
        if let Some(audience) = stages.as_ref().and_then(|s| s.audience.as_ref()) {
            m.audience(audience, &now.batches.audience_train);
            self.state.step_audience(&now.settings, &audience.gradient);
            self.state
                .progress
                .audience
                .add(&now.batches.audience_train);
        }
        m.check()?;
        Ok(m)
    }

    fn prepared(&mut self, step: u64, epoch: usize) -> Prepared {
        let batches = self.feed.batches(step);
        let models = self.models_at(step, epoch, &batches);
        let mut at = self.state.point.clone();
        let warmup = self.config.warms_up(epoch);
        let perturbation = &self.config.perturbation;
        if !warmup && perturbation.sam_radius > 0.0 {
            let (f, val) = (&*models.explainer, &batches.explainer_val);
            at.architecture = perturbation.sharpened(f, &at, val);
        }
        let operations = match self.config.freezing.watches() {
            true => freezing::operations(&*models.explainer),
            false => Vec::new(),
        };
        let freezing = &self.state.progress.freezing;
        Prepared {
            step,
            warmup,
            settings: self.unrolling(step, epoch),
            starts: self.config.listens().then(|| self.feed.starts(step)),
            trains: freezing.trains(&operations, &at.explainer),
            batches,
            models,
            at,
            operations,
        }
    }

    /// Stage IV and A's real step. Returns the validation loss's gradient with respect to the explainer's weights, where
    /// it is known.
    fn move_architecture(
        &mut self,
        now: &Prepared,
        stages: Option<&Stages>,
        m: &mut StepMetrics,
    ) -> Result<Option<Vector>, Error> {
        let iteration = now.iteration();
        let explainer = match stages {
            Some(stages) => iteration.explainer_term(stages),
            None => iteration.first_order_term(self.config.freezing.watches()),
        };
        let heard = stages.and_then(|s| Some((s, s.audience.as_ref()?)));
        let audience = heard.map(|(stages, audience)| iteration.audience_term(stages, audience));
        let mut gradient = iteration.architecture_gradient(&explainer, audience.as_ref());
        m.terms(&explainer, audience.as_ref(), &gradient);
        let share = self.shares(now.step).moves;
        let regulariser = &self.config.regulariser;
        if let Some(added) = regulariser.added(&now.at.architecture, share) {
            m.regulariser = Some(added.value);
            m.regulariser_norm = Some(added.gradient.norm());
            gradient.total = gradient.total.add_scaled(1.0, &added.gradient);
        }
        m.check()?;
        self.state.step_architecture(&self.config, &gradient.total);
        Ok(explainer.weights)
    }

    /// Stage I for real, with the new architecture; if that has not moved, the gradient is known.
    fn train_explainer(
        &mut self,
        now: &Prepared,
        (stages, validation): (Option<&Stages>, Option<Vector>),
        m: &mut StepMetrics,
    ) {
        let batch = &now.batches.explainer_train;
        let mut towards = match (stages, now.warmup) {
            (Some(stages), true) => stages.explainer_gradient.clone(),
            _ => {
                let loss = stage1::loss(now.models.learner(), batch);
                let point = [&now.at.explainer, &self.state.point.architecture];
                let learned = gradient(loss, point, [0]);
                m.explainer_train_loss = learned.value;
                let [vector] = learned.vectors;
                vector
            }
        };
        if let Some(stages) = stages {
            m.explainer_train_loss = stages.explainer_loss;
        }
        self.state.progress.explainer.add(batch);
        if let Some((agreement, gradient)) = self.agreeing(now) {
            m.agreement = Some(agreement);
            towards = towards.add_scaled(-1.0, &gradient);
        }
        m.explainer_gradient_norm = towards.norm();
        let trains = now.trains.as_ref();
        self.state.step_explainer(&now.settings, &towards, trains);
        let watched = self.config.freezing.watches();
        if let Some(validation) = validation.filter(|_| watched) {
            let freezing = &mut self.state.progress.freezing;
            let both = [&towards, &validation];
            freezing.note(&self.config.freezing, &now.operations, both);
        }
    }

    /// How well the layers agree on the architecture, and λ ∇_E of that; none if it has no weight.
    fn agreeing(&self, now: &Prepared) -> Option<(f64, Vector)> {
        let weight = self.config.regulariser.lambda;
        if weight == 0.0 {
            return None;
        }
        let point = &self.state.point;
        let at = [&point.explainer, &point.architecture];
        let product = self.config.method.product();
        let batch = &now.batches.explainer_train;
        let found = agreement(&*now.models.explainer, at, batch, product);
        let lambda = weight * self.shares(now.step).steps;
        Some((found.value, found.gradient.scale(lambda)))
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
}
