//! How A becomes the weights of the mixture on every edge: softmax, sigmoid and the skip-connects beside edges here, a file
//! for each sampler that draws, with formula and source.
//!
//! A [`Mixing`] belongs to a supernet; all passes of a step share it, so that a step's derivatives are those of one function.
//! Softmax, sigmoid and the mean of a Dirichlet distribution are computed on dual numbers, to any order that is asked
//! for. A drawn mixture θ(α) is computed on the host with its derivative, and enters a pass as θ(α₀) + ∂θ/∂α · (α − α₀) at
//! the α₀ of the pass: its value and first derivative are exact, its second derivative is 0.

pub mod dirichlet;
pub mod gumbel;
mod settings;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

pub use settings::{MixingSettings, Sampler};

use super::Explainer;
use super::coefficients::softmax;
use crate::network::{Dual, Leaves, Slot, Vector};
pub use crate::rng::Draw;
use crate::rng::{Purpose, stream, unit};

impl Draw {
    /// The uniform numbers of a part of A.
    fn uniform(self, slot: &Slot<2>) -> Vec<f64> {
        let [edges, operations] = slot.shape();
        let (start, count) = (slot.place(), edges * operations);
        let mut rng = stream(self.seed, Purpose::Mixture, self.step);
        let all = (0..start + count).map(|_| unit(&mut rng));
        all.skip(start).collect()
    }
}

/// How an edge's α become its weights θ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Relaxation {
    /// θ = softmax(α) (DARTS, arXiv 1806.09055).
    #[default]
    Softmax,
    /// θ = σ(α), each operation for itself (FairDARTS, arXiv 1911.12126).
    Sigmoid,
    /// θ = β / Σ β, β = elu(α) + 1: the mean of what DrNAS draws.
    DirichletMean,
    /// θ ~ Dir(β) (DrNAS, see [`dirichlet`]).
    Dirichlet(Draw),
    /// One operation (GDAS, see [`gumbel`]).
    Gumbel {
        /// What it is drawn by.
        draw: Draw,
        /// τ.
        temperature: f64,
    },
    /// θ = α: A holds the weights themselves.
    Direct,
}

/// How A becomes the weights of a supernet's mixtures.
#[derive(Clone, Debug, Default)]
pub struct Mixing {
    /// From α to θ.
    pub relaxation: Relaxation,
    /// What is added to the weight of a skip-connect: an auxiliary one beside the candidates (DARTS−, arXiv 2009.01027). On an
    /// edge that halves the resolution it shares the candidate's weights.
    pub auxiliary_skip: f64,
    /// What is added to θ, in the layout of A; a constant.
    pub shift: Option<Arc<Vector>>,
}

/// One kind of cell's coefficients in A.
#[derive(Clone, Debug)]
pub struct Coefficients {
    /// The kind: `normal`, `reduction`, or `cell` where there is but one.
    pub kind: &'static str,
    /// Where they lie in A, `[edges, operations]`.
    pub slot: Slot<2>,
    /// For each edge which of its operations is a skip-connect.
    pub skips: Vec<Option<usize>>,
    /// For each edge which of its operations can be derived.
    pub derivable: Vec<Vec<usize>>,
    /// The edges into each node where a derived cell keeps two of them; nothing where it keeps all.
    pub nodes: Vec<Range<usize>>,
}

impl Coefficients {
    /// Where an edge's coefficients lie in A, as a flat vector.
    pub fn edge(&self, edge: usize) -> Range<usize> {
        let [_, operations] = self.slot.shape();
        let first = self.slot.place() + edge * operations;
        first..first + operations
    }
}

/// For each kind of cell and each edge the operation of a derived cell; none on edges that it has not.
pub type Choice = Vec<Vec<Option<usize>>>;

/// The weights θ, in A's layout, that are 1 where `choice` says and 0 elsewhere; `like` gives what else is in A.
pub fn one_hot(parts: &[Coefficients], choice: &Choice, like: &Vector) -> Vector {
    chosen(parts, choice, like, [0.0, 1.0])
}

/// An A from which `choice` is derived.
pub fn decided(parts: &[Coefficients], choice: &Choice, like: &Vector) -> Vector {
    // Under softmax, sigmoid and Dirichlet mean alike a kept edge outweighs one that is level.
    chosen(parts, choice, &like.scale(0.0), [0.0, 20.0])
}

fn chosen(parts: &[Coefficients], choice: &Choice, like: &Vector, values: [f64; 2]) -> Vector {
    let mut flat = like.to_f64();
    for (of, choice) in parts.iter().zip(choice) {
        for (edge, chosen) in choice.iter().enumerate() {
            for (k, place) in of.edge(edge).enumerate() {
                flat[place] = values[usize::from(*chosen == Some(k))];
            }
        }
    }
    like.with_values(flat)
}

impl Mixing {
    /// A holds the weights themselves.
    pub fn direct() -> Self {
        Self {
            relaxation: Relaxation::Direct,
            ..Self::default()
        }
    }

    /// θ `[edges, operations]` of one kind of cell.
    pub fn weights(&self, architecture: &Leaves, of: &Coefficients) -> Dual<2> {
        let alphas = architecture.get(&of.slot);
        let drawn = |draw: Draw, weights: &dyn Fn(&[f64], &[f64]) -> Weighed| {
            let (uniform, n) = (draw.uniform(&of.slot), of.slot.shape()[1]);
            linearised(alphas.clone(), |edge, row| {
                weights(row, &uniform[edge * n..(edge + 1) * n])
            })
        };
        let theta = match self.relaxation {
            Relaxation::Softmax => alphas.softmax(),
            Relaxation::Sigmoid => alphas.sigmoid(),
            Relaxation::DirichletMean => alphas.elu_plus_one().normalised(),
            Relaxation::Dirichlet(draw) => drawn(draw, &dirichlet::weights),
            Relaxation::Gumbel { draw, temperature } => {
                drawn(draw, &|row, u| gumbel::weights(row, u, temperature))
            }
            Relaxation::Direct => alphas,
        };
        let theta = match self.skip_weights(of) {
            Some(extra) => theta.plus(&extra),
            None => theta,
        };
        match &self.shift {
            Some(shift) => {
                let shift = shift.part(&of.slot).into_data();
                let extra: Vec<f64> = shift.iter::<f64>().collect();
                theta.plus(&extra)
            }
            None => theta,
        }
    }

    /// The auxiliary skip-connects' share of θ.
    fn skip_weights(&self, of: &Coefficients) -> Option<Vec<f64>> {
        if self.auxiliary_skip == 0.0 {
            return None;
        }
        let [edges, operations] = of.slot.shape();
        let mut extra = vec![0.0; edges * operations];
        for (edge, skip) in of.skips.iter().enumerate() {
            if let Some(k) = skip {
                extra[edge * operations + k] = self.auxiliary_skip;
            }
        }
        Some(extra)
    }

    /// What an edge's α stand for when nothing is drawn or added: what cells are derived from.
    pub fn expected(&self, row: &[f64]) -> Vec<f64> {
        match self.relaxation {
            Relaxation::Softmax | Relaxation::Gumbel { .. } => softmax(row),
            Relaxation::Sigmoid => row.iter().map(|a| sigmoid(*a)).collect(),
            Relaxation::DirichletMean | Relaxation::Dirichlet(_) => {
                let beta: Vec<f64> = row.iter().map(|a| dirichlet::concentration(*a)).collect();
                let all: f64 = beta.iter().sum();
                beta.into_iter().map(|b| b / all).collect()
            }
            Relaxation::Direct => row.to_vec(),
        }
    }
}

impl Mixing {
    /// Carries derivatives with respect to what an edge's α [stand for](Mixing::expected) back to α.
    pub fn carried_back(&self, row: &[f64], by_weight: &[f64]) -> Vec<f64> {
        let theta = self.expected(row);
        let mean: f64 = theta.iter().zip(by_weight).map(|(t, v)| t * v).sum();
        let each = row.iter().zip(&theta).zip(by_weight);
        match self.relaxation {
            Relaxation::Softmax | Relaxation::Gumbel { .. } => {
                each.map(|((_, t), v)| t * (v - mean)).collect()
            }
            Relaxation::Sigmoid => each.map(|((_, t), v)| t * (1.0 - t) * v).collect(),
            Relaxation::DirichletMean | Relaxation::Dirichlet(_) => {
                let all: f64 = row.iter().map(|a| dirichlet::concentration(*a)).sum();
                each.map(|((a, _), v)| dirichlet::concentration_derivative(*a) * (v - mean) / all)
                    .collect()
            }
            Relaxation::Direct => by_weight.to_vec(),
        }
    }
}

/// θ at A, in A's layout: a supernet whose relaxation is [`Relaxation::Direct`] computes the same from it.
pub fn mixed(explainer: &dyn Explainer, architecture: &Vector) -> Vector {
    let leaves = architecture.open(None, false);
    let parts = explainer.coefficients();
    let parts = parts.iter().map(|of| {
        let theta = explainer.mixing().weights(&leaves, of).value;
        let [edges, operations] = theta.dims();
        (of.slot.flat(), theta.reshape([edges * operations]))
    });
    architecture.replace(parts.collect())
}

/// θ of cells that share it, in the layout of the same supernet [untied](Explainer::untied).
pub fn spread(tied: &dyn Explainer, untied: &dyn Explainer, theta: &Vector) -> Vector {
    let (from, layout) = (theta.to_f64(), untied.architecture());
    let mut values = vec![0.0; layout.len()];
    let shared = tied.coefficients();
    for cell in untied.coefficients() {
        let Some(of) = shared.iter().find(|of| of.kind == cell.kind) else {
            unreachable!("a cell is of one of the kinds");
        };
        let [edges, operations] = of.slot.shape();
        let (to, at) = (cell.slot.place(), of.slot.place());
        values[to..to + edges * operations].copy_from_slice(&from[at..at + edges * operations]);
    }
    // What else is in A, such as strengths of edges, is shared.
    for entry in layout.entries() {
        let same = tied.architecture().entries().iter();
        if let Some(of) = same.clone().find(|of| of.name == entry.name) {
            values[entry.range.clone()].copy_from_slice(&from[of.range.clone()]);
        }
    }
    Vector::zeros(layout.clone(), &theta.flat().device(), theta.flat().dtype()).with_values(values)
}

type Weighed = (Vec<f64>, Vec<Vec<f64>>);

/// θ(α₀) + ∂θ/∂α · (α − α₀), edge by edge, where `weights` gives θ and ∂θ_i/∂α_j at a row of α₀.
fn linearised(alphas: Dual<2>, weights: impl Fn(usize, &[f64]) -> Weighed) -> Dual<2> {
    let [edges, operations] = alphas.value.dims();
    let at: Vec<f64> = alphas.value.to_data().iter::<f64>().collect();
    let (mut theta, mut jacobian) = (Vec::new(), Vec::new());
    for (edge, row) in at.chunks(operations).enumerate() {
        let (weights, derivatives) = weights(edge, row);
        theta.extend(weights);
        jacobian.extend(derivatives.into_iter().flatten());
    }
    let like = (&alphas.value.device(), alphas.value.dtype());
    let theta = Tensor::<2>::from_data(TensorData::new(theta, [edges, operations]), like);
    let shape = [edges, operations, operations];
    let jacobian = Tensor::<3>::from_data(TensorData::new(jacobian, shape), like);
    let through = |t: Tensor<2>| {
        let product = jacobian.clone().matmul(t.reshape([edges, operations, 1]));
        product.reshape([edges, operations])
    };
    let value = if alphas.value.is_tracked() {
        let moved = alphas.value.clone() - alphas.value.clone().detach();
        through(moved) + theta
    } else {
        theta
    };
    Dual {
        value,
        tangent: alphas.tangent.map(through),
    }
}

/// ∂ softmax_i / ∂ x_j = s_i (1(i = j) − s_j).
fn softmax_derivative(s: &[f64]) -> Vec<Vec<f64>> {
    let row = |i: usize| (0..s.len()).map(move |j| s[i] * (f64::from(u8::from(i == j)) - s[j]));
    (0..s.len()).map(|i| row(i).collect()).collect()
}

/// 1 / (1 + e^(−x)).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use special::Gamma;

    const ROW: [f64; 4] = [0.3, -1.1, 1.7, -0.2];
    const UNIFORM: [f64; 4] = [0.31, 0.83, 0.07, 0.62];

    fn worst(weights: impl Fn(&[f64]) -> Weighed, soft: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
        let (_, jacobian) = weights(&ROW);
        let mut worst: f64 = 0.0;
        for j in 0..ROW.len() {
            let side = |shift: f64| {
                let mut moved = ROW;
                moved[j] += shift;
                soft(&moved)
            };
            let (plus, minus) = (side(1e-5), side(-1e-5));
            for i in 0..ROW.len() {
                let difference = (plus[i] - minus[i]) / 2e-5;
                worst = worst.max((difference - jacobian[i][j]).abs());
            }
        }
        worst
    }

    #[test]
    fn derivatives_of_drawn_weights_are_those_of_central_differences() {
        let dirichlet = |row: &[f64]| dirichlet::weights(row, &UNIFORM);
        assert!(worst(dirichlet, |row| dirichlet(row).0) < 1e-8);
        let soft = |row: &[f64]| {
            let noisy = row.iter().zip(UNIFORM).map(|(a, u)| a - (-u.ln()).ln());
            softmax(&noisy.map(|a| a / 2.0).collect::<Vec<_>>())
        };
        assert!(worst(|row| gumbel::weights(row, &UNIFORM, 2.0), soft) < 1e-8);
        let (theta, _) = gumbel::weights(&ROW, &UNIFORM, 2.0);
        assert_eq!(theta, [0.0, 0.0, 1.0, 0.0], "1.7 − 0.98 is the largest");
    }

    #[test]
    fn a_gamma_variable_has_the_probability_it_was_drawn_by() {
        for beta in [0.01, 0.3, 1.0, 2.5, 9.0] {
            for u in [1e-3, 0.2, 0.5, 0.97] {
                let [ln_g, _] = dirichlet::log_gamma_variable(beta, u);
                let p = ln_g.exp().inc_gamma(beta);
                // Below what f64 holds, P(β, g) = g^β / Γ(β + 1).
                let p = match ln_g < -700.0 {
                    true => (beta * ln_g - dirichlet::ln_gamma(beta + 1.0)).exp(),
                    false => p,
                };
                assert!((p - u).abs() < 1e-10, "P({beta}, g) is {p}, not {u}");
            }
        }
        // Γ(1) is the exponential distribution.
        let [ln_g, _] = dirichlet::log_gamma_variable(1.0, 0.4);
        assert!((ln_g.exp() + 0.6f64.ln()).abs() < 1e-13);
    }
}
