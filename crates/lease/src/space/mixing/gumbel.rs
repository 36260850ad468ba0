//! GDAS's mixture (Dong and Yang, arXiv 1910.04465, equations 3 to 5): one operation an edge, drawn by Gumbel numbers
//! g = −ln(−ln u): θ is 1 for the largest α + g and 0 for the others, and its derivative that of
//! softmax((α + g) / τ) (straight through).
//!
//! The authors' code computes the drawn operation alone and takes 1 for what the others would give; here all are computed,
//! so that the derivative with respect to an operation's weight is that operation's.

use crate::space::softmax;

/// The weights of an edge and the derivatives ∂θ_i/∂α_j, for one uniform number each, at this temperature.
pub fn weights(row: &[f64], uniform: &[f64], temperature: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
    let noisy: Vec<f64> = row
        .iter()
        .zip(uniform)
        .map(|(a, u)| a - (-u.ln()).ln())
        .collect();
    let largest = (0..noisy.len()).fold(0, |best, k| if noisy[k] > noisy[best] { k } else { best });
    let theta = (0..noisy.len()).map(|k| f64::from(u8::from(k == largest)));
    let soft = softmax(&noisy.iter().map(|a| a / temperature).collect::<Vec<_>>());
    let jacobian = super::softmax_derivative(&soft)
        .into_iter()
        .map(|row| row.into_iter().map(|d| d / temperature).collect())
        .collect();
    (theta.collect(), jacobian)
}
