//! What can be searched: one folder a space, with all that is its own — operations, genotype and notation, supernet,
//! derived network, settings and presets.
//!
//! A space gives a [`Family`]: the [`Entry`] of each space in it and the notation of its genotypes. Its supernet is an
//! [`Explainer`], its settings are a [`SearchSpace`], its genotypes are [`Architecture`]s. To add one, add its folder,
//! and its name to the two lists below.

pub mod bench_suite;
mod coefficients;
pub mod cost;
pub mod darts;
mod error;
mod explainer;
mod genotype;
mod graph;
pub mod mixing;
pub mod nas_bench_201;
mod partial;
mod reading;
mod settings;
mod stage;
pub mod subsets;

use std::fmt;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use crate::config::{ConfigError, SectionInfo};
use crate::network::{NetworkError, Stem};

pub use coefficients::{entropy, softmax};
pub use error::{GenotypeError, NotationError};
pub use explainer::{DerivedNetwork, DerivedShape, Explainer, Mixture, SkipDropout};
pub use genotype::{Architecture, Genotype, Python};
pub use graph::{CellGraph, GraphEdge};
pub use mixing::{Coefficients, Mixing};
pub use nas_bench_201::Brief;
pub use nas_bench_201::table::{Standing, Table as Truths, TableError, Truth};
pub use reading::text::{MOST_BYTES, Read, decode};
pub use settings::ExplainerSettings;
pub use stage::{StagePlan, StageReached};

/// The families of spaces that there are.
static FAMILIES: [&Family; 4] = [
    &darts::FAMILY,
    &nas_bench_201::FAMILY,
    &subsets::FAMILY,
    &bench_suite::FAMILY,
];

/// Spaces with genotypes of one kind.
pub struct Family {
    /// The spaces.
    pub spaces: &'static [Entry],
    /// Finds a genotype in a cleaned text, of several the one of this name; none if nothing looks like one.
    pub read: ReadGenotype,
}

/// How a family finds a genotype in a text.
pub type ReadGenotype = fn(&str, Option<&str>) -> Option<Result<Read<Genotype>, GenotypeError>>;

/// A space by its name.
#[derive(Debug)]
pub struct Entry {
    /// What it is called in settings.
    pub name: &'static str,
    /// What it is, as in "a supernet of …".
    pub about: &'static str,
    /// The sections of the configuration that it alone reads.
    pub sections: &'static [&'static SectionInfo],
    /// Settings of a search in it, where they differ from the defaults, as TOML.
    pub preset: &'static str,
    /// How its authors train a derived network, where that differs from the defaults, as TOML.
    pub recipe: &'static str,
    /// Reads its settings out of a whole configuration.
    pub read: fn(&Table) -> Result<Arc<dyn SearchSpace>, ConfigError>,
}

/// How large a supernet is, and for what images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Channels of the first cells.
    pub channels: usize,
    /// Cells, or cells of each stage of the network.
    pub cells: usize,
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of the images.
    pub image: [usize; 3],
    /// One channel in so many passes the mixed operations, and edges have strengths of their own (PC-DARTS, arXiv
    /// 1907.05737); 1 means that all do.
    pub partial: usize,
    /// What it begins with.
    pub stem: Stem,
}

/// A space with its settings.
pub trait SearchSpace: fmt::Debug + Send + Sync {
    /// Its name and presets.
    fn entry(&self) -> &'static Entry;

    /// Its settings, section by section, as in [`Entry::sections`].
    fn tables(&self) -> Vec<(&'static SectionInfo, Table)>;

    /// The explainer's supernet in a stage of the search.
    ///
    /// # Errors
    /// If it cannot be built at this size.
    fn supernet(
        &self,
        size: &Size,
        reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError>;

    /// An architecture drawn uniformly.
    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype;

    /// The stages of a search, at least one, where the supernet has this many cells otherwise.
    fn stages(&self, cells: usize) -> Vec<StagePlan> {
        vec![StagePlan::only(cells)]
    }

    /// Whether a search ends before its last epoch where a safeguard says so.
    fn can_end_early(&self) -> bool {
        true
    }

    /// What is wrong with its settings together.
    fn problems(&self) -> Vec<ConfigError> {
        Vec::new()
    }

    /// What is known of its architectures, where there is a table.
    ///
    /// # Errors
    /// If the table cannot be read.
    fn truths(&self) -> Result<Option<Truths>, TableError> {
        Ok(None)
    }

    /// What an architecture reaches in a benchmark's own short training, where there is one.
    fn brief(&self, _genotype: &Genotype) -> Option<Brief> {
        None
    }
}

/// All spaces.
pub fn spaces() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().flat_map(|family| family.spaces)
}

/// The names of all spaces.
pub fn names() -> Vec<&'static str> {
    spaces().map(|space| space.name).collect()
}

/// The space of this name.
pub fn named(name: &str) -> Option<&'static Entry> {
    spaces().find(|space| space.name == name)
}

/// The sections that only some spaces read, each once.
pub fn sections() -> Vec<&'static SectionInfo> {
    let mut all: Vec<&'static SectionInfo> = Vec::new();
    for section in spaces().flat_map(|space| space.sections) {
        if !all.iter().any(|s| s.name == section.name) {
            all.push(section);
        }
    }
    all
}

/// The names of the spaces that read a section; none if all or none do.
pub fn readers(section: &str) -> Vec<&'static str> {
    let reads = |space: &&Entry| space.sections.iter().any(|s| s.name == section);
    spaces().filter(reads).map(|space| space.name).collect()
}
