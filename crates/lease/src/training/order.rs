//! Which training images are held out, and in what order the others come.

use super::TrainConfig;
use super::settings::Balance;
use crate::data::{BatchOrder, DataError, Dataset};
use crate::rng::{Purpose, permutation, stream};

/// What the training images are called in errors.
const TRAINING_SET: &str = "the training set (--train-batch)";

/// The training images of a training, as indices.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    /// Those that are trained on.
    pub train: Vec<u32>,
    /// Those that are held out.
    pub validation: Vec<u32>,
}

/// The training images of each class, as indices.
fn by_class(dataset: &Dataset, indices: impl Iterator<Item = u32>) -> Vec<Vec<u32>> {
    let mut all = vec![Vec::new(); dataset.classes.len()];
    for index in indices {
        all[dataset.train.labels[index as usize] as usize].push(index);
    }
    all
}

impl Parts {
    /// Holds out the share of each class that the settings ask for, at least one image, drawn by the seed.
    ///
    /// # Errors
    /// If a class has too few images, or what is left to train on is less than a batch.
    pub fn new(config: &TrainConfig, dataset: &Dataset) -> Result<Self, DataError> {
        let (share, batch) = (config.train.validation, config.train.batch);
        let all = 0..dataset.train.len() as u32;
        let mut parts = Self {
            train: all.clone().collect(),
            validation: Vec::new(),
        };
        if share > 0.0 {
            parts.train.clear();
            for (class, images) in by_class(dataset, all).into_iter().enumerate() {
                let count = images.len();
                if count < 2 {
                    return Err(DataError::Invalid {
                        path: config.data.images.path.clone().into(),
                        reason: format!(
                            "class {} has {count} training image, and --train-validation needs at least two of each class",
                            dataset.classes[class]
                        ),
                    });
                }
                let held = ((count as f64 * share).round() as usize).clamp(1, count - 1);
                let mut rng = stream(config.run.seed, Purpose::HeldOut, class as u64);
                let order = permutation(&mut rng, count);
                let (held, kept) = order.split_at(held);
                let of =
                    |part: &[u32]| part.iter().map(|i| images[*i as usize]).collect::<Vec<_>>();
                parts.validation.extend(of(held));
                parts.train.extend(of(kept));
            }
            parts.train.sort_unstable();
            parts.validation.sort_unstable();
        }
        if parts.train.len() < batch {
            return Err(DataError::TooFew {
                part: TRAINING_SET,
                images: parts.train.len(),
                batch,
            });
        }
        Ok(parts)
    }
}

/// The order in which images are trained on. The batch of a step depends on nothing but the step.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Every image once an epoch.
    Plain(BatchOrder),
    /// As many images of each class.
    Balanced(Balanced),
}

/// As many images an epoch as there are, of each class equally many: those of small classes come several times, and of large
/// ones others in each epoch.
#[derive(Clone, Debug)]
pub(super) struct Balanced {
    classes: Vec<Vec<u32>>,
    images: usize,
    batch: usize,
    seed: u64,
    epoch: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// The order of these training images that the settings ask for.
    ///
    /// # Errors
    /// If they are less than a batch.
    pub fn new(config: &TrainConfig, dataset: &Dataset, train: &[u32]) -> Result<Self, DataError> {
        let (batch, seed) = (config.train.batch, config.run.seed);
        if config.train.balance == Balance::Sampling {
            return Ok(Self::Balanced(Balanced {
                classes: by_class(dataset, train.iter().copied()),
                images: train.len(),
                batch,
                seed,
                epoch: None,
            }));
        }
        let indices = train.to_vec();
        let order = BatchOrder::new(TRAINING_SET, indices, batch, seed, Purpose::DerivedTrain)?;
        Ok(Self::Plain(order))
    }

    /// Batches of an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        match self {
            Self::Plain(order) => order.batches_per_epoch(),
            Self::Balanced(order) => (order.images / order.batch) as u64,
        }
    }

    /// The images of a step.
    pub fn at(&mut self, step: u64) -> &[u32] {
        match self {
            Self::Plain(order) => order.at(step),
            Self::Balanced(order) => order.at(step),
        }
    }
}

impl Balanced {
    fn at(&mut self, step: u64) -> &[u32] {
        let per_epoch = (self.images / self.batch) as u64;
        let (epoch, position) = (step / per_epoch, (step % per_epoch) as usize);
        let current = match self.epoch.take() {
            Some(current) if current.0 == epoch => current,
            _ => (epoch, self.drawn(epoch)),
        };
        let (_, order) = self.epoch.insert(current);
        &order[position * self.batch..(position + 1) * self.batch]
    }

    /// The images of an epoch.
    fn drawn(&self, epoch: u64) -> Vec<u32> {
        let mut rng = stream(self.seed, Purpose::Balance, epoch);
        let each = self.images.div_ceil(self.classes.len());
        let mut all = Vec::with_capacity(each * self.classes.len());
        for class in &self.classes {
            let mut left = each;
            while left > 0 {
                let order = permutation(&mut rng, class.len());
                let some = order.iter().take(left).map(|i| class[*i as usize]);
                all.extend(some);
                left = left.saturating_sub(order.len());
            }
        }
        let order = permutation(&mut rng, all.len());
        let order = order.iter().take(self.images);
        order.map(|i| all[*i as usize]).collect()
    }
}

/// What the loss of each class's images is multiplied by where classes are to count alike: images / (classes · images of the
/// class).
pub(super) fn class_weights(dataset: &Dataset, train: &[u32]) -> Vec<f32> {
    let classes = by_class(dataset, train.iter().copied());
    let (images, count) = (train.len() as f32, classes.len() as f32);
    let weight = |class: &Vec<u32>| images / (count * class.len().max(1) as f32);
    classes.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_epochs_have_each_class_equally_often_and_as_many_images_as_there_are() {
        let mut order = Balanced {
            classes: vec![(0..90).collect(), (90..100).collect()],
            images: 100,
            batch: 10,
            seed: 1,
            epoch: None,
        };
        let mut epoch = |first: u64| -> Vec<u32> {
            let steps = first..first + 10;
            steps.flat_map(|step| order.at(step).to_vec()).collect()
        };
        let (first, second) = (epoch(0), epoch(10));
        let rare = |images: &[u32]| images.iter().filter(|i| **i >= 90).count();
        assert_eq!([rare(&first), rare(&second)], [50; 2]);
        // Each image of the rare class comes five times, none of the frequent one twice.
        let times = |image: u32| first.iter().filter(|i| **i == image).count();
        assert!((90..100).all(|i| times(i) == 5) && (0..90).all(|i| times(i) < 2));
        assert_ne!(first, second);
        assert_eq!(first, epoch(0));
    }
}
