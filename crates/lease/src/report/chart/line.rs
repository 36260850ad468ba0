//! Lines over epochs.

use maud::{Markup, html};

use super::axis::{Axis, Unit};
use super::{Figure, Numbers, place, rule, svg, text};

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its colour and dashes: classes of the style sheet.
    pub class: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A line, thinned to what can be seen.
    pub fn new(name: impl Into<String>, class: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            class: class.into(),
            points: thinned(&points, MOST_POINTS),
        }
    }
}

/// Points of a line at most.
const MOST_POINTS: usize = 120;

/// Several points in a row as one, their mean, so that there are at most so many.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(most.max(1)).max(1);
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        let last = part[part.len() - 1].0;
        (last, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(each).map(mean).collect()
}

/// A chart of lines.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// The figure's name on the page.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub note: String,
    /// What x is.
    pub x: String,
    /// How y is written.
    pub unit: Unit,
    /// Numbers that y must reach.
    pub reach: Vec<f64>,
    /// A level to compare with, and what it is.
    pub level: Option<(f64, String)>,
    /// The lines; those without a point are left out.
    pub series: Vec<Series>,
    /// Thin lines behind them that have no name: a class and points each.
    pub behind: Vec<(String, Vec<(f64, f64)>)>,
}

/// The size of the picture, and of what is inside its axes.
const SIZE: [f64; 2] = [360.0, 214.0];
// Room for numbers of seven characters on the left, and for half of the last on the right.
const INSIDE: [f64; 4] = [56.0, 10.0, 342.0, 174.0];

impl LineChart {
    /// The figure; none if there is nothing to show.
    pub fn figure(mut self) -> Option<Figure> {
        self.series
            .retain(|s| s.points.iter().any(|p| p.1.is_finite()));
        if self.series.is_empty() {
            return None;
        }
        let [left, top, right, bottom] = INSIDE;
        let all = || {
            let lines = self.series.iter().map(|s| &s.points);
            lines
                .chain(self.behind.iter().map(|(_, points)| points))
                .flatten()
        };
        let places = || all().map(|p| p.0);
        let wide =
            places().fold(f64::NEG_INFINITY, f64::max) - places().fold(f64::INFINITY, f64::min);
        // Whole epochs have no parts between them.
        let whole = places().all(|x| x.fract() == 0.0);
        let unit = match wide < 2.0 && !whole {
            true => Unit::Plain,
            false => Unit::Count,
        };
        let x = Axis::over(places(), unit, ([left, right], 6, false));
        let level = self.level.iter().map(|(y, _)| *y);
        let ys = all()
            .map(|p| p.1)
            .chain(self.reach.iter().copied())
            .chain(level);
        let y = Axis::over(ys, self.unit, ([bottom, top], 4, true));
        let picture = svg(SIZE, &self.alt(), self.inside(&x, &y));
        Some(Figure {
            picture,
            legend: self.legend(),
            numbers: self.numbers(&x),
            id: self.id,
            title: self.title,
            note: self.note,
            wide: false,
        })
    }

    fn legend(&self) -> Vec<(String, String)> {
        let lines = self
            .series
            .iter()
            .map(|s| (s.class.clone(), s.name.clone()));
        let level = self.level.iter();
        lines
            .chain(level.map(|(_, name)| ("level".into(), name.clone())))
            .collect()
    }

    fn inside(&self, x: &Axis, y: &Axis) -> Markup {
        let [left, top, right, bottom] = INSIDE;
        html! {
            @for (at, label) in &y.ticks {
                (rule([left, *at, right, *at], "grid"))
                (text([left - 6.0, at + 3.8], "tick end", label))
            }
            @for (at, label) in &x.ticks {
                (rule([*at, bottom, *at, bottom + 4.0], "axis"))
                (text([*at, bottom + 16.0], "tick middle", label))
            }
            (rule([left, bottom, right, bottom], "axis"))
            (text([f64::midpoint(left, right), SIZE[1] - 5.0], "tick middle", &self.x))
            @if let Some((level, _)) = &self.level {
                (rule([left, y.place(*level), right, y.place(*level)], "level"))
            }
            @for (class, points) in &self.behind { (line(points, &format!("thin {class}"), (x, y))) }
            @for series in &self.series { (line(&series.points, &series.class, (x, y))) }
            line.cursor x1="0" x2="0" y1=(place(top)) y2=(place(bottom)) {}
        }
    }

    /// What a reader who does not see it is told.
    fn alt(&self) -> String {
        let told = |s: &Series| {
            let (first, last) = (s.points.first()?, s.points.last()?);
            let [first, last] = [first.1, last.1].map(|y| self.unit.told(y));
            Some(format!("{} from {first} to {last}", s.name))
        };
        let lines: Vec<String> = self.series.iter().take(6).filter_map(told).collect();
        format!("{}, by {}: {}", self.title, self.x, lines.join("; "))
    }

    fn numbers(&self, axis: &Axis) -> Numbers {
        let mut all: Vec<f64> = self
            .series
            .iter()
            .flat_map(|s| s.points.iter().map(|p| p.0))
            .collect();
        all.sort_by(f64::total_cmp);
        all.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        let cell = |s: &Series, x: f64| {
            let point = s.points.iter().find(|p| (p.0 - x).abs() < 1e-9);
            point.map_or(String::new(), |p| self.unit.told(p.1))
        };
        let row = |x: f64| {
            let told = match x.fract() {
                0.0 => format!("{x:.0}"),
                _ => format!("{x:.2}"),
            };
            let cells = self.series.iter().map(|s| cell(s, x));
            (
                Some(axis.place(x)),
                std::iter::once(told).chain(cells).collect(),
            )
        };
        let names = self.series.iter().map(|s| s.name.clone());
        Numbers {
            head: std::iter::once(self.x.clone()).chain(names).collect(),
            rows: all.into_iter().map(row).collect(),
        }
    }
}

/// A line, interrupted where it has no number; of a single point a dot.
fn line(points: &[(f64, f64)], class: &str, (x, y): (&Axis, &Axis)) -> Markup {
    let (mut path, mut pen) = (String::new(), 'M');
    for point in points {
        if !y.shows(point.1) {
            pen = 'M';
            continue;
        }
        path += &format!(
            "{pen}{} {}",
            place(x.place(point.0)),
            place(y.place(point.1))
        );
        pen = 'L';
    }
    let only = points.first().filter(|p| points.len() == 1 && y.shows(p.1));
    html! {
        path.(format!("line {class}")) d=(path) {}
        @if let Some(point) = only {
            circle.(format!("dot {class}")) cx=(place(x.place(point.0))) cy=(place(y.place(point.1))) r="3" {}
        }
    }
}
