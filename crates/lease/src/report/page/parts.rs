//! What several pages have.

use maud::{Markup, html};

use super::{Section, Tile};
use crate::report::chart::{Figure, Numbers, grouped};
use crate::report::graph::{Drawing, Edge, class, spoken};
use crate::space::{CellGraph, Genotype};

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", 1000.0 * s),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// A tile with a number of things.
pub fn count(name: &'static str, value: u64, remark: String) -> Tile {
    Tile {
        name,
        value: grouped(value as i64),
        remark,
    }
}

/// The colours of operations, by name.
pub fn legend(operations: &[&str]) -> Vec<(String, String)> {
    let all = operations.iter();
    all.map(|operation| (format!("op {}", class(operation)), spoken(operation)))
        .collect()
}

/// A derived cell as a figure; `rows` is the supernet's last mixture, where it is known.
pub fn cell(graph: &CellGraph, rows: Option<&[Vec<f64>]>, id: String) -> Figure {
    let drawing = Drawing::derived(graph, rows);
    let head = ["from", "to", "operation", "weight", "second", "its weight"];
    let none = graph.edges.iter().filter(|e| e.operation == "none").count();
    let absent = match none {
        0 => String::new(),
        1 => " One edge is none and not drawn.".into(),
        n => format!(" {n} edges are none and not drawn."),
    };
    let weighed = match rows {
        Some(_) => {
            "Numbers and widths are weights in the supernet's last mixture.".to_string()
                + &close(&drawing)
        }
        None => String::new(),
    };
    Figure {
        title: title(graph),
        note: format!("{weighed}{absent}").trim().into(),
        picture: drawing.picture(false),
        legend: Vec::new(),
        numbers: Numbers {
            head: head.map(String::from).into(),
            rows: drawing.rows().into_iter().map(|row| (None, row)).collect(),
        },
        wide: false,
        id,
    }
}

/// A second operation with this share of the weight of the one chosen, or more, is told.
const CLOSE: f64 = 0.9;

/// Edges that are told at most.
const MOST_CLOSE: usize = 3;

/// The edges on which another operation was nearly as strong, or stronger.
fn close(drawing: &Drawing) -> String {
    let told = |edge: &Edge| {
        let (name, second) = edge.second.as_ref()?;
        let near = *second >= CLOSE * edge.weight?;
        let [from, to] = [edge.states.0, edge.states.1].map(|state| drawing.graph.name(state));
        near.then(|| {
            format!(
                "{}\u{a0}{second:.2} on\u{a0}{from}\u{a0}→\u{a0}{to}",
                spoken(name)
            )
        })
    };
    let mut all: Vec<String> = drawing.edges.iter().filter_map(told).collect();
    if all.is_empty() {
        return String::new();
    }
    let more = all.len().saturating_sub(MOST_CLOSE);
    all.truncate(MOST_CLOSE);
    let more = match more {
        0 => String::new(),
        n => format!(" and {n} more in the table"),
    };
    let edges = all
        .join(", ")
        .replace("c_{k-2}", "k−2")
        .replace("c_{k-1}", "k−1");
    format!(" Close second: {edges}{more}.")
}

fn title(graph: &CellGraph) -> String {
    let mut letters = graph.kind.chars();
    let first = letters.next().map(char::to_uppercase);
    match graph.kind {
        "cell" => "The cell".into(),
        _ => format!(
            "{}{} cell",
            first.into_iter().flatten().collect::<String>(),
            letters.as_str()
        ),
    }
}

/// The section on how it can be done again, with the whole configuration.
pub fn again(command: &str, configuration: &str, versions: &[(&str, String)]) -> Section {
    let body = html! {
        p.lead { "The settings below are the folder's " code { "config.toml" } "; with them in a file of that name the same numbers come out on the same \
            kind of machine with the same number of threads." }
        pre.command tabindex="0" { code { (command) } }
        dl.about { @for (name, value) in versions { @if !value.is_empty() { div { dt { (name) } dd { (value) } } } } }
        @if !configuration.is_empty() {
            details { summary { "All settings" } pre tabindex="0" { code { (configuration) } } }
        }
    };
    Section {
        id: "again",
        title: "Run it again",
        body,
    }
}

/// The genotype in its space's notation, to be copied.
pub fn notation(genotype: &Genotype) -> Markup {
    html! {
        details { summary { "The genotype in its space's notation" } pre tabindex="0" { code { (genotype.to_string()) } } }
    }
}

/// A value of a JSON object as text; nothing where there is none.
pub fn told(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
