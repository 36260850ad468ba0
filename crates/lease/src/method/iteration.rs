//! One iteration, as in METHOD.md: stages I to III for one unrolled step each.
//!
//! [`Iteration`] is the two networks at a point, with batches and settings; its methods read like the equations. What
//! stage IV makes of it, the architecture's gradient, is in [`stage4`](super::stage4). Losses, gradients and products are
//! those of the whole batch, whose parts may be computed apart, on other processes too; explanations stay with their images.

use burn::tensor::Tensor;

use super::product::{MixedProduct, gradient};
use super::stage2::{self, Attack, Explained, Explanation, explain};
use super::stage3::{self, Told};
use super::{Part, Point, UnrolledStep, stage1};
use crate::collective::Team;
use crate::network::Vector;

/// How an architecture is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// All four stages.
    #[default]
    Lease,
    /// Stages I and IV without an audience: second-order DARTS.
    Darts,
    /// The validation loss at fixed weights (first-order DARTS).
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
    /// The weight of the audience's term.
    pub gamma: Gamma,
    /// Whether the norms of the two terms are wanted, which takes one more mixed product.
    pub norms: bool,
}

/// Random starts of the explanations, of the images' shape, uniform in [−ε, ε].
#[derive(Clone)]
pub struct Starts {
    /// For the audience's training batch.
    pub train: Tensor<4>,
    /// For its validation batch; read only if that is reweighted.
    pub val: Tensor<4>,
}

/// One iteration.
#[derive(Clone, Copy)]
pub struct Iteration<'a> {
    /// f and g, B_e^tr, B_a^tr, B_e^val and B_a^val, and Δ0: those parts of the batches that this process computes.
    pub parts: &'a [Part],
    /// Who computes the others.
    pub team: &'a Team,
    /// E, W and A.
    pub at: &'a Point,
    /// η, λ, ε, γ and the rest.
    pub settings: &'a Unrolling,
    /// 1 for the numbers of E that train, 0 for those that stay as they are; all train if there is none.
    pub trains: Option<&'a Vector>,
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
    /// Δ' and J of each part of this process.
    pub explanations: Vec<Explanation>,
    /// L(W, δ' ⊙ x, t).
    pub loss: f64,
    /// ∇_W of it.
    pub gradient: Vector,
    /// W'.
    pub weights: Vector,
}

impl Iteration<'_> {
    /// E' = E − η_e (∇_E L(E, A, B_e^tr) + λ_e E), Δ' and W'.
    pub fn stages(&self) -> Stages {
        let learned = self.team.mean(self.parts.iter().map(|part| {
            let loss = stage1::loss(part.models.learner(), &part.batches.explainer_train);
            let explainer = self.at.explainer.remembering(part.memo.as_ref());
            gradient(loss, [&explainer, &self.at.architecture], [0])
        }));
        let [explainer_gradient] = learned.vectors;
        let explainer = stage1::step(
            &self.at.explainer,
            &explainer_gradient,
            &self.settings.explainer,
        );
        let explainer = match self.trains {
            Some(trains) => {
                let step = explainer.add_scaled(-1.0, &self.at.explainer);
                self.at.explainer.add_scaled(1.0, &step.times(trains))
            }
            None => explainer,
        };
        let listens = self.parts.iter().any(|part| part.starts.is_some());
        let audience = listens.then(|| self.listened(&explainer));
        Stages {
            explainer_loss: learned.value,
            explainer_gradient,
            explainer,
            audience,
        }
    }

    /// Δ' = clamp(Δ0 + η_δ ∇_Δ J(E', A, Δ0), −ε, ε) and W' = W − η_w (∇_W L(W, δ' ⊙ x, t) + λ_w W).
    fn listened(&self, explainer: &Vector) -> AudienceStages {
        let explanations: Vec<Explanation> = self
            .parts
            .iter()
            .filter_map(|part| Some((part, &part.starts.as_ref()?.train)))
            .map(|(part, start)| {
                let images = &part.batches.audience_train.images;
                self.explanation(part, explainer, images, start)
            })
            .collect();
        let told = self.settings.told;
        let explained = self.parts.iter().zip(&explanations);
        let listened = self.team.mean(explained.map(|(part, explanation)| {
            let batch = &part.batches.audience_train;
            let loss = stage3::loss(&part.models.audience, batch, &explanation.slot, told);
            gradient(loss, [&self.at.audience, &explanation.delta], [0])
        }));
        let [gradient] = listened.vectors;
        AudienceStages {
            weights: stage1::step(&self.at.audience, &gradient, &self.settings.audience),
            loss: listened.value,
            gradient,
            explanations,
        }
    }

    /// Stage II at E', or what stands for it.
    pub(super) fn explanation(
        &self,
        part: &Part,
        explainer: &Vector,
        images: &Tensor<4>,
        start: &Tensor<4>,
    ) -> Explanation {
        let (attack, start) = (&self.settings.attack, start.clone());
        match self.settings.told.explained {
            how @ (Explained::RandomSigns | Explained::Plain) => {
                stage2::constant(start, how, attack)
            }
            Explained::Attack | Explained::Shuffled => {
                let (f, a) = (&*part.models.explainer, &self.at.architecture);
                // A signed attack passes nothing back.
                let keep = part.memo.is_some() && !attack.signed;
                explain(f, [explainer, a], images, start, (attack, keep))
            }
        }
    }
}
