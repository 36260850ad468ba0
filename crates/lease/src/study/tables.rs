//! What a comparison leaves: its cells and its statistics, as Markdown, JSON and CSV.

use std::path::Path;

use super::compare::{Found, MethodSummary, differences, summaries};
use super::plan::{lock, lock_of_cell};
use crate::Error;
use crate::run::files::{remove_partial, write_atomically};
use crate::run::{Lock, TABLES};
use crate::space::Standing;

/// Writes `comparison.md`, `.json` and `.csv` into a comparison's folder, with the differences from the method `against`,
/// one process at a time, and returns the first.
///
/// # Errors
/// As the file system reports.
pub fn write(folder: &Path, found: &[Found], against: &str) -> Result<String, Error> {
    let _lock = Lock::wait(&lock(folder, "tables"))?;
    remove_partial(folder);
    for cell in found {
        // What a kill left just after the cell was done. One that stays does no harm.
        let _ = std::fs::remove_file(lock_of_cell(folder, &cell.method, cell.seed));
    }
    let text = markdown(found, against);
    let [markdown_file, json_file, csv_file] = TABLES.map(|name| folder.join(name));
    write_atomically(&markdown_file, text.as_bytes())?;
    let json = serde_json::json!({
        "cells": found, "methods": summaries(found), "differences": differences(found, against),
    });
    let json = serde_json::to_string_pretty(&json).map_err(std::io::Error::other)?;
    write_atomically(&json_file, json.as_bytes())?;
    let csv = csv(found).map_err(std::io::Error::other)?;
    write_atomically(&csv_file, &csv)?;
    Ok(text)
}

/// The cells as CSV.
///
/// # Errors
/// If the writer refuses them.
pub fn csv(found: &[Found]) -> Result<Vec<u8>, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let truths = [
        "cifar100_accuracy",
        "cifar100_rank",
        "in16_accuracy",
        "in16_rank",
    ];
    let columns = [
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
    csv.write_record(columns.into_iter().chain(truths))?;
    for f in found {
        let rank = f.standing.map_or(String::new(), |s| s.rank.to_string());
        let others = f.standing.map(|s| {
            let [_, others @ ..] = s.on_sets();
            let others = others.map(|on| [on.test.to_string(), on.rank.to_string()]);
            others.concat()
        });
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
        let others = others.unwrap_or_else(|| vec![String::new(); truths.len()]);
        csv.write_record(record.into_iter().chain(others))?;
    }
    csv.into_inner()
        .map_err(|e| csv::Error::from(std::io::Error::other(e.to_string())))
}

/// The whole comparison as Markdown, with the differences from one of the methods.
pub fn markdown(found: &[Found], against: &str) -> String {
    let summaries = summaries(found);
    let mut text = String::from(
        "| method | seeds | accuracy, % | worst | best | skip-connects | search, s | explainer passes |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for s in &summaries {
        let deviation = s.deviation.map_or(String::new(), |d| format!(" ± {d:.2}"));
        text += &format!(
            "| {} | {} | {:.2}{deviation} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} |\n",
            s.method,
            s.seeds,
            s.mean,
            s.worst,
            s.best,
            s.skip_connects,
            s.search_seconds,
            s.explainer_passes
        );
    }
    text += &standings(&summaries);
    let differences = differences(found, against);
    if !differences.is_empty() {
        text += "\n| difference, paired by seed | seeds | points | 95 % interval | |\n|---|---|---|---|---|\n";
    }
    for d in differences {
        let interval = d.interval.map_or("–".into(), |[low, high]| {
            format!("{low:+.2} to {high:+.2}")
        });
        text += &format!(
            "| {} − {} | {} | {:+.2} | {interval} | {} |\n",
            d.method,
            d.against,
            d.seeds,
            d.mean,
            d.verdict()
        );
    }
    text
}

/// What a table of true accuracies says of what each method found on every data set, as Markdown; nothing without one.
fn standings(summaries: &[MethodSummary]) -> String {
    let known = summaries.iter().filter_map(|s| Some((s, s.truths?)));
    let rows = known.map(|(s, truths)| {
        let each = truths.map(|of| format!(" {:.2} | {:.0} |", of.accuracy, of.rank));
        format!("| {} |{}\n", s.method, each.concat())
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return rows;
    }
    let sets = Standing::SETS.map(|set| format!(" {set}, % | rank |"));
    let lines = "---|".repeat(1 + 2 * sets.len());
    format!(
        "\n| true accuracy, mean |{}\n|{lines}\n{rows}",
        sets.concat()
    )
}
