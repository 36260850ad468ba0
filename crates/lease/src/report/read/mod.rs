//! What the files of a folder say. Runs of older versions and those still going on lack some: what is not there is left
//! out, nothing is asked for.

mod comparison;
mod examples;
mod measures;
mod run;
mod training;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use toml::Table;

pub use comparison::{ComparisonData, MethodRun};
pub use examples::{Example, Examples, HEARD};
pub use measures::Measures;
pub use run::{Mixtures, RunData};
pub use training::TrainingData;

use crate::Error;
use crate::data::called;
use crate::run::files::contents;

/// What a folder holds.
pub enum Subject {
    /// A search, with trainings of what it found where there are any.
    Run(Box<RunData>),
    /// A training by itself.
    Training(Box<TrainingData>),
    /// A comparison.
    Comparison(Box<ComparisonData>),
}

impl Subject {
    /// Reads a folder.
    ///
    /// # Errors
    /// If it is none of them, or cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let entries = std::fs::read_dir(path);
        entries
            .map_err(|e| Error::Usage(format!("cannot read the folder {}: {e}", path.display())))?;
        let about = json(&path.join("run.json"));
        if about["kind"] == "search" {
            return Ok(Self::Run(Box::new(RunData::read(path))));
        }
        if about["kind"] == "training" {
            return Ok(Self::Training(Box::new(TrainingData::read(path))));
        }
        let comparison = ComparisonData::read(path)?;
        if !comparison.runs.is_empty() {
            return Ok(Self::Comparison(Box::new(comparison)));
        }
        let measures = Measures::read(path);
        if measures.is_of_search() {
            return Ok(Self::Run(Box::new(RunData::read(path))));
        }
        if !measures.epochs.is_empty() || path.join("result.json").is_file() {
            return Ok(Self::Training(Box::new(TrainingData::read(path))));
        }
        Err(Error::Usage(format!(
            "{} is no run, training or comparison: it has no run.json or metrics.jsonl, and no METHOD/seedN with a \
             found.json in it; give the folder that --out named",
            path.display()
        )))
    }
}

/// The bytes of a file, or of the one with `.gz` behind its name, unpacked.
fn bytes(path: &Path) -> Option<Vec<u8>> {
    if let Ok(bytes) = std::fs::read(path) {
        return Some(bytes);
    }
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut all = Vec::new();
    MultiGzDecoder::new(File::open(PathBuf::from(packed)).ok()?)
        .read_to_end(&mut all)
        .ok()?;
    Some(all)
}

/// A JSON file; null where there is none, or it is damaged.
fn json(path: &Path) -> Value {
    let bytes = bytes(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The objects in a log, one a line; a line that is not whole, such as the last of a run that is going on, is left out.
fn lines(path: &Path) -> Vec<Value> {
    let bytes = bytes(path).unwrap_or_default();
    let lines = bytes.split(|b| *b == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// The text of a configuration, and its values.
fn configuration(path: &Path) -> (String, Table) {
    let text = bytes(&path.join("config.toml")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let table = text.parse().unwrap_or_default();
    (text, table)
}

/// A setting as text.
pub fn setting(config: &Table, section: &str, key: &str) -> Option<String> {
    match config.get(section)?.get(key)? {
        toml::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// What the images are called.
pub fn images(about: &Value, config: &Table) -> Option<String> {
    let named = about["dataset"].as_str().map(str::to_string);
    let kind = setting(config, "data", "dataset").or(named)?;
    let path = setting(config, "data", "path").unwrap_or_default();
    Some(called(&kind, &path))
}

/// The folders in a folder, sorted.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut all = contents(path).unwrap_or_default();
    all.retain(|entry| entry.is_dir());
    all
}

/// The last part of a path.
fn name_of(path: &Path) -> String {
    // `.` and `..` have none.
    let full = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = full.file_name().unwrap_or(full.as_os_str());
    name.to_string_lossy().into_owned()
}
