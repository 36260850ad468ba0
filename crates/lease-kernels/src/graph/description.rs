//! A graph as those see it who write the network in another form.

use std::collections::BTreeMap;

use super::{Graph, Id, Node, Output, StageShape, Term, Unit, Window};
use crate::plane::Size;
use crate::{LANES, blocks};

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
    /// Some channels of states, as supernets with partial channels have them: see [`Graph::gathered`].
    Gather,
    /// Numbers that depend on nothing, of the shape of a state taken at a stride.
    Noise {
        /// Which of the graph's noises.
        number: usize,
        /// The state.
        like: Id,
        /// The stride.
        stride: usize,
    },
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
                Unit::Noise { number, stride } => Made::Noise {
                    number: *number,
                    like: sources[0],
                    stride: *stride,
                },
            },
        }
    }

    /// The state and the channel of it that each channel of a [`Made::Gather`] is; none for other nodes.
    pub fn gathered(&self, id: Id) -> Vec<(Id, usize)> {
        let Node::Unit {
            sources,
            unit: Unit::Gather(lanes),
            ..
        } = &self.entries[id.0].node
        else {
            return Vec::new();
        };
        let first = sources.iter().scan(0, |next, source| {
            let here = *next;
            *next += blocks(self.channels(*source)) * LANES;
            Some((*source, here))
        });
        let first: Vec<(Id, usize)> = first.collect();
        let of = |lane: &usize| {
            let own = first.iter().rev().find(|(_, first)| first <= lane);
            own.map(|(source, first)| (*source, lane - first))
        };
        lanes.iter().filter_map(of).collect()
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
