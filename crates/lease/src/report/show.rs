//! A folder in characters, for terminals.

use std::path::Path;

use super::chart::Unit;
use super::finding;
use super::graph::text::{drawn, sparkline};
use super::read::{ComparisonData, Measures, RunData, Subject, TrainingData};
use crate::Error;
use crate::study::tables::markdown;

/// Bars of a sparkline at most.
const BARS: usize = 30;

/// What a folder holds, in lines of at most `width` characters where words allow: what was found or where it stands, the
/// cells, and the last measures with how they came about.
///
/// # Errors
/// If the folder is no run, training or comparison.
pub fn show(folder: &Path, width: usize) -> Result<String, Error> {
    let width = width.max(24);
    let lines = match Subject::read(folder)? {
        Subject::Run(run) => of_run(&run, width),
        Subject::Training(training) => of_training(&training, width),
        Subject::Comparison(comparison) => of_comparison(&comparison, width),
    };
    Ok(lines.join("\n") + "\n")
}

fn of_run(run: &RunData, width: usize) -> Vec<String> {
    let mut all = sentences(&finding::of_run(run), width);
    if let Some(genotype) = run.last_genotype() {
        for graph in genotype.graphs() {
            let mixtures = run.mixtures(graph.kind);
            let rows = mixtures.last().map(|(_, rows)| &rows[..]);
            all.extend([String::new(), graph.kind.to_string()]);
            all.extend(drawn(&graph, rows, width));
        }
    }
    let (share, plain) = (Unit::Percent, Unit::Plain);
    let mut measures = vec![
        ("explainer, training", "explainer_train_accuracy", share),
        ("explainer, validation", "explainer_val_accuracy", share),
        ("audience, training", "audience_train_accuracy", share),
        ("audience, validation", "audience_val_accuracy", share),
        ("explainer's loss", "explainer_train_loss", plain),
        ("audience's loss", "audience_train_loss", plain),
        ("|δ| at ε", "share_at_epsilon", share),
        ("|δ| on what matters", "delta_on_relevant", share),
        ("explainer's term", "explainer_term_norm", plain),
        ("audience's term", "audience_term_norm", plain),
        ("skip-connects", "skip_connects", plain),
        ("eigenvalue", "eigenvalue", plain),
    ];
    measures.retain(|(_, key, _)| run.measures.last(key).is_some());
    let mut rows: Vec<Row> = measures
        .into_iter()
        .map(|(name, key, unit)| Row::of(&run.measures, name, key, unit))
        .collect();
    for (kind, points) in run.measures.named("entropy") {
        rows.push(Row::new(format!("entropy, {kind}"), &points, plain));
    }
    if !rows.is_empty() {
        all.push(String::new());
        all.extend(table(&rows, width));
    }
    let tested: Vec<(&str, f64)> = run
        .trainings
        .iter()
        .filter_map(|t| Some((t.name.as_str(), t.accuracy()?)))
        .collect();
    if !tested.is_empty() {
        all.extend([String::new(), "test accuracy".into()]);
        let names = tested
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        all.extend(
            tested
                .iter()
                .map(|(name, accuracy)| format!("{name:names$}  {:6.2} %", 100.0 * accuracy)),
        );
    }
    all
}

fn of_training(training: &TrainingData, width: usize) -> Vec<String> {
    let mut all = sentences(&finding::of_training(training), width);
    for graph in training.genotype.iter().flat_map(|g| g.graphs()) {
        all.extend([String::new(), graph.kind.to_string()]);
        all.extend(drawn(&graph, None, width));
    }
    let m = &training.measures;
    if !m.epochs.is_empty() {
        all.push(String::new());
        let rows = [
            Row::of(m, "loss", "loss", Unit::Plain),
            Row::of(m, "training accuracy", "accuracy", Unit::Percent),
        ];
        all.extend(table(&rows, width));
    }
    all
}

fn of_comparison(comparison: &ComparisonData, width: usize) -> Vec<String> {
    let mut all = sentences(&finding::of_comparison(comparison), width);
    all.extend([
        String::new(),
        markdown(&comparison.found(), &comparison.against),
    ]);
    all
}

/// A quantity, its last value, and how it came about.
struct Row {
    name: String,
    last: String,
    values: Vec<f64>,
}

impl Row {
    fn of(measures: &Measures, name: &str, key: &str, unit: Unit) -> Self {
        let mut points = measures.by_epoch(key);
        if points.is_empty() {
            points = measures.by_step(key);
        }
        Self::new(name.into(), &points, unit)
    }

    fn new(name: String, points: &[(f64, f64)], unit: Unit) -> Self {
        Self {
            name,
            last: points
                .last()
                .map_or("–".into(), |(_, value)| unit.told(*value)),
            values: points.iter().map(|(_, value)| *value).collect(),
        }
    }
}

fn table(rows: &[Row], width: usize) -> Vec<String> {
    let longest = |of: fn(&Row) -> &str| {
        rows.iter()
            .map(|row| of(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (names, lasts) = (longest(|row| &row.name), longest(|row| &row.last));
    let left = width.saturating_sub(names + lasts + 4).min(BARS);
    rows.iter()
        .map(|row| {
            let bars = if left >= 4 {
                sparkline(&row.values, left)
            } else {
                String::new()
            };
            let space = " ".repeat(lasts - row.last.chars().count());
            format!("{:names$}  {space}{}  {bars}", row.name, row.last)
                .trim_end()
                .into()
        })
        .collect()
}

/// Sentences, broken between words.
fn sentences(all: &[String], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for sentence in all {
        let mut line = String::new();
        for word in sentence.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}
