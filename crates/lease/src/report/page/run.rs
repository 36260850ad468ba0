//! The page of a search.

use maud::html;

use super::parts::{again, cell, count, duration, notation, told};
use super::{Content, Section, Tile, gallery, learning, supernet, training};
use crate::report::chart::{DotRow, Dots, Figure, Unit, counted, grouped, percent};
use crate::report::read::{RunData, TrainingData, images};
use crate::report::{finding, quoted};
use crate::space::nas_bench_201::Cell;
use crate::statistics::share_variance;

/// All that is on it.
pub fn content(run: &RunData) -> Content {
    let method = finding::method(run);
    let data = images(&run.about, &run.config.1).unwrap_or_default();
    let mut sections = Vec::new();
    sections.extend(cells(run));
    sections.extend(test(run));
    sections.extend(candidates(run));
    sections.extend(gallery::section(run));
    sections.extend(supernet::section(run));
    sections.extend(learning::choice(run));
    sections.extend(learning::learning(run));
    sections.extend(learning::audience(run));
    sections.extend(training::curves(&run.trainings));
    sections.extend(learning::cost(run));
    sections.push(settings(run));
    let done = run.measures.epochs.len();
    let training = run.trainings.iter().any(|t| t.accuracy().is_none());
    let finished = run.genotype.is_some() && !training;
    let state = match (&run.genotype, run.epochs_wanted()) {
        (Some(_), _) if training => "search finished, training not".into(),
        (Some(_), _) => "finished".into(),
        (None, Some(all)) => format!("{done} of {all} epochs"),
        (None, None) => counted(done, "epoch"),
    };
    Content {
        title: match run.setting("method", "method") {
            Some(_) => format!("{method} on {data}"),
            None => format!("A search on {data}"),
        },
        kind: "Architecture search",
        state,
        finished,
        facts: facts(run),
        finding: finding::of_run(run),
        tiles: tiles(run),
        sections,
    }
}

fn facts(run: &RunData) -> Vec<String> {
    let setting =
        |section, key, what: &str| run.setting(section, key).map(|v| format!("{what} {v}"));
    let size = |key| run.setting("explainer", key);
    let mut all = Vec::new();
    all.extend(
        setting("preset", "preset", "preset")
            .filter(|text| text != "preset " && text != "preset none"),
    );
    all.extend(setting("explainer", "space", "space"));
    all.extend(
        size("channels")
            .zip(size("cells"))
            .map(|(channels, cells)| format!("{channels} channels, {cells} cells")),
    );
    all.extend(setting("audience", "network", "audience").filter(|_| {
        run.setting("method", "method")
            .is_some_and(|m| m == "lease")
    }));
    all.extend(setting("run", "seed", "seed"));
    all.extend(
        run.about["training_images"]
            .as_u64()
            .map(|n| format!("{n} training images")),
    );
    all.push(format!("folder {}", run.name));
    all
}

fn tiles(run: &RunData) -> Vec<Tile> {
    let mut all = Vec::new();
    if let Some(found) = run
        .trainings
        .iter()
        .find(|t| t.name == "found")
        .and_then(TrainingData::finished)
    {
        let beside = finding::beside(run);
        all.push(Tile {
            name: "Test accuracy",
            value: percent(found.test_accuracy),
            remark: beside.map_or(String::new(), |(beside, _)| beside.place()),
        });
        all.push(count(
            "Parameters",
            found.parameters as u64,
            "of the trained network".into(),
        ));
    }
    let validation = run.measures.last("explainer_val_accuracy");
    all.extend(validation.map(|accuracy| Tile {
        name: "Supernet, validation",
        value: percent(accuracy),
        remark: format!("after {}", counted(run.measures.epochs.len(), "epoch")),
    }));
    let audience = run.measures.last("audience_val_accuracy");
    all.extend(audience.map(|accuracy| Tile {
        name: "Audience, validation",
        value: percent(accuracy),
        remark: "on images as they are".into(),
    }));
    if let Some(standing) = run.standing() {
        all.push(Tile {
            name: "True rank",
            value: grouped(standing.rank as i64),
            remark: format!("of {} on CIFAR-10", grouped(Cell::COUNT as i64)),
        });
    }
    let passes = run.summary["explainer_passes"].as_u64();
    all.extend(passes.map(|passes| count("Passes", passes, "of the explainer".into())));
    let seconds = run.measures.total_seconds();
    if seconds > 0.0 {
        all.push(Tile {
            name: "Search",
            value: duration(seconds),
            remark: counted(run.measures.steps.len(), "step"),
        });
    }
    all
}

/// The derived cells.
fn cells(run: &RunData) -> Option<Section> {
    let genotype = run.last_genotype()?;
    let figures: Vec<Figure> = genotype
        .graphs()
        .iter()
        .map(|graph| {
            let mixtures = run.mixtures(graph.kind);
            let rows = mixtures.last().map(|(_, rows)| &rows[..]);
            cell(graph, rows, format!("cell-{}", graph.kind))
        })
        .collect();
    let lead = match run.genotype.is_some() {
        true => {
            "What the search ended with: states from top to bottom, on each edge its operation."
        }
        false => {
            "What would be derived now: states from top to bottom, on each edge its operation."
        }
    };
    Some(Section {
        id: "cells",
        title: "The cells",
        body: html! {
            p.lead { (lead) }
            div.grid.cells { @for figure in &figures { (figure.markup()) } }
            (notation(&genotype))
        },
    })
}

/// The result beside its baselines.
fn test(run: &RunData) -> Option<Section> {
    let tested = run
        .trainings
        .iter()
        .filter_map(|t| Some((t, t.finished()?)));
    let mut tested: Vec<_> = tested.collect();
    tested.sort_by(|a, b| b.1.test_accuracy.total_cmp(&a.1.test_accuracy));
    if tested.is_empty() {
        return None;
    }
    let rows = tested.iter().map(|(training, result)| {
        let error = share_variance(result.test_accuracy, result.test_images).sqrt();
        let around = [-1.0, 1.0].map(|side| result.test_accuracy + side * error);
        DotRow {
            name: training.name.clone(),
            class: if training.name == "found" {
                "found"
            } else {
                "random"
            }
            .into(),
            dots: vec![(result.test_accuracy, training.name.clone())],
            mean: None,
            interval: Some([around[0].max(0.0), around[1].min(1.0)]),
            told: vec![
                format!("{:.2} %", 100.0 * result.test_accuracy),
                format!("{:.2}", 100.0 * error),
                result.parameters.to_string(),
                result.epochs.to_string(),
            ],
        }
    });
    let beside = finding::beside(run);
    let mean = match beside {
        Some(_) => "; the dashed line is the mean of the random ones",
        None => "",
    };
    let figure = Dots {
        id: "test-result".into(),
        title: "Test accuracy, each trained alike".into(),
        note: format!("Lines are one standard error, from the number of test images alone{mean}."),
        x: "test accuracy".into(),
        unit: Unit::Percent,
        level: beside
            .as_ref()
            .map(|(beside, _)| (beside.mean, "mean of random".into())),
        head: [
            "architecture",
            "accuracy",
            "standard error",
            "parameters",
            "epochs",
        ]
        .map(String::from)
        .into(),
        rows: rows.collect(),
        legend: Vec::new(),
    };
    let lead = "The test images were read once, after each training.";
    let mut figures: Vec<Figure> = figure.figure().into_iter().collect();
    let found = run.trainings.iter().find(|t| t.name == "found");
    figures.extend(
        found
            .into_iter()
            .flat_map(|t| training::classes(t, " of the one found")),
    );
    Section::of("test", "Beside random architectures", lead, figures)
}

/// Candidates that are drawn at most.
const DRAWN: usize = 12;

/// What a selection by short trainings chose from.
fn candidates(run: &RunData) -> Option<Section> {
    let likeliest = run.candidates.first()?;
    let mut all: Vec<_> = (1..).zip(&run.candidates).collect();
    all.sort_by(|a, b| b.1.val_accuracy.total_cmp(&a.1.val_accuracy));
    let note = match all.len() > DRAWN {
        true => format!("The {DRAWN} best of {}. ", all.len()),
        false => String::new(),
    };
    let rows = all
        .iter()
        .take(DRAWN)
        .enumerate()
        .map(|(place, (number, candidate))| DotRow {
            name: format!("number {number}"),
            class: if place == 0 { "found" } else { "random" }.into(),
            dots: vec![(candidate.val_accuracy, candidate.genotype.clone())],
            mean: None,
            interval: None,
            told: vec![
                format!("{:.2} %", 100.0 * candidate.val_accuracy),
                candidate.genotype.clone(),
            ],
        });
    let figure = Dots {
        id: "candidates-validation".into(),
        title: "Validation accuracy after the short trainings".into(),
        note: format!("{note}Numbers are places by likelihood; the dashed line is the likeliest."),
        x: "validation accuracy".into(),
        unit: Unit::Percent,
        level: Some((likeliest.val_accuracy, "the likeliest".into())),
        head: ["candidate", "accuracy", "genotype"]
            .map(String::from)
            .into(),
        rows: rows.collect(),
        legend: Vec::new(),
    };
    let lead = "The likeliest architectures, each trained for a short time from scratch; the most accurate was selected. It was chosen by these images, \
                so its accuracy on them is an overestimate.";
    let figures = figure.figure().into_iter().collect();
    Section::of("candidates", "The candidates", lead, figures)
}

/// How it can be done again.
fn settings(run: &RunData) -> Section {
    let command = match run.trainings.is_empty() {
        true => "lease search",
        false => "lease run",
    };
    let config = run.path.join("config.toml");
    let command = format!("{command} --config {} --out again", quoted(&config));
    let about = [
        ("lease", told(&run.about["lease"])),
        ("device", told(&run.about["device"])),
        ("threads", told(&run.about["threads"])),
        ("platform", told(&run.about["platform"])),
    ];
    again(&command, &run.config.0, &about)
}
