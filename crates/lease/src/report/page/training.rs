//! Trainings of derived networks: the page of one, and the part of a run's page about all of its own.

use maud::html;

use super::parts::{again, cell, count, notation, told};
use super::{Content, Section, Tile};
use crate::report::chart::{
    Confused, DotRow, Dots, Figure, LineChart, Series, Unit, counted, percent,
};
use crate::report::read::{TrainingData, images, setting};
use crate::report::{finding, quoted};

/// The page of a training.
pub fn content(training: &TrainingData) -> Content {
    let data = images(&training.about, &training.config.1).unwrap_or_default();
    let result = training.finished();
    let mut sections = Vec::new();
    if let Some(genotype) = &training.genotype {
        let graphs = genotype.graphs();
        let figures: Vec<Figure> = graphs
            .iter()
            .map(|g| cell(g, None, format!("cell-{}", g.kind)))
            .collect();
        let body = html! {
            div.grid.cells { @for figure in &figures { (figure.markup()) } }
            (notation(genotype))
        };
        sections.push(Section {
            id: "cells",
            title: "The cells",
            body,
        });
    }
    sections.extend(curves(std::slice::from_ref(training)));
    sections.extend(Section::of(
        "classes",
        "Class by class",
        "",
        classes(training, ""),
    ));
    let config = training.path.join("config.toml");
    let genotype = training.path.join("genotype.json");
    let command = format!(
        "lease train {} --config {} --out again",
        quoted(&genotype),
        quoted(&config)
    );
    let about = [
        ("lease", told(&training.about["lease"])),
        ("device", told(&training.about["device"])),
        ("threads", told(&training.about["threads"])),
        ("platform", told(&training.about["platform"])),
    ];
    sections.push(again(&command, &training.config.0, &about));
    let wanted = setting(&training.config.1, "train", "epochs");
    let done = training.measures.epochs.len();
    let mut facts: Vec<String> = Vec::new();
    let size =
        |key, what: &str| setting(&training.config.1, "train", key).map(|v| format!("{v} {what}"));
    facts.extend(size("channels", "channels"));
    facts.extend(size("cells", "cells"));
    facts.extend(setting(&training.config.1, "run", "seed").map(|s| format!("seed {s}")));
    facts.push(format!("folder {}", training.name));
    Content {
        title: match data.is_empty() {
            true => "Training from scratch".into(),
            false => format!("Training on {data}"),
        },
        kind: "Training",
        state: match (&result, wanted) {
            (Some(_), _) => "finished".into(),
            (None, Some(all)) => format!("{done} of {all} epochs"),
            (None, None) => counted(done, "epoch"),
        },
        finished: result.is_some(),
        facts,
        finding: finding::of_training(training),
        tiles: tiles(training),
        sections,
    }
}

fn tiles(training: &TrainingData) -> Vec<Tile> {
    let mut all = Vec::new();
    if let Some(result) = training.finished() {
        all.push(Tile {
            name: "Test accuracy",
            value: percent(result.test_accuracy),
            remark: counted(result.test_images, "image"),
        });
        let balanced = training.result["balanced_accuracy"].as_f64();
        all.extend(balanced.map(|accuracy| Tile {
            name: "Balanced",
            value: percent(accuracy),
            remark: "mean over classes".into(),
        }));
        all.push(count("Parameters", result.parameters as u64, String::new()));
    }
    all.push(count(
        "Epochs",
        training.measures.epochs.len() as u64,
        String::new(),
    ));
    all
}

/// Losses and accuracies by epoch, of one training or several.
pub fn curves(all: &[TrainingData]) -> Option<Section> {
    let classes = ["found", "s2", "s3", "s4", "s5", "s6", "s7"];
    let series = |key: &str| -> Vec<Series> {
        let each = all.iter().zip(classes.iter().cycle());
        each.map(|(t, class)| Series::new(t.name.clone(), class, t.measures.by_epoch(key)))
            .collect()
    };
    let chart = |id: &str, title: &str, key: &str, unit, reach: &[f64]| LineChart {
        id: id.into(),
        title: title.into(),
        x: "epoch".into(),
        unit,
        reach: reach.to_vec(),
        series: series(key),
        ..LineChart::default()
    };
    let figures = [
        chart("train-loss", "Training loss", "loss", Unit::Log, &[]),
        chart(
            "train-accuracy",
            "Training accuracy",
            "accuracy",
            Unit::Percent,
            &[0.0, 1.0],
        ),
        chart(
            "train-validation",
            "Validation accuracy",
            "validation_accuracy",
            Unit::Percent,
            &[0.0, 1.0],
        ),
    ];
    let figures = figures.into_iter().filter_map(LineChart::figure).collect();
    Section::of(
        "training",
        "Training from scratch",
        "On varied images as they were trained on; the last layers' auxiliary loss is left out.",
        figures,
    )
}

/// What came out class by class, where it is known.
pub fn classes(training: &TrainingData, of: &str) -> Vec<Figure> {
    let mut all = Vec::new();
    let Some(matrix) = training.confusion() else {
        return all;
    };
    let name = |class: usize| {
        training
            .classes
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    };
    if matrix.len() <= 20 {
        let rows = matrix.iter().enumerate().map(|(class, row)| {
            let (right, images) = (row[class], row.iter().sum::<u64>());
            let share = right as f64 / images.max(1) as f64;
            DotRow {
                name: name(class),
                class: "found".into(),
                dots: vec![(share, name(class))],
                told: vec![percent(share), images.to_string()],
                ..DotRow::default()
            }
        });
        let figure = Dots {
            id: "class-accuracy".into(),
            title: format!("Test accuracy by class{of}"),
            x: "share of the class's test images".into(),
            unit: Unit::Percent,
            head: ["class", "correct", "images"].map(String::from).into(),
            rows: rows.collect(),
            ..Dots::default()
        };
        all.extend(figure.figure());
    }
    all.push(
        Confused {
            id: "confusion".into(),
            title: format!("Confusion{of}"),
            classes: &training.classes,
            matrix: &matrix,
        }
        .figure(),
    );
    all
}
