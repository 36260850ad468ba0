//! Where an architecture that was found stands among random ones of the same space.

use crate::statistics::share_variance;
use crate::training::TrainResult;

/// An architecture beside random ones, all trained alike and tested on the same images. Accuracies are shares, not percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// The mean test accuracy of the random ones.
    pub mean: f64,
    /// That of the one found less this mean.
    pub difference: f64,
    /// The standard error of the difference that comes from the number of test images alone, as if each network had been
    /// tested on images of its own.
    pub error: f64,
    /// Architectures that are better than the one found.
    pub better: usize,
    /// Random ones that are exactly as good.
    pub equal: usize,
    /// All architectures, the one found among them.
    pub of: usize,
}

impl Beside {
    /// What was found beside these; nothing without a random one.
    pub fn of(found: &TrainResult, random: &[TrainResult]) -> Option<Self> {
        if random.is_empty() {
            return None;
        }
        let accuracy = found.test_accuracy;
        let count = random.len() as f64;
        let mean = random.iter().map(|r| r.test_accuracy).sum::<f64>() / count;
        let variance = |r: &TrainResult| share_variance(r.test_accuracy, r.test_images);
        let of_mean = random.iter().map(variance).sum::<f64>() / (count * count);
        Some(Self {
            mean,
            difference: accuracy - mean,
            error: (variance(found) + of_mean).sqrt(),
            better: random.iter().filter(|r| r.test_accuracy > accuracy).count(),
            equal: random
                .iter()
                .filter(|r| r.test_accuracy == accuracy)
                .count(),
            of: 1 + random.len(),
        })
    }

    /// In words, which place the one found has.
    pub fn place(&self) -> String {
        let shared = match self.equal {
            0 => String::new(),
            n => format!(", shared with {n}"),
        };
        format!("place {} of {}{shared}", self.better + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(correct: f64) -> TrainResult {
        TrainResult {
            genotype: String::new(),
            parameters: 1,
            multiply_adds: 0,
            epochs: 1,
            seed: 0,
            test_images: 100,
            test_accuracy: correct / 100.0,
            ..TrainResult::default()
        }
    }

    #[test]
    fn what_was_found_is_placed_among_random_ones() {
        let random = [90.0, 80.0, 88.0].map(result);
        let beside = Beside::of(&result(88.0), &random).unwrap();
        assert!((beside.mean - 0.86).abs() < 1e-12 && (beside.difference - 0.02).abs() < 1e-12);
        let variance = [0.88, 0.90, 0.80, 0.88].map(|p| p * (1.0 - p) / 100.0);
        let error = variance[0] + variance[1..].iter().sum::<f64>() / 9.0;
        assert!((beside.error - error.sqrt()).abs() < 1e-12);
        assert_eq!(beside.place(), "place 2 of 4, shared with 1");
        assert_eq!(
            Beside::of(&result(99.0), &random).unwrap().place(),
            "place 1 of 4"
        );
        assert_eq!(Beside::of(&result(99.0), &[]), None);
        // Where all answers are right, others could still have been wrong.
        let perfect = Beside::of(&result(100.0), &[result(100.0)]).unwrap();
        assert!(0.01 < perfect.error && perfect.error < 0.02, "{perfect:?}");
    }
}
