//! The progress of work in parts, each of a number of steps.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lease::explain;

use super::progress::{is_plain, shown};
use super::{Level, event, json_wanted, say};

/// How often a plain line is written.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// What a person sees of it.
pub struct Work {
    bar: ProgressBar,
    plain: bool,
    what: String,
    steps: u64,
    done: u64,
    spoken: Instant,
}

impl Work {
    /// Nothing is done yet.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            plain: is_plain(),
            what: String::new(),
            steps: 0,
            done: 0,
            spoken: Instant::now(),
        }
    }

    /// Takes what is shown away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl explain::Observer for Work {
    fn begun(&mut self, what: &str, steps: u64) {
        self.end();
        (self.what, self.steps, self.done) = (what.into(), steps, 0);
        if self.plain {
            return;
        }
        let hidden = indicatif::ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(steps), hidden);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {eta} left  {msg}") {
            bar.set_style(style);
        }
        self.bar = shown(bar);
        self.bar.set_message(self.what.clone());
    }

    fn step(&mut self) {
        self.done += 1;
        self.bar.set_position(self.done);
        if self.plain && self.spoken.elapsed() >= PLAIN_INTERVAL {
            self.spoken = Instant::now();
            if json_wanted() {
                let fields = serde_json::json!({ "what": self.what, "done": self.done, "steps": self.steps });
                event(Level::Info, "progress", fields);
            } else {
                say(
                    Level::Info,
                    format_args!("{}: {}/{}", self.what, self.done, self.steps),
                );
            }
        }
    }
}
