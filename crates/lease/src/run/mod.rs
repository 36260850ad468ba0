//! The run folder: what a search or training leaves, and all that it needs to go on.
//!
//! ```text
//! config.toml      every setting
//! run.json         kind of run, version, device, threads, seed and data set
//! metrics.jsonl    one line a step and one an epoch: the same bytes for the same seed
//! timing.jsonl     wall-clock seconds of each epoch, which are not
//! summary.json     steps, passes of the explainer and what a table says of the result, after the last epoch
//! candidates.json  with a selection by short trainings: what each reached; their trainings are in candidates/
//! genotype.json    the derived cells, last
//! explanations.…   examples of explanations as safetensors, after the last epoch that is done
//! weights/         E, W and A as safetensors with PyTorch's names
//! checkpoints/     the last two
//! train-…/         trainings of derived networks: metrics, checkpoints, result.json, weights, model.json
//! ```

pub mod checkpoint;
pub mod files;
mod identity;
mod kept;
mod lock;
mod log;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::ConfigError;
use crate::network::Vector;
use checkpoint::Checkpoint;
use files::{contents, remove_partial, write_atomically};

pub use identity::Identity;
pub use lock::Lock;
pub use log::{Log, LogPosition};
pub use settings::RunSettings;

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
    /// A new run was to go where one already is.
    #[error("{path} has a {kind} already; choose another --out, or go on with it by {again}")]
    Exists {
        /// The folder.
        path: PathBuf,
        /// What it has.
        kind: &'static str,
        /// The command.
        again: String,
    },
    /// A new run was to go where other files are.
    #[error("{path} has files that are no {kind} of lease's ({files}); choose another --out")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What was to go there.
        kind: &'static str,
        /// Some of the files.
        files: String,
    },
    /// A folder is no run folder.
    #[error("{path} is no run folder: it has no {missing}")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The file that every run folder has.
        missing: &'static str,
    },
    /// A log has lines that no checkpoint knows of.
    #[error(
        "{path} has a log of a {kind}, but its checkpoints are gone, so it cannot be gone on with and is left as it is; \
         put them back, or start anew in another folder (--out)"
    )]
    NoCheckpoints {
        /// The folder.
        path: PathBuf,
        /// The kind of run.
        kind: &'static str,
    },
    /// A log is not as it was written.
    #[error("{path} was changed: {reason}; restore it, or start anew in another folder (--out)")]
    Changed {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process writes the run.
    #[error(
        "cannot open the log {path}: another process is at work on this run; wait until it has ended, or end it"
    )]
    Busy {
        /// The log.
        path: PathBuf,
    },
    /// The stored configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A search.
    Search,
    /// A training.
    Training,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Training => "training",
        }
    }
}

/// What is in a folder that a run is to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or no more than the beginnings of a run that was killed at once.
    Nothing,
    /// A run of this kind.
    Run,
}

/// The file that says what a folder holds; the first that is written.
const ABOUT: &str = "run.json";

/// The settings.
const CONFIGURATION: &str = "config.toml";

/// A comparison's tables: Markdown, JSON and CSV.
pub const TABLES: [&str; 3] = ["comparison.md", "comparison.json", "comparison.csv"];

/// The page about a run, a training or a comparison.
pub const REPORT: &str = "report.html";

/// The log of measures.
const METRICS: &str = "metrics.jsonl";

/// What is in a folder but for unfinished files.
fn listed(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    contents(path).map_err(|source| RunError::Io {
        action: "read",
        path: path.into(),
        source,
    })
}

fn named(file: &Path, name: &str) -> bool {
    file.file_name().is_some_and(|f| f == name)
}

/// Whether it is a folder for checkpoints without any.
fn is_no_checkpoints(file: &Path) -> bool {
    named(file, "checkpoints") && contents(file).is_ok_and(|c| c.is_empty())
}

/// The error of a folder with these other files.
fn occupied(path: &Path, kind: &'static str, all: &[PathBuf]) -> RunError {
    let names = all.iter().filter_map(|f| f.file_name());
    let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
    let more = names.len().saturating_sub(4);
    names.truncate(4);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    RunError::Occupied {
        path: path.into(),
        kind,
        files: names.join(", "),
    }
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// What is in a folder in which a run of this kind is to be started or gone on with.
    ///
    /// # Errors
    /// If it is no folder or cannot be read, or holds anything else.
    pub fn look(path: &Path, kind: Kind) -> Result<Found, RunError> {
        let all = listed(path)?;
        let about = std::fs::read_to_string(path.join(ABOUT)).unwrap_or_default();
        let about: serde_json::Value = serde_json::from_str(&about).unwrap_or_default();
        let ours = about["kind"] == kind.name();
        // A run that was killed at once leaves no more than an empty folder of checkpoints, an empty log, and what it is.
        let begun = |file: &PathBuf| {
            let empty = || std::fs::metadata(file).is_ok_and(|f| f.is_file() && f.len() == 0);
            is_no_checkpoints(file)
                || (named(file, METRICS) && empty())
                || (ours && named(file, ABOUT))
        };
        if all.iter().all(begun) {
            return Ok(Found::Nothing);
        }
        // Where what it is has gone, its checkpoints tell.
        if ours || (about.is_null() && Checkpoint::any_of(&path.join("checkpoints"), kind.name())) {
            return Ok(Found::Run);
        }
        Err(occupied(path, kind.name(), &all))
    }

    /// The kind of run that a folder says it holds; none if it says nothing.
    pub fn kind(path: &Path) -> Option<Kind> {
        let about = std::fs::read_to_string(path.join(ABOUT)).ok()?;
        let about: serde_json::Value = serde_json::from_str(&about).ok()?;
        let kinds = [Kind::Search, Kind::Training];
        kinds.into_iter().find(|kind| about["kind"] == kind.name())
    }

    /// Whether nothing is in a folder in which something is to be begun that is no run by itself.
    ///
    /// # Errors
    /// If something is, or it is no folder or cannot be read.
    pub fn empty(path: &Path) -> Result<(), RunError> {
        let all = listed(path)?;
        if all.iter().all(|file| is_no_checkpoints(file)) {
            return Ok(());
        }
        Err(occupied(path, "cell of a comparison", &all))
    }

    /// Whether a comparison can be begun, or gone on with, in a folder: one that holds a run, or where nothing was compared
    /// yet files of the names that a comparison writes, is somebody else's.
    ///
    /// # Errors
    /// If it cannot; if it is no folder or cannot be read.
    pub fn for_comparison(path: &Path) -> Result<(), RunError> {
        let all = listed(path)?;
        let of_run = |file: &PathBuf| named(file, ABOUT) || named(file, METRICS);
        let ours = |file: &PathBuf| {
            TABLES
                .into_iter()
                .chain([REPORT])
                .any(|name| named(file, name))
        };
        let seed = |file: &PathBuf| {
            file.file_name()
                .is_some_and(|f| f.to_string_lossy().starts_with("seed"))
        };
        let begun = |method: &PathBuf| contents(method).is_ok_and(|cells| cells.iter().any(seed));
        if all.iter().any(of_run) || (all.iter().any(ours) && !all.iter().any(begun)) {
            return Err(occupied(path, "comparison", &all));
        }
        Ok(())
    }

    /// Makes a new folder, with its parents, takes it for this process, and says in it what it will hold: `about`, an
    /// object, with the kind. The log of its measures keeps other processes out while it is open.
    ///
    /// # Errors
    /// If it cannot be made or written, or another process is at work on it.
    pub fn create(
        path: &Path,
        kind: Kind,
        about: serde_json::Value,
    ) -> Result<(Self, Log), RunError> {
        let run = Self::open(path)?;
        let metrics = run.log(METRICS, &LogPosition::default())?;
        run.tidy();
        run.describe(kind, about)?;
        Ok((run, metrics))
    }

    /// Goes on with what is in a folder: takes it for this process, removes what a kill left unfinished, and says again
    /// what it holds where that was lost, or where nothing was done yet.
    ///
    /// # Errors
    /// If the log is not what was written until then, or another process is at work on it.
    pub fn go_on(
        &self,
        kind: Kind,
        about: serde_json::Value,
        position: &LogPosition,
    ) -> Result<Log, RunError> {
        let metrics = self.log(METRICS, position)?;
        self.tidy();
        let there = std::fs::read(self.path.join(ABOUT)).unwrap_or_default();
        let there: serde_json::Value = serde_json::from_slice(&there).unwrap_or_default();
        if there["kind"] != kind.name() || position.bytes == 0 {
            self.describe(kind, about)?;
        }
        Ok(metrics)
    }

    fn describe(&self, kind: Kind, about: serde_json::Value) -> Result<(), RunError> {
        let mut all = serde_json::Map::new();
        all.insert("kind".into(), kind.name().into());
        if let serde_json::Value::Object(about) = about {
            all.extend(about);
        }
        self.write_json(ABOUT, &all)
    }

    /// Opens a folder, making what is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let checkpoints = path.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).map_err(|source| RunError::Io {
            action: "create",
            path: checkpoints.clone(),
            source,
        })?;
        Ok(Self { path: path.into() })
    }

    /// The text of an earlier run's configuration, and the file that it is from.
    ///
    /// # Errors
    /// If there is no such folder, it is no run folder, or its configuration cannot be read.
    pub fn configuration(path: &Path) -> Result<(String, PathBuf), RunError> {
        let file = path.join(CONFIGURATION);
        let failed = |path: &Path, source| RunError::Io {
            action: "read",
            path: path.into(),
            source,
        };
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok((text, file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                Err(RunError::Foreign {
                    path: path.into(),
                    missing: CONFIGURATION,
                })
            }
            Err(e) if !path.exists() => Err(failed(path, e)),
            Err(e) => Err(failed(&file, e)),
        }
    }

    /// Removes what a kill left unfinished.
    pub fn tidy(&self) {
        for folder in [
            self.path.clone(),
            self.checkpoints(),
            self.path.join("weights"),
        ] {
            remove_partial(&folder);
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(name);
        // A folder in it may have to be made; the run's own, if it has gone, must not be made anew around one file.
        let made = match path.parent() {
            Some(folder) if folder != self.path => match std::fs::create_dir(folder) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        made.and_then(|()| write_atomically(&path, contents))
            .map_err(|source| RunError::Io {
                action: "write",
                path,
                source,
            })
    }

    /// Writes the configuration of a run that is gone on with. What the one there has beside it, being read by other commands,
    /// stays.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write_configuration(&self, configuration: &str) -> Result<(), RunError> {
        let there = std::fs::read_to_string(self.path.join(CONFIGURATION)).unwrap_or_default();
        let whole = kept::with_others_of(&there, configuration);
        self.write(CONFIGURATION, whole.as_bytes())
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

    /// Whether its log of measures has lines.
    pub fn has_measures(&self) -> bool {
        let log = std::fs::metadata(self.path.join(METRICS));
        log.is_ok_and(|log| log.len() > 0)
    }

    /// Opens a log of JSON lines, cut to where it was: what comes after belongs to steps that will be done again.
    ///
    /// # Errors
    /// As the file system reports, if the log is not what was written until then, or if another process writes it.
    pub fn log(&self, name: &str, position: &LogPosition) -> Result<Log, RunError> {
        Log::open(&self.path.join(name), position)
    }
}
