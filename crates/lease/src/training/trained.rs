//! A trained network, as a training left it: what predicts, explains, is tested and exported.

use std::path::{Path, PathBuf};

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::settings::TrainConfig;
use super::{RESULT, WEIGHTS};
use crate::Error;
use crate::config::Composite;
use crate::data::{Batch, Dataset, Normalisation};
use crate::network::{Leaves, Pass, Statistics, Vector};
use crate::rng::Draw;
use crate::run::checkpoint::{hex, joined, tensors_in};
use crate::run::{Kind, RunError, RunFolder};
use crate::space::{DerivedNetwork, DerivedShape, Genotype};

/// The file that says what a trained network takes and tells.
const MODEL: &str = "model.json";

/// The version of its contents.
const FORMAT: u32 = 1;

/// The most pixels a side that a network can say it takes.
const MOST_SIDE: usize = 65_536;

/// A folder in which no trained network is found.
#[derive(Debug, thiserror::Error)]
pub enum TrainedError {
    /// There is no such folder.
    #[error(
        "there is no folder {path}; give one that `lease train` left, or a run folder of `lease run`"
    )]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It holds something else.
    #[error(
        "{path} has no training; give a folder that `lease train` left, or a run folder of `lease run`"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// It holds a search and nothing else.
    #[error("{path} has a search, but nothing trained; `lease train` with it trains what it found")]
    Search {
        /// The folder.
        path: PathBuf,
    },
    /// The training is not at its end.
    #[error("the training in {path} is not finished; the command that began it goes on with it")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// It was left before networks were described.
    #[error(
        "{path} has no {MODEL}, as trainings by older versions of lease; the command that trained it, given once more \
         with the same images, adds it without training anew"
    )]
    Undescribed {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not as it was written.
    #[error(
        "{path} is damaged ({reason}); restore it, or remove it together with {RESULT} beside it: the command that \
         trained it then writes both again from its last checkpoint"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was left by a later version.
    #[error(
        "{path} has format {format}, and this version of lease reads {FORMAT}; use a later one"
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// What a trained network takes and tells: `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The version of the file's contents.
    pub format: u32,
    /// The names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Channels (1: grey, 3: red, green, blue), height and width of the images.
    pub image: [usize; 3],
    /// What is subtracted from each channel, in units of white = 1.
    pub mean: Vec<f32>,
    /// What each channel is then divided by.
    pub std: Vec<f32>,
    /// SHA-256 of `weights.safetensors`.
    pub weights: String,
}

impl Model {
    /// Describes the network whose weights are in the folder, trained on these images.
    pub(super) fn write(run: &RunFolder, dataset: &Dataset) -> Result<(), Error> {
        let path = run.path().join(WEIGHTS);
        let bytes = std::fs::read(&path).map_err(|source| RunError::Io {
            action: "read",
            path,
            source,
        })?;
        let model = Self {
            format: FORMAT,
            classes: dataset.classes.clone(),
            image: dataset.shape(),
            mean: dataset.normalisation.mean.clone(),
            std: dataset.normalisation.std.clone(),
            weights: hex(&Sha256::digest(bytes)),
        };
        Ok(run.write_json(MODEL, &model)?)
    }

    /// Whether a folder has a description.
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(MODEL).is_file()
    }

    /// What cannot be in it, if anything.
    fn problem(&self) -> Option<String> {
        let [channels, ..] = self.image;
        if self.classes.len() < 2 {
            return Some(format!("it has {} classes", self.classes.len()));
        }
        if self.image.iter().any(|n| !(1..=MOST_SIDE).contains(n)) {
            return Some(format!("it says images of {:?}", self.image));
        }
        let lengths = [self.mean.len(), self.std.len()];
        let finite = self.mean.iter().all(|m| m.is_finite());
        let positive = self.std.iter().all(|s| s.is_finite() && *s > 0.0);
        if lengths != [channels; 2] || !finite || !positive {
            let told = format!("its mean and std do not fit images of {channels} channels");
            return Some(told);
        }
        None
    }
}

/// A trained network with all that it needs to classify images.
#[derive(Debug)]
pub struct Trained {
    /// The training's folder.
    pub folder: PathBuf,
    /// The training's settings.
    pub config: TrainConfig,
    /// The architecture.
    pub genotype: Genotype,
    /// The size of the network, which is without an auxiliary head.
    pub shape: DerivedShape,
    /// The network.
    pub network: Box<dyn DerivedNetwork>,
    /// Its weights, in f32 on the device.
    pub weights: Vector,
    /// Its running statistics.
    pub running: Vector,
    /// The names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// The normalisation of the images that it takes.
    pub normalisation: Normalisation,
    /// Where it computes.
    pub device: Device,
}

/// The folder of a training: the one given, or `train` in a run folder.
fn folder_of(path: &Path) -> Result<PathBuf, TrainedError> {
    let path_is = |kind: Kind, path: &Path| RunFolder::kind(path) == Some(kind);
    if !path.is_dir() {
        return Err(TrainedError::Missing { path: path.into() });
    }
    if path_is(Kind::Training, path) {
        return Ok(path.into());
    }
    let train = path.join("train");
    if path_is(Kind::Training, &train) {
        return Ok(train);
    }
    Err(match path_is(Kind::Search, path) {
        true => TrainedError::Search { path: path.into() },
        false => TrainedError::Foreign { path: path.into() },
    })
}

/// The contents of a file that a finished training has.
fn contents(path: &Path) -> Result<Vec<u8>, TrainedError> {
    std::fs::read(path).map_err(|e| TrainedError::Damaged {
        path: path.into(),
        reason: e.to_string(),
    })
}

/// The description in a folder of a finished training.
fn model(folder: &Path) -> Result<Model, TrainedError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let path = folder.join(MODEL);
    if !path.exists() {
        return Err(TrainedError::Undescribed {
            path: folder.into(),
        });
    }
    let bytes = contents(&path)?;
    let damaged = |reason: String| TrainedError::Damaged {
        path: path.clone(),
        reason,
    };
    let Format { format } = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if format > FORMAT {
        return Err(TrainedError::Later { path, format });
    }
    let model: Model = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    match model.problem() {
        Some(reason) => Err(damaged(reason)),
        None => Ok(model),
    }
}

/// Weights and running statistics of a network, from the file that is described by this digest.
fn vectors(
    path: &Path,
    digest: &str,
    network: &dyn DerivedNetwork,
    device: &Device,
) -> Result<[Vector; 2], TrainedError> {
    let damaged = |reason: String| TrainedError::Damaged {
        path: path.into(),
        reason,
    };
    let bytes = contents(path)?;
    if hex(&Sha256::digest(&bytes)) != digest {
        return Err(damaged(format!("it is not the one that {MODEL} describes")));
    }
    let (tensors, _) = tensors_in(&bytes).map_err(damaged)?;
    let [weights, running] = [network.weights(), network.running()]
        .map(|layout| joined(layout, |name| tensors.get(name), device));
    let all = [weights.map_err(damaged)?, running.map_err(damaged)?];
    if all
        .iter()
        .any(|v| !v.to_f64().iter().all(|x| x.is_finite()))
    {
        return Err(damaged("some of its numbers are not finite".into()));
    }
    Ok(all)
}

impl Trained {
    /// The network that a finished training left: in its own folder, or in `train` of a run folder. `device` is as in
    /// [`crate::device::device`].
    ///
    /// # Errors
    /// If there is no such training, it is not finished, a file of it is damaged or older than this version reads, or there is
    /// no such device.
    pub fn load(path: &Path, device: &str) -> Result<Self, Error> {
        let folder = folder_of(path)?;
        if !folder.join(RESULT).is_file() {
            return Err(TrainedError::Unfinished { path: folder }.into());
        }
        let model = model(&folder)?;
        let (genotype, settings) = (folder.join("genotype.json"), folder.join("config.toml"));
        let damaged = |path: &Path, reason: String| TrainedError::Damaged {
            path: path.into(),
            reason,
        };
        let text = contents(&settings)?;
        let text = String::from_utf8(text).map_err(|e| damaged(&settings, e.to_string()))?;
        let config = TrainConfig::parse(&text, &settings.display().to_string(), &[])
            .map_err(|e| damaged(&settings, e.to_string()))?;
        let genotype = Genotype::from_bytes(&contents(&genotype)?, None)
            .map_err(|e| damaged(&genotype, e.to_string()))?;
        let shape = DerivedShape {
            auxiliary: None,
            ..config.shape(model.classes.len(), model.image)
        };
        let network = genotype.value.network(&shape)?;
        let device = crate::device::device(device)?;
        let path = folder.join(WEIGHTS);
        let [weights, running] = vectors(&path, &model.weights, &*network, &device)?;
        Ok(Self {
            config,
            genotype: genotype.value,
            shape,
            network,
            weights,
            running,
            classes: model.classes,
            normalisation: Normalisation {
                mean: model.mean,
                std: model.std,
            },
            device,
            folder,
        })
    }

    /// Channels, height and width of the images that it takes.
    pub fn image(&self) -> [usize; 3] {
        self.shape.image
    }

    /// The weights as constants of a pass.
    pub fn open(&self) -> Leaves {
        self.weights.open(None, false)
    }

    /// A pass in evaluation mode: by running statistics, nothing dropped.
    pub fn pass<'a>(&'a self, weights: &'a Leaves) -> Pass<'a> {
        Pass {
            weights,
            statistics: Statistics::Running(&self.running),
            noise: Draw::default(),
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, h, w]` in a pass, differentiable in the images where
    /// they are tracked, as by `images.autodiff().require_grad()`.
    pub fn forward(&self, pass: &Pass, images: Tensor<4>) -> Tensor<2> {
        self.network.forward(pass, images, None).0
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, h, w]`, in evaluation mode.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let weights = self.open();
        self.forward(&self.pass(&weights), images)
    }

    /// Probabilities `[batch, classes]` of normalised images `[batch, channels, h, w]`, in evaluation mode.
    pub fn probabilities(&self, images: Tensor<4>) -> Tensor<2> {
        softmax(self.logits(images), 1)
    }

    /// The images of a batch on the network's device, `[batch, channels, h, w]` in f32. The batch must be normalised by
    /// [`Trained::normalisation`].
    pub fn images(&self, batch: &Batch) -> Tensor<4> {
        let data = TensorData::new(batch.values.clone(), batch.shape);
        Tensor::from_data(data, (&self.device, DType::F32))
    }
}
