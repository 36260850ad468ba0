//! A graph as those see it who write the network in another form.

use std::collections::BTreeMap;

use super::{Graph, Id, Node, Output, StageShape, Term, Unit, Window};
use crate::plane::Size;

/// What a node is made of.
#[derive(Clone, Copy, Debug)]
pub enum Made<'a> {
    /// The images.
    Input,
    /// A convolution of states joined along their channels.
    Conv {
        /// The states.
        sources: &'a [Id],
        /// Whether a ReLU comes before it.
        rectify: bool,
        /// Geometry and places of the weights.
        shape: &'a StageShape,
    },
    /// The maxima of a state's windows.
    MaxPool(Id, Window),
    /// The means of a state's windows; pixels outside the image don't count.
    AvgPool(Id, Window),
    /// Some channels of states, as supernets with partial channels have them.
    Gather,
    /// Numbers that depend on nothing.
    Noise,
    /// A sum, rectified or not.
    State {
        /// The summands.
        terms: &'a [Term],
        /// Whether a ReLU comes after it.
        rectify: bool,
    },
}

/// A result of a graph.
#[derive(Clone, Copy, Debug)]
pub enum Wholes<'a> {
    /// The means of these states over height and width, joined along the channels.
    Means(&'a [Id]),
    /// The states themselves, joined along the channels.
    States(&'a [Id]),
}

impl Graph {
    /// All nodes, each after those that it is made of.
    pub fn nodes(&self) -> impl Iterator<Item = Id> + '_ {
        (0..self.entries.len()).map(Id)
    }

    /// What a node is made of.
    pub fn made(&self, id: Id) -> Made<'_> {
        match &self.entries[id.0].node {
            Node::Input => Made::Input,
            Node::State { terms, rectify, .. } => Made::State {
                terms,
                rectify: *rectify,
            },
            Node::Unit {
                sources,
                rectify,
                unit,
            } => match unit {
                Unit::Conv(shape) => Made::Conv {
                    sources,
                    rectify: *rectify,
                    shape,
                },
                Unit::MaxPool(window) => Made::MaxPool(sources[0], *window),
                Unit::AvgPool(window) => Made::AvgPool(sources[0], *window),
                Unit::Gather(_) => Made::Gather,
                Unit::Noise { .. } => Made::Noise,
            },
        }
    }

    /// The sizes of all nodes for images of this size.
    pub fn sized(&self, images: Size) -> BTreeMap<Id, Size> {
        self.nodes().zip(self.sizes(images)).collect()
    }

    /// The results, in order.
    pub fn results(&self) -> impl Iterator<Item = Wholes<'_>> {
        self.outputs.iter().map(|output| match output {
            Output::Means(states) => Wholes::Means(states),
            Output::Whole(states) => Wholes::States(states),
        })
    }
}
