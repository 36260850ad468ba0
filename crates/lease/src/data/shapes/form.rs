//! What is drawn: the forms of objects and of distractors, as sets of points.
//!
//! All of it is sums, products, quotients and square roots, which every machine rounds in the same way: the same seed
//! draws the same pixels everywhere.

use rand_chacha::ChaCha8Rng;

use super::FILLS;
use crate::rng::{below, unit};

/// The form of an object, which is what its class says. Each lies within a circle of radius 1 around the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Square,
    Triangle,
    Star,
    Cross,
    Ring,
    Crescent,
    Heart,
    Arrow,
    Hourglass,
    Ell,
    Frame,
}

/// All shapes, in the order in which classes take them.
pub(super) const SHAPES: [(Shape, &str); 12] = [
    (Shape::Disc, "disc"),
    (Shape::Square, "square"),
    (Shape::Triangle, "triangle"),
    (Shape::Star, "star"),
    (Shape::Cross, "cross"),
    (Shape::Ring, "ring"),
    (Shape::Crescent, "crescent"),
    (Shape::Heart, "heart"),
    (Shape::Arrow, "arrow"),
    (Shape::Hourglass, "hourglass"),
    (Shape::Ell, "ell"),
    (Shape::Frame, "frame"),
];

/// A form in a plane of its own.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// An object.
    Shape(Shape),
    /// What several circles (x, y, radius) make that flow into each other.
    Blob([[f64; 3]; 4]),
    /// A part of a thin ring.
    Arc,
    /// A stroke through these points.
    Zigzag([[f64; 2]; 4]),
    /// A bar.
    Bar,
}

/// Half of the side of a square in the unit circle.
const SQUARE: f64 = std::f64::consts::FRAC_1_SQRT_2;

const TRIANGLE: [[f64; 2]; 3] = [[0.0, -1.0], [0.866_025_4, 0.5], [-0.866_025_4, 0.5]];

const STAR: [[f64; 2]; 10] = [
    [0.0, -1.0],
    [0.264_503_4, -0.364_057_6],
    [0.951_056_5, -0.309_017],
    [0.427_975_4, 0.139_057_6],
    [0.587_785_3, 0.809_017],
    [0.0, 0.45],
    [-0.587_785_3, 0.809_017],
    [-0.427_975_4, 0.139_057_6],
    [-0.951_056_5, -0.309_017],
    [-0.264_503_4, -0.364_057_6],
];

const ARROW: [[f64; 2]; 7] = [
    [-0.95, -0.22],
    [0.1, -0.22],
    [0.1, -0.72],
    [1.0, 0.0],
    [0.1, 0.72],
    [0.1, 0.22],
    [-0.95, 0.22],
];

const ELL: [[f64; 2]; 6] = [
    [-0.7, -0.7],
    [-0.2, -0.7],
    [-0.2, 0.2],
    [0.7, 0.2],
    [0.7, 0.7],
    [-0.7, 0.7],
];

impl Shape {
    /// Its area.
    pub(super) fn area(self) -> f64 {
        match self {
            Self::Disc => std::f64::consts::PI,
            Self::Square => 2.0,
            Self::Triangle => 1.299,
            Self::Star => 1.323,
            Self::Cross => 2.014,
            Self::Ring => 2.191,
            Self::Crescent => 1.393,
            Self::Heart => 2.039,
            Self::Arrow => 1.110,
            Self::Hourglass => 1.169,
            Self::Ell => 1.150,
            Self::Frame => 1.421,
        }
    }

    /// Whether a point is in it.
    pub(super) fn has(self, x: f64, y: f64) -> bool {
        let (far, wide) = (x * x + y * y, x.abs().max(y.abs()));
        match self {
            Self::Disc => far <= 1.0,
            Self::Square => wide <= SQUARE,
            Self::Triangle => within(&TRIANGLE, x, y),
            Self::Star => within(&STAR, x, y),
            Self::Cross => wide <= 0.947 && x.abs().min(y.abs()) <= 0.32,
            Self::Ring => (0.3025..=1.0).contains(&far),
            Self::Crescent => {
                let from = x - 0.5;
                far <= 1.0 && from * from + y * y >= 0.7225
            }
            Self::Heart => {
                // Upright, and within the circle.
                let (x, y) = (1.34 * x, 0.12 - 1.34 * y);
                let curve = x * x + y * y - 1.0;
                curve * curve * curve <= x * x * y * y * y
            }
            Self::Arrow => within(&ARROW, x, y),
            Self::Hourglass => y.abs() <= 0.8 && x.abs() <= 0.13 + 0.588 * y.abs(),
            Self::Ell => within(&ELL, x, y),
            Self::Frame => (0.38..=SQUARE).contains(&wide),
        }
    }
}

impl Form {
    /// The form of a distractor. None is an object's, but they have corners, curves and fills as objects do.
    pub(super) fn distractor(rng: &mut ChaCha8Rng) -> Self {
        let mut between = |low: f64, high: f64| low + (high - low) * unit(rng);
        match (between(0.0, 4.0)) as usize {
            0 => Self::Blob(
                [(); 4].map(|()| [between(-0.5, 0.5), between(-0.5, 0.5), between(0.15, 0.3)]),
            ),
            1 => Self::Arc,
            2 => Self::Zigzag([-0.85, -0.3, 0.3, 0.85].map(|x: f64| {
                // Up and down in turn.
                let side = if x == -0.85 || x == 0.3 { -1.0 } else { 1.0 };
                [x, side * between(0.15, 0.5)]
            })),
            _ => Self::Bar,
        }
    }

    /// Whether a point is in it.
    fn has(&self, x: f64, y: f64) -> bool {
        match self {
            Self::Shape(shape) => shape.has(x, y),
            Self::Blob(circles) => {
                let pull = circles.iter().map(|[a, b, radius]| {
                    let far = (x - a) * (x - a) + (y - b) * (y - b);
                    radius * radius / far.max(1e-9)
                });
                pull.sum::<f64>() >= 1.0 && x * x + y * y <= 1.0
            }
            Self::Arc => (0.45..=1.0).contains(&(x * x + y * y)) && x >= 0.15,
            Self::Zigzag(points) => points
                .windows(2)
                .any(|ends| to_segment(ends[0], ends[1], [x, y]) <= 0.0225),
            Self::Bar => x.abs() <= 0.95 && y.abs() <= 0.18,
        }
    }
}

/// Whether a point is in a polygon.
fn within(corners: &[[f64; 2]], x: f64, y: f64) -> bool {
    let mut inside = false;
    let mut last = corners[corners.len() - 1];
    for corner in corners {
        if (corner[1] > y) != (last[1] > y) {
            let crossing =
                (last[0] - corner[0]) * (y - corner[1]) / (last[1] - corner[1]) + corner[0];
            inside ^= x < crossing;
        }
        last = *corner;
    }
    inside
}

/// The squared distance of a point from a segment.
fn to_segment(from: [f64; 2], to: [f64; 2], point: [f64; 2]) -> f64 {
    let [along, towards] = [to, point].map(|p| [p[0] - from[0], p[1] - from[1]]);
    let share = (along[0] * towards[0] + along[1] * towards[1])
        / (along[0] * along[0] + along[1] * along[1]);
    let share = share.clamp(0.0, 1.0);
    let [x, y] = [0, 1].map(|i| towards[i] - share * along[i]);
    x * x + y * y
}

/// How a form is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Plain,
    Striped,
    Dotted,
    Chequered,
}

impl Fill {
    /// The fill of this number, modulo their number.
    pub(super) fn numbered(number: usize) -> Self {
        [Self::Plain, Self::Striped, Self::Dotted, Self::Chequered][number % FILLS.len()]
    }

    /// Whether a point, in units of the pattern's length, is of the second colour.
    fn second(self, x: f64, y: f64) -> bool {
        match self {
            Self::Plain => false,
            Self::Striped => fraction(x) < 0.5,
            Self::Dotted => {
                let [x, y] = [x, y].map(|v| fraction(v) - 0.5);
                x * x + y * y < 0.1
            }
            Self::Chequered => (fraction(x) < 0.5) != (fraction(y) < 0.5),
        }
    }
}

fn fraction(x: f64) -> f64 {
    x - x.floor()
}

/// A form where it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub form: Form,
    pub fill: Fill,
    /// The two colours of the fill.
    pub colours: [[f64; 3]; 2],
    /// In pixels from the upper left corner.
    pub centre: [f64; 2],
    /// Of the circle that it lies in, in pixels.
    pub radius: f64,
    /// Cosine and sine of its turn.
    pub turn: [f64; 2],
    /// Length of the fill's pattern in pixels.
    pub pattern: f64,
    /// Where the pattern begins, in its lengths.
    pub phase: [f64; 2],
}

/// Samples of a pixel along each of its sides.
const SAMPLES: usize = 4;

impl Item {
    /// The rows and columns of a square canvas in which it lies, with this margin around.
    pub(super) fn extent(&self, side: usize, margin: f64) -> [std::ops::Range<usize>; 2] {
        let reach = self.radius + margin;
        let bound = |v: f64| v.clamp(0.0, side as f64) as usize;
        [1, 0].map(|axis| {
            bound((self.centre[axis] - reach).floor())..bound((self.centre[axis] + reach).ceil())
        })
    }

    /// How much of a pixel it covers, and the mean colour of that; samples on a grid.
    pub(super) fn cover(&self, column: usize, row: usize) -> (f64, [f64; 3]) {
        let (mut hits, mut second) = (0u32, 0u32);
        let mut height = 0.0;
        for sample in 0..SAMPLES * SAMPLES {
            let at =
                |pixel: usize, part: usize| pixel as f64 + (part as f64 + 0.5) / SAMPLES as f64;
            let x = at(column, sample % SAMPLES) - self.centre[0];
            let y = at(row, sample / SAMPLES) - self.centre[1];
            let [cos, sin] = self.turn;
            let (u, v) = (cos * x + sin * y, cos * y - sin * x);
            if self.form.has(u / self.radius, v / self.radius) {
                hits += 1;
                let [a, b] = self.phase;
                second += u32::from(self.fill.second(u / self.pattern + a, v / self.pattern + b));
                height += (x + y) / self.radius;
            }
        }
        if hits == 0 {
            return (0.0, [0.0; 3]);
        }
        let (all, part) = (f64::from(hits), f64::from(second) / f64::from(hits));
        // Lit from the upper left.
        let light = 1.0 - 0.12 * height / all;
        let colour = [0, 1, 2]
            .map(|c| light * (self.colours[0][c] * (1.0 - part) + self.colours[1][c] * part));
        (all / (SAMPLES * SAMPLES) as f64, colour)
    }
}

/// A direction at random.
pub(super) fn turn(rng: &mut ChaCha8Rng) -> [f64; 2] {
    loop {
        let [x, y] = [(); 2].map(|()| 2.0 * unit(rng) - 1.0);
        let far = x * x + y * y;
        if (0.01..=1.0).contains(&far) {
            let length = far.sqrt();
            return [x / length, y / length];
        }
    }
}

/// A fill at random.
pub(super) fn any_fill(rng: &mut ChaCha8Rng) -> Fill {
    Fill::numbered(below(rng, FILLS.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_lie_in_the_unit_circle_and_have_the_areas_said() {
        for (shape, name) in SHAPES {
            let (mut hits, mut far) = (0, 0f64);
            const STEPS: i32 = 400;
            for (i, j) in (-STEPS..STEPS).flat_map(|i| (-STEPS..STEPS).map(move |j| (i, j))) {
                let [x, y] = [i, j].map(|k| 1.25 * (f64::from(k) + 0.5) / f64::from(STEPS));
                if shape.has(x, y) {
                    hits += 1;
                    far = far.max((x * x + y * y).sqrt());
                }
            }
            let area = f64::from(hits) * (1.25 / f64::from(STEPS)).powi(2);
            assert!((area - shape.area()).abs() < 0.01, "{name} {area}");
            assert!((0.9..1.005).contains(&far), "{name} reaches {far}");
        }
    }
}
