//! Several runs: what was found beside random architectures, comparisons of methods over seeds, random search, and
//! measurements.

pub mod baseline;
pub mod bench;
pub mod cell;
pub mod compare;
pub mod grid;
pub mod listening;
pub mod plan;
pub mod predict;
pub mod random_search;
mod settings;
pub mod tables;
pub mod variant;
pub mod work;

pub use settings::{
    BaselineSettings, ComparisonConfig, RandomSearchSettings, RunConfig, Searching, StudyConfig,
    sections,
};
