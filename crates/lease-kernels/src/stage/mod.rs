//! Stages: the convolutions of a network, on dual numbers, some images at a time.

mod shape;

use crate::conv::{InOut, Kernel, View, depthwise, depthwise_taps};
use crate::field::{Halves, Memory, Pair, PairMut};
use crate::plane::{Rows, Size, frame, place, widen};
use crate::{LANES, Lanes, blocks};

use shape::Packed;
pub use shape::{Geometry, Gradients, StageShape};

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

/// The forms in which units read a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// As it is.
    pub plain: bool,
    /// With zeros around.
    pub padded: bool,
    /// Every second pixel, for reductions.
    pub sampled: bool,
}

impl Forms {
    /// What a stage reads.
    pub fn of(stage: &StageShape) -> Self {
        let padded = stage.geometry.pad().is_some();
        Self {
            plain: !padded,
            padded,
            sampled: stage.geometry == Geometry::Reduce,
        }
    }

    /// What either reads.
    pub fn and(self, other: Self) -> Self {
        Self {
            plain: self.plain || other.plain,
            padded: self.padded || other.padded,
            sampled: self.sampled || other.sampled,
        }
    }

    /// Whether nothing is read at all.
    pub fn none(self) -> bool {
        self == Self::default()
    }
}

/// What stages read of one image, in these forms.
pub struct Prepared {
    size: Size,
    pad: usize,
    /// Those of the present image.
    forms: Forms,
    plain: Memory,
    padded: Memory,
    samples: Memory,
}

impl Prepared {
    /// Memory for inputs of this many blocks and size in all these forms, padded for these stages.
    pub fn new<'a>(
        blocks: usize,
        size: Size,
        dual: bool,
        forms: Forms,
        stages: impl Iterator<Item = &'a StageShape>,
    ) -> Self {
        let pad = stages.filter_map(|s| s.geometry.pad()).max().unwrap_or(0);
        let memory = |wanted: bool, area: usize| {
            let pixels = if wanted { blocks * area } else { 0 };
            Memory::new(pixels, dual)
        };
        let mut padded = memory(forms.padded, size.padded(pad).area());
        padded.clear();
        Self {
            size,
            pad,
            forms,
            plain: memory(forms.plain, size.area()),
            padded,
            samples: memory(forms.sampled, 2 * size.strided(2).area()),
        }
    }

    /// Where the next image's planes are to be written so that it can be [completed](Self::complete) in these forms.
    pub fn write(&mut self, forms: Forms) -> (PairMut<'_>, Rows) {
        self.forms = forms;
        if forms.plain {
            (self.plain.write(), Rows::whole(self.size.area()))
        } else {
            (self.padded.write(), Rows::padded(self.size, self.pad))
        }
    }

    /// The image's planes where they were written.
    pub fn read(&self) -> (Pair<'_>, Rows) {
        if self.forms.plain {
            (self.plain.read(), Rows::whole(self.size.area()))
        } else {
            (self.padded.read(), Rows::padded(self.size, self.pad))
        }
    }

    /// Derives the other forms from the one that was written.
    pub fn complete(&mut self) {
        let size = self.size;
        if self.forms.plain && self.forms.padded {
            let rows = Rows::padded(size, self.pad);
            self.plain
                .each(&mut self.padded, |x, out| place(x, out, rows));
        }
        if self.forms.sampled {
            let fill = |x: &[Lanes], out: &mut [Lanes]| sample(x, size, out);
            self.plain.each(&mut self.samples, fill);
        }
    }

    fn padded(&self) -> (Pair<'_>, usize) {
        (self.padded.read(), self.pad)
    }

    fn samples(&self) -> Pair<'_> {
        self.samples.read()
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

/// Memory for the work on some images.
#[derive(Default)]
pub struct Scratch {
    u: Memory,
    g: Memory,
    padded: Memory,
    /// Adjoints with so many zeros around.
    framed: (Memory, usize),
}

impl Scratch {
    /// Enough for these stages over inputs of this size, so many of them at once.
    pub fn new<'a>(
        size: Size,
        dual: bool,
        together: usize,
        stages: impl Iterator<Item = &'a StageShape> + Clone,
    ) -> Self {
        let near = |s: &StageShape| s.frames().then(|| s.geometry.pad()).flatten();
        let frame = stages.clone().filter_map(near).max().unwrap_or(0);
        let (mut between, mut after, mut outer, mut framed) = (0, 0, 0, 0);
        for stage in stages {
            let inputs = stage.input_blocks();
            let n = inputs * size.strided(stage.geometry.stride()).area();
            let pad = stage.geometry.pad().unwrap_or(0);
            let spread = inputs * size.padded(pad).area();
            match stage.geometry {
                Geometry::Separable(_) if stage.frames() => {
                    between = between.max(together * n);
                    framed = together * inputs * size.padded(frame).area();
                }
                Geometry::Separable(_) => {
                    between = between.max(together * n);
                    after = after.max(together * n);
                    outer = outer.max(spread);
                }
                Geometry::Reduce => after = after.max(2 * n),
                Geometry::Dense(kernel) => {
                    let padded = size.strided(kernel.stride).padded(pad).area();
                    outer = outer.max(together * blocks(stage.outputs) * padded);
                }
            }
        }
        Self {
            u: Memory::new(between, dual),
            g: Memory::new(after, dual),
            padded: Memory::new(outer, dual),
            framed: (Memory::zeros(framed, dual), frame),
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

    /// The same weights with these tangents.
    pub fn set_tangents(&mut self, tangents: Option<&[f32]>) {
        self.tangent = tangents.map(|t| self.shape.pack(t));
    }

    /// What carries gradients back.
    pub fn back(&self) -> Back {
        Back {
            value: self.shape.transpose(&self.value),
            tangent: self.tangent.as_ref().map(|t| self.shape.transpose(t)),
        }
    }

    /// The results of some images and their tangents, in planes, or these alone.
    pub fn forward(
        &self,
        xs: &[Prepared],
        zs: &mut [PairMut],
        scratch: &mut Scratch,
        halves: Halves,
    ) {
        let Some(size) = xs.first().map(|x| x.size) else {
            return;
        };
        let pixels = size.strided(self.shape.geometry.stride()).area();
        let view = View::pointwise(pixels);
        match self.shape.geometry {
            Geometry::Dense(kernel) if self.shape.geometry.pad().is_some() => {
                let pad = xs[0].padded().1;
                let view = View::padded(kernel, size, pad);
                self.matrix_forward(xs.iter().map(|x| x.padded().0), &view, zs, halves);
            }
            Geometry::Dense(_) => {
                self.matrix_forward(xs.iter().map(|x| x.plain.read()), &view, zs, halves);
            }
            Geometry::Reduce => {
                self.matrix_forward(xs.iter().map(Prepared::samples), &view, zs, halves);
            }
            Geometry::Separable(kernel) => {
                // Tangents of the matrix are multiplied by values.
                let between = match self.tangent {
                    Some(_) => Halves::Both,
                    None => halves,
                };
                let us = self.between(kernel, xs, &mut scratch.u, between);
                self.matrix_forward(us.iter().copied(), &view, zs, halves);
            }
        }
    }

    /// What lies between the two parts of a separable stage, for some images.
    fn between<'a>(
        &self,
        kernel: Kernel,
        xs: &[Prepared],
        u: &'a mut Memory,
        halves: Halves,
    ) -> Vec<Pair<'a>> {
        let pixels = xs
            .first()
            .map_or(0, |x| x.size.strided(kernel.stride).area());
        let us = u
            .write()
            .split(self.shape.input_blocks() * pixels, xs.len());
        let each = xs.iter().zip(us).map(|(x, mut u)| {
            self.taps_forward(kernel, x, u.again(), halves);
            u.into_read()
        });
        each.collect()
    }

    fn matrix_forward<'a>(
        &self,
        xs: impl Iterator<Item = Pair<'a>> + Clone,
        view: &View,
        zs: &mut [PairMut],
        halves: Halves,
    ) {
        self.value
            .dense(&mut both(xs.clone(), zs, halves), view, false);
        if let Some(tangent) = &self.tangent {
            let pairs = xs.zip(zs.iter_mut());
            let across = pairs.filter_map(|(x, z)| Some((x.value, z.tangent.as_deref_mut()?)));
            tangent.dense(&mut across.collect::<Vec<_>>(), view, true);
        }
    }

    fn taps_forward(&self, kernel: Kernel, x: &Prepared, u: PairMut, halves: Halves) {
        let (size, (x, pad)) = (x.size, x.padded());
        let (outer, pixels) = (size.padded(pad).area(), size.strided(kernel.stride).area());
        let taps = kernel.taps();
        let each = |x: &[Lanes], weights: &[Lanes], u: &mut [Lanes], add| {
            let planes = x.chunks_exact(outer).zip(u.chunks_exact_mut(pixels));
            for ((x, u), taps) in planes.zip(weights.chunks_exact(taps)) {
                depthwise(kernel, x, (size, pad), taps, u, add);
            }
        };
        if halves == Halves::Both {
            each(x.value, &self.value.taps, u.value, false);
        }
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
            Geometry::Dense(kernel) => {
                kernel.stride == 1 || kernel.size >= kernel.stride && kernel.dilation == 1
            }
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
        gradients: Option<&mut Gradients>,
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
                // At stride 1 their adjoints lie among zeros at once, as the taps carry them back.
                let frames = self.shape.frames();
                let (memory, frame) = match frames {
                    true => (&mut scratch.framed.0, scratch.framed.1),
                    false => (&mut scratch.g, 0),
                };
                let n = self.shape.input_blocks() * after.padded(frame).area();
                let mut gs = memory.write().split(n, xs.len());
                let into = View::framed(after, frame);
                back.matrix(zs.iter().copied(), &into, &mut gs, false);
                if let Some(gradients) = gradients {
                    let us = self.between(kernel, xs, &mut scratch.u, Halves::Both);
                    matrix_gradients(us.into_iter(), &view, zs, gradients);
                    for (x, g) in xs.iter().zip(&gs) {
                        taps_gradients(kernel, x, (g.read(), frame), gradients);
                    }
                }
                if let Some((outs, add)) = x_adjoints {
                    for (g, out) in gs.iter().zip(outs) {
                        let (g, pad) = if frames {
                            (g.read(), frame)
                        } else {
                            let g = carried(g.read(), kernel, size, &mut scratch.padded);
                            (g, kernel.pad())
                        };
                        back.taps(kernel, size, (g, pad), (out.again(), add));
                    }
                }
            }
        }
    }
}

/// Some images' inputs and results, of values and of tangents, or of these.
fn both<'x: 'z, 'z>(
    xs: impl Iterator<Item = Pair<'x>>,
    zs: &'z mut [PairMut],
    halves: Halves,
) -> Vec<InOut<'z>> {
    let mut all = Vec::with_capacity(2 * zs.len());
    for (x, z) in xs.zip(zs) {
        if halves == Halves::Both {
            all.push((x.value, &mut *z.value));
        }
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

/// Those of a depthwise kernel's taps, from adjoints with so many zeros around.
fn taps_gradients(
    kernel: Kernel,
    x: &Prepared,
    (g, frame): (Pair, usize),
    gradients: &mut Gradients,
) {
    let (size, (x, pad)) = (x.size, x.padded());
    let outer = size.padded(pad).area();
    let pixels = size.strided(kernel.stride).padded(frame).area();
    let mut each = |x: &[Lanes], g: &[Lanes]| {
        let planes = x.chunks_exact(outer).zip(g.chunks_exact(pixels));
        let taps = gradients.taps.chunks_exact_mut(kernel.taps());
        for ((x, g), taps) in planes.zip(taps) {
            depthwise_taps(kernel, x, (size, pad), (g, frame), taps);
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
        self.value
            .dense(&mut both(zs.clone(), xs, Halves::Both), view, add);
        if let Some(tangent) = &self.tangent {
            let pairs = zs.zip(xs.iter_mut());
            let across = pairs.filter_map(|(z, x)| Some((z.tangent?, &mut *x.value)));
            tangent.dense(&mut across.collect::<Vec<_>>(), view, true);
        }
    }

    /// Adds the adjoints of a depthwise convolution's input, or sets them, from those of its results with `pad` zeros
    /// around.
    fn taps(&self, kernel: Kernel, size: Size, (g, pad): (Pair, usize), (x, add): (PairMut, bool)) {
        let taps = kernel.taps();
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
