//! Single results by two numbers.

use maud::html;

use super::axis::{Axis, Unit, short};
use super::{Figure, Numbers, place, rule, svg, text};

/// What a point is, and where.
type Point = (String, [f64; 2]);

/// A chart of points in groups.
#[derive(Clone, Debug, Default)]
pub struct Scatter {
    /// The figure's name on the page.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub note: String,
    /// What x is.
    pub x: String,
    /// What y is.
    pub y: String,
    /// Each group's name and class, and its points: what, x and y.
    pub groups: Vec<(String, String, Vec<Point>)>,
}

const SIZE: [f64; 2] = [360.0, 250.0];
const INSIDE: [f64; 4] = [48.0, 10.0, 348.0, 210.0];

impl Scatter {
    /// The figure; none if there is nothing to show.
    pub fn figure(mut self) -> Option<Figure> {
        self.groups.retain(|(_, _, points)| !points.is_empty());
        if self.groups.is_empty() {
            return None;
        }
        let [left, top, right, bottom] = INSIDE;
        let all = || {
            self.groups
                .iter()
                .flat_map(|(_, _, points)| points.iter().map(|(_, at)| *at))
        };
        let x = Axis::over(
            all().map(|at| at[0]).chain([0.0]),
            Unit::Plain,
            ([left, right], 5, true),
        );
        let y = Axis::over(all().map(|at| at[1]), Unit::Plain, ([bottom, top], 4, true));
        let inside = html! {
            @for (at, label) in &y.ticks {
                (rule([left, *at, right, *at], "grid"))
                (text([left - 6.0, at + 3.8], "tick end", label))
            }
            @for (number, (at, label)) in x.ticks.iter().enumerate() {
                (rule([*at, bottom, *at, bottom + 4.0], "axis"))
                // Long numbers have no room beside each other.
                @if x.ticks.len() < 6 || number % 2 == 0 { (text([at.min(right - 14.0), bottom + 16.0], "tick middle", label)) }
            }
            (rule([left, bottom, right, bottom], "axis"))
            (text([f64::midpoint(left, right), SIZE[1] - 5.0], "tick middle", &self.x))
            @for (name, class, points) in &self.groups {
                @for (what, at) in points {
                    circle.(format!("dot {class}")) cx=(place(x.place(at[0]))) cy=(place(y.place(at[1]))) r="4.5" {
                        title { (name) " " (what) ": " (short(at[0])) " " (self.x) ", " (short(at[1])) " " (self.y) }
                    }
                }
            }
        };
        let mean = |points: &[Point], i: usize| {
            points.iter().map(|(_, at)| at[i]).sum::<f64>() / points.len() as f64
        };
        let told = |(name, _, points): &(String, String, Vec<Point>)| {
            format!(
                "{name} {} at {}",
                short(mean(points, 1)),
                short(mean(points, 0))
            )
        };
        let words: Vec<String> = self.groups.iter().map(told).collect();
        let alt = format!(
            "{}, {} by {}; means: {}",
            self.title,
            self.y,
            self.x,
            words.join("; ")
        );
        let rows = self.groups.iter().flat_map(|(name, _, points)| {
            points.iter().map(move |(what, at)| {
                (
                    None,
                    vec![format!("{name} {what}"), short(at[0]), short(at[1])],
                )
            })
        });
        Some(Figure {
            numbers: Numbers {
                head: vec!["of".into(), self.x.clone(), self.y.clone()],
                rows: rows.collect(),
            },
            picture: svg(SIZE, &alt, inside),
            legend: self
                .groups
                .iter()
                .map(|(name, class, _)| (format!("dot {class}"), name.clone()))
                .collect(),
            id: self.id,
            title: self.title,
            note: self.note,
            wide: false,
        })
    }
}
