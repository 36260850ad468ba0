//! Examples of explanations, for whoever looks at a run: `explanations.safetensors`.
//!
//! They are of validation images, the same ones after every epoch, at E and A as they are then. Nothing that the search goes
//! on with depends on them: their random start has a stream of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::tensor::{DType, Tensor, TensorData};

use super::Search;
use crate::Error;
use crate::data::Normalisation;
use crate::method::Examples;
use crate::method::stage2::{Explained, Explanation, constant, explain};
use crate::network::Dual;
use crate::rng::{Purpose, stream, symmetric};
use crate::run::checkpoint::serialize;

/// The file of examples in a run folder.
pub const EXPLANATIONS: &str = "explanations.safetensors";

/// Images at most.
const MOST_IMAGES: usize = 12;

/// Numbers of all images together at most, where one image has not more.
const MOST_NUMBERS: usize = 300_000;

impl Search {
    /// Explains the explainer's predictions for some validation images of the audience, and asks both networks.
    ///
    /// The file has f32 tensors, a row for each image: `images` in units of white = 1 and `delta` in those of the normalised
    /// images, `[n, channels, h, w]`; `weighted`, what the audience is told (δ ⊙ x), the same; `labels` `[n]`; `relevant`
    /// `[n, 1, h, w]`, 1 where a pixel matters, if that is known; and the probabilities `explainer` and `explainer_perturbed`
    /// (of x + δ), and with an audience `audience` (of x) and `audience_weighted`, `[n, classes]`. Its metadata has one entry,
    /// `lease`: an object with `epoch` (from 0), `epsilon` of each channel and `explanation`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write_examples(&self, epoch: usize) -> Result<(), Error> {
        let indices = self.feed.audience_val.indices();
        // As many as batch norm sees at once.
        let batch = &indices[..self.feed.part().min(indices.len())];
        let examples = self.feed.loaded(batch);
        let tensors = self.examples(&examples, batch);
        let attack = self.config.method.attack(&self.feed.dataset.normalisation);
        let about = serde_json::json!({
            "epoch": epoch, "epsilon": attack.epsilon, "explanation": self.config.method.explanation,
        });
        let metadata = HashMap::from([("lease".to_string(), about.to_string())]);
        let bytes = serialize(&tensors, metadata).map_err(std::io::Error::other)?;
        match &self.records {
            Some(records) => Ok(records.examples(&bytes)?),
            None => Ok(()),
        }
    }

    /// What the file is made of, of this batch of training images.
    fn examples(&self, batch: &Examples, indices: &[u32]) -> BTreeMap<String, TensorData> {
        let (models, point, told) = (&self.models, &self.state.point, self.config.method.told());
        let explanation = self.explained(&batch.images);
        let delta: Tensor<4> = explanation.delta.part(&explanation.slot);
        let x: Dual<4> = batch.images.clone().into();
        let weighted = told.apply(x.clone(), Dual::from(delta.clone()));
        let (e, a, w) = (
            point.explainer.open(None, false),
            point.architecture.open(None, false),
            point.audience.open(None, false),
        );
        let f = |images: Dual<4>| models.explainer.forward(&e, &a, images).softmax().value;
        let g = |images: Dual<4>| models.audience.forward(&w, images).softmax().value;
        let chosen = self.chosen(indices);
        let mut all = BTreeMap::new();
        let mut insert = |name: &str, data: TensorData| {
            let shape: Vec<usize> = data.shape().to_vec();
            let size = shape[1..].iter().product::<usize>();
            let values: Vec<f32> = data.iter::<f32>().collect();
            let rows = chosen
                .iter()
                .flat_map(|i| &values[i * size..(i + 1) * size]);
            let shape = [&[chosen.len()], &shape[1..]].concat();
            let data = TensorData::new(rows.copied().collect::<Vec<f32>>(), shape);
            all.insert(name.to_string(), data);
        };
        insert("explainer", f(x.clone()).into_data());
        insert(
            "explainer_perturbed",
            f((batch.images.clone() + delta.clone()).into()).into_data(),
        );
        if self.config.listens() {
            insert("audience", g(x).into_data());
            insert("audience_weighted", g(weighted.clone()).into_data());
        }
        insert("delta", delta.into_data());
        insert("weighted", weighted.value.into_data());
        if let Some(mask) = &batch.relevant {
            insert("relevant", mask.clone().into_data());
        }
        let images = &self.feed.dataset.train;
        let channels = images.shape[0];
        let plain = Normalisation {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        };
        let seen = images.batch(indices, &plain, None);
        insert("images", TensorData::new(seen.values, seen.shape));
        let labels = indices
            .iter()
            .map(|i| f32::from(images.labels[*i as usize]));
        insert(
            "labels",
            TensorData::new(labels.collect::<Vec<f32>>(), [indices.len()]),
        );
        all
    }

    /// Stage II at E and A, or what stands for it.
    fn explained(&self, images: &Tensor<4>) -> Explanation {
        let (models, point) = (&self.models, &self.state.point);
        let attack = self.config.method.attack(&self.feed.dataset.normalisation);
        let shape = images.dims();
        let mut rng = stream(self.config.run.seed, Purpose::Examples, 0);
        let mut start = symmetric(&mut rng, shape.iter().product(), 1.0);
        let planes = start.chunks_exact_mut(shape[2] * shape[3]);
        for (plane, epsilon) in planes.zip(attack.epsilon.iter().cycle()) {
            plane.iter_mut().for_each(|value| *value *= *epsilon as f32);
        }
        let start = Tensor::from_data(TensorData::new(start, shape), (&self.device, DType::F32));
        match self.config.method.explanation {
            how @ (Explained::RandomSigns | Explained::Plain) => constant(start, how, &attack),
            Explained::Attack | Explained::Shuffled => {
                let (e, a) = (&point.explainer, &point.architecture);
                explain(&*models.explainer, [e, a], images, start, (&attack, false))
            }
        }
    }

    /// The places of the images that are shown: first one of each class, then more.
    fn chosen(&self, indices: &[u32]) -> Vec<usize> {
        let images = &self.feed.dataset.train;
        let most = (MOST_NUMBERS / images.size()).clamp(1, MOST_IMAGES);
        let mut seen = BTreeSet::new();
        let label = |place: &usize| images.labels[indices[*place] as usize];
        let (first, later): (Vec<usize>, Vec<usize>) =
            (0..indices.len()).partition(|place| seen.insert(label(place)));
        let mut chosen: Vec<usize> = first.into_iter().chain(later).take(most).collect();
        chosen.sort_by_key(label);
        chosen
    }
}
