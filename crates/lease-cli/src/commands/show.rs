//! `lease show`: a run, a training or a comparison on a terminal.

use std::path::PathBuf;

use lease::Error;
use lease::report;

use crate::Ended;
use crate::terminal;

/// Show what a run, a training or a comparison has found, or where it stands, on the terminal: its cells as drawings in
/// characters, and its last measures with how they came about.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of a run, a search, a training or a comparison, finished or not
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Characters of a line [default: the terminal's, or 80]
    #[arg(long, value_name = "N")]
    width: Option<usize>,
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let width = arguments.width.unwrap_or_else(terminal::width);
    terminal::plain(report::show(&arguments.folder, width)?);
    Ok(Ended::Well)
}
