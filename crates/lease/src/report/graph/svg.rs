//! A cell as SVG.

use maud::{Markup, html};

use super::layout::{Layout, Link, layout};
use super::{class, spoken, strongest};
use crate::report::chart::{place, svg};
use crate::space::CellGraph;

/// An edge as it is drawn.
#[derive(Clone, Debug)]
pub struct Edge {
    /// From and to.
    pub states: (usize, usize),
    /// Its operation.
    pub operation: String,
    /// The operation's weight in the mixture, where it is known.
    pub weight: Option<f64>,
    /// The next strongest operation and its weight.
    pub second: Option<(String, f64)>,
    /// The whole mixture, drawn as a bar, and its edge's number.
    pub mixture: Option<(usize, Vec<f64>)>,
    /// Whether it is in the cell that would be derived.
    pub kept: bool,
}

/// A cell to be drawn.
#[derive(Clone, Debug)]
pub struct Drawing<'a> {
    /// The cell.
    pub graph: &'a CellGraph,
    /// Its edges.
    pub edges: Vec<Edge>,
    /// Whether what is joined into the output is shown.
    pub output: bool,
}

/// The width of a state, and the height of it and of what is written on edges.
const STATE: f64 = 34.0;
const HEIGHT: f64 = 26.0;
/// The width of a mixture's bar.
const BAR: f64 = 46.0;

impl<'a> Drawing<'a> {
    /// A derived cell; `rows` is the supernet's last mixture, where it is known.
    pub fn derived(graph: &'a CellGraph, rows: Option<&[Vec<f64>]>) -> Self {
        let edges = graph.edges.iter().filter(|edge| edge.operation != "none");
        let edges = edges.map(|edge| {
            let row = graph.row(edge.from, edge.to);
            let row = row.and_then(|row| rows?.get(row));
            let column = graph.operations.iter().position(|o| *o == edge.operation);
            let ranked = row.map_or(Vec::new(), |row| strongest(row, &graph.operations));
            let second = ranked.iter().find(|(name, _)| *name != edge.operation);
            Edge {
                states: (edge.from, edge.to),
                operation: edge.operation.into(),
                weight: row.and_then(|row| row.get(column?)).copied(),
                second: second.map(|(name, weight)| (name.to_string(), *weight)),
                mixture: None,
                kept: true,
            }
        });
        Self {
            edges: edges.collect(),
            output: !graph.joined.is_empty(),
            graph,
        }
    }

    /// A supernet's cell with this mixture.
    pub fn supernet(graph: &'a CellGraph, rows: &[Vec<f64>]) -> Self {
        let edges = graph
            .mixed
            .iter()
            .zip(rows)
            .enumerate()
            .map(|(number, (states, row))| {
                let ranked = strongest(row, &graph.operations);
                let kept = graph
                    .edges
                    .iter()
                    .any(|e| (e.from, e.to) == *states && e.operation != "none");
                Edge {
                    states: *states,
                    operation: ranked.first().map_or("none", |(name, _)| name).into(),
                    weight: ranked.first().map(|(_, weight)| *weight),
                    second: ranked
                        .get(1)
                        .map(|(name, weight)| (name.to_string(), *weight)),
                    mixture: Some((number, row.clone())),
                    kept,
                }
            });
        Self {
            edges: edges.collect(),
            output: false,
            graph,
        }
    }

    /// The picture; smaller ones have no weights written on them.
    pub fn picture(&self, small: bool) -> Markup {
        let placed = self.placed(small);
        let size = placed.size;
        let inside = html! {
            @for (number, edge) in self.edges.iter().enumerate() { (self.path(edge, &placed.paths[number])) }
            @for path in &placed.paths[self.edges.len()..] { path.joined d=(curve(path)) {} }
            @for (number, edge) in self.edges.iter().enumerate() { (self.label(edge, placed.labels[number], small)) }
            @for (state, at) in placed.states.iter().enumerate() { (self.state(state, *at)) }
        };
        svg(size, &self.alt(), inside)
    }

    fn placed(&self, small: bool) -> Layout {
        let states = self.graph.states() + usize::from(self.output);
        let mut links: Vec<Link> = self
            .edges
            .iter()
            .map(|edge| Link {
                from: edge.states.0,
                to: edge.states.1,
                label: width(edge, small),
            })
            .collect();
        if self.output {
            links.extend(self.graph.joined.iter().map(|from| Link {
                from: *from,
                to: self.graph.states(),
                label: 0.0,
            }));
        }
        layout(&vec![STATE; states], self.graph.inputs.len(), &links)
    }

    fn path(&self, edge: &Edge, path: &[[f64; 2]]) -> Markup {
        let number = edge.mixture.as_ref().map(|(number, _)| number.to_string());
        let weight = edge.weight.unwrap_or(0.25);
        html! {
            path.(format!("edge {}", class(&edge.operation))) .faint[!edge.kept] d=(curve(path))
                style=(format!("stroke-width:{}", thickness(weight))) data-edge=[number.as_ref()] {
                title { (self.told(edge)) }
            }
        }
    }

    fn label(&self, edge: &Edge, [x, y]: [f64; 2], small: bool) -> Markup {
        let wide = width(edge, small);
        let number = edge.mixture.as_ref().map(|(number, _)| number.to_string());
        let weight = edge.weight.filter(|_| !small && edge.mixture.is_none());
        html! {
            g.(format!("pill {}", class(&edge.operation))) .faint[!edge.kept] data-label=[number.as_ref()] {
                title { (self.told(edge)) }
                rect x=(place(x - wide / 2.0)) y=(place(y - HEIGHT / 2.0)) width=(place(wide)) height=(place(HEIGHT)) rx="7" {}
                @if let Some((_, row)) = &edge.mixture {
                    text x=(place(x)) y=(place(y)) { (spoken(&edge.operation)) }
                    (self.bar(row, [x - BAR / 2.0, y + 4.0]))
                } @else if let Some(weight) = weight {
                    text x=(place(x)) y=(place(y - 1.5)) { (spoken(&edge.operation)) }
                    text.weight x=(place(x)) y=(place(y + 9.5)) { (format!("{weight:.2}")) }
                } @else {
                    text x=(place(x)) y=(place(y + 4.0)) { (spoken(&edge.operation)) }
                }
            }
        }
    }

    /// A mixture as a bar, operation beside operation.
    fn bar(&self, row: &[f64], [left, top]: [f64; 2]) -> Markup {
        let mut from = 0.0;
        let parts: Vec<(f64, f64, String)> = row
            .iter()
            .zip(&self.graph.operations)
            .map(|(weight, operation)| {
                let start = from;
                from += weight * BAR;
                (start, weight * BAR, class(operation))
            })
            .collect();
        html! {
            @for (start, width, class) in parts {
                rect.(format!("op {class}")) x=(place(left + start)) y=(place(top)) width=(format!("{width:.2}")) height="5" {}
            }
        }
    }

    fn state(&self, state: usize, [x, y]: [f64; 2]) -> Markup {
        let name = match state == self.graph.states() {
            true => "c_{k}".to_string(),
            false => self.graph.name(state),
        };
        let end = state < self.graph.inputs.len() || state == self.graph.states();
        let subscript = name
            .split_once("_{")
            .map(|(base, rest)| (base, rest.trim_end_matches('}').replace('-', "−")));
        html! {
            g.state .end[end] {
                rect x=(place(x - STATE / 2.0)) y=(place(y - HEIGHT / 2.0)) width=(place(STATE)) height=(place(HEIGHT)) rx="13" {}
                @if let Some((base, below)) = subscript {
                    text x=(place(x)) y=(place(y + 3.0)) { (base) tspan.sub dy="3" { (below) } }
                } @else {
                    text x=(place(x)) y=(place(y + 4.0)) { (name) }
                }
            }
        }
    }

    /// An edge in words.
    fn told(&self, edge: &Edge) -> String {
        let weight = |weight: f64| format!("{weight:.3}");
        let first = edge
            .weight
            .map_or(String::new(), |w| format!(" {}", weight(w)));
        let second = edge.second.as_ref();
        let second = second.map_or(String::new(), |(name, w)| {
            format!("; second {name} {}", weight(*w))
        });
        let (from, to) = (
            self.graph.name(edge.states.0),
            self.graph.name(edge.states.1),
        );
        format!("{from} → {to}: {}{first}{second}", edge.operation)
    }

    /// The cell for a reader who does not see it.
    fn alt(&self) -> String {
        let edges: Vec<String> = self
            .edges
            .iter()
            .map(|edge| {
                let (from, to) = (
                    self.graph.name(edge.states.0),
                    self.graph.name(edge.states.1),
                );
                format!("{from} to {to} {}", spoken(&edge.operation))
            })
            .collect();
        format!("The {} cell: {}", self.graph.kind, edges.join(", "))
    }

    /// Every edge as a row of a table: from, to, operation and weight, the second and its weight.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let weight = |w: Option<f64>| w.map_or("–".into(), |w| format!("{w:.3}"));
        let row = |edge: &Edge| {
            vec![
                self.graph.name(edge.states.0),
                self.graph.name(edge.states.1),
                edge.operation.clone(),
                weight(edge.weight),
                edge.second
                    .as_ref()
                    .map_or("–".into(), |(name, _)| name.clone()),
                weight(edge.second.as_ref().map(|(_, w)| *w)),
            ]
        };
        self.edges.iter().map(row).collect()
    }
}

/// How thick an edge of this weight is, which the page's script knows too.
fn thickness(weight: f64) -> String {
    let thousandths = (1000.0 * weight).round();
    place((12.0 + 0.07 * thousandths).round() / 10.0)
}

/// The width of what is written on an edge.
fn width(edge: &Edge, small: bool) -> f64 {
    let letters = spoken(&edge.operation).chars().count() as f64;
    match (&edge.mixture, small) {
        (Some(_), _) => BAR + 10.0,
        (None, _) => (6.1 * letters + 14.0).max(36.0),
    }
}

/// A smooth line down through points (a cubic Hermite spline): upright where it begins and ends, between them in the direction
/// from the point before to the point after, or upright where it turns back.
fn curve(points: &[[f64; 2]]) -> String {
    let slope = |i: usize| {
        let (Some(before), Some(after)) = (i.checked_sub(1), points.get(i + 1)) else {
            return 0.0;
        };
        let [before, here] = [points[before], points[i]];
        let turns = (here[0] - before[0]) * (after[0] - here[0]) <= 0.0;
        match turns {
            true => 0.0,
            false => (after[0] - before[0]) / (after[1] - before[1]),
        }
    };
    let mut path = format!("M{} {}", place(points[0][0]), place(points[0][1]));
    for i in 1..points.len() {
        let [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
        let reach = 0.42 * (y1 - y0);
        let first = [x0 + slope(i - 1) * reach, y0 + reach];
        let second = [x1 - slope(i) * reach, y1 - reach];
        let all = [first, second, [x1, y1]].concat();
        let all: Vec<String> = all.into_iter().map(place).collect();
        path += &format!("C{}", all.join(" "));
    }
    path
}
