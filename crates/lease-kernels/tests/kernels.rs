//! Kernels against plain loops, at sizes that networks small enough to be composed in a test don't reach.

use lease_kernels::combine::{Store, combine_into};
use lease_kernels::conv::{View, dense, dense_weights};
use lease_kernels::plane::{Rows, Size};
use lease_kernels::{Buffer, LANES, Lanes};

/// Numbers around 0 that look random.
fn numbers(n: usize, seed: usize) -> Buffer {
    let value = |i: usize| ((i + 31 * seed) * 7919 % 997) as f32 / 997.0 - 0.5;
    let mut numbers = Buffer::stale(n);
    for (i, lanes) in numbers.iter_mut().enumerate() {
        *lanes = std::array::from_fn(|l| value(i * LANES + l));
    }
    numbers
}

fn assert_close(found: f32, expected: f64, context: &str) {
    let error = (f64::from(found) - expected).abs();
    assert!(
        error < 1e-5 * (1.0 + expected.abs()),
        "{context}: {found} instead of {expected}"
    );
}

#[test]
fn sums_of_few_and_many_terms_are_right_over_planes_of_any_size_in_rows_or_whole() {
    let coefficients: Lanes = std::array::from_fn(|l| 0.3 * l as f32 - 1.0);
    for (h, w) in [(16, 16), (17, 19), (1, 1023), (40, 7), (5, 5)] {
        let size = Size { h, w };
        for rows in [Rows::whole(size.area()), Rows::padded(size, 2)] {
            for count in [0, 1, 2, 3, 7] {
                for store in [Store::Set, Store::Rectified, Store::Add] {
                    let planes: Vec<Buffer> = (0..count).map(|t| numbers(size.area(), t)).collect();
                    let terms: Vec<(Lanes, &[Lanes])> =
                        planes.iter().map(|p| (coefficients, &p[..])).collect();
                    let before = numbers(rows.plane, 9);
                    let mut out = Buffer::stale(rows.plane);
                    out.copy_from_slice(&before);
                    combine_into(&coefficients, &terms, (&mut out, rows), store);
                    let context = format!("{h}×{w}, {rows:?}, {count} terms, {store:?}");
                    let mut seen = 0;
                    for y in 0..rows.count {
                        for (x, at) in rows.row(y).enumerate() {
                            for l in 0..LANES {
                                let c = f64::from(coefficients[l]);
                                let each =
                                    planes.iter().map(|p| f64::from(p[y * rows.width + x][l]));
                                let sum = c + c * each.sum::<f64>();
                                let expected = match store {
                                    Store::Add => f64::from(before[at][l]) + sum,
                                    Store::Rectified => sum.max(0.0),
                                    _ => sum,
                                };
                                assert_close(out[at][l], expected, &context);
                            }
                            seen += 1;
                        }
                    }
                    assert_eq!(seen, size.area(), "{context}");
                    let outside = (0..rows.plane).filter(|at| out[*at] == before[*at]).count();
                    assert!(
                        outside >= rows.plane - size.area(),
                        "{context}: wrote beside its rows"
                    );
                }
            }
        }
    }
}

#[test]
fn dense_convolutions_and_their_weights_gradients_are_right_for_any_number_of_blocks_and_pixels() {
    for (inputs, outputs) in [(1, 1), (1, 2), (2, 3), (3, 4)] {
        for pixels in 1..30 {
            for add in [false, true] {
                let x = numbers(inputs * pixels, 1);
                let weights = numbers(outputs * inputs * LANES, 2);
                let before = numbers(outputs * pixels, 3);
                let mut out = Buffer::stale(before.len());
                out.copy_from_slice(&before);
                dense(
                    &mut [(&x, &mut out)],
                    &View::pointwise(pixels),
                    &weights,
                    add,
                );
                for b in 0..outputs {
                    for p in 0..pixels {
                        for l in 0..LANES {
                            let products = (0..inputs * LANES).map(|i| {
                                let w = weights[b * inputs * LANES + i][l];
                                f64::from(w) * f64::from(x[i / LANES * pixels + p][i % LANES])
                            });
                            let at = b * pixels + p;
                            let start = if add { f64::from(before[at][l]) } else { 0.0 };
                            let context = format!("{inputs} to {outputs} blocks, {pixels} pixels");
                            assert_close(out[at][l], start + products.sum::<f64>(), &context);
                        }
                    }
                }
                // The gradient of the weights, of two images with the results as adjoints.
                let mut gradient = Buffer::stale(weights.len());
                gradient.copy_from_slice(&weights);
                let images: [(&[Lanes], &[Lanes]); 2] = [(&x, &before), (&x, &out)];
                dense_weights(&images, &View::pointwise(pixels), &mut gradient);
                for row in 0..weights.len() {
                    let (b, i) = (row / (inputs * LANES), row % (inputs * LANES));
                    for l in 0..LANES {
                        let products = (0..pixels).map(|p| {
                            let g = [&before, &out].map(|g| f64::from(g[b * pixels + p][l]));
                            f64::from(x[i / LANES * pixels + p][i % LANES]) * (g[0] + g[1])
                        });
                        let expected = f64::from(weights[row][l]) + products.sum::<f64>();
                        let context = format!("weight {row} of {inputs} to {outputs} blocks");
                        assert_close(gradient[row][l], expected, &context);
                    }
                }
            }
        }
    }
}
