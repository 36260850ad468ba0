//! The work on one image, value and tangent together.

use crate::edge::{Pair, PairMut, Scratch, StageShape};
use crate::norm::{Adjoint, Affine, ImageSums, Norm, combine, image_sums};
use crate::plane::{
    Size, add, add_gated, add_to_maxima, avg_pool, avg_pool_backward, gate, max_pool, pad, rectify,
    take_maxima,
};
use crate::pool::Buffer;
use crate::{LANES, Lanes};

pub(super) fn sums_of(z: Pair, size: Size) -> Vec<ImageSums> {
    let area = size.area();
    let blocks = z.value.len() / area;
    (0..blocks)
        .map(|b| {
            let plane = z.plane(b, area);
            image_sums(plane.value, plane.tangent)
        })
        .collect()
}

/// The size that a preprocessing ends with.
pub(super) fn reduced_size(shape: &StageShape, size: Size) -> Size {
    size.strided(shape.matrices.len())
}

pub(super) fn normalise(z: Pair, form: &Affine, area: usize, mut out: PairMut) {
    for b in 0..z.value.len() / area {
        let (z, range) = (z.plane(b, area), b * area..(b + 1) * area);
        let value = &mut out.value[range.clone()];
        combine(&form.shift[b], &[(&form.scale[b], z.value)], value, false);
        if let (Some(t), Some(out)) = (z.tangent, out.tangent.as_deref_mut()) {
            let terms = [(&form.scale[b], t), (&form.slope[b], z.value)];
            combine(&form.tangent_shift[b], &terms, &mut out[range], false);
        }
    }
}

pub(super) fn pool_max(
    x: Pair,
    size: Size,
    stride: usize,
    mut out: PairMut,
    index: &mut [[u32; LANES]],
) {
    let (area, after) = (size.area(), size.strided(stride).area());
    for b in 0..x.value.len() / area {
        let (x, range) = (x.plane(b, area), b * after..(b + 1) * after);
        let index = &mut index[range.clone()];
        max_pool(x.value, size, stride, &mut out.value[range.clone()], index);
        if let (Some(t), Some(out)) = (x.tangent, out.tangent.as_deref_mut()) {
            take_maxima(t, index, &mut out[range]);
        }
    }
}

pub(super) fn pool_avg(x: Pair, size: Size, stride: usize, mut out: PairMut) {
    let (area, after) = (size.area(), size.strided(stride).area());
    for b in 0..x.value.len() / area {
        let (x, range) = (x.plane(b, area), b * after..(b + 1) * after);
        avg_pool(x.value, size, stride, &mut out.value[range.clone()]);
        if let (Some(t), Some(out)) = (x.tangent, out.tangent.as_deref_mut()) {
            avg_pool(t, size, stride, &mut out[range]);
        }
    }
}

pub(super) fn pool_max_backward(
    g: Pair,
    index: &[[u32; LANES]],
    size: Size,
    after: Size,
    mut x: PairMut,
) {
    let (area, after) = (size.area(), after.area());
    for b in 0..g.value.len() / after {
        let (g, range) = (g.plane(b, after), b * area..(b + 1) * area);
        let index = &index[b * after..(b + 1) * after];
        add_to_maxima(g.value, index, &mut x.value[range.clone()]);
        if let (Some(t), Some(x)) = (g.tangent, x.tangent.as_deref_mut()) {
            add_to_maxima(t, index, &mut x[range]);
        }
    }
}

pub(super) fn pool_avg_backward(g: Pair, size: Size, stride: usize, mut x: PairMut) {
    let (area, after) = (size.area(), size.strided(stride).area());
    for b in 0..g.value.len() / after {
        let (g, range) = (g.plane(b, after), b * area..(b + 1) * area);
        avg_pool_backward(g.value, size, stride, &mut x.value[range.clone()]);
        if let (Some(t), Some(x)) = (g.tangent, x.tangent.as_deref_mut()) {
            avg_pool_backward(t, size, stride, &mut x[range]);
        }
    }
}

/// What the 1×1 convolutions of a stage see: the pixels as they are, or for a factorized reduction every
/// second one, from the first and from the second on, with zeros past the end.
pub(super) fn reduction_samples<'a>(
    shape: &StageShape,
    x: Pair<'a>,
    size: Size,
    samples: &'a mut Memory,
) -> Pair<'a> {
    if shape.matrices.len() == 1 {
        return x;
    }
    let after = size.strided(2);
    let gather = |x: &[Lanes], out: &mut [Lanes]| {
        let n = x.len() / size.area();
        for (k, out) in out.chunks_exact_mut(after.area()).take(2 * n).enumerate() {
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
    };
    gather(x.value, &mut samples.value);
    if let (Some(t), Some(out)) = (x.tangent, &mut samples.tangent) {
        gather(t, out);
    }
    samples.read()
}

/// Memory for one image's value and tangent.
pub(super) struct Memory {
    pub value: Buffer,
    pub tangent: Option<Buffer>,
}

impl Memory {
    pub(super) fn new(blocks: usize, size: Size, dual: bool) -> Self {
        let buffer = || Buffer::stale(blocks * size.area());
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
        }
    }

    pub(super) fn zeros(blocks: usize, size: Size, dual: bool) -> Self {
        let buffer = || Buffer::zeros(blocks * size.area());
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
        }
    }

    pub(super) fn read(&self) -> Pair<'_> {
        Pair {
            value: &self.value,
            tangent: self.tangent.as_deref(),
        }
    }

    pub(super) fn write(&mut self) -> PairMut<'_> {
        PairMut {
            value: &mut self.value,
            tangent: self.tangent.as_deref_mut(),
        }
    }

    pub(super) fn rectify(&mut self, x: Pair) {
        rectify(x.value, &mut self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            gate(t, x.value, out);
        }
    }

    pub(super) fn pad(&mut self, x: Pair, blocks: usize, size: Size) {
        let (area, outer) = (size.area(), size.padded().area());
        for b in 0..blocks {
            let (x, range) = (x.plane(b, area), b * outer..(b + 1) * outer);
            pad(x.value, size, &mut self.value[range.clone()], size, 1);
            if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
                pad(t, size, &mut out[range], size, 1);
            }
        }
    }

    pub(super) fn normalise(&mut self, z: Pair, norm: &Norm, area: usize) {
        normalise(z, &norm.forward(1.0), area, self.write());
    }

    /// The adjoints of z and ż from those of what they were normalised to.
    pub(super) fn adjoint(&mut self, g: Pair, z: Pair, form: &Adjoint, area: usize) {
        for b in 0..z.value.len() / area {
            let (g, z) = (g.plane(b, area), z.plane(b, area));
            let range = b * area..(b + 1) * area;
            let out = &mut self.value[range.clone()];
            match (g.tangent, z.tangent) {
                (Some(t), Some(zt)) => {
                    let terms = [
                        (&form.g[b], g.value),
                        (&form.t[b], t),
                        (&form.z[b], z.value),
                        (&form.cross[b], zt),
                    ];
                    combine(&form.constant[b], &terms, out, false);
                    if let Some(out) = &mut self.tangent {
                        let terms = [(&form.g[b], t), (&form.cross[b], z.value)];
                        combine(&form.tangent_constant[b], &terms, &mut out[range], false);
                    }
                }
                _ => {
                    let terms = [(&form.g[b], g.value), (&form.z[b], z.value)];
                    combine(&form.constant[b], &terms, out, false);
                }
            }
        }
    }
}

/// Memory at the resolution of an edge's state.
pub(super) struct Wide {
    pub rectified: Memory,
    pub padded: Memory,
    pub samples: Memory,
    pub sample_adjoint: Memory,
    pub adjoint: Memory,
    pub scratch: Scratch,
}

impl Wide {
    pub(super) fn new(blocks: usize, size: Size, after: Size, dual: bool) -> Self {
        Self {
            rectified: Memory::new(blocks, size, dual),
            padded: Memory::zeros(blocks, size.padded(), dual),
            samples: Memory::new(2 * blocks, after, dual),
            sample_adjoint: Memory::new(2 * blocks, after, dual),
            adjoint: Memory::new(blocks, size, dual),
            scratch: Scratch::new(blocks, size),
        }
    }

    /// Spreads the samples' adjoints over the pixels that they came from.
    pub(super) fn spread(&mut self, size: Size, after: Size) {
        let spread = |samples: &[Lanes], out: &mut [Lanes]| {
            out.fill([0.0; LANES]);
            let n = out.len() / size.area();
            for (k, samples) in samples.chunks_exact(after.area()).enumerate() {
                let (plane, shift) = (k % n * size.area(), k / n);
                for (at, sample) in samples.iter().enumerate() {
                    let (y, x) = (at / after.w * 2 + shift, at % after.w * 2 + shift);
                    if y < size.h && x < size.w {
                        out[plane + y * size.w + x] = *sample;
                    }
                }
            }
        };
        spread(&self.sample_adjoint.value, &mut self.adjoint.value);
        if let (Some(t), Some(out)) = (&self.sample_adjoint.tangent, &mut self.adjoint.tangent) {
            spread(t, out);
        }
    }
}

impl PairMut<'_> {
    pub(super) fn add(&mut self, x: Pair) {
        add(x.value, self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            add(t, out);
        }
    }

    pub(super) fn add_gated(&mut self, x: Pair, gate: &[Lanes]) {
        add_gated(x.value, gate, self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            add_gated(t, gate, out);
        }
    }
}
