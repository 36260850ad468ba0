//! How sharply the validation loss bends in A: a sign of a search about to collapse (Zela et al., arXiv
//! 1909.09656).

use crate::network::Vector;

/// The eigenvalue of ∇²_A L(E, A) that is largest in magnitude, by power iteration on the Hessian's products with vectors,
/// `hessian`, from `start`, until it changes by less than `tolerance` of itself, for at most `most` products.
///
/// 0 if the start is, or if the Hessian takes it there.
pub fn dominant_eigenvalue(
    hessian: impl Fn(&Vector) -> Vector,
    start: &Vector,
    most: usize,
    tolerance: f64,
) -> f64 {
    let mut direction = start.clone();
    let mut eigenvalue = 0.0;
    for _ in 0..most {
        let norm = direction.norm();
        if norm == 0.0 {
            return 0.0;
        }
        let unit = direction.scale(1.0 / norm);
        let product = hessian(&unit);
        let before = std::mem::replace(&mut eigenvalue, unit.dot(&product));
        if (eigenvalue - before).abs() <= tolerance * eigenvalue.abs() {
            break;
        }
        direction = product;
    }
    eigenvalue
}
