//! `lease data`: data sets made, fetched and looked at.

mod check;
mod fetch;
mod shapes;

use lease::Error;

use crate::Ended;

/// Make, fetch and look at data sets.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Check(check::Arguments),
    Fetch(fetch::Arguments),
    Shapes(shapes::Arguments),
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    match arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Fetch(arguments) => fetch::run(arguments),
        Command::Shapes(arguments) => shapes::run(&arguments),
    }
}
