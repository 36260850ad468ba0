//! FairDARTS's zero-one loss (Chu et al., arXiv 1911.12126, equation 4): −(1/N) Σ (σ(α) − ½)² over all N coefficients, which
//! drives independent weights to 0 or 1. Meant for `--sampler sigmoid`; the authors' weight is 10.

use super::Regulariser;
use crate::space::mixing::sigmoid;

/// The term at weight 1.
pub struct ZeroOne;

fn count(rows: &[&[f64]]) -> f64 {
    rows.iter().map(|row| row.len()).sum::<usize>().max(1) as f64
}

impl Regulariser for ZeroOne {
    fn value(&self, rows: &[&[f64]]) -> f64 {
        let all = rows.iter().flat_map(|row| row.iter());
        -all.map(|a| (sigmoid(*a) - 0.5).powi(2)).sum::<f64>() / count(rows)
    }

    fn gradient(&self, rows: &[&[f64]]) -> Vec<Vec<f64>> {
        let share = -2.0 / count(rows);
        let of = |a: &f64| {
            let s = sigmoid(*a);
            share * (s - 0.5) * s * (1.0 - s)
        };
        rows.iter()
            .map(|row| row.iter().map(of).collect())
            .collect()
    }
}
