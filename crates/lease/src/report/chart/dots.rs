//! Single results as dots on one axis, row by row, with means and intervals.

use maud::{Markup, html};

use super::axis::{Axis, Unit};
use super::{Figure, Numbers, place, rule, svg, text};

/// A row of dots.
#[derive(Clone, Debug, Default)]
pub struct DotRow {
    /// What they are.
    pub name: String,
    /// The class of its colour.
    pub class: String,
    /// Each number, and what it is of.
    pub dots: Vec<(f64, String)>,
    /// Mean.
    pub mean: Option<f64>,
    /// An interval, and what is written about it in the table.
    pub interval: Option<[f64; 2]>,
    /// What else is said of it in the table.
    pub told: Vec<String>,
}

/// A chart of dots.
#[derive(Clone, Debug, Default)]
pub struct Dots {
    /// The figure's name on the page.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub note: String,
    /// What the numbers are.
    pub x: String,
    /// How they are written.
    pub unit: Unit,
    /// A number that is marked, and what it is.
    pub level: Option<(f64, String)>,
    /// Names of the columns of the table behind the first.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<DotRow>,
    /// Class and name of each kind of dot.
    pub legend: Vec<(String, String)>,
}

const WIDTH: f64 = 360.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 346.0;
/// Ticks at most whose labels fit beside those at the ends, which are moved inwards.
const APART: usize = 6;
const TOP: f64 = 6.0;
/// A row has its name above its dots.
const ROW: f64 = 44.0;
const BELOW: f64 = 38.0;

impl Dots {
    /// The figure; none if there is nothing to show.
    pub fn figure(mut self) -> Option<Figure> {
        self.rows
            .retain(|row| !row.dots.is_empty() || row.mean.is_some());
        if self.rows.is_empty() {
            return None;
        }
        let numbers = self.rows.iter().flat_map(|row| {
            let dots = row.dots.iter().map(|(number, _)| *number);
            dots.chain(row.mean)
                .chain(row.interval.into_iter().flatten())
        });
        let all: Vec<f64> = numbers.chain(self.level.iter().map(|(n, _)| *n)).collect();
        let axis = Axis::over(all, self.unit, ([LEFT, RIGHT], 5, true));
        let height = TOP + ROW * self.rows.len() as f64 + BELOW;
        let picture = svg([WIDTH, height], &self.alt(), self.inside(&axis, height));
        let rows = self.rows.iter().map(|row| {
            let cells = std::iter::once(row.name.clone()).chain(row.told.iter().cloned());
            (None, cells.collect())
        });
        Some(Figure {
            numbers: Numbers {
                head: self.head.clone(),
                rows: rows.collect(),
            },
            picture,
            legend: self.legend,
            id: self.id,
            title: self.title,
            note: self.note,
            wide: false,
        })
    }

    fn inside(&self, axis: &Axis, height: f64) -> Markup {
        let bottom = height - BELOW;
        html! {
            @for (at, label) in &axis.ticks {
                (rule([*at, TOP, *at, bottom], "grid"))
                @if *at > LEFT + 4.0 && *at < RIGHT - 4.0 || axis.ticks.len() <= APART {
                    (text([at.clamp(LEFT + 12.0, RIGHT - 12.0), bottom + 15.0], "tick middle", label))
                }
            }
            (rule([LEFT, bottom, RIGHT, bottom], "axis"))
            (text([f64::midpoint(LEFT, RIGHT), height - 5.0], "tick middle", &self.x))
            @if let Some((level, _)) = &self.level {
                (rule([axis.place(*level), TOP, axis.place(*level), bottom], "level"))
            }
            @for (number, row) in self.rows.iter().enumerate() {
                (self.row(row, axis, TOP + ROW * number as f64))
            }
        }
    }

    fn row(&self, row: &DotRow, axis: &Axis, top: f64) -> Markup {
        let middle = top + 29.0;
        // Dots that would hide each other lie one above the other.
        let mut placed: Vec<[f64; 2]> = Vec::new();
        for (number, _) in &row.dots {
            let x = axis.place(*number);
            let near = placed.iter().filter(|p| (p[0] - x).abs() < 5.0).count();
            let shift = [0.0, -5.0, 5.0, -9.0, 9.0][near % 5];
            placed.push([x, middle + shift]);
        }
        html! {
            (text([LEFT, top + 13.0], "label halo", &row.name))
            @if let Some([low, high]) = row.interval {
                (rule([axis.place(low), middle, axis.place(high), middle], &format!("interval {}", row.class)))
            }
            @for (at, (number, what)) in placed.iter().zip(&row.dots) {
                circle.(format!("dot {}", row.class)) cx=(place(at[0])) cy=(place(at[1])) r="4.5" {
                    title { (what) ": " (self.unit.told(*number)) }
                }
            }
            @if let Some(mean) = row.mean {
                (rule([axis.place(mean), middle - 9.0, axis.place(mean), middle + 9.0], &format!("mean {}", row.class)))
            }
        }
    }

    /// What a reader who does not see it is told.
    fn alt(&self) -> String {
        let told = |row: &DotRow| {
            let numbers: Vec<f64> = row.dots.iter().map(|d| d.0).collect();
            let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            match (numbers.len(), row.mean) {
                (0, Some(mean)) => format!("{} {}", row.name, self.unit.told(mean)),
                (1, _) => format!("{} {}", row.name, self.unit.told(low)),
                _ => format!(
                    "{} {} to {}",
                    row.name,
                    self.unit.told(low),
                    self.unit.told(high)
                ),
            }
        };
        let rows: Vec<String> = self.rows.iter().map(told).collect();
        format!("{}, {}: {}", self.title, self.x, rows.join("; "))
    }
}
