//! Stage IV, the explainer re-learns: ∇_A [ L(E', A, B_e^val) + γ L(W', B_a^val) ] through all earlier stages, by the
//! mixed products of METHOD.md.

use burn::tensor::Tensor;

use super::iteration::{AudienceStages, Gamma, Iteration, Stages};
use super::product::{Gradient, gradient};
use super::stage2::{self, CleanPass, Explanation};
use super::{Part, stage1, stage3};
use crate::network::{Dual, Leaves, Vector};

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
    /// With respect to the clamped Δ', of each part of this process.
    pub adjoint_delta: Vec<Vector>,
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
        let at = [&stages.explainer, &self.at.architecture];
        let parts = self.parts.iter();
        let direct = self
            .team
            .mean(parts.map(|part| gradient(validation(part), at, [0, 1])));
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
        let at = [&self.at.explainer, &self.at.architecture];
        let (value, architecture, weights) = if with_weights {
            let direct = self.team.mean(
                self.parts
                    .iter()
                    .map(|part| gradient(validation(part), at, [0, 1])),
            );
            let [weights, architecture] = direct.vectors;
            (direct.value, architecture, Some(weights))
        } else {
            let direct = self.team.mean(
                self.parts
                    .iter()
                    .map(|part| gradient(validation(part), at, [1])),
            );
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
        let validated = self.validated(stages, audience);
        let told = self.settings.told;
        let rate = self.settings.audience.learning_rate * self.team.fraction();
        let explained = self.parts.iter().zip(&audience.explanations);
        let adjoint_delta: Vec<Vector> = explained
            .map(|(part, explanation)| {
                let batch = &part.batches.audience_train;
                let loss = stage3::loss(&part.models.audience, batch, &explanation.slot, told);
                let at = [&self.at.audience, &explanation.delta];
                let along = (0, &validated.adjoint);
                let [product] = self.settings.product.product(loss, at, along, [1]);
                product.scale(-rate)
            })
            .collect();
        let images = |part: &Part| part.batches.audience_train.images.clone();
        let mut reach = self.through_stage2(stages, images, &audience.explanations, &adjoint_delta);
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
        let [product] = self.team.mean_of(self.parts.iter().map(|part| {
            let loss = stage1::loss(part.models.learner(), &part.batches.explainer_train);
            let explainer = self.at.explainer.remembering(part.memo.as_ref());
            let at = [&explainer, &self.at.architecture];
            self.settings.product.product(loss, at, (0, &v), [1])
        }));
        reach
            .architecture
            .add_scaled(-self.settings.explainer.learning_rate, &product)
    }

    /// mixed(J, Δ0, v_g; E', A), v_g the adjoint of the attack's gradient: how E' and A act through explanations of these
    /// images of each part whose adjoints are v_Δ. J is a sum over images, and so is this.
    fn through_stage2(
        &self,
        stages: &Stages,
        images: impl Fn(&Part) -> Tensor<4>,
        explanations: &[Explanation],
        adjoints: &[Vector],
    ) -> Reach {
        let explained = self.parts.iter().zip(explanations.iter().zip(adjoints));
        let parts = explained.map(|(part, (explanation, adjoint))| {
            let reach = self.through_part(part, stages, &images(part), (explanation, adjoint));
            [reach.explainer, reach.architecture]
        });
        let [explainer, architecture] = self.team.sum_of(parts);
        Reach {
            explainer,
            architecture,
        }
    }

    /// The same of one part.
    fn through_part(
        &self,
        part: &Part,
        stages: &Stages,
        images: &Tensor<4>,
        (explanation, adjoint): (&Explanation, &Vector),
    ) -> Reach {
        let (explainer, architecture) = (&stages.explainer, &self.at.architecture);
        let v = explanation.adjoint_of_gradient(adjoint);
        let (Some(clean), Some(v)) = (explanation.clean.clone(), v) else {
            return Reach {
                explainer: explainer.scale(0.0),
                architecture: architecture.scale(0.0),
            };
        };
        let f = &*part.models.explainer;
        let (clean, target) = Vector::single("clean", clean);
        let objective = stage2::objective(f, images, &explanation.slot, &target);
        let remembering = explainer.remembering(explanation.memo.as_ref());
        let at = [&explanation.start, &remembering, architecture, &clean];
        let product = self.settings.product;
        let [e, a, t] = product.product(objective, at, (0, &v), [1, 2, 3]);
        let [clean_e, clean_a] = explanation
            .clean_pass()
            .unwrap_or_else(|| CleanPass::new(f, images, [explainer, architecture]))
            .gradient_along(t.part(&target));
        Reach {
            explainer: e.add_scaled(1.0, &clean_e),
            architecture: a.add_scaled(1.0, &clean_a),
        }
    }

    /// L(W', B_a^val) and its gradient; on reweighted images also what reaches E' and A through the explanations of
    /// the validation images.
    fn validated(&self, stages: &Stages, audience: &AudienceStages) -> Validated {
        if !self.settings.validate_reweighted {
            let validated = self.team.mean(self.parts.iter().map(|part| {
                let batch = &part.batches.audience_val;
                let loss = stage3::validation_loss(&part.models.audience, batch);
                gradient(loss, [&audience.weights], [0])
            }));
            let [adjoint] = validated.vectors;
            return Validated {
                loss: validated.value,
                adjoint,
                through_explanation: None,
            };
        }
        let (told, share) = (self.settings.told, self.team.fraction());
        let (mut explanations, mut adjoints) = (Vec::new(), Vec::new());
        let started = self
            .parts
            .iter()
            .filter_map(|part| Some((part, part.starts.as_ref()?)));
        let validated = self.team.mean(started.map(|(part, starts)| {
            let batch = &part.batches.audience_val;
            let explanation = self.explanation(part, &stages.explainer, &batch.images, &starts.val);
            let loss = stage3::loss(&part.models.audience, batch, &explanation.slot, told);
            let found = gradient(loss, [&audience.weights, &explanation.delta], [0, 1]);
            let [adjoint, adjoint_delta] = found.vectors;
            explanations.push(explanation);
            adjoints.push(adjoint_delta.scale(share));
            Gradient {
                value: found.value,
                vectors: [adjoint],
            }
        }));
        let [adjoint] = validated.vectors;
        let images = |part: &Part| part.batches.audience_val.images.clone();
        let through = self.through_stage2(stages, images, &explanations, &adjoints);
        Validated {
            loss: validated.value,
            adjoint,
            through_explanation: Some(through),
        }
    }
}

/// L(·, ·, B_e^val) of a part.
fn validation(part: &Part) -> impl Fn([&Leaves; 2]) -> Dual<1> + '_ {
    stage1::loss(&*part.models.explainer, &part.batches.explainer_val)
}

struct Validated {
    loss: f64,
    adjoint: Vector,
    through_explanation: Option<Reach>,
}
