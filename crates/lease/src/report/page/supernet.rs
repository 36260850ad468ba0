//! The supernet at any epoch, and how the mixture of each edge moved.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use super::Section;
use super::parts::legend;
use crate::report::chart::{Figure, LineChart, Series, Unit};
use crate::report::graph::{Drawing, class, spoken, strongest};
use crate::report::read::{Mixtures, RunData};
use crate::space::CellGraph;

/// Epochs that the slider has at most.
const MOST_EPOCHS: usize = 100;

/// The section; none if no mixture is recorded.
pub fn section(run: &RunData) -> Option<Section> {
    let choices = run.choices();
    let graphs = &choices.last()?.1;
    let kinds: Vec<Kind> = graphs
        .iter()
        .filter_map(|graph| Kind::of(run, graph, &choices))
        .collect();
    if kinds.is_empty() {
        return None;
    }
    let body = html! {
        p.lead {
            "Every edge is a mixture of all candidates; its label has the strongest but none, and the whole mixture as a bar. Width is the strongest one's \
             weight. Edges that would not be kept are pale."
        }
        @let all: Vec<u64> = kinds[0].mixtures.iter().map(|(epoch, _)| *epoch).collect();
        @if all.len() > 1 {
            div.slider {
                label for="epoch" { "Epoch " output for="epoch" { (all[all.len() - 1]) } }
                input #epoch type="range" min="0" max=(all.len() - 1) value=(all.len() - 1) step="1";
                button type="button" data-play { "Play" }
            }
        }
        (operations(&kinds))
        div.grid.cells { @for kind in &kinds { (kind.figure().markup()) } }
        script type="application/json" id="mixtures" { (PreEscaped(data(&kinds))) }
        @for kind in &kinds {
            details.edges {
                summary { "How each edge of the " (kind.graph.kind) @if kind.graph.kind != "cell" { " cell" } " moved" }
                div.grid.small { @for figure in kind.edges() { (figure.markup()) } }
            }
        }
    };
    Some(Section {
        id: "supernet",
        title: "The supernet",
        body,
    })
}

/// One kind of cell.
struct Kind<'a> {
    graph: &'a CellGraph,
    mixtures: Vec<(u64, Mixtures)>,
    /// Of each epoch the rows that would be kept.
    kept: Vec<Vec<usize>>,
}

impl<'a> Kind<'a> {
    fn of(run: &RunData, graph: &'a CellGraph, choices: &[(u64, Vec<CellGraph>)]) -> Option<Self> {
        let mut mixtures = run.mixtures(graph.kind);
        mixtures.retain(|(_, rows)| rows.len() == graph.mixed.len());
        let each = mixtures.len().div_ceil(MOST_EPOCHS).max(1);
        let last = mixtures.len().checked_sub(1)?;
        let mut place = 0..;
        mixtures.retain(|_| place.next().is_some_and(|p| (last - p) % each == 0));
        let kept = mixtures.iter().map(|(epoch, _)| {
            let graphs = choices
                .iter()
                .find(|(e, _)| e == epoch)
                .map(|(_, graphs)| graphs);
            let then = graphs.into_iter().flatten().find(|g| g.kind == graph.kind);
            let edges = then.map_or(&[][..], |g| &g.edges);
            let drawn = edges.iter().filter(|edge| edge.operation != "none");
            drawn
                .filter_map(|edge| graph.row(edge.from, edge.to))
                .collect()
        });
        Some(Self {
            kept: kept.collect(),
            mixtures,
            graph,
        })
    }

    fn last(&self) -> &Mixtures {
        &self.mixtures[self.mixtures.len() - 1].1
    }

    /// The candidates that weigh anything.
    fn candidates(&self) -> Vec<usize> {
        let columns = 0..self.graph.operations.len();
        let weighs = |column: &usize| {
            let rows = self.mixtures.iter().flat_map(|(_, rows)| rows);
            rows.filter_map(|row| row.get(*column)).any(|w| *w > 0.0)
        };
        columns.filter(weighs).collect()
    }

    fn figure(&self) -> Figure {
        let drawing = Drawing::supernet(self.graph, self.last());
        let head = ["from", "to", "strongest", "weight", "second", "its weight"];
        Figure {
            id: format!("supernet-{}", self.graph.kind),
            title: match self.graph.kind {
                "cell" => "Mixtures of the cell".into(),
                kind => format!("Mixtures of the {kind} cell"),
            },
            note: String::new(),
            picture: html! { div.supernet data-kind=(self.graph.kind) { (drawing.picture(false)) } },
            legend: Vec::new(),
            numbers: crate::report::chart::Numbers {
                head: head.map(String::from).into(),
                rows: drawing.rows().into_iter().map(|row| (None, row)).collect(),
            },
            wide: false,
        }
    }

    /// A chart for each edge.
    fn edges(&self) -> Vec<Figure> {
        let candidates = self.candidates();
        let chart = |(number, (from, to)): (usize, &(usize, usize))| {
            let series = candidates.iter().map(|column| {
                let of = |(epoch, rows): &(u64, Mixtures)| {
                    Some((*epoch as f64, *rows[number].get(*column)?))
                };
                let points = self.mixtures.iter().filter_map(of).collect();
                let operation = self.graph.operations[*column];
                Series::new(
                    spoken(operation),
                    &format!("op {}", class(operation)),
                    points,
                )
            });
            let figure = LineChart {
                id: format!("edge-{}-{number}", self.graph.kind),
                title: format!("{} → {}", self.graph.name(*from), self.graph.name(*to)),
                x: "epoch".into(),
                unit: Unit::Plain,
                reach: vec![0.0],
                series: series.collect(),
                ..LineChart::default()
            };
            Some(Figure {
                legend: Vec::new(),
                ..figure.figure()?
            })
        };
        self.graph
            .mixed
            .iter()
            .enumerate()
            .filter_map(chart)
            .collect()
    }
}

/// The colours of the candidates of all kinds.
fn operations(kinds: &[Kind]) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for kind in kinds {
        for column in kind.candidates() {
            if !names.contains(&kind.graph.operations[column]) {
                names.push(kind.graph.operations[column]);
            }
        }
    }
    html! {
        ul.legend { @for (class, name) in legend(&names) { li { span.(format!("key {class}")) {} (name) } } }
    }
}

/// What the slider needs: of each kind operations, and epoch by epoch mixtures (in thousandths), the strongest
/// candidates and what would be kept.
fn data(kinds: &[Kind]) -> String {
    let all: serde_json::Map<_, _> = kinds
        .iter()
        .map(|kind| {
            let operations: Vec<_> = kind.graph.operations.iter().map(|o| [o.to_string(), spoken(o), class(o)]).collect();
            let round = |rows: &Mixtures| -> Vec<Vec<u32>> {
                let row = |row: &Vec<f64>| row.iter().map(|w| (1000.0 * w).round() as u32).collect();
                rows.iter().map(row).collect()
            };
            // Told, since after rounding others may seem as strong.
            let best = |row: &Vec<f64>| {
                let (name, _) = *strongest(row, &kind.graph.operations).first()?;
                kind.graph.operations.iter().position(|o| *o == name)
            };
            let epochs: Vec<u64> = kind.mixtures.iter().map(|(epoch, _)| *epoch).collect();
            let rows: Vec<_> = kind.mixtures.iter().map(|(_, rows)| round(rows)).collect();
            let best: Vec<Vec<Option<usize>>> = kind
                .mixtures
                .iter()
                .map(|(_, rows)| rows.iter().map(best).collect())
                .collect();
            let value = json!({
                "operations": operations, "epochs": epochs, "rows": rows, "best": best, "kept": kind.kept,
            });
            (kind.graph.kind.to_string(), value)
        })
        .collect();
    // No text in it can end the script.
    serde_json::Value::Object(all)
        .to_string()
        .replace("</", "<\\/")
}
