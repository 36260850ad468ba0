//! β-decay (Ye et al., *β-DARTS*, arXiv 2203.01665, equation 8): λ · (1/E) Σ_edges log Σ_k exp α_k.
//!
//! Its gradient is λ/E · softmax(α): the larger a coefficient, the more it is pulled back, which keeps the coefficients'
//! variance and range small. The authors let λ grow linearly with the epoch, to 50 on NAS-Bench-201 with 100 epochs and
//! to 25 at most on the DARTS space.

use super::{Regulariser, rows_of};
use crate::space::softmax;

/// The term at weight 1.
pub struct BetaDecay;

impl Regulariser for BetaDecay {
    fn value(&self, rows: &[&[f64]]) -> f64 {
        let of = |row: &&[f64]| {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|a| (a - largest).exp()).sum();
            largest + sum.ln()
        };
        rows.iter().map(of).sum::<f64>() / rows_of(rows)
    }

    fn gradient(&self, rows: &[&[f64]]) -> Vec<Vec<f64>> {
        let share = 1.0 / rows_of(rows);
        let of = |row: &&[f64]| softmax(row).into_iter().map(|p| p * share).collect();
        rows.iter().map(of).collect()
    }
}
