//! What an iteration costs, in passes of the explainer.

use super::iteration::{Gamma, Method, Unrolling};
use super::product::MixedProduct;
use super::stage2::Explained;

impl Unrolling {
    /// Whether stage IV carries its two terms apart: where their norms are wanted, or needed, or where what is not
    /// linear in its v computes mixed products.
    pub(super) fn terms_apart(&self) -> bool {
        let difference = matches!(self.product, MixedProduct::FiniteDifference { .. });
        self.norms || difference || matches!(self.gamma, Gamma::Relative(_))
    }

    /// Passes of the explainer, forward or forward and backward, that one step takes; those on dual numbers, and
    /// finite differences, count twice.
    pub fn explainer_passes(&self, warmup: bool) -> u64 {
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
        let apart = differentiate > 0 && self.terms_apart();
        let audience = explain + differentiate + if apart { 2 } else { 0 };
        let reweighted = u64::from(self.validate_reweighted) * (explain + differentiate);
        explainer + audience + reweighted
    }
}
