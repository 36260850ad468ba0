//! The layers that supernet, audience and derived network are made of.
//!
//! A layer owns no numbers: it holds the handles of its weights in the network's layout and computes on
//! the [`Pass`] it is given.

use std::cell::RefCell;

use burn::tensor::Tensor;
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::ops::ConvOptions;

use lease_kernels::graph::{Geometry, Id, SquareKernel, Term};
use lease_kernels::norm::EPSILON;

use super::dual::Dual;
use super::kernels::{Emitter, normalise};
use super::vector::{Init, Layout, Leaves, Slot, Vector};
use crate::rng::Draw;

/// What batch normalisation normalises by.
#[derive(Clone, Copy, Default)]
pub enum Statistics<'a> {
    /// Mean and variance of the batch; nothing is kept. All of the search works this way.
    #[default]
    Batch,
    /// Mean and variance of the batch, noted for [`update_running`].
    Noted(&'a RefCell<Vec<Noted>>),
    /// Running mean and variance, as when a trained network is evaluated.
    Running(&'a Vector),
}

/// One layer's batch statistics, noted during a training pass.
pub struct Noted {
    pub(super) mean: (Slot<1>, Tensor<1>),
    pub(super) variance: (Slot<1>, Tensor<1>),
}

/// Moves running statistics by a tenth towards the noted ones (PyTorch's momentum of 0.1).
///
/// A layer that the pass did not reach keeps its own.
pub fn update_running(running: &Vector, noted: Vec<Noted>) -> Vector {
    let parts = noted.into_iter().flat_map(|n| [n.mean, n.variance]);
    let moved = parts.map(|(slot, batch)| {
        let old = running.part(&slot);
        (slot, old.mul_scalar(0.9) + batch.mul_scalar(0.1))
    });
    running.replace(moved.collect())
}

/// One forward pass: the weights, and what else it depends on.
pub struct Pass<'a> {
    /// The network's weights.
    pub weights: &'a Leaves,
    /// What batch normalisation normalises by.
    pub statistics: Statistics<'a>,
    /// What operations that are noise are drawn by.
    pub noise: Draw,
}

impl<'a> Pass<'a> {
    /// A pass with batch statistics that leaves no trace, by the first step's noise of seed 0.
    pub fn new(weights: &'a Leaves) -> Self {
        Self {
            weights,
            statistics: Statistics::Batch,
            noise: Draw::default(),
        }
    }
}

/// Collects layouts while a network is built.
#[derive(Default)]
pub struct Builder {
    /// The weights.
    pub weights: Layout,
    /// The running statistics, where layers keep them.
    pub running: Layout,
    /// Whether batch norms made by [`Builder::batch_norm`] keep running statistics.
    pub keep_running: bool,
    /// Operations that are noise, so far.
    pub noises: usize,
}

/// A convolution without bias.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: Slot<4>,
    outputs: usize,
    square: Square,
    options: ConvOptions<2>,
}

/// The geometry of a square convolution.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    /// Kernel size.
    pub size: usize,
    /// Stride.
    pub stride: usize,
    /// Dilation.
    pub dilation: usize,
}

impl Square {
    /// A kernel of this size and stride, not dilated.
    pub fn new(size: usize, stride: usize) -> Self {
        Self {
            size,
            stride,
            dilation: 1,
        }
    }
}

impl Builder {
    /// A dense convolution padded so that stride 1 keeps the size; `name` as in `stem.0`.
    pub fn conv(&mut self, name: &str, input: usize, output: usize, kernel: Square) -> Conv {
        let fan_in = input * kernel.size * kernel.size;
        self.conv_with(name, input, output, kernel, 1, uniform(fan_in))
    }

    /// A depthwise convolution padded so that stride 1 keeps the size.
    pub fn depthwise(&mut self, name: &str, channels: usize, kernel: Square) -> Conv {
        let fan_in = kernel.size * kernel.size;
        self.conv_with(name, channels, channels, kernel, channels, uniform(fan_in))
    }

    /// A convolution with its start given.
    pub fn conv_with(
        &mut self,
        name: &str,
        input: usize,
        output: usize,
        kernel: Square,
        groups: usize,
        init: Init,
    ) -> Conv {
        let padding = kernel.dilation * (kernel.size - 1) / 2;
        let shape = [output, input / groups, kernel.size, kernel.size];
        Conv {
            outputs: output,
            square: kernel,
            weight: self.weights.push(format!("{name}.weight"), shape, init),
            options: ConvOptions::new(
                [kernel.stride; 2],
                [padding; 2],
                [kernel.dilation; 2],
                groups,
            ),
        }
    }

    /// Batch normalisation, with scale and shift if `affine`.
    pub fn batch_norm(&mut self, name: &str, channels: usize, affine: bool) -> BatchNorm {
        let affine = affine.then(|| {
            (
                self.weights
                    .push(format!("{name}.weight"), [channels], Init::Ones),
                self.weights
                    .push(format!("{name}.bias"), [channels], Init::Zeros),
            )
        });
        let running = self.keep_running.then(|| {
            (
                self.running
                    .push(format!("{name}.running_mean"), [channels], Init::Zeros),
                self.running
                    .push(format!("{name}.running_var"), [channels], Init::Ones),
            )
        });
        BatchNorm {
            channels,
            affine,
            running,
        }
    }

    /// A linear layer with bias.
    pub fn linear(&mut self, name: &str, input: usize, output: usize) -> LinearLayer {
        let init = uniform(input);
        LinearLayer {
            weight: self
                .weights
                .push(format!("{name}.weight"), [output, input], init),
            bias: self.weights.push(format!("{name}.bias"), [output], init),
        }
    }

    /// ReLU, convolution, batch norm, from and to this many channels.
    pub fn relu_conv_bn(
        &mut self,
        name: &str,
        [input, output]: [usize; 2],
        kernel: Square,
        affine: bool,
    ) -> ReluConvBn {
        ReluConvBn {
            conv: self.conv(&format!("{name}.op.1"), input, output, kernel),
            norm: self.batch_norm(&format!("{name}.op.2"), output, affine),
        }
    }

    /// ReLU and a reduction to half the resolution by two 1×1 convolutions of stride 2, the second one
    /// pixel further on. `output` must be even.
    pub fn factorized_reduce(
        &mut self,
        name: &str,
        input: usize,
        output: usize,
        affine: bool,
    ) -> FactorizedReduce {
        let half = |b: &mut Self, part| {
            b.conv(
                &format!("{name}.{part}"),
                input,
                output / 2,
                Square::new(1, 2),
            )
        };
        FactorizedReduce {
            first: half(self, "conv_1"),
            second: half(self, "conv_2"),
            norm: self.batch_norm(&format!("{name}.bn"), output, affine),
        }
    }

    /// (ReLU, depthwise convolution, 1×1 convolution, batch norm) once for each kernel.
    pub fn separable(
        &mut self,
        name: &str,
        channels: usize,
        kernels: &[Square],
        affine: bool,
    ) -> Separable {
        let stages = kernels
            .iter()
            .enumerate()
            .map(|(i, kernel)| {
                let at = 4 * i;
                (
                    self.depthwise(&format!("{name}.op.{}", at + 1), channels, *kernel),
                    self.conv(
                        &format!("{name}.op.{}", at + 2),
                        channels,
                        channels,
                        Square::new(1, 1),
                    ),
                    self.batch_norm(&format!("{name}.op.{}", at + 3), channels, affine),
                )
            })
            .collect();
        Separable { stages }
    }
}

/// PyTorch's default start of a layer with this fan-in.
fn uniform(fan_in: usize) -> Init {
    Init::Uniform(1.0 / (fan_in as f64).sqrt())
}

impl Square {
    fn kernel(self) -> SquareKernel {
        SquareKernel {
            size: self.size,
            dilation: self.dilation,
            stride: self.stride,
        }
    }
}

impl Conv {
    /// Adds the convolution, a dense one, of states to a graph; `rectify` puts a ReLU before it.
    pub fn emit(&self, e: &mut Emitter, sources: &[Id], rectify: bool) -> Id {
        let geometry = Geometry::Dense(self.square.kernel());
        let places = (0, vec![self.weight.place()]);
        e.graph
            .conv(sources, rectify, geometry, places, self.outputs)
    }

    /// Convolves `[batch, in, h, w]`.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        x.conv2d(pass.weights.get(&self.weight), &self.options)
    }
}

/// Batch normalisation over batch, height and width.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    channels: usize,
    affine: Option<(Slot<1>, Slot<1>)>,
    running: Option<(Slot<1>, Slot<1>)>,
}

impl BatchNorm {
    /// A node of a graph, normalised.
    pub fn emit(&self, e: &mut Emitter, node: Id) -> Term {
        let how = normalise(e, node, self.affine.as_ref(), self.running.as_ref());
        Term::new(node, how)
    }

    /// Normalises `[batch, channels, h, w]` as the pass says.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        let affine = self
            .affine
            .as_ref()
            .map(|(scale, shift)| (pass.weights.get(scale), pass.weights.get(shift)));
        let has_tangent = x.tangent.is_some()
            || affine
                .as_ref()
                .is_some_and(|(s, b)| s.tangent.is_some() || b.tangent.is_some());
        if has_tangent {
            return self.dual(x, affine);
        }
        let x = x.value;
        let (device, dtype) = (x.device(), x.dtype());
        let (scale, shift) = match affine {
            Some((scale, shift)) => (scale.value, shift.value),
            None => (
                Tensor::ones([self.channels], (&device, dtype)),
                Tensor::zeros([self.channels], (&device, dtype)),
            ),
        };
        if let (Statistics::Running(running), Some((mean, variance))) =
            (&pass.statistics, &self.running)
        {
            let (mean, variance) = (running.part(mean), running.part(variance));
            return batch_norm(x, scale, shift, mean, variance, EPSILON).into();
        }
        let [batch, _, height, width] = x.dims();
        let normal = batch_norm_train(x, scale, shift, EPSILON);
        if let (Statistics::Noted(noted), Some((mean, variance))) =
            (&pass.statistics, &self.running)
        {
            let n = (batch * height * width) as f64;
            let unbiased = normal.variance.inner().mul_scalar(n / (n - 1.0).max(1.0));
            noted.borrow_mut().push(Noted {
                mean: (mean.clone(), normal.mean.inner()),
                variance: (variance.clone(), unbiased),
            });
        }
        normal.output.into()
    }

    /// With tangents, by batch statistics: with x̂ = (x − μ)·r and r = (σ² + ε)^−½, the tangent of x̂ is
    /// r·(ẋ − mean ẋ − x̂·mean(x̂·(ẋ − mean ẋ))).
    fn dual(&self, x: Dual<4>, affine: Option<(Dual<1>, Dual<1>)>) -> Dual<4> {
        let mean = |t: Tensor<4>| t.mean_dims(&[0, 2, 3]);
        let centred = x.value.clone() - mean(x.value);
        let variance = mean(centred.clone().square());
        let reciprocal = variance.add_scalar(EPSILON).sqrt().recip();
        let normal = centred * reciprocal.clone();
        let tangent = x.tangent.map(|t| {
            let t = t.clone() - mean(t);
            let projection = mean(normal.clone() * t.clone());
            (t - normal.clone() * projection) * reciprocal
        });
        let normal = Dual {
            value: normal,
            tangent,
        };
        let Some((scale, shift)) = affine else {
            return normal;
        };
        let shape = [1, self.channels, 1, 1];
        let scaled = normal * scale.linear(|t| t.reshape(shape));
        let shift = shift.linear(|t| t.reshape(shape));
        let full = scaled.value.dims();
        Dual {
            value: scaled.value + shift.value,
            tangent: match (scaled.tangent, shift.tangent) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b.map(|b| b.expand(full))),
            },
        }
    }
}

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct LinearLayer {
    weight: Slot<2>,
    bias: Slot<1>,
}

impl LinearLayer {
    /// Its multiplications with an addition for one row, and its additions of the bias.
    pub fn multiply_adds(&self) -> u64 {
        let [outputs, inputs] = self.weight.shape();
        (outputs * (inputs + 1)) as u64
    }

    /// Its weights `[out, in]` and its bias.
    pub fn slots(&self) -> (&Slot<2>, &Slot<1>) {
        (&self.weight, &self.bias)
    }

    /// `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, pass: &Pass, x: Dual<2>) -> Dual<2> {
        x.linear_layer(pass.weights.get(&self.weight), pass.weights.get(&self.bias))
    }
}

/// ReLU, convolution, batch norm.
#[derive(Clone, Debug)]
pub struct ReluConvBn {
    conv: Conv,
    norm: BatchNorm,
}

impl ReluConvBn {
    /// Adds it to a graph, as a summand.
    pub fn emit(&self, e: &mut Emitter, sources: &[Id]) -> Term {
        let z = self.conv.emit(e, sources, true);
        self.norm.emit(e, z)
    }

    /// `[batch, in, h, w]` to `[batch, out, h, w]`.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        self.norm.forward(pass, self.conv.forward(pass, x.relu()))
    }
}

/// ReLU and a factorized reduction to half the resolution (rounded up).
#[derive(Clone, Debug)]
pub struct FactorizedReduce {
    first: Conv,
    second: Conv,
    norm: BatchNorm,
}

impl FactorizedReduce {
    /// Adds it to a graph, as a summand.
    pub fn emit(&self, e: &mut Emitter, sources: &[Id]) -> Term {
        let matrices = [&self.first, &self.second].map(|c| c.weight.place());
        let outputs = self.first.outputs + self.second.outputs;
        let places = (0, matrices.to_vec());
        let z = e
            .graph
            .conv(sources, true, Geometry::Reduce, places, outputs);
        self.norm.emit(e, z)
    }

    /// `[batch, in, h, w]` to `[batch, out, ⌈h/2⌉, ⌈w/2⌉]`.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        self.forward_rectified(pass, x.relu())
    }

    /// The same for an input that ReLU has passed already.
    pub fn forward_rectified(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        let first = self.first.forward(pass, x.clone());
        let second = self.second.forward(pass, x.shifted_by_one());
        self.norm.forward(pass, Dual::cat(vec![first, second], 1))
    }
}

/// One or more of ReLU, depthwise convolution, 1×1 convolution, batch norm.
#[derive(Clone, Debug)]
pub struct Separable {
    stages: Vec<(Conv, Conv, BatchNorm)>,
}

impl Separable {
    /// Adds it to a graph, as a summand.
    pub fn emit(&self, e: &mut Emitter, source: Id) -> Term {
        let mut source = source;
        let last = self.stages.len() - 1;
        for (depthwise, pointwise, norm) in &self.stages[..last] {
            let term = emit_stage(e, source, depthwise, pointwise, norm);
            source = e.graph.passing(term);
        }
        let (depthwise, pointwise, norm) = &self.stages[last];
        emit_stage(e, source, depthwise, pointwise, norm)
    }

    /// `[batch, channels, h, w]`, reduced by the first stage's stride.
    pub fn forward(&self, pass: &Pass, x: Dual<4>) -> Dual<4> {
        self.forward_rectified(pass, x.relu())
    }

    /// The same for an input that ReLU has passed already.
    pub fn forward_rectified(&self, pass: &Pass, mut x: Dual<4>) -> Dual<4> {
        for (i, (depthwise, pointwise, norm)) in self.stages.iter().enumerate() {
            if i > 0 {
                x = x.relu();
            }
            x = norm.forward(pass, pointwise.forward(pass, depthwise.forward(pass, x)));
        }
        x
    }
}

fn emit_stage(
    e: &mut Emitter,
    source: Id,
    depthwise: &Conv,
    pointwise: &Conv,
    norm: &BatchNorm,
) -> Term {
    let geometry = Geometry::Separable(depthwise.square.kernel());
    let places = (depthwise.weight.place(), vec![pointwise.weight.place()]);
    let z = e
        .graph
        .conv(&[source], true, geometry, places, pointwise.outputs);
    norm.emit(e, z)
}
