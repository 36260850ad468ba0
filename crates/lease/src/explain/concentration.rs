//! How concentrated a map is, and whether it has a ranking at all.

/// Gini's index of numbers of at least 0 (Hurley & Rickard, arXiv 0811.4706; of explanations: Chalasani et al., arXiv 1810.06583):
/// with x₁ ≤ … ≤ x_N
///
/// G = 1 − 2 Σ_k (x_k / Σ x) · (N − k + ½) / N,
///
/// 0 where all are equal, near 1 where one is everything. 0 for nothing but zeros.
pub fn gini(map: &[f32]) -> f64 {
    let mut sorted: Vec<f64> = map.iter().map(|v| f64::from(*v)).collect();
    sorted.sort_by(f64::total_cmp);
    let (n, total) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    if total == 0.0 {
        return 0.0;
    }
    let ranked = sorted.iter().zip(1..);
    let sum: f64 = ranked
        .map(|(x, k)| x / total * (n - f64::from(k) + 0.5) / n)
        .sum();
    1.0 - 2.0 * sum
}

/// The share of pixels that another pixel of the image equals exactly: among them the map has no ranking.
pub fn ties(map: &[f32]) -> f64 {
    let mut sorted = map.to_vec();
    sorted.sort_by(f32::total_cmp);
    let n = sorted.len();
    let tied = |i: &usize| {
        let before = *i > 0 && sorted[i - 1] == sorted[*i];
        before || (i + 1 < n && sorted[i + 1] == sorted[*i])
    };
    (0..n).filter(tied).count() as f64 / n as f64
}

/// The share of the numbers of a δ, `[channels, h, w]`, that are at ±ε, which is one a channel.
pub fn at_epsilon(delta: &[f32], epsilon: &[f64]) -> f64 {
    let area = delta.len() / epsilon.len();
    let planes = delta.chunks_exact(area).zip(epsilon);
    let at = planes.map(|(plane, epsilon)| {
        let most = *epsilon as f32;
        plane.iter().filter(|v| v.abs() >= most).count()
    });
    at.sum::<usize>() as f64 / delta.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concentration_is_none_where_all_is_equal_and_most_where_one_is_all() {
        assert!(gini(&[3.0; 10]).abs() < 1e-12);
        let mut one = [0.0; 10];
        one[4] = 2.0;
        assert!((gini(&one) - 0.9).abs() < 1e-12);
        // By the mean of all differences: Σ|xᵢ − xⱼ| / (2 N² mean).
        assert!((gini(&[1.0, 2.0, 3.0, 6.0]) - 32.0 / (2.0 * 16.0 * 3.0)).abs() < 1e-12);
        assert_eq!(gini(&[0.0; 4]), 0.0);
        assert_eq!(ties(&[1.0, 2.0, 1.0, 3.0, 4.0]), 0.4);
        assert_eq!(at_epsilon(&[0.1, -0.1, 0.05, 0.2], &[0.1, 0.2]), 0.75);
    }
}
