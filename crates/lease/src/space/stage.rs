//! The stages of a search: one in most spaces, several in progressive ones.

use serde::{Deserialize, Serialize};

/// One stage of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StagePlan {
    /// Cells of the supernet.
    pub cells: usize,
    /// Candidates on each edge; 0 means all.
    pub candidates: usize,
    /// The probability at its start that an image loses what a skip-connect carries.
    pub skip_dropout: f64,
}

impl StagePlan {
    /// The only stage of a search.
    pub fn only(cells: usize) -> Self {
        Self {
            cells,
            candidates: 0,
            skip_dropout: 0.0,
        }
    }

    /// The probability with which an image loses what a skip-connect carries, in an epoch of a stage of `epochs`, the
    /// first `warmup` of which leave the architecture as it is: from its start it falls linearly, then by e^−0.2 an
    /// epoch (the schedule of P-DARTS's authors' code).
    pub fn skip_dropout_in(&self, epoch: usize, epochs: usize, warmup: usize) -> f64 {
        match epoch.checked_sub(warmup) {
            None => self.skip_dropout * (epochs - epoch - 1) as f64 / epochs as f64,
            Some(since) => self.skip_dropout * (-0.2 * since as f64).exp(),
        }
    }
}

/// The stage that a search is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReached {
    /// Its number, from 0.
    pub number: usize,
    /// What is left of the space, as [`Explainer::kept`](super::Explainer::kept) gave it; none means all.
    pub candidates: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_falls_linearly_then_exponentially() {
        let stage = StagePlan {
            skip_dropout: 0.4,
            ..StagePlan::only(5)
        };
        let at = |epoch| stage.skip_dropout_in(epoch, 25, 10);
        assert_eq!(at(0), 0.4 * 24.0 / 25.0);
        assert_eq!(at(10), 0.4);
        assert!((at(15) - 0.4 * (-1.0f64).exp()).abs() < 1e-15);
    }
}
