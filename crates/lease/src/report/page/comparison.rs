//! The page of a comparison.

use std::collections::{BTreeMap, BTreeSet};

use maud::html;

use super::parts::{again, count, legend, told};
use super::{Content, Section, Tile, overlaid};
use crate::report::chart::{DotRow, Dots, Scatter, Unit, percent, short};
use crate::report::graph::{Drawing, class};
use crate::report::read::{ComparisonData, MethodRun, images};
use crate::report::{finding, quoted};
use crate::study::compare::{Found, MethodSummary, differences, summaries};

/// All that is on it.
pub fn content(comparison: &ComparisonData) -> Content {
    let found = comparison.found();
    let data = images(&comparison.about, &comparison.config.1).unwrap_or_default();
    let mut sections = Vec::new();
    sections.extend(results(comparison));
    sections.extend(costs(comparison));
    sections.extend(overlaid::section(comparison));
    sections.extend(operations(comparison));
    sections.extend(cells(comparison));
    sections.push(settings(comparison));
    let (done, begun) = (found.len(), comparison.runs.len());
    let mut best = summaries(&found);
    best.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    let mut tiles = vec![
        count("Methods", comparison.methods().len() as u64, String::new()),
        count("Searches and draws", done as u64, "done".into()),
    ];
    tiles.extend(best.first().map(|best| Tile {
        name: "Highest mean",
        value: format!("{:.2} %", best.mean),
        remark: best.method.clone(),
    }));
    tiles.extend(best.last().filter(|_| best.len() > 1).map(|worst| Tile {
        name: "Lowest mean",
        value: format!("{:.2} %", worst.mean),
        remark: worst.method.clone(),
    }));
    Content {
        title: match data.is_empty() {
            true => "Methods compared".into(),
            false => format!("Methods on {data}"),
        },
        kind: "Comparison",
        state: if done == begun {
            "finished".into()
        } else {
            format!("{done} of {begun} done")
        },
        finished: done == begun,
        facts: facts(comparison),
        finding: finding::of_comparison(comparison),
        tiles,
        sections,
    }
}

fn facts(comparison: &ComparisonData) -> Vec<String> {
    let seeds = comparison
        .runs
        .iter()
        .map(|run| run.seed + 1)
        .max()
        .unwrap_or(0);
    vec![
        comparison.methods().join(", "),
        format!("seeds 0 to {}", seeds.saturating_sub(1)),
        format!("folder {}", comparison.name),
    ]
}

/// The class of a method's colour, by its place.
pub(super) fn colour(place: usize) -> String {
    // After seven colours they come again, dashed or hollow.
    let again = if place < 7 { "" } else { " again" };
    format!("s{}{again}", place % 7 + 1)
}

/// Every seed, and the differences.
fn results(comparison: &ComparisonData) -> Option<Section> {
    let found = comparison.found();
    let all = summaries(&found);
    let row = |(place, summary): (usize, &MethodSummary)| {
        let of = found.iter().filter(|f| f.method == summary.method);
        let deviation = summary.deviation.unwrap_or(0.0);
        DotRow {
            name: summary.method.clone(),
            class: colour(place),
            dots: of
                .map(|f| (f.accuracy, format!("{} seed {}", f.method, f.seed)))
                .collect(),
            mean: Some(summary.mean),
            interval: summary
                .deviation
                .map(|_| [summary.mean - deviation, summary.mean + deviation]),
            told: vec![
                summary.seeds.to_string(),
                format!("{:.2}", summary.mean),
                summary.deviation.map_or("–".into(), |d| format!("{d:.2}")),
                format!("{:.2}", summary.worst),
                format!("{:.2}", summary.best),
                short(summary.skip_connects),
            ],
        }
    };
    let seeds = Dots {
        id: "seeds".into(),
        title: "Every seed".into(),
        note: "A dot for each, the mean as a bar, and one standard deviation over seeds as a line."
            .into(),
        x: "accuracy of what was found, %".into(),
        unit: Unit::Plain,
        head: [
            "method",
            "seeds",
            "mean",
            "deviation",
            "worst",
            "best",
            "skip-connects",
        ]
        .map(String::from)
        .into(),
        rows: all.iter().enumerate().map(row).collect(),
        ..Dots::default()
    };
    let place = |method: &str| all.iter().position(|s| s.method == method).unwrap_or(0);
    let against = &comparison.against;
    let paired = differences(&found, against).into_iter().map(|d| {
        let each = found
            .iter()
            .filter(|f| f.method == d.method)
            .filter_map(|f| {
                let other = found
                    .iter()
                    .find(|o| o.method == *against && o.seed == f.seed)?;
                Some((f.accuracy - other.accuracy, format!("seed {}", f.seed)))
            });
        DotRow {
            name: format!("{} − {against}", d.method),
            class: colour(place(&d.method)),
            dots: each.collect(),
            mean: Some(d.mean),
            interval: d.interval,
            told: vec![
                d.seeds.to_string(),
                format!("{:+.2}", d.mean),
                d.interval.map_or("–".into(), |[low, high]| {
                    format!("{low:+.2} to {high:+.2}")
                }),
                d.verdict(),
            ],
        }
    });
    let paired = Dots {
        id: "differences".into(),
        title: format!("Paired differences from {against}"),
        note: "A dot for each seed that both have, their mean as a bar, and its 95 % interval by resampling seeds as a line.".into(),
        x: "points of accuracy".into(),
        level: Some((0.0, "no difference".into())),
        head: ["difference", "seeds", "mean", "95 % interval", "verdict"].map(String::from).into(),
        rows: paired.collect(),
        ..Dots::default()
    };
    let figures = [seeds, paired].into_iter().filter_map(Dots::figure);
    Section::of("results", "Results", "", figures.collect())
}

/// Accuracy against what it cost.
fn costs(comparison: &ComparisonData) -> Option<Section> {
    let methods = comparison.methods();
    let of = |(id, title): (&str, &str), x: &str, cost: fn(&Found) -> f64| Scatter {
        id: id.into(),
        title: title.into(),
        note: "A dot for each seed.".into(),
        x: x.into(),
        y: "% accuracy".into(),
        groups: methods
            .iter()
            .enumerate()
            .map(|(place, method)| {
                let found = comparison.of(method).filter_map(|run| run.found.as_ref());
                let points = found.map(|f| (format!("seed {}", f.seed), [cost(f), f.accuracy]));
                (method.to_string(), colour(place), points.collect())
            })
            .collect(),
    };
    let all = [
        of(
            ("cost-seconds", "Accuracy by time of the search"),
            "seconds",
            |f| f.search_seconds,
        ),
        of(
            ("cost-passes", "Accuracy by passes of the explainer"),
            "passes",
            |f| f.explainer_passes as f64,
        ),
    ];
    let any = comparison.found().iter().any(|f| f.search_seconds > 0.0);
    let figures = all.into_iter().filter(|_| any).filter_map(Scatter::figure);
    let lead = "Accuracy is that of what was found, trained from scratch or by a table; passes on dual numbers count twice.";
    Section::of("costs", "What it costs", lead, figures.collect())
}

/// How often a method chose each operation.
struct Chosen<'a> {
    method: &'a str,
    edges: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl<'a> Chosen<'a> {
    /// Over all cells that it found; none if it found none.
    fn by(method: &'a str, comparison: &ComparisonData) -> Option<Self> {
        let mut counts = BTreeMap::new();
        for genotype in comparison.of(method).filter_map(MethodRun::genotype) {
            for edge in genotype.graphs().iter().flat_map(|graph| &graph.edges) {
                *counts.entry(edge.operation).or_insert(0) += 1;
            }
        }
        let edges = counts.values().sum();
        (edges > 0).then_some(Self {
            method,
            edges,
            counts,
        })
    }

    fn share(&self, operation: &str) -> f64 {
        let count = self.counts.get(operation).copied().unwrap_or(0);
        count as f64 / self.edges as f64
    }
}

/// What operations each method chooses.
fn operations(comparison: &ComparisonData) -> Option<Section> {
    let methods = comparison.methods();
    let by = methods
        .iter()
        .filter_map(|method| Chosen::by(method, comparison));
    let rows: Vec<Chosen> = by.collect();
    let names: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.counts.keys().copied())
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    if rows.is_empty() {
        return None;
    }
    Some(Section {
        id: "operations",
        title: "What each method chooses",
        body: html! {
            p.lead { "Shares of operations in all cells that a method found." }
            ul.legend { @for (class, name) in legend(&names) { li { span.(format!("key {class}")) {} (name) } } }
            dl.bars {
                @for row in &rows {
                    div {
                        dt { (row.method) }
                        dd {
                            @for name in names.iter().filter(|name| row.share(name) > 0.0) {
                                span.(class(name)) style=(format!("width:{:.2}%", 100.0 * row.share(name)))
                                    title=(format!("{name} {}", percent(row.share(name)))) {}
                            }
                        }
                    }
                }
            }
            details {
                summary { "Numbers" }
                div.scroll tabindex="0" { table {
                    thead { tr { th scope="col" { "method" } @for name in &names { th scope="col" { (name) } } } }
                    tbody { @for row in &rows {
                        tr { th scope="row" { (row.method) } @for name in &names { td { (percent(row.share(name))) } } }
                    } }
                } }
            }
        },
    })
}

/// Cells of a method that are shown at first, and in all.
const SHOWN: usize = 4;
const MOST_CELLS: usize = 12;

/// The cells that were found, side by side.
fn cells(comparison: &ComparisonData) -> Option<Section> {
    let of = |run: &MethodRun| {
        let accuracy = run.found.as_ref()?.accuracy;
        let graphs = run.genotype()?.graphs();
        let title = format!("seed {}, {accuracy:.2} %", run.seed);
        Some(html! {
            figure.found-cell {
                figcaption { h4 { (title) } }
                @for graph in &graphs { div.plot { (Drawing::derived(graph, None).picture(true)) } }
            }
        })
    };
    let methods = comparison.methods();
    let all: Vec<_> = methods
        .iter()
        .map(|method| {
            (
                *method,
                comparison
                    .of(method)
                    .filter_map(of)
                    .take(MOST_CELLS)
                    .collect::<Vec<_>>(),
            )
        })
        .filter(|(_, cells)| !cells.is_empty())
        .collect();
    if all.is_empty() {
        return None;
    }
    Some(Section {
        id: "cells",
        title: "The cells, side by side",
        body: html! {
            p.lead { "Of each method those of the first seeds; where a cell has two kinds, the normal one is on top." }
            @for (method, cells) in &all {
                h3 { (method) }
                div.row { @for cell in cells.iter().take(SHOWN) { (cell) } }
                @if cells.len() > SHOWN {
                    details.more { summary { (cells.len() - SHOWN) " more seeds of " (method) } div.row { @for cell in &cells[SHOWN..] { (cell) } } }
                }
            }
        },
    })
}

fn settings(comparison: &ComparisonData) -> Section {
    let seeds = comparison
        .runs
        .iter()
        .map(|run| run.seed + 1)
        .max()
        .unwrap_or(1);
    let methods = comparison.methods().join(" ");
    let cell = comparison
        .runs
        .iter()
        .find(|run| run.found.is_some())
        .or(comparison.runs.first());
    let config = cell.map_or(comparison.path.clone(), |run| {
        let cell = comparison
            .path
            .join(&run.method)
            .join(format!("seed{}", run.seed));
        cell.join("config.toml")
    });
    let command = format!(
        "lease compare {methods} --seeds {seeds} --config {} --out again",
        quoted(&config)
    );
    let about = [
        ("lease", told(&comparison.about["lease"])),
        ("device", told(&comparison.about["device"])),
    ];
    let mut section = again(&command, &comparison.config.0, &about);
    section.body = html! {
        (section.body)
        p { "The settings are those of one of its cells; a method with settings of its own is to be named with them, as it was: NAME:SETTING=VALUE." }
    };
    section
}
