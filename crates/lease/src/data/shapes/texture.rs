//! Backgrounds: smooth noise of several sizes, in bands, patches or clouds of two colours.

use rand_chacha::ChaCha8Rng;

use super::form::turn;
use crate::rng::{below, unit};

/// A colour at random: hue, saturation and brightness apart.
pub(super) fn colour(rng: &mut ChaCha8Rng) -> [f64; 3] {
    let hue = 6.0 * unit(rng);
    let (saturation, value) = (0.15 + 0.75 * unit(rng), 0.15 + 0.85 * unit(rng));
    [0.0, 2.0, 4.0].map(|middle: f64| {
        let far = (hue - middle).abs();
        let far = far.min(6.0 - far);
        let pure = (2.0 - far).clamp(0.0, 1.0);
        value * (1.0 - saturation + saturation * pure)
    })
}

/// How light a colour looks.
pub(super) fn lightness(colour: [f64; 3]) -> f64 {
    0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
}

/// Colours that differ this much in lightness are told apart easily.
const CONTRAST: f64 = 0.28;

/// A colour at random that stands out from one of a given lightness.
pub(super) fn standing_out(from: f64, rng: &mut ChaCha8Rng) -> [f64; 3] {
    loop {
        let colour = colour(rng);
        if (lightness(colour) - from).abs() >= CONTRAST {
            return colour;
        }
    }
}

/// A second colour for a pattern on a first one: of its hue, clearly lighter or darker.
pub(super) fn beside(colour: [f64; 3]) -> [f64; 3] {
    match lightness(colour) > 0.5 {
        true => colour.map(|c| 0.35 * c),
        false => colour.map(|c| 0.35 * c + 0.65),
    }
}

/// A background `[3, side, side]` in units of white = 1, and its mean lightness.
pub(super) fn background(side: usize, rng: &mut ChaCha8Rng) -> (Vec<f64>, f64) {
    let colours = [colour(rng), colour(rng)];
    let kind = below(rng, 3);
    let height = noise(side, rng);
    let [direction, bands] = [turn(rng), [3.0 + 7.0 * unit(rng), 0.5 + unit(rng)]];
    let area = side * side;
    let mut pixels = vec![0.0; 3 * area];
    let mut light = 0.0;
    for at in 0..area {
        let [x, y] = [at % side, at / side].map(|v| v as f64 / side as f64);
        let share = match kind {
            // Clouds.
            0 => height[at],
            // Bands, bent by the noise.
            1 => {
                let across = x * direction[0] + y * direction[1];
                let phase = bands[0] * across + 2.0 * bands[1] * height[at];
                smooth(2.0 * (phase - phase.floor() - 0.5).abs())
            }
            // Patches with soft borders.
            _ => smooth((5.0 * (height[at] - 0.5) + 0.5).clamp(0.0, 1.0)),
        };
        let mixed = [0, 1, 2].map(|c| colours[0][c] * (1.0 - share) + colours[1][c] * share);
        for (channel, value) in mixed.into_iter().enumerate() {
            pixels[channel * area + at] = value;
        }
        light += lightness(mixed);
    }
    (pixels, light / area as f64)
}

fn smooth(x: f64) -> f64 {
    x * x * (3.0 - 2.0 * x)
}

/// Noise from 0 to 1: values on grids of several sizes, smoothly between them, the finer the weaker.
fn noise(side: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut sum = vec![0.0; side * side];
    let fade = 0.45 + 0.35 * unit(rng);
    let (mut weight, mut all, mut cells) = (1.0, 0.0, 3);
    while cells <= side / 2 && cells <= 64 {
        let wide = cells + 1;
        let grid: Vec<f64> = (0..wide * wide).map(|_| unit(rng)).collect();
        let place = |pixel: usize| {
            let at = (pixel as f64 + 0.5) * cells as f64 / side as f64;
            (at as usize, smooth(at - at.floor()))
        };
        let across: Vec<(usize, f64)> = (0..side).map(place).collect();
        for (y, (row, down)) in across.iter().enumerate() {
            let [above, below] = [row * wide, (row + 1) * wide].map(|start| &grid[start..][..wide]);
            let to = &mut sum[y * side..][..side];
            for (value, (column, right)) in to.iter_mut().zip(&across) {
                let [top, bottom] = [above, below]
                    .map(|line| line[*column] * (1.0 - right) + line[column + 1] * right);
                *value += weight * (top * (1.0 - down) + bottom * down);
            }
        }
        all += weight;
        weight *= fade;
        cells *= 2;
    }
    sum.iter_mut().for_each(|value| *value /= all);
    sum
}
