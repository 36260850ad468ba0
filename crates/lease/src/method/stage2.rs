//! Stage II, the explainer explains: Δ' = clamp(Δ0 + η ε g / rms(g), −ε, ε), image by image, with g = ∇_Δ J(E', A, Δ0) and
//! J = Σ_i ℓ(f(x_i + δ_i), f(x_i)), the cross-entropy of the perturbed against the clean prediction; or, by an absolute
//! step, clamp(Δ0 + η_δ g, −ε, ε).

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{Bool, Tensor, TensorData};

use super::product::{backward, gradient};
use crate::network::{Dual, Leaves, Memo, Slot, Vector, softmax};
use crate::space::Explainer;

/// The adversarial attack that makes an explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Attack {
    /// ε: the largest |δ| of each channel, in units of the normalised images.
    pub epsilon: Vec<f64>,
    /// η: the step.
    pub step_size: f64,
    /// What the step is measured in.
    pub scale: AttackScale,
    /// How many steps, at least 1. The derivative of stage IV goes through the last.
    pub steps: usize,
    /// Whether to step along the gradient's sign (PGD). Its derivative is zero almost everywhere, which
    /// cuts the audience's path back to the architecture.
    pub signed: bool,
}

/// What an attack's step is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttackScale {
    /// η ε g / rms(g), image by image: η means the same whatever network, data and batch.
    #[default]
    Relative,
    /// η g.
    Absolute,
}

/// Added to the mean square of an image's gradient before its root is taken, so that no gradient is no step.
const TINY: f64 = 1e-30;

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
    /// What the last step did with the gradient g = ∇_Δ J.
    stride: Stride,
    /// The clean predictions, `[batch, classes]`; none if the explanation depends on no network.
    pub clean: Option<Tensor<2>>,
    /// J at `start`.
    pub objective: f64,
    /// The share of |δ'| at ε.
    pub share_at_epsilon: f64,
    /// Where the last step's pass left its values, if stage IV is to find them.
    pub memo: Option<Memo>,
    /// The pass that made the clean predictions, if stage IV is to go back through it.
    clean_pass: Rc<RefCell<Option<CleanPass>>>,
}

/// J as a function of (Δ, E, A, T), where the targets T are the clean predictions, `[batch, classes]`: what E
/// and A do to J through them is left to a pass of its own, so that the two passes need not be in memory at once.
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

/// A pass over clean images: its predictions T(E, A), and their gradient along an adjoint, which can be wanted later.
pub(super) struct CleanPass {
    leaves: [Leaves; 2],
    logits: Tensor<2>,
}

impl CleanPass {
    pub(super) fn new(explainer: &dyn Explainer, images: &Tensor<4>, at: [&Vector; 2]) -> Self {
        let leaves = at.map(|vector| vector.open(None, true));
        let [e, a] = &leaves;
        let logits = explainer.forward(e, a, images.clone().into()).value;
        Self { leaves, logits }
    }

    fn predictions(&self) -> Tensor<2> {
        softmax(self.logits.clone().inner(), 1)
    }

    /// ∇ ⟨T, v⟩ with respect to E and A.
    pub(super) fn gradient_along(self, v: Tensor<2>) -> [Vector; 2] {
        let along = (softmax(self.logits, 1) * v).sum();
        backward(&along, &self.leaves, [0, 1])
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
/// At Δ = 0 the gradient is exactly zero, so the start must be random (METHOD.md). `keep` leaves what stage IV would compute
/// again: the same bits for more memory.
pub fn explain(
    explainer: &dyn Explainer,
    [e, a]: [&Vector; 2],
    images: &Tensor<4>,
    delta0: Tensor<4>,
    (attack, keep): (&Attack, bool),
) -> Explanation {
    let memo = keep.then(Memo::default);
    let (leaves, a_leaves) = (
        e.remembering(memo.as_ref()).open(None, false),
        a.open(None, false),
    );
    let function = |images: Dual<4>| explainer.forward(&leaves, &a_leaves, images);
    if !keep {
        return explain_function(function, images, delta0, attack);
    }
    // Clean predictions don't depend on Δ: one pass serves all steps.
    let clean = CleanPass::new(explainer, images, [e, a]);
    let explanation = explained(function, clean.predictions(), images, delta0, attack);
    Explanation {
        memo,
        clean_pass: Rc::new(RefCell::new(Some(clean))),
        ..explanation
    }
}

/// The same for any function from images to logits.
pub fn explain_function(
    function: impl Fn(Dual<4>) -> Dual<2>,
    images: &Tensor<4>,
    delta0: Tensor<4>,
    attack: &Attack,
) -> Explanation {
    let clean = function(images.clone().into()).softmax().value;
    explained(function, clean, images, delta0, attack)
}

/// The same with the clean predictions.
fn explained(
    function: impl Fn(Dual<4>) -> Dual<2>,
    clean: Tensor<2>,
    images: &Tensor<4>,
    delta0: Tensor<4>,
    attack: &Attack,
) -> Explanation {
    let (mut start, slot) = Vector::single("delta", delta0);
    let objective = |[delta]: [&Leaves; 1]| {
        let perturbed = delta.get(&slot) + images.clone().into();
        function(perturbed).soft_cross_entropy(clean.clone().into())
    };
    let bound = bound(&attack.epsilon, &slot, &start);
    let mut step = attacked(&start, objective, attack, &bound);
    for _ in 1..attack.steps.max(1) {
        start = step.delta;
        step = attacked(&start, objective, attack, &bound);
    }
    let at_epsilon = step.delta.flat().abs().greater_equal(bound);
    Explanation {
        start,
        share_at_epsilon: at_epsilon.float().mean().into_scalar::<f64>(),
        delta: step.delta,
        slot: slot.clone(),
        clamped: step.clamped,
        stride: step.stride,
        clean: Some(clean),
        objective: step.objective,
        memo: None,
        clean_pass: Rc::default(),
    }
}

/// ε of every number of δ, flat.
fn bound(epsilon: &[f64], slot: &Slot<4>, like: &Vector) -> Tensor<1> {
    let shape = slot.shape();
    let flat = like.flat();
    let (device, dtype) = (flat.device(), flat.dtype());
    let data = TensorData::new(epsilon.to_vec(), [1, epsilon.len(), 1, 1]);
    let each: Tensor<4> = Tensor::from_data(data, (&device, dtype));
    each.expand(shape)
        .reshape([shape.iter().product::<usize>()])
}

/// An explanation that depends on no network, from a random start.
pub fn constant(delta0: Tensor<4>, how: Explained, attack: &Attack) -> Explanation {
    let (start, slot) = Vector::single("delta", delta0);
    let delta = match how {
        Explained::Plain => start.flat().ones_like(),
        _ => start.flat().sign() * bound(&attack.epsilon, &slot, &start),
    };
    Explanation {
        clamped: start.flat().ones_like().greater_scalar(0.0),
        delta: start.with(delta),
        stride: Stride::None,
        start,
        slot,
        clean: None,
        objective: 0.0,
        share_at_epsilon: 1.0,
        memo: None,
        clean_pass: Rc::default(),
    }
}

/// How a step depends on the gradient g.
#[derive(Clone)]
enum Stride {
    /// Not at all, almost everywhere.
    None,
    /// η g.
    Absolute(f64),
    /// η ε n(g).
    Relative(Box<Relative>),
}

/// η ε n(g) with n(g) = g / rms(g).
#[derive(Clone)]
struct Relative {
    /// η ε, `[batch, numbers]`.
    factor: Tensor<2>,
    /// n, the same.
    normal: Tensor<2>,
    /// rms, `[batch, 1]`.
    rms: Tensor<2>,
}

impl Explanation {
    /// The pass that made the clean predictions, once, if it was kept.
    pub(super) fn clean_pass(&self) -> Option<CleanPass> {
        self.clean_pass.borrow_mut().take()
    }

    /// Σ |δ'| where `mask`, `[batch, 1, h, w]`, is 1, elsewhere it is 0; and Σ |δ'| of all.
    pub fn size_on(&self, mask: &Tensor<4>) -> [f64; 2] {
        let size = self.delta.flat().abs().reshape(self.slot.shape());
        let inside = (size.clone() * mask.clone()).sum().into_scalar::<f64>();
        [inside, size.sum().into_scalar::<f64>()]
    }

    /// The adjoint of g = ∇_Δ J at `start` where that of the clamped Δ' is `adjoint`; none where g has no say.
    ///
    /// With u = η ε ⊙ v and n = g / rms(g) it is (u − n · mean(n ⊙ u)) / rms(g), image by image; η v if the step is
    /// absolute. What was clamped does not move.
    pub fn adjoint_of_gradient(&self, adjoint: &Vector) -> Option<Vector> {
        let free = adjoint.flat().mask_fill(self.clamped.clone(), 0.0);
        let flat = match &self.stride {
            Stride::None => return None,
            Stride::Absolute(step) => free.mul_scalar(*step),
            Stride::Relative(relative) => {
                let Relative {
                    factor,
                    normal,
                    rms,
                } = &**relative;
                let [images, numbers] = normal.dims();
                let u = free.reshape([images, numbers]) * factor.clone();
                let along = (u.clone() * normal.clone()).mean_dim(1);
                let across = u - normal.clone() * along;
                (across / rms.clone()).reshape([images * numbers])
            }
        };
        Some(adjoint.with(flat))
    }
}

struct AttackStep {
    delta: Vector,
    clamped: Tensor<1, Bool>,
    stride: Stride,
    objective: f64,
}

/// One attack step within ±`bound`.
fn attacked(
    start: &Vector,
    objective: impl Fn([&Leaves; 1]) -> Dual<1>,
    attack: &Attack,
    bound: &Tensor<1>,
) -> AttackStep {
    let ascent = gradient(objective, [start], [0]);
    let [g] = ascent.vectors;
    let (step, stride) = match (attack.scale, attack.signed) {
        (AttackScale::Absolute, true) => {
            (g.flat().sign().mul_scalar(attack.step_size), Stride::None)
        }
        (AttackScale::Relative, true) => (
            (g.flat().sign() * bound.clone()).mul_scalar(attack.step_size),
            Stride::None,
        ),
        (AttackScale::Absolute, false) => (
            g.flat().mul_scalar(attack.step_size),
            Stride::Absolute(attack.step_size),
        ),
        (AttackScale::Relative, false) => relative(&g, attack, bound),
    };
    let free = start.flat() + step;
    AttackStep {
        clamped: free.clone().abs().greater(bound.clone()),
        delta: start.with(free.max_pair(bound.clone().neg()).min_pair(bound.clone())),
        stride,
        objective: ascent.value,
    }
}

/// η ε g / rms(g), image by image.
fn relative(g: &Vector, attack: &Attack, bound: &Tensor<1>) -> (Tensor<1>, Stride) {
    let images = attack_images(g);
    let numbers = g.layout().len() / images;
    let g = g.flat().reshape([images, numbers]);
    let rms = g.clone().square().mean_dim(1).add_scalar(TINY).sqrt();
    let normal = g / rms.clone();
    let factor = bound
        .clone()
        .mul_scalar(attack.step_size)
        .reshape([images, numbers]);
    let step = (normal.clone() * factor.clone()).reshape([images * numbers]);
    let stride = Stride::Relative(Box::new(Relative {
        factor,
        normal,
        rms,
    }));
    (step, stride)
}

/// The images that a vector of explanations is of.
fn attack_images(delta: &Vector) -> usize {
    delta.layout().entries()[0].shape[0]
}
