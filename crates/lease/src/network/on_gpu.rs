//! Networks on GPUs: [`GraphOps`] by the kernels of [`crate::gpu`].

use std::sync::PoisonError;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use lease_kernels::graph::{Statistics as Sums, Wanted};
use lease_kernels::norm::{reciprocal, unbiased};

use super::kernels::{GraphOps, Kept, Plan, State, differentiable};
use super::noise;
use crate::gpu::program::Setting;
use crate::gpu::run::{Memory, Pass};

/// A tensor of numbers that a pass has in its memory.
fn tensor(like: &CubeTensor, shape: Shape, fill: impl FnOnce(&CubeTensor)) -> CubeTensor {
    let bytes = shape.num_elements().max(1) * size_of::<f32>();
    let handle = like.client.empty(bytes);
    let (client, device) = (like.client.clone(), like.device.clone());
    let tensor = CubeTensor::new_contiguous(client, device, shape, handle, DType::F32);
    fill(&tensor);
    tensor
}

/// Loads a tensor whose tangents, if it has any, follow its values.
fn load(pass: &Pass, tensor: &CubeTensor, tangents: Option<bool>, at: usize, length: usize) {
    let handle = &tensor.handle;
    pass.load((handle, 0), (Memory::Numbers, false, at), length);
    match tangents {
        Some(true) => pass.load((handle, length), (Memory::Numbers, true, at), length),
        Some(false) => pass.clear((Memory::Numbers, true, at), length),
        None => {}
    }
}

fn forward(
    tensors: [CubeTensor; 3],
    plan: &Plan,
    wanted: Option<Wanted>,
) -> (CubeTensor, Kept<Pass>) {
    let [images, weights, coefficients] = tensors.map(into_contiguous);
    let shape: [usize; 4] = images.shape().dims();
    let dual = plan.tangents.contains(&true);
    let of_values = |n: usize, tangents: bool| if tangents { n / 2 } else { n };
    let rows = of_values(shape[0], plan.tangents[0]);
    let client = images.client.clone();
    let page = client.properties().memory.max_page_size as usize;
    let setting = Setting {
        size: plan.size,
        images: rows,
        dual,
        running: plan.running.is_some(),
        wanted,
        weights: of_values(weights.shape().num_elements(), plan.tangents[1]),
        coefficients: of_values(coefficients.shape().num_elements(), plan.tangents[2]),
        // Some room for what the memory's owner rounds up to.
        most: page / size_of::<f32>() - (1 << 20),
    };
    let compiled = plan.programs.get(&plan.graph, &setting);
    let pass = Pass::new(compiled, dual, client, &images.device);
    let tangents = |own: bool| dual.then_some(own);
    let places = &pass.program().places;
    let each: usize = shape[1..].iter().product();
    for (part, range) in pass.program().parts.iter().enumerate() {
        let (fields, length) = (Memory::Fields(part), range.len() * each);
        let first = range.start * each;
        let to = |tangents| (fields, tangents, places.input);
        pass.load((&images.handle, first), to(false), length);
        match tangents(plan.tangents[0]) {
            Some(true) => pass.load((&images.handle, rows * each + first), to(true), length),
            Some(false) => pass.clear(to(true), length),
            None => {}
        }
    }
    let own = tangents(plan.tangents[1]);
    load(&pass, &weights, own, places.weights, setting.weights);
    let (own, n) = (tangents(plan.tangents[2]), setting.coefficients);
    load(&pass, &coefficients, own, places.coefficients, n);
    upload(&pass, plan, dual);
    pass.run(&pass.program().forward);
    if let Some(noted) = &plan.noted {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = statistics(&pass, plan, rows);
    }
    let n = places.results_length;
    let results = tensor(&images, Shape::new([if dual { 2 * n } else { n }]), |to| {
        for tangents in [false, true].into_iter().take(if dual { 2 } else { 1 }) {
            let from = (Memory::Numbers, tangents, places.results);
            pass.store(from, (&to.handle, usize::from(tangents) * n), n);
        }
    });
    let kept = Kept::new(pass, shape, setting.weights, setting.coefficients);
    (results, kept)
}

/// What a pass needs of the host's: path dropout's factors, statistics to normalise by, and noise.
fn upload(pass: &Pass, plan: &Plan, dual: bool) {
    let places = &pass.program().places;
    let send = |values: &[f32], (to, at): (Memory, usize)| {
        let buffer = pass.send(values);
        pass.load((&buffer, 0), (to, false, at), values.len());
    };
    if plan.graph.drops() > 0 {
        send(&plan.drop, (Memory::Numbers, places.drop));
    }
    if let Some(running) = &plan.running {
        let mut values = Vec::with_capacity(places.statistics_length);
        for Sums { mean, variance } in running.iter() {
            let r = variance.iter().map(|v| reciprocal(f64::from(*v)) as f32);
            values.extend(mean.iter().copied().chain(r));
            values.resize(values.len() + 2 * mean.len(), 0.0);
        }
        send(&values, (Memory::Numbers, places.statistics));
    }
    for (number, field, each) in &places.noises {
        for (part, images) in pass.program().parts.iter().enumerate() {
            let mut values = vec![0.0; images.len() * each];
            for (image, values) in images.clone().zip(values.chunks_exact_mut(*each)) {
                noise::fill(plan.noise, *number, image, values);
            }
            send(&values, (Memory::Fields(part), *field));
            if dual {
                pass.clear((Memory::Fields(part), true, *field), values.len());
            }
        }
    }
}

/// The means and unbiased variances of all normalised nodes.
fn statistics(pass: &Pass, plan: &Plan, images: usize) -> Vec<Sums> {
    let places = &pass.program().places;
    let values = pass.read(places.statistics, places.statistics_length);
    let sizes = plan.graph.sized(plan.size);
    let mut rest = &values[..];
    let nodes = plan.graph.normalised();
    nodes
        .map(|id| {
            let channels = plan.graph.channels(id);
            let (own, others) = rest.split_at(4 * channels);
            rest = others;
            let count = (images * sizes[&id].area()) as f64;
            let variance = |r: &f32| unbiased(f64::from(*r), count);
            Sums {
                mean: own[..channels].to_vec(),
                variance: own[channels..2 * channels].iter().map(variance).collect(),
            }
        })
        .collect()
}

impl GraphOps for CubeBackend {
    fn graph(
        images: CubeTensor,
        weights: CubeTensor,
        coefficients: CubeTensor,
        plan: Plan,
    ) -> CubeTensor {
        forward([images, weights, coefficients], &plan, None).0
    }
}

#[derive(Debug)]
struct GraphBackward;

impl Backward<CubeBackend, 3> for GraphBackward {
    type State = State<Pass>;

    fn backward(self, ops: Ops<State<Pass>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [images, weights, coefficients] = ops.parents;
        let State { kept, plan } = ops.state;
        let g = into_contiguous(gradients.consume::<CubeBackend>(&ops.node));
        let Some(pass) = kept.take() else { return };
        let places = &pass.program().places;
        let own = plan.tangents.contains(&true).then_some(true);
        load(
            &pass,
            &g,
            own,
            places.result_gradients,
            places.results_length,
        );
        let n = kept.weights + kept.coefficients;
        pass.clear((Memory::Numbers, false, places.gradients), n);
        pass.run(&pass.program().backward);
        if let Some(node) = images {
            let each: usize = kept.images[1..].iter().product();
            let gradient = tensor(&g, Shape::new(kept.images), |to| {
                input_gradient(&pass, to, each, plan.tangents[0]);
            });
            gradients.register::<CubeBackend>(node.id, gradient);
        }
        // Tangents of weights and coefficients are constants.
        let of = |first: usize, n: usize, dual: bool| {
            tensor(&g, Shape::new([if dual { 2 * n } else { n }]), |to| {
                pass.store((Memory::Numbers, false, first), (&to.handle, 0), n);
                if dual {
                    pass.zero(&to.handle, n, n);
                }
            })
        };
        if let Some(node) = weights {
            let gradient = of(places.gradients, kept.weights, plan.tangents[1]);
            gradients.register::<CubeBackend>(node.id, gradient);
        }
        if let Some(node) = coefficients {
            let first = places.gradients + kept.weights;
            let gradient = of(first, kept.coefficients, plan.tangents[2]);
            gradients.register::<CubeBackend>(node.id, gradient);
        }
    }
}

/// The images' gradient, and behind it that of their tangents if they have any.
fn input_gradient(pass: &Pass, to: &CubeTensor, each: usize, tangents: bool) {
    let program = pass.program();
    let images: usize = program.parts.iter().map(ExactSizeIterator::len).sum();
    let halves = [false, true].into_iter().take(if tangents { 2 } else { 1 });
    for half in halves {
        for (part, range) in program.parts.iter().enumerate() {
            let at = (usize::from(half) * images + range.start) * each;
            let length = range.len() * each;
            match program.places.input_adjoint {
                Some(from) => {
                    let from = (Memory::Fields(part), half, from);
                    pass.store(from, (&to.handle, at), length);
                }
                None => pass.zero(&to.handle, at, length),
            }
        }
    }
}

impl<C: CheckpointStrategy> GraphOps for Autodiff<CubeBackend, C> {
    fn graph(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        coefficients: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let inputs = [images, weights, coefficients];
        differentiable::<_, C, _, _>(GraphBackward, inputs, plan, forward)
    }
}
