//! Stage IV, the explainer re-learns: the gradient of L(E', A, B_e^val) + γ L(W', B_a^val) with respect
//! to A, through all three earlier stages (METHOD.md, "The architecture gradient").
//!
//! Both terms go through stage I by the same product, which is linear in its adjoint: with γ given they go through it
//! together. They are carried apart, by one product more, where their norms are to be told, where γ is relative to
//! these, and by finite differences, which are not linear: how often norms are told must not change the search.

use burn::tensor::Tensor;

use super::product::{MixedProduct, gradient};
use super::stage2::{Attack, Explained, Explanation, explain};
use super::stage3::Told;
use super::{Batches, Models, Point, UnrolledStep, stage1, stage2, stage3};
use crate::network::Vector;

/// What the architecture listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// All four stages.
    #[default]
    Lease,
    /// The explainer's validation loss alone, through its unrolled step (second-order DARTS).
    Darts,
    /// The explainer's validation loss at fixed weights (first-order DARTS).
    DartsFirst,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lease => "lease",
            Self::Darts => "darts",
            Self::DartsFirst => "darts-first",
        })
    }
}

/// The settings of one iteration's derivatives.
#[derive(Clone, Debug)]
pub struct Unrolling {
    /// Which stages there are.
    pub method: Method,
    /// η_e and λ_e.
    pub explainer: UnrolledStep,
    /// η_w and λ_w.
    pub audience: UnrolledStep,
    /// The attack of stage II.
    pub attack: Attack,
    /// How explanations weight pixels.
    pub told: Told,
    /// Whether the audience's validation images are reweighted too, by explanations of their own.
    pub validate_reweighted: bool,
    /// How mixed products are computed.
    pub product: MixedProduct,
}

/// Random starts of the explanations, of the images' shape, uniform in [−ε, ε].
#[derive(Clone)]
pub struct Starts {
    /// For the audience's training batch.
    pub train: Tensor<4>,
    /// For its validation batch; read only if that is reweighted.
    pub val: Tensor<4>,
}

impl Unrolling {
    /// Whether [`architecture_gradient`] carries the terms apart even where their norms are not asked for.
    fn always_apart(&self, gamma: Gamma) -> bool {
        let difference = matches!(self.product, MixedProduct::FiniteDifference { .. });
        difference || matches!(gamma, Gamma::Relative(_))
    }

    /// Passes of the explainer, forward or forward and backward, that one step takes; those on dual numbers, and
    /// finite differences, count twice.
    ///
    /// γ and `apart` as for [`architecture_gradient`].
    pub fn explainer_passes(&self, warmup: bool, (gamma, apart): (Gamma, bool)) -> u64 {
        let apart = apart || self.always_apart(gamma);
        let constant = matches!(
            self.told.explained,
            Explained::RandomSigns | Explained::Plain
        );
        // Clean predictions and the attack; the mixed product and the gradient through the clean predictions.
        let (explain, differentiate) = match (self.method, constant) {
            (Method::Lease, false) if self.attack.signed => (1 + self.attack.steps as u64, 0),
            (Method::Lease, false) => (1 + self.attack.steps as u64, 3),
            _ => (0, 0),
        };
        if warmup {
            return 1 + explain;
        }
        // Stage I for real and L(E', A, B_e^val); then stage I unrolled and its mixed product.
        let explainer = if self.method == Method::DartsFirst {
            2
        } else {
            5
        };
        let audience = explain + differentiate + if differentiate > 0 && apart { 2 } else { 0 };
        let reweighted = u64::from(self.validate_reweighted) * (explain + differentiate);
        explainer + audience + reweighted
    }
}

/// Stages I to III on one set of batches.
pub struct Stages {
    /// L(E, A, B_e^tr).
    pub explainer_loss: f64,
    /// ∇_E L(E, A, B_e^tr).
    pub explainer_gradient: Vector,
    /// E'.
    pub explainer: Vector,
    /// Stages II and III; none without an audience.
    pub audience: Option<AudienceStages>,
}

/// Stages II and III.
pub struct AudienceStages {
    /// Δ' and J.
    pub explanation: Explanation,
    /// L(W, δ' ⊙ x, t).
    pub loss: f64,
    /// ∇_W of it.
    pub gradient: Vector,
    /// W'.
    pub weights: Vector,
}

/// What reaches E' and A from a loss: its gradient with respect to A once E' is gone through too.
#[derive(Clone)]
pub struct Reach {
    /// With respect to E'.
    pub explainer: Vector,
    /// With respect to A at fixed E'.
    pub architecture: Vector,
}

impl Reach {
    fn add_scaled(&self, factor: f64, other: &Self) -> Self {
        Self {
            explainer: self.explainer.add_scaled(factor, &other.explainer),
            architecture: self.architecture.add_scaled(factor, &other.architecture),
        }
    }

    /// With respect to A in total.
    pub fn gradient(
        &self,
        models: &Models,
        at: &Point,
        batches: &Batches,
        settings: &Unrolling,
    ) -> Vector {
        let unrolled = through_stage1(models, at, batches, &self.explainer, settings);
        self.architecture.add_scaled(1.0, &unrolled)
    }
}

/// The audience's term: L(W', B_a^val), not multiplied by γ, and the adjoints on the way to A.
pub struct AudienceTerm {
    /// L(W', B_a^val).
    pub loss: f64,
    /// With respect to W'.
    pub adjoint_audience: Vector,
    /// With respect to the clamped Δ'.
    pub adjoint_delta: Vector,
    /// With respect to E' and A.
    pub reach: Reach,
}

/// The explainer's term: L(E'(A), A, B_e^val).
pub struct ExplainerTerm {
    /// L(E', A, B_e^val).
    pub loss: f64,
    /// With respect to E' and A.
    pub reach: Reach,
}

/// The architecture's gradient.
pub struct ArchitectureGradient {
    /// That of the explainer's term + γ · the audience's.
    pub total: Vector,
    /// γ; none without an audience.
    pub gamma: Option<f64>,
    /// The norms of the explainer's and of the audience's term, if they were carried apart.
    pub norms: Option<[f64; 2]>,
}

/// Both terms, or the explainer's alone, through stage I to A; `apart` if their norms are wanted, which takes one more
/// mixed product.
pub fn architecture_gradient(
    models: &Models,
    at: &Point,
    batches: &Batches,
    (explainer, audience): (&ExplainerTerm, Option<&AudienceTerm>),
    (gamma, apart): (Gamma, bool),
    settings: &Unrolling,
) -> ArchitectureGradient {
    let through = |reach: &Reach| reach.gradient(models, at, batches, settings);
    let explainer = &explainer.reach;
    let apart = apart || settings.always_apart(gamma);
    match (audience.map(|term| &term.reach), gamma) {
        (None, _) => ArchitectureGradient {
            total: through(explainer),
            gamma: None,
            norms: None,
        },
        (Some(audience), Gamma::Absolute(gamma)) if !apart => ArchitectureGradient {
            total: through(&explainer.add_scaled(gamma, audience)),
            gamma: Some(gamma),
            norms: None,
        },
        (Some(audience), gamma) => {
            let [explainer, audience] = [explainer, audience].map(through);
            let norms = [explainer.norm(), audience.norm()];
            let gamma = gamma.value(norms);
            ArchitectureGradient {
                total: explainer.add_scaled(gamma, &audience),
                gamma: Some(gamma),
                norms: Some(norms),
            }
        }
    }
}

/// Runs stages I to III, each for one unrolled step.
pub fn stages(
    models: &Models,
    at: &Point,
    batches: &Batches,
    starts: Option<&Starts>,
    settings: &Unrolling,
) -> Stages {
    let loss = stage1::loss(&*models.explainer, &batches.explainer_train);
    let learned = gradient(loss, [&at.explainer, &at.architecture], [0]);
    let [explainer_gradient] = learned.vectors;
    let explainer = stage1::step(&at.explainer, &explainer_gradient, &settings.explainer);
    let audience = starts.map(|starts| {
        let batch = &batches.audience_train;
        let a = &at.architecture;
        let start = starts.train.clone();
        let explanation = explanation(models, &explainer, a, &batch.images, start, settings);
        let loss = stage3::loss(&models.audience, batch, &explanation.slot, settings.told);
        let listened = gradient(loss, [&at.audience, &explanation.delta], [0]);
        let [gradient] = listened.vectors;
        AudienceStages {
            weights: stage1::step(&at.audience, &gradient, &settings.audience),
            loss: listened.value,
            gradient,
            explanation,
        }
    });
    Stages {
        explainer_loss: learned.value,
        explainer_gradient,
        explainer,
        audience,
    }
}

/// Stage II, or what stands for it.
fn explanation(
    models: &Models,
    e: &Vector,
    a: &Vector,
    images: &Tensor<4>,
    start: Tensor<4>,
    settings: &Unrolling,
) -> Explanation {
    match settings.told.explained {
        how @ (Explained::RandomSigns | Explained::Plain) => {
            stage2::constant(start, how, &settings.attack)
        }
        Explained::Attack | Explained::Shuffled => {
            explain(&*models.explainer, e, a, images, start, &settings.attack)
        }
    }
}

/// −η_e · mixed(L_explainer, E, v_E; A): how A acts through stage I.
fn through_stage1(
    models: &Models,
    at: &Point,
    batches: &Batches,
    adjoint: &Vector,
    settings: &Unrolling,
) -> Vector {
    if adjoint.norm() == 0.0 {
        return at.architecture.scale(0.0);
    }
    let loss = stage1::loss(&*models.explainer, &batches.explainer_train);
    let at = [&at.explainer, &at.architecture];
    let [product] = settings.product.product(loss, at, (0, adjoint), [1]);
    product.scale(-settings.explainer.learning_rate)
}

/// η_δ · mixed(J, Δ0, v_Δ; E', A): how E' and A act through an explanation whose adjoint is v_Δ.
fn through_stage2(
    models: &Models,
    explainer: &Vector,
    architecture: &Vector,
    images: &Tensor<4>,
    explanation: &Explanation,
    adjoint: &Vector,
    settings: &Unrolling,
) -> Reach {
    let clean = explanation.clean.clone();
    let Some(clean) = clean.filter(|_| !settings.attack.signed) else {
        return Reach {
            explainer: explainer.scale(0.0),
            architecture: architecture.scale(0.0),
        };
    };
    let flat = adjoint.flat().mask_fill(explanation.clamped.clone(), 0.0);
    let (clean, target) = Vector::single("clean", clean);
    let objective = stage2::objective(&*models.explainer, images, &explanation.slot, &target);
    let at = [&explanation.start, explainer, architecture, &clean];
    let along = (0, &adjoint.with(flat));
    let [e, a, t] = settings.product.product(objective, at, along, [1, 2, 3]);
    let along_clean = stage2::along_clean(&*models.explainer, images, t.part(&target));
    let through = gradient(along_clean, [explainer, architecture], [0, 1]);
    let [clean_e, clean_a] = through.vectors;
    let step = settings.attack.step_size;
    let [explainer, architecture] =
        [(e, clean_e), (a, clean_a)].map(|(p, q)| p.add_scaled(1.0, &q).scale(step));
    Reach {
        explainer,
        architecture,
    }
}

/// The explainer's term.
pub fn explainer_term(
    models: &Models,
    at: &Point,
    batches: &Batches,
    stages: &Stages,
) -> ExplainerTerm {
    let loss = stage1::loss(&*models.explainer, &batches.explainer_val);
    let direct = gradient(loss, [&stages.explainer, &at.architecture], [0, 1]);
    let [explainer, architecture] = direct.vectors;
    ExplainerTerm {
        loss: direct.value,
        reach: Reach {
            explainer,
            architecture,
        },
    }
}

/// The explainer's term at fixed weights: ∇_A L(E, A, B_e^val), which is first-order DARTS.
pub fn first_order_term(models: &Models, at: &Point, batches: &Batches) -> ExplainerTerm {
    let loss = stage1::loss(&*models.explainer, &batches.explainer_val);
    let direct = gradient(loss, [&at.explainer, &at.architecture], [1]);
    let [architecture] = direct.vectors;
    ExplainerTerm {
        loss: direct.value,
        reach: Reach {
            explainer: at.explainer.scale(0.0),
            architecture,
        },
    }
}

/// The audience's term, from W' back through Δ' to E' and A.
pub fn audience_term(
    models: &Models,
    at: &Point,
    batches: &Batches,
    starts: &Starts,
    (stages, audience): (&Stages, &AudienceStages),
    settings: &Unrolling,
) -> AudienceTerm {
    let a = &at.architecture;
    let explanation = &audience.explanation;
    // v_W, and what the validation images' own explanations contribute.
    let validated = validate(models, a, batches, starts, (stages, audience), settings);
    // v_Δ = −η_w · mixed(L_audience, W, v_W; Δ')
    let loss = stage3::loss(
        &models.audience,
        &batches.audience_train,
        &explanation.slot,
        settings.told,
    );
    let [product] = settings.product.product(
        loss,
        [&at.audience, &explanation.delta],
        (0, &validated.adjoint),
        [1],
    );
    let adjoint_delta = product.scale(-settings.audience.learning_rate);
    // v_E and the direct part of v_A
    let images = &batches.audience_train.images;
    let mut reach = through_stage2(
        models,
        &stages.explainer,
        a,
        images,
        explanation,
        &adjoint_delta,
        settings,
    );
    if let Some(through) = &validated.through_explanation {
        reach = reach.add_scaled(1.0, through);
    }
    AudienceTerm {
        loss: validated.loss,
        adjoint_audience: validated.adjoint,
        adjoint_delta,
        reach,
    }
}

struct Validated {
    loss: f64,
    adjoint: Vector,
    through_explanation: Option<Reach>,
}

/// L(W', B_a^val) and its gradient; on reweighted images also what reaches E' and A through the
/// explanations of the validation images.
fn validate(
    models: &Models,
    a: &Vector,
    batches: &Batches,
    starts: &Starts,
    (stages, audience): (&Stages, &AudienceStages),
    settings: &Unrolling,
) -> Validated {
    let batch = &batches.audience_val;
    if !settings.validate_reweighted {
        let loss = stage3::validation_loss(&models.audience, batch);
        let validated = gradient(loss, [&audience.weights], [0]);
        let [adjoint] = validated.vectors;
        return Validated {
            loss: validated.value,
            adjoint,
            through_explanation: None,
        };
    }
    let start = starts.val.clone();
    let explanation = explanation(models, &stages.explainer, a, &batch.images, start, settings);
    let loss = stage3::loss(&models.audience, batch, &explanation.slot, settings.told);
    let validated = gradient(loss, [&audience.weights, &explanation.delta], [0, 1]);
    let [adjoint, adjoint_delta] = validated.vectors;
    let through = through_stage2(
        models,
        &stages.explainer,
        a,
        &batch.images,
        &explanation,
        &adjoint_delta,
        settings,
    );
    Validated {
        loss: validated.value,
        adjoint,
        through_explanation: Some(through),
    }
}

/// The weight of the audience's term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gamma {
    /// γ itself.
    Absolute(f64),
    /// The norm of γ ∇_A L_a as a multiple of the norm of the explainer's term, whatever γ that takes.
    Relative(f64),
}

impl Gamma {
    /// γ where the explainer's and the audience's term have these norms.
    pub fn value(self, [explainer, audience]: [f64; 2]) -> f64 {
        match self {
            Self::Absolute(gamma) => gamma,
            Self::Relative(_) if audience == 0.0 => 0.0,
            Self::Relative(share) => share * explainer / audience,
        }
    }
}
