//! Fields: blocked activations of a batch, and the sharing out of images over threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::plane::Size;
use crate::pool::Buffer;
use crate::{LANES, Lanes};

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

    /// The same with tangents beside its values: whatever was in their memory before.
    pub fn with_tangents(self) -> Self {
        Self {
            tangent: Some(Buffer::stale(self.value.len())),
            ..self
        }
    }

    /// A field of zeros.
    pub fn zeros(images: usize, blocks: usize, size: Size, dual: bool) -> Self {
        let mut field = Self::stale(images, blocks, size, dual);
        field.clear();
        field
    }

    /// Makes it all zero.
    pub fn clear(&mut self) {
        let mut all = PairMut {
            value: &mut self.value,
            tangent: self.tangent.as_deref_mut(),
        };
        all.fill_zero();
    }

    /// From planes, `[images, channels, height, width]`, and those of the tangents; in a dual field missing
    /// tangents are zero.
    pub fn from_planes(
        value: &[f32],
        tangent: Option<&[f32]>,
        channels: usize,
        size: Size,
        dual: bool,
    ) -> Self {
        let images = value.len() / (channels * size.area());
        let mut field = Self::zeros(images, crate::blocks(channels), size, false);
        fill(&mut field.value, value, channels, size.area());
        if dual {
            field.with_tangent_planes(tangent, channels)
        } else {
            field
        }
    }

    /// The same with these planes as tangents, or zeros.
    pub fn with_tangent_planes(self, tangent: Option<&[f32]>, channels: usize) -> Self {
        let mut out = Buffer::zeros(self.value.len());
        if let Some(tangent) = tangent {
            fill(&mut out, tangent, channels, self.size.area());
        }
        Self {
            tangent: Some(out),
            ..self
        }
    }

    /// Appends one image's planes, `[channels, height, width]`, of the values or of the tangents.
    pub fn read_planes(&self, i: usize, channels: usize, tangents: bool, out: &mut Vec<f32>) {
        let (area, image) = (self.size.area(), self.image(i));
        let planes = match image.tangent {
            Some(tangent) if tangents => tangent,
            _ => image.value,
        };
        for c in 0..channels {
            let plane = &planes[c / LANES * area..][..area];
            out.extend(plane.iter().map(|p| p[c % LANES]));
        }
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

/// Fills the blocks of a batch with planes, `[images, channels, height, width]`.
pub fn fill(out: &mut [Lanes], planes: &[f32], channels: usize, area: usize) {
    let per = crate::blocks(channels) * area;
    for (k, plane) in planes.chunks_exact(area).enumerate() {
        let (i, c) = (k / channels, k % channels);
        let out = &mut out[i * per + c / LANES * area..];
        for (pixel, x) in out.iter_mut().zip(plane) {
            pixel[c % LANES] = *x;
        }
    }
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

impl<'a> PairMut<'a> {
    /// The pair to be read.
    pub fn read(&self) -> Pair<'_> {
        Pair {
            value: self.value,
            tangent: self.tangent.as_deref(),
        }
    }

    /// The pair to be read from now on.
    pub fn into_read(self) -> Pair<'a> {
        Pair {
            value: self.value,
            tangent: self.tangent.map(|t| &*t),
        }
    }

    /// The same pair for a shorter time.
    pub fn again(&mut self) -> PairMut<'_> {
        PairMut {
            value: self.value,
            tangent: self.tangent.as_deref_mut(),
        }
    }

    /// Its first `n` pixels.
    pub fn first(self, n: usize) -> Self {
        self.part(0..n)
    }

    /// Some of its pixels.
    pub fn part(self, range: Range<usize>) -> Self {
        Self {
            value: &mut self.value[range.clone()],
            tangent: self.tangent.map(|t| &mut t[range]),
        }
    }

    /// Its first `count` stretches of `n` pixels.
    pub fn split(self, n: usize, count: usize) -> Vec<Self> {
        let mut tangents = self.tangent.map(|t| t.chunks_exact_mut(n));
        let values = self.value.chunks_exact_mut(n).take(count);
        values
            .map(|value| Self {
                value,
                tangent: tangents.as_mut().and_then(Iterator::next),
            })
            .collect()
    }

    /// Makes it all zero.
    pub fn fill_zero(&mut self) {
        self.value.fill([0.0; LANES]);
        if let Some(tangent) = self.tangent.as_deref_mut() {
            tangent.fill([0.0; LANES]);
        }
    }

    /// Does the same to value and tangent, or to the tangent alone.
    pub fn each_of(&mut self, halves: Halves, from: Pair, work: impl Fn(&[Lanes], &mut [Lanes])) {
        if halves == Halves::Both {
            work(from.value, self.value);
        }
        if let (Some(from), Some(to)) = (from.tangent, self.tangent.as_deref_mut()) {
            work(from, to);
        }
    }

    /// Does the same to value and tangent.
    pub fn each(&mut self, from: Pair, work: impl Fn(&[Lanes], &mut [Lanes])) {
        self.each_of(Halves::Both, from, work);
    }
}

/// What of values and tangents is worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// Values, and tangents where there are any.
    Both,
    /// Tangents: the values are there already.
    Tangents,
}

/// Memory for one image's value and tangent.
#[derive(Default)]
pub struct Memory {
    value: Buffer,
    tangent: Option<Buffer>,
}

impl Memory {
    /// With whatever was in it before.
    pub fn new(pixels: usize, dual: bool) -> Self {
        let buffer = || Buffer::stale(pixels);
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
        }
    }

    /// All zero.
    pub fn zeros(pixels: usize, dual: bool) -> Self {
        let mut memory = Self::new(pixels, dual);
        memory.clear();
        memory
    }

    /// Makes it all zero.
    pub fn clear(&mut self) {
        self.write().fill_zero();
    }

    /// To be read.
    pub fn read(&self) -> Pair<'_> {
        Pair {
            value: &self.value,
            tangent: self.tangent.as_deref(),
        }
    }

    /// To be written.
    pub fn write(&mut self) -> PairMut<'_> {
        PairMut {
            value: &mut self.value,
            tangent: self.tangent.as_deref_mut(),
        }
    }

    /// Makes another memory's value and tangent from this one's.
    pub fn each(&self, to: &mut Self, work: impl Fn(&[Lanes], &mut [Lanes])) {
        to.write().each(self.read(), work);
    }
}

impl<'a> Pair<'a> {
    /// One block's plane of `area` pixels.
    pub fn plane(self, block: usize, area: usize) -> Self {
        self.part(block * area..(block + 1) * area)
    }

    /// Some of its pixels.
    pub fn part(self, range: Range<usize>) -> Self {
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
        self.some(i..i + 1).into_iter().flatten().collect()
    }

    /// Some images of every field: for each field, in order, its images.
    pub fn some(&mut self, images: Range<usize>) -> Vec<Vec<PairMut<'_>>> {
        let first = images.start - self.images.start;
        let fields = self.fields.iter_mut();
        fields
            .map(|(value, tangent, per)| {
                let range = first * *per..(first + images.len()) * *per;
                let here = PairMut {
                    value: &mut value[range.clone()],
                    tangent: tangent.as_deref_mut().map(|t| &mut t[range]),
                };
                here.split(*per, images.len())
            })
            .collect()
    }

    /// Its images, so many at a time.
    pub fn chunks(&self, together: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let Range { start, end } = self.images;
        let starts = (start..end).step_by(together);
        starts.map(move |i| i..(i + together).min(end))
    }
}

/// What bounds the number of tasks.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// How many images are worth working on together.
    pub together: usize,
    /// Pixels of results of each task's own.
    pub own: usize,
}

impl Share {
    /// For work on one image after the other that leaves few numbers besides.
    pub const SINGLY: Self = Self {
        together: 1,
        own: 0,
    };
}

/// Pixels that a task writes at least, or it is not worth it.
const WORTH: usize = 2048;

/// The tasks that images are shared out to at least: the same number for up to four threads.
fn fewest(images: usize) -> usize {
    rayon::current_num_threads().max(4).min(images)
}

/// The images that a task has at most.
pub fn most(images: usize) -> usize {
    images.div_ceil(fewest(images).max(1))
}

/// The number of tasks for so many images, which write so many pixels in all.
fn tasks(images: usize, share: Share, written: usize) -> usize {
    let fewest = fewest(images);
    // The more there are, the less threads wait for each other at the end.
    let pays = |tasks: &usize| {
        tasks * share.together <= images
            && 2 * tasks * share.own <= written
            && tasks * WORTH <= written
    };
    let more = [4 * fewest, 2 * fewest];
    more.into_iter().find(pays).unwrap_or(fewest)
}

/// Does `work` on all images in parallel, in tasks that each write their part of `fields`; returns the tasks' results
/// in order.
pub fn share_out<T: Send>(
    images: usize,
    share: Share,
    fields: Vec<&mut Field>,
    work: impl Fn(Part) -> T + Send + Sync,
) -> Vec<T> {
    let written = fields.iter().map(|f| f.value.len()).sum();
    let tasks = tasks(images, share, written);
    let mut parts: Vec<Part> = (0..tasks)
        .map(|t| Part {
            images: images * t / tasks..images * (t + 1) / tasks,
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
    parts.into_par_iter().with_max_len(1).map(work).collect()
}

/// Memory for each thread's tasks, one after the other: what one of them wrote is still in its thread's cache.
pub struct Spare<T>(Vec<Mutex<Option<T>>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        let threads = 0..rayon::current_num_threads();
        Self(threads.map(|_| Mutex::new(None)).collect())
    }
}

impl<T> Spare<T> {
    /// Works with this thread's memory, newly made if there is none.
    pub fn with<R>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let own = &self.0[rayon::current_thread_index().unwrap_or(0)];
        let own = || own.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = own().take();
        let mut memory = spare.unwrap_or_else(make);
        let result = work(&mut memory);
        *own() = Some(memory);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many images each task has for which these are shared out.
    fn images_of_tasks(images: usize, side: usize, share: Share) -> Vec<usize> {
        let size = Size { h: side, w: side };
        let mut field = Field::stale(images, 1, size, false);
        let tasks = share_out(images, share, vec![&mut field], |mut part| {
            let own = part.images.clone();
            (part.some(own.clone())[0].len(), own)
        });
        let mut next = 0;
        for (written, own) in &tasks {
            assert_eq!((own.start, *written), (next, own.len()), "in order");
            next = own.end;
        }
        assert_eq!(next, images);
        tasks.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn images_are_shared_out_to_as_many_tasks_as_they_are_worth() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let pool = pool.unwrap();
        let each = |images, side, together, own| {
            let share = Share { together, own };
            pool.install(|| images_of_tasks(images, side, share))
        };
        assert_eq!(each(64, 32, 1, 0), [4; 16]);
        assert_eq!(
            each(64, 32, 8, 0),
            [8; 8],
            "eight are best worked on together"
        );
        assert_eq!(
            each(64, 32, 1, 5000),
            [16; 4],
            "tasks leave much of their own"
        );
        assert_eq!(each(64, 2, 1, 0), [16; 4], "little is written");
        assert_eq!(each(3, 32, 8, 0), [1; 3]);
        assert_eq!(each(0, 32, 1, 0), [0; 0]);
    }
}
