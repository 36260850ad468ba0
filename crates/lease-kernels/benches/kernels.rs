//! `cargo bench`: the throughput of every kernel on one thread, on one image at the sizes of a CIFAR network, and
//! its share of what this processor's vectors reach at most (multiply-adds on registers alone).
//!
//! A plain harness, since the share needs all figures in one place: medians of 15 samples of at least 5 ms.

use std::hint::black_box;
use std::time::Instant;

use lease_kernels::combine::{Store, combine};
use lease_kernels::conv::{Kernel, View, dense, dense_weights, depthwise, depthwise_taps};
use lease_kernels::norm::{Centred, image_sums, plane_sums};
use lease_kernels::plane::Size;
use lease_kernels::window::{Places, Window, add_to_maxima, avg_pool, avg_pool_backward, max_pool};
use lease_kernels::{Buffer, LANES, Lanes, peak};

/// Seconds of one call.
fn time(mut work: impl FnMut()) -> f64 {
    let mut calls = 1;
    let sample = |calls: u32, work: &mut dyn FnMut()| {
        let started = Instant::now();
        for _ in 0..calls {
            work();
        }
        started.elapsed().as_secs_f64()
    };
    while sample(calls, &mut work) < 5e-3 {
        calls *= 2;
    }
    let mut samples: Vec<f64> = (0..15)
        .map(|_| sample(calls, &mut work) / f64::from(calls))
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[7]
}

fn numbers(n: usize) -> Buffer {
    let value = |i: usize| (i * 7919 % 997) as f32 / 997.0 - 0.5;
    let mut numbers = Buffer::stale(n);
    for (i, lanes) in numbers.iter_mut().enumerate() {
        *lanes = std::array::from_fn(|l| value(i * LANES + l));
    }
    numbers
}

fn main() {
    // Fewer operations than this would not be seen by the clock.
    let n = 1 << 20;
    let mut operations = 0;
    let seconds = time(|| operations = peak(black_box(n)));
    let top = operations as f64 / seconds / 1e9;
    println!("multiply-adds on registers, one thread: {top:.1} GFLOP/s\n");
    println!(
        "{:<34} {:>12} {:>9} {:>7} {:>8}",
        "kernel", "planes", "GFLOP/s", "share", "GB/s"
    );
    for (channels, side) in [(16, 32), (32, 16), (64, 8)] {
        let size = Size { h: side, w: side };
        let (blocks, area) = (channels / LANES, side * side);
        let x = numbers(blocks * size.padded(4).area());
        let g = numbers(blocks * area);
        let mut out = numbers(blocks * area);
        // `flops` for each number of a plane, and planes read or written.
        let report = |name: &str, flops: usize, planes: usize, seconds: f64| {
            let n = (channels * area) as f64;
            let rate = n * flops as f64 / seconds / 1e9;
            println!(
                "{name:<34} {:>12} {rate:>9.1} {:>6.0}% {:>8.1}",
                format!("{channels}×{side}×{side}"),
                100.0 * rate / top,
                4.0 * n * planes as f64 / seconds / 1e9,
            );
        };
        for (k, dilation) in [(3, 1), (5, 1), (3, 2), (5, 2)] {
            let kernel = Kernel {
                size: k,
                dilation,
                stride: 1,
            };
            let pad = kernel.pad();
            let outer = size.padded(pad).area();
            let mut taps = numbers(kernel.taps());
            let flops = 2 * kernel.taps();
            let name = format!("depthwise {k}×{k}, dilation {dilation}");
            let forward = time(|| {
                for b in 0..blocks {
                    let (x, out) = (&x[b * outer..][..outer], &mut out[b * area..][..area]);
                    depthwise(kernel, x, (size, pad), &taps, out, false);
                }
            });
            report(&name, flops, 2, forward);
            let backward = time(|| {
                for b in 0..blocks {
                    let (x, g) = (&x[b * outer..][..outer], &g[b * area..][..area]);
                    depthwise_taps(kernel, x, (size, pad), (g, 0), &mut taps);
                }
            });
            report(&format!("{name}: of taps"), flops, 2, backward);
        }
        for k in [1, 3] {
            let kernel = Kernel::new(k, 1);
            let view = match k {
                1 => View::pointwise(area),
                _ => View::padded(kernel, size, kernel.pad()),
            };
            let mut weights = numbers(blocks * kernel.taps() * channels);
            let flops = 2 * kernel.taps() * channels;
            let x = &x[..blocks * size.padded(kernel.pad()).area()];
            let forward = time(|| dense(&mut [(x, &mut out)], &view, &weights, false));
            report(&format!("dense {k}×{k}"), flops, 2, forward);
            let backward = time(|| dense_weights(&[(x, &g)], &view, &mut weights));
            report(&format!("dense {k}×{k}: of weights"), flops, 2, backward);
        }
        let planes = |b: usize| &g[b * area..][..area];
        let sums = time(|| {
            for b in 0..blocks {
                black_box(image_sums(planes(b), None));
            }
        });
        report("batch norm: sums", 4, 1, sums);
        let mut own = Vec::new();
        let adjoint = time(|| {
            for b in 0..blocks {
                let z = Centred {
                    z: &x[b * area..][..area],
                    tangent: None,
                    centre: [&[0.1; LANES], &[0.0; LANES]],
                };
                plane_sums(planes(b), None, &[z], black_box(&mut own));
            }
        });
        report("batch norm: sums of an adjoint", 4, 2, adjoint);
        let terms: [Buffer; 7] = std::array::from_fn(|_| numbers(blocks * area));
        for (name, n) in [("sum of two terms", 2), ("sum of seven terms", 7)] {
            let seconds = time(|| {
                for b in 0..blocks {
                    let range = b * area..(b + 1) * area;
                    let of: Vec<(Lanes, &[Lanes])> = terms[..n]
                        .iter()
                        .map(|t| ([0.3; LANES], &t[range.clone()]))
                        .collect();
                    combine(&[0.1; LANES], &of, &mut out[range], Store::Set);
                }
            });
            report(name, 2 * n, n + 1, seconds);
        }
        let mut places: Vec<Places> = vec![[0; LANES]; area];
        let seconds = time(|| {
            for b in 0..blocks {
                let out = &mut out[b * area..][..area];
                max_pool(planes(b), size, Window::three(1), out, &mut places);
            }
        });
        report("max-pool", 9, 2, seconds);
        let window = Window::three(1);
        let seconds = time(|| {
            for b in 0..blocks {
                let out = &mut out[b * area..][..area];
                add_to_maxima(planes(b), size, window, &places, out);
            }
        });
        report("max-pool: back", 9, 2, seconds);
        let seconds = time(|| {
            for b in 0..blocks {
                avg_pool(
                    planes(b),
                    size,
                    Window::three(1),
                    &mut out[b * area..][..area],
                );
            }
        });
        report("mean-pool", 9, 2, seconds);
        let seconds = time(|| {
            for b in 0..blocks {
                avg_pool_backward(planes(b), size, window, &mut out[b * area..][..area]);
            }
        });
        report("mean-pool: back", 9, 2, seconds);
    }
}
