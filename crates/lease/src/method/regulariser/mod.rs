//! What is added to the architecture's gradient: terms R(A) of the coefficients alone, one file each, with formula,
//! source and the authors' weight.
//!
//! A [`Regulariser`] is a pure function of the rows of A, one row an edge; several are added up. In a loss of A they
//! stand beside L(E', A, B_e^val) + γ L(W', B_a^val).

mod beta_decay;
mod dirichlet_prior;
mod over_budget;
mod zero_one;

pub use beta_decay::BetaDecay;
pub use dirichlet_prior::DirichletPrior;
pub use over_budget::{OverBudget, over_budget};
pub use zero_one::ZeroOne;

use crate::config::{Rule, section};
use crate::network::Vector;

section! {
    /// Regularisers.
    RegulariserSettings, "regulariser", "" {
        /// β-decay: the weight, at the end of the search, of the edges' mean log-sum-exp of A, which keeps coefficients close together. It grows linearly from 0 (authors: 50 on NAS-Bench-201, 25 on the DARTS space; best for short searches: about 5). 0 means none.
        beta: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Weight of the distance (KL) of each edge's Dirichlet distribution to the uniform one (DrNAS: 0.001). 0 means none.
        dirichlet_prior: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Weight of the zero-one loss, which drives the weights of --sampler sigmoid to 0 or 1 (FairDARTS: 10). 0 means none.
        zero_one: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Weight, at the end of the search, of the agreement of the supernet's layers on the architecture, towards which the explainer's weights are trained (Λ-DARTS: 0.25). It grows linearly from 0, and takes three more passes of the explainer. 0 means none.
        lambda: f64 = 0.0 => Rule::NOT_NEGATIVE;
    }
}

/// A term R of A's rows.
pub trait Regulariser {
    /// R.
    fn value(&self, rows: &[&[f64]]) -> f64;

    /// ∂R/∂α, row by row.
    fn gradient(&self, rows: &[&[f64]]) -> Vec<Vec<f64>>;
}

/// How many rows, as a divisor.
fn rows_of(rows: &[&[f64]]) -> f64 {
    rows.len().max(1) as f64
}

/// The sum of the terms at a point.
#[derive(Clone, Debug)]
pub struct Added {
    /// R, weighted.
    pub value: f64,
    /// ∇_A R, weighted.
    pub gradient: Vector,
}

impl RegulariserSettings {
    /// Passes of the explainer that they add to a step.
    pub fn passes(&self) -> u64 {
        if self.lambda > 0.0 { 3 } else { 0 }
    }

    /// The terms with their weights when this share of the search's steps with the architecture is done.
    fn terms(&self, share: f64) -> Vec<(f64, Box<dyn Regulariser>)> {
        let all: [(f64, Box<dyn Regulariser>); 3] = [
            (self.beta * share, Box::new(BetaDecay)),
            (self.dirichlet_prior, Box::new(DirichletPrior)),
            (self.zero_one, Box::new(ZeroOne)),
        ];
        all.into_iter()
            .filter(|(weight, _)| *weight > 0.0)
            .collect()
    }

    /// R and its gradient at A when this share (0 to 1) of the search's steps with the architecture is done; none if there is no
    /// term. The parts of A of rank 2 are the coefficients, an edge a row; the strengths of whole edges have no part in it.
    pub fn added(&self, architecture: &Vector, share: f64) -> Option<Added> {
        added(architecture, self.terms(share))
    }
}

/// The sum of terms with these weights at A; none if there is no term.
fn added(architecture: &Vector, terms: Vec<(f64, Box<dyn Regulariser + '_>)>) -> Option<Added> {
    if terms.is_empty() {
        return None;
    }
    let values = architecture.to_f64();
    let layout = architecture.layout();
    let mut places = Vec::new();
    for entry in layout.entries() {
        if let [_, operations] = entry.shape[..] {
            places.extend(
                entry
                    .range
                    .clone()
                    .step_by(operations)
                    .map(|at| at..at + operations),
            );
        }
    }
    let rows: Vec<&[f64]> = places.iter().map(|place| &values[place.clone()]).collect();
    let mut gradient = vec![0.0; values.len()];
    let mut value = 0.0;
    for (weight, term) in terms {
        value += weight * term.value(&rows);
        for (place, row) in places.iter().zip(term.gradient(&rows)) {
            let to = gradient[place.clone()].iter_mut();
            to.zip(row).for_each(|(sum, g)| *sum += weight * g);
        }
    }
    Some(Added {
        value,
        gradient: architecture.with_values(gradient),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{frozen_parts, frozen_rows};

    const ROWS: [[f64; 3]; 2] = [[0.4, -1.2, 2.5], [-0.3, 0.1, 0.7]];

    fn rows(of: &[[f64; 3]; 2]) -> [&[f64]; 2] {
        [&of[0], &of[1]]
    }

    #[test]
    fn gradients_of_terms_are_those_of_central_differences() {
        let terms: [&dyn Regulariser; 3] = [&BetaDecay, &DirichletPrior, &ZeroOne];
        for (number, term) in terms.into_iter().enumerate() {
            let gradient = term.gradient(&rows(&ROWS));
            for (edge, row) in gradient.iter().enumerate() {
                for (k, exact) in row.iter().enumerate() {
                    let at = |shift: f64| {
                        let mut moved = ROWS;
                        moved[edge][k] += shift;
                        term.value(&rows(&moved))
                    };
                    let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                    let error = (difference - exact).abs();
                    assert!(error < 1e-9, "term {number}: {difference} against {exact}");
                }
            }
        }
    }

    #[test]
    fn terms_and_their_gradients_are_those_of_the_authors_formulas_in_pytorch() {
        let frozen = frozen_parts();
        let alphas = frozen_rows(&frozen["alphas"]);
        let rows: Vec<&[f64]> = alphas.iter().map(Vec::as_slice).collect();
        // PyTorch's trigamma function is off by up to 1.2e-9.
        let terms: [(&str, &dyn Regulariser, f64); 3] = [
            ("beta_decay", &BetaDecay, 1e-12),
            ("dirichlet_prior", &DirichletPrior, 1e-8),
            ("zero_one", &ZeroOne, 1e-12),
        ];
        for (name, term, close) in terms {
            let expected = &frozen[name];
            let error = (term.value(&rows) - expected["value"].as_f64().unwrap()).abs();
            assert!(error < 1e-12, "{name}: {error}");
            let gradient = term.gradient(&rows).concat();
            let expected = frozen_rows(&expected["gradients"][0]).concat();
            assert_eq!(gradient.len(), expected.len());
            for (ours, theirs) in gradient.iter().zip(&expected) {
                assert!((ours - theirs).abs() < close, "{name}: {ours} {theirs}");
            }
        }
    }
}
