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
        let from = watched
            .len()
            .saturating_sub(self.config.selection.selection_epochs);
        let last = watched[from..].iter();
        let best = last.max_by(|a, b| {
            let of = |w: &super::guard::Watched| w.discrete_accuracy.unwrap_or(0.0);
            of(a).total_cmp(&of(b))
        });
        match best {
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
        let mut selecting = Selecting {
            weights: self.state.point.explainer.clone(),
            theta: mixed(&*f, &architecture),
            choice: parts
                .iter()
                .map(|of| vec![None; of.derivable.len()])
                .collect(),
            tuned: 0,
        };
        let rounds = rounds(&parts, &mut rng);
        let mut told = Told::new(rounds.iter().map(Vec::len).sum(), observer);
        for (number, round) in rounds.iter().enumerate() {
            if number > 0 && self.tune(&mut selecting, stop).is_none() {
                return Ok(None);
            }
            for (kind, what) in round {
                let (of, kind) = (&parts[*kind], *kind);
                let done = match *what {
                    Open::Operation(edge) => {
                        self.decide_operation(&mut selecting, of, (kind, edge), stop)
                    }
                    Open::Edges(node) => self.decide_edges(&mut selecting, of, (kind, node), stop),
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

    /// Takes the operation of an edge without which the supernet is worst; nothing if it was stopped.
    fn decide_operation(
        &self,
        now: &mut Selecting,
        of: &Coefficients,
        (kind, edge): (usize, usize),
        stop: &AtomicBool,
    ) -> Option<()> {
        let [_, operations] = of.slot.shape();
        let first = of.slot.place() + edge * operations;
        let theta = now.theta.to_f64();
        let mut worst: Option<(Score, usize)> = None;
        for k in &of.derivable[edge] {
            self.going_on(stop)?;
            let mut without = theta.clone();
            without[first + k] = 0.0;
            let score = self.score(&now.weights, &now.theta.with_values(without));
            if worst.is_none_or(|(least, _)| score.below(least)) {
                worst = Some((score, *k));
            }
        }
        if let Some((_, chosen)) = worst {
            let mut with = theta;
            with[first..first + operations].fill(0.0);
            with[first + chosen] = 1.0;
            now.theta = now.theta.with_values(with);
            now.choice[kind][edge] = Some(chosen);
        }
        Some(())
    }

    /// Takes edges into a node away, each time the one that is missed least, until two are left; nothing if it was stopped.
    fn decide_edges(
        &self,
        now: &mut Selecting,
        of: &Coefficients,
        (kind, node): (usize, usize),
        stop: &AtomicBool,
    ) -> Option<()> {
        let [_, operations] = of.slot.shape();
        let mut left: Vec<usize> = of.nodes[node].clone().collect();
        let without = |now: &Selecting, edge: usize| {
            let mut theta = now.theta.to_f64();
            let first = of.slot.place() + edge * operations;
            theta[first..first + operations].fill(0.0);
            now.theta.with_values(theta)
        };
        while left.len() > 2 {
            let mut best: Option<(Score, usize)> = None;
            for (at, edge) in left.iter().enumerate() {
                self.going_on(stop)?;
                let score = self.score(&now.weights, &without(now, *edge));
                if best.is_none_or(|(most, _)| most.below(score)) {
                    best = Some((score, at));
                }
            }
            let Some((_, at)) = best else { break };
            let edge = left.remove(at);
            now.theta = without(now, edge);
            now.choice[kind][edge] = None;
        }
        Some(())
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
    use super::*;
    use crate::space::darts::{Supernet, SupernetShape};

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
