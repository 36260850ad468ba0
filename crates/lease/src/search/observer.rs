//! Who watches a search, and what they are told.

use std::fmt;

use super::{EpochMetrics, StepMetrics};
use crate::collective::Team;
use crate::data::{Dataset, Unwatched};
use crate::memory::Need;
use crate::space::StagePlan;

use super::SearchConfig;

/// The share of |δ| at ε below which an attack hardly moved it.
const WEAK_ATTACK: f64 = 0.01;

/// Who watches a search. None of them can stop it: a watcher who cannot speak stays silent.
pub trait Observer {
    /// The search is about to do `steps` steps in `epochs` epochs, of which `done` steps are done.
    fn started(&mut self, steps: u64, epochs: usize, done: u64);
    /// Something a person should know.
    fn note(&mut self, message: &str);
    /// Something that may not be as it should.
    fn warn(&mut self, message: &str);
    /// A step is done.
    fn step(&mut self, metrics: &StepMetrics);
    /// An epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics);
}

impl Observer for Unwatched {
    fn started(&mut self, _: u64, _: usize, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
    fn step(&mut self, _: &StepMetrics) {}
    fn epoch(&mut self, _: &EpochMetrics) {}
}

/// What is told when a search starts.
pub(super) fn announcement(
    config: &SearchConfig,
    (dataset, team): (&Dataset, &Team),
    (stage, weights): (&StagePlan, usize),
    (need, folder): (Need, impl fmt::Display),
) -> Vec<String> {
    let (m, s) = (&config.method, &config.search);
    let mut all = vec![format!(
        "Searching by {} on {} ({} images): a supernet of {}, {} channels, {} cells, {weights} weights; about {} of memory.\n\
         Run folder: {folder}",
        m.method,
        config.data.images.called(),
        dataset.train.len(),
        config.space.entry().about,
        config.explainer.channels,
        stage.cells,
        need.told(),
    )];
    if team.size() > 1 {
        all.push(format!(
            "{} processes, each with {} of every {} images.",
            team.size(),
            s.batch / team.size(),
            s.batch
        ));
    }
    if s.warmup_epochs > 0 {
        let each = match config.stages().len() {
            1 => "",
            _ => " of each stage",
        };
        all.push(format!(
            "The architecture stays as it is for the first {} epochs{each} (warm-up).",
            s.warmup_epochs
        ));
    }
    if config.budget.min_convolutions > 0 {
        all.push(format!(
            "What is found has {} convolutions on its (normal) cell's edges at least.",
            config.budget.min_convolutions
        ));
    }
    if config.budget.bounds().on_costs() {
        let b = &config.budget;
        all.push(format!(
            "What is found keeps to the budget as a network of {} channels and {} cells.",
            b.budget_channels, b.budget_cells
        ));
    }
    if config.listens() && m.signed_attack {
        all.push(
            "The signed attack's derivative is zero almost everywhere: the architecture does not \
             hear from the audience through its explanations."
                .into(),
        );
    }
    all
}

/// What is told when a stage starts.
pub(super) fn stage(number: usize, stages: &[StagePlan], weights: usize) -> String {
    format!(
        "Stage {} of {}: {} cells, {} candidates on each edge, {weights} weights.",
        number + 1,
        stages.len(),
        stages[number].cells,
        stages[number].candidates,
    )
}

/// A warning if the attack left δ where it started.
pub(super) fn weak_attack(config: &SearchConfig, m: &StepMetrics) -> Option<String> {
    let settings = &config.method;
    let share = m
        .share_at_epsilon
        .filter(|share| *share < WEAK_ATTACK && !settings.signed_attack)?;
    Some(format!(
        "The explanations are little more than their random start: {:.2} % of |δ| is at ε = {}. \
         Raise --attack-step (now {}) until a good share is.",
        100.0 * share,
        settings.epsilon,
        settings.attack_step
    ))
}

/// What `run.json` says.
pub(super) fn about(config: &SearchConfig, dataset: &Dataset) -> serde_json::Value {
    serde_json::json!({
        "lease": env!("CARGO_PKG_VERSION"),
        "device": config.run.device,
        "threads": rayon::current_num_threads(),
        "seed": config.run.seed,
        "dataset": dataset.name,
        "classes": dataset.classes,
        "training_images": dataset.train.len(),
        "image_shape": dataset.shape(),
        "mean": dataset.normalisation.mean,
        "std": dataset.normalisation.std,
        "platform": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    })
}
