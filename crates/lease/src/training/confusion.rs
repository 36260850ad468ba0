//! Which classes are taken for which.

use serde::{Deserialize, Serialize};

use crate::collective::Team;

/// How many images of each class were taken for each: a row for each class, a column for each class that was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion(Vec<Vec<u64>>);

impl Confusion {
    /// None yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self(vec![vec![0; classes]; classes])
    }

    /// Counts an image of a class that was taken for one of class `predicted`.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn add(&mut self, class: usize, predicted: usize) {
        self.0[class][predicted] += 1;
    }

    /// Adds the counts of others of the same classes.
    pub fn add_all(&mut self, others: &Self) {
        for (row, other) in self.0.iter_mut().zip(&others.0) {
            row.iter_mut().zip(other).for_each(|(n, more)| *n += more);
        }
    }

    /// The counts of all processes, each of which has counted its share of the images.
    pub(super) fn joined(self, team: &Team) -> Self {
        if team.size() == 1 {
            return self;
        }
        let classes = self.0.len();
        let own: Vec<f64> = self.0.iter().flatten().map(|n| *n as f64).collect();
        // Sums of whole numbers are exact.
        let all = team.joined(own);
        let sum = |class: usize, predicted: usize| -> u64 {
            let counts = all.iter().skip(class * classes + predicted);
            counts.step_by(classes * classes).map(|n| *n as u64).sum()
        };
        let row = |class| {
            (0..classes)
                .map(|predicted| sum(class, predicted))
                .collect()
        };
        Self((0..classes).map(row).collect())
    }

    /// A row for each class.
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.0
    }

    /// The images of each class.
    pub fn images(&self) -> Vec<u64> {
        self.0.iter().map(|row| row.iter().sum()).collect()
    }

    /// The share of all images that were classified correctly; 0 of none.
    pub fn accuracy(&self) -> f64 {
        let all: u64 = self.images().iter().sum();
        let correct: u64 = (0..self.0.len()).map(|c| self.0[c][c]).sum();
        correct as f64 / all.max(1) as f64
    }

    /// The share of each class's images that were classified correctly (recall); none of a class without images.
    pub fn by_class(&self) -> Vec<Option<f64>> {
        let rows = self.0.iter().zip(self.images()).enumerate();
        rows.map(|(c, (row, images))| (images > 0).then(|| row[c] as f64 / images as f64))
            .collect()
    }

    /// The mean of [`Confusion::by_class`] over the classes that have images; 0 of none.
    pub fn balanced_accuracy(&self) -> f64 {
        let shares: Vec<f64> = self.by_class().into_iter().flatten().collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_weighs_classes_alike_and_passes_over_those_without_images() {
        let mut confusion = Confusion::new(3);
        for (class, predicted, images) in [(0, 0, 8), (0, 2, 2), (1, 1, 1), (1, 0, 1)] {
            for _ in 0..images {
                confusion.add(class, predicted);
            }
        }
        assert_eq!(confusion.by_class(), [Some(0.8), Some(0.5), None]);
        assert_eq!(confusion.accuracy(), 0.75);
        assert_eq!(confusion.balanced_accuracy(), 0.65);
    }
}
