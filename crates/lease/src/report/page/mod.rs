//! The page: one file that asks nothing of anybody.

mod comparison;
mod gallery;
mod learning;
mod overlaid;
mod parts;
mod run;
mod supernet;
mod training;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::Figure;
use super::read::Subject;

/// What each page has at its end, before the version.
pub const WRITTEN_BY: &str = "Written by lease ";

/// What is on a page.
pub struct Content {
    /// Of the browser's window, and the first heading.
    pub title: String,
    /// What stands above the heading.
    pub kind: &'static str,
    /// How far it is.
    pub state: String,
    /// Whether it is finished.
    pub finished: bool,
    /// What it is, in few words each.
    pub facts: Vec<String>,
    /// What was found.
    pub finding: [String; 2],
    /// Single numbers: what, how much, and a remark.
    pub tiles: Vec<Tile>,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A single number.
pub struct Tile {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: String,
    /// A remark.
    pub remark: String,
}

/// A part of the page.
pub struct Section {
    /// What it is called in addresses.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What is in it.
    pub body: Markup,
}

impl Section {
    /// A section with these figures below some words; none without a figure.
    pub fn of(
        id: &'static str,
        title: &'static str,
        lead: &str,
        figures: Vec<Figure>,
    ) -> Option<Self> {
        if figures.is_empty() {
            return None;
        }
        let body = html! {
            @if !lead.is_empty() { p.lead { (lead) } }
            div.grid .few[figures.len() < 3] { @for figure in &figures { (figure.markup()) } }
        };
        Some(Self { id, title, body })
    }
}

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page about a folder; `version` is what a page that is served asks about to know whether there is something new.
pub fn page(subject: &Subject, version: Option<&str>) -> String {
    let content = match subject {
        Subject::Run(run) => run::content(run),
        Subject::Training(training) => training::content(training),
        Subject::Comparison(comparison) => comparison::content(comparison),
    };
    document(&content, version).into_string()
}

fn document(content: &Content, version: Option<&str>) -> Markup {
    // Nothing may be fetched; a page that is served asks its own server for news.
    let connect = if version.is_some() {
        "'self'"
    } else {
        "'none'"
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'"
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("lease ", env!("CARGO_PKG_VERSION")));
                title { (content.title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body data-version=[version] {
                a.skip href="#finding" { "To the finding" }
                (header(content))
                main id="content" {
                    (finding(content))
                    @for section in &content.sections {
                        section id=(section.id) aria-labelledby=(format!("{}-title", section.id)) {
                            h2 id=(format!("{}-title", section.id)) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { p { (WRITTEN_BY) (env!("CARGO_PKG_VERSION")) ". Everything on this page is in this one file." } }
                div.tip role="status" aria-live="polite" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn header(content: &Content) -> Markup {
    html! {
        header {
            p.kind {
                (content.kind)
                span.state .done[content.finished] { (content.state) }
            }
            h1 { (content.title) }
            ul.facts { @for fact in &content.facts { li { (fact) } } }
            nav aria-label="Parts of this page" {
                ul { @for section in &content.sections { li { a href=(format!("#{}", section.id)) { (section.title) } } } }
            }
        }
    }
}

fn finding(content: &Content) -> Markup {
    let [what, caution] = &content.finding;
    html! {
        section id="finding" aria-label="What was found" {
            p.what { (what) }
            p.caution { (caution) }
            dl.tiles {
                @for tile in &content.tiles {
                    div { dt { (tile.name) } dd { strong { (tile.value) } @if !tile.remark.is_empty() { span { (tile.remark) } } } }
                }
            }
        }
    }
}
