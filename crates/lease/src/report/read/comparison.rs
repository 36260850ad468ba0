//! A comparison's folder.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table;

use super::{Measures, configuration, folders, json, name_of};
use crate::Error;
use crate::space::Genotype;
use crate::study::compare::Found;

/// One cell of a comparison: a method with a seed.
#[derive(Clone, Debug)]
pub struct MethodRun {
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The logs of its search.
    pub measures: Measures,
    /// What it found; none while it is not done.
    pub found: Option<Found>,
}

impl MethodRun {
    /// What was found, as a genotype.
    pub fn genotype(&self) -> Option<Genotype> {
        Genotype::parse(&self.found.as_ref()?.genotype).ok()
    }
}

/// What is known of a comparison.
#[derive(Clone, Debug)]
pub struct ComparisonData {
    /// Its folder.
    pub path: PathBuf,
    /// Its folder's name.
    pub name: String,
    /// Methods in their order, seed by seed.
    pub runs: Vec<MethodRun>,
    /// The method that the others are compared with.
    pub against: String,
    /// What one of its cells says of itself.
    pub about: Value,
    /// The configuration of one of its cells.
    pub config: (String, Table),
}

impl ComparisonData {
    /// Reads what there is; no runs if it is no comparison.
    ///
    /// # Errors
    /// If a result is damaged.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let tables = json(&path.join("comparison.json"));
        let mut methods: Vec<String> = Vec::new();
        let listed = tables["methods"].as_array().into_iter().flatten();
        methods.extend(listed.filter_map(|m| Some(m["method"].as_str()?.to_string())));
        for folder in folders(path) {
            let name = name_of(&folder);
            if !methods.contains(&name) {
                methods.push(name);
            }
        }
        let mut runs = Vec::new();
        let (mut about, mut config) = (Value::Null, (String::new(), Table::new()));
        for method in &methods {
            for (seed, folder) in seeds(&path.join(method)) {
                if about.is_null() {
                    about = json(&folder.join("run.json"));
                }
                if config.0.is_empty() || !config.1.contains_key("method") {
                    config = configuration(&folder);
                }
                runs.push(MethodRun {
                    method: method.clone(),
                    seed,
                    measures: Measures::read(&folder),
                    found: found(&folder)?,
                });
            }
        }
        let against = tables["differences"][0]["against"].as_str();
        let first = runs.first().map_or("", |run| &run.method);
        Ok(Self {
            path: path.into(),
            name: name_of(path),
            against: against.unwrap_or(first).into(),
            runs,
            about,
            config,
        })
    }

    /// What the cells found that are done.
    pub fn found(&self) -> Vec<Found> {
        self.runs
            .iter()
            .filter_map(|run| run.found.clone())
            .collect()
    }

    /// The methods, in their order.
    pub fn methods(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !all.contains(&run.method.as_str()) {
                all.push(&run.method);
            }
        }
        all
    }

    /// The cells of a method, by seed.
    pub fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a MethodRun> + 'a {
        self.runs.iter().filter(move |run| run.method == method)
    }
}

/// The cells in a method's folder: those that were begun.
fn seeds(method: &Path) -> Vec<(u64, PathBuf)> {
    let mut all: Vec<(u64, PathBuf)> = folders(method)
        .into_iter()
        .filter(|cell| {
            let files = ["config.toml", "found.json"];
            files.iter().any(|file| cell.join(file).is_file())
        })
        .filter_map(|cell| Some((name_of(&cell).strip_prefix("seed")?.parse().ok()?, cell)))
        .collect();
    all.sort();
    all
}

/// What a cell found, if it is done.
fn found(cell: &Path) -> Result<Option<Found>, Error> {
    let path = cell.join("found.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(None);
    };
    match serde_json::from_str(&text) {
        Ok(found) => Ok(Some(found)),
        Err(e) => Err(Error::Damaged {
            path,
            reason: e.to_string(),
        }),
    }
}
