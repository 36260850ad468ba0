//! What a person sees while something runs: a progress bar on a terminal, plain lines elsewhere, JSON where that is asked
//! for.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lease::search::{self, EpochMetrics, StepMetrics};
use lease::space::Standing;
use lease::space::nas_bench_201::Cell;
use lease::training::{self, TrainMetrics};
use serde_json::{Value, json};

use super::cells::Place;
use super::{Level, counted, event, json_wanted, quiet, say};

/// How often a plain line about a step is written, over all searches and trainings.
pub(super) const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of one search or training.
pub struct Console {
    bar: ProgressBar,
    plain: bool,
    steps: u64,
    epochs: usize,
    done: u64,
    started: Instant,
    done_before: u64,
    spoken: Instant,
    /// The norm of γ · the audience's term over that of the explainer's, when they were last known.
    share: Option<f64>,
    /// The cell of a comparison that this is.
    place: Option<Place>,
}

/// A bar where people see it.
pub(super) fn shown(bar: ProgressBar) -> ProgressBar {
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar
}

/// Whether lines are written instead of a bar.
pub(super) fn is_plain() -> bool {
    !stderr().is_terminal() || quiet() || json_wanted()
}

impl Console {
    /// A console that shows nothing yet.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            plain: is_plain(),
            steps: 0,
            epochs: 0,
            done: 0,
            started: Instant::now(),
            done_before: 0,
            spoken: Instant::now(),
            share: None,
            place: None,
        }
    }

    /// The console of a cell of a comparison.
    pub(super) fn of(place: Place) -> Self {
        Self {
            place: Some(place),
            ..Self::new()
        }
    }

    fn start(&mut self, steps: u64, epochs: usize, done: u64) {
        (self.steps, self.epochs, self.done, self.done_before) = (steps, epochs, done, done);
        self.started = Instant::now();
        if !self.plain {
            let hidden = ProgressDrawTarget::hidden();
            let bar = ProgressBar::with_draw_target(Some(steps), hidden).with_position(done);
            bar.reset_eta();
            let beside = self.place.as_ref().is_some_and(|place| place.jobs() > 1);
            let template = match beside {
                true => "{prefix}  {pos}/{len} steps  {eta} left  {wide_msg}",
                false => "{bar:30} {pos}/{len} steps  {per_sec}  {eta} left  {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            self.bar = match &self.place {
                Some(place) => place.shown(bar),
                None => shown(bar),
            };
        }
    }

    /// A line above the bar.
    fn say(&self, level: Level, line: &str) {
        match &self.place {
            Some(place) => place.say(level, line, &self.bar),
            None => self.bar.suspend(|| say(level, line)),
        }
    }

    /// An event, where JSON is wanted.
    fn event(&self, name: &str, fields: Value) {
        match &self.place {
            Some(place) => place.event(Level::Info, name, fields),
            None => event(Level::Info, name, fields),
        }
    }

    /// A line about what is also an event of its own in JSON.
    fn tell(&self, line: &str) {
        if !json_wanted() {
            self.say(Level::Info, line);
        }
    }

    fn advance(&mut self, message: String) {
        self.done += 1;
        self.bar.set_position(self.done);
        let beside = self.place.as_ref().map_or(1, Place::jobs);
        if self.plain && self.spoken.elapsed() >= PLAIN_INTERVAL * beside {
            self.spoken = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64();
            let rate = (self.done - self.done_before) as f64 / seconds;
            let left = (self.steps - self.done) as f64 / rate;
            let fields = json!({ "done": self.done, "steps": self.steps, "steps_per_second": rate, "seconds_left": left });
            self.event("progress", fields);
            self.tell(&format!(
                "step {}/{}  {rate:.2} steps/s  {left:.0} s left  {message}",
                self.done, self.steps
            ));
        }
        self.bar.set_message(message);
    }

    fn end_if_done(&self) {
        if self.done == self.steps {
            self.bar.finish_and_clear();
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What the benchmark knows of an architecture.
pub fn told_standing(s: &Standing) -> String {
    let each = s.on_sets().map(|on| {
        let (name, test, rank, regret) = (on.name, on.test, on.rank, on.regret);
        format!("{name} {test:.2} % (rank {rank}, {regret:.2} below the best)")
    });
    format!(
        "true test accuracy: {}; of {}; {} parameters at the benchmark's size",
        each.join(", "),
        Cell::COUNT,
        s.truth.params
    )
}

/// ` WHAT VALUE`, or nothing.
fn told(what: &str, value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("  {what} {v:.3}"))
}

impl search::Observer for Console {
    fn started(&mut self, steps: u64, epochs: usize, done: u64) {
        self.start(steps, epochs, done);
    }

    fn note(&mut self, message: &str) {
        self.say(Level::Info, message);
    }

    fn warn(&mut self, message: &str) {
        self.say(Level::Warning, message);
    }

    fn step(&mut self, m: &StepMetrics) {
        let norms = m.explainer_term_norm.zip(m.audience_term_norm).zip(m.gamma);
        if let Some(((explainer, audience), gamma)) = norms.filter(|((e, _), _)| *e > 0.0) {
            self.share = Some(gamma * audience / explainer);
        }
        let small =
            |what: &str, v: Option<f64>| v.map_or(String::new(), |v| format!("  {what} {v:.2e}"));
        let message = [
            format!("loss explainer {:.3}", m.explainer_train_loss),
            told("val", m.explainer_val_loss),
            told("audience", m.audience_train_loss),
            told("val", m.audience_val_loss),
            told("attack", m.attack_objective),
            told("at ε", m.share_at_epsilon),
            told("relevant", m.delta_on_relevant),
            small("|∇A|", m.architecture_gradient_norm),
            small("γ·audience/explainer", self.share),
        ];
        self.advance(message.concat());
    }

    fn epoch(&mut self, m: &EpochMetrics) {
        let audience = match (m.audience_train_accuracy, m.audience_val_accuracy) {
            (Some(train), Some(val)) => {
                format!("  audience {} / {}", percent(train), percent(val))
            }
            _ => String::new(),
        };
        let entropies: Vec<String> = m.entropy.values().map(|e| format!("{e:.3}")).collect();
        let standing = m.standing.as_ref();
        let standing = standing.map_or(String::new(), |s| format!("\n  {}", told_standing(s)));
        self.event("epoch", serde_json::to_value(m).unwrap_or_default());
        self.tell(&format!(
            "epoch {}/{}  accuracy (train / validation): explainer {} / {}{audience}  \
             entropy {}  skip-connects {}\n  {}{}",
            m.epoch + 1,
            self.epochs,
            percent(m.explainer_train_accuracy),
            percent(m.explainer_val_accuracy),
            entropies.join(" "),
            m.skip_connects,
            m.genotype,
            standing,
        ));
        if let Some(eigenvalue) = m.eigenvalue {
            self.tell(&format!(
                "  dominant eigenvalue of ∇²_A L_val {eigenvalue:.4}"
            ));
        }
        self.end_if_done();
    }
}

impl training::Observer for Console {
    fn started(&mut self, parameters: usize, steps: u64, epochs: usize, done: u64) {
        self.start(steps, epochs, done);
        let fields =
            json!({ "parameters": parameters, "epochs": epochs, "steps": steps, "done": done });
        self.event("training", fields);
        self.tell(&format!(
            "{parameters} parameters, {}",
            counted(epochs, "epoch")
        ));
    }

    fn note(&mut self, message: &str) {
        self.say(Level::Info, message);
    }

    fn warn(&mut self, message: &str) {
        self.say(Level::Warning, message);
    }

    fn step(&mut self, loss: f64) {
        self.advance(format!("loss {loss:.3}"));
    }

    fn epoch(&mut self, m: &TrainMetrics) {
        self.event("epoch", serde_json::to_value(m).unwrap_or_default());
        let held_out = match (m.validation_accuracy, m.validation_balanced_accuracy) {
            (Some(plain), Some(balanced)) => format!(
                "  validation accuracy {} (balanced {})",
                percent(plain),
                percent(balanced)
            ),
            _ => String::new(),
        };
        self.tell(&format!(
            "epoch {}/{}  loss {:.4}  training accuracy {}{held_out}  learning rate {:.4}",
            m.epoch + 1,
            self.epochs,
            m.loss,
            percent(m.accuracy),
            m.learning_rate,
        ));
        self.end_if_done();
    }
}
