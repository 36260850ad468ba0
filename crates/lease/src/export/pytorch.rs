//! PyTorch: the weights as safetensors, and a module that needs `torch` and `safetensors` alone.

use std::collections::{BTreeMap, HashMap};

use lease_kernels::graph::Made;

use super::ExportError;
use crate::network::Stem;
use crate::run::checkpoint::{named, serialize};
use crate::training::Trained;

/// The two files of a network.
#[derive(Clone, Debug)]
pub struct Files {
    /// The module, as Python.
    pub module: String,
    /// Its weights and running statistics, as safetensors.
    pub weights: Vec<u8>,
}

/// The name of the module's file.
pub const MODULE: &str = "network.py";

/// The name of the weights' file.
pub const WEIGHTS: &str = "weights.safetensors";

/// A trained network as PyTorch reads it.
///
/// # Errors
/// If the network has noise for an operation.
pub fn pytorch(trained: &Trained) -> Result<Files, ExportError> {
    let graph = trained.network.drawing().graph;
    let mut made = graph.nodes().map(|id| graph.made(id));
    if made.any(|made| matches!(made, Made::Noise { .. })) {
        return Err(ExportError::Noise);
    }
    let vectors = [&trained.weights, &trained.running];
    let tensors: BTreeMap<_, _> = vectors.into_iter().flat_map(named).collect();
    let weights = serialize(&tensors, HashMap::new())
        .map_err(|_| ExportError::Unknown("its weights cannot be written as safetensors"))?;
    Ok(Files {
        module: module(trained),
        weights,
    })
}

/// A text in Python's quotes. JSON's escapes are Python's as long as none stands for half a character.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn module(trained: &Trained) -> String {
    let shape = &trained.shape;
    let [channels, height, width] = shape.image;
    let python = trained.genotype.pytorch();
    let classes: Vec<String> = trained.classes.iter().map(|c| quoted(c)).collect();
    let stem = match shape.stem {
        Stem::Cifar => "cifar",
        Stem::Imagenet => "imagenet",
    };
    let edge_skips = if shape.edge_skips { "True" } else { "False" };
    let colours = match channels {
        1 => "grey images".to_string(),
        3 => "images in red, green and blue".to_string(),
        n => format!("images of {n} channels"),
    };
    format!(
        r#""""A network that lease found and trained: {count} classes of {colours}, {height} pixels high and {width} wide.

    import network
    model = network.load()                       # weights.safetensors beside this file
    probabilities = model(network.normalised(pixels)).softmax(1)

`pixels` are of shape [batch, {channels}, {height}, {width}] and from 0 to 1.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

CLASSES = [{classes}]
IMAGE = [{channels}, {height}, {width}]  # channels, height, width
MEAN = {mean:?}
STD = {std:?}
{constants}CHANNELS, CELLS, STEM, EDGE_SKIPS = {first}, {cells}, "{stem}", {edge_skips}


def normalised(pixels):
    """Pixels from 0 to 1 as the network takes them."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1).to(pixels) for values in (MEAN, STD))
    return (pixels - mean) / std


def load(path=Path(__file__).with_name("weights.safetensors")):
    """The trained network, in evaluation mode."""
    model = Network()
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    # Batch norms count their batches, which nothing depends on.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{{path}} has other weights: missing {{missing}}, unexpected {{unexpected}}")
    return model.eval()


{network}"#,
        count = trained.classes.len(),
        classes = classes.join(", "),
        mean = trained.normalisation.mean,
        std = trained.normalisation.std,
        constants = python.constants,
        first = shape.channels,
        cells = shape.cells,
        network = python.network,
    )
}
