//! A search's folder, with the trainings in it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table;

use super::{Examples, Measures, TrainingData, configuration, folders, json, name_of, setting};
use crate::search::CANDIDATES;
use crate::search::trial::Trial;
use crate::space::{CellGraph, Genotype, Standing};

/// The mixture of a kind of cell after an epoch: for each edge the weight of each candidate.
pub type Mixtures = Vec<Vec<f64>>;

/// What is known of a search.
#[derive(Clone, Debug)]
pub struct RunData {
    /// Its folder.
    pub path: PathBuf,
    /// Its folder's name.
    pub name: String,
    /// `run.json`.
    pub about: Value,
    /// `summary.json`; null while it is not finished, and of older versions.
    pub summary: Value,
    /// `config.toml`, and its values.
    pub config: (String, Table),
    /// Its logs.
    pub measures: Measures,
    /// What it found; none while it is not finished.
    pub genotype: Option<Genotype>,
    /// Trainings in it: that of what was found first, then those of random architectures.
    pub trainings: Vec<TrainingData>,
    /// Examples of explanations.
    pub examples: Option<Examples>,
    /// What a selection by short trainings chose from, the likeliest first; empty where there was none.
    pub candidates: Vec<Trial>,
}

impl RunData {
    /// Reads what there is.
    pub fn read(path: &Path) -> Self {
        let genotype = Genotype::from_file(&path.join("genotype.json"), None);
        let about = json(&path.join("run.json"));
        let classes: Vec<String> =
            serde_json::from_value(about["classes"].clone()).unwrap_or_default();
        let mut trainings: Vec<TrainingData> = folders(path)
            .iter()
            .filter(|folder| name_of(folder).starts_with("train"))
            .map(|folder| TrainingData::read(folder))
            .filter(|training| !training.measures.epochs.is_empty() || !training.result.is_null())
            .collect();
        for training in &mut trainings {
            training.name = match training.name.strip_prefix("train-random-") {
                Some(number) => format!("random {number}"),
                None if training.name == "train" => "found".into(),
                None => training.name.clone(),
            };
            if training.classes.is_empty() {
                training.classes.clone_from(&classes);
            }
        }
        trainings.sort_by_key(|training| rank(&training.name));
        Self {
            path: path.into(),
            name: name_of(path),
            about,
            summary: json(&path.join("summary.json")),
            config: configuration(path),
            measures: Measures::read(path),
            genotype: genotype.ok().map(|read| read.value),
            trainings,
            examples: Examples::read(path),
            candidates: serde_json::from_value(json(&path.join(CANDIDATES))).unwrap_or_default(),
        }
    }

    /// A setting as text.
    pub fn setting(&self, section: &str, key: &str) -> Option<String> {
        setting(&self.config.1, section, key)
    }

    /// What would be derived after the last epoch, or was.
    pub fn last_genotype(&self) -> Option<Genotype> {
        let last = self.measures.epochs.last();
        let told = || Genotype::parse(last?["genotype"].as_str()?).ok();
        self.genotype.clone().or_else(told)
    }

    /// Epochs of the search, where the configuration says so; those of all stages.
    pub fn epochs_wanted(&self) -> Option<u64> {
        let each: u64 = self.setting("search", "epochs")?.parse().ok()?;
        let staged = self
            .setting("explainer", "space")
            .is_some_and(|s| s == "p-darts");
        let stages = self.setting("p_darts", "stage_cells").filter(|_| staged);
        Some(each * stages.map_or(1, |s| s.split(',').count() as u64))
    }

    /// The mixture of a kind of cell after each epoch that has it, with the epoch from 1.
    pub fn mixtures(&self, kind: &str) -> Vec<(u64, Mixtures)> {
        let lines = self.measures.epochs.iter();
        lines
            .filter_map(|line| {
                let rows: Mixtures = serde_json::from_value(line["mixtures"][kind].clone()).ok()?;
                Some((line["epoch"].as_u64()? + 1, rows))
            })
            .collect()
    }

    /// What would have been derived after each epoch, as graphs, with the epoch from 1.
    pub fn choices(&self) -> Vec<(u64, Vec<CellGraph>)> {
        let lines = self.measures.epochs.iter();
        lines
            .filter_map(|line| {
                let genotype = Genotype::parse(line["genotype"].as_str()?).ok()?;
                Some((line["epoch"].as_u64()? + 1, genotype.graphs()))
            })
            .collect()
    }

    /// What a table says of what was found, or, while the search goes on, would be derived now.
    pub fn standing(&self) -> Option<Standing> {
        let found = serde_json::from_value(self.summary["standing"].clone()).ok();
        found.or_else(|| self.standings().pop().map(|(_, standing)| standing))
    }

    /// What a table says after each epoch, with the epoch from 1.
    pub fn standings(&self) -> Vec<(u64, Standing)> {
        let lines = self.measures.epochs.iter();
        lines
            .filter_map(|line| {
                let standing = serde_json::from_value(line["standing"].clone()).ok()?;
                Some((line["epoch"].as_u64()? + 1, standing))
            })
            .collect()
    }
}

/// What was found, random ones by number, others.
fn rank(name: &str) -> (u8, u64, String) {
    match (name, name.strip_prefix("random ")) {
        ("found", _) => (0, 0, String::new()),
        (_, Some(number)) => (1, number.parse().unwrap_or(0), String::new()),
        _ => (2, 0, name.into()),
    }
}
