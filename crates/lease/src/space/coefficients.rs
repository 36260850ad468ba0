//! Mixing coefficients, of whatever space.

/// The softmax of one row.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|a| (a - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// The mean entropy of the rows, in nats: the logarithm of the number of operations when nothing is decided,
/// 0 when everything is.
pub fn entropy(rows: &[Vec<f64>]) -> f64 {
    let of = |row: &Vec<f64>| -> f64 {
        let positive = row.iter().filter(|p| **p > 0.0);
        positive.map(|p| -p * p.ln()).sum()
    };
    rows.iter().map(of).sum::<f64>() / rows.len().max(1) as f64
}
