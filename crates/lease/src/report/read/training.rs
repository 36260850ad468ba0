//! A training's folder.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table;

use super::{Measures, configuration, json, name_of};
use crate::space::Genotype;
use crate::training::TrainResult;

/// Of the test images of each class (row) how many were taken for each class (column).
pub type Confusion = Vec<Vec<u64>>;

/// What is known of a training.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Its folder.
    pub path: PathBuf,
    /// What it is called: in a run `found` or `random 1`, else its folder's name.
    pub name: String,
    /// `run.json`.
    pub about: Value,
    /// `config.toml`, and its values.
    pub config: (String, Table),
    /// Its logs.
    pub measures: Measures,
    /// `result.json`; null while it is not finished.
    pub result: Value,
    /// What is trained.
    pub genotype: Option<Genotype>,
    /// The classes' names, where they are known.
    pub classes: Vec<String>,
}

impl TrainingData {
    /// Reads what there is.
    pub fn read(path: &Path) -> Self {
        let result = json(&path.join("result.json"));
        let file = Genotype::from_file(&path.join("genotype.json"), None).ok();
        let told = || Genotype::parse(result["genotype"].as_str()?).ok();
        let genotype = file.map(|read| read.value).or_else(told);
        let about = json(&path.join("run.json"));
        let classes = [&result["classes"], &about["classes"]];
        let classes = classes.iter().find_map(|classes| classes.as_array());
        let name = |class: &Value| Some(class["class"].as_str().or(class.as_str())?.to_string());
        let classes = classes.map_or(Vec::new(), |all| all.iter().filter_map(name).collect());
        Self {
            path: path.into(),
            name: name_of(path),
            config: configuration(path),
            measures: Measures::read(path),
            about,
            result,
            genotype,
            classes,
        }
    }

    /// The result as the study's statistics take it, once there is one.
    pub fn finished(&self) -> Option<TrainResult> {
        serde_json::from_value(self.result.clone()).ok()
    }

    /// The share of test images classified correctly.
    pub fn accuracy(&self) -> Option<f64> {
        self.result["test_accuracy"].as_f64()
    }

    /// The confusion matrix, where there is one: classes in rows, predictions in columns.
    pub fn confusion(&self) -> Option<Confusion> {
        let confusion: Confusion = serde_json::from_value(self.result["confusion"].clone()).ok()?;
        let square = confusion.iter().all(|row| row.len() == confusion.len());
        (square && confusion.len() > 1).then_some(confusion)
    }
}
