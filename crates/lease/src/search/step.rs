//! One step of a search: stages I to IV, then the real steps of A, E and W.

use std::ops::Range;

use super::{Search, Shares, StepMetrics, freezing};
use crate::Error;
use crate::collective::Team;
use crate::method::iteration::Stages;
use crate::method::layers::agreement;
use crate::method::product::gradient;
use crate::method::regulariser::over_budget;
use crate::method::{Examples, Iteration, Method, Models, Part, Point, Unrolling, stage1};
use crate::network::{Memo, Vector};
use crate::rng::{Draw, Purpose, of_part, stream};
use crate::space::{Explainer, SkipDropout};

/// What a step is made of.
struct Prepared {
    step: u64,
    warmup: bool,
    settings: Unrolling,
    /// This process's parts of the batches.
    parts: Vec<Part>,
    team: Team,
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
            parts: &self.parts,
            team: &self.team,
            at: &self.at,
            settings: &self.settings,
            trains: self.trains.as_ref(),
        }
    }

    /// How many images of one of the batches the last pass over it classified correctly.
    fn correct(&self, batch: impl Fn(&Part) -> &Examples) -> u64 {
        let each = self.parts.iter().map(|part| [batch(part).correct() as f64]);
        let [correct] = self.team.total(each);
        correct as u64
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
            m.audience(&self.team, audience, &now.parts);
            self.state.step_audience(&now.settings, &audience.gradient);
            let correct = now.correct(|part| &part.batches.audience_train);
            let images = self.feed.images();
            self.state.progress.audience.count(correct, images);
        }
        m.check()?;
        Ok(m)
    }

    fn prepared(&mut self, step: u64, epoch: usize) -> Prepared {
        let parts = self.parts(step, epoch);
        let mut at = self.state.point.clone();
        let warmup = self.config.warms_up(epoch);
        let perturbation = &self.config.perturbation;
        if !warmup && perturbation.sam_radius > 0.0 {
            at.architecture = perturbation.sharpened(&self.team, &parts, &at);
        }
        let operations = match self.config.freezing.watches() {
            true => freezing::operations(&*self.models.explainer),
            false => Vec::new(),
        };
        let freezing = &self.state.progress.freezing;
        Prepared {
            step,
            warmup,
            settings: self.unrolling(step, epoch),
            trains: freezing.trains(&operations, &at.explainer),
            parts,
            team: self.team.clone(),
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
        let (f, strength) = (&*self.models.explainer, self.config.budget.budget_strength);
        if let Some(over) = over_budget(f, &now.at.architecture, strength) {
            m.over_budget = Some(over.value);
            gradient.total = gradient.total.add_scaled(1.0, &over.gradient);
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
        let learned = match (stages, now.warmup) {
            (Some(stages), true) => stages.explainer_gradient.clone(),
            _ => {
                let point = [&now.at.explainer, &self.state.point.architecture];
                let found = self.team.mean(now.parts.iter().map(|part| {
                    let batch = &part.batches.explainer_train;
                    gradient(stage1::loss(part.models.learner(), batch), point, [0])
                }));
                m.explainer_train_loss = found.value;
                let [vector] = found.vectors;
                vector
            }
        };
        if let Some(stages) = stages {
            m.explainer_train_loss = stages.explainer_loss;
        }
        let correct = now.correct(|part| &part.batches.explainer_train);
        let images = self.feed.images();
        self.state.progress.explainer.count(correct, images);
        let mut towards = learned.clone();
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
            // The same loss on other images: Λ has no part in it.
            let both = [&learned, &validation];
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
        let mut parts: Vec<(&dyn Explainer, &Examples)> = Vec::new();
        for part in &now.parts {
            parts.push((&*part.models.explainer, &part.batches.explainer_train));
        }
        let found = agreement(&self.team, &parts, at, product);
        let lambda = weight * self.shares(now.step).steps;
        Some((found.value, found.gradient.scale(lambda)))
    }

    /// How far the stage is.
    fn shares(&self, step: u64) -> Shares {
        let per_epoch = self.feed.per_epoch();
        let within = step % (per_epoch * self.config.search.epochs as u64);
        self.config.shares(within, per_epoch)
    }

    /// This process's parts of a step.
    fn parts(&mut self, step: u64, epoch: usize) -> Vec<Part> {
        let batches = self.feed.batches(step);
        let starts = self.config.listens().then(|| self.feed.starts(step));
        let mut starts = starts.into_iter().flatten();
        let keeps = self.keeps && !self.config.warms_up(epoch);
        let numbered = self.team.own().zip(batches);
        let mut parts: Vec<Part> = numbered
            .map(|(number, batches)| Part {
                models: self.models_at(step, epoch, number),
                batches,
                starts: starts.next(),
                memo: keeps.then(Memo::default),
            })
            .collect();
        let perturbation = &self.config.perturbation;
        if perturbation.perturbs() {
            let mut rng = stream(self.config.run.seed, Purpose::Perturbation, step);
            let with = (self.shares(step).steps, &mut rng);
            perturbation.set_learners(&self.team, &mut parts, &self.state.point, with);
        }
        parts
    }

    /// The networks in a step on one part of its batches: with skip-connects dropped out where the stage says so, the part's
    /// noise, and the step's mixture.
    fn models_at(&self, step: u64, epoch: usize, part: usize) -> Models {
        let mut models = self.models.clone();
        let (s, seed) = (&self.config.search, self.config.run.seed);
        let shares = self.shares(step);
        let stage = self.config.stages()[self.state.progress.stage.number];
        let probability = stage.skip_dropout_in(epoch % s.epochs, s.epochs, s.warmup_epochs);
        if probability > 0.0 {
            let dropout = SkipDropout {
                probability,
                seed,
                step: of_part(step, part),
            };
            let dropping = models.explainer.dropping(dropout);
            models.explainer = dropping.unwrap_or(models.explainer);
        }
        let draw = Draw {
            seed,
            step: of_part(step, part),
        };
        let noisy = models.explainer.noisy(draw);
        models.explainer = noisy.unwrap_or(models.explainer);
        let mixing = self.config.mixing.at(seed, step, shares.steps);
        models.explainer = models.explainer.with_mixing(mixing);
        models
    }
}
