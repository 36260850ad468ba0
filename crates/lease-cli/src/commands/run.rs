//! `lease run`: search, train what was found, and random architectures beside it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lease::Error;
use lease::report::tensorboard::Watched;
use lease::space::Genotype;
use lease::study::RunConfig;
use lease::study::baseline::Beside;
use lease::study::cell::train_together;
use lease::training::TrainResult;

use super::search::{self, Prepared, Start};
use crate::Ended;
use crate::terminal::progress::Console;
use crate::terminal::{self, Level, quoted, signals};

/// Search an architecture, train it from scratch, and train random architectures of the same space in the
/// same way beside it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    start: Start<RunConfig>,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let Some(prepared) = arguments.start.prepared()? else {
        return Ok(Ended::Well);
    };
    let stop = signals::stop_flag();
    let again = |run: &Path| format!("lease run --resume {}", quoted(run));
    let Some(summary) = prepared.search(&stop, again)? else {
        return Ok(Ended::Stopped);
    };
    search::report(&summary);
    let mut results = Vec::new();
    for (name, folder, genotype) in architectures(&prepared, summary.genotype) {
        let told = format_args!("Training from scratch: {name}.");
        terminal::say(Level::Info, told);
        let Some(result) = trained(&prepared, genotype, &folder, &stop)? else {
            let again = again(&prepared.folder);
            let told = format!("Stopped with a checkpoint. Go on with: {again}");
            terminal::say(Level::Info, told);
            return Ok(Ended::Stopped);
        };
        results.push((name, result));
    }
    report(&results, &prepared.folder);
    let wanted = prepared.config.study.search.run.report && prepared.peers.rank() == 0;
    super::report::after(&prepared.folder, wanted);
    Ok(Ended::Well)
}

/// What is trained, each by its name and in a folder of its own.
fn architectures(
    prepared: &Prepared<RunConfig>,
    found: Genotype,
) -> Vec<(String, PathBuf, Genotype)> {
    let (study, wanted) = (
        &prepared.config.study,
        prepared.config.baseline.random_architectures,
    );
    let random = study.random_genotypes(study.search.run.seed, wanted, &found, &prepared.dataset);
    if random.len() < wanted {
        let told = format_args!(
            "Only {} random architectures of the space were found that differ from the one found and from each other, and keep \
             to the budget where there is one.",
            random.len()
        );
        terminal::say(Level::Warning, told);
    }
    let mut all = vec![("found".to_string(), prepared.folder.join("train"), found)];
    all.extend(random.into_iter().zip(1..).map(|(genotype, number)| {
        let folder = prepared.folder.join(format!("train-random-{number}"));
        (format!("random {number}"), folder, genotype)
    }));
    all
}

/// Trains one of them, or goes on; nothing if it was stopped.
fn trained(
    prepared: &Prepared<RunConfig>,
    genotype: Genotype,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Option<TrainResult>, Error> {
    let study = &prepared.config.study;
    lease::device::with_threads(study.search.run.threads, || {
        let train = study.train.clone();
        let wanted = train.run.tensorboard && prepared.peers.rank() == 0;
        let mut console = Watched::new(Console::new(), wanted, &prepared.folder, folder);
        let on = (&prepared.dataset, folder);
        let peers = prepared.peers.clone();
        train_together(train, genotype, on, peers, &mut console, stop)
    })?
}

/// What came out, the one found first.
fn report(results: &[(String, TrainResult)], folder: &Path) {
    terminal::result("\narchitecture   test accuracy   parameters");
    for (name, result) in results {
        terminal::result(format_args!(
            "{name:12} {:>13.2} % {:>12}",
            100.0 * result.test_accuracy,
            result.parameters
        ));
    }
    let mut all = results.iter().map(|(_, result)| result.clone());
    if let Some(found) = all.next()
        && let Some(beside) = Beside::of(&found, &all.collect::<Vec<_>>())
    {
        terminal::result(caution(&beside, found.test_images, folder));
    }
    terminal::result(format_args!("Run folder: {}", folder.display()));
    terminal::result(format_args!(
        "Train longer: lease train {} --train-epochs 100 --out {}",
        quoted(folder),
        quoted(&folder.join("train-100"))
    ));
}

/// Where the one found stands, and what one training of each can and cannot show.
fn caution(beside: &Beside, test_images: usize, folder: &Path) -> String {
    format!(
        "Found is {}. Mean of random {:.2} %, found {:+.2} points from it.\n\
         One search and one training of each: the {test_images} test images alone account for a standard error of {:.2} \
         points,\ndifferent seeds for more.\nOver seeds: lease compare random lease --seeds 12 --config {} --out comparison",
        beside.place(),
        100.0 * beside.mean,
        100.0 * beside.difference,
        100.0 * beside.error,
        quoted(&folder.join("config.toml"))
    )
}
