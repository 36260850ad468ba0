//! What a training leaves, read again.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::{Tensor, TensorData};
use lease::config::{Composite, Layers};
use lease::data::{Batch, Dataset, Unwatched};
use lease::space::Genotype;
use lease::study::cell::train_in;
use lease::training::{TrainConfig, TrainResult, Trained, presets};

const CELL: &str =
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|";

/// A training of a second.
fn train(folder: &Path) -> (TrainResult, Dataset) {
    let flags: Vec<(String, String)> = [
        ("dataset", "digits"),
        ("limit", "300"),
        ("train-channels", "4"),
        ("train-cells", "1"),
        ("train-epochs", "3"),
        ("train-batch", "20"),
    ]
    .map(|(flag, value)| (flag.into(), value.into()))
    .into();
    let upper = Layers::read(None, &flags, &TrainConfig::scope(), &[]).unwrap();
    let genotype = Genotype::parse(CELL).unwrap();
    let lower = presets(&genotype, None, &[&upper.values]).unwrap();
    let config = TrainConfig::resolve(&lower, &upper).unwrap();
    let dataset = Dataset::load(&config.data).unwrap();
    let stop = AtomicBool::new(false);
    let done = train_in(config, genotype, &dataset, folder, &mut Unwatched, &stop);
    (done.unwrap().unwrap(), dataset)
}

fn batch(trained: &Trained, dataset: &Dataset, images: u32) -> Batch {
    let indices: Vec<u32> = (0..images).collect();
    let test = dataset.test();
    test.batch(&indices, &trained.normalisation, None)
}

#[test]
fn a_trained_network_is_read_again_as_it_was_tested_and_differentiates_by_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let (result, dataset) = train(folder.path());
    let trained = Trained::load(folder.path(), "cpu").unwrap();
    assert_eq!(trained.classes, dataset.classes);
    let all = batch(&trained, &dataset, dataset.test().len() as u32);
    let probabilities = trained.probabilities(trained.images(&all));
    let predicted = probabilities.clone().argmax(1).into_data();
    let pairs = predicted.iter::<i64>().zip(&all.labels);
    let correct = pairs.filter(|(p, label)| p == *label).count();
    assert_eq!(
        correct as f64 / all.labels.len() as f64,
        result.test_accuracy
    );
    let sums = probabilities.sum_dim(1).into_data();
    assert!(sums.iter::<f32>().all(|sum| (sum - 1.0).abs() < 1e-5));

    // The derivative of the first image's first logit along a direction, and the difference quotient.
    let few = batch(&trained, &dataset, 3);
    let (images, weights) = (trained.images(&few), trained.open());
    let logit = |x: Tensor<4>| {
        let pass = trained.pass(&weights);
        trained.forward(&pass, x).slice([0..1, 0..1]).sum()
    };
    let leaf = images.clone().autodiff().require_grad();
    let mut gradients = logit(leaf.clone()).backward();
    let gradient = leaf.grad_remove(&mut gradients).unwrap();
    let n = few.values.len();
    let direction: Vec<f32> = (0..n).map(|i| (0.7 * i as f32).sin()).collect();
    let direction = TensorData::new(direction, few.shape);
    let direction: Tensor<4> = Tensor::from_data(direction, &images.device());
    let along = (gradient * direction.clone()).sum().into_scalar::<f64>();
    let h = 1e-3;
    let at = |h: f64| {
        let there = images.clone() + direction.clone().mul_scalar(h);
        logit(there).into_scalar::<f64>()
    };
    let quotient = (at(h) - at(-h)) / (2.0 * h);
    assert!(
        (along - quotient).abs() < 0.02 * quotient.abs() + 1e-3,
        "{along} {quotient}"
    );
}

#[test]
fn folders_without_a_usable_network_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let refused = |path: &Path| Trained::load(path, "cpu").unwrap_err().to_string();
    assert!(refused(&path.join("none")).contains("there is no folder"));
    assert!(refused(path).contains("has no training"));
    let run = path.join("run");
    let train_folder = run.join("train");
    let (result, _) = train(&train_folder);
    // A run folder stands for the training in it.
    let trained = Trained::load(&run, "cpu").unwrap();
    assert_eq!(trained.folder, train_folder);
    let weights = train_folder.join("weights.safetensors");
    let model = train_folder.join("model.json");
    let whole = fs::read(&weights).unwrap();
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&weights, &damaged).unwrap();
    let told = refused(&run);
    assert!(told.contains("weights.safetensors is damaged"), "{told}");
    fs::write(&weights, &whole).unwrap();
    let text = fs::read_to_string(&model).unwrap();
    for (from, to, told) in [
        ("\"format\": 1", "\"format\": 2", "use a later one"),
        ("\"format\": 1", "\"format\": -1", "is damaged"),
        (
            "\"mean\": [",
            "\"mean\": [ 0.5,",
            "do not fit images of 1 channels",
        ),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(&model, text.replace(from, to)).unwrap();
        let error = refused(&run);
        assert!(error.contains(told), "{error}");
    }
    fs::remove_file(&model).unwrap();
    let told = refused(&run);
    assert!(told.contains("the command that trained it"), "{told}");
    // And that is true.
    let (again, _) = train(&train_folder);
    assert_eq!((again, fs::read_to_string(&model).unwrap()), (result, text));
    fs::remove_file(train_folder.join("result.json")).unwrap();
    let told = refused(&run);
    assert!(told.contains("is not finished"), "{told}");
}
