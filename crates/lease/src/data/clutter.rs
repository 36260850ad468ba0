//! Cluttered digits: one whole digit among fragments of others on a black canvas. Which pixels matter is known.

use rand_chacha::ChaCha8Rng;

use super::{DataError, Images, Loaded, digits};
use crate::config::{ConfigError, Rule, section};
use crate::rng::{Purpose, below, stream};

/// Side of a digit in pixels.
const DIGIT: usize = 8;

/// Side of a fragment in pixels.
const FRAGMENT: usize = 4;

/// The smallest canvas on which a fragment has a place beside the digit wherever that is.
const LEAST_WITH_FRAGMENTS: usize = DIGIT + 2 * FRAGMENT + 1;

section! {
    /// Cluttered digits: how they are drawn.
    ClutterSettings, "clutter", "clutter" {
        /// Side of the canvas in pixels.
        side: usize = 20 => Rule::whole(8, 128);
        /// Fragments of other digits, 4×4 pixels each, that are drawn beside the whole one.
        fragments: usize = 8 => Rule::whole(0, 1_000);
        /// What canvases are drawn from. The seed of a run does not change the images.
        seed: u64 = 7;
    }
}

impl ClutterSettings {
    /// What is wrong with these settings together.
    pub fn problems(&self) -> Vec<ConfigError> {
        if self.fragments > 0 && self.side < LEAST_WITH_FRAGMENTS {
            let reason = format!(
                "beside a digit in the middle there is no place for a fragment that does not touch it; use at least \
                 {LEAST_WITH_FRAGMENTS} pixels, or --clutter-fragments 0"
            );
            return vec![Self::setting("side").range(self.side, reason)];
        }
        Vec::new()
    }
}

/// The 1,797 digits, each whole on a canvas of its own; every fifth of each class is a test image, whose fragments are of
/// test digits.
pub(super) fn load(settings: &ClutterSettings) -> Result<Loaded, DataError> {
    let (_, classes, train, test) = digits::load()?;
    let [train, test] = cluttered([&train, &test], settings);
    Ok(("cluttered-digits", classes, train, test))
}

/// The parts with clutter, each made of its own digits alone.
fn cluttered(parts: [&Images; 2], settings: &ClutterSettings) -> [Images; 2] {
    let mut number = 0;
    parts.map(|digits| {
        let shape = [1, settings.side, settings.side];
        let mut images = Images::none(shape, digits.white);
        let mut masks = Vec::new();
        for digit in 0..digits.len() {
            let mut rng = stream(settings.seed, Purpose::Clutter, number);
            number += 1;
            let (pixels, mask) = canvas(digits, digit, settings, &mut rng);
            images.add(&pixels, digits.labels[digit]);
            masks.extend(mask);
        }
        images.masks = Some(masks);
        images
    })
}

/// One image, and which of its pixels are the whole digit's: those of its box of 8×8.
fn canvas(
    digits: &Images,
    digit: usize,
    settings: &ClutterSettings,
    rng: &mut ChaCha8Rng,
) -> (Vec<u8>, Vec<bool>) {
    let side = settings.side;
    let (mut pixels, mut mask) = (vec![0u8; side * side], vec![false; side * side]);
    let corner = [0, 1].map(|_| below(rng, side - DIGIT + 1));
    copy(digits, (digit, [0, 0], DIGIT), &mut pixels, side, corner);
    for row in mask.chunks_exact_mut(side).skip(corner[0]).take(DIGIT) {
        row[corner[1]..][..DIGIT].fill(true);
    }
    let places = places(side, corner);
    for _ in 0..settings.fragments {
        // Any digit but the image's own.
        let other = (digit + 1 + below(rng, digits.len() - 1)) % digits.len();
        let from = [0, 1].map(|_| below(rng, DIGIT - FRAGMENT + 1));
        let to = places[below(rng, places.len())];
        copy(digits, (other, from, FRAGMENT), &mut pixels, side, to);
    }
    (pixels, mask)
}

/// The corners of all fragments that a black row or column parts from the digit at `corner`.
fn places(side: usize, corner: [usize; 2]) -> Vec<[usize; 2]> {
    let apart = |at: usize, digit: usize| at + FRAGMENT < digit || at > digit + DIGIT;
    let along = 0..=side - FRAGMENT;
    along
        .clone()
        .flat_map(|row| along.clone().map(move |column| [row, column]))
        .filter(|[row, column]| apart(*row, corner[0]) || apart(*column, corner[1]))
        .collect()
}

/// Draws a square of a digit; where something is there already the lighter stays.
fn copy(
    digits: &Images,
    (digit, [top, left], size): (usize, [usize; 2], usize),
    pixels: &mut [u8],
    side: usize,
    [row, column]: [usize; 2],
) {
    let from = digits.image(digit);
    for y in 0..size {
        for x in 0..size {
            let to = &mut pixels[(row + y) * side + column + x];
            *to = (*to).max(from[(top + y) * DIGIT + left + x]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Augmentation, DataConfig, DataSettings, Dataset, DatasetKind};

    fn dataset(side: usize, fragments: usize, seed: u64) -> Dataset {
        let images = DataSettings {
            dataset: DatasetKind::ClutteredDigits,
            limit: 200,
            ..DataSettings::default()
        };
        let clutter = ClutterSettings {
            side,
            fragments,
            seed,
        };
        let config = DataConfig {
            images,
            clutter,
            ..DataConfig::default()
        };
        Dataset::load(&config).unwrap()
    }

    #[test]
    fn the_same_seed_draws_the_same_images_for_ever() {
        let digest = |seed| dataset(24, 8, seed).whole_digest();
        assert_eq!(
            digest(7),
            "82d38eb11bcdfa8d428ee4581febe7c6f88ef4ab21c726079232d043be10846b"
        );
        assert_ne!(digest(7), digest(8));
    }

    #[test]
    fn fragments_of_test_images_are_of_test_digits_and_those_of_training_images_of_training_digits()
    {
        let of = |ink: u8| Images::new([1, 8, 8], 16, vec![ink; 64 * 20], vec![0; 20]);
        let settings = ClutterSettings::default();
        let parts = cluttered([&of(1), &of(2)], &settings);
        for (images, ink) in parts.iter().zip([1, 2]) {
            assert!(images.iter().flatten().all(|p| [0, ink].contains(p)));
            let drawn = images.iter().flatten().filter(|p| **p == ink).count();
            assert!(drawn > 20 * (64 + 16));
        }
    }

    #[test]
    fn a_mask_is_the_box_of_the_whole_digit_which_no_fragment_touches() {
        let (_, _, digits, _) = digits::load().unwrap();
        for side in [17, 24] {
            let data = dataset(side, 8, 7);
            assert_eq!(data.train.len(), 200);
            let drawn = crate::data::parts::limited(&digits.labels, 10, 200);
            for (image, pixels) in data.train.iter().enumerate() {
                let mask = data.train.relevant(image).unwrap();
                let inside = pixels.iter().zip(mask).filter(|(_, matters)| **matters);
                assert!(
                    inside
                        .map(|(pixel, _)| pixel)
                        .eq(digits.image(drawn[image] as usize))
                );
                // Around the box all is black.
                let at = |y: usize, x: usize| mask[y * side + x];
                for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                    let rows = y.saturating_sub(1)..(y + 2).min(side);
                    let near = rows
                        .flat_map(|y| (x.saturating_sub(1)..(x + 2).min(side)).map(move |x| (y, x)))
                        .any(|(y, x)| at(y, x));
                    assert!(!near || at(y, x) || pixels[y * side + x] == 0);
                }
            }
        }
    }

    #[test]
    fn masks_go_with_their_images() {
        let data = dataset(24, 8, 7);
        let part = data.validating(&[5, 3], &[4]);
        assert_eq!(part.train.relevant(1), data.train.relevant(3));
        assert_eq!(part.test().relevant(0), data.train.relevant(4));
        let (those, others) = data.train.split(&[0, 2]);
        assert_eq!(others.relevant(0), data.train.relevant(1));
        assert_eq!(those.relevant(1), data.train.relevant(2));
        // A shifted and mirrored image has a mask that is shifted and mirrored: without fragments no ink is outside.
        let alone = dataset(24, 0, 7);
        let vary = Augmentation {
            shift: 3,
            flip: true,
            cutout: 0,
            photo: None,
        };
        let mut rng = stream(1, Purpose::AugmentAudience, 0);
        let with = Some((&vary, &mut rng));
        let batch = alone.train.batch(&[0, 1, 2, 3], &alone.normalisation, with);
        let black = batch.values.iter().copied().fold(f32::INFINITY, f32::min);
        let masks = batch.masks.unwrap();
        assert!(masks.iter().filter(|matters| **matters).count() > 3 * 64);
        for (value, matters) in batch.values.iter().zip(masks) {
            assert!(matters || *value == black);
        }
    }
}
