//! The supernet's cells by the CPU kernels of `lease-kernels`, as a backend extension.
//!
//! Between cells the states stay in the kernels' blocked layout, `[images, blocks, pixels, 8]`; a dual pass
//! has the tangents behind the values, as more images. The ordinary operations of [`super::cell`] serve all
//! other devices and precisions, and are what this is held against.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lease_kernels::cell::{Cell, Saved, Wanted};
use lease_kernels::field::Field;
use lease_kernels::plane::Size;
use lease_kernels::{Buffer, LANES, Lanes, blocks};

use super::dual::Dual;

/// One cell's computation, but for its tensors.
#[derive(Clone)]
pub struct Plan {
    cell: Arc<Cell>,
    /// Sizes of the two inputs.
    sizes: [Size; 2],
    /// Whether tangents come along.
    dual: bool,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

/// Cells by fast kernels.
#[backend_extension(Autodiff, Flex)]
pub trait CellOps: Backend {
    /// The output of a cell of the supernet: `[images, nodes · blocks, pixels, 8]` from two such states, the
    /// cell's weights (and their tangents behind them) and its mixing coefficients `[edges · operations]`.
    fn cell(
        s0: FloatTensor<Self>,
        s1: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        mixture: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

type Primitive = FloatTensor<Flex>;

fn numbers(tensor: &Primitive) -> &[f32] {
    // Every caller makes the tensor contiguous, and the dtype is checked before the fast path is taken.
    tensor.as_slice::<f32>().unwrap_or(&[])
}

/// A field of a contiguous tensor.
fn field(tensor: &Primitive, size: Size, dual: bool) -> Field {
    let shape = tensor.shape();
    let (lanes, _) = numbers(tensor).as_chunks::<LANES>();
    let images = shape[0] / if dual { 2 } else { 1 };
    let (value, tangent) = lanes.split_at(images * shape[1] * size.area());
    let copy = |from: &[Lanes]| {
        let mut buffer = Buffer::stale(from.len());
        buffer.copy_from_slice(from);
        buffer
    };
    Field {
        value: copy(value),
        tangent: dual.then(|| copy(tangent)),
        images,
        blocks: shape[1],
        size,
    }
}

fn tensor(field: &Field) -> Primitive {
    let mut values = Vec::with_capacity(2 * field.value.len() * LANES);
    values.extend_from_slice(field.value.as_flattened());
    let mut images = field.images;
    if let Some(tangent) = &field.tangent {
        values.extend_from_slice(tangent.as_flattened());
        images *= 2;
    }
    let shape = [images, field.blocks, field.size.area(), LANES];
    Primitive::from_data(TensorData::new(values, shape))
}

fn flat(values: Vec<f32>) -> Primitive {
    let n = values.len();
    Primitive::from_data(TensorData::new(values, [n]))
}

/// What a pass leaves for its backward pass.
struct Pass {
    inputs: [Field; 2],
    mixture: Vec<f32>,
    saved: Saved,
    output: Size,
}

fn forward(
    s: [&Primitive; 2],
    weights: &Primitive,
    mixture: &Primitive,
    plan: &Plan,
) -> (Primitive, Pass) {
    let inputs = [0, 1].map(|i| field(&s[i].to_contiguous(), plan.sizes[i], plan.dual));
    let (weights, mixture) = (weights.to_contiguous(), mixture.to_contiguous());
    let (values, tangents) = numbers(&weights).split_at(plan.cell.weights());
    let tangents = (!tangents.is_empty()).then_some(tangents);
    let mixture = numbers(&mixture).to_vec();
    let (output, saved) = plan
        .cell
        .forward(inputs.each_ref(), values, tangents, &mixture);
    let pass = Pass {
        inputs,
        mixture,
        saved,
        output: output.size,
    };
    (tensor(&output), pass)
}

impl CellOps for Flex {
    fn cell(
        s0: Primitive,
        s1: Primitive,
        weights: Primitive,
        mixture: Primitive,
        plan: Plan,
    ) -> Primitive {
        forward([&s0, &s1], &weights, &mixture, &plan).0
    }
}

/// The state of a backward pass.
#[derive(Clone)]
struct State {
    pass: Arc<Pass>,
    plan: Plan,
    /// The shapes of the inputs, and the length of the weights with their tangents.
    weights: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

#[derive(Debug)]
struct CellBackward;

impl Backward<Flex, 4> for CellBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [s0, s1, weights, mixture] = ops.parents;
        let State {
            pass,
            plan,
            weights: n,
        } = ops.state;
        let g = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let output = field(&g, pass.output, plan.dual);
        let wanted = Wanted {
            weights: weights.is_some(),
            inputs: s0.is_some() || s1.is_some(),
        };
        let result = plan.cell.backward(
            pass.inputs.each_ref(),
            &pass.mixture,
            &pass.saved,
            &output,
            wanted,
        );
        if let Some(inputs) = result.inputs {
            for (node, field) in [s0, s1].into_iter().zip(&inputs) {
                if let Some(node) = node {
                    gradients.register::<Flex>(node.id, tensor(field));
                }
            }
        }
        if let (Some(node), Some(mut values)) = (weights, result.weights) {
            // Tangents of weights are constants.
            values.resize(n, 0.0);
            gradients.register::<Flex>(node.id, flat(values));
        }
        if let Some(node) = mixture {
            gradients.register::<Flex>(node.id, flat(result.mixture));
        }
    }
}

impl<C: CheckpointStrategy> CellOps for Autodiff<Flex, C> {
    fn cell(
        s0: FloatTensor<Self>,
        s1: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        mixture: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [s0.node(), s1.node(), weights.node(), mixture.node()];
        match CellBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let s = [s0.into_primitive(), s1.into_primitive()];
                let (weights, mixture) = (weights.into_primitive(), mixture.into_primitive());
                let n = numbers(&weights.to_contiguous()).len();
                let (output, pass) = forward(s.each_ref(), &weights, &mixture, &plan);
                let state = State {
                    pass: Arc::new(pass),
                    plan,
                    weights: n,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                let s = [s0.into_primitive(), s1.into_primitive()];
                let (weights, mixture) = (weights.into_primitive(), mixture.into_primitive());
                prepared.finish(forward(s.each_ref(), &weights, &mixture, &plan).0)
            }
        }
    }
}

/// A state between cells, in the kernels' layout.
#[derive(Clone)]
pub struct Blocked {
    /// `[images, blocks, pixels, 8]`; with tangents, twice the images.
    tensor: Tensor<4>,
    size: Size,
    dual: bool,
}

/// Whether the kernels serve this device and precision.
pub fn serves(x: &Dual<4>) -> bool {
    x.value.dtype() == DType::F32 && x.value.device() == Device::flex()
}

impl Blocked {
    /// From `[batch, channels, h, w]`. In a dual pass a missing tangent is zero.
    pub fn new(x: Dual<4>, dual: bool) -> Self {
        let [_, _, h, w] = x.value.dims();
        let mut tensor = blocked(x.value.clone());
        if dual {
            let tangent = match x.tangent {
                Some(tangent) => blocked(tangent),
                None => tensor.clone().inner().zeros_like(),
            };
            tensor = Tensor::cat(vec![tensor, tangent], 0);
        }
        Self {
            tensor,
            size: Size { h, w },
            dual,
        }
    }

    /// The next state, from the one before (`before`) and the last one (`self`).
    pub fn cell(
        &self,
        before: &Self,
        cell: &Arc<Cell>,
        weights: Dual<1>,
        mixture: Tensor<2>,
        stride: usize,
    ) -> Self {
        let weights = match weights.tangent {
            Some(tangent) => Tensor::cat(vec![weights.value, tangent], 0),
            None => weights.value,
        };
        let [edges, operations] = mixture.dims();
        let plan = Plan {
            cell: cell.clone(),
            sizes: [before.size, self.size],
            dual: self.dual,
        };
        let output = <Dispatch as CellOps>::cell(
            before.tensor.clone().into_dispatch(),
            self.tensor.clone().into_dispatch(),
            weights.into_dispatch(),
            mixture.reshape([edges * operations]).into_dispatch(),
            plan,
        );
        Self {
            tensor: Tensor::from_dispatch(output),
            size: self.size.strided(stride),
            dual: self.dual,
        }
    }

    /// The mean over height and width, `[batch, nodes · channels]`, where each node has `channels`.
    pub fn global_mean(self, channels: usize) -> Dual<2> {
        let [images, all_blocks, _, _] = self.tensor.dims();
        let per_node = blocks(channels);
        let nodes = all_blocks / per_node;
        let mean = self
            .tensor
            .mean_dim(2)
            .reshape([images, nodes, per_node * LANES])
            .slice([0..images, 0..nodes, 0..channels])
            .reshape([images, nodes * channels]);
        if !self.dual {
            return mean.into();
        }
        let batch = images / 2;
        let width = nodes * channels;
        Dual {
            value: mean.clone().slice([0..batch, 0..width]),
            tangent: Some(mean.slice([batch..images, 0..width])),
        }
    }
}

/// `[batch, channels, h, w]` in blocks, padded with zero channels.
fn blocked(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, h, w] = x.dims();
    let n = blocks(channels);
    let mut x = x.reshape([batch, channels, h * w]);
    let missing = n * LANES - channels;
    if missing > 0 {
        let zeros = Tensor::zeros([batch, missing, h * w], (&x.device(), x.dtype()));
        x = Tensor::cat(vec![x, zeros], 1);
    }
    x.reshape([batch, n, LANES, h * w]).permute([0, 1, 3, 2])
}
