//! `lease bench`: time the passes of a search.

use lease::Error;
use lease::config::Composite;
use lease::search::{self, SearchConfig, presets};
use lease::study::bench::{self, Timing};

use crate::Ended;
use crate::settings::Settings;
use crate::terminal;

/// Time the passes of a search on random images: --channels, --cells, --batch and the rest as for a search.
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
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings<SearchConfig>,
}

/// Classes and channels, as CIFAR-10's.
const CLASSES: usize = 10;
const CHANNELS: usize = 3;

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let layers = arguments.settings.layers()?;
    let config = SearchConfig::resolve(&presets(&layers)?, &layers)?;
    let side = arguments.side as usize;
    let images = bench::images(&config, [CHANNELS, side, side], CLASSES);
    let memory = search::memory(&config, &images)?;
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("bench");
    let timings = lease::device::with_threads(config.run.threads, || {
        let image = [CHANNELS, side, side];
        bench::run(
            config.clone(),
            image,
            CLASSES,
            arguments.runs as usize,
            arguments.parts_only,
            &folder,
        )
    })??;
    let (e, s) = (&config.explainer, &config.search);
    let stages = config.stages();
    let cells = stages.first().map_or(e.cells, |stage| stage.cells);
    let peak = timings.last().and_then(|t| t.peak_mebibytes);
    if arguments.json {
        let medians = timings.iter().map(|t| (t.name, t.median()));
        let medians: std::collections::BTreeMap<_, _> = medians.collect();
        let report = serde_json::json!({
            "space": e.space, "channels": e.channels, "cells": cells,
            "batch": s.batch, "side": side, "median_seconds": medians,
            "seconds": timings, "peak_mebibytes": peak,
            "expected_mebibytes": memory.bytes >> 20,
        });
        terminal::result(report);
        return Ok(Ended::Well);
    }
    terminal::result(format_args!(
        "{}, {} channels, {cells} cells, batch {}, {side}×{side} pixels; expected: {} of memory",
        config.space.entry().about,
        e.channels,
        s.batch,
        memory.told()
    ));
    terminal::result(format_args!(
        "{:28} {:>10} {:>10} {:>10} {:>15}",
        "", "median s", "min", "max", "peak so far MiB"
    ));
    for timing in &timings {
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
    Ok(Ended::Well)
}
