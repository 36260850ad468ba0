//! A whole cell of the DARTS space in training mode, forward and backward, on values or dual numbers.

mod backward;
mod forward;
mod image;

use std::ops::Range;

use crate::conv::Kernel;
use crate::edge::{Stage, StageShape};
use crate::field::Field;
use crate::norm::Norm;
use crate::{LANES, blocks};

/// Columns of the mixing coefficients: none, max-pool, mean-pool, skip, sep 3×3, sep 5×5, dil 3×3, dil 5×5.
pub const OPERATIONS: usize = 8;
const MAX: usize = 1;
const AVG: usize = 2;
const SKIP: usize = 3;
const SEP: [usize; 2] = [4, 5];
const DIL: [usize; 2] = [6, 7];

/// An input's channels: groups (the nodes of the cell before) of channels, each padded to whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Groups.
    pub groups: usize,
    /// Channels in a group.
    pub channels: usize,
}

/// How a cell is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellShape {
    /// Intermediate nodes.
    pub nodes: usize,
    /// Channels of a node.
    pub channels: usize,
    /// The two inputs.
    pub inputs: [Input; 2],
    /// Whether it halves the resolution.
    pub reduction: bool,
    /// Whether the first input has twice the resolution of the second.
    pub after_reduction: bool,
}

struct EdgeShape {
    from: usize,
    skip: Option<StageShape>,
    sep: [[StageShape; 2]; 2],
    dil: [StageShape; 2],
}

/// A cell: shapes, and the places of its weights.
pub struct Cell {
    shape: CellShape,
    preprocess: [StageShape; 2],
    edges: Vec<EdgeShape>,
    weights: usize,
}

/// Places of weights, handed out in PyTorch's order.
struct Places(usize);

impl Places {
    fn take(&mut self, n: usize) -> usize {
        self.0 += n;
        self.0 - n
    }

    fn project(&mut self, input: Input, channels: usize) -> StageShape {
        StageShape {
            depthwise: None,
            matrices: vec![self.take(channels * input.groups * input.channels)],
            outputs: channels,
            groups: input.groups,
            group: input.channels,
        }
    }

    fn reduce(&mut self, input: Input, channels: usize) -> StageShape {
        let half = channels / 2 * input.groups * input.channels;
        StageShape {
            matrices: vec![self.take(half), self.take(half)],
            depthwise: None,
            outputs: channels,
            groups: input.groups,
            group: input.channels,
        }
    }

    fn separable(&mut self, channels: usize, kernel: Kernel) -> StageShape {
        StageShape {
            depthwise: Some((kernel, self.take(channels * kernel.taps()))),
            matrices: vec![self.take(channels * channels)],
            outputs: channels,
            groups: 1,
            group: channels,
        }
    }
}

/// What a forward pass keeps for the backward pass.
pub struct Saved {
    dual: bool,
    preprocess: [(Stage, Field, Norm); 2],
    states: Vec<Field>,
    pools: Vec<Pools>,
    edges: Vec<Edge>,
}

struct Pools {
    max: (Field, Norm),
    index: Vec<[u32; LANES]>,
    avg: (Field, Norm),
}

struct Edge {
    skip: Option<(Stage, Field, Norm)>,
    sep: [[(Stage, Field, Norm); 2]; 2],
    dil: [(Stage, Field, Norm); 2],
}

/// Which gradients a backward pass computes; those of the mixing coefficients always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the inputs.
    pub inputs: bool,
}

/// What a backward pass gives.
pub struct CellGradients {
    /// Of the two inputs, and of their tangents in a dual pass.
    pub inputs: Option<[Field; 2]>,
    /// Of the weights, in PyTorch's order.
    pub weights: Option<Vec<f32>>,
    /// Of the mixing coefficients, `[edges, operations]`.
    pub mixture: Vec<f32>,
}

impl Cell {
    /// Lays out a cell. The weights lie in the order of PyTorch's DARTS: the preprocessings, then edge by
    /// edge and operation by operation.
    pub fn new(shape: CellShape) -> Self {
        let mut places = Places(0);
        let c = shape.channels;
        let first = if shape.after_reduction {
            places.reduce(shape.inputs[0], c)
        } else {
            places.project(shape.inputs[0], c)
        };
        let preprocess = [first, places.project(shape.inputs[1], c)];
        let mut edges = Vec::new();
        for node in 0..shape.nodes {
            for from in 0..node + 2 {
                let stride = if shape.reduction && from < 2 { 2 } else { 1 };
                let own = Input {
                    groups: 1,
                    channels: c,
                };
                let kernel = |size, dilation, stride| Kernel {
                    size,
                    dilation,
                    stride,
                };
                edges.push(EdgeShape {
                    from,
                    skip: (stride == 2).then(|| places.reduce(own, c)),
                    sep: [3, 5].map(|size| {
                        [stride, 1].map(|stride| places.separable(c, kernel(size, 1, stride)))
                    }),
                    dil: [3, 5].map(|size| places.separable(c, kernel(size, 2, stride))),
                });
            }
        }
        Self {
            shape,
            preprocess,
            edges,
            weights: places.0,
        }
    }

    /// How many weights it has.
    pub fn weights(&self) -> usize {
        self.weights
    }

    fn blocks(&self) -> usize {
        blocks(self.shape.channels)
    }

    fn stride(&self, state: usize) -> usize {
        if self.shape.reduction && state < 2 {
            2
        } else {
            1
        }
    }

    /// The edges into a node, by number.
    fn edges_to(&self, node: usize) -> Range<usize> {
        let before = |node: usize| (0..node).map(|n| n + 2).sum::<usize>();
        before(node)..before(node + 1)
    }

    fn out_of(&self, state: usize) -> Vec<usize> {
        let edges = 0..self.edges.len();
        edges.filter(|e| self.edges[*e].from == state).collect()
    }
}

/// A candidate's column, its field before normalisation, and its norm (none for the identity).
type Source<'a> = (usize, &'a Field, Option<&'a Norm>);

/// The sources of an edge, in a fixed order: max-pool, mean-pool, skip, sep 3×3, 5×5, dil 3×3, 5×5.
fn sources<'a>(state: &'a Field, pools: &'a Pools, edge: &'a Edge) -> Vec<Source<'a>> {
    let skip = match &edge.skip {
        Some((_, z, norm)) => (SKIP, z, Some(norm)),
        None => (SKIP, state, None),
    };
    let mut all = vec![
        (MAX, &pools.max.0, Some(&pools.max.1)),
        (AVG, &pools.avg.0, Some(&pools.avg.1)),
        skip,
    ];
    all.extend(
        SEP.iter()
            .zip(&edge.sep)
            .map(|(k, sep)| (*k, &sep[1].1, Some(&sep[1].2))),
    );
    all.extend(
        DIL.iter()
            .zip(&edge.dil)
            .map(|(k, dil)| (*k, &dil.1, Some(&dil.2))),
    );
    all
}
