//! The distance of DrNAS (Chen et al., arXiv 2006.10355, equation 5) between the distribution of an edge's mixing weights
//! and its prior: Σ_edges KL(Dir(β) ‖ Dir(1)) with β = elu(α) + 1.
//!
//! KL(Dir(β) ‖ Dir(1)) = ln Γ(β₀) − Σ ln Γ(β_k) − ln Γ(n) + Σ (β_k − 1)(ψ(β_k) − ψ(β₀)), β₀ = Σ β_k. The authors' weight is
//! 10⁻³.

use special::Gamma;

use super::Regulariser;
use crate::space::mixing::dirichlet::{concentration, concentration_derivative, ln_gamma};

/// The term at weight 1.
pub struct DirichletPrior;

impl Regulariser for DirichletPrior {
    fn value(&self, rows: &[&[f64]]) -> f64 {
        let of = |row: &&[f64]| {
            let beta: Vec<f64> = row.iter().map(|a| concentration(*a)).collect();
            let all: f64 = beta.iter().sum();
            let each = beta
                .iter()
                .map(|b| (b - 1.0) * (b.digamma() - all.digamma()) - ln_gamma(*b));
            ln_gamma(all) - ln_gamma(beta.len() as f64) + each.sum::<f64>()
        };
        rows.iter().map(of).sum()
    }

    fn gradient(&self, rows: &[&[f64]]) -> Vec<Vec<f64>> {
        let of = |row: &&[f64]| {
            let beta: Vec<f64> = row.iter().map(|a| concentration(*a)).collect();
            let all: f64 = beta.iter().sum();
            let common = (all - beta.len() as f64) * all.trigamma();
            let each = beta.iter().zip(*row);
            each.map(|(b, a)| ((b - 1.0) * b.trigamma() - common) * concentration_derivative(*a))
                .collect()
        };
        rows.iter().map(of).collect()
    }
}
