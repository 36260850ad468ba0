//! Whole networks of convolutions, pools, batch norms and weighted sums, forward on values or dual numbers, and
//! backward.
//!
//! A [`Graph`] has two sorts of nodes. A *unit* is what a convolution or a pool makes of states, before any
//! normalisation. A *state* is the input, or a weighted sum of normalised units and of other states: an edge
//! mixture, a residual connection, or a single unit's batch norm. Everything between two convolutions is so
//! one linear form, worked out in one sweep over memory.
//!
//! Nodes are worked on level by level. All units of a level that read the same state share its rectified,
//! padded form, and are computed some images at a time while that is in the cache. A state with a single reader is not
//! kept but computed again where it is read.

mod backward;
mod description;
mod forward;
mod image;
mod sums;

use crate::conv::Kernel;
use crate::field::{Field, Halves};
use crate::norm::{Affine, Norm, Weighting};
use crate::plane::Size;
use crate::stage::Stage;
use crate::window::Places;
use crate::{LANES, Lanes, blocks};

pub use crate::norm::Statistics;
pub use crate::stage::{Geometry, StageShape};
pub use crate::window::Window;
pub use backward::{Gradients, Wanted};
pub use description::{Made, Wholes};
pub use forward::{Noise, Pass};

/// A square kernel of a convolution.
pub type SquareKernel = Kernel;

/// A node of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(usize);

/// What a source is normalised by before it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalise {
    /// Nothing.
    Not,
    /// Batch norm without scale and shift.
    Plain,
    /// Batch norm with scale and shift, at these places among the weights.
    Affine {
        /// Of the scales.
        scale: usize,
        /// Of the shifts.
        shift: usize,
    },
}

/// One summand of a state.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// A unit or a state.
    pub source: Id,
    /// Its batch norm.
    pub normalise: Normalise,
    /// The number of the coefficient it is multiplied by.
    pub coefficient: Option<usize>,
    /// The row of the per-image factors it is multiplied by (path dropout).
    pub drop: Option<usize>,
}

impl Term {
    /// A source with this normalisation, once.
    pub fn new(source: Id, normalise: Normalise) -> Self {
        Self {
            source,
            normalise,
            coefficient: None,
            drop: None,
        }
    }

    /// The same, times a coefficient.
    pub fn times(self, coefficient: usize) -> Self {
        Self {
            coefficient: Some(coefficient),
            ..self
        }
    }
}

/// What a unit computes.
#[derive(Clone, Debug)]
enum Unit {
    Conv(StageShape),
    MaxPool(Window),
    AvgPool(Window),
    /// Some channels of the sources, at these lanes of the joined blocks.
    Gather(Vec<usize>),
    /// Numbers that the pass gives, of the shape of a source taken at this stride.
    Noise {
        number: usize,
        stride: usize,
    },
}

#[derive(Clone, Debug)]
enum Node {
    Input,
    Unit {
        sources: Vec<Id>,
        /// Whether it reads max(x, 0).
        rectify: bool,
        unit: Unit,
    },
    State {
        terms: Vec<Term>,
        /// Whether the sum is rectified.
        rectify: bool,
        /// Whether it is kept, or computed again where it is read.
        kept: bool,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    node: Node,
    channels: usize,
    /// Whether some state normalises it.
    normalised: bool,
}

/// A result of a graph.
#[derive(Clone, Debug)]
enum Output {
    /// The states' means over height and width, one after the other.
    Means(Vec<Id>),
    /// The states themselves, joined along the channels.
    Whole(Vec<Id>),
}

impl Output {
    fn states(&self) -> &[Id] {
        match self {
            Self::Means(states) | Self::Whole(states) => states,
        }
    }
}

/// Units that read the same.
#[derive(Clone, Debug)]
struct Group {
    sources: Vec<Id>,
    rectify: bool,
    units: Vec<Id>,
}

/// Units that can be computed together, and the states that are complete after them, in order.
#[derive(Clone, Debug, Default)]
struct Level {
    groups: Vec<Group>,
    states: Vec<Id>,
}

/// A network.
#[derive(Clone, Debug)]
pub struct Graph {
    entries: Vec<Entry>,
    outputs: Vec<Output>,
    levels: Vec<Level>,
    drops: usize,
}

impl Graph {
    /// A graph whose input has this many channels, and the input.
    pub fn new(channels: usize) -> (Self, Id) {
        let graph = Self {
            entries: vec![Entry {
                node: Node::Input,
                channels,
                normalised: false,
            }],
            outputs: Vec::new(),
            levels: Vec::new(),
            drops: 0,
        };
        (graph, Id(0))
    }

    fn push(&mut self, node: Node, channels: usize) -> Id {
        self.entries.push(Entry {
            node,
            channels,
            normalised: false,
        });
        Id(self.entries.len() - 1)
    }

    /// The channels of a node.
    pub fn channels(&self, id: Id) -> usize {
        self.entries[id.0].channels
    }

    /// A convolution of states, joined along their channels; `rectify` puts a ReLU before it. `taps` and
    /// `matrices` are the places of the weights (see [`StageShape`]).
    pub fn conv(
        &mut self,
        sources: &[Id],
        rectify: bool,
        geometry: Geometry,
        (taps, matrices): (usize, Vec<usize>),
        outputs: usize,
    ) -> Id {
        let shape = StageShape {
            geometry,
            taps,
            matrices,
            outputs,
            inputs: sources.iter().map(|s| self.channels(*s)).collect(),
        };
        let unit = Node::Unit {
            sources: sources.to_vec(),
            rectify,
            unit: Unit::Conv(shape),
        };
        self.push(unit, outputs)
    }

    /// Max-pooling of a state.
    pub fn max_pool(&mut self, source: Id, window: Window) -> Id {
        self.pool(source, Unit::MaxPool(window))
    }

    /// Mean-pooling of a state; pixels outside the image don't count.
    pub fn avg_pool(&mut self, source: Id, window: Window) -> Id {
        self.pool(source, Unit::AvgPool(window))
    }

    /// Channels of states of the same size, each given as (which source, its channel).
    pub fn gather(&mut self, sources: &[Id], channels: &[(usize, usize)]) -> Id {
        let first = |source: usize| -> usize {
            let before = sources[..source].iter();
            before.map(|s| blocks(self.channels(*s)) * LANES).sum()
        };
        let lanes: Vec<usize> = channels.iter().map(|(s, c)| first(*s) + c).collect();
        let node = Node::Unit {
            sources: sources.to_vec(),
            rectify: false,
            unit: Unit::Gather(lanes),
        };
        self.push(node, channels.len())
    }

    /// Numbers that depend on nothing in the graph: the pass's [`Noise`] of this number, of the channels of a state and its
    /// size after this stride.
    pub fn noise(&mut self, like: Id, stride: usize, number: usize) -> Id {
        self.pool(like, Unit::Noise { number, stride })
    }

    fn pool(&mut self, source: Id, unit: Unit) -> Id {
        let node = Node::Unit {
            sources: vec![source],
            rectify: false,
            unit,
        };
        self.push(node, self.channels(source))
    }

    /// A state: the sum of these terms, rectified if asked for.
    pub fn state(&mut self, terms: Vec<Term>, rectify: bool) -> Id {
        self.add_state(terms, rectify, true)
    }

    /// A state that a single convolution reads, and nothing else.
    pub fn passing(&mut self, term: Term) -> Id {
        self.add_state(vec![term], false, false)
    }

    fn add_state(&mut self, terms: Vec<Term>, rectify: bool, kept: bool) -> Id {
        for term in &terms {
            if term.normalise != Normalise::Not {
                self.entries[term.source.0].normalised = true;
            }
            if let Some(drop) = term.drop {
                self.drops = self.drops.max(drop + 1);
            }
        }
        let channels = terms.first().map_or(0, |t| self.channels(t.source));
        let node = Node::State {
            terms,
            rectify,
            kept,
        };
        self.push(node, channels)
    }

    /// Adds the means of states over height and width, `[images, channels]`, to the results.
    pub fn output_means(&mut self, states: &[Id]) {
        self.outputs.push(Output::Means(states.to_vec()));
    }

    /// Adds states, joined along the channels, `[images, channels, height, width]`, to the results.
    pub fn output(&mut self, states: &[Id]) {
        self.outputs.push(Output::Whole(states.to_vec()));
    }

    /// The channels and the size of each result, for an input of this size; means are 1×1.
    pub fn output_shapes(&self, input: Size) -> Vec<(usize, Size)> {
        let sizes = self.sizes(input);
        let shape = |output: &Output| {
            let states = output.states();
            let channels = states.iter().map(|s| self.channels(*s)).sum();
            match (output, states.first()) {
                (Output::Whole(_), Some(state)) => (channels, sizes[state.0]),
                _ => (channels, Size { h: 1, w: 1 }),
            }
        };
        self.outputs.iter().map(shape).collect()
    }

    /// Rows of per-image factors that a pass with path dropout needs.
    pub fn drops(&self) -> usize {
        self.drops
    }

    /// The nodes with batch norms, in the order in which their statistics are given and taken.
    pub fn normalised(&self) -> impl Iterator<Item = Id> + '_ {
        let all = self.entries.iter().enumerate();
        all.filter(|(_, e)| e.normalised).map(|(i, _)| Id(i))
    }

    /// Arranges the nodes in levels, after the last one is added.
    pub fn arranged(mut self) -> Self {
        let mut level = vec![0; self.entries.len()];
        let mut levels: Vec<Level> = vec![Level::default()];
        for (i, entry) in self.entries.iter().enumerate() {
            let of = |ids: &mut dyn Iterator<Item = Id>| ids.map(|s| level[s.0]).max().unwrap_or(0);
            level[i] = match &entry.node {
                Node::Input => 0,
                Node::Unit { sources, .. } => 1 + of(&mut sources.iter().copied()),
                Node::State { terms, .. } => of(&mut terms.iter().map(|t| t.source)),
            };
            if levels.len() <= level[i] {
                levels.resize_with(level[i] + 1, Level::default);
            }
            let here = &mut levels[level[i]];
            match &entry.node {
                Node::Input => {}
                Node::State { .. } => here.states.push(Id(i)),
                Node::Unit {
                    sources, rectify, ..
                } => {
                    let groups = here.groups.iter_mut();
                    let mut same =
                        groups.filter(|g| g.sources == *sources && g.rectify == *rectify);
                    if let Some(group) = same.next() {
                        group.units.push(Id(i));
                    } else {
                        here.groups.push(Group {
                            sources: sources.clone(),
                            rectify: *rectify,
                            units: vec![Id(i)],
                        });
                    }
                }
            }
        }
        self.levels = levels;
        self
    }

    /// The bytes of activations that a pass over so many images of this size keeps until its backward pass is done; one
    /// on dual numbers keeps twice as many.
    pub fn bytes(&self, input: Size, images: usize) -> u64 {
        let each = self.sizes(input).into_iter().enumerate().map(|(i, size)| {
            let blocks = crate::blocks(self.channels(Id(i)));
            let kept = self.is_kept(Id(i));
            if kept {
                (blocks * crate::LANES * size.area() * size_of::<f32>()) as u64
            } else {
                0
            }
        });
        each.sum::<u64>() * images as u64
    }

    /// The multiplications with an addition that its convolutions do for one image of this size.
    pub fn multiply_adds(&self, input: Size) -> u64 {
        let sizes = self.sizes(input);
        let each = self.entries.iter().zip(sizes);
        let of = each.filter_map(|(entry, after)| match &entry.node {
            Node::Unit {
                unit: Unit::Conv(shape),
                ..
            } => Some(shape.multiply_adds() * after.area() as u64),
            _ => None,
        });
        of.sum()
    }

    /// The sizes of all nodes for an input of this size.
    fn sizes(&self, input: Size) -> Vec<Size> {
        let mut sizes: Vec<Size> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            sizes.push(match &entry.node {
                Node::Input => input,
                Node::Unit { sources, unit, .. } => {
                    let before = sources.first().map_or(input, |s| sizes[s.0]);
                    match unit {
                        Unit::Conv(shape) => before.strided(shape.geometry.stride()),
                        Unit::MaxPool(window) | Unit::AvgPool(window) => window.after(before),
                        Unit::Gather(_) => before,
                        Unit::Noise { stride, .. } => before.strided(*stride),
                    }
                }
                Node::State { terms, .. } => terms.first().map_or(input, |t| sizes[t.source.0]),
            });
        }
        sizes
    }

    fn terms(&self, id: Id) -> &[Term] {
        match &self.entries[id.0].node {
            Node::State { terms, .. } => terms,
            _ => &[],
        }
    }

    fn is_kept(&self, id: Id) -> bool {
        !matches!(self.entries[id.0].node, Node::State { kept: false, .. })
    }

    fn is_unit(&self, id: Id) -> bool {
        matches!(self.entries[id.0].node, Node::Unit { .. })
    }

    fn shape(&self, id: Id) -> Option<&StageShape> {
        match &self.entries[id.0].node {
            Node::Unit {
                unit: Unit::Conv(shape),
                ..
            } => Some(shape),
            _ => None,
        }
    }
}

/// What a forward pass keeps for the backward pass.
pub struct Saved {
    dual: bool,
    /// What it has worked out.
    halves: Halves,
    images: usize,
    sizes: Vec<Size>,
    /// Units before normalisation, and kept states.
    fields: Vec<Option<Field>>,
    /// Of maxima: for each unit, image by image.
    places: Vec<Vec<Vec<Places>>>,
    norms: Vec<Option<Norm>>,
    stages: Vec<Option<Stage>>,
    /// For each state, what its terms are weighted by, and the forms that follow from it.
    terms: Vec<Vec<Weighted>>,
    /// Per-image factors, `[drops, images]`.
    drop: Vec<f32>,
}

/// A term in one pass.
struct Weighted {
    /// Scale and shift of the batch norm.
    own: Weighting,
    /// The coefficient and its tangent.
    coefficient: [f64; 2],
    /// Both together.
    total: Weighting,
    form: Affine,
}

impl Saved {
    /// The factor of one image in a term.
    fn factor(&self, term: &Term, image: usize) -> f32 {
        term.drop
            .map_or(1.0, |row| self.drop[row * self.images + image])
    }

    fn norm(&self, term: &Term, channels: usize) -> Norm {
        match (&self.norms[term.source.0], term.normalise) {
            (Some(norm), Normalise::Plain | Normalise::Affine { .. }) => norm.clone(),
            _ => Norm::none(channels),
        }
    }

    /// Whether it is of so many images of this size, with these factors of path dropout.
    pub fn is_of(&self, images: usize, size: Size, drop: &[f32]) -> bool {
        self.images == images && self.sizes.first() == Some(&size) && self.drop == drop
    }

    /// The statistics of all normalised nodes of the graph, in order.
    pub fn statistics(&self, graph: &Graph) -> Vec<Statistics> {
        let of = |id: Id| {
            let norm = self.norms[id.0].as_ref();
            norm.map(|n| n.statistics(graph.channels(id)))
        };
        graph.normalised().filter_map(of).collect()
    }
}

fn scaled(lanes: &Lanes, factor: f32) -> Lanes {
    lanes.map(|x| x * factor)
}
