//! What a person sees while something runs: a progress bar on a terminal, plain lines elsewhere. All of it
//! goes to standard error; results go to standard output.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lease::search::{self, EpochMetrics, StepMetrics};
use lease::space::Standing;
use lease::space::nas_bench_201::Cell;
use lease::training::{self, TrainMetrics};

/// How often a plain line about a step is written.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
pub fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!(
            "\nStopping after this step; Ctrl-C again stops at once, from the last checkpoint."
        );
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("Ctrl-C will stop without a checkpoint ({error}).");
    }
    stop
}

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
}

impl Console {
    /// A console that shows nothing yet.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            plain: !stderr().is_terminal(),
            steps: 0,
            epochs: 0,
            done: 0,
            started: Instant::now(),
            done_before: 0,
            spoken: Instant::now(),
            share: None,
        }
    }

    fn start(&mut self, steps: u64, epochs: usize, done: u64) {
        (self.steps, self.epochs, self.done, self.done_before) = (steps, epochs, done, done);
        self.started = Instant::now();
        if !self.plain {
            self.bar = ProgressBar::new(steps).with_position(done);
            self.bar.reset_eta();
            let template = "{bar:30} {pos}/{len} steps  {per_sec}  {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
    }

    fn say(&self, line: &str) {
        if self.plain {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn advance(&mut self, message: String) {
        self.done += 1;
        self.bar.set_position(self.done);
        if self.plain && self.spoken.elapsed() >= PLAIN_INTERVAL {
            self.spoken = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64();
            let rate = (self.done - self.done_before) as f64 / seconds;
            let left = (self.steps - self.done) as f64 / rate;
            self.say(&format!(
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
pub fn told_standing(standing: &Standing) -> String {
    let truth = &standing.truth;
    format!(
        "true test accuracy: CIFAR-10 {:.2} %, CIFAR-100 {:.2} %, ImageNet16-120 {:.2} %; rank {} of {}; \
         {} parameters",
        truth.cifar10_test,
        truth.cifar100_test,
        truth.in16_test,
        standing.rank,
        Cell::COUNT,
        truth.params
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
        self.say(message);
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
        self.say(&format!(
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
            self.say(&format!(
                "  dominant eigenvalue of ∇²_A L_val {eigenvalue:.4}"
            ));
        }
        self.end_if_done();
    }
}

impl training::Observer for Console {
    fn started(&mut self, parameters: usize, steps: u64, epochs: usize, done: u64) {
        self.start(steps, epochs, done);
        self.say(&format!("{parameters} parameters, {epochs} epochs"));
    }

    fn note(&mut self, message: &str) {
        self.say(message);
    }

    fn step(&mut self, loss: f64) {
        self.advance(format!("loss {loss:.3}"));
    }

    fn epoch(&mut self, m: &TrainMetrics) {
        self.say(&format!(
            "epoch {}/{}  loss {:.4}  training accuracy {}  learning rate {:.4}",
            m.epoch + 1,
            self.epochs,
            m.loss,
            percent(m.accuracy),
            m.learning_rate,
        ));
        self.end_if_done();
    }
}
