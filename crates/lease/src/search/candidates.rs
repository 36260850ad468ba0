//! The selection by short trainings: of the likeliest architectures the one that is most accurate on the validation images.

use std::sync::atomic::AtomicBool;

use super::trial::{Trial, Trials};
use super::{Observer, Search};
use crate::Error;
use crate::space::Genotype;
use crate::training::{self, TrainMetrics};

/// The file of a run folder that has the trials of the likeliest architectures, the likeliest first.
pub const CANDIDATES: &str = "candidates.json";

/// What was selected, and what that cost.
pub(super) struct Selected {
    /// The architecture.
    pub genotype: Genotype,
    /// Passes of networks of one architecture in their trainings.
    pub passes: u64,
}

impl Search {
    /// Of the likeliest architectures the one that is most accurate after a short training, of equals the likelier; nothing if it
    /// was stopped, what was trained until then being kept.
    pub(super) fn by_training(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Selected>, Error> {
        let count = self.config.selection.selection_candidates;
        let architecture = &self.state.point.architecture;
        let likeliest = self.models.explainer.likeliest(architecture, count)?;
        let epochs = self.config.selection.selection_train_epochs;
        let of = likeliest.len();
        let by = match epochs {
            0 => "the benchmark's trainings of 12 epochs".into(),
            _ => format!("trainings of {epochs} epochs"),
        };
        observer.note(&format!(
            "Selecting of the {of} likeliest architectures by {by}."
        ));
        let how = (epochs, self.models.explainer.edge_skips());
        let (images, peers) = (&self.feed.dataset, self.team.own_peers());
        let trials = Trials::new(&self.config, how, images, peers);
        let mut all: Vec<Trial> = Vec::new();
        let mut best = 0;
        for (number, genotype) in likeliest.iter().enumerate() {
            let folder = self.folder.join(format!("candidates/{number}"));
            let mut told = OnlyWarnings(observer);
            let Some(trial) = trials.tried(genotype, &folder, &mut told, stop)? else {
                return Ok(None);
            };
            if epochs > 0 {
                observer.note(&format!(
                    "{} of {of}: {:.2} % of the validation images, {genotype}",
                    number + 1,
                    100.0 * trial.val_accuracy
                ));
            }
            all.push(trial);
            if all[number].val_accuracy > all[best].val_accuracy {
                best = number;
            }
        }
        if let Some(records) = &self.records {
            records.candidates(&all)?;
        }
        observer.note(&format!(
            "Selected is number {} of them, with {:.2} % of the validation images; the likeliest has {:.2} %.",
            best + 1,
            100.0 * all[best].val_accuracy,
            100.0 * all[0].val_accuracy
        ));
        if epochs > 0 {
            let supernet = self.supernet_val_accuracy();
            if all[best].val_accuracy < supernet {
                observer.warn(&format!(
                    "None of them classifies as many validation images as the supernet, {:.2} %: networks that have learned so little \
                     hardly tell which is the best; raise --selection-train-epochs.",
                    100.0 * supernet
                ));
            }
        }
        let passes = self.feed.per_epoch() * (epochs * all.len()) as u64;
        let genotype = likeliest[best].clone();
        Ok(Some(Selected { genotype, passes }))
    }
}

/// Of the trainings whoever watches the search is told what may not be as it should.
struct OnlyWarnings<'a>(&'a mut dyn Observer);

impl training::Observer for OnlyWarnings<'_> {
    fn started(&mut self, _: usize, _: u64, _: usize, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, message: &str) {
        self.0.warn(message);
    }
    fn step(&mut self, _: f64) {}
    fn epoch(&mut self, _: &TrainMetrics) {}
}
