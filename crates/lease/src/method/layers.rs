//! How well a supernet's layers agree on the architecture (Movahedi et al., *Λ-DARTS*, arXiv 2210.07998, equation 7).
//!
//! g_l = ∂L(E, θ)/∂θ_l is what cell l asks of the mixing weights that all cells of its kind share. Λ is the mean cosine of
//! g_l and g_m over pairs of cells, summed over the kinds of cells. Where it is low, cells far from the classifier, whose
//! gradients are small, have no say, and skip-connects win. E is trained on L − λ Λ: ∇_E Λ = mixed(L, θ, v; E) with
//! v_l = ∂Λ/∂g_l = w (1 − u_l u_lᵀ) Σ_m u_m / ‖g_l‖, u = g/‖g‖, w one over the number of pairs.
//!
//! The authors' code takes the product by a finite difference; here it is exact.

use std::ops::Range;
use std::sync::Arc;

use super::product::{MixedProduct, gradient};
use super::{Examples, stage1};
use crate::collective::Team;
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

/// How well the layers agree on a batch, at E and A; products are computed as `product` says. The batch is given as this
/// process's parts of it, with the explainer in each.
pub fn agreement(
    team: &Team,
    parts: &[(&dyn Explainer, &Examples)],
    [e, a]: [&Vector; 2],
    product: MixedProduct,
) -> Agreement {
    let untied: Vec<Arc<dyn Explainer>> = parts.iter().map(|(of, _)| of.untied()).collect();
    let theta = spread(parts[0].0, &*untied[0], &mixed(parts[0].0, a));
    let losses = || {
        let all = parts.iter().zip(&untied);
        all.map(|((_, batch), untied)| stage1::loss(&**untied, batch))
    };
    let found = team.mean(losses().map(|loss| gradient(loss, [e, &theta], [1])));
    let [layers] = found.vectors;
    let layers = layers.to_f64();
    let parts = untied[0].coefficients();
    let mut direction = vec![0.0; layers.len()];
    let mut value = 0.0;
    let mut kinds: Vec<&str> = parts.iter().map(|of| of.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let cells = parts.iter().filter(|of| of.kind == kind);
        let places: Vec<Range<usize>> = cells
            .map(|of| {
                let first = of.slot.place();
                first..first + of.slot.shape().iter().product::<usize>()
            })
            .collect();
        value += agreement_of(&layers, &places, &mut direction);
    }
    let direction = theta.with_values(direction);
    let products = losses().map(|loss| product.product(loss, [e, &theta], (1, &direction), [0]));
    let [gradient] = team.mean_of(products);
    Agreement { value, gradient }
}

/// The mean cosine of pairs of the gradients in these places of `layers`, whose derivative with respect to them goes to the same
/// places of `direction`.
fn agreement_of(layers: &[f64], places: &[Range<usize>], direction: &mut [f64]) -> f64 {
    let pairs = (places.len() * places.len().saturating_sub(1) / 2) as f64;
    if pairs == 0.0 {
        return 0.0;
    }
    // A gradient of 0 has no direction, and no say.
    let units = places.iter().filter_map(|place| {
        let all = &layers[place.clone()];
        let norm = all.iter().map(|g| g * g).sum::<f64>().sqrt();
        let unit = all.iter().map(|g| g / norm).collect();
        (norm > 0.0).then_some((place, norm, unit))
    });
    let units: Vec<(&Range<usize>, f64, Vec<f64>)> = units.collect();
    let mut sum = vec![0.0; places[0].len()];
    for (_, _, unit) in &units {
        sum.iter_mut().zip(unit).for_each(|(sum, u)| *sum += u);
    }
    for (place, norm, unit) in &units {
        let along: f64 = unit.iter().zip(&sum).map(|(u, s)| u * s).sum();
        let to = direction[(*place).clone()].iter_mut();
        for ((to, u), s) in to.zip(unit).zip(&sum) {
            *to = (s - along * u) / norm / pairs;
        }
    }
    // ‖Σ u‖² counts each pair twice, and each cell with itself.
    let square: f64 = sum.iter().map(|s| s * s).sum();
    (square - units.len() as f64) / 2.0 / pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{frozen_parts, frozen_rows};

    #[test]
    fn agreement_and_its_derivative_are_those_of_cosines_in_pytorch() {
        let frozen = frozen_parts();
        let frozen = &frozen["agreement"];
        let layers = frozen_rows(&frozen["layers"]).concat();
        let places: Vec<Range<usize>> = (0..3).map(|l| 6 * l..6 * (l + 1)).collect();
        let mut direction = vec![0.0; layers.len()];
        let value = agreement_of(&layers, &places, &mut direction);
        assert!((value - frozen["value"].as_f64().unwrap()).abs() < 1e-12);
        let expected = frozen_rows(&frozen["gradients"][0]).concat();
        for (ours, theirs) in direction.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
        }
        assert!(expected.iter().any(|g| g.abs() > 1e-3));
    }
}
