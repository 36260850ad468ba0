//! `lease compare`: methods × seeds, resumable, with honest statistics.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lease::Error;
use lease::compare::{Found, differences, markdown, summaries};
use lease::config::Config;
use lease::data::Dataset;
use lease::random_search::random_search;
use lease::run::RunFolder;
use lease::run::files::write_atomically;

use super::search::Prepared;
use super::train;
use crate::Ended;
use crate::console::{Console, stop_on_interrupt};
use crate::settings::Settings;

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
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The comparison's folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// What finds an architecture.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Search,
    Random,
    RandomSearch,
}

impl Kind {
    /// The baseline of this name.
    fn baseline(name: &str) -> Option<Self> {
        match name {
            RANDOM => Some(Self::Random),
            RANDOM_SEARCH => Some(Self::RandomSearch),
            _ => None,
        }
    }
}

/// A method's name and the settings that make it.
struct Variant {
    name: String,
    kind: Kind,
    flags: Vec<(String, String)>,
}

/// The name of uniform sampling, which searches nothing.
const RANDOM: &str = "random";

/// The name of random search with short training.
const RANDOM_SEARCH: &str = "random-search";

impl Variant {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Method {
            text: text.into(),
            reason: reason.into(),
        };
        let (name, settings) = match text.split_once(':') {
            Some((name, settings)) => (name, settings.to_string()),
            None => (text, format!("method={text}")),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(wrong("a name is made of letters, digits, - _ and ."));
        }
        // A piece without `=` goes on with the list before it, as in stage-cells=5,11,17.
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for piece in settings.split(',').filter(|s| !s.is_empty()) {
            match (piece.split_once('='), pairs.last_mut()) {
                (Some((key, value)), _) => pairs.push((key, value.into())),
                (None, Some((_, value))) => *value += &format!(",{piece}"),
                (None, None) => {
                    return Err(wrong("settings are SETTING=VALUE, separated by commas"));
                }
            }
        }
        let mut kind = Kind::baseline(name);
        pairs.retain(|(key, value)| {
            let baseline = Kind::baseline(value).filter(|_| *key == "method");
            kind = baseline.or(kind);
            baseline.is_none()
        });
        let flags = pairs.into_iter().map(|(key, value)| {
            if !Config::settings().any(|s| s.flag() == key) {
                return Err(wrong(&format!("there is no setting `{key}`")));
            }
            if key == "seed" {
                return Err(wrong("seeds are given by --seeds"));
            }
            Ok((key.to_string(), value))
        });
        Ok(Self {
            name: name.into(),
            kind: kind.unwrap_or(Kind::Search),
            flags: flags.collect::<Result<_, _>>()?,
        })
    }

    fn config(&self, settings: &Settings, seed: u64) -> Result<Config, Error> {
        let mut flags = settings.flags.clone();
        flags.extend(self.flags.clone());
        flags.push(("seed".into(), seed.to_string()));
        Ok(Config::resolve(settings.file.as_deref(), &flags)?)
    }
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let variants = arguments.methods.iter().map(|m| Variant::parse(m));
    let variants = variants.collect::<Result<Vec<_>, _>>()?;
    for (i, variant) in variants.iter().enumerate() {
        if variants[..i].iter().any(|v| v.name == variant.name) {
            return Err(Error::Method {
                text: variant.name.clone(),
                reason: "this name is there twice".into(),
            });
        }
    }
    // Everything is checked before anything is run.
    let mut cells = Vec::new();
    for seed in 0..arguments.seeds {
        for variant in &variants {
            let config = variant.config(&arguments.settings, seed)?;
            let folder = arguments
                .out
                .join(&variant.name)
                .join(format!("seed{seed}"));
            same_configuration(&folder, &config)?;
            cells.push((variant, seed, config, folder));
        }
    }
    let stop = stop_on_interrupt();
    let total = cells.len();
    for (i, (variant, seed, config, folder)) in cells.into_iter().enumerate() {
        if folder.join(RESULT).is_file() {
            continue;
        }
        eprintln!(
            "Cell {} of {total}: {} with seed {seed}",
            i + 1,
            variant.name
        );
        let Some(found) = one(variant, seed, config, &folder, &stop)? else {
            eprintln!("Stopped with a checkpoint. The same command goes on.");
            return Ok(Ended::Stopped);
        };
        let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::other)?;
        write_atomically(&folder.join(RESULT), text.as_bytes())?;
    }
    let found = collect(&arguments.out, &variants)?;
    report(&arguments.out, &found)?;
    Ok(Ended::Well)
}

/// The file that says that a cell is done.
const RESULT: &str = "found.json";

/// A cell that was begun with other settings is not gone on with.
fn same_configuration(folder: &Path, config: &Config) -> Result<(), Error> {
    if !folder.join("config.toml").is_file() {
        return Ok(());
    }
    let (_, there) = RunFolder::existing(folder)?;
    let differences = there.differences(config);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Comparison {
        folder: folder.into(),
        differences: differences.join("; "),
    })
}

/// Searches (or draws), and finds out what the result is worth; nothing if it was stopped.
fn one(
    variant: &Variant,
    seed: u64,
    config: Config,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Option<Found>, Error> {
    let (genotype, standing, costs) = if variant.kind == Kind::Random {
        let genotype = train::random(&config, seed);
        let run = RunFolder::open(folder)?;
        run.write("config.toml", config.to_toml().as_bytes())?;
        run.write("genotype.json", genotype.to_json().as_bytes())?;
        let table = config.table()?;
        let standing = table.and_then(|t| t.standing_of(&genotype));
        (genotype, standing, (0, 0, 0.0))
    } else if variant.kind == Kind::RandomSearch {
        let dataset = Dataset::load(&config.data)?;
        let search = || {
            let mut console = Console::new();
            random_search(&config, &dataset, folder, &mut console, stop)
        };
        let Some(found) = lease::device::with_threads(config.search.threads, search)?? else {
            return Ok(None);
        };
        let standing = config.table()?.and_then(|t| t.standing_of(&found.genotype));
        let seconds = found.draws.iter().map(|d| d.seconds).sum();
        (
            found.genotype,
            standing,
            (found.steps, found.steps, seconds),
        )
    } else {
        let prepared = Prepared::at(config.clone(), Dataset::load(&config.data)?, folder)?;
        let again = |_: &Path| "the same command".to_string();
        let Some(summary) = prepared.search(stop, again)? else {
            return Ok(None);
        };
        let costs = (summary.steps, summary.explainer_passes, seconds(folder)?);
        (summary.genotype, summary.standing, costs)
    };
    let (steps, explainer_passes, search_seconds) = costs;
    let (accuracy, parameters) = match &standing {
        Some(standing) => (standing.truth.cifar10_test, standing.truth.params),
        None => {
            let dataset = Dataset::load(&config.data)?;
            let trained = folder.join("train");
            let result = train::train(config, genotype.clone(), dataset, &trained, stop)?;
            let Some(result) = result else {
                return Ok(None);
            };
            (100.0 * result.test_accuracy, result.parameters as u64)
        }
    };
    Ok(Some(Found {
        method: variant.name.clone(),
        seed,
        accuracy,
        genotype: genotype.to_string(),
        skip_connects: genotype.skip_connects(),
        parameter_free_share: genotype.parameter_free_share(),
        parameters,
        search_seconds,
        steps,
        explainer_passes,
        standing,
    }))
}

/// The seconds of all epochs of a search.
fn seconds(folder: &Path) -> Result<f64, Error> {
    let path = folder.join("timing.jsonl");
    let text = std::fs::read_to_string(&path)?;
    let mut total = 0.0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).map_err(|e| Error::Damaged {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        total += line["seconds"].as_f64().unwrap_or(0.0);
    }
    Ok(total)
}

/// The cells done, of these methods and all seeds there are.
fn collect(folder: &Path, variants: &[Variant]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for variant in variants {
        let mut of = Vec::new();
        for entry in folder.join(&variant.name).read_dir()? {
            let path = entry?.path().join(RESULT);
            if path.is_file() {
                let text = std::fs::read_to_string(&path)?;
                let one: Found = serde_json::from_str(&text).map_err(|e| Error::Damaged {
                    path: path.clone(),
                    reason: e.to_string(),
                })?;
                of.push(one);
            }
        }
        of.sort_by_key(|f| f.seed);
        found.extend(of);
    }
    Ok(found)
}

fn report(folder: &Path, found: &[Found]) -> Result<(), Error> {
    let text = markdown(found);
    write_atomically(&folder.join("comparison.md"), text.as_bytes())?;
    let json = serde_json::json!({
        "cells": found, "methods": summaries(found), "differences": differences(found),
    });
    let json = serde_json::to_string_pretty(&json).map_err(std::io::Error::other)?;
    write_atomically(&folder.join("comparison.json"), json.as_bytes())?;
    let mut csv = csv::Writer::from_writer(Vec::new());
    let header = [
        "method",
        "seed",
        "accuracy",
        "genotype",
        "skip_connects",
        "parameter_free_share",
        "parameters",
        "search_seconds",
        "steps",
        "explainer_passes",
        "rank",
    ];
    let other = std::io::Error::other::<csv::Error>;
    csv.write_record(header).map_err(other)?;
    for f in found {
        let rank = f.standing.map_or(String::new(), |s| s.rank.to_string());
        let record = [
            f.method.clone(),
            f.seed.to_string(),
            f.accuracy.to_string(),
            f.genotype.clone(),
            f.skip_connects.to_string(),
            f.parameter_free_share.to_string(),
            f.parameters.to_string(),
            f.search_seconds.to_string(),
            f.steps.to_string(),
            f.explainer_passes.to_string(),
            rank,
        ];
        csv.write_record(record).map_err(other)?;
    }
    let csv = csv
        .into_inner()
        .map_err(|e| std::io::Error::other(e.to_string()))?;
    write_atomically(&folder.join("comparison.csv"), &csv)?;
    println!("{text}");
    println!("Folder: {} (comparison.md, .csv, .json)", folder.display());
    Ok(())
}
