//! The batches of a search, each a function of seed and step, and this process's parts of them.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::SearchConfig;
use crate::collective::Team;
use crate::data::{Ahead, Augmentation, Batch, BatchOrder, DataError, Dataset, Partition};
use crate::method::{Batches, Examples, Starts};
use crate::rng::{Purpose, stream, symmetric};

/// The images of a search, and the orders in which its four parts come.
pub(super) struct Feed {
    pub dataset: Dataset,
    device: Device,
    augmentation: Augmentation,
    batch: usize,
    seed: u64,
    epsilon: Vec<f64>,
    team: Team,
    explainer_train: BatchOrder,
    audience_train: BatchOrder,
    pub explainer_val: BatchOrder,
    pub audience_val: BatchOrder,
    /// The parts of the four batches.
    ahead: Ahead<Vec<Vec<Batch>>>,
}

/// What the order of each part is drawn for, in the order of [`Partition`].
const ORDERS: [Purpose; 4] = [
    Purpose::ExplainerTrain,
    Purpose::AudienceTrain,
    Purpose::ExplainerVal,
    Purpose::AudienceVal,
];

/// The parts that are smaller than a batch, of so many training images; of two that are one part the first.
pub(super) fn too_few(config: &SearchConfig, images: usize) -> Vec<DataError> {
    let m = &config.method;
    let sizes = Partition::sizes(images, m.split, m.training_share);
    let mut all: Vec<DataError> = Vec::new();
    for (images, part) in sizes.into_iter().zip(Partition::NAMES) {
        let shared = part.starts_with("the audience") && m.split == crate::data::Split::Shared;
        if images < config.search.batch && !shared {
            all.push(DataError::TooFew {
                part,
                images,
                batch: config.search.batch,
            });
        }
    }
    all
}

/// What the variation of a part's images is drawn for; validation images are not varied.
fn varied(order: Purpose) -> Option<Purpose> {
    match order {
        Purpose::ExplainerTrain => Some(Purpose::AugmentExplainer),
        Purpose::AudienceTrain => Some(Purpose::AugmentAudience),
        _ => None,
    }
}

impl Feed {
    pub fn new(
        config: &SearchConfig,
        dataset: Dataset,
        device: &Device,
        team: &Team,
    ) -> Result<Self, DataError> {
        let (batch, seed) = (config.search.batch, config.run.seed);
        let parts = dataset.partition(config.method.split, config.method.training_share, seed);
        let mut parts = parts.named().into_iter().zip(ORDERS);
        let mut next = || {
            let ((name, images), purpose) = parts.next().unwrap_or_else(|| unreachable!("four"));
            BatchOrder::new(name, images.to_vec(), batch, seed, purpose)
        };
        Ok(Self {
            explainer_train: next()?,
            audience_train: next()?,
            explainer_val: next()?,
            audience_val: next()?,
            epsilon: config.method.attack(&dataset.normalisation).epsilon,
            augmentation: dataset.augmentation(&config.data.images, 0.0),
            ahead: Ahead::default(),
            dataset,
            device: device.clone(),
            batch,
            seed,
            team: team.clone(),
        })
    }

    /// How many images a part of a batch has.
    pub fn part(&self) -> usize {
        self.batch / self.team.parts()
    }

    /// The images in a step's batch, all counted.
    pub fn images(&self) -> u64 {
        self.batch as u64
    }

    /// Steps until every training image of the explainer has come once.
    pub fn per_epoch(&self) -> u64 {
        self.explainer_train.batches_per_epoch()
    }

    /// This process's parts of the four batches of a step. Training images are varied, validation images never; how does
    /// not depend on the parts. Those of the next step are read and varied meanwhile.
    pub fn batches(&mut self, step: u64) -> Vec<Batches> {
        let (own, part) = (self.team.own(), self.batch / self.team.parts());
        let (dataset, augmentation, seed) = (&self.dataset, self.augmentation, self.seed);
        let orders = [
            &mut self.explainer_train,
            &mut self.audience_train,
            &mut self.explainer_val,
            &mut self.audience_val,
        ];
        let mut orders = orders.into_iter().zip(ORDERS).collect::<Vec<_>>();
        let read = self.ahead.take(step, |step| {
            let images = &mut orders.iter_mut();
            let images: Vec<(Vec<u32>, Option<Purpose>)> = images
                .map(|(order, purpose)| {
                    let own = &order.at(step)[own.start * part..own.end * part];
                    (own.to_vec(), varied(*purpose))
                })
                .collect();
            let (train, normalisation) = (dataset.train.clone(), dataset.normalisation.clone());
            let before = own.start * part;
            move || {
                let parts = images.into_iter().map(|(images, purpose)| {
                    let mut rng = purpose.map(|purpose| stream(seed, purpose, step));
                    if let Some(rng) = &mut rng {
                        augmentation.skip(before, &train, rng);
                    }
                    let all = images.chunks(part).map(|images| {
                        let vary = rng.as_mut().map(|rng| (&augmentation, rng));
                        train.batch(images, &normalisation, vary)
                    });
                    all.collect()
                });
                parts.collect()
            }
        });
        let of = |batch| Examples::of(batch, self.dataset.classes.len(), &self.device);
        let mut parts = read.into_iter().map(|part| part.into_iter().map(of));
        let mut next = || parts.next().unwrap_or_else(|| unreachable!("four parts"));
        let (mut a, mut b, mut c, mut d) = (next(), next(), next(), next());
        let next = || {
            Some(Batches {
                explainer_train: a.next()?,
                audience_train: b.next()?,
                explainer_val: c.next()?,
                audience_val: d.next()?,
            })
        };
        std::iter::from_fn(next).collect()
    }

    /// Random starts of the explanations of this process's parts of a step.
    pub fn starts(&self, step: u64) -> Vec<Starts> {
        self.team
            .own()
            .map(|part| self.starts_of(step, part))
            .collect()
    }

    fn starts_of(&self, step: u64, part: usize) -> Starts {
        let [channels, height, width] = self.dataset.shape();
        let shape = [self.part(), channels, height, width];
        let draw = |purpose| {
            let mut rng = stream(self.seed, purpose, step);
            // A number takes a word.
            rng.set_word_pos((part * shape.iter().product::<usize>()) as u128);
            let mut values = symmetric(&mut rng, shape.iter().product(), 1.0);
            let planes = values.chunks_exact_mut(height * width);
            for (plane, epsilon) in planes.zip(self.epsilon.iter().cycle()) {
                plane.iter_mut().for_each(|x| *x *= *epsilon as f32);
            }
            Tensor::from_data(TensorData::new(values, shape), (&self.device, DType::F32))
        };
        Starts {
            train: draw(Purpose::DeltaTrain),
            val: draw(Purpose::DeltaVal),
        }
    }

    /// These training images as they are, in batches of the size of a part: this process's share of them.
    pub fn plain<'a>(&'a self, indices: &'a [u32]) -> impl Iterator<Item = Examples> + 'a {
        let share = self.team.share(indices.len().div_ceil(self.part()));
        let batches = indices.chunks(self.part());
        let own = batches.skip(share.start).take(share.len());
        own.map(|indices| self.loaded(indices))
    }

    /// This process's parts of the first batch of these training images, as they are.
    pub fn first_plain(&self, indices: &[u32]) -> Vec<Examples> {
        let own = self.team.own();
        let parts = indices[..self.batch].chunks(self.part());
        let parts = parts.skip(own.start).take(own.len());
        parts.map(|part| self.loaded(part)).collect()
    }

    /// These training images as they are, in one batch.
    pub fn loaded(&self, indices: &[u32]) -> Examples {
        let normalisation = &self.dataset.normalisation;
        let batch = self.dataset.train.batch(indices, normalisation, None);
        Examples::of(batch, self.dataset.classes.len(), &self.device)
    }
}
