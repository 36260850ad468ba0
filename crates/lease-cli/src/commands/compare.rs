//! `lease compare`: methods × seeds, resumable, by several processes, with honest statistics.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use lease::Error;
use lease::study::ComparisonConfig;
use lease::study::cell::{Cell, collect};
use lease::study::grid::Grid;
use lease::study::plan::{Comparison, Images, Share};
use lease::study::variant::Variant;
use lease::study::{tables, work};

use crate::Ended;
use crate::settings::Settings;
use crate::terminal::cells::Cells;
use crate::terminal::{self, Level, reading, signals};

/// Compare methods over seeds. The same command goes on where it was interrupted, and adds methods and seeds to
/// a comparison that is there.
///
/// Without a table of true accuracies every architecture found is trained from scratch, which takes far longer
/// than the search.
#[derive(clap::Args)]
pub struct Arguments {
    /// The methods, the first being what the others are compared with: lease, darts, darts-first, random (one
    /// architecture drawn uniformly), random-search (the best of --random-draws after short trainings), or
    /// NAME:SETTING=VALUE,SETTING=VALUE,… with any settings, such as strong:gamma=10,gamma-scale=relative, and with
    /// method=random or method=random-search, such as more:method=random-search,random-draws=30
    #[arg(value_name = "METHOD", required = true)]
    methods: Vec<String>,
    /// Every method with every combination of these settings' values, such as "gamma=0.3,1;epsilon=0.03,0.1": lease
    /// becomes lease-gamma-0.3-epsilon-0.03 and so on. A setting that a method does not read is left out there
    #[arg(long, value_name = "SETTING=VALUE,…;…")]
    grid: Option<String>,
    /// Seeds 0 to N − 1
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// The comparison's folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Cells, each a method with a seed, at a time; 0 means one for each core. Where there are several, each has
    /// one thread, unless --threads says otherwise
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1_024))]
    jobs: u64,
    /// Do every N-th cell alone, from the I-th: for N processes, on one machine or several, with one folder
    #[arg(long, value_name = "I/N")]
    share: Option<Share>,
    /// Only make the tables of the cells that are done
    #[arg(long, conflicts_with_all = ["share", "jobs"])]
    collect: bool,
    /// The method that the others are compared with, instead of the first
    #[arg(long, value_name = "METHOD")]
    against: Option<String>,
    #[command(flatten)]
    settings: Settings<ComparisonConfig>,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let variants = variants(&arguments)?;
    let against = against(&arguments, &variants)?;
    let jobs = match arguments.jobs {
        0 => available_parallelism().map_or(1, NonZero::get),
        jobs => jobs as usize,
    };
    let comparison = Comparison {
        variants: &variants,
        seeds: arguments.seeds,
        folder: &arguments.out,
        file: arguments.settings.file.as_deref(),
        flags: &arguments.settings.flags,
        single: arguments.jobs != 1,
    };
    let cells = comparison.cells()?;
    if !arguments.collect && !work_on(&arguments, &cells, jobs)? {
        return Ok(Ended::Stopped);
    }
    let missing: Vec<&Cell> = cells.iter().filter(|cell| !cell.is_done()).collect();
    let done = format!(
        "{} of {} cells are done",
        cells.len() - missing.len(),
        cells.len()
    );
    let wanted = cells.iter().any(|cell| cell.config.study.search.run.report);
    if missing.is_empty() {
        report(&arguments, &variants, against)?;
        super::report::after(&arguments.out, wanted);
    } else if !arguments.collect {
        let told = format!("{done}. Once all are, this makes the tables: {}", again());
        terminal::say(Level::Info, told);
    } else if missing.len() == cells.len() {
        let told = format!(
            "no cell of this comparison is done in {}",
            arguments.out.display()
        );
        return Err(Error::Usage(told));
    } else {
        report(&arguments, &variants, against)?;
        super::report::after(&arguments.out, wanted);
        let told = format!("only {done}; missing are {}", work::told(&missing));
        terminal::say(Level::Warning, told);
    }
    Ok(Ended::Well)
}

/// The methods, by the grid where there is one.
fn variants(arguments: &Arguments) -> Result<Vec<Variant>, Error> {
    let methods = Variant::parse_all(&arguments.methods)?;
    let Some(grid) = &arguments.grid else {
        return Ok(methods);
    };
    let settings = &arguments.settings;
    let made = Grid::parse(grid)?.expand(&methods, settings.file.as_deref(), &settings.flags)?;
    for note in made.notes {
        terminal::say(Level::Info, note);
    }
    Ok(made.variants)
}

/// The method that the others are compared with.
fn against<'a>(arguments: &Arguments, variants: &'a [Variant]) -> Result<&'a str, Error> {
    let Some(wanted) = &arguments.against else {
        return Ok(&variants[0].name);
    };
    let named = variants.iter().find(|variant| variant.name == *wanted);
    named.map(|variant| variant.name.as_str()).ok_or_else(|| {
        let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
        let names = names.join(", ");
        Error::Usage(format!("--against {wanted} is none of the methods {names}"))
    })
}

/// Does those cells of this process's share that are not done, some at a time; whether it was not stopped.
fn work_on(arguments: &Arguments, cells: &[Cell], jobs: usize) -> Result<bool, Error> {
    let mut wanted = match arguments.share {
        Some(share) => share.of(cells),
        None => cells.iter().collect(),
    };
    wanted.retain(|cell| !cell.is_done());
    let images = Images::of(&wanted, jobs, &reading::Reading::new())?;
    let stop = signals::stop_flag();
    let watch = Cells::new(cells.len(), wanted.len(), jobs);
    let outcome = work::run(&wanted, &images, jobs, &watch, &stop);
    if outcome.stopped {
        let told =
            "Stopped with a checkpoint of each cell that was begun. The same command goes on.";
        terminal::say(Level::Info, told);
        return Ok(false);
    }
    Error::all(outcome.errors)?;
    Ok(true)
}

/// Makes the tables of the cells that are done.
fn report(arguments: &Arguments, variants: &[Variant], against: &str) -> Result<(), Error> {
    let found = collect(&arguments.out, variants)?;
    terminal::result(tables::write(&arguments.out, &found, against)?);
    terminal::result(format_args!(
        "Folder: {} (comparison.md, .csv, .json)",
        arguments.out.display()
    ));
    Ok(())
}

/// The command that only makes the tables.
fn again() -> String {
    let mut words = vec!["lease".to_string()];
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let flag = word.split('=').next();
        match flag.filter(|flag| ["--share", "--jobs"].contains(flag)) {
            Some(flag) if flag == word => _ = given.next(),
            Some(_) => {}
            None => words.push(terminal::quoted(word.as_ref())),
        }
    }
    words.push("--collect".into());
    words.join(" ")
}
