//! `lease run`: search, train what was found, and a random architecture beside it.

use std::path::Path;

use lease::Error;
use lease::training::TrainResult;

use super::search::{self, Arguments as SearchArguments};
use super::train;
use crate::Ended;
use crate::console::stop_on_interrupt;

/// Search an architecture, train it from scratch, and train a random architecture of the same space in the
/// same way beside it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    search: SearchArguments,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let Some(prepared) = search::prepare(&arguments.search)? else {
        return Ok(Ended::Well);
    };
    let (path, config, dataset) = (
        prepared.path().to_path_buf(),
        prepared.config.clone(),
        prepared.dataset.clone(),
    );
    let stop = stop_on_interrupt();
    let again = |run: &Path| format!("lease run --resume {}", run.display());
    let Some(summary) = prepared.search(&stop, again)? else {
        return Ok(Ended::Stopped);
    };
    search::report(&summary);
    let random = train::random(&config, config.search.seed);
    let mut results = Vec::new();
    for (name, folder, genotype) in [
        ("found", "train", summary.genotype),
        ("random", "train-random", random),
    ] {
        eprintln!("Training the {name} architecture from scratch.");
        let folder = path.join(folder);
        let trained = train::train(config.clone(), genotype, dataset.clone(), &folder, &stop)?;
        let Some(result) = trained else {
            eprintln!("Stopped with a checkpoint. Go on with: {}", again(&path));
            return Ok(Ended::Stopped);
        };
        results.push((name, result));
    }
    println!();
    println!("architecture   test accuracy   parameters");
    for (name, result) in &results {
        println!(
            "{name:12} {:>13.2} % {:>12}",
            100.0 * result.test_accuracy,
            result.parameters
        );
    }
    println!("{}", caution(&results));
    println!("Run folder: {}", path.display());
    println!(
        "Train longer: lease train {0} --train-epochs 100 --out {0}/train-100",
        path.display()
    );
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
