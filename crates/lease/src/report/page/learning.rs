//! How a search went: charts over its epochs.

use super::Section;
use super::parts::legend;
use crate::report::chart::{Figure, LineChart, Series, Timeline, Unit};
use crate::report::graph::{class, spoken};
use crate::report::read::{Measures, RunData};
use crate::space::CellGraph;

const EPOCH: &str = "epoch";

/// A chart of some quantities that are recorded after each epoch or step: key, name, class, and whether by epoch.
fn chart(
    m: &Measures,
    (id, title, note): (&str, &str, &str),
    unit: Unit,
    lines: &[(&str, &str, &str, bool)],
) -> LineChart {
    let series = lines.iter().map(|(key, name, class, epochs)| {
        let points = if *epochs {
            m.by_epoch(key)
        } else {
            m.by_step(key)
        };
        Series::new(*name, class, points)
    });
    LineChart {
        id: id.into(),
        title: title.into(),
        note: note.into(),
        x: EPOCH.into(),
        unit,
        series: series.collect(),
        ..LineChart::default()
    }
}

/// Losses and accuracies of both networks.
pub fn learning(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let classes = run.about["classes"]
        .as_array()
        .map(Vec::len)
        .filter(|n| *n > 0);
    let chance = classes.map(|n| (1.0 / n as f64, "chance".to_string()));
    let accuracy = |id, title, note, lines: &[_]| LineChart {
        reach: vec![0.0, 1.0],
        level: chance.clone(),
        ..chart(m, (id, title, note), Unit::Percent, lines)
    };
    let all = [
        accuracy(
            "explainer-accuracy",
            "Accuracy of the explainer",
            "On validation images the supernet is asked as a whole.",
            &[
                (
                    "explainer_train_accuracy",
                    "training",
                    "explainer dashed",
                    true,
                ),
                ("explainer_val_accuracy", "validation", "explainer", true),
                ("discrete_accuracy", "its choice alone", "s3", true),
            ],
        ),
        accuracy(
            "audience-accuracy",
            "Accuracy of the audience",
            "Training images are weighted by the explanations, validation images are as they are.",
            &[
                (
                    "audience_train_accuracy",
                    "training",
                    "audience dashed",
                    true,
                ),
                ("audience_val_accuracy", "validation", "audience", true),
            ],
        ),
        chart(
            m,
            ("explainer-loss", "Loss of the explainer", ""),
            Unit::Plain,
            &[
                (
                    "explainer_train_loss",
                    "training",
                    "explainer dashed",
                    false,
                ),
                (
                    "explainer_val_loss",
                    "validation, unrolled",
                    "explainer",
                    false,
                ),
            ],
        ),
        chart(
            m,
            ("audience-loss", "Loss of the audience", ""),
            Unit::Plain,
            &[
                ("audience_train_loss", "training", "audience dashed", false),
                (
                    "audience_val_loss",
                    "validation, unrolled",
                    "audience",
                    false,
                ),
            ],
        ),
    ];
    let lead = "Dashed is what the network was trained on, solid what it was not.";
    Section::of(
        "learning",
        "Learning",
        lead,
        all.into_iter().filter_map(LineChart::figure).collect(),
    )
}

/// What the audience has to say, and what it is told.
pub fn audience(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let relevant = m
        .last("relevant_pixels")
        .map(|share| (share, "their share of all pixels".to_string()));
    let ratio = m.of_steps(|line| {
        let norm = |key: &str| line[key].as_f64();
        Some(norm("gamma")? * norm("audience_term_norm")? / norm("explainer_term_norm")?)
    });
    let share = LineChart {
        series: vec![Series::new(
            "γ · audience over explainer",
            "audience",
            ratio,
        )],
        ..chart(
            m,
            (
                "terms-ratio",
                "The audience's say",
                "The norm of γ times its term over that of the explainer's: at 1 both say as much.",
            ),
            Unit::Log,
            &[],
        )
    };
    let all = [
        chart(
            m,
            (
                "terms",
                "Norms of the two terms",
                "Parts of the architecture's gradient, γ left out.",
            ),
            Unit::Log,
            &[
                ("explainer_term_norm", "explainer", "explainer", false),
                ("audience_term_norm", "audience", "audience", false),
            ],
        ),
        share,
        LineChart {
            reach: vec![0.0],
            ..chart(
                m,
                (
                    "epsilon",
                    "Share of |δ| at ε",
                    "Near 0 the explanation is still its random start, near 1 only signs are left.",
                ),
                Unit::Percent,
                &[("share_at_epsilon", "share at ε", "s2", false)],
            )
        },
        LineChart {
            level: relevant,
            reach: vec![0.0],
            ..chart(
                m,
                (
                    "relevant",
                    "Share of |δ| on pixels that matter",
                    "Which pixels matter is known for these images; an explanation that knows nothing has their share of all pixels.",
                ),
                Unit::Percent,
                &[("delta_on_relevant", "share of |δ|", "s2", false)],
            )
        },
        chart(
            m,
            (
                "attack",
                "What the attack reaches",
                "The cross-entropy of perturbed against clean predictions before the last step, summed over a batch.",
            ),
            Unit::Plain,
            &[("attack_objective", "J", "s2", false)],
        ),
    ];
    let all: Vec<Figure> = all.into_iter().filter_map(LineChart::figure).collect();
    Section::of(
        "audience",
        "The audience",
        "What it is told, and what its term adds to the architecture's gradient.",
        all,
    )
}

/// Entropy, choices, and what safeguards watch.
pub fn choice(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let mut all: Vec<Figure> = Vec::new();
    all.extend(entropy(m));
    let choices = run.choices();
    let kinds = choices.last().map_or(0, |(_, graphs)| graphs.len());
    all.extend((0..kinds).filter_map(|kind| timeline(&choices, kind)));
    all.extend(standing(run));
    let more = [
        chart(
            m,
            (
                "skips",
                "Skip-connects of the choice",
                "Searches that collapse end in skip-connects.",
            ),
            Unit::Count,
            &[("skip_connects", "in the normal cell", "s4", true)],
        ),
        LineChart {
            reach: vec![0.0, 1.0],
            ..chart(
                m,
                (
                    "free",
                    "Operations without weights",
                    "Their share of the choice.",
                ),
                Unit::Percent,
                &[("parameter_free_share", "share", "s4", true)],
            )
        },
        chart(
            m,
            (
                "gap",
                "Accuracy gap",
                "The explainer's training accuracy less its validation accuracy.",
            ),
            Unit::Percent,
            &[("accuracy_gap", "gap", "s4", true)],
        ),
        chart(
            m,
            (
                "eigenvalue",
                "Dominant eigenvalue of ∇²L",
                "Of the validation loss with respect to the architecture: where it grows, the choice is fragile.",
            ),
            Unit::Plain,
            &[("eigenvalue", "eigenvalue", "s4", true)],
        ),
        chart(
            m,
            ("frozen", "Candidates that train no more", ""),
            Unit::Count,
            &[("frozen_operations", "frozen", "s4", true)],
        ),
        chart(
            m,
            ("gradient", "Norm of the architecture's gradient", ""),
            Unit::Log,
            &[
                ("architecture_gradient_norm", "both terms", "s1", false),
                ("regulariser_norm", "regularisers", "s4 dashed", false),
            ],
        ),
        chart(
            m,
            (
                "agreement",
                "Agreement of the layers",
                "How well cells agree on the architecture, from −1 to 1.",
            ),
            Unit::Plain,
            &[("agreement", "agreement", "s4", false)],
        ),
    ];
    all.extend(more.into_iter().filter_map(LineChart::figure));
    Section::of(
        "choice",
        "The choice",
        "What would have been derived after each epoch, and what warns of a search that goes wrong.",
        all,
    )
}

fn entropy(m: &Measures) -> Option<Figure> {
    let classes = ["s1", "s2", "s3"];
    let series = m.named("entropy").into_iter().zip(classes.iter().cycle());
    LineChart {
        series: series.map(|((name, points), class)| Series::new(name, class, points)).collect(),
        ..chart(m, ("entropy", "Entropy of the mixtures", "In nats, a mean over edges: the logarithm of the number of candidates while nothing is decided, 0 when every edge has one."), Unit::Plain, &[])
    }
    .figure()
}

/// What each edge of a kind of cell would have been, epoch by epoch.
fn timeline(choices: &[(u64, Vec<CellGraph>)], kind: usize) -> Option<Figure> {
    let last = choices.last()?.1.get(kind)?;
    let mut occurring: Vec<&'static str> = Vec::new();
    let mut rows = Vec::new();
    for (from, to) in &last.mixed {
        let cells: Vec<Option<(String, String)>> = choices
            .iter()
            .map(|(_, graphs)| {
                let edges = &graphs.get(kind)?.edges;
                let edge = edges.iter().find(|e| (e.from, e.to) == (*from, *to))?;
                if !occurring.contains(&edge.operation) {
                    occurring.push(edge.operation);
                }
                Some((class(edge.operation), spoken(edge.operation)))
            })
            .collect();
        let name = |state| {
            last.name(state)
                .replace("c_{k-2}", "k−2")
                .replace("c_{k-1}", "k−1")
        };
        rows.push((format!("{} → {}", name(*from), name(*to)), cells));
    }
    let (title, id) = match last.kind {
        "cell" => ("Choices of the edges".to_string(), "choices".to_string()),
        kind => (
            format!("Choices in the {kind} cell"),
            format!("choices-{kind}"),
        ),
    };
    Timeline {
        id,
        title,
        note: "A row for each edge, a square for each epoch in which it would have been kept."
            .into(),
        epochs: choices.iter().map(|(epoch, _)| *epoch).collect(),
        rows,
        legend: legend(&occurring),
    }
    .figure()
}

/// What a table says of the choice after each epoch.
fn standing(run: &RunData) -> Option<Figure> {
    let standings = run.standings();
    let of = |name: &str, class: &str, value: fn(&crate::space::Standing) -> f64| {
        let points = standings.iter().map(|(epoch, s)| (*epoch as f64, value(s)));
        Series::new(name, class, points.collect())
    };
    LineChart {
        series: vec![
            of("CIFAR-10", "s1", |s| s.regret),
            of("CIFAR-100", "s2", |s| s.cifar100_regret),
            of("ImageNet16-120", "s3", |s| s.in16_regret),
        ],
        reach: vec![0.0],
        ..chart(
            &run.measures,
            (
                "regret",
                "True regret of the choice",
                "Points of test accuracy below the best architecture of the table.",
            ),
            Unit::Plain,
            &[],
        )
    }
    .figure()
}

/// Time and passes.
pub fn cost(run: &RunData) -> Option<Section> {
    let seconds = run.measures.seconds.iter().zip(1..);
    let points = seconds.map(|(s, epoch)| (f64::from(epoch), *s)).collect();
    let mut total = 0.0;
    let clock: Vec<(f64, f64)> = run
        .measures
        .by_epoch("explainer_val_accuracy")
        .into_iter()
        .zip(&run.measures.seconds)
        .map(|((_, accuracy), seconds)| {
            total += seconds;
            (total, accuracy)
        })
        .collect();
    let all = [
        LineChart {
            reach: vec![0.0],
            series: vec![Series::new("seconds", "s1", points)],
            ..chart(
                &run.measures,
                ("seconds", "Seconds of each epoch", ""),
                Unit::Plain,
                &[],
            )
        },
        LineChart {
            x: "seconds".into(),
            reach: vec![0.0, 1.0],
            series: vec![Series::new("explainer, validation", "explainer", clock)],
            ..chart(
                &run.measures,
                (
                    "clock",
                    "Accuracy over time",
                    "The supernet's, on validation images.",
                ),
                Unit::Percent,
                &[],
            )
        },
    ];
    let all: Vec<Figure> = all.into_iter().filter_map(LineChart::figure).collect();
    Section::of("cost", "Time", "", all)
}
