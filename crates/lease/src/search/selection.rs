//! Which architecture a search ends with.
//!
//! - strongest: that of the largest coefficients at the end (DARTS, arXiv 1806.09055);
//! - perturbation: edge by edge in random order the operation whose removal costs most validation accuracy, then at
//!   each node of a space that keeps two edges those whose removal costs most (Wang et al., *DARTS-PT*, arXiv
//!   2108.04392, algorithm 1), with or without training of E between two rounds. In a round, as in the authors' code, one edge
//!   or node of each kind of cell is decided. It asks the supernet, not the coefficients, which may never have moved;
//! - best-epoch: among the choices of the last epochs the one with which the supernet, all other operations left out, is
//!   most accurate on its validation images;
//! - trained: of the likeliest architectures the one that is most accurate after a short training from scratch. Neither coefficients
//!   nor the supernet have the last word then, but what they are to foretell.
//!
//! Validation images are those of the search; test images have no part in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::guard::Watched;
use super::{Observer, Search};
use crate::Error;
use crate::collective::Agreement;
use crate::config::{Rule, section};
use crate::method::optimiser::sgd;
use crate::method::product::gradient;
use crate::method::stage1;
use crate::network::Vector;
use crate::rng::{Draw, Purpose, of_part, permutation, stream};
use crate::space::mixing::{Choice, Mixing, decided, mixed, one_hot};
use crate::space::{Coefficients, Explainer, Genotype};

/// What a search ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The largest coefficients.
    #[default]
    Strongest,
    /// What the supernet loses most by.
    Perturbation,
    /// The best of the last epochs' choices.
    BestEpoch,
    /// The best of the likeliest after short trainings.
    Trained,
}

section! {
    /// What a search ends with.
    SelectionSettings, "selection", "" {
        /// What is selected at the end: strongest, the largest coefficients (DARTS); perturbation, on each edge the operation whose removal costs most validation accuracy (DARTS-PT); best-epoch, the choice of the last epochs with which the supernet is most accurate; trained, of the likeliest architectures the one that is most accurate on the validation images after a short training from scratch.
        selection: Selection = Selection::Strongest, ["strongest", "perturbation", "best-epoch", "trained"];
        /// Steps in which the explainer's weights train between two rounds of the perturbation selection, each of which decides one edge or node of each kind of cell, at a tenth of the first learning rate; 0 means none.
        selection_tune_steps: u64 = 0 => Rule::whole(0, 1_000_000);
        /// Epochs that the best is taken from.
        selection_epochs: usize = 5 => Rule::whole(1, 100_000);
        /// Architectures that the best is taken from by short trainings: those with the largest products of their operations' weights.
        selection_candidates: usize = 10 => Rule::whole(1, 10_000).later();
        /// Epochs of each such training, of a network of the supernet's size with the search's batches and learning rate; 0 takes the accuracies that NAS-Bench-201 knows of its own trainings of 12 epochs on CIFAR-10.
        selection_train_epochs: usize = 5 => Rule::whole(0, 100_000).later();
    }
}

impl SelectionSettings {
    /// Whether what is selected depends on the setting of this key.
    pub fn reads(&self, key: &str) -> bool {
        match key {
            "selection_tune_steps" => self.selection == Selection::Perturbation,
            "selection_epochs" => self.selection == Selection::BestEpoch,
            "selection_candidates" | "selection_train_epochs" => {
                self.selection == Selection::Trained
            }
            _ => true,
        }
    }
}

impl Search {
    /// The share of the explainer's validation images that the supernet classifies correctly with mixing weights θ, and
    /// minus its mean loss there: the larger, the better.
    fn score(&self, weights: &Vector, theta: &Vector) -> Score {
        let direct = direct(&*self.models.explainer);
        let all = self.feed.explainer_val.indices();
        let own = self.feed.plain(all).flat_map(|batch| {
            let of = stage1::loss(&*direct, &batch);
            let loss = gradient(of, [weights, theta], []).value;
            [loss * batch.images.dims()[0] as f64, batch.correct() as f64]
        });
        let each = self.team.joined(own.collect());
        let sum = |first: usize| each.iter().skip(first).step_by(2).sum::<f64>();
        let seen = all.len().max(1) as f64;
        Score {
            accuracy: sum(1) / seen,
            closeness: -sum(0) / seen,
        }
    }

    /// The validation accuracy of the supernet with only the operations that would be derived now.
    pub(super) fn discrete_accuracy(&self) -> Result<f64, Error> {
        let (f, point) = (&self.models.explainer, &self.state.point);
        let choice = f.choice(&point.architecture)?;
        let theta = one_hot(&f.coefficients(), &choice, &point.architecture);
        Ok(self.score(&point.explainer, &theta).accuracy)
    }

    /// The best of the last epochs' choices; of equals the last.
    pub(super) fn best_epoch(&self) -> Result<Genotype, Error> {
        let watched = &self.state.progress.watched;
        match best_of_last(watched, self.config.selection.selection_epochs) {
            Some(best) => Ok(Genotype::parse(&best.genotype)?),
            None => self.genotype(),
        }
    }

    /// What DARTS-PT selects from the supernet as it is; nothing if `stop` is set on any of the processes before it has.
    pub(super) fn by_perturbation(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Genotype>, Error> {
        let f = self.models.explainer.clone();
        let parts = f.coefficients();
        let architecture = self.state.point.architecture.clone();
        let mut rng = stream(self.config.run.seed, Purpose::Selection, 0);
        let weights = self.state.point.explainer.clone();
        let mut selecting = Selecting::new(&parts, weights, mixed(&*f, &architecture));
        let rounds = rounds(&parts, &mut rng);
        let mut told = Told::new(rounds.iter().map(Vec::len).sum(), observer);
        for (number, round) in rounds.iter().enumerate() {
            if number > 0 && self.tune(&mut selecting, stop).is_none() {
                return Ok(None);
            }
            for (kind, what) in round {
                let (of, kind) = (&parts[*kind], *kind);
                let score = |weights: &Vector, theta: &Vector| {
                    self.going_on(stop)?;
                    Some(self.score(weights, theta))
                };
                let done = match *what {
                    Open::Operation(edge) => selecting.decide_operation(of, (kind, edge), score),
                    Open::Edges(node) => selecting.decide_edges(of, (kind, node), score),
                };
                if done.is_none() {
                    return Ok(None);
                }
                told.decided(observer);
            }
        }
        let decided = decided(&parts, &selecting.choice, &architecture);
        Ok(Some(f.derive(&decided)?))
    }

    /// Nothing once any of the processes was asked to stop.
    fn going_on(&self, stop: &AtomicBool) -> Option<()> {
        let asked = Agreement {
            stop: stop.load(Ordering::Relaxed),
            due: false,
        };
        (!self.team.agree(asked).stop).then_some(())
    }

    /// Trains E at the mixing weights as they are decided so far; nothing if it was stopped.
    fn tune(&mut self, now: &mut Selecting, stop: &AtomicBool) -> Option<()> {
        let s = &self.config.search;
        let rule = self.config.explainer_rule();
        let (rate, steps) = (
            s.learning_rate / 10.0,
            self.config.selection.selection_tune_steps,
        );
        let (direct, seed) = (direct(&*self.models.explainer), self.config.run.seed);
        let mut stepper = sgd(&rule);
        for _ in 0..steps {
            self.going_on(stop)?;
            let step = self.state.progress.step + now.tuned;
            let parts = self.team.own().zip(self.feed.batches(step));
            let each = parts.map(|(part, batches)| {
                let step = of_part(step, part);
                let noisy = direct.noisy(Draw { seed, step });
                let f = noisy.as_ref().unwrap_or(&direct);
                let loss = stage1::loss(&**f, &batches.explainer_train);
                gradient(loss, [&now.weights, &now.theta], [0])
            });
            let [found] = self.team.mean(each).vectors;
            now.weights = stepper.step(rate, &now.weights, &found);
            now.tuned += 1;
        }
        Some(())
    }
}

/// Of the last so many epochs the one whose choice was most accurate; of equals the last.
fn best_of_last(watched: &[Watched], epochs: usize) -> Option<&Watched> {
    let last = &watched[watched.len().saturating_sub(epochs)..];
    let accuracy = |of: &Watched| of.discrete_accuracy.unwrap_or(0.0);
    last.iter()
        .max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
}

/// What is told of decisions.
struct Told {
    decisions: usize,
    of: usize,
    last: Instant,
}

impl Told {
    /// Time after which it is told again.
    const EVERY: Duration = Duration::from_secs(10);

    fn new(of: usize, observer: &mut dyn Observer) -> Self {
        observer.note(&format!(
            "Selecting by perturbation: {of} decisions. If it is stopped, the selection begins anew when it is gone on with."
        ));
        Self {
            decisions: 0,
            of,
            last: Instant::now(),
        }
    }

    fn decided(&mut self, observer: &mut dyn Observer) {
        self.decisions += 1;
        if self.last.elapsed() >= Self::EVERY {
            observer.note(&format!("{} of {} decisions.", self.decisions, self.of));
            self.last = Instant::now();
        }
    }
}

/// How far a selection is.
struct Selecting {
    weights: Vector,
    theta: Vector,
    choice: Choice,
    /// Steps of E so far.
    tuned: u64,
}

impl Selecting {
    /// Nothing is decided yet.
    fn new(parts: &[Coefficients], weights: Vector, theta: Vector) -> Self {
        let open = |of: &Coefficients| vec![None; of.derivable.len()];
        Self {
            weights,
            theta,
            choice: parts.iter().map(open).collect(),
            tuned: 0,
        }
    }

    /// Takes the operation of an edge without which the supernet is worst; nothing if it was stopped, when there is no score of
    /// weights and mixing weights.
    fn decide_operation(
        &mut self,
        of: &Coefficients,
        (kind, edge): (usize, usize),
        score: impl Fn(&Vector, &Vector) -> Option<Score>,
    ) -> Option<()> {
        let places = of.edge(edge);
        let theta = self.theta.to_f64();
        let mut worst: Option<(Score, usize)> = None;
        for k in &of.derivable[edge] {
            let mut without = theta.clone();
            without[places.start + k] = 0.0;
            let score = score(&self.weights, &self.theta.with_values(without))?;
            if worst.is_none_or(|(least, _)| score.below(least)) {
                worst = Some((score, *k));
            }
        }
        if let Some((_, chosen)) = worst {
            let mut with = theta;
            with[places.clone()].fill(0.0);
            with[places.start + chosen] = 1.0;
            self.theta = self.theta.with_values(with);
            self.choice[kind][edge] = Some(chosen);
        }
        Some(())
    }

    /// Takes edges into a node away, each time the one that is missed least, until two are left; nothing if it was stopped, as
    /// above.
    fn decide_edges(
        &mut self,
        of: &Coefficients,
        (kind, node): (usize, usize),
        score: impl Fn(&Vector, &Vector) -> Option<Score>,
    ) -> Option<()> {
        let mut left: Vec<usize> = of.nodes[node].clone().collect();
        while left.len() > 2 {
            let mut best: Option<(Score, usize)> = None;
            for (at, edge) in left.iter().enumerate() {
                let score = score(&self.weights, &self.without_edge(of, *edge))?;
                if best.is_none_or(|(most, _)| most.below(score)) {
                    best = Some((score, at));
                }
            }
            let Some((_, at)) = best else { break };
            let edge = left.remove(at);
            self.theta = self.without_edge(of, edge);
            self.choice[kind][edge] = None;
        }
        Some(())
    }

    /// θ with nothing on an edge.
    fn without_edge(&self, of: &Coefficients, edge: usize) -> Vector {
        let mut theta = self.theta.to_f64();
        theta[of.edge(edge)].fill(0.0);
        self.theta.with_values(theta)
    }
}

/// How good a supernet is on the validation images.
#[derive(Clone, Copy)]
struct Score {
    accuracy: f64,
    closeness: f64,
}

impl Score {
    /// Whether it is worse than another: less accurate, or as accurate with a larger loss.
    fn below(self, other: Self) -> bool {
        let order = self.accuracy.total_cmp(&other.accuracy);
        order
            .then(self.closeness.total_cmp(&other.closeness))
            .is_lt()
    }
}

/// The supernet that reads A as the mixing weights themselves.
fn direct(explainer: &dyn Explainer) -> std::sync::Arc<dyn Explainer> {
    explainer.with_mixing(Mixing::direct())
}

/// What is to be decided of a kind of cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// The operation of this edge.
    Operation(usize),
    /// Which two edges lead into this node.
    Edges(usize),
}

/// What is decided in each round, with the kind of cell: first the operations of all edges, then the edges into the nodes that
/// have more than two, each in a random order.
fn rounds(parts: &[Coefficients], rng: &mut ChaCha8Rng) -> Vec<Vec<(usize, Open)>> {
    let mut all = together(parts, rng, |of| {
        (0..of.derivable.len()).map(Open::Operation).collect()
    });
    all.extend(together(parts, rng, |of| {
        let nodes = of.nodes.iter().enumerate();
        let open = nodes.filter(|(_, edges)| edges.len() > 2);
        open.map(|(node, _)| Open::Edges(node)).collect()
    }));
    all
}

/// One of each kind of cell in each round, as long as there are any.
fn together(
    parts: &[Coefficients],
    rng: &mut ChaCha8Rng,
    open: impl Fn(&Coefficients) -> Vec<Open>,
) -> Vec<Vec<(usize, Open)>> {
    let mut rounds: Vec<Vec<(usize, Open)>> = Vec::new();
    for (kind, of) in parts.iter().enumerate() {
        let open = open(of);
        let order = permutation(rng, open.len());
        rounds.resize_with(rounds.len().max(open.len()), Vec::new);
        for (round, i) in rounds.iter_mut().zip(order) {
            round.push((kind, open[i as usize]));
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::Layout;
    use crate::space::darts::{Supernet, SupernetShape};

    /// A selection from a supernet of three nodes whose mixing weights are all alike, and what is to be decided.
    fn selecting() -> (Selecting, Vec<Coefficients>) {
        let shape = SupernetShape {
            nodes: 3,
            cells: 3,
            ..SupernetShape::default()
        };
        let supernet = Supernet::new(&shape).unwrap();
        let zeros =
            |layout: &Arc<Layout>| Vector::zeros(layout.clone(), &Device::flex(), DType::F64);
        let theta = zeros(supernet.architecture());
        let theta = theta.with_values(vec![0.125; theta.layout().len()]);
        let parts = supernet.coefficients();
        let selecting = Selecting::new(&parts, zeros(supernet.weights()), theta);
        (selecting, parts)
    }

    /// A supernet that is the better the more weight lies on some places of θ.
    fn worth<'a>(places: &'a [(usize, f64)]) -> impl Fn(&Vector, &Vector) -> Option<Score> + 'a {
        move |_, theta| {
            let theta = theta.to_f64();
            let accuracy = places.iter().map(|(place, worth)| worth * theta[*place]);
            Some(Score {
                accuracy: accuracy.sum(),
                closeness: 0.0,
            })
        }
    }

    #[test]
    fn perturbation_keeps_the_operation_and_the_two_edges_that_are_missed_most() {
        let (mut now, parts) = selecting();
        let (kind, edge) = (1, 4);
        let of = &parts[kind];
        let place = |edge: usize, k: usize| of.edge(edge).start + k;
        let worths = [(place(edge, 2), 0.3), (place(edge, 5), 0.9)];
        now.decide_operation(of, (kind, edge), worth(&worths))
            .unwrap();
        assert_eq!(now.choice[kind][edge], Some(5));
        let theta = now.theta.to_f64();
        assert_eq!(theta[place(edge, 5)], 1.0);
        let all: f64 = theta[of.edge(edge)].iter().sum();
        assert_eq!(all, 1.0);
        assert_eq!(theta[place(edge + 1, 5)], 0.125, "other edges are left");
        // The node of four edges, of which the second and the last are worth something.
        let node = of.nodes.iter().position(|edges| edges.len() == 4).unwrap();
        let edges: Vec<usize> = of.nodes[node].clone().collect();
        now.choice[kind].fill(Some(3));
        let worths = [(place(edges[1], 3), 0.2), (place(edges[3], 3), 0.1)];
        now.decide_edges(of, (kind, node), worth(&worths)).unwrap();
        let kept = edges.iter().map(|edge| now.choice[kind][*edge].is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [false, true, false, true]);
        assert_eq!(now.theta.to_f64()[place(edges[0], 3)], 0.0);
        assert!(
            now.decide_operation(of, (kind, 0), |_, _| None).is_none(),
            "stopped"
        );
    }

    #[test]
    fn of_the_last_epochs_the_most_accurate_choice_is_taken_and_of_equals_the_last() {
        let watched = |genotype: &str, accuracy| Watched {
            genotype: genotype.into(),
            skip_connects: 0,
            eigenvalue: None,
            discrete_accuracy: accuracy,
        };
        let all = [
            watched("long ago", Some(0.9)),
            watched("none", None),
            watched("first", Some(0.5)),
            watched("second", Some(0.5)),
            watched("last", Some(0.4)),
        ];
        let best = |epochs| best_of_last(&all, epochs).map(|of| of.genotype.as_str());
        assert_eq!(best(4), Some("second"));
        assert_eq!(best(100), Some("long ago"));
        assert!(best_of_last(&[], 5).is_none());
    }

    #[test]
    fn each_round_decides_one_of_each_kind_of_cell_and_only_what_is_open() {
        let shape = SupernetShape {
            nodes: 4,
            cells: 3,
            ..SupernetShape::default()
        };
        let parts = Supernet::new(&shape).unwrap().coefficients();
        let rounds = rounds(&parts, &mut stream(1, Purpose::Selection, 0));
        // The authors': 14 edges and the three nodes of more than two, of both kinds at a time.
        assert_eq!(rounds.len(), 14 + 3);
        for kind in 0..2 {
            let mut of: Vec<Open> = rounds.iter().map(|round| round[kind].1).collect();
            assert!(rounds.iter().all(|round| round[kind].0 == kind));
            let (edges, nodes) = of.split_at_mut(14);
            let ordered = |all: &mut [Open]| {
                all.sort_by_key(|open| match open {
                    Open::Operation(i) | Open::Edges(i) => *i,
                });
                all.to_vec()
            };
            let expected: Vec<Open> = (0..14).map(Open::Operation).collect();
            assert_ne!(edges, expected, "in random order");
            assert_eq!(ordered(edges), expected);
            assert_eq!(ordered(nodes), [1, 2, 3].map(Open::Edges));
        }
    }
}
