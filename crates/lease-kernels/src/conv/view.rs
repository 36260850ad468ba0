//! Where a dense convolution reads and writes.

use super::Kernel;
use crate::plane::Size;

/// How a dense convolution reads its input and writes its output.
#[derive(Clone, Debug)]
pub struct View {
    /// Where each tap reads, from the pixel that a result starts at, and its number among the kernel's.
    pub(super) taps: Vec<(usize, usize)>,
    /// Taps of the kernel, whether this view reads them or not.
    pub(super) all_taps: usize,
    /// Pixels of one block of the input.
    pub(super) plane: usize,
    /// Pixels from one row of the input to the next.
    pub(super) width: usize,
    /// Stride.
    pub(super) step: usize,
    /// Rows and columns of the output.
    pub(super) after: Size,
    /// Where the output lies in its planes.
    pub(super) target: Target,
}

/// Where a convolution's results lie in the planes that they are written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Pixels of one block.
    pub(super) plane: usize,
    /// Pixels from one row of results to the next.
    pub(super) width: usize,
    /// Pixels from one result to the next.
    pub(super) step: usize,
    /// The first.
    pub(super) start: usize,
}

impl Target {
    /// The whole of a plane.
    fn whole(size: Size) -> Self {
        Self {
            plane: size.area(),
            width: size.w,
            step: 1,
            start: 0,
        }
    }
}

impl View {
    /// Of a 1×1 convolution at stride 1.
    pub fn pointwise(pixels: usize) -> Self {
        let after = Size { h: 1, w: pixels };
        Self {
            taps: vec![(0, 0)],
            all_taps: 1,
            plane: pixels,
            width: pixels,
            step: 1,
            after,
            target: Target::whole(after),
        }
    }

    /// Of a 1×1 convolution at stride 1 into planes padded by `pad`, whose other pixels it leaves as they are.
    pub fn framed(size: Size, pad: usize) -> Self {
        let outer = size.padded(pad);
        Self {
            width: size.w,
            after: size,
            target: Target {
                plane: outer.area(),
                width: outer.w,
                step: 1,
                start: pad * outer.w + pad,
            },
            ..Self::pointwise(size.area())
        }
    }

    /// Of a kernel over planes of `size` padded by `pad`.
    pub fn padded(kernel: Kernel, size: Size, pad: usize) -> Self {
        let outer = size.padded(pad);
        let first = pad - kernel.pad();
        let taps = (0..kernel.taps()).map(|t| {
            let (y, x) = (t / kernel.size, t % kernel.size);
            let offset = (first + y * kernel.dilation) * outer.w + first + x * kernel.dilation;
            (offset, t)
        });
        let after = size.strided(kernel.stride);
        Self {
            taps: taps.collect(),
            all_taps: kernel.taps(),
            plane: outer.area(),
            width: outer.w,
            step: kernel.stride,
            after,
            target: Target::whole(after),
        }
    }

    /// What carries gradients of a kernel's results, in planes padded by the kernel's padding, back to its input of
    /// `size`, with the taps in reverse order. At stride 2 every other pixel of the input, along either dimension,
    /// is read by every other tap: four views, of as many pixels and taps as there are products to add up.
    pub fn back(kernel: Kernel, size: Size) -> Vec<Self> {
        let (stride, pad, reach) = (kernel.stride, kernel.pad(), kernel.dilation);
        let outer = size.strided(stride).padded(pad);
        // Result o reads pixel o · stride + tap · dilation − pad. So the i-th pixel of those that start at `first`
        // is read by result i + (first + pad − tap · dilation) / stride, where that is whole.
        let reads = |first: usize| {
            (0..kernel.size).filter_map(move |tap| {
                let ahead = (first + (stride + 1) * pad).checked_sub(tap * reach)?;
                (ahead % stride == 0).then_some((tap, ahead / stride))
            })
        };
        let firsts = (0..stride).flat_map(|y| (0..stride).map(move |x| (y, x)));
        let view = |(top, left): (usize, usize)| {
            let row = |(y, down)| {
                reads(left).map(move |(x, right)| {
                    let number = kernel.taps() - 1 - (y * kernel.size + x);
                    (down * outer.w + right, number)
                })
            };
            Self {
                taps: reads(top).flat_map(row).collect(),
                all_taps: kernel.taps(),
                plane: outer.area(),
                width: outer.w,
                step: 1,
                after: Size {
                    h: (size.h - top.min(size.h)).div_ceil(stride),
                    w: (size.w - left.min(size.w)).div_ceil(stride),
                },
                target: Target {
                    plane: size.area(),
                    width: size.w * stride,
                    step: stride,
                    start: top * size.w + left,
                },
            }
        };
        let views = firsts.map(view);
        views
            .filter(|v| !v.taps.is_empty() && v.after.area() > 0)
            .collect()
    }
}
