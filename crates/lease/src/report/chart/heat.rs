//! Squares in rows and columns: what an edge would have chosen epoch by epoch, and what classes are taken for.

use maud::{Markup, html};

use super::{Figure, Numbers, place, svg, text};

/// The class and the word of what something was, if it was anything.
type Chosen = Option<(String, String)>;

/// What each of several things was, epoch by epoch.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The figure's name on the page.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub note: String,
    /// The epochs.
    pub epochs: Vec<u64>,
    /// Rows: name, and for each epoch class and word, if there is one.
    pub rows: Vec<(String, Vec<Chosen>)>,
    /// Class and name of what occurs.
    pub legend: Vec<(String, String)>,
}

/// Columns at most; of more epochs some are left out.
const MOST_COLUMNS: usize = 60;

impl Timeline {
    /// The figure; none if there is nothing to show.
    pub fn figure(self) -> Option<Figure> {
        if self.epochs.is_empty() || self.rows.is_empty() {
            return None;
        }
        let each = self.epochs.len().div_ceil(MOST_COLUMNS);
        // The last one always, and those before it at equal distances.
        let shown: Vec<usize> = (0..self.epochs.len()).rev().step_by(each).collect();
        let shown: Vec<usize> = shown.into_iter().rev().collect();
        let (left, right, row) = (78.0, 350.0, 17.0);
        let bottom = 6.0 + row * self.rows.len() as f64;
        let width = (right - left) / shown.len() as f64;
        let labels = [0, shown.len() - 1];
        let inside = html! {
            @for (number, (name, cells)) in self.rows.iter().enumerate() {
                @let top = 6.0 + row * number as f64;
                (text([left - 6.0, top + 12.0], "tick end", name))
                @for (column, epoch) in shown.iter().enumerate() {
                    @if let Some((class, word)) = &cells[*epoch] {
                        (square([left + width * column as f64, top, width - 1.0, row - 2.0], class,
                            &format!("{name}, epoch {}: {word}", self.epochs[*epoch])))
                    }
                }
            }
            @for (place, column) in labels.into_iter().enumerate() {
                @if place == 0 || shown.len() > 1 {
                    (text([left + width * (column as f64 + 0.5), bottom + 14.0], "tick middle", &self.epochs[shown[column]].to_string()))
                }
            }
            (text([f64::midpoint(left, right), bottom + 28.0], "tick middle", "epoch"))
        };
        let changes = |cells: &[Chosen]| {
            let pairs = cells.windows(2).filter(|pair| pair[0] != pair[1]);
            pairs.count()
        };
        let last = self.epochs.len() - 1;
        let rows = self.rows.iter().map(|(name, cells)| {
            let word = cells[last]
                .as_ref()
                .map_or("–".into(), |(_, word)| word.clone());
            (None, vec![name.clone(), word, changes(cells).to_string()])
        });
        Some(Figure {
            picture: svg([360.0, bottom + 34.0], &self.alt(), inside),
            numbers: Numbers {
                head: ["edge", "last choice", "changes"].map(String::from).into(),
                rows: rows.collect(),
            },
            id: self.id,
            title: self.title,
            note: self.note,
            legend: self.legend,
            wide: false,
        })
    }

    fn alt(&self) -> String {
        let last = self.epochs.len() - 1;
        let told = |(name, cells): &(String, Vec<Chosen>)| {
            let (_, word) = cells[last].as_ref()?;
            Some(format!("{name} {word}"))
        };
        let words: Vec<String> = self.rows.iter().filter_map(told).collect();
        format!(
            "{}, epoch by epoch; at the end {}",
            self.title,
            words.join(", ")
        )
    }
}

fn square([x, y, width, height]: [f64; 4], class: &str, told: &str) -> Markup {
    html! {
        rect.(format!("op {class}")) x=(place(x)) y=(place(y)) width=(place(width.max(0.5))) height=(place(height)) {
            title { (told) }
        }
    }
}

/// A confusion matrix.
#[derive(Clone, Debug)]
pub struct Confused<'a> {
    /// The figure's name on the page.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The classes' names.
    pub classes: &'a [String],
    /// Of each class (row) how many were taken for each class (column).
    pub matrix: &'a [Vec<u64>],
}

impl Confused<'_> {
    /// The figure.
    pub fn figure(self) -> Figure {
        let n = self.matrix.len();
        let name = |class: usize| {
            self.classes
                .get(class)
                .cloned()
                .unwrap_or_else(|| class.to_string())
        };
        let short = |class: usize| -> String { name(class).chars().take(10).collect() };
        let (left, top) = (72.0, 8.0);
        let side = 278.0 / n as f64;
        let words = side >= 15.0;
        let sums: Vec<u64> = self.matrix.iter().map(|row| row.iter().sum()).collect();
        let bottom = top + side * n as f64;
        let inside = html! {
            @for (truth, row) in self.matrix.iter().enumerate() {
                @let y = top + side * truth as f64;
                @if words { (text([left - 6.0, y + side / 2.0 + 3.8], "tick end", &short(truth))) }
                @for (taken, count) in row.iter().enumerate() {
                    @let share = *count as f64 / sums[truth].max(1) as f64;
                    @let class = if truth == taken { "right" } else { "wrong" };
                    // Mistakes are coloured more strongly, so that few of them are seen.
                    @let dark = share > if truth == taken { 0.5 } else { 0.25 };
                    @let x = left + side * taken as f64;
                    rect.(format!("confusion {class}")) x=(place(x)) y=(place(y)) width=(place(side - 1.0))
                        height=(place(side - 1.0)) style=(format!("--share:{share:.3}")) {
                        title { (name(truth)) " taken for " (name(taken)) ": " (count) " of " (sums[truth]) }
                    }
                    @if side >= 24.0 && *count > 0 {
                        (text([x + side / 2.0 - 0.5, y + side / 2.0 + 3.5],
                            if dark { "count on" } else { "count" }, &count.to_string()))
                    }
                }
            }
            (text([left + 139.0, bottom + 16.0], "tick middle", "predicted, in the same order"))
        };
        let told = |class: usize| {
            let right = self.matrix[class][class];
            let share = 100.0 * right as f64 / sums[class].max(1) as f64;
            let other = (0..n)
                .filter(|c| *c != class)
                .max_by_key(|c| self.matrix[class][*c]);
            let other = other.filter(|c| self.matrix[class][*c] > 0);
            let other = other.map_or("–".into(), |c| {
                format!("{} ({})", name(c), self.matrix[class][c])
            });
            vec![
                name(class),
                sums[class].to_string(),
                format!("{share:.1} %"),
                other,
            ]
        };
        Figure {
            picture: svg([360.0, bottom + 24.0], &self.alt(&sums), inside),
            numbers: Numbers {
                head: ["class", "images", "correct", "most taken for"].map(String::from).into(),
                rows: (0..n).map(|class| (None, told(class))).collect(),
            },
            id: self.id,
            title: self.title,
            note: "Rows are the true classes, columns what was predicted; the stronger the colour, the larger the share of the row.".into(),
            legend: Vec::new(),
            wide: false,
        }
    }

    fn alt(&self, sums: &[u64]) -> String {
        let all: u64 = sums.iter().sum();
        let right: u64 = (0..sums.len()).map(|class| self.matrix[class][class]).sum();
        format!(
            "{}: {right} of {all} test images are on the diagonal",
            self.title
        )
    }
}
