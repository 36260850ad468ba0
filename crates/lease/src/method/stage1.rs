//! Stage I, the explainer learns: E' = E − η_e (∇_E L(E, A, B_e^tr) + λ_e E).

use super::{Examples, UnrolledStep};
use crate::network::{Dual, Leaves, Vector};
use crate::space::Explainer;

/// L(E, A, B): the explainer's mean cross-entropy, a function of (E, A). Also the explainer's part of
/// stage IV, on the validation batch.
pub fn loss<'a>(
    explainer: &'a dyn Explainer,
    batch: &'a Examples,
) -> impl Fn([&Leaves; 2]) -> Dual<1> + 'a {
    move |[e, a]| {
        let logits = explainer.forward(e, a, batch.images.clone().into());
        batch.note(&logits);
        logits.cross_entropy(batch.one_hot.clone())
    }
}

/// The step from a point along its gradient, with weight decay.
pub fn step(from: &Vector, gradient: &Vector, step: &UnrolledStep) -> Vector {
    let decayed = gradient.add_scaled(step.weight_decay, from);
    from.add_scaled(-step.learning_rate, &decayed)
}
