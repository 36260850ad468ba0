//! The logs of a run, as series of numbers.

use std::path::Path;

use serde_json::Value;

use super::lines;

/// `metrics.jsonl` and `timing.jsonl`.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// One object a step.
    pub steps: Vec<Value>,
    /// One object an epoch.
    pub epochs: Vec<Value>,
    /// Seconds of each epoch.
    pub seconds: Vec<f64>,
}

impl Measures {
    /// Those of a search's or training's folder.
    pub fn read(path: &Path) -> Self {
        let all = lines(&path.join("metrics.jsonl"));
        let (steps, epochs) = all.into_iter().partition(|line| line["kind"] == "step");
        let timing = lines(&path.join("timing.jsonl"));
        let seconds = timing.iter().filter_map(|line| line["seconds"].as_f64());
        Self {
            steps,
            epochs,
            seconds: seconds.collect(),
        }
    }

    /// Whether they are a search's; a training has no lines of steps.
    pub fn is_of_search(&self) -> bool {
        let of_search = |line: &Value| line["kind"] == "epoch";
        !self.steps.is_empty() || self.epochs.iter().any(of_search)
    }

    /// Steps of an epoch, where that can be told.
    pub fn per_epoch(&self) -> Option<f64> {
        let last = self.steps.last()?;
        let epoch = last["epoch"].as_u64()?;
        let first = self.steps.iter().filter(|line| line["epoch"] == 0).count();
        Some(match epoch {
            0 if self.epochs.is_empty() => return None,
            _ => first.max(1) as f64,
        })
    }

    /// A quantity after each step that has it, by the epoch (a step in the middle of the first is at 0.5).
    pub fn by_step(&self, key: &str) -> Vec<(f64, f64)> {
        self.of_steps(|line| line[key].as_f64())
    }

    /// What is made of each step's line, where something is.
    pub fn of_steps(&self, value: impl Fn(&Value) -> Option<f64>) -> Vec<(f64, f64)> {
        // Before the first epoch is done nobody knows how long it is.
        let per_epoch = self.per_epoch().unwrap_or(self.steps.len().max(1) as f64);
        let all = self.steps.iter();
        all.filter_map(|line| Some(((line["step"].as_f64()? + 1.0) / per_epoch, value(line)?)))
            .collect()
    }

    /// A quantity after each epoch that has it, the first epoch being 1.
    pub fn by_epoch(&self, key: &str) -> Vec<(f64, f64)> {
        let all = self.epochs.iter();
        all.filter_map(|line| Some((line["epoch"].as_f64()? + 1.0, line[key].as_f64()?)))
            .collect()
    }

    /// A quantity after each epoch that has it, by the seconds until then.
    pub fn over_time(&self, key: &str) -> Vec<(f64, f64)> {
        let mut total = 0.0;
        let ends = self.seconds.iter().map(|seconds| {
            total += seconds;
            total
        });
        let values = self.by_epoch(key).into_iter();
        values
            .zip(ends)
            .map(|((_, value), end)| (end, value))
            .collect()
    }

    /// A quantity with a value for each of several names after each epoch, name by name.
    pub fn named(&self, key: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut all: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for line in &self.epochs {
            let (Some(epoch), Some(values)) = (line["epoch"].as_f64(), line[key].as_object())
            else {
                continue;
            };
            for (name, value) in values {
                let Some(value) = value.as_f64() else {
                    continue;
                };
                let point = (epoch + 1.0, value);
                match all.iter_mut().find(|(known, _)| known == name) {
                    Some((_, points)) => points.push(point),
                    None => all.push((name.clone(), vec![point])),
                }
            }
        }
        all
    }

    /// The last value of a quantity.
    pub fn last(&self, key: &str) -> Option<f64> {
        let mut all = self.epochs.iter().rev().chain(self.steps.iter().rev());
        all.find_map(|line| line[key].as_f64())
    }

    /// Seconds of all epochs.
    pub fn total_seconds(&self) -> f64 {
        self.seconds.iter().sum()
    }
}
