//! The kernels for GPUs, on the first that there is: it may be Mesa's software (Debian and Ubuntu: apt install mesa-vulkan-drivers).

use super::*;

/// f32, by sums of another order, and roots and quotients that GPUs may round by some units in the last place: an error that a wrong
/// formula would not leave.
const TOLERANCE: f64 = 1e-4;

fn gpu() -> (Device, DType) {
    (lease::device::device("gpu").unwrap(), DType::F32)
}

fn agrees(ours: &Quantities, oracle: &Quantities, what: &str) {
    let errors = errors(ours, oracle);
    for (name, error) in &errors {
        assert!(
            *error < TOLERANCE,
            "{what}, {name}: {error:.1e}\n{errors:?}"
        );
    }
}

fn darts(shape: SupernetShape, [height, width]: [usize; 2]) -> Setting {
    Setting {
        shape: SupernetShape {
            classes: 3,
            image_channels: 2,
            ..shape
        },
        image: [4, 2, height, width],
        seed: 4,
        constant: false,
    }
}

/// All operations, strides, dual numbers; partial channels on edges; sizes that don't halve.
#[test]
fn supernets_of_darts_are_right() {
    let small = SupernetShape {
        channels: 4,
        cells: 3,
        nodes: 2,
        ..SupernetShape::default()
    };
    let partial = SupernetShape {
        channels: 8,
        cells: 1,
        partial: 2,
        ..small.clone()
    };
    for (shape, size) in [(small, [9, 7]), (partial, [6, 6])] {
        let setting = darts(shape, size);
        let net = Supernet::new(&setting.shape).unwrap();
        let (device, dtype) = gpu();
        let ours = quantities_on(&net, &setting, (&device, dtype));
        let oracle = compute(&setting, Kernels::Composed, DType::F64);
        agrees(&ours, &oracle, &format!("{size:?}"));
    }
}

/// Noise as an operation, and skip-connects that are dropped image by image.
#[test]
fn noise_and_dropped_paths_are_right() {
    let (device, dtype) = gpu();
    let candidates = vec![vec![SKIP, Operation::SepConv3x3, Operation::Noise]; 5];
    let setting = darts(
        SupernetShape {
            channels: 4,
            cells: 1,
            nodes: 2,
            candidates: Some(Candidates {
                cells: [candidates.clone(), candidates],
            }),
            max_skip_connects: Some(2),
            ..SupernetShape::default()
        },
        [6, 5],
    );
    let noise = |kernels, on: (&Device, DType)| {
        let net = Supernet::new(&setting.shape).unwrap().with_kernels(kernels);
        let noisy = net.noisy(Draw { seed: 1, step: 7 }).unwrap();
        quantities_on(&*noisy, &setting, on)
    };
    let dropping = |kernels, on: (&Device, DType)| {
        let net = Supernet::new(&setting.shape).unwrap().with_kernels(kernels);
        let dropout = SkipDropout {
            probability: 0.4,
            seed: 1,
            step: 7,
        };
        quantities_on(&*net.dropping(dropout).unwrap(), &setting, on)
    };
    let cpu = Device::flex();
    let oracle = noise(Kernels::Composed, (&cpu, DType::F64));
    agrees(&noise(Kernels::Fast, (&device, dtype)), &oracle, "noise");
    let oracle = dropping(Kernels::Composed, (&cpu, DType::F64));
    let ours = dropping(Kernels::Fast, (&device, dtype));
    agrees(&ours, &oracle, "dropped paths");
}

#[test]
fn a_supernet_of_nas_bench_201_is_right() {
    let shape = nas_bench_201::Shape {
        channels: 5,
        cells: 1,
        classes: 3,
        image: [2, 8, 8],
        partial: 1,
        stem: Stem::Cifar,
    };
    let setting = darts(SupernetShape::default(), [8, 8]);
    let of = |kernels, on: (&Device, DType)| {
        let net = nas_bench_201::Network::supernet(&shape).unwrap();
        quantities_on(&net.with_kernels(kernels), &setting, on)
    };
    let oracle = of(Kernels::Composed, (&Device::flex(), DType::F64));
    let (device, dtype) = gpu();
    agrees(
        &of(Kernels::Fast, (&device, dtype)),
        &oracle,
        "NAS-Bench-201",
    );
}

#[test]
fn a_residual_network_is_right() {
    let shape = ResNetShape {
        widths: vec![5, 18],
        blocks: vec![1, 1],
        classes: 3,
        image_channels: 2,
        stem: Stem::Cifar,
    };
    let image = [6, 2, 9, 12];
    let cpu = (Device::flex(), DType::F64);
    let oracle = listen_on(&shape, image, 3, Kernels::Composed, cpu);
    let ours = listen_on(&shape, image, 3, Kernels::Fast, gpu());
    agrees(&ours, &oracle, "residual network");
}
