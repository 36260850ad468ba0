//! `lease compare`: methods × seeds, resumable, with honest statistics.

use std::path::{Path, PathBuf};

use lease::Error;
use lease::config::{Composite, ConfigError};
use lease::data::{DataConfig, Dataset};
use lease::run::files::{remove_partial, write_atomically};
use lease::study::ComparisonConfig;
use lease::study::cell::{Cell, collect};
use lease::study::compare::{Found, csv, differences, markdown, summaries};
use lease::study::variant::Variant;

use crate::Ended;
use crate::settings::Settings;
use crate::terminal::progress::Console;
use crate::terminal::{self, Level, signals};

/// Compare methods over seeds. The same command goes on where it was interrupted, and adds methods and seeds to
/// a comparison that is there.
///
/// Without a table of true accuracies every architecture found is trained from scratch, which takes far longer
/// than the search.
#[derive(clap::Args)]
pub struct Arguments {
    /// The methods, the first being what the others are compared with: lease, darts, darts-first, random (one
    /// architecture drawn uniformly), random-search (the best of --random-draws after short trainings), or
    /// NAME:SETTING=VALUE,SETTING=VALUE,… with any settings, such as strong:gamma=10,gamma-scale=relative, and with
    /// method=random or method=random-search, such as more:method=random-search,random-draws=30
    #[arg(value_name = "METHOD", required = true)]
    methods: Vec<String>,
    /// Seeds 0 to N − 1
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// The comparison's folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    settings: Settings<ComparisonConfig>,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let variants = Variant::parse_all(&arguments.methods)?;
    let cells = cells(&arguments, &variants)?;
    let datasets = checked(&cells)?;
    let stop = signals::stop_flag();
    let total = cells.len();
    for (i, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_done()) {
        let (name, seed) = (&cell.variant.name, cell.seed);
        let told = format_args!("Cell {} of {total}: {name} with seed {seed}", i + 1);
        terminal::say(Level::Info, told);
        let search = &cell.config.study.search;
        let Some((_, dataset)) = datasets.iter().find(|(data, _)| *data == search.data) else {
            unreachable!("all data sets of cells to come were read");
        };
        let found = lease::device::with_threads(search.run.threads, || {
            cell.run(dataset, &mut Console::new(), &stop)
        })??;
        if found.is_none() {
            let told = "Stopped with a checkpoint. The same command goes on.";
            terminal::say(Level::Info, told);
            return Ok(Ended::Stopped);
        }
    }
    let found = collect(&arguments.out, &variants)?;
    report(&arguments.out, &found)?;
    Ok(Ended::Well)
}

/// All cells, seed by seed, none of which was begun with other settings.
fn cells<'a>(arguments: &Arguments, variants: &'a [Variant]) -> Result<Vec<Cell<'a>>, Error> {
    // Read as a whole first, so that a mistake is told once.
    let common = arguments.settings.layers()?;
    let flags = &arguments.settings.flags;
    let (mut cells, mut errors) = (Vec::new(), Vec::new());
    for seed in 0..arguments.seeds {
        for variant in variants {
            let config = variant.config(arguments.settings.file.as_deref(), flags, seed)?;
            let name = format!("seed{seed}");
            let cell = Cell {
                variant,
                seed,
                config,
                folder: arguments.out.join(&variant.name).join(name),
            };
            errors.extend(cell.same_configuration().err());
            cells.push(cell);
        }
    }
    for setting in &common.flags {
        let reads = |cell: &Cell| {
            let sections = cell.config.tables();
            sections
                .iter()
                .any(|(section, _)| section.name == setting.section)
        };
        if let Some(first) = cells.first().filter(|_| !cells.iter().any(reads)) {
            errors.push(Error::Config(ConfigError::Unread {
                flag: setting.flag(),
                reason: first.config.unread(setting),
            }));
        }
    }
    Error::all(errors)?;
    Ok(cells)
}

/// The images of all cells that are to be run, after everything that these will need was looked at.
fn checked(cells: &[Cell]) -> Result<Vec<(DataConfig, Dataset)>, Error> {
    let mut datasets: Vec<(DataConfig, Dataset)> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    let mut errors = Vec::new();
    for cell in cells.iter().filter(|cell| !cell.is_done()) {
        let study = &cell.config.study;
        let data = &study.search.data;
        if !datasets.iter().any(|(known, _)| known == data) {
            datasets.push((data.clone(), Dataset::load(data)?));
        }
        let Some((_, dataset)) = datasets.iter().find(|(known, _)| known == data) else {
            continue;
        };
        for error in cell.obstacles(dataset) {
            // The same of several methods and seeds is told once.
            let text = error.to_string();
            if !told.contains(&text) {
                told.push(text);
                errors.push(error);
            }
        }
    }
    Error::all(errors)?;
    Ok(datasets)
}

fn report(folder: &Path, found: &[Found]) -> Result<(), Error> {
    remove_partial(folder);
    let text = markdown(found);
    write_atomically(&folder.join("comparison.md"), text.as_bytes())?;
    let json = serde_json::json!({
        "cells": found, "methods": summaries(found), "differences": differences(found),
    });
    let json = serde_json::to_string_pretty(&json).map_err(std::io::Error::other)?;
    write_atomically(&folder.join("comparison.json"), json.as_bytes())?;
    let csv = csv(found).map_err(std::io::Error::other)?;
    write_atomically(&folder.join("comparison.csv"), &csv)?;
    terminal::result(text);
    terminal::result(format_args!(
        "Folder: {} (comparison.md, .csv, .json)",
        folder.display()
    ));
    Ok(())
}
