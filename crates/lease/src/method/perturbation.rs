//! Perturbed architectures: what stage I learns under, and where stage IV is differentiated.
//!
//! - SDARTS (Chen and Hsieh, arXiv 2002.05283, equations 7 and 8): E learns at mixing weights θ + δ, δ random or the worst for
//!   its training loss within |δ| ≤ ε, so that the validation loss changes little around the architecture. θ + δ is
//!   clipped to [0, 1] and its rows are scaled to sum to 1, as in the authors' code (independent weights,
//!   of sigmoids, are clipped alone). δ is a constant of the step.
//! - A²M (Tartaglione et al., arXiv 2503.10404): the architecture's gradient is taken at A + ρ g/‖g‖,
//!   g = ∇_A L(E, A, B_e^val), the step of sharpness-aware minimisation. (The authors' code leaves out the norm.)

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::product::gradient;
use super::{Part, Point, stage1};
use crate::collective::Team;
use crate::config::{Rule, section};
use crate::network::Vector;
use crate::rng::unit;
use crate::space::mixing::{Mixing, Relaxation, mixed};
use crate::space::{Coefficients, Explainer};

/// What the mixing weights are perturbed by while E learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Perturb {
    /// Nothing.
    #[default]
    None,
    /// Uniform noise (SDARTS-RS).
    Random,
    /// The worst within ε, by projected gradient steps (SDARTS-ADV).
    Adversarial,
}

section! {
    /// Perturbations of the architecture.
    PerturbationSettings, "perturbation", "" {
        /// Perturbation of the mixing weights under which the explainer's weights learn: none, random (SDARTS-RS) or adversarial (SDARTS-ADV).
        perturb: Perturb = Perturb::None, ["none", "random", "adversarial"];
        /// Largest perturbation of a mixing weight at the end of the search; it grows linearly from a tenth of it (SDARTS: 0.3, from 0.03).
        perturb_epsilon: f64 = 0.3 => Rule::POSITIVE.at_most(1.0);
        /// Steps of the adversarial perturbation (SDARTS: 7); each takes one more pass of the explainer.
        perturb_steps: usize = 7 => Rule::whole(1, 1_000);
        /// Radius ρ of a step of sharpness-aware minimisation on the architecture, whose gradient is then that at A + ρ g/‖g‖ (A²M: 0.01 on NAS-Bench-201, 0.1 on the DARTS space); one more pass of the explainer. 0 means none.
        sam_radius: f64 = 0.0 => Rule::NOT_NEGATIVE;
    }
}

/// The share of the largest perturbation that a search begins with.
const FIRST: f64 = 0.1;

impl PerturbationSettings {
    /// Whether what is perturbed depends on the setting of this key.
    pub fn reads(&self, key: &str) -> bool {
        match key {
            "perturb_epsilon" => self.perturbs(),
            "perturb_steps" => self.perturb == Perturb::Adversarial,
            _ => true,
        }
    }

    /// Whether E learns under a perturbation.
    pub fn perturbs(&self) -> bool {
        self.perturb != Perturb::None
    }

    /// ε when this share (0 to 1) of the steps is done.
    fn epsilon(&self, share: f64) -> f64 {
        self.perturb_epsilon * (FIRST + (1.0 - FIRST) * share)
    }

    /// Passes of the explainer that they add to a step in which the architecture moves, or does not.
    pub fn passes(&self, moves: bool) -> u64 {
        let attack = match self.perturb {
            // The losses before and after decide whether it is taken.
            Perturb::Adversarial => self.perturb_steps as u64 + 2,
            Perturb::None | Perturb::Random => 0,
        };
        attack + u64::from(moves && self.sam_radius > 0.0)
    }

    /// A + ρ g/‖g‖ with g = ∇_A L(E, A, B).
    pub fn sharpened(&self, team: &Team, parts: &[Part], at: &Point) -> Vector {
        let found = team.mean(parts.iter().map(|part| {
            let loss = stage1::loss(&*part.models.explainer, &part.batches.explainer_val);
            gradient(loss, [&at.explainer, &at.architecture], [1])
        }));
        let [ascent] = found.vectors;
        let norm = ascent.norm();
        if norm == 0.0 {
            return at.architecture.clone();
        }
        let step = ascent.scale(self.sam_radius / norm);
        at.architecture.add_scaled(1.0, &step)
    }

    /// Has E learn as the explainer at θ + δ, for a batch and when this share of the steps is done.
    pub fn set_learners(
        &self,
        team: &Team,
        parts: &mut [Part],
        at: &Point,
        (share, rng): (f64, &mut impl Rng),
    ) {
        let explainer = parts[0].models.explainer.clone();
        let plain = explainer.with_mixing(Mixing {
            auxiliary_skip: 0.0,
            ..explainer.mixing().clone()
        });
        let theta = mixed(&*plain, &at.architecture);
        let ball = Ball {
            parts: explainer.coefficients(),
            centre: &theta,
            epsilon: self.epsilon(share),
            shares: explainer.mixing().relaxation != Relaxation::Sigmoid,
        };
        let start = ball.random(rng);
        let perturbed = match self.perturb {
            Perturb::Adversarial => self.worst((team, parts), at, &ball, start),
            Perturb::Random | Perturb::None => start,
        };
        let shift = Arc::new(perturbed.add_scaled(-1.0, &theta));
        for part in parts {
            let explainer = &part.models.explainer;
            part.models.learner = Some(explainer.with_mixing(Mixing {
                shift: Some(shift.clone()),
                ..explainer.mixing().clone()
            }));
        }
    }

    /// θ + δ of the largest loss that projected gradient steps of 2ε/steps find from a start; θ itself where they find
    /// none larger.
    fn worst(
        &self,
        (team, parts): (&Team, &[Part]),
        at: &Point,
        ball: &Ball,
        start: Vector,
    ) -> Vector {
        let direct: Vec<Arc<dyn Explainer>> = parts
            .iter()
            .map(|part| {
                let explainer = &part.models.explainer;
                explainer.with_mixing(Mixing {
                    relaxation: Relaxation::Direct,
                    ..explainer.mixing().clone()
                })
            })
            .collect();
        let losses = || {
            let all = parts.iter().zip(&direct);
            all.map(|(part, direct)| stage1::loss(&**direct, &part.batches.explainer_train))
        };
        let loss = |theta: &Vector| {
            let each = losses().map(|loss| gradient(loss, [&at.explainer, theta], []));
            team.mean(each).value
        };
        let step = 2.0 * ball.epsilon / self.perturb_steps as f64;
        let mut theta = start;
        for _ in 0..self.perturb_steps {
            let each = losses().map(|loss| gradient(loss, [&at.explainer, &theta], [1]));
            let [ascent] = team.mean(each).vectors;
            let sign = ascent.with(ascent.flat().sign());
            theta = ball.projected(&theta.add_scaled(step, &sign));
        }
        if loss(&theta) < loss(ball.centre) {
            return ball.centre.clone();
        }
        theta
    }
}

/// The mixing weights within ε of some.
struct Ball<'a> {
    parts: Vec<Coefficients>,
    centre: &'a Vector,
    epsilon: f64,
    /// Whether the weights of an edge sum to 1.
    shares: bool,
}

impl Ball<'_> {
    /// A point drawn uniformly, then brought to weights.
    fn random(&self, rng: &mut impl Rng) -> Vector {
        self.mapped(self.centre, |_, value| {
            value + self.epsilon * (2.0 * unit(rng) - 1.0)
        })
    }

    /// The nearest point within ε in every number, then brought to weights.
    fn projected(&self, theta: &Vector) -> Vector {
        self.mapped(theta, |centre, value| {
            value.clamp(centre - self.epsilon, centre + self.epsilon)
        })
    }

    /// Each mixing weight through a map of (centre, value), then clipped to [0, 1] and its row scaled to sum to 1.
    fn mapped(&self, theta: &Vector, mut map: impl FnMut(f64, f64) -> f64) -> Vector {
        let (centre, mut values) = (self.centre.to_f64(), theta.to_f64());
        for of in &self.parts {
            let [edges, _] = of.slot.shape();
            for edge in 0..edges {
                let place = of.edge(edge);
                let row = &mut values[place.clone()];
                for (value, centre) in row.iter_mut().zip(&centre[place]) {
                    *value = map(*centre, *value);
                }
                clipped(row, self.shares);
            }
        }
        theta.with_values(values)
    }
}

/// A row clipped to [0, 1] and, if they are shares, scaled to sum to 1; where nothing is left the largest number is all.
fn clipped(row: &mut [f64], shares: bool) {
    let largest = (0..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
    row.iter_mut()
        .for_each(|value| *value = value.clamp(0.0, 1.0));
    if !shares {
        return;
    }
    if row.iter().sum::<f64>() == 0.0 {
        row[largest] = 1.0;
    }
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::method::{frozen_parts, frozen_rows};
    use crate::network::Stem;
    use crate::rng::{Purpose, stream};
    use crate::space::nas_bench_201::{EDGES, Network, Shape};

    /// What a supernet's mixing weights are, and these with the given first rows, the rest being equal.
    fn weights(rows: &[Vec<f64>]) -> (Vec<Coefficients>, Vector) {
        let supernet = Network::supernet(&Shape {
            channels: 2,
            cells: 1,
            classes: 2,
            image: [1, 8, 8],
            partial: 1,
            stem: Stem::Cifar,
        });
        let supernet = supernet.unwrap();
        let mut values = rows.concat();
        values.resize(EDGES * rows[0].len(), 0.2);
        let layout = supernet.architecture().clone();
        let centre = Vector::zeros(layout, &Device::flex(), DType::F64).with_values(values);
        (supernet.coefficients(), centre)
    }

    #[test]
    fn a_step_of_the_attack_is_brought_back_as_smooth_dartss_is() {
        let frozen = frozen_parts();
        let frozen = &frozen["perturbation"];
        let (parts, centre) = weights(&frozen_rows(&frozen["start"]));
        let ball = Ball {
            parts,
            centre: &centre,
            epsilon: frozen["epsilon"].as_f64().unwrap(),
            shares: true,
        };
        let mut moved = centre.to_f64();
        let steps = frozen_rows(&frozen["moved"]).concat();
        moved[..steps.len()].copy_from_slice(&steps);
        let projected = ball.projected(&centre.with_values(moved)).to_f64();
        let expected = frozen_rows(&frozen["projected"]).concat();
        assert_eq!(expected.len(), steps.len());
        for (ours, theirs) in projected.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
        }
    }

    #[test]
    fn random_mixing_weights_fill_the_ball_and_sum_to_one() {
        let mut rng = stream(1, Purpose::Selection, 0);
        let (parts, centre) = weights(&[vec![0.2; 5]]);
        let ball = Ball {
            parts,
            centre: &centre,
            epsilon: 0.01,
            shares: true,
        };
        let mut far = 0f64;
        for _ in 0..200 {
            let drawn = ball.random(&mut rng).to_f64();
            for (drawn, centre) in drawn.chunks(5).zip(centre.to_f64().chunks(5)) {
                assert!((drawn.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                let off = drawn.iter().zip(centre).map(|(d, c)| (d - c).abs());
                far = off.fold(far, f64::max);
            }
        }
        // Scaling to a sum of 1 takes the largest numbers back a little, or further out.
        assert!((0.009..0.021).contains(&far), "{far}");
    }
}
