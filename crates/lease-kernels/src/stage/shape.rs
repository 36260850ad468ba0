//! What a stage is: its geometry, its weights as the kernels want them, and their gradients.

use std::ops::Range;

use rayon::prelude::*;

use crate::conv::winograd::{
    POINTS, add_untransformed, has_many_tiles, has_tiles, pays, transformed, winograd,
    winograd_weights,
};
use crate::conv::{InOut, Kernel, View, dense, dense_weights, flipped, transposed};
use crate::plane::{Size, add};
use crate::pool::Buffer;
use crate::{LANES, Lanes, blocks};

/// How a stage convolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// A dense convolution.
    Dense(Kernel),
    /// A depthwise convolution, then a 1×1 one.
    Separable(Kernel),
    /// A factorized reduction: half of the outputs by a 1×1 convolution of every second pixel, the other half
    /// by one of those one further to the right and below.
    Reduce,
}

impl Geometry {
    /// The stride.
    pub fn stride(self) -> usize {
        match self {
            Self::Dense(kernel) | Self::Separable(kernel) => kernel.stride,
            Self::Reduce => 2,
        }
    }

    /// Zeros that it needs around its input; none if it works on planes as they are.
    pub(super) fn pad(self) -> Option<usize> {
        match self {
            Self::Dense(kernel) => (kernel != Kernel::new(1, 1)).then(|| kernel.pad()),
            Self::Separable(kernel) => Some(kernel.pad()),
            Self::Reduce => None,
        }
    }
}

/// A convolution's geometry and channels, and the places of its weights among the network's, each in
/// PyTorch's order.
#[derive(Clone, Debug)]
pub struct StageShape {
    /// How it convolves.
    pub geometry: Geometry,
    /// The place of a separable stage's depthwise taps, `[channels, k, k]`.
    pub taps: usize,
    /// The place of each matrix `[outputs, inputs, k, k]`: one, or the two halves of a reduction.
    pub matrices: Vec<usize>,
    /// Output channels in all.
    pub outputs: usize,
    /// Channels of each input; each is padded to whole blocks.
    pub inputs: Vec<usize>,
}

impl StageShape {
    pub(super) fn input_blocks(&self) -> usize {
        self.inputs.iter().map(|c| blocks(*c)).sum()
    }

    /// The multiplications with an addition that a pixel of its result takes.
    pub fn multiply_adds(&self) -> u64 {
        let inputs: usize = self.inputs.iter().sum();
        let dense = self.outputs * inputs * self.dense_taps();
        (dense + inputs * self.depthwise().map_or(0, Kernel::taps)) as u64
    }

    /// Taps of the dense part.
    fn dense_taps(&self) -> usize {
        match self.geometry {
            Geometry::Dense(kernel) => kernel.taps(),
            _ => 1,
        }
    }

    /// Input lanes of the dense part.
    fn dense_inputs(&self) -> usize {
        self.input_blocks() * LANES * self.matrices.len()
    }

    fn depthwise(&self) -> Option<Kernel> {
        match self.geometry {
            Geometry::Separable(kernel) => Some(kernel),
            _ => None,
        }
    }

    /// Whether its depthwise part carries adjoints back from where they lie among zeros, as it does at stride 1.
    pub(super) fn frames(&self) -> bool {
        self.depthwise().is_some_and(|kernel| kernel.stride == 1)
    }

    /// Lanes of the input channels, all inputs joined.
    fn input_lanes(&self) -> Vec<usize> {
        let first = self.inputs.iter().scan(0, |next, channels| {
            let here = *next;
            *next += blocks(*channels) * LANES;
            Some(here..here + channels)
        });
        first.flatten().collect()
    }

    /// Outputs of each matrix.
    fn matrix_outputs(&self) -> usize {
        self.outputs / self.matrices.len()
    }

    /// Calls `each` with the weights of some outputs of matrix `m`, several outputs' at a time: the place of the first
    /// among the matrix's in PyTorch's order, from which those of the others lie a row apart, their index in the
    /// packed matrix, and their lanes.
    fn each_weight(
        &self,
        m: usize,
        outputs: Range<usize>,
        input_lanes: &[usize],
        mut each: impl FnMut(usize, usize, Range<usize>),
    ) {
        let (taps, rows) = (self.dense_taps(), self.dense_inputs());
        let mut output = outputs.start;
        while output < outputs.end {
            let channel = m * self.matrix_outputs() + output;
            let first = channel / LANES * taps * rows + m * self.input_blocks() * LANES;
            let lane = channel % LANES;
            let lanes = lane..LANES.min(lane + outputs.end - output);
            for (input, i) in input_lanes.iter().enumerate() {
                for t in 0..taps {
                    let at = (output * input_lanes.len() + input) * taps + t;
                    each(at, first + i + t * rows, lanes.clone());
                }
            }
            output += lanes.len();
        }
    }

    /// Calls `each` with every depthwise tap: its place, its index among the packed ones, and its lane.
    fn each_tap(&self, mut each: impl FnMut(usize, usize, usize)) {
        let taps = self.depthwise().map_or(0, Kernel::taps);
        for c in 0..self.inputs[0] {
            for t in 0..taps {
                each(c * taps + t, c / LANES * taps + t, c % LANES);
            }
        }
    }

    /// Lanes of the packed matrices.
    pub(crate) fn matrix_len(&self) -> usize {
        blocks(self.outputs) * self.dense_taps() * self.dense_inputs()
    }

    fn taps_len(&self) -> usize {
        let taps = self.depthwise().map_or(0, Kernel::taps);
        taps * self.input_blocks()
    }

    pub(super) fn pack(&self, weights: &[f32]) -> Packed {
        let mut matrix = Buffer::zeros(self.matrix_len());
        let lanes = self.input_lanes();
        let n = lanes.len() * self.dense_taps();
        for (m, start) in self.matrices.iter().enumerate() {
            let outputs = self.matrix_outputs();
            let weights = &weights[*start..][..outputs * n];
            self.each_weight(m, 0..outputs, &lanes, |at, index, own| {
                let weights = weights[at..].iter().step_by(n);
                for (lane, weight) in matrix[index][own].iter_mut().zip(weights) {
                    *lane = *weight;
                }
            });
        }
        let mut taps = Buffer::zeros(self.taps_len());
        self.each_tap(|at, index, lane| taps[index][lane] = weights[self.taps + at]);
        let tiles = self.tiles(&matrix, self.dense_inputs());
        Packed {
            taps,
            matrix,
            tiles,
        }
    }

    /// Whether tiles of 2×2 results pay between so many lanes.
    fn by_tiles(&self, inputs: usize, outputs: usize) -> bool {
        self.geometry == Geometry::Dense(Kernel::new(3, 1)) && pays(inputs, outputs)
    }

    /// A matrix from so many lanes, transformed for tiles of 2×2 results where these pay.
    fn tiles(&self, matrix: &[Lanes], inputs: usize) -> Option<Buffer> {
        let outputs = matrix.len() / self.dense_taps() / inputs * LANES;
        self.by_tiles(inputs, outputs)
            .then(|| transformed(matrix, inputs))
    }

    pub(super) fn transpose(&self, packed: &Packed) -> Packed {
        let (taps, inputs) = (self.dense_taps(), self.dense_inputs());
        let mut matrix = Buffer::stale(inputs / LANES * taps * blocks(self.outputs) * LANES);
        transposed(&packed.matrix, taps, inputs, &mut matrix);
        let depthwise = self.depthwise();
        Packed {
            taps: depthwise.map_or(Buffer::default(), |kernel| flipped(&packed.taps, kernel)),
            tiles: self.tiles(&matrix, blocks(self.outputs) * LANES),
            matrix,
        }
    }

    /// How many images of inputs of this size are worth convolving together: so many that their numbers are a few
    /// times those of the weights, within reason.
    pub fn together(&self, size: Size) -> usize {
        let image = self.input_blocks() * size.area();
        (4 * self.matrix_len() / image).clamp(1, TOGETHER)
    }

    /// Gradients of nothing yet.
    pub fn gradients(&self) -> Gradients {
        Gradients {
            taps: Buffer::zeros(self.taps_len()),
            matrix: Buffer::default(),
            tiles: Buffer::default(),
            len: self.matrix_len(),
            by_tiles: self.by_tiles(self.dense_inputs(), blocks(self.outputs) * LANES),
        }
    }

    /// The sums of the tasks' gradients, in their order: each in PyTorch's order with its place among the network's.
    pub fn unpack(&self, tasks: &[Gradients]) -> Vec<(usize, Vec<f32>)> {
        let of = |part: fn(&Gradients) -> &Buffer| -> Vec<&[Lanes]> {
            let parts = tasks.iter().map(|g| &**part(g));
            parts.filter(|part| !part.is_empty()).collect()
        };
        let (mut matrices, tiles, taps) = (of(|g| &g.matrix), of(|g| &g.tiles), of(|g| &g.taps));
        let mut untransformed;
        if let Some(first) = tiles.first() {
            let mut total = Buffer::zeros(first.len());
            for tiles in tiles {
                add(tiles, &mut total);
            }
            untransformed = Buffer::zeros(self.matrix_len());
            add_untransformed(&total, self.dense_inputs(), &mut untransformed);
            matrices = vec![&untransformed];
        }
        let mut all = Vec::with_capacity(1 + self.matrices.len());
        if !matrices.is_empty() {
            let lanes = self.input_lanes();
            let n = lanes.len() * self.dense_taps();
            for (m, start) in self.matrices.iter().enumerate() {
                let mut values = vec![0.0; self.matrix_outputs() * n];
                let rows = values.par_chunks_mut(LANES * n).enumerate();
                rows.with_min_len(1 + 512 / n).for_each(|(k, rows)| {
                    let first = LANES * k;
                    let outputs = first..first + rows.len() / n;
                    self.each_weight(m, outputs, &lanes, |at, index, own| {
                        let total = summed(&matrices, index);
                        let values = rows[at - first * n..].iter_mut().step_by(n);
                        for (value, sum) in values.zip(&total[own]) {
                            *value = *sum;
                        }
                    });
                });
                all.push((*start, values));
            }
        }
        let mut values = vec![0.0; self.inputs[0] * self.depthwise().map_or(0, Kernel::taps)];
        let taps: Vec<Lanes> = (0..self.taps_len()).map(|i| summed(&taps, i)).collect();
        self.each_tap(|at, index, lane| values[at] = taps[index][lane]);
        all.push((self.taps, values));
        all
    }
}

/// The sum of what lies at this index of each.
fn summed(all: &[&[Lanes]], index: usize) -> Lanes {
    let mut total = [0.0; LANES];
    for each in all {
        for l in 0..LANES {
            total[l] += each[index][l];
        }
    }
    total
}

/// Weights as the kernels want them.
pub(super) struct Packed {
    pub(super) taps: Buffer,
    matrix: Buffer,
    /// The matrix for tiles of 2×2 results, where these pay.
    tiles: Option<Buffer>,
}

impl Packed {
    /// The dense part of some images.
    pub(super) fn dense(&self, images: &mut [InOut], view: &View, add: bool) {
        match &self.tiles {
            Some(tiles) if has_tiles(view) => winograd(images, view, tiles, add),
            _ => dense(images, view, &self.matrix, add),
        }
    }
}

/// Images that are convolved together at most: each more saves less of the weights' reading.
const TOGETHER: usize = 8;

/// Gradients of packed weights: those of the matrix either directly or transformed, whichever was first used; the
/// other is empty.
pub struct Gradients {
    pub(super) taps: Buffer,
    matrix: Buffer,
    tiles: Buffer,
    /// Of the matrix.
    len: usize,
    /// Whether tiles pay where there are any.
    by_tiles: bool,
}

impl Gradients {
    /// Adds those of the dense part over some images.
    pub(super) fn dense(&mut self, images: &[(&[Lanes], &[Lanes])], view: &View) {
        if self.by_tiles && has_many_tiles(view) {
            if self.tiles.is_empty() {
                self.tiles = Buffer::zeros(self.len / 9 * POINTS);
            }
            winograd_weights(images, view, &mut self.tiles);
        } else {
            if self.matrix.is_empty() {
                self.matrix = Buffer::zeros(self.len);
            }
            dense_weights(images, view, &mut self.matrix);
        }
    }
}
