//! What jobs' records hold: where a program's things are, as the kernels read it.

use lease_kernels::graph::{Id, Normalise, SquareKernel, Term, Wholes, Window};
use lease_kernels::plane::Size;

use super::kernels::{LANES, NONE, PIXELS, conv};
use super::program::{Batch, Builder, Kernel, minus};

impl Builder<'_> {
    /// The states of the results: means or not, the state, where among the results it begins, channels of its result, the first of
    /// these.
    pub fn outputs(&self) -> Vec<(bool, Id, usize, usize, usize)> {
        let mut all = Vec::new();
        let mut start = 0;
        let shapes = self.graph.output_shapes(self.setting.size);
        for (result, (channels, size)) in self.graph.results().zip(shapes) {
            let (means, states) = match result {
                Wholes::Means(states) => (true, states),
                Wholes::States(states) => (false, states),
            };
            let mut first = 0;
            for state in states {
                all.push((means, *state, start, channels, first));
                first += self.graph.channels(*state);
            }
            start += self.setting.images * channels * size.area();
        }
        all
    }

    /// The record of a convolution's dense part: `to` is the field, its channels, the first, how many, and its size; steps are from one
    /// output's weights to the next's and from one input's.
    pub fn dense(
        &self,
        part: usize,
        to: ([usize; 4], Size),
        steps: [usize; 2],
        (before, kernel): (Size, [usize; 3]),
        rectify: bool,
        inputs: &[[usize; 6]],
    ) -> (Vec<u32>, usize) {
        let ([y, channels, first, count], after) = to;
        let pixels = self.images(part) * after.area();
        let [dilation, stride, pad] = kernel;
        let fixed = [
            y, channels, first, count, steps[0], steps[1], pixels, before.h, before.w, after.h,
            after.w, dilation, stride,
        ];
        let mut record: Vec<u32> = fixed.map(|n| n as u32).into();
        record.extend([minus(pad), u32::from(rectify), inputs.len() as u32]);
        record.extend(inputs.iter().flatten().map(|n| *n as u32));
        let blocks = pixels.div_ceil(LANES as usize * PIXELS);
        (record, blocks * count.div_ceil(conv::OUTPUTS))
    }

    /// Adds a depthwise convolution of x to y, or what carries its adjoint back.
    pub fn depthwise(
        &self,
        part: usize,
        [x, y, taps, channels]: [usize; 4],
        (before, after): (Size, Size),
        (kernel, back): (SquareKernel, bool),
        rectify: bool,
        batch: &mut Batch,
    ) {
        let (planes, pieces) = self.planes(part, channels);
        let fixed = [
            x,
            y,
            taps,
            channels,
            planes as usize,
            before.h,
            before.w,
            after.h,
            after.w,
            kernel.dilation,
            kernel.stride,
        ];
        let mut record: Vec<u32> = fixed.map(|n| n as u32).into();
        record.extend([minus(kernel.pad()), u32::from(rectify)]);
        let side = kernel.size as u32;
        batch.push(Kernel::Depthwise { side, back }, record, pieces);
    }

    /// The place of a weight.
    pub fn weight(&self, place: usize) -> usize {
        self.program.places.weights + place
    }

    /// What a term is weighted by, as [`norm::weighting`] reads it.
    pub fn weighting(&self, term: &Term) -> [u32; 4] {
        let places = &self.program.places;
        let statistics = match term.normalise {
            Normalise::Not => NONE,
            _ => self.statistics[&term.source] as u32,
        };
        let (scale, shift) = match term.normalise {
            Normalise::Affine { scale, shift } => {
                (self.weight(scale) as u32, self.weight(shift) as u32)
            }
            _ => (NONE, NONE),
        };
        let coefficient = term.coefficient.map(|k| (places.coefficients + k) as u32);
        [statistics, scale, shift, coefficient.unwrap_or(NONE)]
    }

    /// Where a term's factors of the images begin.
    pub fn drops(&self, row: Option<usize>) -> u32 {
        let images = self.setting.images;
        row.map_or(NONE, |row| (self.program.places.drop + row * images) as u32)
    }

    /// The record of a pool, between these fields.
    pub fn pooling(
        &self,
        id: Id,
        part: usize,
        [x, y]: [u32; 2],
        (source, window): (Id, Window),
    ) -> (Vec<u32>, usize) {
        let (planes, pieces) = self.planes(part, self.graph.channels(id));
        let (before, after) = (self.sizes[&source], self.sizes[&id]);
        let places = self.maxima.get(&id).map_or(0, |range| range.start);
        let mut record = vec![x, y, places as u32, planes];
        let shape = [before.h, before.w, after.h, after.w];
        record.extend(shape.map(|n| n as u32));
        record.extend([window.size, window.stride, window.pad].map(|n| n as u32));
        record.push(u32::from(self.maxima.contains_key(&id)));
        (record, pieces)
    }
}
