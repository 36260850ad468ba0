//! Event files for TensorBoard beside `metrics.jsonl`: scalars, mixtures as histograms and pictures, and the examples of
//! explanations.
//!
//! A run that goes on writes its file anew from its log, so that there is one file, and it says what the log says.

mod pictures;
mod proto;
mod record;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::read::Measures;
use crate::search::{self, EpochMetrics, Metrics, StepMetrics};
use crate::training::{self, TrainMetrics};
use record::Events;

/// Whoever watches, and the event files that are written meanwhile.
pub struct Watched<O> {
    /// Who watches.
    inner: O,
    /// The folders of a search and of a training that is watched, where files are wanted.
    folders: Option<[PathBuf; 2]>,
    events: Option<Events>,
}

impl<O> Watched<O> {
    /// Writes events if that is `wanted`: of a search into the first folder, of a training into the second.
    pub fn new(inner: O, wanted: bool, search: &Path, training: &Path) -> Self {
        Self {
            inner,
            folders: wanted.then(|| [search.into(), training.into()]),
            events: None,
        }
    }

    /// Begins a file with what the log of a folder has; what went wrong, if anything did.
    fn begin(&mut self, number: usize) -> Option<String> {
        self.events = None;
        let folder = &self.folders.as_ref()?[number];
        // Another thing than a run of its own, such as a draw of random search, leaves no file.
        if !folder.join("run.json").is_file() {
            return None;
        }
        let begun = Events::begin(folder).and_then(|mut events| {
            let measures = Measures::read(folder);
            let now = now();
            for line in measures.steps.iter().chain(&measures.epochs) {
                // As long ago as the epochs since then took.
                let done = line["epoch"].as_u64().unwrap_or(0) as usize;
                let ago: f64 = measures.seconds.iter().skip(done).sum();
                events.line(line, now - ago)?;
            }
            events.flush()?;
            Ok(events)
        });
        match begun {
            Ok(events) => {
                self.events = Some(events);
                None
            }
            Err(error) => Some(format!(
                "no events for TensorBoard are written to {}: {error}",
                folder.display()
            )),
        }
    }

    /// Writes a line; what went wrong, if anything did, after which nothing more is written.
    fn line(&mut self, line: Result<Value, serde_json::Error>, epoch: bool) -> Option<String> {
        let events = self.events.as_mut()?;
        let written = line.map_err(std::io::Error::other).and_then(|line| {
            events.line(&line, now())?;
            if epoch {
                events.examples(&line, now())?;
                return events.flush();
            }
            events.flush_at_times()
        });
        let error = written.err()?;
        self.events = None;
        Some(format!(
            "no more events for TensorBoard are written: {error}"
        ))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |t| t.as_secs_f64())
}

impl<O: search::Observer> search::Observer for Watched<O> {
    fn started(&mut self, steps: u64, epochs: usize, done: u64) {
        self.inner.started(steps, epochs, done);
        if let Some(wrong) = self.begin(0) {
            self.inner.warn(&wrong);
        }
    }

    fn note(&mut self, message: &str) {
        self.inner.note(message);
    }

    fn warn(&mut self, message: &str) {
        self.inner.warn(message);
    }

    fn step(&mut self, metrics: &StepMetrics) {
        if self.events.is_some()
            && let Some(wrong) =
                self.line(serde_json::to_value(Metrics::Step(metrics.clone())), false)
        {
            self.inner.warn(&wrong);
        }
        self.inner.step(metrics);
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        if self.events.is_some()
            && let Some(wrong) =
                self.line(serde_json::to_value(Metrics::Epoch(metrics.clone())), true)
        {
            self.inner.warn(&wrong);
        }
        self.inner.epoch(metrics);
    }
}

impl<O: training::Observer> training::Observer for Watched<O> {
    fn started(&mut self, parameters: usize, steps: u64, epochs: usize, done: u64) {
        self.inner.started(parameters, steps, epochs, done);
        if let Some(wrong) = self.begin(1) {
            self.inner.warn(&wrong);
        }
    }

    fn note(&mut self, message: &str) {
        self.inner.note(message);
    }

    fn warn(&mut self, message: &str) {
        self.inner.warn(message);
    }

    fn step(&mut self, loss: f64) {
        self.inner.step(loss);
    }

    fn epoch(&mut self, metrics: &TrainMetrics) {
        if let Some(wrong) = self.line(serde_json::to_value(metrics), true) {
            self.inner.warn(&wrong);
        }
        self.inner.epoch(metrics);
    }
}
