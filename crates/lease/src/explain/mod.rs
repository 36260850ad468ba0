//! Explanations of the predictions of a supernet or a trained network, and what they are worth.
//!
//! An explanation is δ of stage II of the method ([`crate::method::stage2`]): the change of the image, at most ε a number, that moves the
//! prediction most. Its map is Σ |δ| over the channels. What it is worth is measured beside maps that explain nothing or less
//! ([`Source`]): a random map, the image's edges, the plain gradient, the explanation of another image. Formulas and sources stand in
//! the files of the measures and in `docs/explain.md`.

mod chosen;
mod concentration;
mod files;
pub mod impute;
mod maps;
mod measure;
mod numbers;
mod picture;
mod randomisation;
mod relevance;
pub mod removal;
pub mod sensitivity;
mod settings;
mod subject;

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

pub use chosen::Chosen;
pub use files::{FILES, Written, free, write};
pub use maps::{Maps, Source};
pub use numbers::{Better, Check, Curves, Difference, Measure, Measured, Measures};
pub(crate) use picture::diverging;
pub use settings::{ExplainConfig, ExplainSettings, Part, presets};
pub use subject::{Numbers, Planes, Subject};

use crate::method::stage2::Attack;
use removal::largest;

/// Who watches.
pub trait Observer {
    /// So many steps of something begin.
    fn begun(&mut self, what: &str, steps: u64);
    /// One of them is done.
    fn step(&mut self);
}

/// Images with their explanations.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The images.
    pub chosen: Chosen,
    /// δ of each, in units of the normalised images.
    pub delta: Planes,
    /// The probabilities of the classes, `[count, classes]`.
    pub clean: Vec<f32>,
    /// The same of x + δ.
    pub perturbed: Vec<f32>,
    /// The class that is predicted for each image.
    pub predicted: Vec<usize>,
    /// The same for x + δ.
    pub perturbed_predicted: Vec<usize>,
}

/// How predictions are, and what the explanations do to them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Predictions {
    /// The share of the images that is classified correctly, where their classes are known.
    pub accuracy: Option<f64>,
    /// The share whose prediction δ changes.
    pub changed: f64,
    /// The mean probability of the class predicted for the image.
    pub probability: f64,
    /// The mean probability of that class for x + δ.
    pub perturbed_probability: f64,
}

impl Explained {
    /// The explanations of the subject's predictions for some images; none if it was asked to stop.
    pub fn of(
        subject: &Subject,
        chosen: Chosen,
        config: &ExplainConfig,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Option<Self> {
        let attack = config.method.attack(&subject.normalisation);
        let images = &chosen.images;
        let starts = subject.starts(images.count(), &attack, (config.run.seed, 0));
        let parts = subject::parts(images.count(), config.explain.at_once);
        observer.begun("explanations", parts.len() as u64);
        let (mut clean, mut delta, mut perturbed) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let (images, starts) = (images.part(part), starts.part(part));
            let at_once = images.count();
            clean.extend(subject.probabilities(&images, at_once));
            let at = (subject.numbers(), at_once);
            let found = subject.explanations(&images, &starts, &attack, at);
            let both = images.values.iter().zip(&found.values);
            let moved = images.with(both.map(|(x, d)| x + d).collect());
            perturbed.extend(subject.probabilities(&moved, at_once));
            delta.extend(found.values);
            observer.step();
        }
        let delta = images.with(delta);
        let classes = subject.classes.len();
        let predicted = |all: &[f32]| all.chunks_exact(classes).map(largest).collect();
        Some(Self {
            predicted: predicted(&clean),
            perturbed_predicted: predicted(&perturbed),
            chosen,
            delta,
            clean,
            perturbed,
        })
    }

    /// How many images.
    pub fn count(&self) -> usize {
        self.predicted.len()
    }

    /// The probability of the class predicted for an image, and the same class's for x + δ.
    pub fn probability(&self, image: usize) -> [f32; 2] {
        let classes = self.clean.len() / self.count();
        let at = image * classes + self.predicted[image];
        [self.clean[at], self.perturbed[at]]
    }

    /// How predictions are, and what the explanations do to them.
    pub fn predictions(&self) -> Predictions {
        let n = self.count() as f64;
        let share = |holds: &dyn Fn(usize) -> bool| {
            (0..self.count()).filter(|i| holds(i.to_owned())).count() as f64 / n
        };
        let mean = |which: usize| {
            let all = (0..self.count()).map(|i| f64::from(self.probability(i)[which]));
            all.sum::<f64>() / n
        };
        let labels = self.chosen.labels.as_ref();
        Predictions {
            accuracy: labels.map(|labels| share(&|i| labels[i] == self.predicted[i])),
            changed: share(&|i| self.predicted[i] != self.perturbed_predicted[i]),
            probability: mean(0),
            perturbed_probability: mean(1),
        }
    }

    /// What they are worth; none if it was asked to stop.
    pub fn measured(
        &self,
        subject: &Subject,
        config: &ExplainConfig,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Option<Measures> {
        let attack: Attack = config.method.attack(&subject.normalisation);
        let measuring = measure::Measuring {
            subject,
            explained: self,
            config,
            attack: &attack,
            stop,
        };
        measuring.all(observer)
    }
}
