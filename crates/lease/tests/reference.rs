//! The library against numbers that PyTorch computed (`reference/` has the scripts).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lease::method::optimiser::{SgdRule, adam, cosine, sgd};
use lease::method::product::{MixedProduct, gradient};
use lease::method::smoothed;
use lease::method::verify::{Case, Comparison};
use lease::network::{
    Audience, Dual, Layout, Leaves, Pass, ResNetShape, Statistics, Stem, StemChoice, Vector,
    update_running,
};
use lease::space::darts::{
    CellGenotype, DartsGenotype, Derived, Edge, Operation, derive_cell, softmax_rows,
};
use lease::space::nas_bench_201::{Cell, Network, Shape};
use lease::space::{DerivedNetwork, DerivedShape, Explainer};
use safetensors::SafeTensors;
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn cases() -> Vec<PathBuf> {
    let entries = data("cases").read_dir().unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

#[test]
fn every_quantity_of_every_case_agrees_to_eight_digits_in_f64() {
    assert_eq!(cases().len(), 7);
    for path in cases() {
        let case = Case::load(&path).unwrap();
        let table = case
            .compare(&Device::flex(), DType::F64, MixedProduct::Exact)
            .unwrap();
        assert_eq!(table.len(), 17);
        for row in table {
            assert!(row.relative_error < 1e-8, "{}: {row:?}", path.display());
        }
    }
}

#[test]
fn losses_and_gradients_agree_in_f32_too() {
    for path in cases() {
        let case = Case::load(&path).unwrap();
        let table = case
            .compare(&Device::flex(), DType::F32, MixedProduct::Exact)
            .unwrap();
        for row in table {
            let tolerance = match row.quantity.as_str() {
                q if q.ends_with("loss") => 1e-5,
                "stage4.grad_audience_term" => 1e-2,
                _ => 1e-3,
            };
            assert!(
                row.relative_error < tolerance,
                "{}: {row:?}",
                path.display()
            );
        }
    }
}

/// With ReLU and max-pool masks crossed, h0 = 0.01 is far off; where none is crossed the difference
/// converges to the exact product, which it must if both are right.
#[test]
fn finite_differences_approach_the_exact_product_as_their_step_shrinks() {
    let case = Case::load(&data("cases/odd_size.safetensors")).unwrap();
    let table = |h0| {
        let product = MixedProduct::FiniteDifference { h0 };
        case.compare(&Device::flex(), DType::F64, product).unwrap()
    };
    let (usual, small) = (table(1e-2), table(1e-6));
    for quantity in ["stage4.grad_total", "agreement.explainer"] {
        let error = |table: &[Comparison]| {
            let row = table.iter().find(|r| r.quantity == quantity);
            row.unwrap().relative_error
        };
        assert!(error(&usual) > 1e-2, "{quantity}: {}", error(&usual));
        assert!(error(&small) < 1e-5, "{quantity}: {}", error(&small));
    }
}

#[test]
fn a_case_of_something_else_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Case::load(&path).err().unwrap().to_string()
    };
    assert!(refused(b"nothing").contains("broken.safetensors is not a case"));
    let whole = std::fs::read(&cases()[0]).unwrap();
    assert!(refused(&whole[..whole.len() - 8]).contains("not a case"));
    let network = std::fs::read(data("audience_odd.safetensors")).unwrap();
    assert!(refused(&network).contains("settings cannot be read"));
}

/// A safetensors file in f64.
struct File(BTreeMap<String, (Vec<usize>, Vec<f64>)>, Value);

impl File {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(data(name)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = header.metadata().as_ref().unwrap()["case"].clone();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = file.iter().map(|(name, view)| {
            let (chunks, _) = view.data().as_chunks::<8>();
            let float = view.dtype() == safetensors::Dtype::F64;
            let number = |b: &[u8; 8]| {
                if float {
                    f64::from_le_bytes(*b)
                } else {
                    i64::from_le_bytes(*b) as f64
                }
            };
            let values = chunks.iter().map(number).collect();
            (name.to_string(), (view.shape().to_vec(), values))
        });
        Self(values.collect(), serde_json::from_str(&case).unwrap())
    }

    fn vector(&self, prefix: &str, layout: &Arc<Layout>) -> Vector {
        let mut all: Vec<f64> = Vec::new();
        for entry in layout.entries() {
            let (shape, values) = &self.0[&format!("{prefix}{}", entry.name)];
            assert_eq!(*shape, entry.shape, "{}", entry.name);
            all.extend(values);
        }
        let tensor = Tensor::from_data(TensorData::new(all, [layout.len()]), on());
        Vector::new(layout.clone(), tensor)
    }

    fn images(&self) -> Tensor<4> {
        let (shape, values) = &self.0["in.images"];
        Tensor::from_data(TensorData::new(values.clone(), shape.clone()), on())
    }

    fn one_hot(&self, labels: &str, classes: usize) -> Tensor<2> {
        let labels = &self.0[labels].1;
        let mut rows = vec![0.0; labels.len() * classes];
        for (i, label) in labels.iter().enumerate() {
            rows[i * classes + *label as usize] = 1.0;
        }
        Tensor::from_data(TensorData::new(rows, [labels.len(), classes]), on())
    }

    fn close(&self, name: &str, ours: &[f64]) {
        let expected = &self.0[name].1;
        assert_eq!(ours.len(), expected.len());
        for (a, b) in ours.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{name}: {a} {b}");
        }
    }

    fn close_to_joined(&self, prefix: &str, ours: &Vector) {
        let expected = self.vector(prefix, ours.layout()).to_f64();
        for (a, b) in ours.to_f64().iter().zip(&expected) {
            assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{prefix}: {a} {b}");
        }
    }
}

fn on() -> (&'static Device, DType) {
    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    (DEVICE.get_or_init(Device::flex), DType::F64)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[test]
fn the_audience_and_its_gradients_are_pytorchs_at_uneven_sizes() {
    let file = File::read("audience_odd.safetensors");
    let sizes = |key: &str| -> Vec<usize> { serde_json::from_value(file.1[key].clone()).unwrap() };
    let shape = ResNetShape {
        widths: sizes("widths"),
        blocks: sizes("blocks"),
        classes: 5,
        image_channels: 3,
        stem: Stem::Cifar,
    };
    let audience = Audience::new(&shape).unwrap();
    let weights = file.vector("in.", audience.weights());
    let logits = RefCell::new(Vec::new());
    let loss = |[w]: [&Leaves; 1]| {
        let out = audience.forward(w, file.images().into());
        *logits.borrow_mut() = values(out.value.clone().inner());
        out.cross_entropy(file.one_hot("in.labels", 5))
    };
    let result = gradient(loss, [&weights], [0]);
    file.close("out.logits", &logits.into_inner());
    file.close("out.loss", &[result.value]);
    file.close_to_joined("out.grad.", &result.vectors[0]);
}

#[test]
fn networks_of_nas_bench_201_and_their_gradients_are_pytorchs() {
    let file = File::read("nas_bench_201.safetensors");
    let shape = Shape {
        channels: 2,
        cells: 1,
        classes: 3,
        image: [3, 12, 8],
        partial: 1,
        stem: Stem::Cifar,
    };
    let logits = RefCell::new(Vec::new());
    let note = |out: Dual<2>| {
        *logits.borrow_mut() = values(out.value.clone().inner());
        out.cross_entropy(file.one_hot("in.labels", 3))
    };
    let supernet = Network::supernet(&shape).unwrap();
    let e = file.vector("supernet.in.", Explainer::weights(&supernet));
    let a = file.vector("supernet.in.", supernet.architecture());
    let loss =
        |[e, a]: [&Leaves; 2]| note(Explainer::forward(&supernet, e, a, file.images().into()));
    let result = gradient(loss, [&e, &a], [0, 1]);
    file.close("supernet.out.logits", &logits.take());
    file.close("supernet.out.loss", &[result.value]);
    for gradient in &result.vectors {
        file.close_to_joined("supernet.out.grad.", gradient);
    }

    let cell = Cell::parse(file.1["cell"].as_str().unwrap()).unwrap();
    let derived = Network::derived(&cell, &shape).unwrap();
    let weights = file.vector("derived.in.", DerivedNetwork::weights(&derived));
    let loss = |[weights]: [&Leaves; 1]| {
        let pass = Pass {
            weights,
            statistics: Statistics::Batch,
            ..Pass::new(weights)
        };
        let (out, _) = DerivedNetwork::forward(&derived, &pass, file.images(), None);
        note(out.into())
    };
    let result = gradient(loss, [&weights], [0]);
    file.close("derived.out.logits", &logits.take());
    file.close("derived.out.loss", &[result.value]);
    file.close_to_joined("derived.out.grad.", &result.vectors[0]);
}

#[test]
fn a_derived_network_is_pytorchs_in_training_and_evaluation() {
    let file = File::read("evaluation.safetensors");
    let genes = |key: &str| -> CellGenotype {
        let edges: Vec<Edge> = serde_json::from_value(file.1["genotype"][key].clone()).unwrap();
        CellGenotype::joined(edges.as_chunks::<2>().0.to_vec())
    };
    let genotype = DartsGenotype {
        normal: genes("normal"),
        reduce: genes("reduce"),
    };
    let shape = DerivedShape {
        channels: 4,
        cells: 5,
        classes: 4,
        image: [3, 32, 32],
        auxiliary: Some([8, 12]),
        edge_skips: false,
        stem: Stem::Cifar,
    };
    let network = Derived::new(&genotype, &shape).unwrap();
    let weights = file.vector("in.", network.weights());
    let (noted, logits) = (
        RefCell::new(Vec::new()),
        RefCell::new([const { Vec::new() }; 2]),
    );
    let loss = |[weights]: [&Leaves; 1]| {
        let pass = Pass {
            weights,
            statistics: Statistics::Noted(&noted),
            ..Pass::new(weights)
        };
        let (main, auxiliary) = network.forward(&pass, file.images(), None);
        let auxiliary = auxiliary.unwrap();
        *logits.borrow_mut() = [main.clone(), auxiliary.clone()].map(|t| values(t.inner()));
        let auxiliary = Dual::from(auxiliary).cross_entropy(file.one_hot("in.labels", 4));
        Dual::from(main).cross_entropy(file.one_hot("in.labels", 4))
            + auxiliary.linear(|t| t.mul_scalar(0.4))
    };
    let result = gradient(loss, [&weights], [0]);
    let [main, auxiliary] = logits.into_inner();
    file.close("out.logits", &main);
    file.close("out.logits_aux", &auxiliary);
    file.close("out.loss", &[result.value]);
    file.close_to_joined("out.grad.", &result.vectors[0]);

    let start = {
        let layout = network.running();
        let ones = layout.entries().iter().flat_map(|e| {
            let start = if e.name.ends_with("running_var") {
                1.0
            } else {
                0.0
            };
            std::iter::repeat_n(start, e.range.len())
        });
        let values: Vec<f64> = ones.collect();
        let data = TensorData::new(values, [layout.len()]);
        Vector::new(layout.clone(), Tensor::from_data(data, on()))
    };
    let running = update_running(&start, noted.into_inner());
    file.close_to_joined("out.buffer.", &running);
    let leaves = weights.open(None, false);
    let pass = Pass {
        weights: &leaves,
        statistics: Statistics::Running(&running),
        ..Pass::new(&leaves)
    };
    let (evaluated, _) = network.forward(&pass, file.images(), None);
    file.close("out.logits_eval", &values(evaluated));
}

/// The images of `make_photos.py`.
fn waves(shape: [usize; 4]) -> Tensor<4> {
    let values = (0..shape.iter().product()).map(|k: usize| (0.37 * k as f64).sin());
    let values: Vec<f64> = values.collect();
    Tensor::from_data(TensorData::new(values, shape), on())
}

#[test]
fn networks_for_photos_and_smoothed_labels_are_pytorchs() {
    let file = File::read("photos.safetensors");
    let read = |key: &str| file.1[key].clone();
    let genes = |key: &str| -> CellGenotype {
        let edges: Vec<Edge> = serde_json::from_value(file.1["genotype"][key].clone()).unwrap();
        CellGenotype::joined(edges.as_chunks::<2>().0.to_vec())
    };
    let genotype = DartsGenotype {
        normal: genes("normal"),
        reduce: genes("reduce"),
    };
    let shape: [usize; 4] = serde_json::from_value(read("shape")).unwrap();
    let network = Derived::new(
        &genotype,
        &DerivedShape {
            channels: 2,
            cells: 3,
            classes: 3,
            image: [3, shape[2], shape[3]],
            auxiliary: serde_json::from_value(read("auxiliary")).unwrap(),
            edge_skips: false,
            stem: StemChoice::Auto.for_images([3, shape[2], shape[3]]),
        },
    )
    .unwrap();
    let weights = file.vector("derived.in.", network.weights());
    let target = smoothed(file.one_hot("derived.in.labels", 3), 0.1);
    let logits = RefCell::new([const { Vec::new() }; 2]);
    let loss = |[weights]: [&Leaves; 1]| {
        let (main, auxiliary) = network.forward(&Pass::new(weights), waves(shape), None);
        let auxiliary = auxiliary.unwrap();
        *logits.borrow_mut() = [main.clone(), auxiliary.clone()].map(|t| values(t.inner()));
        let of = |logits: Tensor<2>| Dual::from(logits).cross_entropy(target.clone());
        of(main) + of(auxiliary).linear(|t| t.mul_scalar(0.4))
    };
    let result = gradient(loss, [&weights], [0]);
    let [main, auxiliary] = logits.into_inner();
    file.close("derived.out.logits", &main);
    file.close("derived.out.logits_aux", &auxiliary);
    file.close("derived.out.loss", &[result.value]);
    file.close_to_joined("derived.out.grad.", &result.vectors[0]);

    let shape: [usize; 4] = serde_json::from_value(read("audience_shape")).unwrap();
    let audience = Audience::new(&ResNetShape {
        widths: serde_json::from_value(read("widths")).unwrap(),
        blocks: serde_json::from_value(read("blocks")).unwrap(),
        classes: 3,
        image_channels: 3,
        stem: Stem::Imagenet,
    })
    .unwrap();
    let weights = file.vector("audience.in.", audience.weights());
    let loss = |[w]: [&Leaves; 1]| {
        let out = audience.forward(w, waves(shape).into());
        out.cross_entropy(file.one_hot("audience.in.labels", 3))
    };
    let result = gradient(loss, [&weights], [0]);
    file.close("audience.out.loss", &[result.value]);
    file.close_to_joined("audience.out.grad.", &result.vectors[0]);
}

fn frozen() -> Value {
    serde_json::from_str(&std::fs::read_to_string(data("frozen.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn flat(values: &[f64]) -> Vector {
    let n = values.len();
    let tensor: Tensor<1> = Tensor::from_data(TensorData::new(values.to_vec(), [n]), on());
    Vector::single("x", tensor).0
}

/// Burn keeps momentum, decay and Adam's constants in f32, so agreement ends at about seven digits.
fn assert_near(ours: &Vector, expected: &Value) {
    for (a, b) in ours.to_f64().iter().zip(numbers(expected)) {
        assert!((a - b).abs() < 2e-7, "{a} {b}");
    }
}

#[test]
fn sgd_with_clipping_and_adam_step_like_pytorch() {
    let all = frozen();
    let f = &all["sgd"];
    let rule = SgdRule {
        momentum: 0.9,
        nesterov: false,
        weight_decay: 3e-4,
        clip: 5.0,
    };
    let mut stepper = sgd(&rule);
    let mut at = flat(&numbers(&f["start"]));
    for i in 0..4 {
        let rate = f["lr"][i].as_f64().unwrap();
        at = stepper.step(rate, &at, &flat(&numbers(&f["gradients"][i])));
        assert_near(&at, &f["after"][i]);
    }
    let f = &all["adam"];
    let mut stepper = adam(f["weight_decay"].as_f64().unwrap());
    let mut at = flat(&numbers(&f["start"]));
    let rate = f["lr"].as_f64().unwrap();
    for i in 0..4 {
        at = stepper.step(rate, &at, &flat(&numbers(&f["gradients"][i])));
        assert_near(&at, &f["after"][i]);
    }
}

/// PyTorch's rule: buf ← μ buf + g, then x ← x − η (g + μ buf), without clipping.
#[test]
fn nesterovs_momentum_looks_ahead() {
    let rule = SgdRule {
        momentum: 0.5,
        nesterov: true,
        weight_decay: 0.0,
        clip: 0.0,
    };
    let mut stepper = sgd(&rule);
    let mut at = flat(&[1.0, -2.0]);
    for (gradient, after) in [([8.0, 4.0], [-0.2, -2.6]), ([2.0, -2.0], [-0.7, -2.4])] {
        at = stepper.step(0.1, &at, &flat(&gradient));
        for (a, b) in at.to_f64().iter().zip(after) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}

#[test]
fn the_cosine_schedule_is_pytorchs() {
    let all = frozen();
    let f = &all["cosine"];
    let rates = numbers(&f["lr"]);
    assert_eq!(rates.len(), 50);
    for (epoch, expected) in rates.iter().enumerate() {
        assert!((cosine(0.025, 0.001, epoch, 50) - expected).abs() < 1e-15);
    }
}

#[test]
fn derivation_follows_dartss_rule_ties_included() {
    let all = frozen();
    for f in all["derive"].as_array().unwrap() {
        let name = &f["name"];
        let alphas: Vec<f64> = f["alphas"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(numbers)
            .collect();
        let genes: Vec<Edge> = serde_json::from_value(f["genes"].clone()).unwrap();
        let all = vec![Operation::ALL.to_vec(); alphas.len() / Operation::ALL.len()];
        let cell = derive_cell(&softmax_rows(&alphas, &all)).unwrap();
        assert_eq!(cell.edges().copied().collect::<Vec<_>>(), genes, "{name}");
    }
}
