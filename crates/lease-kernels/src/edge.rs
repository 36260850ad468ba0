//! Stages: a depthwise and a 1×1 convolution, or a 1×1 convolution alone, on dual numbers, image by image.

use crate::conv::{
    Kernel, depthwise, depthwise_taps, flipped, pointwise, pointwise_weights, transposed,
};
use crate::plane::{Size, add, pad};
use crate::pool::Buffer;
use crate::{LANES, Lanes, blocks};

/// Where a stage's weights lie among a cell's, in PyTorch's order, and how its channels are arranged.
#[derive(Clone, Debug)]
pub struct StageShape {
    /// The depthwise kernel and the place of its taps, `[channels, k, k]`.
    pub depthwise: Option<(Kernel, usize)>,
    /// The place of each matrix `[outputs, inputs]`: one, or the two halves of a factorized reduction, which
    /// work on different samples of the input.
    pub matrices: Vec<usize>,
    /// Output channels in all.
    pub outputs: usize,
    /// Input channels come in groups, each padded to whole blocks.
    pub groups: usize,
    /// Channels in a group.
    pub group: usize,
}

impl StageShape {
    /// Input channels, padding included, of one matrix.
    fn padded_inputs(&self) -> usize {
        self.groups * blocks(self.group) * LANES
    }

    /// Rows of one packed block: all inputs of all matrices.
    pub fn rows(&self) -> usize {
        self.padded_inputs() * self.matrices.len()
    }

    /// (place in the cell's weights, block, row, lane) of every entry of the matrices.
    fn matrix_entries(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let inputs = self.groups * self.group;
        let outputs = self.outputs / self.matrices.len();
        let rows = self.rows();
        self.matrices
            .iter()
            .enumerate()
            .flat_map(move |(m, start)| {
                (0..outputs).flat_map(move |o| {
                    let channel = m * outputs + o;
                    (0..inputs).map(move |i| {
                        let padded = i / self.group * blocks(self.group) * LANES + i % self.group;
                        let row = m * self.padded_inputs() + padded;
                        let place = start + o * inputs + i;
                        (place, channel / LANES * rows + row, channel % LANES)
                    })
                })
            })
    }

    /// (place, index, lane) of every tap.
    fn tap_entries(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.depthwise.iter().flat_map(move |(kernel, start)| {
            let taps = kernel.taps();
            (0..self.group).flat_map(move |c| {
                (0..taps).map(move |t| (start + c * taps + t, c / LANES * taps + t, c % LANES))
            })
        })
    }

    /// Packs this stage's weights out of a cell's.
    pub fn pack(&self, weights: &[f32]) -> Packed {
        let mut matrix = vec![[0.0; LANES]; blocks(self.outputs) * self.rows()];
        for (place, index, lane) in self.matrix_entries() {
            matrix[index][lane] = weights[place];
        }
        let mut taps = Vec::new();
        if let Some((kernel, _)) = &self.depthwise {
            taps = vec![[0.0; LANES]; blocks(self.group) * kernel.taps()];
            for (place, index, lane) in self.tap_entries() {
                taps[index][lane] = weights[place];
            }
        }
        Packed {
            back_taps: self
                .depthwise
                .map_or(Vec::new(), |(kernel, _)| flipped(&taps, kernel)),
            back_matrix: transposed(&matrix, self.rows()),
            taps,
            matrix,
        }
    }

    /// Gradients of nothing yet.
    pub fn gradients(&self) -> Gradients {
        let taps = self.depthwise.map_or(0, |(k, _)| k.taps());
        Gradients {
            taps: vec![[0.0; LANES]; taps * blocks(self.group)],
            matrix: vec![[0.0; LANES]; blocks(self.outputs) * self.rows()],
        }
    }

    /// Adds gradients to their places among a cell's.
    pub fn unpack(&self, gradients: &Gradients, weights: &mut [f32]) {
        for (place, index, lane) in self.matrix_entries() {
            weights[place] += gradients.matrix[index][lane];
        }
        for (place, index, lane) in self.tap_entries() {
            weights[place] += gradients.taps[index][lane];
        }
    }
}

/// A stage's weights as the kernels want them, forward and back.
pub struct Packed {
    taps: Vec<Lanes>,
    matrix: Vec<Lanes>,
    back_taps: Vec<Lanes>,
    back_matrix: Vec<Lanes>,
}

/// Gradients of packed weights.
pub struct Gradients {
    taps: Vec<Lanes>,
    matrix: Vec<Lanes>,
}

/// A stage with its weights, and their tangents if they have any.
pub struct Stage {
    /// Shapes and places.
    pub shape: StageShape,
    value: Packed,
    tangent: Option<Packed>,
}

/// One image's value and tangent.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The value.
    pub value: &'a [Lanes],
    /// The tangent.
    pub tangent: Option<&'a [Lanes]>,
}

/// One image's value and tangent, to be written.
pub struct PairMut<'a> {
    /// The value.
    pub value: &'a mut [Lanes],
    /// The tangent.
    pub tangent: Option<&'a mut [Lanes]>,
}

impl PairMut<'_> {
    /// The pair to be read.
    pub fn read(&self) -> Pair<'_> {
        Pair {
            value: self.value,
            tangent: self.tangent.as_deref(),
        }
    }

    /// The same pair for a shorter time.
    pub fn again(&mut self) -> PairMut<'_> {
        PairMut {
            value: self.value,
            tangent: self.tangent.as_deref_mut(),
        }
    }
}

/// Memory for the work on one image.
pub struct Scratch {
    u: [Buffer; 2],
    g: [Buffer; 2],
    padded: [Buffer; 2],
}

impl Scratch {
    /// For stages of at most this many blocks of input at this size.
    pub fn new(blocks: usize, size: Size) -> Self {
        let plane = || Buffer::stale(blocks * size.area());
        let padded = || Buffer::zeros(blocks * size.padded().area());
        Self {
            u: [plane(), plane()],
            g: [plane(), plane()],
            padded: [padded(), padded()],
        }
    }
}

impl Stage {
    /// A stage of a cell with these weights and tangents.
    pub fn new(shape: StageShape, weights: &[f32], tangents: Option<&[f32]>) -> Self {
        Self {
            value: shape.pack(weights),
            tangent: tangents.map(|t| shape.pack(t)),
            shape,
        }
    }

    /// z = matrix · depthwise(x), and its tangent. `x` is padded planes of `size` where there is a depthwise
    /// convolution, else planes.
    pub fn forward(&self, x: Pair, size: Size, mut z: PairMut, scratch: &mut Scratch) {
        match self.shape.depthwise {
            None => self.matrix_forward(x, size.area(), z.again()),
            Some((kernel, _)) => {
                let [u, ut] = &mut scratch.u;
                let pixels = size.strided(kernel.stride).area();
                let n = blocks(self.shape.group) * pixels;
                let mut u = PairMut {
                    value: &mut u[..n],
                    tangent: x.tangent.map(|_| &mut ut[..n]),
                };
                self.taps_forward(kernel, x, size, u.again());
                self.matrix_forward(u.read(), pixels, z);
            }
        }
    }

    fn matrix_forward(&self, x: Pair, pixels: usize, z: PairMut) {
        pointwise(x.value, &self.value.matrix, pixels, z.value, false);
        if let (Some(x_tangent), Some(out)) = (x.tangent, z.tangent) {
            pointwise(x_tangent, &self.value.matrix, pixels, out, false);
            if let Some(tangent) = &self.tangent {
                pointwise(x.value, &tangent.matrix, pixels, out, true);
            }
        }
    }

    fn taps_forward(&self, kernel: Kernel, x: Pair, size: Size, u: PairMut) {
        let (outer, pixels) = (size.padded().area(), size.strided(kernel.stride).area());
        let taps = kernel.taps();
        let each = |x: &[Lanes], weights: &[Lanes], u: &mut [Lanes], add| {
            let planes = x.chunks_exact(outer).zip(u.chunks_exact_mut(pixels));
            for ((x, u), taps) in planes.zip(weights.chunks_exact(taps)) {
                depthwise(kernel, x, size, taps, u, add);
            }
        };
        each(x.value, &self.value.taps, u.value, false);
        if let (Some(x_tangent), Some(out)) = (x.tangent, u.tangent) {
            each(x_tangent, &self.value.taps, out, false);
            if let Some(tangent) = &self.tangent {
                each(x.value, &tangent.taps, out, true);
            }
        }
    }

    /// From the adjoints of z (and ż) to those of x (and ẋ), which are set, in planes without padding, and
    /// to the weights' gradients, which are added to if wanted.
    pub fn backward(
        &self,
        x: Pair,
        size: Size,
        z: Pair,
        gradients: Option<&mut Gradients>,
        x_adjoint: PairMut,
        scratch: &mut Scratch,
    ) {
        let Some((kernel, _)) = self.shape.depthwise else {
            if let Some(gradients) = gradients {
                self.matrix_gradients(x, z, size.area(), gradients);
            }
            self.matrix_backward(z, size.area(), x_adjoint);
            return;
        };
        let pixels = size.strided(kernel.stride).area();
        let channel_blocks = blocks(self.shape.group);
        let n = channel_blocks * pixels;
        let Scratch { u, g, padded } = scratch;
        let dual = z.tangent.is_some();
        let [g, gt] = g;
        let mut g = PairMut {
            value: &mut g[..n],
            tangent: dual.then_some(&mut gt[..n]),
        };
        self.matrix_backward(z, pixels, g.again());
        if let Some(gradients) = gradients {
            let [u, ut] = u;
            let mut u = PairMut {
                value: &mut u[..n],
                tangent: dual.then_some(&mut ut[..n]),
            };
            self.taps_forward(kernel, x, size, u.again());
            self.matrix_gradients(u.read(), z, pixels, gradients);
            let outer = size.padded().area();
            let taps = kernel.taps();
            let mut each = |x: &[Lanes], g: &[Lanes]| {
                let planes = x.chunks_exact(outer).zip(g.chunks_exact(pixels));
                for ((x, g), taps) in planes.zip(gradients.taps.chunks_exact_mut(taps)) {
                    depthwise_taps(kernel, x, size, g, taps);
                }
            };
            each(x.value, g.value);
            if let (Some(x), Some(g)) = (x.tangent, g.tangent.as_deref()) {
                each(x, g);
            }
        }
        self.taps_backward(kernel, size, g.read(), x_adjoint, padded);
    }

    fn matrix_gradients(&self, x: Pair, z: Pair, pixels: usize, gradients: &mut Gradients) {
        pointwise_weights(z.value, x.value, pixels, &mut gradients.matrix);
        if let (Some(x), Some(z)) = (x.tangent, z.tangent) {
            pointwise_weights(z, x, pixels, &mut gradients.matrix);
        }
    }

    fn matrix_backward(&self, z: Pair, pixels: usize, x: PairMut) {
        pointwise(z.value, &self.value.back_matrix, pixels, x.value, false);
        if let (Some(z_tangent), Some(out)) = (z.tangent, x.tangent) {
            if let Some(tangent) = &self.tangent {
                pointwise(z_tangent, &tangent.back_matrix, pixels, x.value, true);
            }
            pointwise(z_tangent, &self.value.back_matrix, pixels, out, false);
        }
    }

    fn taps_backward(
        &self,
        kernel: Kernel,
        size: Size,
        g: Pair,
        x: PairMut,
        padded: &mut [Buffer; 2],
    ) {
        let (outer, area) = (size.padded().area(), size.area());
        let after = size.strided(kernel.stride);
        let taps = kernel.taps();
        let [padded, padded_tangent] = padded;
        let widen = |g: &[Lanes], padded: &mut [Lanes]| {
            // At stride 1 the same pixels are written every time, and those around them stay zero.
            if kernel.stride != 1 {
                padded.fill([0.0; LANES]);
            }
            for (g, padded) in g
                .chunks_exact(after.area())
                .zip(padded.chunks_exact_mut(outer))
            {
                pad(g, after, padded, size, kernel.stride);
            }
        };
        let each = |padded: &[Lanes], weights: &[Lanes], x: &mut [Lanes], add| {
            let planes = padded.chunks_exact(outer).zip(x.chunks_exact_mut(area));
            for ((g, x), taps) in planes.zip(weights.chunks_exact(taps)) {
                depthwise(kernel.back(), g, size, taps, x, add);
            }
        };
        widen(g.value, padded);
        each(padded, &self.value.back_taps, x.value, false);
        if let (Some(g), Some(out)) = (g.tangent, x.tangent) {
            widen(g, padded_tangent);
            if let Some(tangent) = &self.tangent {
                each(padded_tangent, &tangent.back_taps, x.value, true);
            }
            each(padded_tangent, &self.value.back_taps, out, false);
        }
    }
}

impl Gradients {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        add(&other.taps, &mut self.taps);
        add(&other.matrix, &mut self.matrix);
    }
}
