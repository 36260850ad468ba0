//! Fields: blocked activations of a batch, and the sharing out of images over threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::edge::{Pair, PairMut};
use crate::plane::Size;
use crate::pool::Buffer;
use crate::{LANES, Lanes};

/// Tasks that a batch is shared out to, whatever the number of threads.
const SLOTS: usize = 8;

/// Activations `[image][block][pixel]`, with their tangents in a dual pass.
#[derive(Debug)]
pub struct Field {
    /// Values.
    pub value: Buffer,
    /// Tangents.
    pub tangent: Option<Buffer>,
    /// Images.
    pub images: usize,
    /// Blocks of channels.
    pub blocks: usize,
    /// Height and width.
    pub size: Size,
}

impl Field {
    /// A field with whatever was in its memory before.
    pub fn stale(images: usize, blocks: usize, size: Size, dual: bool) -> Self {
        let buffer = || Buffer::stale(images * blocks * size.area());
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
            images,
            blocks,
            size,
        }
    }

    /// A field of zeros.
    pub fn zeros(images: usize, blocks: usize, size: Size, dual: bool) -> Self {
        let mut field = Self::stale(images, blocks, size, dual);
        field.value.fill([0.0; LANES]);
        if let Some(tangent) = &mut field.tangent {
            tangent.fill([0.0; LANES]);
        }
        field
    }

    /// Lanes in one image.
    pub fn per_image(&self) -> usize {
        self.blocks * self.size.area()
    }

    /// One image.
    pub fn image(&self, i: usize) -> Pair<'_> {
        let range = i * self.per_image()..(i + 1) * self.per_image();
        Pair {
            value: &self.value[range.clone()],
            tangent: self.tangent.as_ref().map(|t| &t[range]),
        }
    }
}

impl<'a> Pair<'a> {
    /// One block's plane of `area` pixels.
    pub fn plane(self, block: usize, area: usize) -> Self {
        let range = block * area..(block + 1) * area;
        Self {
            value: &self.value[range.clone()],
            tangent: self.tangent.map(|t| &t[range]),
        }
    }
}

/// Values, tangents, and the lanes of one image.
type PartOfField<'a> = (&'a mut [Lanes], Option<&'a mut [Lanes]>, usize);

/// The part of some fields that one task writes.
pub struct Part<'a> {
    /// Its images.
    pub images: Range<usize>,
    fields: Vec<PartOfField<'a>>,
}

impl Part<'_> {
    /// One image of every field, in order.
    pub fn image(&mut self, i: usize) -> Vec<PairMut<'_>> {
        let at = i - self.images.start;
        let fields = self.fields.iter_mut();
        fields
            .map(|(value, tangent, per)| {
                let range = at * *per..(at + 1) * *per;
                PairMut {
                    value: &mut value[range.clone()],
                    tangent: tangent.as_deref_mut().map(|t| &mut t[range]),
                }
            })
            .collect()
    }
}

/// Does `work` on all images in parallel, in a fixed number of tasks that each write their part of `fields`;
/// returns the tasks' results in order.
pub fn share_out<T: Send>(
    images: usize,
    fields: Vec<&mut Field>,
    work: impl Fn(Part) -> T + Send + Sync,
) -> Vec<T> {
    let slots = SLOTS.min(images);
    let mut parts: Vec<Part> = (0..slots)
        .map(|s| Part {
            images: images * s / slots..images * (s + 1) / slots,
            fields: Vec::with_capacity(fields.len()),
        })
        .collect();
    for field in fields {
        let per = field.per_image();
        let mut value: &mut [Lanes] = &mut field.value;
        let mut tangent: Option<&mut [Lanes]> = field.tangent.as_deref_mut();
        for part in &mut parts {
            let n = part.images.len() * per;
            let (here, rest) = std::mem::take(&mut value).split_at_mut(n);
            value = rest;
            let here_tangent = tangent.take().map(|t| {
                let (here, rest) = t.split_at_mut(n);
                tangent = Some(rest);
                here
            });
            part.fields.push((here, here_tangent, per));
        }
    }
    parts.into_par_iter().map(work).collect()
}
