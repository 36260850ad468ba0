//! `lease bench`: time the passes of a search, or the steps of a training.

use std::path::{Path, PathBuf};

use lease::Error;
use lease::config::Composite;
use lease::data::Dataset;
use lease::run::RunError;
use lease::run::files::write_atomically;
use lease::search::{self, SearchConfig, presets};
use lease::study::StudyConfig;
use lease::study::bench::{self, Extent, Timing};
use lease::study::predict::Prediction;

use super::train;
use crate::Ended;
use crate::settings::Settings;
use crate::terminal;

/// Time the passes of a search on random images: --channels, --cells, --batch and the rest as for a search. With --train, the
/// steps of a derived network's training: --train-channels, --train-cells, --train-batch and the rest as for a training.
#[derive(clap::Args)]
pub struct Arguments {
    /// Runs of each, after one that is not counted
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    side: u32,
    /// Leave out whole iterations, which take longest
    #[arg(long)]
    parts_only: bool,
    /// Say how long the whole search would take on so many training images (CIFAR-10: 50000)
    #[arg(long, value_name = "IMAGES", conflicts_with_all = ["parts_only", "train"], value_parser = clap::value_parser!(u32).range(2..))]
    predict: Option<u32>,
    /// Time steps of the training of this genotype instead: a run folder, a file, or the genotype itself
    #[arg(long, value_name = "RUN|GENOTYPE")]
    train: Option<String>,
    /// Measure instead how long the CPU's kernels take for each operation of the networks that a search with these settings on its
    /// data set can find, and write it to this file, for --latency-table
    #[arg(long, value_name = "FILE", conflicts_with_all = ["train", "parts_only", "json"])]
    latency: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings<StudyConfig>,
}

/// Classes and channels, as CIFAR-10's.
const CLASSES: usize = 10;
const CHANNELS: usize = 3;

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    match (&arguments.latency, &arguments.train) {
        (Some(file), _) => latency(&arguments, file),
        (None, Some(source)) => training(&arguments, source),
        (None, None) => search(&arguments),
    }
}

/// Measures a table of latencies.
fn latency(arguments: &Arguments, file: &Path) -> Result<Ended, Error> {
    let layers = arguments.settings.layers()?;
    let config = SearchConfig::resolve(&presets(&layers)?, &layers)?;
    let images = Dataset::load(&config.data)?.size();
    let threads = config.run.threads;
    let table = lease::device::with_threads(threads, || lease::search::measure(&config, &images))??;
    terminal::result(format_args!(
        "{:16} {:>8} {:>6} {:>12} {:>12}",
        "operation", "channels", "stride", "pixels", "microseconds"
    ));
    for measured in table.operations() {
        let key = &measured.key;
        terminal::result(format_args!(
            "{:16} {:>8} {:>6} {:>12} {:>12.1}",
            key.operation,
            key.channels,
            key.stride,
            format!("{}×{}", key.height, key.width),
            measured.nanoseconds as f64 / 1e3
        ));
    }
    write_atomically(file, &table.to_json()).map_err(|source| RunError::Io {
        action: "write",
        path: file.into(),
        source,
    })?;
    terminal::result(format_args!(
        "Written to {}; use it by --latency-table {}",
        file.display(),
        terminal::quoted(file)
    ));
    Ok(Ended::Well)
}

/// Times a scratch folder's work with as many threads as are set.
fn timed<T>(threads: usize, work: impl FnOnce(&Path) -> Result<T, Error> + Send) -> Result<T, Error>
where
    T: Send,
{
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("bench");
    lease::device::with_threads(threads, || work(&folder))?
}

fn search(arguments: &Arguments) -> Result<Ended, Error> {
    let layers = arguments.settings.layers()?;
    let config = SearchConfig::resolve(&presets(&layers)?, &layers)?;
    let side = arguments.side as usize;
    let image = [CHANNELS, side, side];
    // What networks of ordinary operations need on another device is not estimated.
    let expected = if config.run.device == "cpu" {
        let images = bench::images(&config, image, CLASSES);
        Some(search::memory(&config, &images)?)
    } else {
        None
    };
    let (e, s) = (&config.explainer, &config.search);
    let stages = config.stages();
    if arguments.predict.is_some() && stages.len() > 1 {
        let told = "--predict knows searches of one stage, and this space is searched in several";
        return Err(Error::Usage(told.into()));
    }
    let images = arguments.predict;
    let few = images.map(|images| search::too_few(&config, images as usize));
    Error::all(few.unwrap_or_default())?;
    let cells = stages.first().map_or(e.cells, |stage| stage.cells);
    if !arguments.json {
        let about = config.space.entry().about;
        let expected = expected.map(|need| format!("; expected: {} of memory", need.told()));
        terminal::result(format_args!(
            "{about}, {} channels, {cells} cells, batch {}, {side}×{side} pixels, on {}{}",
            e.channels,
            s.batch,
            config.run.device,
            expected.unwrap_or_default()
        ));
        header();
    }
    let extent = match (arguments.parts_only, arguments.predict) {
        (true, _) => Extent::Parts,
        (false, None) => Extent::Iterations,
        (false, Some(_)) => Extent::Search,
    };
    let runs = arguments.runs as usize;
    let timings = timed(config.run.threads, |folder| {
        let mut told = |timing: &Timing| arguments.tell(timing);
        bench::run(
            config.clone(),
            image,
            CLASSES,
            (runs, extent),
            folder,
            &mut told,
        )
    })?;
    let predicted = images.map(|images| Prediction::of(&config, images as usize, &timings));
    if arguments.json {
        let about = serde_json::json!({
            "space": e.space, "channels": e.channels, "cells": cells, "batch": s.batch, "side": side,
            "expected_mebibytes": expected.map(|need| need.bytes >> 20), "predicted": predicted,
        });
        json(about, &timings);
    } else if let Some(predicted) = predicted {
        tell(&config, &predicted);
    }
    Ok(Ended::Well)
}

/// What a search is expected to take.
fn tell(config: &SearchConfig, predicted: &Prediction) {
    let warmup = match predicted.warmup_steps {
        0 => String::new(),
        steps => format!(", {steps} of them warm-up"),
    };
    terminal::result(format_args!(
        "A search by {} of {} epochs: {} steps{warmup}, {}; accuracies after epochs, {}; in all {}.",
        config.method.method,
        predicted.epochs,
        predicted.steps,
        hours(predicted.steps_seconds),
        hours(predicted.validation_seconds),
        hours(predicted.seconds())
    ));
}

/// Seconds as people read them.
fn hours(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

fn training(arguments: &Arguments, source: &str) -> Result<Ended, Error> {
    let upper = arguments.settings.layers()?;
    let (config, genotype, _) = train::resolved(source, &upper)?;
    let (side, t) = (arguments.side as usize, config.train.clone());
    let images = ([CHANNELS, side, side], CLASSES);
    let runs = arguments.runs as usize;
    if !arguments.json {
        terminal::result(format_args!(
            "training, {} channels, {} cells, batch {}, {side}×{side} pixels",
            t.channels, t.cells, t.batch
        ));
        header();
    }
    let timings = timed(config.run.threads, |folder| {
        let mut told = |timing: &Timing| arguments.tell(timing);
        bench::training(
            config.clone(),
            genotype.clone(),
            images,
            runs,
            folder,
            &mut told,
        )
    })?;
    if arguments.json {
        let about = serde_json::json!({
            "genotype": genotype.to_string(), "channels": t.channels, "cells": t.cells,
            "batch": t.batch, "side": side,
        });
        json(about, &timings);
    }
    Ok(Ended::Well)
}

fn json(mut about: serde_json::Value, timings: &[Timing]) {
    let medians = timings.iter().map(|t| (t.name, t.median()));
    let medians: std::collections::BTreeMap<_, _> = medians.collect();
    about["median_seconds"] = serde_json::json!(medians);
    about["seconds"] = serde_json::json!(timings);
    about["peak_mebibytes"] = serde_json::json!(timings.last().and_then(|t| t.peak_mebibytes));
    terminal::result(about);
}

fn header() {
    terminal::result(format_args!(
        "{:28} {:>10} {:>10} {:>10} {:>15}",
        "", "median s", "min", "max", "peak so far MiB"
    ));
}

impl Arguments {
    /// Tells a timing as soon as it is there, but in JSON.
    fn tell(&self, timing: &Timing) {
        if self.json {
            return;
        }
        let bound = |pick: fn(f64, f64) -> f64| timing.seconds.iter().copied().reduce(pick);
        terminal::result(format_args!(
            "{:28} {:>10.4} {:>10.4} {:>10.4} {:>15}",
            timing.name,
            Timing::median(timing),
            bound(f64::min).unwrap_or(0.0),
            bound(f64::max).unwrap_or(0.0),
            timing.peak_mebibytes.map_or("–".into(), |p| p.to_string())
        ));
    }
}
