//! A trained network as those see it who write it in another form.

use std::collections::BTreeMap;

use lease_kernels::graph::{Graph, Id};

use super::kernels::{Compiled, Running};
use super::layers::LinearLayer;
use super::vector::Slot;

/// A network as a graph whose first result are the means that the classifier takes.
#[derive(Clone, Debug)]
pub struct Drawing<'a> {
    /// The graph; places in it are those of the network's weights.
    pub graph: &'a Graph,
    /// Running mean and variance of each normalised node.
    pub running: BTreeMap<Id, Running>,
    /// Weights `[classes, channels]` and bias of the classifier.
    pub classifier: (&'a Slot<2>, &'a Slot<1>),
}

impl<'a> Drawing<'a> {
    /// Of a graph and its classifier.
    pub fn new(compiled: &'a Compiled, classifier: &'a LinearLayer) -> Self {
        Self {
            graph: compiled.graph(),
            running: compiled.running_slots(),
            classifier: classifier.slots(),
        }
    }
}
