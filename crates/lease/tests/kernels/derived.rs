//! Derived networks.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lease::method::product::gradient;
use lease::network::{
    DropPath, Dual, Kernels, Leaves, Pass, Statistics, Stem, Vector, update_running,
};
use lease::rng::{Purpose, stream, symmetric};
use lease::space::darts::{CellGenotype, DartsGenotype, Derived, Edge, Operation};
use lease::space::{DerivedNetwork, DerivedShape, nas_bench_201};

use super::{Quantities, errors};

/// A derived network's losses, gradients, running statistics and evaluation, with paths dropped.
fn train(
    genotype: &DartsGenotype,
    (edge_skips, stem): (bool, Stem),
    (kernels, dtype): (Kernels, DType),
) -> Quantities {
    let device = Device::flex();
    let [height, width] = match stem {
        Stem::Cifar => [33, 32],
        Stem::Imagenet => [57, 43],
    };
    let shape = DerivedShape {
        channels: 6,
        cells: 4,
        classes: 3,
        image: [3, height, width],
        // Maps of photos would have to be larger.
        auxiliary: (stem == Stem::Cifar).then_some([5, 9]),
        edge_skips,
        stem,
    };
    let net = Derived::new(genotype, &shape)
        .unwrap()
        .with_kernels(kernels);
    let mut rng = stream(1, Purpose::DerivedInit, 0);
    let values = net.weights().initial_values(&mut rng);
    let weights = Vector::from_values(net.weights().clone(), values, &device, dtype);
    let image = [6, 3, height, width];
    let values = symmetric(&mut rng, image.iter().product(), 1.7);
    let images: Tensor<4> = Tensor::from_data(TensorData::new(values, image), (&device, dtype));
    let labels: Vec<f32> = (0..6)
        .flat_map(|i| [0, 1, 2].map(|k| f32::from(k == i % 3)))
        .collect();
    let one_hot: Tensor<2> = Tensor::from_data(TensorData::new(labels, [6, 3]), (&device, dtype));
    let drop = DropPath {
        probability: 0.3,
        rng: RefCell::new(stream(2, Purpose::DropPath, 0)),
    };
    let noted = RefCell::new(Vec::new());
    let loss = |[weights]: [&Leaves; 1]| {
        let statistics = Statistics::Noted(&noted);
        let pass = Pass {
            weights,
            statistics,
            ..Pass::new(weights)
        };
        let (main, auxiliary) = net.forward(&pass, images.clone(), Some(&drop));
        let of = |logits: Tensor<2>| Dual::from(logits).cross_entropy(one_hot.clone());
        match auxiliary {
            Some(auxiliary) => of(main) + of(auxiliary),
            None => of(main),
        }
    };
    let trained = gradient(loss, [&weights], [0]);
    let zeros = Vector::zeros(net.running().clone(), &device, dtype);
    let running = update_running(&zeros, noted.into_inner());
    let leaves = weights.open(None, false);
    let pass = Pass {
        weights: &leaves,
        statistics: Statistics::Running(&running),
        ..Pass::new(&leaves)
    };
    let (evaluated, _) = net.forward(&pass, images.clone(), None);
    Quantities(vec![
        ("loss", vec![trained.value]),
        ("gradient", trained.vectors[0].to_f64()),
        ("running statistics", running.to_f64()),
        ("evaluation", evaluated.into_data().iter::<f64>().collect()),
    ])
}

fn agree(genotype: &DartsGenotype, how: (bool, Stem)) {
    let oracle = train(genotype, how, (Kernels::Composed, DType::F64));
    let ours = train(genotype, how, (Kernels::Fast, DType::F32));
    for (name, error) in errors(&ours, &oracle) {
        assert!(error < 1e-5, "{genotype} {how:?}, {name}: {error:.1e}");
    }
}

#[test]
fn derived_networks_agree_with_the_composed_ones() {
    let genotype = DartsGenotype::random(3, &mut stream(5, Purpose::RandomGenotype, 0));
    agree(&genotype, (false, Stem::Cifar));
    agree(&genotype, (false, Stem::Imagenet));
}

/// Nodes at which one edge or nothing arrives, states that nobody reads, noise, and both edges from one state.
#[test]
fn derived_networks_with_none_and_doubled_edges_agree_with_the_composed_ones() {
    use Operation::{
        AvgPool3x3, DilConv3x3, MaxPool3x3, Noise, None, SepConv3x3, SepConv5x5, SkipConnect,
    };
    let cell = |nodes: &[[Edge; 2]], concat: &[usize]| CellGenotype {
        nodes: nodes.to_vec(),
        concat: concat.to_vec(),
    };
    let partly = DartsGenotype {
        normal: cell(
            &[
                [Edge(None, 0), Edge(None, 1)],
                [Edge(MaxPool3x3, 1), Edge(None, 2)],
                [Edge(SkipConnect, 3), Edge(SkipConnect, 3)],
                [Edge(SepConv3x3, 4), Edge(SepConv5x5, 4)],
                [Edge(Noise, 2), Edge(SkipConnect, 0)],
            ],
            &[2, 4, 5, 6],
        ),
        reduce: cell(
            &[
                [Edge(None, 0), Edge(None, 0)],
                [Edge(SkipConnect, 1), Edge(DilConv3x3, 1)],
                [Edge(Noise, 1), Edge(SkipConnect, 2)],
                [Edge(None, 1), Edge(MaxPool3x3, 3)],
                [Edge(AvgPool3x3, 2), Edge(Noise, 3)],
            ],
            &[2, 3, 4, 5, 6],
        ),
    };
    let nothing = cell(&[[Edge(None, 0), Edge(None, 1)]], &[2]);
    let nothing = DartsGenotype {
        normal: nothing.clone(),
        reduce: nothing,
    };
    for genotype in [partly, nothing] {
        agree(&genotype, (false, Stem::Cifar));
        // And with a skip-connect beside each of them.
        agree(&genotype, (true, Stem::Cifar));
    }
}

/// Cells in which a node, or the output itself, is reached by nothing.
#[test]
fn derived_networks_of_nas_bench_201_agree_with_the_composed_ones() {
    for index in [0, 7, 3_125, 15_000] {
        let cell = nas_bench_201::Cell::numbered(index);
        let shape = nas_bench_201::Shape {
            channels: 6,
            cells: 1,
            classes: 3,
            image: [2, 8, 12],
            partial: 1,
            stem: Stem::Cifar,
        };
        let of = |kernels, dtype| {
            let net = nas_bench_201::Network::derived(&cell, &shape).unwrap();
            let net = net.with_kernels(kernels);
            let device = Device::flex();
            let layout = DerivedNetwork::weights(&net).clone();
            let mut rng = stream(1, Purpose::DerivedInit, 0);
            let values = layout.initial_values(&mut rng);
            let weights = Vector::from_values(layout, values, &device, dtype);
            let values = symmetric(&mut rng, 5 * 2 * 8 * 12, 1.7);
            let data = TensorData::new(values, [5, 2, 8, 12]);
            let images: Tensor<4> = Tensor::from_data(data, (&device, dtype));
            let drop = DropPath {
                probability: 0.3,
                rng: RefCell::new(stream(2, Purpose::DropPath, 0)),
            };
            let loss = |[weights]: [&Leaves; 1]| {
                let pass = Pass {
                    weights,
                    statistics: Statistics::Batch,
                    ..Pass::new(weights)
                };
                let net: &dyn DerivedNetwork = &net;
                let (logits, _) = net.forward(&pass, images.clone(), Some(&drop));
                Dual::from(logits.square()).linear(|t| t.sum())
            };
            let trained = gradient(loss, [&weights], [0]);
            Quantities(vec![
                ("loss", vec![trained.value]),
                ("gradient", trained.vectors[0].to_f64()),
            ])
        };
        let oracle = of(Kernels::Composed, DType::F64);
        for (name, error) in errors(&of(Kernels::Fast, DType::F32), &oracle) {
            assert!(error < 1e-5, "{cell}, {name}: {error:.1e}");
        }
    }
}
