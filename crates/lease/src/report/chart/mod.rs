//! Charts as SVG, made here so that they need nothing to be seen: each a figure with what it shows in words, a legend, and
//! its numbers in a table behind it.

mod axis;
mod dots;
mod heat;
mod line;
mod scatter;

use maud::{Markup, html};

pub use axis::{Unit, counted, grouped, percent, short};
pub use dots::{DotRow, Dots};
pub use heat::{Confused, Timeline};
pub use line::{LineChart, Series};
pub use scatter::Scatter;

/// The numbers behind a figure.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Names of the columns.
    pub head: Vec<String>,
    /// The rows, and where each is on the picture's x axis if it is anywhere.
    pub rows: Vec<(Option<f64>, Vec<String>)>,
}

impl Numbers {
    /// As a table.
    pub fn table(&self) -> Markup {
        html! {
            div.scroll tabindex="0" {
                table {
                    thead { tr { @for cell in &self.head { th scope="col" { (cell) } } } }
                    tbody {
                        @for (x, row) in &self.rows {
                            tr data-x=[x.map(place)] {
                                @for (place, cell) in row.iter().enumerate() {
                                    @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A picture with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is called on the page; no other is called so.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it shows, in a sentence or two.
    pub note: String,
    /// The picture.
    pub picture: Markup,
    /// Class and name of what is drawn, where there is more than one thing.
    pub legend: Vec<(String, String)>,
    /// The numbers behind it.
    pub numbers: Numbers,
    /// Whether it takes the whole width.
    pub wide: bool,
}

impl Figure {
    /// As HTML.
    pub fn markup(&self) -> Markup {
        html! {
            figure id=(self.id) .wide[self.wide] {
                figcaption {
                    h3 { (self.title) }
                    @if !self.note.is_empty() { p { (self.note) } }
                }
                @if self.legend.len() > 1 {
                    ul.legend {
                        @for (class, name) in &self.legend { li { span.(format!("key {class}")) {} (name) } }
                    }
                }
                div.plot tabindex=[self.can_be_walked().then_some("0")] { (self.picture) }
                @if !self.numbers.rows.is_empty() {
                    details { summary { "Numbers" } (self.numbers.table()) }
                }
            }
        }
    }

    /// Whether a reader can go through its numbers with the arrow keys.
    fn can_be_walked(&self) -> bool {
        self.numbers.rows.iter().any(|(x, _)| x.is_some())
    }
}

/// A place in a picture, to a tenth of a unit.
pub fn place(at: f64) -> String {
    let text = format!("{at:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}

/// An SVG of this size that says what it shows.
pub fn svg([width, height]: [f64; 2], alt: &str, inside: Markup) -> Markup {
    let view = format!("0 0 {} {}", place(width), place(height));
    html! {
        svg viewBox=(view) width=(place(width)) height=(place(height)) role="img" aria-label=(alt) { (inside) }
    }
}

/// A word of an SVG.
pub fn text([x, y]: [f64; 2], class: &str, word: &str) -> Markup {
    html! { text x=(place(x)) y=(place(y)) class=(class) { (word) } }
}

/// A straight line.
pub fn rule([x1, y1, x2, y2]: [f64; 4], class: &str) -> Markup {
    html! { line x1=(place(x1)) y1=(place(y1)) x2=(place(x2)) y2=(place(y2)) class=(class) {} }
}
