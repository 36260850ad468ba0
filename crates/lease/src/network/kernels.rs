//! Networks by kernels, as a backend extension: a whole network is one operation, on the CPU by those of `lease-kernels`, on GPUs by
//! those of `crate::gpu`.
//!
//! Every layer can add itself to a [`Graph`] (its `emit`), beside computing itself from ordinary operations
//! (its `forward`), which serves all other devices and precisions and is what the kernels are held against.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lease_kernels::field::Field;
use lease_kernels::graph::{Graph, Id, Normalise, Pass, Saved, Statistics as Sums, Wanted};
use lease_kernels::plane::Size;

use super::dropout::DropPath;
use super::dual::Dual;
use super::layers::{Noted, Statistics};
use super::memo::{Inputs, Memo, Values};
use super::noise;
use super::vector::{Leaves, Slot, Vector};
use crate::rng::Draw;

/// How a network is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// By the kernels of the CPU or of GPUs where they serve, else composed.
    #[default]
    Fast,
    /// From ordinary tensor operations.
    Composed,
}

impl Kernels {
    /// Whether the kernels compute a pass over these images: in f32, on the CPU and on what Burn reaches by CubeCL, unless that is
    /// built to join operations (`fusion`).
    pub fn serve(self, images: &Tensor<4>) -> bool {
        let on_a_gpu = cfg!(all(feature = "cube", not(feature = "fusion")));
        let served = on_a_gpu || images.device() == Device::flex();
        self == Self::Fast && images.dtype() == DType::F32 && served
    }
}

/// A graph while a network adds its layers to it.
pub struct Emitter {
    /// The graph.
    pub graph: Graph,
    running: Vec<(Id, Running)>,
    drops: usize,
}

/// The slots of a batch norm's running mean and variance.
pub type Running = (Slot<1>, Slot<1>);

impl Emitter {
    /// A graph whose input has this many channels, and the input.
    pub fn new(channels: usize) -> (Self, Id) {
        let (graph, input) = Graph::new(channels);
        let emitter = Self {
            graph,
            running: Vec::new(),
            drops: 0,
        };
        (emitter, input)
    }

    /// Notes where the running statistics of a normalised node are.
    pub fn keeps_running(&mut self, id: Id, running: &Running) {
        self.running.push((id, running.clone()));
    }

    /// The next row of path dropout's factors.
    pub fn drop(&mut self) -> usize {
        self.drops += 1;
        self.drops - 1
    }

    /// The network.
    pub fn finish(self) -> Compiled {
        let graph = self.graph.arranged();
        let slot = |id: Id| {
            let mut all = self.running.iter();
            all.find(|(of, _)| *of == id).map(|(_, r)| r.clone())
        };
        Compiled {
            running: graph.normalised().map(slot).collect(),
            graph: Arc::new(graph),
            #[cfg(all(feature = "cube", not(feature = "fusion")))]
            programs: Arc::default(),
        }
    }
}

/// A network for the kernels.
#[derive(Clone, Debug)]
pub struct Compiled {
    graph: Arc<Graph>,
    #[cfg(all(feature = "cube", not(feature = "fusion")))]
    programs: Arc<crate::gpu::run::Programs>,
    /// Of each normalised node that keeps any.
    running: Vec<Option<Running>>,
}

impl Compiled {
    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The running mean and variance of each normalised node, by its number.
    pub fn running_slots(&self) -> BTreeMap<Id, Running> {
        let all = self.graph.normalised().zip(&self.running);
        all.filter_map(|(id, slots)| Some((id, slots.clone()?)))
            .collect()
    }
}

/// The number of a coefficient that is 0 in networks that are given none.
pub const ZERO: usize = 0;

/// The rest of what a pass depends on.
#[derive(Default)]
pub struct Mode<'a> {
    /// What batch norms normalise by.
    pub statistics: Statistics<'a>,
    /// Path dropout.
    pub drop: Option<&'a DropPath>,
    /// What operations that are noise are drawn by.
    pub noise: Draw,
}

impl Compiled {
    /// The bytes of activations that a pass over a batch of these images (channels, height, width) keeps.
    pub fn bytes(&self, batch: usize, [_, h, w]: [usize; 3]) -> u64 {
        self.graph.bytes(Size { h, w }, batch)
    }

    /// The multiply-adds of its convolutions for one of these images (channels, height, width).
    pub fn multiply_adds(&self, [_, h, w]: [usize; 3]) -> u64 {
        self.graph.multiply_adds(Size { h, w })
    }

    /// The results of images `[batch, channels, h, w]`, each `[batch, channels, h, w]`; means are 1×1.
    pub fn forward(
        &self,
        images: Dual<4>,
        weights: &Leaves,
        coefficients: Option<Dual<1>>,
        mode: &Mode,
    ) -> Vec<Dual<4>> {
        let device = images.value.device();
        let [batch, _, h, w] = images.value.dims();
        let coefficients =
            coefficients.unwrap_or_else(|| Tensor::zeros([ZERO + 1], (&device, DType::F32)).into());
        let memo = match mode.statistics {
            Statistics::Batch => weights.memo().cloned(),
            _ => None,
        };
        let weights = weights.whole();
        let tangents = [
            images.tangent.is_some(),
            weights.tangent.is_some(),
            coefficients.tangent.is_some(),
        ];
        let drop = match mode.drop {
            Some(drop) => (0..self.graph.drops())
                .flat_map(|_| drop.factors(batch))
                .collect(),
            None => vec![1.0; self.graph.drops() * batch],
        };
        let running = match &mode.statistics {
            Statistics::Running(running) => Some(self.running(running)),
            _ => None,
        };
        let noted = match &mode.statistics {
            Statistics::Noted(_) => Some(Arc::default()),
            _ => None,
        };
        let plan = Plan {
            graph: self.graph.clone(),
            #[cfg(all(feature = "cube", not(feature = "fusion")))]
            programs: self.programs.clone(),
            size: Size { h, w },
            tangents,
            drop: drop.into(),
            noise: mode.noise,
            running,
            noted: noted.clone(),
            memo,
        };
        let flat = <Dispatch as GraphOps>::graph(
            joined(images, 0).into_dispatch(),
            joined(weights, 0).into_dispatch(),
            joined(coefficients, 0).into_dispatch(),
            plan,
        );
        if let (Statistics::Noted(noted), Some(sums)) = (&mode.statistics, noted) {
            self.note(noted, &sums, &device);
        }
        self.split(
            Tensor::from_dispatch(flat),
            (batch, Size { h, w }),
            tangents,
        )
    }

    /// The results, one after the other.
    fn split(
        &self,
        flat: Tensor<1>,
        (batch, size): (usize, Size),
        tangents: [bool; 3],
    ) -> Vec<Dual<4>> {
        let shapes = self.graph.output_shapes(size);
        let shapes = shapes
            .into_iter()
            .map(|(c, size)| [batch, c, size.h, size.w]);
        let half: usize = shapes.clone().map(|s| s.iter().product::<usize>()).sum();
        let mut start = 0;
        shapes
            .map(|shape| {
                let range = start..start + shape.iter().product::<usize>();
                start = range.end;
                let part = |from: usize| {
                    let range = range.start + from..range.end + from;
                    flat.clone().slice([range]).reshape(shape)
                };
                Dual {
                    value: part(0),
                    tangent: tangents.contains(&true).then(|| part(half)),
                }
            })
            .collect()
    }

    fn running(&self, running: &Vector) -> Arc<[Sums]> {
        // All at once: a device has to finish before it is read from.
        let all: Vec<f32> = running.flat().into_data().iter::<f32>().collect();
        let read = |slot: &Slot<1>| all[slot.place()..][..slot.shape()[0]].to_vec();
        let of = |slots: &Option<Running>| match slots {
            Some((mean, variance)) => Sums {
                mean: read(mean),
                variance: read(variance),
            },
            None => Sums {
                mean: Vec::new(),
                variance: Vec::new(),
            },
        };
        self.running.iter().map(of).collect()
    }

    fn note(&self, noted: &RefCell<Vec<Noted>>, sums: &Mutex<Vec<Sums>>, device: &Device) {
        let sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        let tensor = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            Tensor::from_data(data, (device, DType::F32))
        };
        for (slots, sums) in self.running.iter().zip(sums.iter()) {
            if let Some((mean, variance)) = slots {
                noted.borrow_mut().push(Noted {
                    mean: (mean.clone(), tensor(&sums.mean)),
                    variance: (variance.clone(), tensor(&sums.variance)),
                });
            }
        }
    }
}

/// The means of a network whose only result they are, `[batch, channels]`.
pub fn only_means(results: Vec<Dual<4>>) -> Dual<2> {
    let mut results = results.into_iter();
    let means = results.next().unwrap_or_else(|| unreachable!("a result"));
    means.global_mean()
}

/// A value with its tangent behind it.
fn joined<const D: usize>(x: Dual<D>, dim: usize) -> Tensor<D> {
    match x.tangent {
        Some(tangent) => Tensor::cat(vec![x.value, tangent], dim),
        None => x.value,
    }
}

/// One network's computation, but for its tensors.
#[derive(Clone)]
pub struct Plan {
    pub(super) graph: Arc<Graph>,
    #[cfg(all(feature = "cube", not(feature = "fusion")))]
    pub(super) programs: Arc<crate::gpu::run::Programs>,
    pub(super) size: Size,
    /// Whether images, weights and coefficients have tangents, each behind its values.
    pub(super) tangents: [bool; 3],
    pub(super) drop: Arc<[f32]>,
    pub(super) noise: Draw,
    pub(super) running: Option<Arc<[Sums]>>,
    pub(super) noted: Option<Arc<Mutex<Vec<Sums>>>>,
    /// Where values are left for a pass with tangents, or taken from; only on the CPU.
    memo: Option<Memo>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Plan");
        all.field("size", &self.size).finish_non_exhaustive()
    }
}

/// Networks by fast kernels.
#[backend_extension(Autodiff, Flex, Cube: cfg(all(feature = "cube", not(feature = "fusion"))))]
pub trait GraphOps: Backend {
    /// The results of a network, flat.
    fn graph(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        coefficients: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

type Primitive = FloatTensor<Flex>;

fn numbers(tensor: &Primitive) -> &[f32] {
    // Every caller makes the tensor contiguous, and the dtype is checked before the fast path is taken.
    tensor.as_slice::<f32>().unwrap_or(&[])
}

fn flat(values: Vec<f32>) -> Primitive {
    let n = values.len();
    Primitive::from_data(TensorData::new(values, [n]))
}

/// What a pass leaves for its backward pass.
pub(super) struct Kept<T> {
    pass: Mutex<Option<T>>,
    pub(super) images: [usize; 4],
    pub(super) weights: usize,
    pub(super) coefficients: usize,
}

impl<T> Kept<T> {
    /// Keeps a pass over images of this shape, by so many weights and coefficients.
    pub(super) fn new(pass: T, images: [usize; 4], weights: usize, coefficients: usize) -> Self {
        Self {
            pass: Mutex::new(Some(pass)),
            images,
            weights,
            coefficients,
        }
    }

    /// The pass, once, so that its memory is freed on the way.
    pub(super) fn take(&self) -> Option<T> {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        pass.take()
    }
}

/// The state of a backward pass.
pub(super) struct State<T> {
    pub(super) kept: Arc<Kept<T>>,
    pub(super) plan: Plan,
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self {
            kept: self.kept.clone(),
            plan: self.plan.clone(),
        }
    }
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

/// The results of a network by a backend's `forward`, which is told the wanted gradients if there are any, with its backward pass.
pub(super) fn differentiable<B, C, T, G>(
    backward: G,
    inputs: [FloatTensor<Autodiff<B, C>>; 3],
    plan: Plan,
    forward: impl FnOnce([FloatTensor<B>; 3], &Plan, Option<Wanted>) -> (FloatTensor<B>, Kept<T>),
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    T: Send + 'static,
    G: Backward<B, 3, State = State<T>>,
{
    let [images, weights, coefficients] = &inputs;
    let wanted = Wanted {
        weights: weights.is_tracked(),
        coefficients: coefficients.is_tracked(),
        input: images.is_tracked(),
    };
    let nodes = inputs.each_ref().map(|input| input.node());
    let tensors = inputs.map(|input| input.into_primitive());
    match backward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (results, kept) = forward(tensors, &plan, Some(wanted));
            let kept = Arc::new(kept);
            prepared.finish(State { kept, plan }, results)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(forward(tensors, &plan, None).0),
    }
}

/// A pass by the CPU's kernels.
struct Passed {
    saved: Saved,
    /// What it was computed from, if its values are to be left in a memo.
    inputs: Option<Inputs>,
}

fn forward(tensors: [&Primitive; 3], plan: &Plan, keep: bool) -> (Primitive, Kept<Passed>) {
    let [images, weights, coefficients] = tensors.map(|t| t.to_contiguous());
    let shape: [usize; 4] = images.shape().dims();
    let split = |tensor: &Primitive, dual: bool| {
        let all = numbers(tensor);
        if dual {
            let (value, tangent) = all.split_at(all.len() / 2);
            (value.to_vec(), Some(tangent.to_vec()))
        } else {
            (all.to_vec(), None)
        }
    };
    let dual = plan.tangents.contains(&true);
    let (images, image_tangents) = split(&images, plan.tangents[0]);
    let (weights, weight_tangents) = split(&weights, plan.tangents[1]);
    let (coefficients, coefficient_tangents) = split(&coefficients, plan.tangents[2]);
    let inputs = Inputs {
        noise: plan.noise,
        images,
        weights,
        coefficients,
    };
    let pass = Pass {
        weights: &inputs.weights,
        weight_tangents: weight_tangents.as_deref(),
        coefficients: &inputs.coefficients,
        coefficient_tangents: coefficient_tangents.as_deref(),
        drop: &plan.drop,
        running: plan.running.as_deref(),
        noise: Some(&|number, image, out| noise::fill(plan.noise, number, image, out)),
        keep,
    };
    let channels = shape[1];
    let rows = inputs.images.len() / (channels * plan.size.area());
    let known = plan.memo.as_ref().filter(|_| dual).and_then(|memo| {
        let is_of = |saved: &Saved| saved.is_of(rows, plan.size, &plan.drop);
        memo.take(&plan.graph, &inputs, is_of)
    });
    let tangents = image_tangents.as_deref();
    let (results, saved) = match known {
        Some(values) => plan.graph.forward_again(values, tangents, &pass),
        None => {
            let input = Field::from_planes(&inputs.images, tangents, channels, plan.size, dual);
            plan.graph.forward(input, &pass)
        }
    };
    if let Some(noted) = &plan.noted {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = saved.statistics(&plan.graph);
    }
    let lengths = (inputs.weights.len(), inputs.coefficients.len());
    let inputs = (plan.memo.is_some() && !dual).then_some(inputs);
    let passed = Passed { saved, inputs };
    (
        flat(results),
        Kept::new(passed, shape, lengths.0, lengths.1),
    )
}

impl GraphOps for Flex {
    fn graph(
        images: Primitive,
        weights: Primitive,
        coefficients: Primitive,
        plan: Plan,
    ) -> Primitive {
        forward([&images, &weights, &coefficients], &plan, false).0
    }
}

#[derive(Debug)]
struct GraphBackward;

impl Backward<Flex, 3> for GraphBackward {
    type State = State<Passed>;

    fn backward(self, ops: Ops<State<Passed>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [images, weights, coefficients] = ops.parents;
        let State { kept, plan } = ops.state;
        let g = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(Passed { saved, inputs }) = kept.take() else {
            return;
        };
        let wanted = Wanted {
            weights: weights.is_some(),
            coefficients: coefficients.is_some(),
            input: images.is_some(),
        };
        let (g, lengths) = (numbers(&g), (kept.weights, kept.coefficients));
        let result = match (&plan.memo, inputs) {
            (Some(memo), Some(inputs)) => {
                let (result, saved) = plan.graph.backward_keeping(saved, g, lengths, wanted);
                let graph = plan.graph.clone();
                memo.keep(Values {
                    graph,
                    inputs,
                    saved,
                });
                result
            }
            _ => plan.graph.backward(saved, g, lengths, wanted),
        };
        if let (Some(node), Some(field)) = (images, result.input) {
            let [rows, channels, ..] = kept.images;
            let mut planes = Vec::with_capacity(kept.images.iter().product());
            // Where the images have no tangents, nothing asks for those of the gradient.
            let halves: &[bool] = if plan.tangents[0] {
                &[false, true]
            } else {
                &[false]
            };
            for tangents in halves {
                for i in 0..rows / halves.len() {
                    field.read_planes(i, channels, *tangents, &mut planes);
                }
            }
            let data = TensorData::new(planes, kept.images);
            gradients.register::<Flex>(node.id, Primitive::from_data(data));
        }
        // Tangents of weights and coefficients are constants.
        let padded = |mut values: Vec<f32>, dual: bool| {
            values.resize(values.len() * if dual { 2 } else { 1 }, 0.0);
            flat(values)
        };
        if let Some(node) = weights {
            let values = padded(result.weights, plan.tangents[1]);
            gradients.register::<Flex>(node.id, values);
        }
        if let Some(node) = coefficients {
            let values = padded(result.coefficients, plan.tangents[2]);
            gradients.register::<Flex>(node.id, values);
        }
    }
}

impl<C: CheckpointStrategy> GraphOps for Autodiff<Flex, C> {
    fn graph(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        coefficients: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let inputs = [images, weights, coefficients];
        differentiable::<_, C, _, _>(GraphBackward, inputs, plan, |tensors, plan, wanted| {
            forward(tensors.each_ref(), plan, wanted.is_some())
        })
    }
}

/// The normalisation of a node by a batch norm's slots.
pub fn normalise(
    emitter: &mut Emitter,
    id: Id,
    affine: Option<&(Slot<1>, Slot<1>)>,
    running: Option<&Running>,
) -> Normalise {
    if let Some(running) = running {
        emitter.keeps_running(id, running);
    }
    match affine {
        Some((scale, shift)) => Normalise::Affine {
            scale: scale.place(),
            shift: shift.place(),
        },
        None => Normalise::Plain,
    }
}
