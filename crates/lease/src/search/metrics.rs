//! What a search records: the lines of `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::collective::Team;
use crate::method::Part;
use crate::method::iteration::AudienceStages;
use crate::method::stage4::{ArchitectureGradient, AudienceTerm, ExplainerTerm};
use crate::space::cost::NetworkCost;
use crate::space::{Genotype, Standing};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Metrics {
    /// After a step.
    Step(StepMetrics),
    /// After an epoch.
    Epoch(EpochMetrics),
}

/// One step. What a method or a warm-up step does not compute is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// The step, from 0.
    pub step: u64,
    /// Its epoch, from 0.
    pub epoch: usize,
    /// Whether the architecture stayed as it was.
    pub warmup: bool,
    /// L(E, A, B_e^tr).
    pub explainer_train_loss: f64,
    /// The norm of the gradient of E's real step, before clipping.
    pub explainer_gradient_norm: f64,
    /// L(E', A, B_e^val).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explainer_val_loss: Option<f64>,
    /// L(W, δ' ⊙ x, t) on B_a^tr.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_train_loss: Option<f64>,
    /// The norm of the gradient of W's real step, before clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_gradient_norm: Option<f64>,
    /// L(W', B_a^val).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_val_loss: Option<f64>,
    /// J before the last attack step, a sum over the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_objective: Option<f64>,
    /// The share of |δ'| at ε.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_at_epsilon: Option<f64>,
    /// The share of Σ |δ'| that lies on the pixels that matter, where these are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_on_relevant: Option<f64>,
    /// The share of these pixels of all: what an explanation without any sense of them would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevant_pixels: Option<f64>,
    /// The norm of the architecture's gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture_gradient_norm: Option<f64>,
    /// The norm of the explainer's term of it, where the two are carried apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explainer_term_norm: Option<f64>,
    /// The norm of the audience's term, not multiplied by γ, where the two are carried apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_term_norm: Option<f64>,
    /// γ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// The regularisers' sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regulariser: Option<f64>,
    /// What the mixture is expected to cost beyond the budget, as a share of it, times its weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<f64>,
    /// How well the layers agree on the architecture, from −1 to 1 for each kind of cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// The norm of the regularisers' gradient, which the architecture's gradient norm leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regulariser_norm: Option<f64>,
}

impl StepMetrics {
    pub(super) fn at(step: u64, epoch: usize, warmup: bool) -> Self {
        Self {
            step,
            epoch,
            warmup,
            ..Self::default()
        }
    }

    pub(super) fn terms(
        &mut self,
        explainer: &ExplainerTerm,
        audience: Option<&AudienceTerm>,
        gradient: &ArchitectureGradient,
    ) {
        self.explainer_val_loss = Some(explainer.loss);
        self.audience_val_loss = audience.map(|term| term.loss);
        self.architecture_gradient_norm = Some(gradient.total.norm());
        self.explainer_term_norm = gradient.norms.map(|[explainer, _]| explainer);
        self.audience_term_norm = gradient.norms.map(|[_, audience]| audience);
        self.gamma = gradient.gamma;
    }

    pub(super) fn audience(&mut self, team: &Team, stages: &AudienceStages, parts: &[Part]) {
        let explained = parts.iter().zip(&stages.explanations);
        let of_parts = explained.map(|(part, explanation)| {
            let (mut on, mut pixels) = ([0.0; 2], 0.0);
            if let Some(mask) = &part.batches.audience_train.relevant {
                on = explanation.size_on(mask);
                pixels = mask.clone().mean().into_scalar::<f64>();
            }
            let at_epsilon = explanation.share_at_epsilon;
            [on[0], on[1], pixels, explanation.objective, at_epsilon]
        });
        let [inside, size, pixels, objective, at_epsilon] = team.total(of_parts);
        let known = |part: &Part| part.batches.audience_train.relevant.is_some();
        if parts.iter().any(known) {
            self.delta_on_relevant = Some(inside / size);
            self.relevant_pixels = Some(team.fraction() * pixels);
        }
        self.audience_train_loss = Some(stages.loss);
        self.audience_gradient_norm = Some(stages.gradient.norm());
        self.attack_objective = Some(objective);
        self.share_at_epsilon = Some(team.fraction() * at_epsilon);
    }

    /// Every quantity is a finite number.
    pub(super) fn check(&self) -> Result<(), Error> {
        let quantities = [
            (
                "the explainer's training loss",
                Some(self.explainer_train_loss),
            ),
            ("the explainer's validation loss", self.explainer_val_loss),
            ("the audience's training loss", self.audience_train_loss),
            ("the audience's validation loss", self.audience_val_loss),
            ("the attack objective", self.attack_objective),
            (
                "the norm of the explainer's gradient",
                Some(self.explainer_gradient_norm),
            ),
            (
                "the norm of the audience's gradient",
                self.audience_gradient_norm,
            ),
            (
                "the norm of the architecture's gradient",
                self.architecture_gradient_norm,
            ),
            ("the norm of the explainer's term", self.explainer_term_norm),
            ("the norm of the audience's term", self.audience_term_norm),
            ("the regulariser", self.regulariser),
            (
                "the norm of the regulariser's gradient",
                self.regulariser_norm,
            ),
        ];
        for (quantity, value) in quantities {
            if let Some(value) = value.filter(|v| !v.is_finite()) {
                return Err(Error::Diverged {
                    step: self.step,
                    quantity,
                    value,
                    advice: "lower --learning-rate, --audience-learning-rate or --attack-step, or --clip; \
                             a new run is needed, since the configuration is part of it",
                });
            }
        }
        Ok(())
    }
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The epoch, from 0.
    pub epoch: usize,
    /// η_e.
    pub explainer_learning_rate: f64,
    /// Share of the training images classified correctly when they were trained on.
    pub explainer_train_accuracy: f64,
    /// Share of D_e^val classified correctly after the epoch, by batch statistics.
    pub explainer_val_accuracy: f64,
    /// The same for the audience on reweighted images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_train_accuracy: Option<f64>,
    /// The same for the audience on D_a^val, images as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_val_accuracy: Option<f64>,
    /// The explainer's training accuracy less its validation accuracy.
    pub accuracy_gap: f64,
    /// Mean entropy of each kind of cell's coefficients, in nats.
    pub entropy: BTreeMap<String, f64>,
    /// Skip-connects in the (normal) cell that would be derived now.
    pub skip_connects: usize,
    /// The share of operations without weights in what would be derived now.
    pub parameter_free_share: f64,
    /// The dominant eigenvalue of ∇²_A L_val, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eigenvalue: Option<f64>,
    /// The validation accuracy of the supernet with only the operations that would be derived now, where it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discrete_accuracy: Option<f64>,
    /// How many candidate operations train no more, where they are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_operations: Option<usize>,
    /// What is known of the architecture that would be derived now, where there is a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// The genotype that would be derived now.
    pub genotype: String,
    /// Mixing coefficients of each kind of cell: of each edge, those of its operations.
    #[serde(default)]
    pub mixtures: BTreeMap<String, Vec<Vec<f64>>>,
}

/// What a finished search found.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The derived architecture.
    pub genotype: Genotype,
    /// What is known of it, where there is a table.
    pub standing: Option<Standing>,
    /// What its network costs, at the size that a budget is for; none where that network cannot be built.
    pub cost: Option<NetworkCost>,
    /// Steps done.
    pub steps: u64,
    /// Passes of the explainer in all, see [`Unrolling::explainer_passes`].
    ///
    /// [`Unrolling::explainer_passes`]: crate::method::Unrolling::explainer_passes
    pub explainer_passes: u64,
    /// The run folder.
    pub folder: PathBuf,
}
