//! Whether an explanation depends on what the network has learned: with all weights drawn anew it should be another one. This is a check
//! that is passed or failed, and ranks nothing.
//!
//! - Adebayo et al., *Sanity Checks for Saliency Maps*, arXiv 1810.03292: Spearman's correlation of the maps before and after, here
//!   of maps smoothed by a Gaussian of a sixteenth of the side, since neighbouring pixels are interchangeable. Beside it stands the same
//!   correlation for the network as it is, with the attack's start drawn anew: the most that can be expected.
//! - Hedström et al., *Sanity Checks Revisited*, arXiv 2401.06465, the efficient variant: the relative rise of the entropy of the map's
//!   histogram, (H(after) − H(before)) / H(before), 100 bins between the map's least and largest number. What a network of random
//!   weights is explained by should be less orderly.

use super::maps::smoothed;

/// Bins of a histogram.
const BINS: usize = 100;

/// The entropy in nats of the histogram of a map.
pub fn entropy(map: &[f32]) -> f64 {
    let bound = |pick: fn(f32, f32) -> f32| map.iter().copied().reduce(pick).unwrap_or(0.0);
    let (low, high) = (f64::from(bound(f32::min)), f64::from(bound(f32::max)));
    if low == high {
        return 0.0;
    }
    let mut counts = [0u32; BINS];
    for value in map {
        let at = (f64::from(*value) - low) / (high - low) * BINS as f64;
        counts[(at as usize).min(BINS - 1)] += 1;
    }
    let n = map.len() as f64;
    let filled = counts.iter().filter(|count| **count > 0);
    filled
        .map(|count| {
            let p = f64::from(*count) / n;
            -p * p.ln()
        })
        .sum()
}

/// (H(after) − H(before)) / H(before); the rise itself where H(before) is 0.
pub fn rise(before: &[f32], after: &[f32]) -> f64 {
    let (before, after) = (entropy(before), entropy(after));
    if before == 0.0 {
        after
    } else {
        (after - before) / before
    }
}

/// Spearman's correlation of two maps, smoothed; 0 where one of them is constant.
pub fn likeness(a: &[f32], b: &[f32], shape: [usize; 2]) -> f64 {
    let deviation = shape[0].min(shape[1]) as f64 / 16.0;
    let [a, b] = [a, b].map(|map| ranks(&smoothed(map, shape, deviation)));
    correlation(&a, &b)
}

/// The rank of each number; equals share the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let equal = |to: &usize| values[order[*to]] == values[order[from]];
        let to = (from..order.len()).take_while(equal).count() + from;
        for place in &order[from..to] {
            ranks[*place] = (from + to - 1) as f64 / 2.0;
        }
        from = to;
    }
    ranks
}

/// Pearson's correlation; 0 where one side is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    if aa == 0.0 || bb == 0.0 {
        return 0.0;
    }
    ab / (aa * bb).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_the_histogram_and_correlation_is_of_ranks() {
        assert_eq!(entropy(&[5.0; 8]), 0.0);
        assert!((entropy(&[0.0, 0.0, 1.0, 1.0]) - 2f64.ln()).abs() < 1e-12);
        let spread: Vec<f32> = (0..100).map(|i| i as f32).collect();
        assert!((entropy(&spread) - 100f64.ln()).abs() < 1e-12);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
        let rising = |power: i32| ranks(&spread.iter().map(|v| v.powi(power)).collect::<Vec<_>>());
        assert!((correlation(&rising(1), &rising(3)) - 1.0).abs() < 1e-12);
        assert!((likeness(&spread, &spread, [10, 10]) - 1.0).abs() < 1e-12);
        let falling: Vec<f32> = spread.iter().map(|v| -v).collect();
        assert!((likeness(&spread, &falling, [10, 10]) + 1.0).abs() < 1e-12);
    }
}
