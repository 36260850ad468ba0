//! What was found, in two sentences with no more certainty than the numbers have.

use super::chart::{counted, grouped, percent};
use super::read::{ComparisonData, RunData, TrainingData, images};
use crate::space::nas_bench_201::Cell;
use crate::statistics::{FEW, share_variance};
use crate::study::baseline::Beside;
use crate::study::compare::{differences, summaries};

/// A difference of more than so many standard errors is more than the test images alone explain.
const ERRORS: f64 = 2.0;

/// Test images below which their standard error, which takes numbers of right answers to be distributed normally, is not to be
/// relied on.
const FEW_IMAGES: usize = 30;

/// The words, where there are any, or what else there is to say.
fn or(value: Option<String>, else_: &str) -> String {
    value.unwrap_or_else(|| else_.into())
}

/// What a search's method is called.
pub fn method(run: &RunData) -> String {
    match run.setting("method", "method").as_deref() {
        Some("lease") => "LeaSE".into(),
        Some("darts") => "DARTS".into(),
        Some("darts-first") => "first-order DARTS".into(),
        Some(other) => other.into(),
        None => "the search".into(),
    }
}

/// What a search found.
pub fn of_run(run: &RunData) -> [String; 2] {
    let method = method(run);
    let data = or(images(&run.about, &run.config.1), "these images");
    let method = match run.candidates.len() {
        0 => method,
        n => format!("{method}, choosing among its {n} likeliest by short trainings,"),
    };
    if run.genotype.is_none() {
        return unfinished(run, &method, &data);
    }
    let found = run.trainings.iter().find(|t| t.name == "found");
    let Some(accuracy) = found.and_then(TrainingData::accuracy) else {
        let known = standing(run);
        let rest = "Nothing was trained from scratch yet, and the supernet's own accuracy says little about what its cell is worth.";
        let what = format!("The search by {method} on {data} has ended with the cell below.");
        return [what, known.unwrap_or_else(|| rest.into())];
    };
    let result = found.and_then(TrainingData::finished);
    let (images, epochs) = result
        .as_ref()
        .map_or((0, 0), |r| (r.test_images, r.epochs));
    let what = format!(
        "The cell that {method} found, trained from scratch for {}, is right on {} of the {} of {data}.",
        counted(epochs, "epoch"),
        percent(accuracy),
        counted(images, "test image")
    );
    let caution = beside(run).map(|(beside, random)| caution(&beside, random, images));
    let known = standing(run);
    let alone = "No random architecture of the same space was trained beside it, so whether searching helped is open.";
    [what, caution.or(known).unwrap_or_else(|| alone.into())]
}

/// Where what was found stands among random architectures that are done, and how many these are.
pub fn beside(run: &RunData) -> Option<(Beside, usize)> {
    let found = run
        .trainings
        .iter()
        .find(|t| t.name == "found")?
        .finished()?;
    let random = run
        .trainings
        .iter()
        .filter(|t| t.name.starts_with("random"));
    let random: Vec<_> = random.filter_map(TrainingData::finished).collect();
    Some((Beside::of(&found, &random)?, random.len()))
}

/// What a difference from random architectures can and cannot show.
fn caution(beside: &Beside, random: usize, images: usize) -> String {
    let worse = random - beside.better - beside.equal;
    let equal = match beside.equal {
        0 => String::new(),
        n => format!(", as good as {n}"),
    };
    let side = if beside.difference < 0.0 {
        "below"
    } else {
        "above"
    };
    let said = match beside.difference.abs() > ERRORS * beside.error {
        _ if images < FEW_IMAGES => {
            "so few test images cannot tell the method from chance, whatever the difference"
        }
        true => {
            "more than the choice of test images explains, but with one search and one training of each it is a hint, not a proof"
        }
        false => {
            "within what the choice of test images alone explains, so this run does not tell the method from chance"
        }
    };
    format!(
        "It is better than {worse} of {random} random architectures of the space{equal}, {:.1} points {side} their mean of {}: {said} \
         (standard error {:.1} points on {}).",
        100.0 * beside.difference.abs(),
        percent(beside.mean),
        100.0 * beside.error,
        counted(images, "image")
    )
}

/// What a table says of the result.
fn standing(run: &RunData) -> Option<String> {
    let s = run.standing()?;
    Some(format!(
        "The benchmark's table gives it {:.2} % on CIFAR-10's test images, rank {} of {}, {:.2} points below the best; one seed \
         says little about the method.",
        s.truth.cifar10_test,
        grouped(s.rank as i64),
        grouped(Cell::COUNT as i64),
        s.regret
    ))
}

fn unfinished(run: &RunData, method: &str, data: &str) -> [String; 2] {
    let done = run.measures.epochs.len();
    let done = match run.epochs_wanted() {
        Some(all) => format!("{done} of {}", counted(all as usize, "epoch")),
        None => counted(done, "epoch"),
    };
    let accuracy = run.measures.last("explainer_val_accuracy");
    let accuracy = accuracy.map_or("nothing was measured yet".into(), |a| {
        format!(
            "the supernet is right on {} of its validation images",
            percent(a)
        )
    });
    [
        format!("The search by {method} on {data} has done {done}; {accuracy}."),
        "What is shown is where it stands; the choice may still change.".into(),
    ]
}

/// What a training found.
pub fn of_training(training: &TrainingData) -> [String; 2] {
    let Some(result) = training.finished() else {
        let done = training.measures.epochs.len();
        let accuracy = training
            .measures
            .last("accuracy")
            .map_or(String::new(), |a| {
                format!(
                    ", the last with {} of its images right as it trained on them",
                    percent(a)
                )
            });
        return [
            format!(
                "The training has done {}{accuracy}.",
                counted(done, "epoch")
            ),
            "The test images are read once, at its end.".into(),
        ];
    };
    let error = share_variance(result.test_accuracy, result.test_images).sqrt();
    [
        format!(
            "After {} the network of {} parameters is right on {} of {}.",
            counted(result.epochs, "epoch"),
            grouped(result.parameters as i64),
            percent(result.test_accuracy),
            counted(result.test_images, "test image")
        ),
        format!(
            "The number of test images alone makes a standard error of {:.1} points; other seeds add to it.",
            100.0 * error
        ),
    ]
}

/// What a comparison found.
pub fn of_comparison(comparison: &ComparisonData) -> [String; 2] {
    let found = comparison.found();
    let (done, all) = (found.len(), comparison.runs.len());
    let mut methods = summaries(&found);
    methods.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    let Some(best) = methods.first() else {
        return [
            format!("None of the {all} cells that were begun is done."),
            "There is nothing to compare yet.".into(),
        ];
    };
    let deviation = best
        .deviation
        .map_or(String::new(), |d| format!("\u{a0}±\u{a0}{d:.2}"));
    let missing = match all - done {
        0 => String::new(),
        n => format!(" {n} cells that were begun are not done."),
    };
    let what = format!(
        "Of {} methods {} has the highest mean accuracy, {:.2}{deviation} % over {}.{missing}",
        methods.len(),
        best.method,
        best.mean,
        counted(best.seeds, "seed")
    );
    [what, told_apart(comparison)]
}

/// Which methods differ from the one that all are compared with.
fn told_apart(comparison: &ComparisonData) -> String {
    let against = &comparison.against;
    let all = differences(&comparison.found(), against);
    if all.is_empty() {
        return "There is nothing to compare it with.".into();
    }
    let apart: Vec<String> = all
        .iter()
        .filter(|d| {
            d.interval
                .is_some_and(|[low, high]| low > 0.0 || high < 0.0)
        })
        .map(|d| format!("{} by {} points", d.method, signed(d.mean)))
        .collect();
    let seeds = all.iter().map(|d| d.seeds).min().unwrap_or(0);
    let few = match seeds < FEW {
        true => " With so few seeds intervals are too narrow: take this as a hint.",
        false => "",
    };
    match apart.len() {
        0 => format!(
            "Paired by seed, none of the others is told apart from {against}: every 95 % interval of a difference has 0 in it.{few}"
        ),
        n => format!(
            "Paired by seed, {n} of {} differ from {against} by more than the noise of these seeds: {}.{few}",
            all.len(),
            apart.join(", ")
        ),
    }
}

fn signed(value: f64) -> String {
    match value < 0.0 {
        true => format!("−{:.2}", -value),
        false => format!("+{value:.2}"),
    }
}
