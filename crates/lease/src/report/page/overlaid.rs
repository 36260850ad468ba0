//! All searches of a comparison, one over the other.

use super::Section;
use super::comparison::colour;
use crate::report::chart::{LineChart, Series, Unit};
use crate::report::read::{ComparisonData, MethodRun};

/// Quantities of all searches, over epochs, time and passes.
pub fn section(comparison: &ComparisonData) -> Option<Section> {
    let methods = comparison.methods();
    let chart = |(id, title, note): (&str, &str, &str),
                 x: &str,
                 unit,
                 reach: &[f64],
                 points: &dyn Fn(&MethodRun) -> Vec<(f64, f64)>| {
        let (mut series, mut behind) = (Vec::new(), Vec::new());
        for (place, method) in methods.iter().enumerate() {
            let each: Vec<Vec<(f64, f64)>> = comparison
                .of(method)
                .map(points)
                .filter(|p| !p.is_empty())
                .collect();
            if each.is_empty() {
                continue;
            }
            series.push(Series::new(*method, &colour(place), mean(&each)));
            behind.extend(each.into_iter().map(|points| (colour(place), points)));
        }
        LineChart {
            id: id.into(),
            title: title.into(),
            note: note.into(),
            x: x.into(),
            unit,
            reach: reach.to_vec(),
            series,
            behind,
            ..LineChart::default()
        }
    };
    let by_epoch = |key: &'static str| move |run: &MethodRun| run.measures.by_epoch(key);
    let note = "Thick is the mean of a method's seeds, thin each seed.";
    let all = [
        chart(
            ("all-accuracy", "Supernets, validation accuracy", note),
            "epoch",
            Unit::Percent,
            &[0.0, 1.0],
            &by_epoch("explainer_val_accuracy"),
        ),
        chart(
            ("all-clock", "The same over time", note),
            "seconds",
            Unit::Percent,
            &[0.0, 1.0],
            &over_time,
        ),
        chart(
            ("all-passes", "The same over passes", note),
            "passes",
            Unit::Percent,
            &[0.0, 1.0],
            &over_passes,
        ),
        chart(
            ("all-audience", "Audiences, validation accuracy", note),
            "epoch",
            Unit::Percent,
            &[0.0, 1.0],
            &by_epoch("audience_val_accuracy"),
        ),
        chart(
            ("all-entropy", "Entropy of the mixtures", note),
            "epoch",
            Unit::Plain,
            &[],
            &entropy,
        ),
        chart(
            (
                "all-regret",
                "True regret of the choice",
                "On CIFAR-10, points below the best architecture of the table.",
            ),
            "epoch",
            Unit::Plain,
            &[0.0],
            &regret,
        ),
        chart(
            ("all-skips", "Skip-connects of the choice", note),
            "epoch",
            Unit::Count,
            &[0.0],
            &by_epoch("skip_connects"),
        ),
    ];
    let figures = all.into_iter().filter_map(LineChart::figure);
    Section::of(
        "overlaid",
        "All searches, one over the other",
        "",
        figures.collect(),
    )
}

/// The mean of several lines over the places that the first has, as far as all go.
fn mean(lines: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let shortest = lines.iter().map(Vec::len).min().unwrap_or(0);
    let n = lines.len() as f64;
    let at = |i: usize| {
        let [x, y] = lines
            .iter()
            .fold([0.0, 0.0], |[x, y], line| [x + line[i].0, y + line[i].1]);
        (x / n, y / n)
    };
    (0..shortest).map(at).collect()
}

fn over_time(run: &MethodRun) -> Vec<(f64, f64)> {
    run.measures.over_time("explainer_val_accuracy")
}

/// Passes are known of whole searches; of one in progress nothing is shown.
fn over_passes(run: &MethodRun) -> Vec<(f64, f64)> {
    let Some(found) = &run.found else {
        return Vec::new();
    };
    let points = run.measures.by_epoch("explainer_val_accuracy");
    let each = found.explainer_passes as f64 / points.len().max(1) as f64;
    points
        .into_iter()
        .map(|(epoch, accuracy)| (epoch * each, accuracy))
        .collect()
}

/// The mean over kinds of cells.
fn entropy(run: &MethodRun) -> Vec<(f64, f64)> {
    let kinds: Vec<Vec<(f64, f64)>> = run
        .measures
        .named("entropy")
        .into_iter()
        .map(|(_, points)| points)
        .collect();
    match kinds.is_empty() {
        true => Vec::new(),
        false => mean(&kinds),
    }
}

fn regret(run: &MethodRun) -> Vec<(f64, f64)> {
    let lines = run.measures.epochs.iter();
    lines
        .filter_map(|line| {
            Some((
                line["epoch"].as_f64()? + 1.0,
                line["standing"]["regret"].as_f64()?,
            ))
        })
        .collect()
}
