//! The gradients of convolutions' weights.

use lease_kernels::graph::{Geometry, Id, Made, SquareKernel, StageShape};
use lease_kernels::plane::Size;

use super::backward::Back;
use super::forward::{Between, dense_kernel};
use super::program::{Batch, Builder, Chunks, Kernel, minus, tiles};

/// What a convolution reads: field, channels, size.
type Read = (usize, usize, Size);

/// A convolution whose weights' gradients are made.
struct Conv<'a> {
    shape: &'a StageShape,
    rectify: bool,
    /// The adjoint of its result.
    g: usize,
    after: Size,
}

impl Builder<'_> {
    /// The gradients of a stage's convolutions' weights; `between` are the results of separable ones' depthwise parts, and `carried`
    /// their adjoints.
    pub fn weights(&mut self, units: &[Id], between: &Between, carried: &Between, back: &mut Back) {
        let chunks = self.weight_chunks(units);
        let parts = self.program.parts.len();
        let mut batches: Vec<Batch> = (0..parts).map(|_| Batch::default()).collect();
        for id in units {
            let Made::Conv {
                sources,
                rectify,
                shape,
            } = self.graph.made(*id)
            else {
                continue;
            };
            let conv = Conv {
                shape,
                rectify,
                g: back.adjoints[id].start,
                after: self.sizes[id],
            };
            let reads = sources.iter().map(|source| {
                let field = self.fields[source].start;
                (field, self.graph.channels(*source), self.sizes[source])
            });
            let reads: Vec<Read> = reads.collect();
            let Geometry::Separable(kernel) = shape.geometry else {
                self.dense_gradient(&conv, &reads, &chunks, &mut batches, back);
                continue;
            };
            let g = carried[id].start;
            let depthwise = Conv { g, ..conv };
            self.taps_gradient(&depthwise, kernel, reads[0], &chunks, &mut batches, back);
            let conv = Conv {
                rectify: false,
                ..conv
            };
            let reads = [(between[id].start, reads[0].1, conv.after)];
            self.dense_gradient(&conv, &reads, &chunks, &mut batches, back);
        }
        for (part, batch) in batches.into_iter().enumerate() {
            self.launch(part, batch);
        }
    }

    fn weight_chunks(&self, units: &[Id]) -> Chunks {
        let mut groups = 0;
        for id in units {
            let Made::Conv { shape, .. } = self.graph.made(*id) else {
                continue;
            };
            let side = dense_kernel(shape.geometry)[0];
            let outputs = shape.outputs / shape.matrices.len();
            for channels in &shape.inputs {
                groups += tiles(outputs, channels * side * side).1 * shape.matrices.len();
            }
        }
        self.chunks(groups)
    }

    /// Those of a depthwise convolution's taps.
    fn taps_gradient(
        &mut self,
        conv: &Conv,
        kernel: SquareKernel,
        (field, channels, before): Read,
        chunks: &Chunks,
        batches: &mut [Batch],
        back: &mut Back,
    ) {
        let length = channels * kernel.taps();
        let partial = self.numbers(chunks.count * length);
        let place = self.program.places.gradients + conv.shape.taps;
        let lists = back.totals.entry((place, length)).or_default();
        lists.push([partial, chunks.count, length]);
        for (part, batch) in batches.iter_mut().enumerate() {
            let (first, own) = chunks.parts[part];
            let fixed = [
                field,
                conv.g,
                channels,
                self.images(part),
                before.h,
                before.w,
                conv.after.h,
                conv.after.w,
                kernel.dilation,
                kernel.stride,
            ];
            let mut record: Vec<u32> = fixed.map(|n| n as u32).into();
            record.extend([minus(kernel.pad()), u32::from(conv.rectify)]);
            record.extend([chunks.images, own, first, partial].map(|n| n as u32));
            let side = kernel.size as u32;
            let kernel = Kernel::DepthwiseWeights { side };
            batch.push(kernel, record, channels * own);
        }
    }

    /// Those of a dense part's matrices.
    fn dense_gradient(
        &mut self,
        conv: &Conv,
        reads: &[Read],
        chunks: &Chunks,
        batches: &mut [Batch],
        back: &mut Back,
    ) {
        let Conv { shape, after, .. } = conv;
        let [side, dilation, stride, pad] = dense_kernel(shape.geometry);
        let taps = side * side;
        let outputs = shape.outputs / shape.matrices.len();
        let row = shape.inputs.iter().sum::<usize>() * taps;
        let length = outputs * row;
        for (m, matrix) in shape.matrices.iter().enumerate() {
            let partial = self.numbers(chunks.count * length);
            let place = self.program.places.gradients + matrix;
            let lists = back.totals.entry((place, length)).or_default();
            lists.push([partial, chunks.count, length]);
            let mut column = 0;
            for (field, channels, before) in reads {
                let (across, tiles) = tiles(outputs, channels * taps);
                for (part, batch) in batches.iter_mut().enumerate() {
                    let (first, own) = chunks.parts[part];
                    let fixed = [
                        *field,
                        *channels,
                        conv.g,
                        shape.outputs,
                        m * outputs,
                        outputs,
                        self.images(part),
                        before.h,
                        before.w,
                        after.h,
                        after.w,
                        dilation,
                        stride,
                    ];
                    let mut record: Vec<u32> = fixed.map(|n| n as u32).into();
                    let shift = minus(pad).wrapping_add(m as u32);
                    record.extend([shift, u32::from(conv.rectify)]);
                    let rest = [chunks.images, own, first, partial, row, column, length];
                    record.extend(rest.map(|n| n as u32));
                    let [side, across] = [side, across].map(|n| n as u32);
                    let kernel = Kernel::DenseWeights { side, across };
                    batch.push(kernel, record, tiles * own);
                }
                column += channels * taps;
            }
        }
    }
}
