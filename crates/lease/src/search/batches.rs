//! The batches of a search, each a function of seed and step, and this process's parts of them.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::SearchConfig;
use crate::collective::Team;
use crate::data::{Augmentation, BatchOrder, DataError, Dataset, Partition};
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
}

/// The four parts by what they are called, in the order of [`Partition`].
const PARTS: [(&str, Purpose); 4] = [
    ("the explainer's training part", Purpose::ExplainerTrain),
    ("the audience's training part", Purpose::AudienceTrain),
    ("the explainer's validation part", Purpose::ExplainerVal),
    ("the audience's validation part", Purpose::AudienceVal),
];

/// The four parts of the training images that a search is to use.
fn partition(config: &SearchConfig, images: usize) -> [Vec<u32>; 4] {
    let m = &config.method;
    let parts = Partition::new(images, m.split, m.training_share, config.run.seed);
    [
        parts.explainer_train,
        parts.audience_train,
        parts.explainer_val,
        parts.audience_val,
    ]
}

/// The parts that are smaller than a batch; of two that are one part the first.
pub(super) fn too_few(config: &SearchConfig, images: usize) -> Vec<DataError> {
    let parts = partition(config, images);
    let mut all: Vec<DataError> = Vec::new();
    for (indices, (part, _)) in parts.iter().zip(PARTS) {
        let shared =
            part.starts_with("the audience") && config.method.split == crate::data::Split::Shared;
        if indices.len() < config.search.batch && !shared {
            all.push(DataError::TooFew {
                part,
                images: indices.len(),
                batch: config.search.batch,
            });
        }
    }
    all
}

impl Feed {
    pub fn new(
        config: &SearchConfig,
        dataset: Dataset,
        device: &Device,
        team: &Team,
    ) -> Result<Self, DataError> {
        let (batch, seed) = (config.search.batch, config.run.seed);
        let mut parts = partition(config, dataset.train.len())
            .into_iter()
            .zip(PARTS);
        let mut next = || {
            let (indices, (name, purpose)) = parts.next().unwrap_or_else(|| unreachable!("four"));
            BatchOrder::new(name, indices, batch, seed, purpose)
        };
        Ok(Self {
            explainer_train: next()?,
            audience_train: next()?,
            explainer_val: next()?,
            audience_val: next()?,
            epsilon: config.method.attack(&dataset.normalisation).epsilon,
            augmentation: dataset.augmentation(config.data.images.augment, 0.0),
            dataset,
            device: device.clone(),
            batch,
            seed,
            team: team.clone(),
        })
    }

    /// How many images a part of a batch has.
    fn part(&self) -> usize {
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
    /// not depend on the parts.
    pub fn batches(&mut self, step: u64) -> Vec<Batches> {
        let (dataset, augmentation, seed) = (&self.dataset, &self.augmentation, self.seed);
        let (own, part) = (self.team.own(), self.batch / self.team.parts());
        let load = |indices: &[u32], vary: Option<Purpose>| {
            let mut rng = vary.map(|purpose| stream(seed, purpose, step));
            if let Some(rng) = &mut rng {
                let [_, height, width] = dataset.train.shape;
                augmentation.skip(own.start * part, [height, width], rng);
            }
            let indices = &indices[own.start * part..own.end * part];
            let all = indices.chunks(part).map(|indices| {
                let vary = rng.as_mut().map(|rng| (augmentation, rng));
                let batch = dataset.train.batch(indices, &dataset.normalisation, vary);
                Examples::of(batch, dataset.classes.len(), &self.device)
            });
            all.collect::<Vec<Examples>>().into_iter()
        };
        let vary = Some(Purpose::AugmentExplainer);
        let mut explainer_train = load(self.explainer_train.at(step), vary);
        let vary = Some(Purpose::AugmentAudience);
        let mut audience_train = load(self.audience_train.at(step), vary);
        let mut explainer_val = load(self.explainer_val.at(step), None);
        let mut audience_val = load(self.audience_val.at(step), None);
        let next = || {
            Some(Batches {
                explainer_train: explainer_train.next()?,
                audience_train: audience_train.next()?,
                explainer_val: explainer_val.next()?,
                audience_val: audience_val.next()?,
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
        let [channels, height, width] = self.dataset.train.shape;
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

    fn loaded(&self, indices: &[u32]) -> Examples {
        let normalisation = &self.dataset.normalisation;
        let batch = self.dataset.train.batch(indices, normalisation, None);
        Examples::of(batch, self.dataset.classes.len(), &self.device)
    }
}
