//! The program `lease`: neural architecture search that learns by explaining itself.
//!
//! One file for each subcommand; everything else is in the library.

mod commands;
mod console;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

// Passes allocate many small things on several threads, and large ones that should not go back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Neural architecture search that learns by explaining itself (LeaSE).
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Arguments),
    Search(commands::search::Arguments),
    Train(commands::train::Arguments),
    Compare(commands::compare::Arguments),
    Verify(commands::verify::Arguments),
    Bench(commands::bench::Arguments),
    Genotype(commands::genotype::Arguments),
}

/// How a command ended when nothing went wrong.
enum Ended {
    /// As it should.
    Well,
    /// What was to be checked does not hold.
    Refuted,
    /// It was asked to stop.
    Stopped,
}

fn run() -> Result<Ended, lease::Error> {
    match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Search(arguments) => commands::search::run(arguments),
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Compare(arguments) => commands::compare::run(arguments),
        Command::Verify(arguments) => commands::verify::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
        Command::Genotype(arguments) => commands::genotype::run(arguments),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Refuted) => ExitCode::FAILURE,
        // 128 + SIGINT, as shells count.
        Ok(Ended::Stopped) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
