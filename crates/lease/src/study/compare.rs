//! Comparing methods over seeds: means, paired differences, and whether they are larger than the noise.

use serde::{Deserialize, Serialize};

use crate::space::Standing;
use crate::statistics::{FEW, interval, mean};

/// One cell of the comparison: what one method found with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The method's name in the comparison.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// What is compared, in percent: the true test accuracy where there is a table, else that of the
    /// architecture trained from scratch.
    pub accuracy: f64,
    /// The genotype.
    pub genotype: String,
    /// Skip-connects in its (normal) cell.
    pub skip_connects: usize,
    /// The share of its operations without weights.
    pub parameter_free_share: f64,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-adds for one image, of the network as it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply_adds: Option<u64>,
    /// The milliseconds that it takes for one image, measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Wall-clock seconds of the search, over all its epochs.
    pub search_seconds: f64,
    /// Steps of the search.
    pub steps: u64,
    /// Forward and backward passes of the explainer, those on dual numbers counted twice.
    pub explainer_passes: u64,
    /// What the table says, if there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// One method over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodSummary {
    /// Its name.
    pub method: String,
    /// Seeds.
    pub seeds: usize,
    /// Mean accuracy, percent.
    pub mean: f64,
    /// Standard deviation over seeds (n − 1), percent; none for one seed.
    pub deviation: Option<f64>,
    /// The worst seed.
    pub worst: f64,
    /// The best seed.
    pub best: f64,
    /// Mean wall-clock seconds of a search.
    pub search_seconds: f64,
    /// Mean passes of the explainer.
    pub explainer_passes: f64,
    /// Mean skip-connects.
    pub skip_connects: f64,
    /// On each of [`Standing::SETS`], if there is a table of true accuracies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truths: Option<[TrueMean; 3]>,
}

/// What a table of true accuracies says of what a method found on one data set, whatever set it searched on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrueMean {
    /// Mean test accuracy, percent.
    pub accuracy: f64,
    /// Mean rank.
    pub rank: f64,
}

/// The means over what one method found; none where anything has no standing.
fn truths(of: &[&Found]) -> Option<[TrueMean; 3]> {
    let all: Option<Vec<Standing>> = of.iter().map(|f| f.standing).collect();
    let all = all?;
    Some([0, 1, 2].map(|set| {
        let of = all.iter().map(|s| s.on_sets()[set]);
        TrueMean {
            accuracy: mean(&of.clone().map(|on| on.test).collect::<Vec<_>>()),
            rank: mean(&of.map(|on| on.rank as f64).collect::<Vec<_>>()),
        }
    }))
}

/// The difference of one method from another over the seeds that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The method.
    pub method: String,
    /// What it is compared with.
    pub against: String,
    /// Seeds that both have.
    pub seeds: usize,
    /// The mean of the paired differences, percentage points.
    pub mean: f64,
    /// A 95 % interval of that mean, by resampling seeds (percentile bootstrap); none for fewer than two.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// That of a method from another over pairs, one a seed.
    pub fn of(method: &str, against: &str, pairs: &[f64]) -> Self {
        Self {
            method: method.into(),
            against: against.into(),
            seeds: pairs.len(),
            mean: mean(pairs),
            interval: interval(pairs),
        }
    }

    /// In words, whether it is larger than the noise.
    pub fn verdict(&self) -> String {
        let Some([low, high]) = self.interval else {
            return "one seed in common: nothing can be said".into();
        };
        let few = if self.seeds < FEW {
            format!(
                "; with {} seeds such an interval is too narrow, so take this as a hint",
                self.seeds
            )
        } else {
            String::new()
        };
        if low > 0.0 || high < 0.0 {
            let direction = if low > 0.0 { "better" } else { "worse" };
            format!(
                "{direction} than {} by more than the noise{few}",
                self.against
            )
        } else {
            format!("not told apart from {} by these seeds", self.against)
        }
    }
}

/// Each method's summary, in the order in which the methods first occur.
pub fn summaries(found: &[Found]) -> Vec<MethodSummary> {
    methods(found)
        .into_iter()
        .map(|method| {
            let of: Vec<&Found> = found.iter().filter(|f| f.method == method).collect();
            let average =
                |value: fn(&Found) -> f64| mean(&of.iter().map(|f| value(f)).collect::<Vec<_>>());
            let accuracies: Vec<f64> = of.iter().map(|f| f.accuracy).collect();
            let centre = mean(&accuracies);
            let n = accuracies.len();
            let squares: f64 = accuracies.iter().map(|a| (a - centre).powi(2)).sum();
            MethodSummary {
                method: method.into(),
                seeds: n,
                mean: centre,
                deviation: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
                worst: accuracies.iter().copied().fold(f64::INFINITY, f64::min),
                best: accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                search_seconds: average(|f| f.search_seconds),
                explainer_passes: average(|f| f.explainer_passes as f64),
                skip_connects: average(|f| f.skip_connects as f64),
                truths: truths(&of),
            }
        })
        .collect()
}

fn methods(found: &[Found]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for f in found {
        if !all.contains(&f.method.as_str()) {
            all.push(&f.method);
        }
    }
    all
}

/// The paired difference of every method from one of them, where they have seeds in common.
pub fn differences(found: &[Found], against: &str) -> Vec<Difference> {
    let others = methods(found).into_iter().filter(|m| *m != against);
    let all = others.map(|method| difference(found, method, against));
    all.filter(|d| d.seeds > 0).collect()
}

fn difference(found: &[Found], method: &str, against: &str) -> Difference {
    let accuracy = |method: &str, seed: u64| {
        let mut all = found.iter();
        let cell = all.find(|f| f.method == method && f.seed == seed);
        cell.map(|f| f.accuracy)
    };
    let seeds = found.iter().filter(|f| f.method == method).map(|f| f.seed);
    let pairs: Vec<f64> = seeds
        .filter_map(|seed| Some(accuracy(method, seed)? - accuracy(against, seed)?))
        .collect();
    Difference::of(method, against, &pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, accuracies: &[f64]) -> Vec<Found> {
        let all = accuracies.iter().zip(0..);
        all.map(|(accuracy, seed)| Found {
            method: method.into(),
            seed,
            accuracy: *accuracy,
            genotype: String::new(),
            skip_connects: 1,
            parameter_free_share: 0.5,
            parameters: 1,
            multiply_adds: None,
            latency_ms: None,
            search_seconds: 2.0,
            steps: 3,
            explainer_passes: 4,
            standing: None,
        })
        .collect()
    }

    #[test]
    fn methods_are_summarised_and_compared_seed_by_seed() {
        let mut all = found("darts", &[54.0, 60.0, 70.0, 54.0]);
        all.extend(found("lease", &[55.0, 62.0, 71.0, 56.0]));
        let summary = &summaries(&all)[0];
        assert_eq!(
            (summary.mean, summary.worst, summary.best),
            (59.5, 54.0, 70.0)
        );
        let expected = (5.5f64.powi(2) * 2.0 + 0.25 + 10.5f64.powi(2)) / 3.0;
        assert!((summary.deviation.unwrap() - expected.sqrt()).abs() < 1e-12);
        // The seeds differ by 16 points, the pairs by 1 to 2.
        let difference = &differences(&all, "darts")[0];
        assert_eq!((difference.mean, difference.seeds), (1.5, 4));
        assert_eq!(difference.interval, Some([1.0, 2.0]));
        assert!(difference.verdict().starts_with("better than darts"));
    }

    #[test]
    fn differences_within_the_noise_are_called_so() {
        let mut all = found("darts", &[90.0, 91.0, 92.0]);
        all.extend(found("lease", &[91.0, 90.0, 92.5]));
        all.extend(found("random", &[50.0]));
        let all = differences(&all, "darts");
        assert!(all[0].verdict().contains("not told apart"));
        assert!(all[1].verdict().contains("nothing can be said"));
    }

    #[test]
    fn differences_are_from_the_method_asked_for_over_seeds_that_both_have() {
        let noise = |seed: usize| (seed * 7 % 24) as f64 / 24.0;
        let accuracies: Vec<f64> = (0..24).map(|seed| 90.0 + noise(seed)).collect();
        let better: Vec<f64> = (0..30).map(|seed| 90.5 + noise(seed * 5)).collect();
        let mut all = found("darts", &accuracies);
        all.extend(found("lease", &better));
        // One whose seeds nobody else has.
        let mut late = found("late", &[99.0]);
        late[0].seed = 100;
        all.extend(late);
        let [difference] = &differences(&all, "lease")[..] else {
            panic!("one method has seeds in common with lease");
        };
        let named = (difference.method.as_str(), difference.against.as_str());
        assert_eq!((named, difference.seeds), (("darts", "lease"), 24));
        let [low, high] = difference.interval.unwrap();
        assert!(low < difference.mean && difference.mean < high && high < 0.0);
        assert!(high - low < 0.5, "{low} to {high}");
        assert_eq!(
            difference.verdict(),
            "worse than lease by more than the noise"
        );
    }
}
