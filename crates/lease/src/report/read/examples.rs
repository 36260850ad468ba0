//! Examples of explanations: `explanations.safetensors`.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::search::EXPLANATIONS;

/// One image and its explanation.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its class.
    pub label: usize,
    /// The image in units of white = 1, `[channels, h, w]`.
    pub image: Vec<f32>,
    /// δ in units of the normalised images, the same.
    pub delta: Vec<f32>,
    /// What the audience is told, the same.
    pub weighted: Vec<f32>,
    /// Which pixels matter, `[h, w]`, where that is known.
    pub relevant: Option<Vec<bool>>,
    /// Probabilities by network and input: the explainer of x and of x + δ, the audience of x and of what it is told.
    pub predictions: Vec<(&'static str, Vec<f32>)>,
}

/// Examples of a run.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The epoch after which they were made, from 1.
    pub epoch: u64,
    /// ε of each channel.
    pub epsilon: Vec<f64>,
    /// What the audience is given as explanations.
    pub explanation: String,
    /// The images.
    pub all: Vec<Example>,
}

/// The audience's prediction of what it is told, which is named behind it.
pub const HEARD: &str = "Audience, ";

/// The predictions, as told and as named in the file.
const PREDICTIONS: [(&str, &str); 4] = [
    ("Explainer, x", "explainer"),
    ("Explainer, x + δ", "explainer_perturbed"),
    ("Audience, x", "audience"),
    (HEARD, "audience_weighted"),
];

impl Examples {
    /// Those in a run folder, if there are any.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path.join(EXPLANATIONS)).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let about = header.metadata().as_ref()?.get("lease")?.clone();
        let about: Value = serde_json::from_str(&about).ok()?;
        let file = SafeTensors::deserialize(&bytes).ok()?;
        let rows = |name: &str| -> Option<Vec<Vec<f32>>> {
            let tensor = file.tensor(name).ok()?;
            let (whole, _) = tensor.data().as_chunks::<4>();
            let values: Vec<f32> = whole.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let size = tensor.shape().iter().skip(1).product::<usize>().max(1);
            Some(values.chunks_exact(size).map(<[f32]>::to_vec).collect())
        };
        let shape: [usize; 4] = file.tensor("images").ok()?.shape().try_into().ok()?;
        let (images, delta, weighted) = (rows("images")?, rows("delta")?, rows("weighted")?);
        let (labels, relevant) = (rows("labels")?, rows("relevant"));
        let predictions = PREDICTIONS.map(|(told, name)| rows(name).map(|rows| (told, rows)));
        let mask = |row: &Vec<f32>| row.iter().map(|m| *m > 0.5).collect();
        let example = |i: usize| {
            let of = predictions.iter().flatten();
            Some(Example {
                label: *labels.get(i)?.first()? as usize,
                image: images.get(i)?.clone(),
                delta: delta.get(i)?.clone(),
                weighted: weighted.get(i)?.clone(),
                relevant: relevant.as_ref().and_then(|rows| rows.get(i)).map(mask),
                predictions: of
                    .map(|(told, rows)| Some((*told, rows.get(i)?.clone())))
                    .collect::<Option<_>>()?,
            })
        };
        Some(Self {
            shape: [shape[1], shape[2], shape[3]],
            epoch: about["epoch"].as_u64()? + 1,
            epsilon: serde_json::from_value(about["epsilon"].clone()).ok()?,
            explanation: about["explanation"].as_str().unwrap_or("attack").into(),
            all: (0..shape[0]).map(example).collect::<Option<_>>()?,
        })
    }
}
