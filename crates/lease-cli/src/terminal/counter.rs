//! How far something has come that is counted in things or bytes: a bar on a terminal, a line now and then elsewhere.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use super::progress::{PLAIN_INTERVAL, is_plain, shown};
use super::{Level, event, json_wanted, say};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Things of this name.
    Things(&'static str),
    /// Bytes.
    Bytes,
}

/// The count of one piece of work.
pub struct Counter {
    bar: ProgressBar,
    unit: Unit,
    all: u64,
    /// When a line was last written, where there is no bar.
    spoken: Option<Mutex<Instant>>,
}

impl Counter {
    /// A count of things, such as `images`.
    pub fn of(things: &'static str, all: u64) -> Self {
        Self::new(Unit::Things(things), all)
    }

    /// A count of bytes.
    pub fn of_bytes(all: u64) -> Self {
        Self::new(Unit::Bytes, all)
    }

    fn new(unit: Unit, all: u64) -> Self {
        let plain = is_plain();
        let bar = if plain {
            ProgressBar::hidden()
        } else {
            let template = match unit {
                Unit::Things(things) => {
                    format!("{{bar:30}} {{pos}}/{{len}} {things}  {{eta}} left")
                }
                Unit::Bytes => "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left".into(),
            };
            let bar = ProgressBar::new(all);
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            shown(bar)
        };
        Self {
            bar,
            unit,
            all,
            spoken: plain.then(|| Mutex::new(Instant::now())),
        }
    }

    /// It has come this far. Threads may tell it out of order.
    pub fn reach(&self, done: u64) {
        self.bar.set_position(done);
        let Some(spoken) = &self.spoken else {
            return;
        };
        let mut spoken = spoken.lock().unwrap_or_else(PoisonError::into_inner);
        if spoken.elapsed() < PLAIN_INTERVAL {
            return;
        }
        *spoken = Instant::now();
        let (unit, told) = match self.unit {
            Unit::Things(things) => (things, format!("{done}/{} {things}", self.all)),
            Unit::Bytes => {
                let [done, all] = [done, self.all].map(HumanBytes);
                ("bytes", format!("{done} of {all}"))
            }
        };
        event(
            Level::Info,
            "progress",
            json!({ "done": done, "all": self.all, "unit": unit }),
        );
        if !json_wanted() {
            say(Level::Info, told);
        }
    }

    /// Says something above the bar.
    pub fn note(&self, message: &str) {
        self.bar.suspend(|| say(Level::Info, message));
    }

    /// It has ended, well or not.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
