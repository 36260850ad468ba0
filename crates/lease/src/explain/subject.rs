//! A network whose predictions are explained: a trained one, or a search's supernet as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::Error;
use crate::config::SectionInfo;
use crate::data::{Dataset, Normalisation};
use crate::memory::Need;
use crate::method::product::gradient;
use crate::method::stage2::{Attack, explain_function};
use crate::network::{Dual, Layout, Leaves, Pass, Statistics, Vector};
use crate::rng::{Draw, Purpose, stream, symmetric};
use crate::run::Kind;
use crate::search::Searched;
use crate::space::Explainer;
use crate::training::Trained;

/// What computes.
enum Function {
    Trained(Box<Trained>),
    Supernet(Arc<dyn Explainer>),
}

/// The numbers that a network computes by: weights and running statistics, or E and A.
pub type Numbers = [Vector; 2];

/// A network whose predictions are explained.
pub struct Subject {
    function: Function,
    numbers: Numbers,
    /// Whether it is a search's supernet or a trained network.
    pub kind: Kind,
    /// The folder that it is from.
    pub folder: PathBuf,
    /// Steps of the search that it has behind it.
    pub step: Option<u64>,
    /// The names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Channels, height and width of the images that it takes.
    pub image: [usize; 3],
    /// The normalisation of the images that it takes.
    pub normalisation: Normalisation,
    device: Device,
}

/// Images in memory, normalised, `[count, channels, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// The values.
    pub values: Vec<f32>,
    /// Channels, height and width.
    pub shape: [usize; 3],
}

impl Planes {
    /// How many.
    pub fn count(&self) -> usize {
        self.values.len() / self.size()
    }

    /// Numbers in one.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pixels of one.
    pub fn area(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// One of them.
    pub fn image(&self, number: usize) -> &[f32] {
        &self.values[number * self.size()..][..self.size()]
    }

    /// Others of the same shape.
    pub fn with(&self, values: Vec<f32>) -> Self {
        Self {
            values,
            shape: self.shape,
        }
    }

    /// Others made of these one by one.
    pub fn map(&self, image: impl Fn(usize, &[f32]) -> Vec<f32> + Sync) -> Self {
        let all: Vec<Vec<f32>> = (0..self.count())
            .into_par_iter()
            .map(|i| image(i, self.image(i)))
            .collect();
        self.with(all.concat())
    }

    /// Those of `count` from a number on.
    pub(super) fn part(&self, (from, count): (usize, usize)) -> Self {
        self.with(self.some(from, count).to_vec())
    }

    /// The values of the same.
    fn some(&self, from: usize, count: usize) -> &[f32] {
        &self.values[from * self.size()..][..count * self.size()]
    }
}

/// (first, count) of parts as equal as can be, none larger than `most`.
pub(super) fn parts(count: usize, most: usize) -> Vec<(usize, usize)> {
    let parts = count.div_ceil(most).max(1);
    let starts: Vec<usize> = (0..=parts).map(|part| part * count / parts).collect();
    let pairs = starts.windows(2);
    pairs.map(|w| (w[0], w[1] - w[0])).collect()
}

impl Subject {
    /// The supernet of the search in a folder, as its newest checkpoint has it. `dataset` is that of its configuration, `others` are
    /// the sections of other commands.
    ///
    /// # Errors
    /// As [`Searched::load`].
    pub fn supernet(
        path: &Path,
        device: &str,
        dataset: &Dataset,
        others: &[&'static SectionInfo],
    ) -> Result<Self, Error> {
        let found = Searched::load(path, device, dataset, others)?;
        Ok(Self {
            numbers: [found.weights, found.architecture],
            function: Function::Supernet(found.explainer),
            kind: Kind::Search,
            folder: path.into(),
            step: Some(found.step),
            classes: dataset.classes.clone(),
            image: dataset.shape(),
            normalisation: dataset.normalisation.clone(),
            device: found.device,
        })
    }

    /// The network that a finished training left.
    ///
    /// # Errors
    /// As [`Trained::load`].
    pub fn trained(path: &Path, device: &str) -> Result<Self, Error> {
        let trained = Trained::load(path, device)?;
        Ok(Self {
            numbers: [trained.weights.clone(), trained.running.clone()],
            kind: Kind::Training,
            folder: trained.folder.clone(),
            step: None,
            classes: trained.classes.clone(),
            image: trained.image(),
            normalisation: trained.normalisation.clone(),
            device: trained.device.clone(),
            function: Function::Trained(Box::new(trained)),
        })
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The numbers that it computes by.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The error of passes over so many images that need more memory than there is.
    pub fn too_large(&self, at_once: usize) -> Option<Error> {
        let activations = match &self.function {
            Function::Supernet(explainer) => explainer.bytes(at_once, self.image),
            Function::Trained(trained) => trained.network.bytes(at_once, self.image),
        };
        let weights = self.numbers[0].layout().len();
        let need = Need::new("explaining", activations + activations / 4, weights, 0);
        need.problem("lower --at-once")
    }

    /// All of them drawn anew, as before any training.
    pub fn redrawn(&self, seed: u64) -> Numbers {
        let mut rng = stream(seed, Purpose::Redrawn, 0);
        let mut draw = |layout: &Arc<Layout>| {
            let values = layout.initial_values(&mut rng);
            Vector::from_values(layout.clone(), values, &self.device, DType::F32)
        };
        [0, 1].map(|i| draw(self.numbers[i].layout()))
    }

    /// Logits `[batch, classes]` of images.
    fn forward(&self, [first, second]: [&Leaves; 2], at: &Numbers, images: Dual<4>) -> Dual<2> {
        match &self.function {
            Function::Supernet(explainer) => explainer.forward(first, second, images),
            Function::Trained(trained) => {
                let pass = Pass {
                    weights: first,
                    statistics: Statistics::Running(&at[1]),
                    noise: Draw::default(),
                };
                trained.forward(&pass, images.value).into()
            }
        }
    }

    fn tensor(&self, values: &[f32]) -> Tensor<4> {
        let [c, h, w] = self.image;
        let shape = [values.len() / (c * h * w), c, h, w];
        let data = TensorData::new(values.to_vec(), shape);
        Tensor::from_data(data, (&self.device, DType::F32))
    }

    /// The probabilities of the classes for each image, `[count, classes]`, in passes of at most so many.
    pub fn probabilities(&self, images: &Planes, at_once: usize) -> Vec<f32> {
        let at = &self.numbers;
        let leaves = [&at[0].open(None, false), &at[1].open(None, false)];
        let mut all = Vec::with_capacity(images.count() * self.classes.len());
        for (from, count) in parts(images.count(), at_once) {
            let part = self.tensor(images.some(from, count));
            let logits = self.forward(leaves, at, part.into()).value;
            all.extend(softmax(logits, 1).into_data().iter::<f32>());
        }
        all
    }

    /// Random starts of explanations of so many images, uniform in ±ε; the draw of an image depends on seed, draw and its number
    /// alone.
    pub fn starts(&self, count: usize, attack: &Attack, (seed, draw): (u64, u64)) -> Planes {
        let [_, h, w] = self.image;
        let one = |number: usize| {
            let mut values = Vec::new();
            let index = (draw << 32) + number as u64;
            let mut rng = stream(seed, Purpose::ExplainedStart, index);
            for epsilon in &attack.epsilon {
                values.extend(symmetric(&mut rng, h * w, *epsilon));
            }
            values
        };
        Planes {
            values: (0..count).flat_map(one).collect(),
            shape: self.image,
        }
    }

    /// δ of each image by the attack from these starts (stage II of the method), with the network's numbers or others.
    pub fn explanations(
        &self,
        images: &Planes,
        starts: &Planes,
        attack: &Attack,
        (at, at_once): (&Numbers, usize),
    ) -> Planes {
        let leaves = [&at[0].open(None, false), &at[1].open(None, false)];
        let mut all = Vec::with_capacity(images.values.len());
        for (from, count) in parts(images.count(), at_once) {
            let of = |planes: &Planes| self.tensor(planes.some(from, count));
            let function = |x: Dual<4>| self.forward(leaves, at, x);
            let found = explain_function(function, &of(images), of(starts), attack);
            all.extend(found.delta.flat().into_data().iter::<f32>());
        }
        images.with(all)
    }

    /// The derivative of a class's logit by each number of the image, one class an image (Simonyan et al., arXiv 1312.6034).
    pub fn gradients(
        &self,
        images: &Planes,
        classes: &[usize],
        (at, at_once): (&Numbers, usize),
    ) -> Planes {
        let leaves = [&at[0].open(None, false), &at[1].open(None, false)];
        let mut all = Vec::with_capacity(images.values.len());
        for (from, count) in parts(images.count(), at_once) {
            let mut one_hot = vec![0f32; count * self.classes.len()];
            for (row, class) in classes[from..from + count].iter().enumerate() {
                one_hot[row * self.classes.len() + class] = 1.0;
            }
            let data = TensorData::new(one_hot, [count, self.classes.len()]);
            let one_hot: Tensor<2> = Tensor::from_data(data, (&self.device, DType::F32));
            let (images, slot) = Vector::single("x", self.tensor(images.some(from, count)));
            let logit = |[x]: [&Leaves; 1]| {
                let logits = self.forward(leaves, at, x.get(&slot));
                (logits.value * one_hot.clone()).sum().into()
            };
            let [found] = gradient(logit, [&images], [0]).vectors;
            all.extend(found.flat().into_data().iter::<f32>());
        }
        images.with(all)
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn parts_are_as_equal_as_can_be() {
        assert_eq!(parts(7, 3), [(0, 2), (2, 2), (4, 3)]);
        assert_eq!(parts(4, 4), [(0, 4)]);
        assert_eq!(parts(0, 4), [(0, 0)]);
    }
}
