//! What a person sees while images are read.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lease::Error;
use lease::data::{DataConfig, Dataset, Watch};
use serde_json::json;

use super::progress::{is_plain, shown};
use super::{Level, event, json_wanted, say};

/// How often a plain line is written.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The images of a data set being read.
pub struct Reading {
    bar: Mutex<ProgressBar>,
    files: AtomicUsize,
    done: AtomicUsize,
    spoken: Mutex<Instant>,
}

/// Loads the data set that is asked for, with progress where that takes long, and what a person should know of it.
pub fn load(config: &DataConfig) -> Result<Dataset, Error> {
    Ok(Dataset::load_watched(config, &Reading::new())?)
}

impl Reading {
    /// One that shows nothing yet.
    pub fn new() -> Self {
        Self {
            bar: Mutex::new(ProgressBar::hidden()),
            files: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            spoken: Mutex::new(Instant::now()),
        }
    }

    fn bar(&self) -> ProgressBar {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.clone()
    }

    fn say(&self, level: Level, message: &str) {
        self.bar().suspend(|| say(level, message));
    }

    /// A plain line, not too often.
    fn speak(&self, done: usize) {
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        if spoken.elapsed() < PLAIN_INTERVAL {
            return;
        }
        *spoken = Instant::now();
        let files = self.files.load(Ordering::Relaxed);
        if json_wanted() {
            let fields = json!({ "done": done, "images": files });
            event(Level::Info, "reading", fields);
        } else {
            say(Level::Info, format_args!("read {done}/{files} images"));
        }
    }
}

impl Watch for Reading {
    fn started(&self, files: usize) {
        self.files.store(files, Ordering::Relaxed);
        if is_plain() {
            return;
        }
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(files as u64), hidden);
        let template = "{bar:30} {pos}/{len} images read  {per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = shown(bar);
    }

    fn read(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if is_plain() {
            self.speak(done);
        } else {
            self.bar().inc(1);
        }
    }

    fn ended(&self) {
        self.bar().finish_and_clear();
    }

    fn note(&self, message: &str) {
        self.say(Level::Info, message);
    }

    fn warn(&self, message: &str) {
        self.say(Level::Warning, message);
    }
}
