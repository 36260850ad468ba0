//! `lease genotype`: read a genotype and print it in the other form.

use lease::Error;

use super::source::Source;
use crate::Ended;
use crate::terminal::{self, Level};

/// Check a genotype and print it, in the notation of its space or as JSON.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, a file (FILE:NAME for one of several), or the genotype itself
    #[arg(value_name = "RUN|GENOTYPE")]
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let genotype = Source::of(&arguments.source)?.genotype()?;
    if let Err(error) = genotype.check_paths() {
        terminal::say(Level::Warning, error);
    }
    if arguments.json {
        terminal::plain(genotype.to_json());
    } else {
        terminal::result(&genotype);
    }
    Ok(Ended::Well)
}
