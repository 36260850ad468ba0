//! Partial channels (Xu et al., *PC-DARTS*, arXiv 1907.05737): of a state's C channels the first C / k pass an edge's mixed
//! operations, the others pass them by; both are joined and shuffled. Which channels an operation sees then changes from edge to
//! edge, and edges have strengths of their own: the softmax of β over the edges into each node.

use std::ops::Range;

use lease_kernels::graph::{Id, Normalise, Term, Window};

use crate::network::kernels::Emitter;
use crate::network::{Dual, NetworkError};

/// How many of a state's channels pass the mixed operations.
#[derive(Clone, Copy, Debug)]
pub struct PartialChannels {
    channels: usize,
    /// k.
    one_in: usize,
}

impl PartialChannels {
    /// One channel in so many of these passes; 1 means all.
    ///
    /// # Errors
    /// If the channels cannot be split so.
    pub fn new(channels: usize, one_in: usize) -> Result<Self, NetworkError> {
        if one_in == 0 {
            let what = "partial channels";
            return Err(NetworkError::Zero { what });
        }
        if !channels.is_multiple_of(one_in) {
            return Err(NetworkError::Partial {
                channels,
                partial: one_in,
            });
        }
        Ok(Self { channels, one_in })
    }

    /// Whether all channels pass.
    pub fn is_whole(self) -> bool {
        self.one_in == 1
    }

    /// The channels that pass.
    pub fn mixed(self) -> usize {
        self.channels / self.one_in
    }

    /// Of a state `[batch, channels, h, w]` the channels that pass an edge's operations, and those that pass them by, at the
    /// resolution after operations of this stride.
    pub fn split(self, whole: Dual<4>, stride: usize) -> (Dual<4>, Option<Dual<4>>) {
        if self.is_whole() {
            return (whole, None);
        }
        let rest = whole.clone().channels(self.mixed()..self.channels);
        let rest = if stride == 2 {
            rest.max_pool(2, 2, 0)
        } else {
            rest
        };
        (whole.channels(0..self.mixed()), Some(rest))
    }

    /// An edge's result: the mixture, and what passed by.
    pub fn joined(self, mixture: Dual<4>, bypass: Dual<4>) -> Dual<4> {
        Dual::cat(vec![mixture, bypass], 1).shuffled(self.one_in)
    }

    /// [`PartialChannels::split`] of a state of a graph.
    pub fn emit_split(self, e: &mut Emitter, state: Id, stride: usize) -> (Id, Option<Id>) {
        if self.is_whole() {
            return (state, None);
        }
        let mut part = |range: Range<usize>| {
            let channels: Vec<_> = range.map(|c| (0, c)).collect();
            let unit = e.graph.gather(&[state], &channels);
            e.graph.state(vec![Term::new(unit, Normalise::Not)], false)
        };
        let (first, rest) = (part(0..self.mixed()), part(self.mixed()..self.channels));
        if stride == 1 {
            return (first, Some(rest));
        }
        let pooled = e.graph.max_pool(rest, Window::two());
        let pooled = vec![Term::new(pooled, Normalise::Not)];
        (first, Some(e.graph.state(pooled, false)))
    }

    /// [`PartialChannels::joined`] of a mixture's terms, at least one, in a graph.
    pub fn emit_joined(self, e: &mut Emitter, mixture: Vec<Term>, bypass: Id) -> Term {
        let mixed = self.mixed();
        let place = |at: usize| {
            let from = at % self.one_in * mixed + at / self.one_in;
            if from < mixed {
                (0, from)
            } else {
                (1, from - mixed)
            }
        };
        let shuffle: Vec<_> = (0..self.channels).map(place).collect();
        let mixture = e.graph.state(mixture, false);
        let whole = e.graph.gather(&[mixture, bypass], &shuffle);
        Term::new(whole, Normalise::Not)
    }
}

/// The strengths of edges: the softmax of their β over the edges into each node, which these ranges are.
pub fn strengths(betas: Dual<1>, nodes: impl Iterator<Item = Range<usize>>) -> Dual<1> {
    let parts = nodes.map(|range| betas.clone().linear(|t| t.slice([range.clone()])).softmax());
    Dual::cat(parts.collect(), 0)
}
