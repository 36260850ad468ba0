//! The settings of the method: of the audience, and of the four stages.

use serde::{Deserialize, Serialize};

use super::iteration::{Gamma, Method};
use super::product::MixedProduct;
use super::stage2::{Attack, AttackScale, Explained};
use super::stage3::{Reweighting, Told};
use crate::config::{Rule, section};
use crate::data::{Normalisation, Split};
use crate::network::ResNet;

/// What the audience is validated on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validate {
    /// Images as they are.
    #[default]
    Raw,
    /// Images weighted by explanations of their own.
    Reweighted,
}

/// What γ multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GammaScale {
    /// The audience's loss.
    #[default]
    Absolute,
    /// The norm of the explainer's term.
    Relative,
}

/// What ε is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpsilonUnit {
    /// Standard deviations of a channel's pixels.
    #[default]
    Deviations,
    /// The range of the pixels, from black to white.
    Range,
}

/// How mixed products are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hypergradient {
    /// Dual numbers.
    #[default]
    Exact,
    /// Central differences.
    FiniteDifference,
}

section! {
    /// The audience network.
    AudienceSettings, "audience", "audience" {
        /// Residual network that listens.
        network: ResNet = ResNet::ResNet20, ["resnet18", "resnet20", "resnet32", "resnet34", "resnet56"];
        /// Multiplier of its channels.
        width: f64 = 1.0 => Rule::POSITIVE.at_most(16.0);
        /// Learning rate at the start, η_w.
        learning_rate: f64 = 0.025 => Rule::POSITIVE;
        /// Learning rate at the end of the cosine.
        min_learning_rate: f64 = 0.001 => Rule::NOT_NEGATIVE;
        /// Weight decay, λ_w.
        weight_decay: f64 = 3e-4 => Rule::NOT_NEGATIVE;
    }
}

section! {
    /// The method.
    MethodSettings, "method", "" {
        /// lease: all four stages; darts: without an audience (second order); darts-first: at fixed weights.
        method: Method = Method::Lease, ["lease", "darts", "darts-first"];
        /// Weight of the audience's validation loss.
        gamma: f64 = 1.0 => Rule::NOT_NEGATIVE;
        /// absolute: gamma is the weight; relative: the weight is chosen at each step so that the audience's term has gamma times the norm of the explainer's.
        gamma_scale: GammaScale = GammaScale::Absolute, ["absolute", "relative"];
        /// Steps from one to the next that carries the two terms of the architecture's gradient apart, so that their norms are known, which takes one more mixed product; 0 means never. With a relative gamma, and by finite differences, every step does.
        norms_every: u64 = 10 => Rule::whole(0, u32::MAX);
        /// Largest perturbation of a pixel, ε; a fraction such as 8/255 can be given.
        epsilon: f64 = 0.03 => Rule::POSITIVE;
        /// What ε is measured in: standard deviations of the pixels, or their whole range from black to white.
        epsilon_unit: EpsilonUnit = EpsilonUnit::Deviations, ["deviations", "range"];
        /// Step of the attack, η: its root mean square over an image as a multiple of ε, or with an absolute attack_scale what multiplies the gradient.
        attack_step: f64 = 1.0 => Rule::POSITIVE;
        /// relative: the attack's step is measured against the gradient, image by image; absolute: the gradient itself is multiplied, whose size depends on network, data and batch.
        attack_scale: AttackScale = AttackScale::Relative, ["relative", "absolute"];
        /// Attack steps; the derivative goes through the last.
        attack_steps: usize = 1 => Rule::whole(1, 1_000);
        /// Step along the gradient's sign (PGD), by attack_step · ε, or with an absolute attack_scale by attack_step. This cuts the audience's path back to the architecture: its term becomes 0.
        signed_attack: bool = false;
        /// What the audience is given as explanations: attack is the method; the others are controls: shuffled (those of another image), random-signs, or plain (images as they are). The last two do not depend on the architecture, so its gradient is that of darts.
        explanation: Explained = Explained::Attack, ["attack", "shuffled", "random-signs", "plain"];
        /// How an explanation weights pixels: signed is δ ⊙ x, magnitude |δ| ⊙ x.
        reweighting: Reweighting = Reweighting::Signed, ["signed", "magnitude"];
        /// Whether the audience is validated on images as they are or reweighted by explanations of their own.
        validate: Validate = Validate::Raw, ["raw", "reweighted"];
        /// Mixed products: exact by dual numbers, or by the central difference of older code.
        hypergradient: Hypergradient = Hypergradient::Exact, ["exact", "finite-difference"];
        /// Length of the finite difference's step.
        h0: f64 = 0.01 => Rule::POSITIVE;
        /// Whether explainer and audience share one training and one validation part, or have four disjoint sets.
        split: Split = Split::Shared, ["shared", "disjoint"];
        /// Share of the training images that train; the others validate.
        training_share: f64 = 0.5 => Rule::INSIDE;
    }
}

impl MethodSettings {
    /// Whether a search by the method reads the setting of this key: what is about the audience and what it is told only
    /// [`Method::Lease`] does, how mixed products are computed all but [`Method::DartsFirst`], and whatever `agrees`, the
    /// agreement of layers having a weight.
    pub fn reads(&self, key: &str, agrees: bool) -> bool {
        let products = agrees || self.method != Method::DartsFirst;
        match key {
            "gamma" | "gamma_scale" | "norms_every" | "epsilon" | "epsilon_unit"
            | "attack_step" | "attack_scale" | "attack_steps" | "signed_attack" | "explanation"
            | "reweighting" | "validate" => self.method == Method::Lease,
            "hypergradient" => products,
            "h0" => products && self.hypergradient == Hypergradient::FiniteDifference,
            _ => true,
        }
    }

    /// The attack of stage II on images that were normalised by this.
    pub fn attack(&self, normalisation: &Normalisation) -> Attack {
        let channel = |deviation: &f32| match self.epsilon_unit {
            EpsilonUnit::Deviations => self.epsilon,
            EpsilonUnit::Range => self.epsilon / f64::from(*deviation),
        };
        Attack {
            epsilon: normalisation.std.iter().map(channel).collect(),
            step_size: self.attack_step,
            scale: self.attack_scale,
            steps: self.attack_steps,
            signed: self.signed_attack,
        }
    }

    /// How the audience is told.
    pub fn told(&self) -> Told {
        Told {
            reweighting: self.reweighting,
            explained: self.explanation,
        }
    }

    /// How mixed products are computed.
    pub fn product(&self) -> MixedProduct {
        match self.hypergradient {
            Hypergradient::Exact => MixedProduct::Exact,
            Hypergradient::FiniteDifference => MixedProduct::FiniteDifference { h0: self.h0 },
        }
    }

    /// The weight of the audience's term.
    pub fn gamma(&self) -> Gamma {
        match self.gamma_scale {
            GammaScale::Absolute => Gamma::Absolute(self.gamma),
            GammaScale::Relative => Gamma::Relative(self.gamma),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;

    #[test]
    fn methods_read_what_they_compute_with() {
        let read = |method, hypergradient, agrees| {
            let settings = MethodSettings {
                method,
                hypergradient,
                ..MethodSettings::default()
            };
            let all = MethodSettings::INFO.settings.iter().map(|s| s.key);
            all.filter(|key| settings.reads(key, agrees))
                .collect::<Vec<_>>()
        };
        let first_order = read(Method::DartsFirst, Hypergradient::Exact, false);
        assert_eq!(first_order, ["method", "split", "training_share"]);
        let second_order = read(Method::Darts, Hypergradient::Exact, false);
        assert_eq!(
            second_order,
            ["method", "hypergradient", "split", "training_share"]
        );
        assert_eq!(
            read(Method::DartsFirst, Hypergradient::Exact, true),
            second_order
        );
        let all: Vec<&str> = MethodSettings::INFO
            .settings
            .iter()
            .map(|s| s.key)
            .collect();
        assert_eq!(
            read(Method::Lease, Hypergradient::FiniteDifference, false),
            all
        );
    }
}
