//! How well a supernet's layers agree on the architecture (Movahedi et al., *Λ-DARTS*, arXiv 2210.07998, equation 7).
//!
//! g_l = ∂L(E, θ)/∂θ_l is what cell l asks of the mixing weights that all cells of its kind share. Λ is the mean cosine of
//! g_l and g_m over pairs of cells, summed over the kinds of cells. Where it is low, cells far from the classifier, whose
//! gradients are small, have no say, and skip-connects win. E is trained on L − λ Λ: ∇_E Λ = mixed(L, θ, v; E) with
//! v_l = ∂Λ/∂g_l = w (1 − u_l u_lᵀ) Σ_m u_m / ‖g_l‖, u = g/‖g‖, w one over the number of pairs.
//!
//! The authors' code takes the product by a finite difference; here it is exact.

use super::product::{MixedProduct, gradient};
use super::{Examples, stage1};
use crate::network::Vector;
use crate::space::Explainer;
use crate::space::mixing::{mixed, spread};

/// Λ and ∇_E Λ at a point.
pub struct Agreement {
    /// The sum over kinds of cells of the mean cosine of pairs of cells.
    pub value: f64,
    /// ∇_E of it.
    pub gradient: Vector,
}

/// How well the layers agree on a batch, at E and A; products are computed as `product` says.
pub fn agreement(
    explainer: &dyn Explainer,
    [e, a]: [&Vector; 2],
    batch: &Examples,
    product: MixedProduct,
) -> Agreement {
    let untied = explainer.untied();
    let theta = spread(explainer, &*untied, &mixed(explainer, a));
    let loss = stage1::loss(&*untied, batch);
    let found = gradient(&loss, [e, &theta], [1]);
    let [layers] = found.vectors;
    let layers = layers.to_f64();
    let parts = untied.coefficients();
    let mut direction = vec![0.0; layers.len()];
    let mut value = 0.0;
    let mut kinds: Vec<&str> = parts.iter().map(|of| of.kind).collect();
    kinds.dedup();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let cells: Vec<std::ops::Range<usize>> = parts
            .iter()
            .filter(|of| of.kind == kind)
            .map(|of| {
                let first = of.slot.place();
                first..first + of.slot.shape().iter().product::<usize>()
            })
            .collect();
        let pairs = (cells.len() * cells.len().saturating_sub(1) / 2) as f64;
        if pairs == 0.0 {
            continue;
        }
        let norm = |cell: &std::ops::Range<usize>| {
            let all = layers[cell.clone()].iter();
            all.map(|g| g * g).sum::<f64>().sqrt()
        };
        let norms: Vec<f64> = cells.iter().map(norm).collect();
        let size = cells[0].len();
        let mut sum = vec![0.0; size];
        for (cell, norm) in cells.iter().zip(&norms).filter(|(_, norm)| **norm > 0.0) {
            let unit = layers[cell.clone()].iter().map(|g| g / norm);
            sum.iter_mut().zip(unit).for_each(|(sum, u)| *sum += u);
        }
        // ‖Σ u‖² counts each pair twice, and each cell with itself.
        let alone = norms.iter().filter(|norm| **norm > 0.0).count() as f64;
        let square: f64 = sum.iter().map(|s| s * s).sum();
        value += (square - alone) / 2.0 / pairs;
        for (cell, norm) in cells.iter().zip(&norms).filter(|(_, norm)| **norm > 0.0) {
            let unit: Vec<f64> = layers[cell.clone()].iter().map(|g| g / norm).collect();
            let along: f64 = unit.iter().zip(&sum).map(|(u, s)| u * s).sum();
            for ((to, u), s) in direction[cell.clone()].iter_mut().zip(&unit).zip(&sum) {
                *to = (s - along * u) / norm / pairs;
            }
        }
    }
    let direction = theta.with_values(direction);
    let [gradient] = product.product(&loss, [e, &theta], (1, &direction), [0]);
    Agreement { value, gradient }
}
