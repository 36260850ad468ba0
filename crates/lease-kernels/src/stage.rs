//! Stages: the convolutions of a network, on dual numbers, image by image.

use crate::conv::winograd::{
    POINTS, add_untransformed, has_many_tiles, has_tiles, pays, transformed, winograd,
    winograd_weights,
};
use crate::conv::{
    InOut, Kernel, View, dense, dense_weights, depthwise, depthwise_taps, flipped, transposed,
};
use crate::field::{Memory, Pair, PairMut};
use crate::plane::{Size, add, frame, widen};
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
    fn pad(self) -> Option<usize> {
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
    fn input_blocks(&self) -> usize {
        self.inputs.iter().map(|c| blocks(*c)).sum()
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

    /// Calls `each` with (place among the network's weights, index, lane) of every entry of the matrices.
    fn matrix_entries(&self, mut each: impl FnMut(usize, usize, usize)) {
        let inputs: usize = self.inputs.iter().sum();
        let outputs = self.outputs / self.matrices.len();
        let (taps, rows) = (self.dense_taps(), self.dense_inputs());
        for (m, start) in self.matrices.iter().enumerate() {
            for o in 0..outputs {
                let channel = m * outputs + o;
                let block = channel / LANES * taps * rows;
                let mut place = start + o * inputs * taps;
                let mut row = m * self.input_blocks() * LANES;
                for channels in &self.inputs {
                    for i in 0..*channels {
                        for t in 0..taps {
                            each(place, block + t * rows + row + i, channel % LANES);
                            place += 1;
                        }
                    }
                    row += blocks(*channels) * LANES;
                }
            }
        }
    }

    /// (place, index, lane) of every depthwise tap.
    fn tap_entries(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let channels = self.inputs[0];
        self.depthwise().into_iter().flat_map(move |kernel| {
            let taps = kernel.taps();
            (0..channels * taps).map(move |i| {
                let (c, t) = (i / taps, i % taps);
                (self.taps + i, c / LANES * taps + t, c % LANES)
            })
        })
    }

    fn matrix_len(&self) -> usize {
        blocks(self.outputs) * self.dense_taps() * self.dense_inputs()
    }

    fn taps_len(&self) -> usize {
        let taps = self.depthwise().map_or(0, Kernel::taps);
        taps * self.input_blocks()
    }

    fn pack(&self, weights: &[f32]) -> Packed {
        let mut matrix = Buffer::zeros(self.matrix_len());
        self.matrix_entries(|place, index, lane| matrix[index][lane] = weights[place]);
        let mut taps = Buffer::zeros(self.taps_len());
        for (place, index, lane) in self.tap_entries() {
            taps[index][lane] = weights[place];
        }
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

    fn transpose(&self, packed: &Packed) -> Packed {
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

    /// How many images of inputs of this size are worth convolving together: as many as there are times as many
    /// weights as numbers in one image, within reason.
    pub fn together(&self, size: Size) -> usize {
        let image = self.input_blocks() * size.area();
        (self.matrix_len() / image).clamp(1, TOGETHER)
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

    /// Adds gradients to their places among the network's.
    pub fn unpack(&self, gradients: &Gradients, weights: &mut [f32]) {
        let Gradients {
            taps,
            matrix,
            tiles,
            ..
        } = gradients;
        let untransformed = (!tiles.is_empty()).then(|| {
            let mut matrix = Buffer::zeros(self.matrix_len());
            add_untransformed(tiles, self.dense_inputs(), &mut matrix);
            matrix
        });
        let matrix = untransformed.as_ref().unwrap_or(matrix);
        if !matrix.is_empty() {
            self.matrix_entries(|place, index, lane| weights[place] += matrix[index][lane]);
        }
        for (place, index, lane) in self.tap_entries() {
            weights[place] += taps[index][lane];
        }
    }
}

/// Weights as the kernels want them.
struct Packed {
    taps: Buffer,
    matrix: Buffer,
    /// The matrix for tiles of 2×2 results, where these pay.
    tiles: Option<Buffer>,
}

impl Packed {
    /// The dense part of some images.
    fn dense(&self, images: &mut [InOut], view: &View, add: bool) {
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
    taps: Buffer,
    matrix: Buffer,
    tiles: Buffer,
    /// Of the matrix.
    len: usize,
    /// Whether tiles pay where there are any.
    by_tiles: bool,
}

impl Gradients {
    /// Adds another's, of the same stage over inputs of the same size.
    pub fn merge(&mut self, other: &Self) {
        add(&other.taps, &mut self.taps);
        add(&other.matrix, &mut self.matrix);
        add(&other.tiles, &mut self.tiles);
    }

    /// Adds those of the dense part over some images.
    fn dense(&mut self, images: &[(&[Lanes], &[Lanes])], view: &View) {
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

/// A stage with its weights, and their tangents if they have any.
pub struct Stage {
    /// Shapes and places.
    pub shape: StageShape,
    value: Packed,
    tangent: Option<Packed>,
}

/// A stage's weights for carrying gradients back.
pub struct Back {
    value: Packed,
    tangent: Option<Packed>,
}

/// What stages read of one image: its planes as they are, with zeros around, and sampled for reductions.
pub struct Prepared {
    size: Size,
    pad: Option<usize>,
    /// `[blocks][pixels]`.
    pub plain: Memory,
    padded: Memory,
    samples: Option<Memory>,
}

impl Prepared {
    /// Memory for inputs of this many blocks and size, as these stages need them.
    pub fn new<'a>(
        blocks: usize,
        size: Size,
        dual: bool,
        stages: impl Iterator<Item = &'a StageShape> + Clone,
    ) -> Self {
        let pad = stages.clone().filter_map(|s| s.geometry.pad()).max();
        let reduces = stages.clone().any(|s| s.geometry == Geometry::Reduce);
        let outer = pad.map_or(0, |pad| size.padded(pad).area());
        let sampled = 2 * blocks * size.strided(2).area();
        Self {
            size,
            pad,
            plain: Memory::new(blocks * size.area(), dual),
            padded: Memory::zeros(blocks * outer, dual),
            samples: reduces.then(|| Memory::new(sampled, dual)),
        }
    }

    /// Derives the other forms from the plain one.
    pub fn complete(&mut self) {
        let size = self.size;
        if let Some(pad) = self.pad {
            let outer = size.padded(pad);
            let fill = |x: &[Lanes], out: &mut [Lanes]| {
                let planes = x.chunks_exact(size.area());
                for (x, out) in planes.zip(out.chunks_exact_mut(outer.area())) {
                    widen(x, size, out, outer, pad, 1);
                }
            };
            self.plain.each(&mut self.padded, fill);
        }
        if let Some(samples) = &mut self.samples {
            self.plain.each(samples, |x, out| sample(x, size, out));
        }
    }

    fn padded(&self) -> (Pair<'_>, usize) {
        (self.padded.read(), self.pad.unwrap_or(0))
    }

    fn samples(&self) -> Pair<'_> {
        self.samples
            .as_ref()
            .map_or(self.plain.read(), Memory::read)
    }
}

/// Every second pixel of all blocks, from the first on, then from the second on, with zeros past the end.
fn sample(x: &[Lanes], size: Size, out: &mut [Lanes]) {
    let after = size.strided(2);
    let n = x.len() / size.area();
    for (k, out) in out.chunks_exact_mut(after.area()).enumerate() {
        let (plane, shift) = (&x[k % n * size.area()..], k / n);
        for (at, out) in out.iter_mut().enumerate() {
            let (y, x) = (at / after.w * 2 + shift, at % after.w * 2 + shift);
            let inside = y < size.h && x < size.w;
            *out = if inside {
                plane[y * size.w + x]
            } else {
                [0.0; LANES]
            };
        }
    }
}

/// Adds samples to the pixels that they came from.
fn add_samples(samples: &[Lanes], size: Size, out: &mut [Lanes]) {
    let after = size.strided(2);
    let n = out.len() / size.area();
    for (k, samples) in samples.chunks_exact(after.area()).enumerate() {
        let (plane, shift) = (k % n * size.area(), k / n);
        for (at, sample) in samples.iter().enumerate() {
            let (y, x) = (at / after.w * 2 + shift, at % after.w * 2 + shift);
            if y < size.h && x < size.w {
                let out = &mut out[plane + y * size.w + x];
                for l in 0..LANES {
                    out[l] += sample[l];
                }
            }
        }
    }
}

/// Memory for the work on one image.
#[derive(Default)]
pub struct Scratch {
    u: Memory,
    g: Memory,
    padded: Memory,
}

impl Scratch {
    /// Enough for these stages over inputs of this size, so many of them at once.
    pub fn new<'a>(
        size: Size,
        dual: bool,
        together: usize,
        stages: impl Iterator<Item = &'a StageShape>,
    ) -> Self {
        let (mut wide, mut outer) = (0, 0);
        for stage in stages {
            let pixels = size.strided(stage.geometry.stride()).area();
            let halves = if stage.geometry == Geometry::Reduce {
                2
            } else {
                1
            };
            wide = wide.max(halves * stage.input_blocks() * pixels);
            let pad = stage.geometry.pad().unwrap_or(0);
            outer = outer.max(match stage.geometry {
                Geometry::Dense(kernel) => {
                    let padded = size.strided(kernel.stride).padded(pad);
                    together * blocks(stage.outputs) * padded.area()
                }
                _ => stage.input_blocks() * size.padded(pad).area(),
            });
        }
        Self {
            u: Memory::new(wide, dual),
            g: Memory::new(wide, dual),
            padded: Memory::new(outer, dual),
        }
    }
}

impl Stage {
    /// A stage with its weights out of a network's, and their tangents.
    pub fn new(shape: StageShape, weights: &[f32], tangents: Option<&[f32]>) -> Self {
        Self {
            value: shape.pack(weights),
            tangent: tangents.map(|t| shape.pack(t)),
            shape,
        }
    }

    /// What carries gradients back.
    pub fn back(&self) -> Back {
        Back {
            value: self.shape.transpose(&self.value),
            tangent: self.tangent.as_ref().map(|t| self.shape.transpose(t)),
        }
    }

    /// The results of some images and their tangents, in planes.
    pub fn forward(&self, xs: &[Prepared], zs: &mut [PairMut], scratch: &mut Scratch) {
        let Some(size) = xs.first().map(|x| x.size) else {
            return;
        };
        let pixels = size.strided(self.shape.geometry.stride()).area();
        let view = View::pointwise(pixels);
        match self.shape.geometry {
            Geometry::Dense(kernel) if self.shape.geometry.pad().is_some() => {
                let pad = xs[0].padded().1;
                let view = View::padded(kernel, size, pad);
                self.matrix_forward(xs.iter().map(|x| x.padded().0), &view, zs);
            }
            Geometry::Dense(_) => self.matrix_forward(xs.iter().map(|x| x.plain.read()), &view, zs),
            Geometry::Reduce => self.matrix_forward(xs.iter().map(Prepared::samples), &view, zs),
            Geometry::Separable(kernel) => {
                let n = self.shape.input_blocks() * pixels;
                for (x, z) in xs.iter().zip(zs) {
                    let mut u = scratch.u.write().first(n);
                    self.taps_forward(kernel, x, u.again());
                    let z = std::slice::from_mut(z);
                    self.matrix_forward(std::iter::once(u.read()), &view, z);
                }
            }
        }
    }

    fn matrix_forward<'a>(
        &self,
        xs: impl Iterator<Item = Pair<'a>> + Clone,
        view: &View,
        zs: &mut [PairMut],
    ) {
        self.value.dense(&mut both(xs.clone(), zs), view, false);
        if let Some(tangent) = &self.tangent {
            let pairs = xs.zip(zs.iter_mut());
            let across = pairs.filter_map(|(x, z)| Some((x.value, z.tangent.as_deref_mut()?)));
            tangent.dense(&mut across.collect::<Vec<_>>(), view, true);
        }
    }

    fn taps_forward(&self, kernel: Kernel, x: &Prepared, u: PairMut) {
        let (size, (x, pad)) = (x.size, x.padded());
        let (outer, pixels) = (size.padded(pad).area(), size.strided(kernel.stride).area());
        let taps = kernel.taps();
        let each = |x: &[Lanes], weights: &[Lanes], u: &mut [Lanes], add| {
            let planes = x.chunks_exact(outer).zip(u.chunks_exact_mut(pixels));
            for ((x, u), taps) in planes.zip(weights.chunks_exact(taps)) {
                depthwise(kernel, x, (size, pad), taps, u, add);
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

    /// Whether every pixel of the input is read, so that [`Stage::backward`] can set all adjoints.
    pub fn covers(&self) -> bool {
        match self.shape.geometry {
            Geometry::Dense(kernel) => kernel.size >= kernel.stride,
            Geometry::Separable(_) => true,
            Geometry::Reduce => false,
        }
    }

    /// From the adjoints of some images' z (and ż): adds to those of the weights, if wanted, and adds to those of x
    /// (and ẋ), in planes, if wanted, or sets them, if told not to add and it [covers](Stage::covers) them.
    pub fn backward(
        &self,
        back: &Back,
        xs: &[Prepared],
        zs: &[Pair],
        mut gradients: Option<&mut Gradients>,
        x_adjoints: Option<(&mut [PairMut], bool)>,
        scratch: &mut Scratch,
    ) {
        let Some(size) = xs.first().map(|x| x.size) else {
            return;
        };
        let after = size.strided(self.shape.geometry.stride());
        let view = View::pointwise(after.area());
        match self.shape.geometry {
            Geometry::Dense(kernel) if self.shape.geometry.pad().is_some() => {
                if let Some(gradients) = gradients {
                    let pad = xs[0].padded().1;
                    let view = View::padded(kernel, size, pad);
                    matrix_gradients(xs.iter().map(|x| x.padded().0), &view, zs, gradients);
                }
                if let Some((outs, add)) = x_adjoints {
                    let outer = after.padded(kernel.pad());
                    let n = blocks(self.shape.outputs) * outer.area();
                    let padded = &mut scratch.padded;
                    for (i, z) in zs.iter().enumerate() {
                        let out = padded.write().part(i * n..(i + 1) * n);
                        spread(*z, after, out, outer, (kernel.pad(), 1));
                    }
                    let padded = padded.read();
                    let gs = (0..zs.len()).map(|i| padded.part(i * n..(i + 1) * n));
                    for view in View::back(kernel, size) {
                        back.matrix(gs.clone(), &view, outs, add);
                    }
                }
            }
            Geometry::Dense(_) => {
                if let Some(gradients) = gradients {
                    matrix_gradients(xs.iter().map(|x| x.plain.read()), &view, zs, gradients);
                }
                if let Some((outs, add)) = x_adjoints {
                    back.matrix(zs.iter().copied(), &view, outs, add);
                }
            }
            Geometry::Reduce => {
                if let Some(gradients) = gradients {
                    matrix_gradients(xs.iter().map(Prepared::samples), &view, zs, gradients);
                }
                let n = 2 * self.shape.input_blocks() * after.area();
                for (z, out) in zs.iter().zip(x_adjoints.into_iter().flat_map(|x| x.0)) {
                    let mut g = scratch.g.write().first(n);
                    let only = std::slice::from_mut(&mut g);
                    back.matrix(std::iter::once(*z), &view, only, false);
                    let g = g.read();
                    add_samples(g.value, size, out.value);
                    if let (Some(g), Some(out)) = (g.tangent, out.tangent.as_deref_mut()) {
                        add_samples(g, size, out);
                    }
                }
            }
            Geometry::Separable(kernel) => {
                let n = self.shape.input_blocks() * after.area();
                let (outs, add) = x_adjoints.unzip();
                let mut outs = outs.map(|outs| outs.iter_mut());
                let add = add.unwrap_or(true);
                for (x, z) in xs.iter().zip(zs) {
                    let mut g = scratch.g.write().first(n);
                    let only = std::slice::from_mut(&mut g);
                    back.matrix(std::iter::once(*z), &view, only, false);
                    let g = g.read();
                    if let Some(gradients) = gradients.as_deref_mut() {
                        let mut u = scratch.u.write().first(n);
                        self.taps_forward(kernel, x, u.again());
                        let z = std::slice::from_ref(z);
                        matrix_gradients(std::iter::once(u.read()), &view, z, gradients);
                        taps_gradients(kernel, x, g, gradients);
                    }
                    if let Some(out) = outs.as_mut().and_then(Iterator::next) {
                        let g = carried(g, kernel, size, &mut scratch.padded);
                        back.taps(kernel, size, g, (out.again(), add));
                    }
                }
            }
        }
    }
}

/// Some images' inputs and results, of values and of tangents.
fn both<'x: 'z, 'z>(xs: impl Iterator<Item = Pair<'x>>, zs: &'z mut [PairMut]) -> Vec<InOut<'z>> {
    let mut all = Vec::with_capacity(2 * zs.len());
    for (x, z) in xs.zip(zs) {
        all.push((x.value, &mut *z.value));
        if let (Some(x), Some(z)) = (x.tangent, z.tangent.as_deref_mut()) {
            all.push((x, z));
        }
    }
    all
}

fn matrix_gradients<'a>(
    xs: impl Iterator<Item = Pair<'a>>,
    view: &View,
    zs: &[Pair<'a>],
    gradients: &mut Gradients,
) {
    let mut all = Vec::with_capacity(2 * zs.len());
    for (x, z) in xs.zip(zs) {
        all.push((x.value, z.value));
        all.extend(x.tangent.zip(z.tangent));
    }
    gradients.dense(&all, view);
}

fn taps_gradients(kernel: Kernel, x: &Prepared, g: Pair, gradients: &mut Gradients) {
    let (size, (x, pad)) = (x.size, x.padded());
    let (outer, pixels) = (size.padded(pad).area(), size.strided(kernel.stride).area());
    let mut each = |x: &[Lanes], g: &[Lanes]| {
        let planes = x.chunks_exact(outer).zip(g.chunks_exact(pixels));
        let taps = gradients.taps.chunks_exact_mut(kernel.taps());
        for ((x, g), taps) in planes.zip(taps) {
            depthwise_taps(kernel, x, (size, pad), g, taps);
        }
    };
    each(x.value, g.value);
    if let (Some(x), Some(g)) = (x.tangent, g.tangent) {
        each(x, g);
    }
}

/// Planes with zeros around, their pixels `step` apart; `outer` is their size with both.
fn spread(g: Pair, size: Size, mut out: PairMut, outer: Size, (pad, step): (usize, usize)) {
    out.each(g, |g, out| {
        if step > 1 {
            out.fill([0.0; LANES]);
        }
        let planes = g.chunks_exact(size.area());
        for (g, out) in planes.zip(out.chunks_exact_mut(outer.area())) {
            if step > 1 {
                widen(g, size, out, outer, pad, step);
            } else {
                frame(g, size, out, outer, pad);
            }
        }
    });
}

/// Adjoints at a kernel's output spread out to its input's resolution, with zeros between and around.
fn carried<'a>(g: Pair, kernel: Kernel, size: Size, padded: &'a mut Memory) -> Pair<'a> {
    let (outer, after) = (size.padded(kernel.pad()), size.strided(kernel.stride));
    let n = g.value.len() / after.area() * outer.area();
    let mut padded = padded.write().first(n);
    spread(
        g,
        after,
        padded.again(),
        outer,
        (kernel.pad(), kernel.stride),
    );
    padded.into_read()
}

impl Back {
    fn matrix<'a>(
        &self,
        zs: impl Iterator<Item = Pair<'a>> + Clone,
        view: &View,
        xs: &mut [PairMut],
        add: bool,
    ) {
        self.value.dense(&mut both(zs.clone(), xs), view, add);
        if let Some(tangent) = &self.tangent {
            let pairs = zs.zip(xs.iter_mut());
            let across = pairs.filter_map(|(z, x)| Some((z.tangent?, &mut *x.value)));
            tangent.dense(&mut across.collect::<Vec<_>>(), view, true);
        }
    }

    /// Adds the adjoints of a depthwise convolution's input, or sets them.
    fn taps(&self, kernel: Kernel, size: Size, g: Pair, (x, add): (PairMut, bool)) {
        let (pad, taps) = (kernel.pad(), kernel.taps());
        let outer = size.padded(pad).area();
        let each = |g: &[Lanes], weights: &[Lanes], x: &mut [Lanes], add| {
            let planes = g.chunks_exact(outer).zip(x.chunks_exact_mut(size.area()));
            for ((g, x), taps) in planes.zip(weights.chunks_exact(taps)) {
                depthwise(kernel.back(), g, (size, pad), taps, x, add);
            }
        };
        each(g.value, &self.value.taps, x.value, add);
        if let (Some(g), Some(out)) = (g.tangent, x.tangent) {
            if let Some(tangent) = &self.tangent {
                each(g, &tangent.taps, x.value, true);
            }
            each(g, &self.value.taps, out, add);
        }
    }
}
