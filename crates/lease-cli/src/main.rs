//! The program `lease`: neural architecture search that learns by explaining itself.
//!
//! One file for each subcommand, and one room that writes to people; everything else is in the library.

mod commands;
mod faults;
mod peers;
mod settings;
mod terminal;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use terminal::Style;

// Passes allocate many small things on several threads, and large ones that should not go back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Neural architecture search that learns by explaining itself (LeaSE).
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    style: Style,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Arguments),
    Search(commands::search::Arguments),
    Train(commands::train::Arguments),
    Predict(commands::predict::Arguments),
    Test(commands::test::Arguments),
    Export(commands::export::Arguments),
    Compare(commands::compare::Arguments),
    Report(commands::report::Arguments),
    Show(commands::show::Arguments),
    Explain(commands::explain::Arguments),
    Verify(commands::verify::Arguments),
    Bench(commands::bench::Arguments),
    Data(commands::data::Arguments),
    Devices(commands::devices::Arguments),
    Genotype(commands::genotype::Arguments),
    Table(commands::table::Arguments),
}

/// How a command ended when nothing went wrong.
enum Ended {
    /// As it should.
    Well,
    /// What was to be checked does not hold.
    Refuted,
    /// Some of what was given could not be read.
    Incomplete,
    /// It was asked to stop.
    Stopped,
}

fn run(command: Command) -> Result<Ended, lease::Error> {
    match command {
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Search(arguments) => commands::search::run(arguments),
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Predict(arguments) => commands::predict::run(&arguments),
        Command::Test(arguments) => commands::test::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(arguments),
        Command::Verify(arguments) => commands::verify::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
        Command::Data(arguments) => commands::data::run(arguments),
        Command::Devices(arguments) => commands::devices::run(&arguments),
        Command::Genotype(arguments) => commands::genotype::run(arguments),
        Command::Table(arguments) => commands::table::run(arguments),
    }
}

fn main() {
    let arguments = Arguments::parse();
    terminal::set(&arguments.style);
    let code = match faults::told(|| run(arguments.command)) {
        Ok(Ended::Well) => 0,
        Ok(Ended::Refuted) => 1,
        Ok(Ended::Incomplete) => 3,
        Ok(Ended::Stopped) => terminal::signals::status(),
        Err(error) => {
            peers::failed(&error);
            1
        }
    };
    lease::collective::leave();
    terminal::end(terminal::close(code))
}
