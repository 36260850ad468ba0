//! The run folder: what a search or training leaves, and all that it needs to go on.
//!
//! ```text
//! config.toml      every setting
//! run.json         version, device, threads, seed and data set
//! metrics.jsonl    one line a step and one an epoch: the same bytes for the same seed
//! timing.jsonl     wall-clock seconds of each epoch, which are not
//! genotype.json    the derived cells, after the last epoch
//! weights/         E, W and A as safetensors with PyTorch's names
//! checkpoints/     the last two
//! train-…/         trainings of derived networks: metrics, checkpoints, result.json, weights
//! ```

pub mod checkpoint;
pub mod files;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::{Config, ConfigError};
use crate::network::Vector;
use files::write_atomically;

/// A run folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, such as `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A new run was to go where something already is.
    #[error(
        "{path} already exists and is not empty; choose another --out, or go on with that run by \
         --resume {path}"
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is no run folder.
    #[error("{path} is no run folder: it has no {missing}")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The file that every run folder has.
        missing: &'static str,
    },
    /// The stored configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder, with its parents.
    ///
    /// # Errors
    /// If it exists and is not empty, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        // A run that was killed before its first file leaves an empty folder of checkpoints.
        let begun = |entry: &io::Result<std::fs::DirEntry>| {
            let checkpoints = path.join("checkpoints");
            entry.as_ref().is_ok_and(|e| e.path() == checkpoints)
                && checkpoints.read_dir().is_ok_and(|mut c| c.next().is_none())
        };
        let occupied = path
            .read_dir()
            .map(|mut entries| !entries.all(|entry| begun(&entry)))
            .unwrap_or(path.exists());
        if occupied {
            return Err(RunError::Exists { path: path.into() });
        }
        Self::open(path)
    }

    /// Opens a folder, making what is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let checkpoints = path.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).map_err(|source| RunError::Io {
            action: "create",
            path: checkpoints,
            source,
        })?;
        Ok(Self { path: path.into() })
    }

    /// Opens the folder of an earlier search and reads its configuration.
    ///
    /// # Errors
    /// If it is no run folder, or its configuration cannot be used.
    pub fn existing(path: &Path) -> Result<(Self, Config), RunError> {
        let file = path.join("config.toml");
        if !file.is_file() {
            return Err(RunError::Foreign {
                path: path.into(),
                missing: "config.toml",
            });
        }
        let text = std::fs::read_to_string(&file).map_err(|source| RunError::Io {
            action: "read",
            path: file.clone(),
            source,
        })?;
        let config = Config::parse(&text, &file.display().to_string())?;
        config.validate()?;
        Ok((Self::open(path)?, config))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The folder of a training inside this run.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn child(&self, name: &str) -> Result<Self, RunError> {
        Self::open(&self.path.join(name))
    }

    /// Writes a text file, whole or not at all.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        std::fs::create_dir_all(folder)
            .and_then(|()| write_atomically(&path, contents))
            .map_err(|source| RunError::Io {
                action: "write",
                path,
                source,
            })
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|e| RunError::Io {
            action: "write",
            path: self.path.join(name),
            source: io::Error::other(e),
        })?;
        text.push(b'\n');
        self.write(name, &text)
    }

    /// Writes weights as safetensors with PyTorch's names.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write_weights(&self, name: &str, parts: &[&Vector]) -> Result<(), RunError> {
        let tensors: BTreeMap<_, _> = parts.iter().flat_map(|v| checkpoint::named(v)).collect();
        let bytes = checkpoint::serialize(&tensors, HashMap::new()).map_err(|e| RunError::Io {
            action: "write",
            path: self.path.join(name),
            source: io::Error::other(e),
        })?;
        self.write(name, &bytes)
    }

    /// Opens a log of JSON lines, cut to its first `bytes` bytes: what came after them belongs to steps
    /// that will be done again.
    ///
    /// # Errors
    /// As the file system reports, if the log is shorter than that, or if another process writes it.
    pub fn log(&self, name: &str, bytes: u64) -> Result<Log, RunError> {
        let path = self.path.join(name);
        Log::open(&path, bytes).map_err(|source| RunError::Io {
            action: "open the log",
            path,
            source,
        })
    }
}

/// A log of JSON lines.
pub struct Log {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Log {
    fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        // Held as long as the file is open. Where a file system has no locks, it goes without.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(io::Error::other(
                "another process is at work on this run; wait until it has ended, or end it",
            ));
        }
        let length = file.metadata()?.len();
        if length < bytes {
            return Err(io::Error::other(format!(
                "it has {length} bytes, but {bytes} were written before the checkpoint"
            )));
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Self {
            file,
            path: path.into(),
            bytes,
        })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        let failed = |source| RunError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        };
        let mut text = serde_json::to_vec(line).map_err(|e| failed(io::Error::other(e)))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(failed)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Bytes written so far, once they are on the disk.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn position(&mut self) -> Result<u64, RunError> {
        self.file.sync_data().map_err(|source| RunError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        Ok(self.bytes)
    }
}

/// A digest of the settings that a result depends on, where they differ from the defaults: all but how often
/// checkpoints are written.
pub fn fingerprint(config: &Config, more: &str) -> String {
    let mut config = config.clone();
    config.search.checkpoint_seconds = 0.0;
    let mut hash = Sha256::new();
    for difference in Config::default().differences(&config) {
        hash.update(difference);
        hash.update("\n");
    }
    hash.update(more);
    checkpoint::hex(&hash.finalize())
}
