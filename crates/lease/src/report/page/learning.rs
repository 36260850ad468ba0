//! How a search went: charts over its epochs.

use super::Section;
use super::parts::legend;
use crate::report::chart::{Figure, LineChart, Series, Timeline, Unit};
use crate::report::graph::{class, spoken};
use crate::report::read::{Measures, RunData};
use crate::space::{CellGraph, Standing};

const EPOCH: &str = "epoch";

/// A chart of quantities that are recorded after each epoch or step.
struct Plan {
    id: &'static str,
    title: &'static str,
    note: &'static str,
    unit: Unit,
    /// Numbers that its axis must reach.
    reach: &'static [f64],
    lines: &'static [Line],
}

/// A quantity: where it is recorded, what it is called and its colour.
enum Line {
    Epochs(&'static str, &'static str, &'static str),
    Steps(&'static str, &'static str, &'static str),
}
use Line::{Epochs, Steps};

const WHOLE: &[f64] = &[0.0, 1.0];
const FROM_0: &[f64] = &[0.0];
const ANY: &[f64] = &[];

impl Plan {
    fn chart(&self, m: &Measures) -> LineChart {
        let series = self.lines.iter().map(|line| match line {
            Epochs(key, name, class) => Series::new(*name, class, m.by_epoch(key)),
            Steps(key, name, class) => Series::new(*name, class, m.by_step(key)),
        });
        LineChart {
            id: self.id.into(),
            title: self.title.into(),
            note: self.note.into(),
            x: EPOCH.into(),
            unit: self.unit,
            reach: self.reach.into(),
            series: series.collect(),
            ..LineChart::default()
        }
    }
}

static ACCURACIES: [Plan; 2] = [
    Plan {
        id: "explainer-accuracy",
        title: "Accuracy of the explainer",
        note: "On validation images the supernet is asked as a whole.",
        unit: Unit::Percent,
        reach: WHOLE,
        lines: &[
            Epochs("explainer_train_accuracy", "training", "explainer dashed"),
            Epochs("explainer_val_accuracy", "validation", "explainer"),
            Epochs("discrete_accuracy", "its choice alone", "s3"),
        ],
    },
    Plan {
        id: "audience-accuracy",
        title: "Accuracy of the audience",
        note: "Training images are weighted by the explanations, validation images are as they are.",
        unit: Unit::Percent,
        reach: WHOLE,
        lines: &[
            Epochs("audience_train_accuracy", "training", "audience dashed"),
            Epochs("audience_val_accuracy", "validation", "audience"),
        ],
    },
];

static LOSSES: [Plan; 2] = [
    Plan {
        id: "explainer-loss",
        title: "Loss of the explainer",
        note: "",
        unit: Unit::Plain,
        reach: ANY,
        lines: &[
            Steps("explainer_train_loss", "training", "explainer dashed"),
            Steps("explainer_val_loss", "validation, unrolled", "explainer"),
        ],
    },
    Plan {
        id: "audience-loss",
        title: "Loss of the audience",
        note: "",
        unit: Unit::Plain,
        reach: ANY,
        lines: &[
            Steps("audience_train_loss", "training", "audience dashed"),
            Steps("audience_val_loss", "validation, unrolled", "audience"),
        ],
    },
];

/// Losses and accuracies of both networks.
pub fn learning(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let classes = run.about["classes"].as_array().map_or(0, Vec::len);
    let chance = (classes > 0).then(|| (1.0 / classes as f64, "chance".to_string()));
    let accuracies = ACCURACIES.iter().map(|plan| LineChart {
        level: chance.clone(),
        ..plan.chart(m)
    });
    let all = accuracies.chain(LOSSES.iter().map(|plan| plan.chart(m)));
    let lead = "Dashed is what the network was trained on, solid what it was not.";
    Section::of("learning", "Learning", lead, figures(all))
}

fn figures(all: impl Iterator<Item = LineChart>) -> Vec<Figure> {
    all.filter_map(LineChart::figure).collect()
}

static TERMS: Plan = Plan {
    id: "terms",
    title: "Norms of the two terms",
    note: "Parts of the architecture's gradient, γ left out.",
    unit: Unit::Log,
    reach: ANY,
    lines: &[
        Steps("explainer_term_norm", "explainer", "explainer"),
        Steps("audience_term_norm", "audience", "audience"),
    ],
};

static SAY: Plan = Plan {
    id: "terms-ratio",
    title: "The audience's say",
    note: "The norm of γ times its term over that of the explainer's: at 1 both say as much.",
    unit: Unit::Log,
    reach: ANY,
    lines: &[],
};

static EPSILON: Plan = Plan {
    id: "epsilon",
    title: "Share of |δ| at ε",
    note: "Near 0 the explanation is still its random start, near 1 only signs are left.",
    unit: Unit::Percent,
    reach: FROM_0,
    lines: &[Steps("share_at_epsilon", "share at ε", "s2")],
};

static RELEVANT: Plan = Plan {
    id: "relevant",
    title: "Share of |δ| on pixels that matter",
    note: "Which pixels matter is known for these images; an explanation that knows nothing has their share of all pixels.",
    unit: Unit::Percent,
    reach: FROM_0,
    lines: &[Steps("delta_on_relevant", "share of |δ|", "s2")],
};

static ATTACK: Plan = Plan {
    id: "attack",
    title: "What the attack reaches",
    note: "The cross-entropy of perturbed against clean predictions before the last step, summed over a batch.",
    unit: Unit::Plain,
    reach: ANY,
    lines: &[Steps("attack_objective", "J", "s2")],
};

/// What the audience has to say, and what it is told.
pub fn audience(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let ratio = m.of_steps(|line| {
        let norm = |key: &str| line[key].as_f64();
        Some(norm("gamma")? * norm("audience_term_norm")? / norm("explainer_term_norm")?)
    });
    let relevant = m.last("relevant_pixels");
    let all = [
        TERMS.chart(m),
        LineChart {
            series: vec![Series::new(
                "γ · audience over explainer",
                "audience",
                ratio,
            )],
            ..SAY.chart(m)
        },
        EPSILON.chart(m),
        LineChart {
            level: relevant.map(|share| (share, "their share of all pixels".to_string())),
            ..RELEVANT.chart(m)
        },
        ATTACK.chart(m),
    ];
    let lead = "What it is told, and what its term adds to the architecture's gradient.";
    Section::of("audience", "The audience", lead, figures(all.into_iter()))
}

static WARNINGS: [Plan; 7] = [
    Plan {
        id: "skips",
        title: "Skip-connects of the choice",
        note: "Searches that collapse end in skip-connects.",
        unit: Unit::Count,
        reach: FROM_0,
        lines: &[Epochs("skip_connects", "in the normal cell", "s4")],
    },
    Plan {
        id: "free",
        title: "Operations without weights",
        note: "Their share of the choice.",
        unit: Unit::Percent,
        reach: WHOLE,
        lines: &[Epochs("parameter_free_share", "share", "s4")],
    },
    Plan {
        id: "gap",
        title: "Accuracy gap",
        note: "The explainer's training accuracy less its validation accuracy.",
        unit: Unit::Percent,
        reach: ANY,
        lines: &[Epochs("accuracy_gap", "gap", "s4")],
    },
    Plan {
        id: "eigenvalue",
        title: "Dominant eigenvalue of ∇²L",
        note: "Of the validation loss with respect to the architecture: where it grows, the choice is fragile.",
        unit: Unit::Plain,
        reach: FROM_0,
        lines: &[Epochs("eigenvalue", "eigenvalue", "s4")],
    },
    Plan {
        id: "frozen",
        title: "Candidates that train no more",
        note: "",
        unit: Unit::Count,
        reach: FROM_0,
        lines: &[Epochs("frozen_operations", "frozen", "s4")],
    },
    Plan {
        id: "gradient",
        title: "Norm of the architecture's gradient",
        note: "",
        unit: Unit::Log,
        reach: ANY,
        lines: &[
            Steps("architecture_gradient_norm", "both terms", "s1"),
            Steps("regulariser_norm", "regularisers", "s4 dashed"),
        ],
    },
    Plan {
        id: "agreement",
        title: "Agreement of the layers",
        note: "How well cells agree on the architecture, from −1 to 1.",
        unit: Unit::Plain,
        reach: ANY,
        lines: &[Steps("agreement", "agreement", "s4")],
    },
];

/// Entropy, choices, and what safeguards watch.
pub fn choice(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let mut all: Vec<Figure> = entropy(m).into_iter().collect();
    let choices = run.choices();
    let kinds = choices.last().map_or(0, |(_, graphs)| graphs.len());
    all.extend((0..kinds).filter_map(|kind| timeline(&choices, kind)));
    all.extend(regret(run));
    all.extend(figures(WARNINGS.iter().map(|plan| plan.chart(m))));
    let lead = "What would have been derived after each epoch, and what warns of a search that goes wrong.";
    Section::of("choice", "The choice", lead, all)
}

static ENTROPY: Plan = Plan {
    id: "entropy",
    title: "Entropy of the mixtures",
    note: "In nats, a mean over edges: the logarithm of the number of candidates while nothing is decided, 0 when every edge has one.",
    unit: Unit::Plain,
    reach: ANY,
    lines: &[],
};

fn entropy(m: &Measures) -> Option<Figure> {
    let classes = ["s1", "s2", "s3"];
    let all = m.named("entropy").into_iter().zip(classes.iter().cycle());
    let series = all.map(|((name, points), class)| Series::new(name, class, points));
    LineChart {
        series: series.collect(),
        ..ENTROPY.chart(m)
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

static REGRET: Plan = Plan {
    id: "regret",
    title: "True regret of the choice",
    note: "Points of test accuracy below the best architecture of the table.",
    unit: Unit::Plain,
    reach: FROM_0,
    lines: &[],
};

/// What a table says of the choice after each epoch.
fn regret(run: &RunData) -> Option<Figure> {
    let standings = run.standings();
    let of = |name: &str, class: &str, value: fn(&Standing) -> f64| {
        let points = standings.iter().map(|(epoch, s)| (*epoch as f64, value(s)));
        Series::new(name, class, points.collect())
    };
    LineChart {
        series: vec![
            of("CIFAR-10", "s1", |s| s.regret),
            of("CIFAR-100", "s2", |s| s.cifar100_regret),
            of("ImageNet16-120", "s3", |s| s.in16_regret),
        ],
        ..REGRET.chart(&run.measures)
    }
    .figure()
}

static SECONDS: Plan = Plan {
    id: "seconds",
    title: "Seconds of each epoch",
    note: "",
    unit: Unit::Plain,
    reach: FROM_0,
    lines: &[],
};

static CLOCK: Plan = Plan {
    id: "clock",
    title: "Accuracy over time",
    note: "The supernet's, on validation images.",
    unit: Unit::Percent,
    reach: WHOLE,
    lines: &[],
};

/// Time.
pub fn cost(run: &RunData) -> Option<Section> {
    let m = &run.measures;
    let each = m
        .seconds
        .iter()
        .zip(1..)
        .map(|(s, epoch)| (f64::from(epoch), *s));
    let all = [
        LineChart {
            series: vec![Series::new("seconds", "s1", each.collect())],
            ..SECONDS.chart(m)
        },
        LineChart {
            x: "seconds".into(),
            series: vec![Series::new(
                "explainer, validation",
                "explainer",
                m.over_time("explainer_val_accuracy"),
            )],
            ..CLOCK.chart(m)
        },
    ];
    Section::of("cost", "Time", "", figures(all.into_iter()))
}
