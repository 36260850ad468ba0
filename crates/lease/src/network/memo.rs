//! The values of a pass, kept for one over the same numbers with tangents.
//!
//! A mixed product goes once more, on dual numbers, through a network that a gradient went through before: half of its
//! forward pass is known then, to the bit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lease_kernels::graph::{Graph, Saved};

use crate::rng::Draw;

/// What one pass on the CPU's kernels leaves for the next.
#[derive(Clone, Default)]
pub struct Memo(Arc<Mutex<Option<Values>>>);

/// A pass without tangents.
pub(super) struct Values {
    pub(super) graph: Arc<Graph>,
    /// What it was computed from.
    pub(super) inputs: Inputs,
    pub(super) saved: Saved,
}

/// The numbers that a pass depends on.
#[derive(PartialEq)]
pub(super) struct Inputs {
    pub(super) noise: Draw,
    pub(super) images: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) coefficients: Vec<f32>,
}

impl Memo {
    /// Whether nothing is kept there.
    pub fn is_empty(&self) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_none()
    }

    /// Keeps the values of a pass, in place of what was kept.
    pub(super) fn keep(&self, values: Values) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
    }

    /// The values of a pass of this graph over these numbers, if they are what was kept, which is kept no more then.
    pub(super) fn take(
        &self,
        graph: &Arc<Graph>,
        inputs: &Inputs,
        is_of: impl Fn(&Saved) -> bool,
    ) -> Option<Saved> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &mut Values| {
            Arc::ptr_eq(&kept.graph, graph) && kept.inputs == *inputs && is_of(&kept.saved)
        };
        Some(kept.take_if(same)?.saved)
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}
