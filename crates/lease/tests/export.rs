//! Networks in the form of other programs answer as they do themselves.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lease::config::{Composite, Layers};
use lease::data::Normalisation;
use lease::export::{ExportError, Inside, onnx, pytorch};
use lease::network::{Init, Layout, Stem, Vector};
use lease::rng::{Purpose, stream, symmetric};
use lease::space::darts::{CellGenotype, DartsGenotype, Edge, Operation};
use lease::space::nas_bench_201::Cell;
use lease::space::{DerivedShape, Genotype};
use lease::training::{TrainConfig, Trained};

/// Values that make every weight and statistic matter.
fn numbers(layout: &std::sync::Arc<Layout>, seed: u64) -> Vector {
    let mut rng = stream(seed, Purpose::DerivedInit, 0);
    let mut values = layout.initial_values(&mut rng);
    let noise = symmetric(&mut rng, values.len(), 0.3);
    for entry in layout.entries() {
        if !matches!(entry.init, Init::Uniform(_)) {
            for i in entry.range.clone() {
                values[i] += noise[i];
            }
        }
    }
    Vector::from_values(layout.clone(), values, &Device::flex(), DType::F32)
}

/// A network that was not trained.
fn network(genotype: Genotype, image: [usize; 3], stem: Stem, edge_skips: bool) -> Trained {
    let upper = Layers::read(None, &[], &TrainConfig::scope(), &[]).unwrap();
    let shape = DerivedShape {
        channels: 4,
        cells: 3,
        classes: 3,
        image,
        auxiliary: None,
        edge_skips,
        stem,
    };
    let network = genotype.network(&shape).unwrap();
    let channels = image[0];
    Trained {
        folder: PathBuf::new(),
        config: TrainConfig::resolve(&[], &upper).unwrap(),
        weights: numbers(network.weights(), 1),
        running: numbers(network.running(), 2),
        network,
        genotype,
        shape,
        classes: ["a", "\"b\"", "ü"].map(String::from).into(),
        normalisation: Normalisation {
            mean: vec![0.4; channels],
            std: (0..channels).map(|c| 0.2 + 0.1 * c as f32).collect(),
        },
        device: Device::flex(),
    }
}

/// The answers of a network for pixels from 0 to 1.
fn ours(trained: &Trained, pixels: &[f32], images: usize, softmax: bool) -> Vec<f32> {
    let [channels, height, width] = trained.image();
    let Normalisation { mean, std } = &trained.normalisation;
    let planes = pixels.chunks_exact(height * width).enumerate();
    let normal = planes.flat_map(|(plane, pixels)| {
        let c = plane % channels;
        pixels.iter().map(move |x| (x - mean[c]) / std[c])
    });
    let data = TensorData::new(normal.collect(), [images, channels, height, width]);
    let x: Tensor<4> = Tensor::from_data(data, (&trained.device, DType::F32));
    let y = match softmax {
        true => trained.probabilities(x),
        false => trained.logits(x),
    };
    y.into_data().iter::<f32>().collect()
}

/// The largest difference between our answers and those of the ONNX file, for batches of different sizes.
fn difference(trained: &Trained, softmax: bool) -> f32 {
    let inside = Inside {
        normalisation: true,
        softmax,
    };
    let model = rten::Model::load(onnx::onnx(trained, inside).unwrap()).unwrap();
    let [channels, height, width] = trained.image();
    let mut most = 0f32;
    for images in [1, 4] {
        let n = images * channels * height * width;
        let pixels = symmetric(&mut stream(images as u64, Purpose::DerivedInit, 7), n, 0.5);
        let pixels: Vec<f32> = pixels.into_iter().map(|x| x + 0.5).collect();
        let shape = [images, channels, height, width];
        let input = rten::Value::from_shape(&shape, pixels.clone()).unwrap();
        let output = model.run_one((&input).into(), None).unwrap();
        let (shape, theirs) = output.into_shape_vec::<f32, 2>().unwrap();
        assert_eq!(shape, [images, 3]);
        let ours = ours(trained, &pixels, images, softmax);
        let spread = ours.iter().fold(0f32, |most, x| most.max(x.abs()));
        assert!(spread > 0.1, "the answers are all alike: {ours:?}");
        let differences = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
        most = differences.fold(most, f32::max);
    }
    most
}

fn darts(seed: u64) -> Genotype {
    let mut rng = stream(seed, Purpose::RandomGenotype, 0);
    Genotype::new(DartsGenotype::random(3, &mut rng))
}

/// Every operation, a node at which nothing arrives, one state twice, and reductions.
fn odd(operation: Operation) -> Genotype {
    use Operation::{
        AvgPool3x3, DilConv3x3, DilConv5x5, MaxPool3x3, None, SepConv3x3, SepConv5x5, SkipConnect,
    };
    let cell = CellGenotype {
        nodes: vec![
            [Edge(None, 0), Edge(None, 1)],
            [Edge(MaxPool3x3, 1), Edge(operation, 0)],
            [Edge(SkipConnect, 0), Edge(SepConv5x5, 2)],
            [Edge(AvgPool3x3, 1), Edge(DilConv3x3, 3)],
            [Edge(DilConv5x5, 1), Edge(SepConv3x3, 4)],
        ],
        concat: vec![2, 3, 5, 6],
    };
    Genotype::new(DartsGenotype {
        normal: cell.clone(),
        reduce: cell,
    })
}

#[test]
fn onnx_files_answer_as_the_networks_of_every_space_do() {
    let nas_bench = |index| Genotype::new(Cell::numbered(index));
    for (name, genotype, image, stem, edge_skips) in [
        ("darts", darts(3), [3, 16, 16], Stem::Cifar, false),
        (
            "odd sides",
            odd(Operation::SkipConnect),
            [3, 17, 13],
            Stem::Cifar,
            false,
        ),
        (
            "edge skips",
            odd(Operation::None),
            [1, 11, 11],
            Stem::Cifar,
            true,
        ),
        ("photos", darts(4), [3, 40, 48], Stem::Imagenet, false),
        (
            "nas-bench-201",
            nas_bench(7_281),
            [1, 8, 12],
            Stem::Cifar,
            false,
        ),
        (
            "nothing arrives",
            nas_bench(15_000),
            [3, 8, 8],
            Stem::Cifar,
            false,
        ),
        (
            "its photos",
            nas_bench(3_333),
            [3, 64, 32],
            Stem::Imagenet,
            false,
        ),
    ] {
        let trained = network(genotype, image, stem, edge_skips);
        for softmax in [false, true] {
            let difference = difference(&trained, softmax);
            assert!(difference < 1e-4, "{name}: {difference:.1e}");
        }
    }
}

#[test]
fn files_name_the_classes_and_networks_with_noise_are_refused() {
    let trained = network(darts(3), [3, 16, 16], Stem::Cifar, false);
    let bytes = onnx::onnx(&trained, Inside::default()).unwrap();
    let listed = "[\"a\",\"\\\"b\\\"\",\"ü\"]".as_bytes();
    let mut windows = bytes.windows(listed.len());
    assert!(windows.any(|window| window == listed));
    let python = pytorch::pytorch(&trained).unwrap().module;
    let listed = r#"CLASSES = ["a", "\"b\"", "ü"]"#;
    assert!(python.contains(listed), "{python}");
    let noisy = network(odd(Operation::Noise), [3, 16, 16], Stem::Cifar, false);
    let refused = [
        onnx::onnx(&noisy, Inside::default()).err(),
        pytorch::pytorch(&noisy).err(),
    ];
    assert!(matches!(
        refused,
        [Some(ExportError::Noise), Some(ExportError::Noise)]
    ));
}
