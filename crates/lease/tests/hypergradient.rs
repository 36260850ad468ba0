//! The architecture gradient against central differences of whole iterations, for what the reference's
//! cases do not cover.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lease::collective::Team;
use lease::method::curvature::dominant_eigenvalue;
use lease::method::layers::agreement;
use lease::method::perturbation::PerturbationSettings;
use lease::method::product::MixedProduct;
use lease::method::product::gradient;
use lease::method::stage1;
use lease::method::stage2::{Attack, AttackScale, Explained};
use lease::method::stage3::Told;
use lease::method::{
    Batches, Examples, Gamma, Iteration, Method, Models, Part, Point, Starts, UnrolledStep,
    Unrolling,
};
use lease::network::{Audience, Layout, Memo, ResNetShape, Stem, Vector};
use lease::rng::{Purpose, stream, symmetric};
use lease::space::darts::{Supernet, SupernetShape};
use lease::space::mixing::{Draw, Relaxation};
use lease::space::{Explainer, Mixing, nas_bench_201};

const SHAPE: [usize; 4] = [4, 2, 6, 5];
/// Of images that can be halved twice.
const EVEN: [usize; 4] = [4, 2, 8, 4];
const CLASSES: usize = 3;

fn tensor(shape: [usize; 4], index: u64, bound: f64) -> Tensor<4> {
    let n = shape.iter().product();
    let values = symmetric(&mut stream(7, Purpose::DeltaTrain, index), n, bound);
    Tensor::from_data(
        TensorData::new(values, shape),
        (&Device::flex(), DType::F64),
    )
}

fn batch(shape: [usize; 4], index: u64) -> Examples {
    let labels = (0..shape[0] as i64).map(|i| (i + index as i64) % CLASSES as i64);
    Examples::new(tensor(shape, index, 1.7), labels.collect(), CLASSES)
}

fn vector(layout: &Arc<Layout>, index: u64, scale: f64) -> Vector {
    let values = layout.initial_values(&mut stream(7, Purpose::ExplainerInit, index));
    Vector::from_values(layout.clone(), values, &Device::flex(), DType::F64).scale(scale)
}

/// All that an iteration is made of.
#[derive(Clone)]
struct Setting {
    parts: Vec<Part>,
    team: Team,
    at: Point,
    settings: Unrolling,
    trains: Option<Vector>,
}

impl Setting {
    fn iteration(&self) -> Iteration<'_> {
        Iteration {
            parts: &self.parts,
            team: &self.team,
            at: &self.at,
            trains: self.trains.as_ref(),
            settings: &self.settings,
        }
    }
}

/// A tiny explainer and audience, wide steps, and a share of δ clamped.
fn setting() -> Setting {
    let supernet = Supernet::new(&shape(1, 2));
    setting_of(Arc::new(supernet.unwrap()), SHAPE)
}

fn shape(partial: usize, channels: usize) -> SupernetShape {
    SupernetShape {
        channels,
        cells: 3,
        nodes: 1,
        classes: CLASSES,
        image_channels: SHAPE[1],
        partial,
        ..SupernetShape::default()
    }
}

/// The same with another explainer, on images of this shape.
fn setting_of(explainer: Arc<dyn Explainer>, shape: [usize; 4]) -> Setting {
    let models = Models {
        explainer,
        learner: None,
        audience: Audience::new(&ResNetShape {
            widths: vec![3, 4],
            blocks: vec![1, 1],
            classes: CLASSES,
            image_channels: shape[1],
            stem: Stem::Cifar,
        })
        .unwrap(),
    };
    let batch = |index| batch(shape, index);
    let tensor = |index, bound| tensor(shape, index, bound);
    let at = Point {
        explainer: vector(models.explainer.weights(), 1, 1.0),
        audience: vector(models.audience.weights(), 2, 1.0),
        architecture: vector(models.explainer.architecture(), 3, 300.0),
    };
    let batches = Batches {
        explainer_train: batch(1),
        audience_train: batch(2),
        explainer_val: batch(3),
        audience_val: batch(4),
    };
    let starts = Starts {
        train: tensor(5, 0.1),
        val: tensor(6, 0.1),
    };
    let step = UnrolledStep {
        learning_rate: 0.2,
        weight_decay: 1e-2,
    };
    let settings = Unrolling {
        method: Method::Lease,
        explainer: step,
        audience: step,
        attack: Attack {
            epsilon: vec![0.1; SHAPE[1]],
            step_size: 300.0,
            scale: AttackScale::Absolute,
            steps: 1,
            signed: false,
        },
        told: Told::default(),
        validate_reweighted: true,
        product: MixedProduct::Exact,
        gamma: Gamma::Absolute(30.0),
        norms: false,
    };
    let starts = Some(starts);
    Setting {
        parts: vec![Part {
            models,
            batches,
            starts,
            memo: None,
        }],
        team: Team::alone(1),
        at,
        settings,
        trains: None,
    }
}

impl Setting {
    /// f.
    fn explainer(&self) -> &Arc<dyn Explainer> {
        &self.parts[0].models.explainer
    }
}

#[test]
fn an_audience_validated_on_reweighted_images_is_differentiated_through_their_explanations() {
    differentiated_through_explanations(setting());
}

#[test]
fn an_audience_told_of_other_images_is_differentiated_too() {
    let mut setting = setting();
    setting.settings.told.explained = Explained::Shuffled;
    differentiated_through_explanations(setting);
}

/// Every image's step is measured against its own gradient, and each channel has its own bound.
#[test]
fn mixtures_of_every_kind_are_differentiated_through_all_stages() {
    let draw = Draw { seed: 3, step: 8 };
    for relaxation in [
        Relaxation::Sigmoid,
        Relaxation::DirichletMean,
        Relaxation::Dirichlet(draw),
    ] {
        let mut setting = setting();
        // These mixtures' gradients are larger.
        setting.settings.attack.step_size = 80.0;
        let mixing = Mixing {
            relaxation,
            auxiliary_skip: 0.4,
            shift: None,
        };
        let models = &mut setting.parts[0].models;
        models.explainer = models.explainer.with_mixing(mixing);
        differentiated_through_explanations(setting);
    }
}

#[test]
fn a_step_of_sharpness_aware_minimisation_goes_where_the_validation_loss_rises_most() {
    let setting = setting();
    let settings = PerturbationSettings {
        sam_radius: 0.03,
        ..PerturbationSettings::default()
    };
    let (from, part) = (&setting.at.architecture, &setting.parts[0]);
    let to = settings.sharpened(&setting.team, &setting.parts, &setting.at);
    let step = to.add_scaled(-1.0, from);
    assert!((step.norm() - 0.03).abs() < 1e-12, "{}", step.norm());
    let loss = |along: f64| {
        let at = from.add_scaled(along, &step);
        let of = stage1::loss(&**setting.explainer(), &part.batches.explainer_val);
        gradient(of, [&setting.at.explainer, &at], []).value
    };
    // As fast as the gradient is long, and so along it.
    let slope = (loss(1e-4) - loss(-1e-4)) / 2e-4 / 0.03;
    let first_order = setting.iteration().first_order_term(false);
    let norm = first_order.reach.architecture.norm();
    assert!((slope / norm - 1.0).abs() < 1e-6, "{slope} {norm}");
}

/// A supernet of NAS-Bench-201 for images that can be halved twice.
fn bench(partial: usize) -> Arc<dyn Explainer> {
    let network = nas_bench_201::Network::supernet(&nas_bench_201::Shape {
        channels: 2,
        cells: 1,
        classes: CLASSES,
        image: [EVEN[1], EVEN[2], EVEN[3]],
        partial,
        stem: Stem::Cifar,
    });
    Arc::new(network.unwrap())
}

#[test]
fn partial_channels_and_strengths_of_edges_are_differentiated_through_all_stages() {
    let darts = Supernet::new(&shape(2, 4)).unwrap();
    let both: [Arc<dyn Explainer>; 2] = [Arc::new(darts), bench(2)];
    for explainer in both {
        let edges = explainer.architecture().entries().last().unwrap();
        assert_eq!(edges.shape.len(), 1, "strengths of edges");
        differentiated_through_explanations(setting_of(explainer, EVEN));
    }
}

#[test]
fn what_e_learns_as_and_what_stays_frozen_are_differentiated_too() {
    let mut setting = setting();
    let explainer = setting.explainer().clone();
    let shift = vector(explainer.architecture(), 9, 30.0);
    setting.parts[0].models.learner = Some(explainer.with_mixing(Mixing {
        shift: Some(Arc::new(shift)),
        ..Mixing::default()
    }));
    let weights = &setting.at.explainer;
    let half = (0..weights.layout().len()).map(|i| f64::from(u8::from(i % 2 == 0)));
    setting.trains = Some(weights.with_values(half.collect()));
    differentiated_through_explanations(setting);
}

#[test]
fn a_relative_attack_is_differentiated_through_the_scale_of_its_step() {
    let mut setting = setting();
    let attack = &mut setting.settings.attack;
    (attack.scale, attack.step_size) = (AttackScale::Relative, 0.7);
    attack.epsilon = vec![0.1, 0.13];
    differentiated_through_explanations(setting);
}

/// The same networks on batches of twice as many images, in two parts.
fn in_two_parts() -> Setting {
    let mut setting = setting();
    let mut second = setting.parts[0].clone();
    second.batches = Batches {
        explainer_train: batch(SHAPE, 11),
        audience_train: batch(SHAPE, 12),
        explainer_val: batch(SHAPE, 13),
        audience_val: batch(SHAPE, 14),
    };
    second.starts = Some(Starts {
        train: tensor(SHAPE, 15, 0.1),
        val: tensor(SHAPE, 16, 0.1),
    });
    setting.parts.push(second);
    setting.team = Team::alone(2);
    setting
}

#[test]
fn batches_in_parts_are_differentiated_as_a_whole() {
    differentiated_through_explanations(in_two_parts());
}

/// The same in the precision that kernels compute in.
fn in_f32(mut setting: Setting) -> Setting {
    let single = |v: &Vector| v.with(v.flat().cast(DType::F32));
    let at = &setting.at;
    setting.at = Point {
        explainer: single(&at.explainer),
        audience: single(&at.audience),
        architecture: single(&at.architecture),
    };
    for part in &mut setting.parts {
        let batches = &mut part.batches;
        for batch in [
            &mut batches.explainer_train,
            &mut batches.audience_train,
            &mut batches.explainer_val,
            &mut batches.audience_val,
        ] {
            batch.images = batch.images.clone().cast(DType::F32);
            batch.one_hot = batch.one_hot.clone().cast(DType::F32);
        }
        if let Some(starts) = &mut part.starts {
            starts.train = starts.train.clone().cast(DType::F32);
            starts.val = starts.val.clone().cast(DType::F32);
        }
    }
    setting
}

#[test]
fn the_architecture_gradient_is_the_same_to_the_bit_where_earlier_passes_are_kept() {
    let darts = Supernet::new(&shape(2, 4)).unwrap();
    let settings = [
        in_two_parts(),
        setting_of(Arc::new(darts), EVEN),
        setting_of(bench(1), EVEN),
    ];
    for setting in settings {
        let mut setting = in_f32(setting);
        let mut gradient = |memo: Option<fn() -> Memo>| {
            for part in &mut setting.parts {
                part.memo = memo.map(|new| new());
            }
            let iteration = setting.iteration();
            let stages = iteration.stages();
            let audience = stages.audience.as_ref().unwrap();
            let memos = || {
                let attacks = audience.explanations.iter().map(|e| &e.memo);
                setting.parts.iter().map(|p| &p.memo).chain(attacks)
            };
            let filled = memos().all(|m| m.as_ref().is_some_and(|m| !m.is_empty()));
            assert_eq!(filled, memo.is_some(), "passes are kept");
            let explainer = iteration.explainer_term(&stages);
            let listener = iteration.audience_term(&stages, audience);
            assert!(listener.reach.explainer.norm() > 0.0, "it is heard");
            let total = iteration.architecture_gradient(&explainer, Some(&listener));
            assert!(memos().flatten().all(Memo::is_empty), "and used");
            (total.total.to_f64(), listener.reach.architecture.to_f64())
        };
        let anew = gradient(None);
        assert_eq!(anew, gradient(Some(Memo::default)));
    }
}

fn differentiated_through_explanations(setting: Setting) {
    let term = |setting: &Setting| {
        let iteration = setting.iteration();
        let stages = iteration.stages();
        let audience = stages.audience.as_ref().unwrap();
        let share = audience.explanations[0].share_at_epsilon;
        assert!(share > 0.1 && share < 0.9, "share at epsilon {share}");
        iteration.audience_term(&stages, audience)
    };
    let direction = vector(setting.explainer().architecture(), 9, 1000.0);
    let h = 1e-6;
    let shifted = |sign: f64| {
        let mut shifted = setting.clone();
        shifted.at.architecture = setting.at.architecture.add_scaled(sign * h, &direction);
        term(&shifted).loss
    };
    let numeric = (shifted(1.0) - shifted(-1.0)) / (2.0 * h);
    let gradient = setting.iteration().through_stage1(&term(&setting).reach);
    let exact = gradient.dot(&direction);
    assert!(exact.abs() > 1e-6, "{exact}");
    assert!(
        (exact - numeric).abs() < 1e-5 * exact.abs(),
        "{exact} {numeric}"
    );
}

#[test]
fn a_signed_attack_silences_the_audience() {
    let mut setting = setting();
    setting.settings.attack.signed = true;
    let iteration = setting.iteration();
    let stages = iteration.stages();
    let term = iteration.audience_term(&stages, stages.audience.as_ref().unwrap());
    assert_eq!(term.reach.explainer.norm(), 0.0);
    assert_eq!(term.reach.architecture.norm(), 0.0);
    assert!(term.adjoint_delta[0].norm() > 0.0);
}

#[test]
fn explanations_of_no_network_leave_the_audience_without_a_say() {
    for explained in [Explained::RandomSigns, Explained::Plain] {
        let mut setting = setting();
        setting.settings.told.explained = explained;
        let iteration = setting.iteration();
        let stages = iteration.stages();
        let audience = stages.audience.as_ref().unwrap();
        assert!(audience.gradient.norm() > 0.0, "the audience learns");
        let term = iteration.audience_term(&stages, audience);
        assert_eq!(term.reach.explainer.norm(), 0.0);
        assert_eq!(term.reach.architecture.norm(), 0.0);
    }
}

#[test]
fn terms_carried_apart_and_together_give_the_same_gradient() {
    let mut setting = setting();
    let stages = setting.iteration().stages();
    let explainer = setting.iteration().explainer_term(&stages);
    let audience = stages.audience.as_ref().unwrap();
    let audience = setting.iteration().audience_term(&stages, audience);
    let mut gradient = |gamma, norms| {
        (setting.settings.gamma, setting.settings.norms) = (gamma, norms);
        let iteration = setting.iteration();
        iteration.architecture_gradient(&explainer, Some(&audience))
    };
    let gamma = 30.0;
    let together = gradient(Gamma::Absolute(gamma), false);
    assert_eq!(together.norms, None);
    let apart = gradient(Gamma::Absolute(gamma), true);
    let [norm, audience_norm] = apart.norms.unwrap();
    let share = gamma * audience_norm / norm;
    assert!(share > 0.01, "the audience has a say: {share}");
    let relative = gradient(Gamma::Relative(share), false);
    for other in [apart, relative] {
        let difference = together.total.add_scaled(-1.0, &other.total).norm();
        assert!(difference < 1e-12 * together.total.norm(), "{difference}");
    }
}

/// The Hessian by central differences of the gradient, its dominant eigenvalue by many more iterations.
#[test]
fn the_dominant_eigenvalue_is_that_of_the_architectures_hessian() {
    let Setting { parts, at, .. } = setting();
    let Part {
        models, batches, ..
    } = &parts[0];
    let loss = stage1::loss(&*models.explainer, &batches.explainer_val);
    let start = vector(models.explainer.architecture(), 9, 1000.0);
    let hessian = |along: &Vector| {
        let point = [&at.explainer, &at.architecture];
        let [product] = MixedProduct::Exact.product(&loss, point, (1, along), [1]);
        product
    };
    let found = dominant_eigenvalue(hessian, &start, 500, 1e-12);
    let gradient_at = |a: &Vector| {
        let [g] = gradient(&loss, [&at.explainer, a], [1]).vectors;
        g
    };
    let h = 1e-5;
    let mut v = start;
    let mut eigenvalue = 0.0;
    for _ in 0..500 {
        v = v.scale(1.0 / v.norm());
        let plus = gradient_at(&at.architecture.add_scaled(h, &v));
        let minus = gradient_at(&at.architecture.add_scaled(-h, &v));
        let product = plus.add_scaled(-1.0, &minus).scale(0.5 / h);
        eigenvalue = v.dot(&product);
        v = product;
    }
    assert!(eigenvalue != 0.0);
    let error = (found - eigenvalue).abs() / eigenvalue.abs();
    assert!(error < 1e-5, "{found} {eigenvalue}");
}

#[test]
fn an_attack_from_zero_never_starts() {
    let mut setting = setting();
    let starts = setting.parts[0].starts.as_mut().unwrap();
    starts.train = starts.train.zeros_like();
    let stages = setting.iteration().stages();
    let largest = stages.audience.unwrap().explanations[0].delta.norm();
    assert!(largest < 1e-10, "{largest}");
}

#[test]
fn the_layers_agreement_is_differentiated_with_respect_to_the_weights() {
    let setting = in_two_parts();
    let f = &**setting.explainer();
    let (e, a) = (&setting.at.explainer, &setting.at.architecture);
    let parts = setting.parts.iter();
    let parts: Vec<_> = parts.map(|p| (f, &p.batches.explainer_train)).collect();
    let at = |e: &Vector, product| agreement(&setting.team, &parts, [e, a], product);
    let exact = at(e, MixedProduct::Exact);
    assert!(exact.value.abs() < 1.0, "the cosine of {}", exact.value);
    let direction = vector(f.weights(), 11, 1.0);
    let h = 1e-6;
    let side = |sign: f64| at(&e.add_scaled(sign * h, &direction), MixedProduct::Exact).value;
    let numeric = (side(1.0) - side(-1.0)) / (2.0 * h);
    let along = exact.gradient.dot(&direction);
    let error = (along - numeric).abs();
    assert!(error < 1e-5 * along.abs(), "{along} {numeric}");
}
