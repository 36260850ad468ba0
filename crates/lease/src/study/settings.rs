//! All that a search with trainings of what it finds reads.

use std::sync::Arc;

use toml::Table;

use crate::Error;
use crate::collective::Collective;
use crate::config::{Composite, ConfigError, Layers, Rule, Section, SectionInfo, Setting, section};
use crate::data::Dataset;
use crate::explain::ExplainSettings;
use crate::rng::{Purpose, stream};
use crate::search::{self, SearchConfig};
use crate::space::Genotype;
use crate::space::cost::counted;
use crate::training::{self, TrainConfig, TrainSettings};

section! {
    /// Random search, in a comparison.
    RandomSearchSettings, "random_search", "random" {
        /// Architectures that random search draws and trains briefly.
        draws: usize = 10 => Rule::whole(1, 100_000);
        /// Epochs for which it trains each; 0 takes the accuracies that NAS-Bench-201 knows of its own trainings of 12 epochs on CIFAR-10.
        epochs: usize = 5 => Rule::whole(0, 100_000);
    }
}

section! {
    /// What a run compares with.
    BaselineSettings, "baseline", "" {
        /// Architectures drawn at random from the same space that are trained beside the one found.
        random_architectures: usize = 3 => Rule::whole(0, 1_000).free();
    }
}

/// The sections of all commands.
pub fn sections() -> Vec<&'static SectionInfo> {
    let mut all = ComparisonConfig::scope();
    all.extend([BaselineSettings::INFO, ExplainSettings::INFO]);
    all
}

/// A search, and trainings of what it finds.
#[derive(Clone, Debug)]
pub struct StudyConfig {
    /// The search.
    pub search: SearchConfig,
    /// The trainings; data and run are those of the search.
    pub train: TrainConfig,
}

/// A search, a training of what it finds, and trainings of random architectures beside it.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The search and the trainings.
    pub study: StudyConfig,
    /// The random architectures.
    pub baseline: BaselineSettings,
}

/// One method of a comparison.
#[derive(Clone, Debug)]
pub struct ComparisonConfig {
    /// The search, and the training of what it finds.
    pub study: StudyConfig,
    /// Random search.
    pub random: RandomSearchSettings,
}

impl Composite for ComparisonConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = StudyConfig::scope();
        all.push(RandomSearchSettings::INFO);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            study: StudyConfig::read(values)?,
            random: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = self.study.tables();
        all.push(self.random.table());
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        self.study.problems()
    }

    fn unread(&self, setting: &Setting) -> String {
        self.study.unread(setting)
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.study.stray(upper)
    }
}

impl Composite for RunConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = StudyConfig::scope();
        all.push(BaselineSettings::INFO);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            study: StudyConfig::read(values)?,
            baseline: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = self.study.tables();
        all.push(self.baseline.table());
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        self.study.problems()
    }

    fn unread(&self, setting: &Setting) -> String {
        self.study.unread(setting)
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.study.stray(upper)
    }
}

impl Composite for StudyConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = SearchConfig::scope();
        all.push(TrainSettings::INFO);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            search: SearchConfig::read(values)?,
            train: TrainConfig::read(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = self.search.tables();
        all.push(self.train.train.table());
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        self.search.problems()
    }

    fn unread(&self, setting: &Setting) -> String {
        self.search.unread(setting)
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.search.stray(upper)
    }
}

impl StudyConfig {
    /// A random architecture of the space.
    pub fn random_genotype(&self, seed: u64) -> Genotype {
        self.drawn(seed, 0)
    }

    /// The draw of this number.
    fn drawn(&self, seed: u64, number: u64) -> Genotype {
        let mut rng = stream(seed, Purpose::RandomGenotype, number);
        self.search.space.random(&mut rng)
    }

    /// Whether the network of a genotype that has the convolutions it must keeps to the bounds on costs, for these images. Its time
    /// is not looked at.
    fn allows(&self, genotype: &Genotype, dataset: &Dataset) -> bool {
        let budget = &self.search.budget;
        let bounds = budget.bounds().without_time();
        if !bounds.on_costs() {
            return true;
        }
        let how = (self.search.network.stem, self.train.train.edge_skips);
        let shape = budget.shape(dataset.classes.len(), dataset.shape(), how);
        let network = genotype.network(&shape);
        network.is_ok_and(|network| {
            bounds.allow(counted(&*network, shape.image), genotype.convolutions())
        })
    }

    /// Those draws that have as many convolutions as they must: told at no cost, before any network is built.
    fn convolved(&self, draws: impl Iterator<Item = Genotype>) -> impl Iterator<Item = Genotype> {
        let least = self.search.budget.min_convolutions;
        let draws = draws.take(MOST_DRAWS_OF_CONVOLUTIONS);
        draws.filter(move |drawn| drawn.convolutions() >= least)
    }

    /// The first of an architecture's random draws that keeps to the bounds, but for that on the time, for these images.
    ///
    /// # Errors
    /// If none of many does.
    pub fn random_within(
        &self,
        dataset: &Dataset,
        draw: impl FnMut() -> Genotype,
    ) -> Result<Genotype, Error> {
        let draws = self.convolved(std::iter::repeat_with(draw));
        draws
            .take(MOST_DRAWS_WITHIN)
            .find(|drawn| self.allows(drawn, dataset))
            .ok_or_else(|| {
                Error::Usage(format!(
                    "none of {MOST_DRAWS_WITHIN} random architectures keeps to the budget; raise --max-parameters or \
                     --max-flops, lower --min-convolutions, or leave random architectures out"
                ))
            })
    }

    /// The random architecture of a seed that keeps to the bounds, as [`StudyConfig::random_within`] finds it.
    ///
    /// # Errors
    /// If none of many does.
    pub fn random_allowed(&self, seed: u64, dataset: &Dataset) -> Result<Genotype, Error> {
        let mut numbers = 0u64..;
        self.random_within(dataset, || {
            self.drawn(seed, numbers.next().unwrap_or_default())
        })
    }

    /// So many random architectures of the space that keep to the bounds, but for that on the time, for these images, no two
    /// alike and none like `found`; fewer where there are too few for so many.
    pub fn random_genotypes(
        &self,
        seed: u64,
        count: usize,
        found: &Genotype,
        dataset: &Dataset,
    ) -> Vec<Genotype> {
        let each = match self.search.budget.bounds().without_time().any() {
            true => MOST_DRAWS_WITHIN,
            false => MOST_DRAWS,
        };
        let mut all = vec![found.clone()];
        let draws = self.convolved((0..).map(|number| self.drawn(seed, number)));
        for drawn in draws.take(each * count) {
            if !all.contains(&drawn) && self.allows(&drawn, dataset) {
                all.push(drawn);
            }
            if all.len() > count {
                break;
            }
        }
        all.split_off(1)
    }
}

/// Draws for each random architecture wanted, after which the space is taken to be too small.
const MOST_DRAWS: usize = 20;

/// The same where they are to keep to a budget.
const MOST_DRAWS_WITHIN: usize = 1_000;

/// Draws of which some have the convolutions that are asked for: if one in a thousand does, as many as above.
const MOST_DRAWS_OF_CONVOLUTIONS: usize = 1_000_000;

/// A configuration with a search in it.
pub trait Searching: Composite {
    /// The search.
    fn search(&self) -> &SearchConfig;

    /// Everything that keeps what it says from being done on these images, found without starting it.
    fn obstacles(&self, dataset: &Dataset) -> Vec<Error>;

    /// What keeps these processes from doing it together.
    fn unshared(&self, peers: &Arc<dyn Collective>) -> Vec<Error> {
        let team = self.search().team(peers.clone());
        team.err().map(Error::from).into_iter().collect()
    }
}

impl Searching for SearchConfig {
    fn search(&self) -> &SearchConfig {
        self
    }

    fn obstacles(&self, dataset: &Dataset) -> Vec<Error> {
        search::obstacles(self, dataset)
    }
}

impl Searching for RunConfig {
    fn search(&self) -> &SearchConfig {
        &self.study.search
    }

    fn obstacles(&self, dataset: &Dataset) -> Vec<Error> {
        self.study.obstacles(dataset)
    }

    fn unshared(&self, peers: &Arc<dyn Collective>) -> Vec<Error> {
        let search = self.search().team(peers.clone()).err();
        let train = self.study.train.team(peers.clone()).err();
        search.into_iter().chain(train).map(Error::from).collect()
    }
}

impl Searching for StudyConfig {
    fn search(&self) -> &SearchConfig {
        &self.search
    }

    fn obstacles(&self, dataset: &Dataset) -> Vec<Error> {
        let mut all = search::obstacles(&self.search, dataset);
        // Whatever is found builds as any other architecture of the space does.
        let genotype = self.random_genotype(0);
        let training = training::problems(&self.train, &genotype, dataset);
        // The device is the search's, and told already.
        all.extend(
            training
                .into_iter()
                .filter(|e| !matches!(e, Error::Device(_))),
        );
        all
    }
}
