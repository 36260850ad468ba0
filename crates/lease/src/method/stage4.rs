//! Stage IV, the explainer re-learns: ∇_A [ L(E', A, B_e^val) + γ L(W', B_a^val) ] through all earlier stages, by the
//! mixed products of METHOD.md.

use burn::tensor::Tensor;

use super::iteration::{AudienceStages, Gamma, Iteration, Stages};
use super::product::gradient;
use super::stage2::{self, Explanation};
use super::{stage1, stage3};
use crate::network::Vector;

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
    /// The loss's gradient with respect to the weights that it was taken at, E' or E, where it is known.
    pub weights: Option<Vector>,
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

impl Iteration<'_> {
    /// Both terms, or the explainer's alone, through stage I to A.
    ///
    /// A mixed product is linear in its v, so one serves both; where their norms are wanted each takes one of its own.
    pub fn architecture_gradient(
        &self,
        explainer: &ExplainerTerm,
        audience: Option<&AudienceTerm>,
    ) -> ArchitectureGradient {
        let explainer = &explainer.reach;
        let apart = self.settings.terms_apart();
        match (audience.map(|term| &term.reach), self.settings.gamma) {
            (None, _) => ArchitectureGradient {
                total: self.through_stage1(explainer),
                gamma: None,
                norms: None,
            },
            (Some(audience), Gamma::Absolute(gamma)) if !apart => ArchitectureGradient {
                total: self.through_stage1(&explainer.add_scaled(gamma, audience)),
                gamma: Some(gamma),
                norms: None,
            },
            (Some(audience), gamma) => {
                let [explainer, audience] =
                    [explainer, audience].map(|reach| self.through_stage1(reach));
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

    /// The explainer's term: v_E = ∇_{E'} L(E', A, B_e^val), and the same for A.
    pub fn explainer_term(&self, stages: &Stages) -> ExplainerTerm {
        let loss = stage1::loss(&*self.models.explainer, &self.batches.explainer_val);
        let direct = gradient(loss, [&stages.explainer, &self.at.architecture], [0, 1]);
        let [explainer, architecture] = direct.vectors;
        ExplainerTerm {
            loss: direct.value,
            weights: Some(explainer.clone()),
            reach: Reach {
                explainer,
                architecture,
            },
        }
    }

    /// The explainer's term at fixed weights: ∇_A L(E, A, B_e^val), which is first-order DARTS; with ∇_E beside it if that is
    /// asked for.
    pub fn first_order_term(&self, with_weights: bool) -> ExplainerTerm {
        let loss = stage1::loss(&*self.models.explainer, &self.batches.explainer_val);
        let at = [&self.at.explainer, &self.at.architecture];
        let (value, architecture, weights) = if with_weights {
            let direct = gradient(loss, at, [0, 1]);
            let [weights, architecture] = direct.vectors;
            (direct.value, architecture, Some(weights))
        } else {
            let direct = gradient(loss, at, [1]);
            let [architecture] = direct.vectors;
            (direct.value, architecture, None)
        };
        ExplainerTerm {
            loss: value,
            weights,
            reach: Reach {
                explainer: self.at.explainer.scale(0.0),
                architecture,
            },
        }
    }

    /// The audience's term, from W' back through Δ' to E' and A:
    /// v_W = ∇_{W'} L(W', B_a^val), v_Δ = −η_w · mixed(L_audience, W, v_W; Δ'), and stage II behind it.
    pub fn audience_term(&self, stages: &Stages, audience: &AudienceStages) -> AudienceTerm {
        let explanation = &audience.explanation;
        let validated = self.validated(stages, audience);
        let batch = &self.batches.audience_train;
        let told = self.settings.told;
        let loss = stage3::loss(&self.models.audience, batch, &explanation.slot, told);
        let at = [&self.at.audience, &explanation.delta];
        let along = (0, &validated.adjoint);
        let [product] = self.settings.product.product(loss, at, along, [1]);
        let adjoint_delta = product.scale(-self.settings.audience.learning_rate);
        let mut reach = self.through_stage2(stages, &batch.images, explanation, &adjoint_delta);
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

    /// v_A = what reaches A directly − η_e · mixed(L_explainer, E, v_E; A).
    pub fn through_stage1(&self, reach: &Reach) -> Vector {
        if reach.explainer.norm() == 0.0 {
            return reach.architecture.clone();
        }
        let v = match self.trains {
            Some(trains) => reach.explainer.times(trains),
            None => reach.explainer.clone(),
        };
        let loss = stage1::loss(self.models.learner(), &self.batches.explainer_train);
        let at = [&self.at.explainer, &self.at.architecture];
        let along = (0, &v);
        let [product] = self.settings.product.product(loss, at, along, [1]);
        reach
            .architecture
            .add_scaled(-self.settings.explainer.learning_rate, &product)
    }

    /// mixed(J, Δ0, v_g; E', A), v_g the adjoint of the attack's gradient: how E' and A act through an explanation whose
    /// adjoint is v_Δ.
    fn through_stage2(
        &self,
        stages: &Stages,
        images: &Tensor<4>,
        explanation: &Explanation,
        adjoint: &Vector,
    ) -> Reach {
        let (explainer, architecture) = (&stages.explainer, &self.at.architecture);
        let v = explanation.adjoint_of_gradient(adjoint);
        let (Some(clean), Some(v)) = (explanation.clean.clone(), v) else {
            return Reach {
                explainer: explainer.scale(0.0),
                architecture: architecture.scale(0.0),
            };
        };
        let f = &*self.models.explainer;
        let (clean, target) = Vector::single("clean", clean);
        let objective = stage2::objective(f, images, &explanation.slot, &target);
        let at = [&explanation.start, explainer, architecture, &clean];
        let product = self.settings.product;
        let [e, a, t] = product.product(objective, at, (0, &v), [1, 2, 3]);
        let along_clean = stage2::along_clean(f, images, t.part(&target));
        let through = gradient(along_clean, [explainer, architecture], [0, 1]);
        let [clean_e, clean_a] = through.vectors;
        Reach {
            explainer: e.add_scaled(1.0, &clean_e),
            architecture: a.add_scaled(1.0, &clean_a),
        }
    }

    /// L(W', B_a^val) and its gradient; on reweighted images also what reaches E' and A through the explanations of
    /// the validation images.
    fn validated(&self, stages: &Stages, audience: &AudienceStages) -> Validated {
        let batch = &self.batches.audience_val;
        let starts = self.starts.filter(|_| self.settings.validate_reweighted);
        let Some(starts) = starts else {
            let loss = stage3::validation_loss(&self.models.audience, batch);
            let validated = gradient(loss, [&audience.weights], [0]);
            let [adjoint] = validated.vectors;
            return Validated {
                loss: validated.value,
                adjoint,
                through_explanation: None,
            };
        };
        let explanation = self.explanation(&stages.explainer, &batch.images, &starts.val);
        let told = self.settings.told;
        let loss = stage3::loss(&self.models.audience, batch, &explanation.slot, told);
        let validated = gradient(loss, [&audience.weights, &explanation.delta], [0, 1]);
        let [adjoint, adjoint_delta] = validated.vectors;
        let through = self.through_stage2(stages, &batch.images, &explanation, &adjoint_delta);
        Validated {
            loss: validated.value,
            adjoint,
            through_explanation: Some(through),
        }
    }
}

struct Validated {
    loss: f64,
    adjoint: Vector,
    through_explanation: Option<Reach>,
}
