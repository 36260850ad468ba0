//! Stage II, the explainer explains: Δ' = clamp(Δ0 + η_δ ∇_Δ J(E', A, Δ0), −ε, ε) with
//! J = Σ_i ℓ(f(x_i + δ_i), f(x_i)), the cross-entropy of the perturbed against the clean prediction.

use burn::tensor::{Bool, Tensor};

use super::product::gradient;
use crate::network::{Dual, Leaves, Slot, Vector};
use crate::space::Explainer;

/// The adversarial attack that makes an explanation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// ε: the largest |δ|, in units of the normalised images.
    pub epsilon: f64,
    /// η_δ: the step along ∇_Δ J.
    pub step_size: f64,
    /// How many steps, at least 1. The derivative of stage IV goes through the last.
    pub steps: usize,
    /// Whether to step along the gradient's sign (PGD). Its derivative is zero almost everywhere, which
    /// cuts the audience's path back to the architecture.
    pub signed: bool,
}

/// What the audience is given as explanations. All but the first are controls: they tell whether the explanation
/// matters or only the second network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Explained {
    /// The attack on the explainer's predictions for the same image.
    #[default]
    Attack,
    /// The attack's result for the next image of the batch.
    Shuffled,
    /// ε times random signs, which depend on no architecture.
    RandomSigns,
    /// Nothing: images as they are, which depend on no architecture.
    Plain,
}

/// The explanation of a batch, and what stage IV needs to differentiate it.
#[derive(Clone)]
pub struct Explanation {
    /// Δ before the last step.
    pub start: Vector,
    /// Δ', clamped.
    pub delta: Vector,
    /// The handle of δ in both, `[batch, channels, h, w]`.
    pub slot: Slot<4>,
    /// Where the last step was clamped.
    pub clamped: Tensor<1, Bool>,
    /// The clean predictions, `[batch, classes]`; none if the explanation depends on no network.
    pub clean: Option<Tensor<2>>,
    /// J at `start`.
    pub objective: f64,
    /// The share of |δ'| at ε.
    pub share_at_epsilon: f64,
}

/// J as a function of (Δ, E, A, T), where the targets T are the clean predictions, `[batch, classes]`: what E
/// and A do to J through them is left to [`along_clean`], so that the two passes need not be in memory at once.
pub fn objective<'a>(
    explainer: &'a dyn Explainer,
    images: &'a Tensor<4>,
    delta: &'a Slot<4>,
    target: &'a Slot<2>,
) -> impl Fn([&Leaves; 4]) -> Dual<1> + 'a {
    move |[d, e, a, t]| {
        perturbed(explainer, images, delta, [d, e, a]).soft_cross_entropy(t.get(target))
    }
}

/// ⟨T(E, A), v⟩ as a function of (E, A): its gradient carries the adjoint v of the clean predictions on.
pub fn along_clean<'a>(
    explainer: &'a dyn Explainer,
    images: &'a Tensor<4>,
    adjoint: Tensor<2>,
) -> impl Fn([&Leaves; 2]) -> Dual<1> + 'a {
    move |[e, a]| {
        let clean = explainer.forward(e, a, images.clone().into()).softmax();
        (clean.value * adjoint.clone()).sum().into()
    }
}

/// f(x + δ; E, A), as logits.
fn perturbed(
    explainer: &dyn Explainer,
    images: &Tensor<4>,
    slot: &Slot<4>,
    [delta, e, a]: [&Leaves; 3],
) -> Dual<2> {
    explainer.forward(e, a, delta.get(slot) + images.clone().into())
}

/// Attacks the explainer's own predictions on `images`, from the random start `delta0` of their shape.
///
/// At Δ = 0 the gradient is exactly zero, so the start must be random (METHOD.md).
pub fn explain(
    explainer: &dyn Explainer,
    e: &Vector,
    a: &Vector,
    images: &Tensor<4>,
    delta0: Tensor<4>,
    attack: &Attack,
) -> Explanation {
    let (mut start, slot) = Vector::single("delta", delta0);
    // Clean predictions don't depend on Δ: one pass serves all steps.
    let (e_leaves, a_leaves) = (e.open(None, false), a.open(None, false));
    let clean = explainer
        .forward(&e_leaves, &a_leaves, images.clone().into())
        .softmax();
    let objective = |[delta]: [&Leaves; 1]| {
        perturbed(explainer, images, &slot, [delta, &e_leaves, &a_leaves])
            .soft_cross_entropy(clean.clone())
    };
    let mut step = attacked(&start, objective, attack);
    for _ in 1..attack.steps.max(1) {
        start = step.delta;
        step = attacked(&start, objective, attack);
    }
    let at_epsilon = step.delta.flat().abs().greater_equal_scalar(attack.epsilon);
    Explanation {
        start,
        share_at_epsilon: at_epsilon.float().mean().into_scalar::<f64>(),
        delta: step.delta,
        slot: slot.clone(),
        clamped: step.clamped,
        clean: Some(clean.value.clone()),
        objective: step.objective,
    }
}

/// An explanation that depends on no network, from a random start.
pub fn constant(delta0: Tensor<4>, how: Explained, attack: &Attack) -> Explanation {
    let (start, slot) = Vector::single("delta", delta0);
    let delta = match how {
        Explained::Plain => start.flat().ones_like(),
        _ => start.flat().sign().mul_scalar(attack.epsilon),
    };
    Explanation {
        clamped: start.flat().ones_like().greater_scalar(0.0),
        delta: start.with(delta),
        start,
        slot,
        clean: None,
        objective: 0.0,
        share_at_epsilon: 1.0,
    }
}

struct AttackStep {
    delta: Vector,
    clamped: Tensor<1, Bool>,
    objective: f64,
}

/// One attack step.
fn attacked(
    start: &Vector,
    objective: impl Fn([&Leaves; 1]) -> Dual<1>,
    attack: &Attack,
) -> AttackStep {
    let ascent = gradient(objective, [start], [0]);
    let [direction] = ascent.vectors;
    let direction = if attack.signed {
        direction.with(direction.flat().sign())
    } else {
        direction
    };
    let free = start.add_scaled(attack.step_size, &direction);
    AttackStep {
        clamped: free.flat().abs().greater_scalar(attack.epsilon),
        delta: free.with(free.flat().clamp(-attack.epsilon, attack.epsilon)),
        objective: ascent.value,
    }
}
