//! Means, and how far chance may have moved them.

use crate::rng::{Purpose, below, stream};

/// Resamplings.
const RESAMPLINGS: usize = 10_000;

/// Values below which the [`interval`] of their mean is known to be too narrow.
pub const FEW: usize = 8;

/// The mean of some values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The variance of a share of right answers among so many that comes from their number alone, p (1 − p) / n. Where all are right,
/// or none is, that would be 0, as if nothing could change; one more of each kind is counted then.
pub fn share_variance(share: f64, of: usize) -> f64 {
    let of = of.max(1) as f64;
    match share * (1.0 - share) {
        product if product > 0.0 => product / of,
        _ => {
            let near = (share * of + 1.0) / (of + 2.0);
            near * (1.0 - near) / of
        }
    }
}

/// A 95 % interval of the mean, by resampling the values (percentile bootstrap; Efron & Tibshirani 1993, chapter 13): the 2.5 and
/// 97.5 % points of the means of 10,000 resamplings. None for fewer than two values. The same values give the same interval.
pub fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mut rng = stream(0, Purpose::Bootstrap, n as u64);
    let mut means: Vec<f64> = (0..RESAMPLINGS)
        .map(|_| (0..n).map(|_| values[below(&mut rng, n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLINGS - 1) as f64 * share).round() as usize];
    Some([at(0.025), at(0.975)])
}
