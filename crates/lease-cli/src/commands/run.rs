//! `lease run`: search, train what was found, and a random architecture beside it.

use std::path::Path;

use lease::Error;
use lease::study::StudyConfig;
use lease::study::cell::train_in;
use lease::training::TrainResult;

use super::search::{self, Start};
use crate::Ended;
use crate::terminal::progress::Console;
use crate::terminal::{self, Level, quoted, signals};

/// Search an architecture, train it from scratch, and train a random architecture of the same space in the
/// same way beside it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    start: Start<StudyConfig>,
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
    let (config, path) = (&prepared.config, &prepared.folder);
    let random = config.random_genotype(config.search.run.seed);
    let mut results = Vec::new();
    for (name, folder, genotype) in [
        ("found", "train", summary.genotype),
        ("random", "train-random", random),
    ] {
        let told = format_args!("Training the {name} architecture from scratch.");
        terminal::say(Level::Info, told);
        let folder = path.join(folder);
        let trained = lease::device::with_threads(config.search.run.threads, || {
            let (train, mut console) = (config.train.clone(), Console::new());
            train_in(
                train,
                genotype,
                &prepared.dataset,
                &folder,
                &mut console,
                &stop,
            )
        })??;
        let Some(result) = trained else {
            let told = format!("Stopped with a checkpoint. Go on with: {}", again(path));
            terminal::say(Level::Info, told);
            return Ok(Ended::Stopped);
        };
        results.push((name, result));
    }
    terminal::result("\narchitecture   test accuracy   parameters");
    for (name, result) in &results {
        terminal::result(format_args!(
            "{name:12} {:>13.2} % {:>12}",
            100.0 * result.test_accuracy,
            result.parameters
        ));
    }
    terminal::result(caution(&results));
    terminal::result(format_args!("Run folder: {}", path.display()));
    terminal::result(format_args!(
        "Train longer: lease train {} --train-epochs 100 --out {}",
        quoted(path),
        quoted(&path.join("train-100"))
    ));
    Ok(Ended::Well)
}

/// What one training of each can and cannot show.
fn caution(results: &[(&str, TrainResult)]) -> String {
    let [(_, found), (_, random)] = results else {
        return String::new();
    };
    // The standard error of the difference of two accuracies on the same number of images.
    let variance =
        |r: &TrainResult| r.test_accuracy * (1.0 - r.test_accuracy) / r.test_images as f64;
    let error = (variance(found) + variance(random)).sqrt();
    format!(
        "Difference {:+.2} points. One training of each on {} test images: the images alone account for \
         a standard error of {:.2} points, different seeds for more.",
        100.0 * (found.test_accuracy - random.test_accuracy),
        found.test_images,
        100.0 * error
    )
}
