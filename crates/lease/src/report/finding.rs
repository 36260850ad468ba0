//! What was found, in two sentences with no more certainty than the numbers have.

use super::chart::{grouped, percent};
use super::read::{ComparisonData, RunData, TrainingData};
use crate::space::nas_bench_201::Cell;
use crate::study::baseline::Beside;
use crate::study::compare::{differences, summaries};

/// A difference of more than so many standard errors is more than the test images alone explain.
const ERRORS: f64 = 2.0;

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
    let data = run.about["dataset"].as_str().map(str::to_string);
    let data = or(
        data.or_else(|| run.setting("data", "dataset")),
        "these images",
    );
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
        "The cell that {method} found, trained from scratch for {epochs} epochs, is right on {} of the {} test images of {data}.",
        percent(accuracy),
        grouped(images as i64)
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
        true => {
            "more than the choice of test images explains, but with one search and one training of each it is a hint, not a proof"
        }
        false => {
            "within what the choice of test images alone explains, so this run does not tell the method from chance"
        }
    };
    format!(
        "It is better than {worse} of {random} random architectures of the space{equal}, {:.1} points {side} their mean of {}: {said} \
         (standard error {:.1} points on {} images).",
        100.0 * beside.difference.abs(),
        percent(beside.mean),
        100.0 * beside.error,
        grouped(images as i64)
    )
}

/// What a table says of the result.
fn standing(run: &RunData) -> Option<String> {
    let last = run.standings();
    let (_, s) = last.last()?;
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
    let of = run
        .epochs_wanted()
        .map_or(String::new(), |all| format!(" of {all}"));
    let accuracy = run.measures.last("explainer_val_accuracy");
    let accuracy = accuracy.map_or("nothing was measured yet".into(), |a| {
        format!(
            "the supernet is right on {} of its validation images",
            percent(a)
        )
    });
    [
        format!("The search by {method} on {data} has done {done}{of} epochs; {accuracy}."),
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
            format!("The training has done {done} epochs{accuracy}."),
            "The test images are read once, at its end.".into(),
        ];
    };
    let error = (result.test_accuracy * (1.0 - result.test_accuracy)
        / result.test_images.max(1) as f64)
        .sqrt();
    [
        format!(
            "After {} epochs the network of {} parameters is right on {} of {} test images.",
            result.epochs,
            grouped(result.parameters as i64),
            percent(result.test_accuracy),
            grouped(result.test_images as i64)
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
        "Of {} methods {} has the highest mean accuracy, {:.2}{deviation} % over {} seeds.{missing}",
        methods.len(),
        best.method,
        best.mean,
        best.seeds
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
    let few = match seeds {
        0..8 => " With so few seeds intervals are too narrow: take this as a hint.",
        _ => "",
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
