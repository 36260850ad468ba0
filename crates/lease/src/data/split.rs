//! Which images train and which validate, and in what order they come.

use crate::rng::{Purpose, permutation, stream};

use super::{DataError, parts};

/// How training images are shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Explainer and audience share one training and one validation part.
    #[default]
    Shared,
    /// Four disjoint sets.
    Disjoint,
}

/// The four parts of the training images, as indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// D_e^tr.
    pub explainer_train: Vec<u32>,
    /// D_a^tr.
    pub audience_train: Vec<u32>,
    /// D_e^val.
    pub explainer_val: Vec<u32>,
    /// D_a^val.
    pub audience_val: Vec<u32>,
}

impl Partition {
    /// Shares out images with these labels at random, class by class: a share for training, the rest for validation; each of the
    /// two whole for both networks, or halved between them. A class of too few images is missing in some parts.
    pub fn new(
        labels: &[u16],
        classes: usize,
        split: Split,
        training_share: f64,
        seed: u64,
    ) -> Self {
        let order = permutation(&mut stream(seed, Purpose::Split, 0), labels.len());
        let draw = |part: &[u32], wanted| {
            parts::drawn(part, |image| labels[image as usize], classes, wanted)
        };
        let (train, val) = draw(&order, trained(labels.len(), training_share));
        let halves = |part: Vec<u32>| match split {
            Split::Shared => (part.clone(), part),
            Split::Disjoint => draw(&part, part.len() / 2),
        };
        let ((explainer_train, audience_train), (explainer_val, audience_val)) =
            (halves(train), halves(val));
        Self {
            explainer_train,
            audience_train,
            explainer_val,
            audience_val,
        }
    }

    /// How many images each part has, of so many in all, in the order of the fields.
    pub fn sizes(images: usize, split: Split, training_share: f64) -> [usize; 4] {
        let train = trained(images, training_share);
        let halves = |part: usize| match split {
            Split::Shared => [part, part],
            Split::Disjoint => [part / 2, part - part / 2],
        };
        let ([a, b], [c, d]) = (halves(train), halves(images - train));
        [a, b, c, d]
    }

    /// What the parts are called, in the order of the fields.
    pub const NAMES: [&'static str; 4] = [
        "the explainer's training part",
        "the audience's training part",
        "the explainer's validation part",
        "the audience's validation part",
    ];

    /// The parts by what they are called.
    pub fn named(&self) -> [(&'static str, &[u32]); 4] {
        let [a, b, c, d] = Self::NAMES;
        [
            (a, &self.explainer_train),
            (b, &self.audience_train),
            (c, &self.explainer_val),
            (d, &self.audience_val),
        ]
    }
}

/// The training images among so many.
fn trained(images: usize, share: f64) -> usize {
    (images as f64 * share).round() as usize
}

/// An endless sequence of batches: one random order after another, the incomplete batch at the end of each
/// left out. The batch of a step depends on nothing but the step.
#[derive(Clone, Debug)]
pub struct BatchOrder {
    indices: Vec<u32>,
    batch: usize,
    seed: u64,
    purpose: Purpose,
    epoch: Option<(u64, Vec<u32>)>,
}

impl BatchOrder {
    /// The order of a part for a purpose.
    ///
    /// # Errors
    /// If the part is smaller than a batch.
    pub fn new(
        part: &'static str,
        indices: Vec<u32>,
        batch: usize,
        seed: u64,
        purpose: Purpose,
    ) -> Result<Self, DataError> {
        if indices.len() < batch {
            return Err(DataError::TooFew {
                part,
                images: indices.len(),
                batch,
            });
        }
        Ok(Self {
            indices,
            batch,
            seed,
            purpose,
            epoch: None,
        })
    }

    /// Batches until every image has come once.
    pub fn batches_per_epoch(&self) -> u64 {
        (self.indices.len() / self.batch) as u64
    }

    /// The images of the part.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The images of a step.
    pub fn at(&mut self, step: u64) -> &[u32] {
        let (epoch, position) = (
            step / self.batches_per_epoch(),
            (step % self.batches_per_epoch()) as usize,
        );
        let current = match self.epoch.take() {
            Some(current) if current.0 == epoch => current,
            _ => {
                let mut rng = stream(self.seed, self.purpose, epoch);
                let order = permutation(&mut rng, self.indices.len());
                let shuffled = order.into_iter().map(|i| self.indices[i as usize]);
                (epoch, shuffled.collect())
            }
        };
        let (_, order) = self.epoch.insert(current);
        &order[position * self.batch..(position + 1) * self.batch]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_parts_use_each_image_once_and_shared_ones_two_halves_class_by_class() {
        let labels: Vec<u16> = (0..103).map(|i| u16::from(i >= 95)).collect();
        let new = |split| Partition::new(&labels, 2, split, 0.5, 3);
        let p = new(Split::Disjoint);
        let parts = p.named().map(|(_, part)| part.to_vec());
        assert_eq!(
            parts.each_ref().map(Vec::len),
            Partition::sizes(103, Split::Disjoint, 0.5)
        );
        for part in &parts {
            let rare = part.iter().filter(|i| labels[**i as usize] == 1).count();
            assert_eq!(rare, 2);
        }
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..103).collect::<Vec<_>>());
        let p = new(Split::Shared);
        assert_eq!(p.explainer_train, p.audience_train);
        assert!(
            p.explainer_val
                .iter()
                .all(|i| !p.explainer_train.contains(i))
        );
    }

    #[test]
    fn an_epoch_covers_the_part_and_any_step_can_be_asked_first() {
        let new = || {
            let part = (10..22).collect();
            BatchOrder::new("a part", part, 4, 1, Purpose::ExplainerTrain).unwrap()
        };
        let mut order = new();
        let steps: Vec<Vec<u32>> = (0..6).map(|s| order.at(s).to_vec()).collect();
        let mut first: Vec<u32> = steps[..3].concat();
        first.sort_unstable();
        assert_eq!(first, (10..22).collect::<Vec<_>>());
        assert_ne!(steps[..3], steps[3..]);
        assert_eq!(new().at(4), steps[4]);
    }
}
