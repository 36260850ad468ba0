//! Checkpoints: everything that a search or a training needs to go on as if it had never stopped.
//!
//! A checkpoint is a safetensors file whose weights carry PyTorch's names. It is written to a temporary
//! name and renamed, so that a kill leaves the one before it; its metadata holds a digest of its contents
//! and what the run's result depends on, so that a damaged or foreign one is refused.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_pack::Scalar;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Identity;
use super::files::write_atomically;
use crate::collective::Collective;
use crate::network::{Layout, Vector};

/// The version of the checkpoints' contents.
const FORMAT: u32 = 2;

/// How many checkpoints are kept: the newest, and one to fall back on.
const KEPT: usize = 2;

/// A checkpoint that cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("cannot {action} the checkpoint {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is damaged, or made by something else.
    #[error("the checkpoint {path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is of a run with other settings or data.
    #[error(
        "the checkpoint {path} is of another run: {differences}; restore what was there, or start anew in another \
         folder (--out)"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs: there is what the checkpoint was made with.
        differences: String,
    },
    /// There is none.
    #[error("there is no checkpoint in {folder}, so there is nothing to resume")]
    None {
        /// The folder.
        folder: PathBuf,
    },
    /// There are some, but none can be used.
    #[error("no checkpoint in {folder} can be used; the newest: {newest}")]
    AllUnusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
}

/// A checkpoint in memory.
pub struct Checkpoint {
    path: PathBuf,
    header: Header,
    tensors: BTreeMap<String, TensorData>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// `search` or `train`.
    kind: String,
    /// What the result depends on.
    identity: Identity,
    /// Position, tallies and all that is no tensor.
    state: Value,
    scalars: BTreeMap<String, Value>,
}

impl Checkpoint {
    /// An empty checkpoint of a `kind` of run whose result depends on this.
    pub fn new(kind: &str, identity: &Identity, state: Value) -> Self {
        Self {
            path: PathBuf::new(),
            header: Header {
                format: FORMAT,
                kind: kind.into(),
                identity: identity.clone(),
                state,
                scalars: BTreeMap::new(),
            },
            tensors: BTreeMap::new(),
        }
    }

    /// What was stored as its state.
    ///
    /// # Errors
    /// If it is not of this type.
    pub fn state<T: serde::de::DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        serde_json::from_value(self.header.state.clone())
            .map_err(|e| self.unusable(format!("its state cannot be read ({e})")))
    }

    /// Adds a tensor.
    pub fn insert(&mut self, name: &str, data: TensorData) {
        self.tensors.insert(name.into(), data);
    }

    /// Adds a scalar of an optimiser's state.
    pub fn insert_scalar(&mut self, name: &str, scalar: Scalar) {
        let value = match scalar {
            Scalar::Int(n) => Value::from(n),
            Scalar::UInt(n) => Value::from(n),
            Scalar::Float(x) => Value::from(x),
            Scalar::Bool(b) => Value::from(b),
        };
        self.header.scalars.insert(name.into(), value);
    }

    /// All scalars.
    pub fn scalars(&self) -> BTreeMap<String, Scalar> {
        let read = |value: &Value| match value {
            Value::Bool(b) => Some(Scalar::Bool(*b)),
            Value::Number(n) => n
                .as_u64()
                .map(Scalar::UInt)
                .or_else(|| n.as_i64().map(Scalar::Int))
                .or_else(|| n.as_f64().map(Scalar::Float)),
            _ => None,
        };
        let scalars = self.header.scalars.iter();
        scalars
            .filter_map(|(k, v)| Some((k.clone(), read(v)?)))
            .collect()
    }

    /// The tensors whose names start with `prefix` and a dot.
    pub fn tensors_under(&self, prefix: &str) -> Vec<(String, TensorData)> {
        let start = format!("{prefix}.");
        let all = self.tensors.iter();
        all.filter(|(name, _)| name.starts_with(&start))
            .map(|(name, data)| (name.clone(), data.clone()))
            .collect()
    }

    /// Adds the named tensors of a vector under `prefix`.
    pub fn insert_vector(&mut self, prefix: &str, vector: &Vector) {
        for (name, data) in named(vector) {
            self.insert(&format!("{prefix}.{name}"), data);
        }
    }

    /// Reads a vector stored under `prefix`.
    ///
    /// # Errors
    /// If one of its tensors is missing or has another shape.
    pub fn vector(
        &self,
        prefix: &str,
        layout: &std::sync::Arc<Layout>,
        device: &Device,
    ) -> Result<Vector, CheckpointError> {
        let tensors = |name: &str| self.tensors.get(&format!("{prefix}.{name}"));
        joined(layout, tensors, device).map_err(|reason| self.unusable(reason))
    }

    /// The error of a checkpoint that lacks `what`.
    pub fn lacks(&self, what: &str) -> CheckpointError {
        self.unusable(format!("it has no complete {what}"))
    }

    /// The error of a checkpoint that is wrong in this.
    pub fn unusable(&self, reason: String) -> CheckpointError {
        CheckpointError::Unusable {
            path: self.path.clone(),
            reason,
        }
    }

    /// Writes the checkpoint of `step` into `folder` and removes those before the last.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: &Path, step: u64) -> Result<PathBuf, CheckpointError> {
        let path = folder.join(format!("step-{step:09}.safetensors"));
        let failed = |source| CheckpointError::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        let bytes = self.to_bytes().map_err(failed)?;
        write_atomically(&path, &bytes).map_err(failed)?;
        for old in list(folder).iter().rev().skip(KEPT) {
            // One that cannot be removed does no harm.
            let _ = std::fs::remove_file(old);
        }
        Ok(path)
    }

    /// What its file holds.
    fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let header = serde_json::to_string(&self.header).map_err(std::io::Error::other)?;
        let metadata = HashMap::from([
            ("lease".to_string(), header.clone()),
            ("sha256".to_string(), digest(&header, &self.tensors)),
        ]);
        serialize(&self.tensors, metadata).map_err(std::io::Error::other)
    }

    /// What process 0 has found in a folder, on all processes.
    ///
    /// # Errors
    /// If it cannot be written or read.
    pub fn shared(
        found: Option<(Self, Vec<CheckpointError>)>,
        folder: &Path,
        (kind, identity): (&str, &Identity),
        peers: &dyn Collective,
    ) -> Result<Option<(Self, Vec<CheckpointError>)>, CheckpointError> {
        if peers.size() == 1 {
            return Ok(found);
        }
        let bytes = match &found {
            Some((checkpoint, _)) => {
                checkpoint
                    .to_bytes()
                    .map_err(|source| CheckpointError::Io {
                        action: "write",
                        path: folder.into(),
                        source,
                    })?
            }
            None => Vec::new(),
        };
        let bytes = peers.broadcast(bytes);
        if peers.rank() == 0 || bytes.is_empty() {
            return Ok(found);
        }
        let there = Self::from_bytes(&bytes, folder, kind, identity)?;
        Ok(Some((there, Vec::new())))
    }

    /// Reads one checkpoint and checks that it is whole and belongs to this run.
    ///
    /// # Errors
    /// If it is damaged, of another kind, or of another configuration.
    pub fn load(path: &Path, kind: &str, identity: &Identity) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::from_bytes(&bytes, path, kind, identity)
    }

    /// The checkpoint that these bytes of a file are.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        kind: &str,
        identity: &Identity,
    ) -> Result<Self, CheckpointError> {
        let unusable = |reason: String| CheckpointError::Unusable {
            path: path.into(),
            reason,
        };
        let (file, mut metadata) =
            tensors_in(bytes).map_err(|e| unusable(format!("it is damaged ({e})")))?;
        let (Some(header), Some(expected)) = (metadata.remove("lease"), metadata.remove("sha256"))
        else {
            return Err(unusable("it was not written by lease".into()));
        };
        if digest(&header, &file) != expected {
            return Err(unusable(
                "its contents do not match their digest, so it is damaged".into(),
            ));
        }
        let header: Header = serde_json::from_str(&header)
            .map_err(|e| unusable(format!("its header cannot be read ({e})")))?;
        if header.format != FORMAT {
            return Err(unusable(format!(
                "it has format {}, this version of lease reads {FORMAT}",
                header.format
            )));
        }
        if header.kind != kind {
            return Err(unusable(format!(
                "it is of a {}, not a {kind}",
                header.kind
            )));
        }
        let differences = header.identity.differences(identity);
        if !differences.is_empty() {
            return Err(CheckpointError::Foreign {
                path: path.into(),
                differences: differences.join("; "),
            });
        }
        Ok(Self {
            path: path.into(),
            header,
            tensors: file,
        })
    }

    /// Whether a folder has a whole checkpoint of this kind of run.
    pub fn any_of(folder: &Path, kind: &str) -> bool {
        list(folder).iter().any(|path| {
            let nobody = Identity::default();
            let loaded = Self::load(path, kind, &nobody);
            matches!(loaded, Err(CheckpointError::Foreign { .. }))
        })
    }

    /// The newest usable checkpoint in `folder`, and what was wrong with newer ones.
    ///
    /// # Errors
    /// If there is none.
    pub fn newest(
        folder: &Path,
        kind: &str,
        identity: &Identity,
    ) -> Result<(Self, Vec<CheckpointError>), CheckpointError> {
        let mut refused = Vec::new();
        for path in list(folder).into_iter().rev() {
            match Self::load(&path, kind, identity) {
                Ok(checkpoint) => return Ok((checkpoint, refused)),
                // The others are of the same run.
                Err(foreign @ CheckpointError::Foreign { .. }) => return Err(foreign),
                Err(error) => refused.push(error),
            }
        }
        if refused.is_empty() {
            return Err(CheckpointError::None {
                folder: folder.into(),
            });
        }
        Err(CheckpointError::AllUnusable {
            folder: folder.into(),
            newest: Box::new(refused.remove(0)),
        })
    }
}

/// The checkpoints in a folder, oldest first.
fn list(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("step-") && name.ends_with(".safetensors")
        })
        .collect();
    paths.sort();
    paths
}

/// The named tensors of a vector, each in its shape.
pub fn named(vector: &Vector) -> Vec<(String, TensorData)> {
    let flat = vector.flat().into_data().convert::<f32>();
    let values: Vec<f32> = flat.iter::<f32>().collect();
    let entries = vector.layout().entries().iter();
    entries
        .map(|e| {
            let part = values[e.range.clone()].to_vec();
            (e.name.clone(), TensorData::new(part, e.shape.clone()))
        })
        .collect()
}

/// A vector of a layout from tensors found by name; the error says which one is missing or misshapen.
pub fn joined<'a>(
    layout: &std::sync::Arc<Layout>,
    find: impl Fn(&str) -> Option<&'a TensorData>,
    device: &Device,
) -> Result<Vector, String> {
    let mut values: Vec<f32> = Vec::with_capacity(layout.len());
    for entry in layout.entries() {
        let data = find(&entry.name).ok_or_else(|| format!("it has no {}", entry.name))?;
        if data.shape().as_slice() != entry.shape {
            return Err(format!(
                "{} has shape {:?} where {:?} is needed",
                entry.name,
                data.shape().as_slice(),
                entry.shape
            ));
        }
        values.extend(data.iter::<f32>());
    }
    let data = TensorData::new(values, [layout.len()]);
    let flat = Tensor::from_data(data, (device, DType::F32));
    Ok(Vector::new(layout.clone(), flat))
}

/// Serialises f32 tensors as safetensors.
///
/// # Errors
/// If safetensors refuses them.
pub fn serialize(
    tensors: &BTreeMap<String, TensorData>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes())?;
            Ok((name, view))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, Some(metadata))
}

/// Tensors by name, and metadata.
pub type Parsed = (BTreeMap<String, TensorData>, HashMap<String, String>);

/// The f32 tensors of a safetensors file, and its metadata.
///
/// # Errors
/// If it is no such file, or has other tensors.
pub fn tensors_in(bytes: &[u8]) -> Result<Parsed, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is of type {:?}, not F32", view.dtype()));
        }
        let (whole, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = whole.iter().map(|b| f32::from_le_bytes(*b)).collect();
        tensors.insert(name.into(), TensorData::new(values, view.shape().to_vec()));
    }
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// SHA-256 over the header and every tensor's name, shape and bytes.
fn digest(header: &str, tensors: &BTreeMap<String, TensorData>) -> String {
    let mut hash = Sha256::new();
    hash.update(header);
    for (name, data) in tensors {
        hash.update(format!("{name} {:?} ", data.shape().to_vec()));
        hash.update(data.as_bytes());
    }
    hex(&hash.finalize())
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
