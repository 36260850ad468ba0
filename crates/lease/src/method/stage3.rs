//! Stage III, the audience learns: W' = W − η_w (∇_W L(W, δ' ⊙ x, t) + λ_w W).

use super::Examples;
use super::stage2::Explained;
use crate::network::{Audience, Dual, Leaves, Slot};

/// How an explanation weights the pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reweighting {
    /// δ ⊙ x.
    #[default]
    Signed,
    /// |δ| ⊙ x.
    Magnitude,
}

impl Reweighting {
    /// The images weighted by the explanation, both `[batch, channels, h, w]`.
    pub fn apply(self, images: Dual<4>, delta: Dual<4>) -> Dual<4> {
        match self {
            Self::Signed => images * delta,
            Self::Magnitude => images * delta.abs(),
        }
    }
}

/// How the audience is told: what weights the pixels, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How an explanation weights the pixels.
    pub reweighting: Reweighting,
    /// Whose explanation it is.
    pub explained: Explained,
}

impl Told {
    /// The images weighted by the explanations, both `[batch, channels, h, w]`.
    pub fn apply(self, images: Dual<4>, delta: Dual<4>) -> Dual<4> {
        let delta = match self.explained {
            Explained::Shuffled => delta.linear(|t| t.roll(&[1], &[0])),
            _ => delta,
        };
        self.reweighting.apply(images, delta)
    }
}

/// The audience's mean cross-entropy on reweighted images, a function of (W, Δ). The step itself is that
/// of stage I.
pub fn loss<'a>(
    audience: &'a Audience,
    batch: &'a Examples,
    delta: &'a Slot<4>,
    how: Told,
) -> impl Fn([&Leaves; 2]) -> Dual<1> + 'a {
    move |[w, explanation]| {
        let images = how.apply(batch.images.clone().into(), explanation.get(delta));
        let logits = audience.forward(w, images);
        batch.note(&logits);
        logits.cross_entropy(batch.one_hot.clone())
    }
}

/// The audience's mean cross-entropy on images as they are, a function of W: its part of stage IV.
pub fn validation_loss<'a>(
    audience: &'a Audience,
    batch: &'a Examples,
) -> impl Fn([&Leaves; 1]) -> Dual<1> + 'a {
    move |[w]| {
        let logits = audience.forward(w, batch.images.clone().into());
        batch.note(&logits);
        logits.cross_entropy(batch.one_hot.clone())
    }
}
