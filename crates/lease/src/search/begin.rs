//! How a search begins: what keeps it from being done, its start in a new folder, and how an earlier one is gone on with.

use std::path::Path;
use std::sync::Arc;

use super::batches::{self, Feed};
use super::budget;
use super::records::Records;
use super::state::{self, Progress, State};
use super::{Search, SearchConfig, observer};
use crate::Error;
use crate::collective::Collective;
use crate::data::{Dataset, ImageSet};
use crate::memory::{self, Need};
use crate::method::product::MixedProduct;
use crate::method::settings::Validate;
use crate::method::{Method, Models};
use crate::network::NetworkError;
use crate::rng::Draw;
use crate::run::{Identity, Kind, RunFolder};
use crate::space::StageReached;
use crate::space::cost::Latencies;

/// Everything that keeps a search with these settings on these images from being done, found without starting it.
pub fn problems(config: &SearchConfig, images: &ImageSet) -> Vec<Error> {
    let mut all = too_few(config, images.count);
    all.extend(
        crate::device::device(&config.run.device)
            .err()
            .map(Error::from),
    );
    all.extend(config.space.truths().err().map(Error::from));
    let latencies = budget::named(config);
    let networks = latencies.and_then(|latencies| {
        Search::networks(config, images, &StageReached::default(), latencies.as_ref())
    });
    match networks {
        Ok(models) => all.extend(need(config, &models, images).problem(SMALLER)),
        Err(error) => all.push(error),
    }
    all
}

/// The errors of the parts that would have fewer images than a batch, of so many training images.
pub fn too_few(config: &SearchConfig, images: usize) -> Vec<Error> {
    let parts = batches::too_few(config, images);
    parts.into_iter().map(Error::from).collect()
}

/// Everything that keeps a search with these settings on this data set from being done: also classes that a part would not
/// have.
pub fn obstacles(config: &SearchConfig, dataset: &Dataset) -> Vec<Error> {
    let mut all = problems(config, &dataset.size());
    all.extend(lacking(config, dataset));
    all
}

/// The error of a class that a part of the search would not have.
pub fn lacking(config: &SearchConfig, dataset: &Dataset) -> Option<Error> {
    let m = &config.method;
    let lacking = dataset.lacking(m.split, m.training_share, config.run.seed);
    lacking.map(Error::from)
}

/// About the most memory that a search with these settings on these images must have.
///
/// # Errors
/// If a network cannot be built.
pub fn least_memory(config: &SearchConfig, images: &ImageSet) -> Result<Need, Error> {
    let models = Search::networks(config, images, &StageReached::default(), None)?;
    Ok(need(config, &models, images))
}

/// About the most memory that it takes, which is more where there is plenty.
///
/// # Errors
/// If a network cannot be built.
pub fn memory(config: &SearchConfig, images: &ImageSet) -> Result<Need, Error> {
    let models = Search::networks(config, images, &StageReached::default(), None)?;
    Ok(taken(config, &models, images))
}

/// What to do about a search that needs more memory than there is.
const SMALLER: &str = "lower --batch, --channels, --cells or --image-size";

/// About the most memory that a search with these networks needs at once.
pub(super) fn need(config: &SearchConfig, models: &Models, images: &ImageSet) -> Need {
    // Parts are computed one after the other.
    let batch = config.search.batch / config.search.ghost_batches.max(1);
    let image = images.shape;
    let explainer = models.explainer.bytes(batch, image);
    let audience = models.audience.bytes(batch, image);
    // A pass on dual numbers keeps values and tangents, and its backward pass the gradients of both where they are read.
    let dual = match config.method.method {
        Method::DartsFirst => 1,
        Method::Darts | Method::Lease => 2,
    };
    let largest = (dual * explainer).max(2 * audience);
    let weights = models.explainer.weights().len() + models.audience.weights().len();
    Need::new("this search", largest + largest / 16, weights, images.bytes)
}

/// What it takes.
pub(super) fn taken(config: &SearchConfig, models: &Models, images: &ImageSet) -> Need {
    let keeping = keeping(config, models, images);
    keeping.unwrap_or_else(|| need(config, models, images))
}

/// The same where the passes of stages I and II keep what stage IV would compute again: on a CPU, if that is no more than half
/// of the threads' share of what there is. The bits are the same either way.
pub(super) fn keeping(config: &SearchConfig, models: &Models, images: &ImageSet) -> Option<Need> {
    let passes = match config.method.method {
        Method::DartsFirst => return None,
        // Stage I.
        Method::Darts => 1,
        // The clean predictions and the attack too, of both batches where both are reweighted.
        Method::Lease if config.method.validate == Validate::Reweighted => 5,
        Method::Lease => 3,
    };
    let exact = config.method.product() == MixedProduct::Exact;
    let have = memory::total().filter(|_| exact && config.run.device == "cpu")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = match config.run.threads {
        0 => cores,
        some => (some as u64).min(cores),
    };
    let mut need = need(config, models, images);
    // Those of all parts of the batch at once.
    need.bytes += passes * models.explainer.bytes(config.search.batch, images.shape);
    (need.bytes <= have / 2 * threads / cores).then_some(need)
}

impl Search {
    /// Starts a search in a new run folder at `path`, which is made only once all else is in order. `toml` is the whole
    /// configuration of the command, to be written there. All of `peers` start it together; process 0 writes the folder.
    ///
    /// # Errors
    /// If the device is absent, the data are too few for a batch, a network cannot be built, the processes cannot share the
    /// parts of the batch or do not have the same settings and images, or the folder holds anything or cannot be written.
    pub fn start(
        config: SearchConfig,
        toml: &str,
        dataset: Dataset,
        path: &Path,
        peers: Arc<dyn Collective>,
    ) -> Result<Self, Error> {
        let team = config.team(peers)?;
        let latencies = budget::at_start(&config, &dataset.size(), team.peers())?;
        let identity = Self::identity(&config, &dataset, latencies.as_ref());
        team.same(&identity.digest())?;
        let device = crate::device::device(&config.run.device)?;
        let truths = config.space.truths()?;
        let models = Self::networks(
            &config,
            &dataset.size(),
            &StageReached::default(),
            latencies.as_ref(),
        )?;
        let feed = Feed::new(&config, dataset, &device, &team)?;
        let state = State::start(&config, &models, &device, Progress::default());
        let records = match team.leads() {
            true => {
                let about = observer::about(&config, &feed.dataset);
                let (run, metrics) = RunFolder::create(path, Kind::Search, about)?;
                run.write_configuration(toml)?;
                budget::keep(&run, latencies.as_ref())?;
                Some(Records::open(run, metrics, &state.progress)?)
            }
            false => None,
        };
        let mut search = Self {
            keeps: keeping(&config, &models, &feed.dataset.size()).is_some(),
            identity,
            team,
            records,
            folder: path.into(),
            notes: Vec::new(),
            config,
            device,
            models,
            feed,
            state,
            truths,
            latencies,
        };
        // A run that has a log has a checkpoint from now on.
        search.save()?;
        Ok(search)
    }

    /// Goes on with the search in a run folder from its newest usable checkpoint, or from the start if it
    /// was killed before the first.
    ///
    /// # Errors
    /// As [`Search::start`]; also if every checkpoint is damaged, of other settings or images, or gone.
    pub fn resume(
        config: SearchConfig,
        toml: &str,
        dataset: Dataset,
        path: &Path,
        peers: Arc<dyn Collective>,
    ) -> Result<Self, Error> {
        let team = config.team(peers.clone())?;
        let latencies = budget::kept(&config, path, team.peers())?;
        let identity = Self::identity(&config, &dataset, latencies.as_ref());
        team.same(&identity.digest())?;
        let found = state::newest(path, &identity, &team)?;
        let Some((checkpoint, progress, mut notes)) = found else {
            if team.leads() {
                state::has_no_measures(&RunFolder::open(path)?)?;
            }
            let mut search = Self::start(config, toml, dataset, path, peers)?;
            search.notes =
                vec!["No checkpoint was written yet: starting from the beginning.".into()];
            return Ok(search);
        };
        let device = crate::device::device(&config.run.device)?;
        let truths = config.space.truths()?;
        let feed = Feed::new(&config, dataset, &device, &team)?;
        progress
            .check(&config, feed.per_epoch())
            .map_err(|r| checkpoint.unusable(r))?;
        let models = Self::networks(
            &config,
            &feed.dataset.size(),
            &progress.stage,
            latencies.as_ref(),
        );
        let models = models.map_err(|e| match e {
            Error::Network(e @ NetworkError::Stage { .. }) => {
                checkpoint.unusable(e.to_string()).into()
            }
            other => other,
        })?;
        let records = match team.leads() {
            true => {
                let run = RunFolder::open(path)?;
                let about = observer::about(&config, &feed.dataset);
                let metrics = run.go_on(Kind::Search, about, &progress.metrics)?;
                let records = Records::open(run.clone(), metrics, &progress)?;
                run.write_configuration(toml)?;
                Some(records)
            }
            false => None,
        };
        notes.push(format!("Resuming after step {}.", progress.step));
        Ok(Self {
            keeps: keeping(&config, &models, &feed.dataset.size()).is_some(),
            state: State::restore(&config, &models, &device, (checkpoint, progress))?,
            config,
            device,
            models,
            feed,
            team,
            folder: path.into(),
            records,
            identity,
            truths,
            latencies,
            notes,
        })
    }

    /// The two networks in a stage of the search.
    pub(super) fn networks(
        config: &SearchConfig,
        images: &ImageSet,
        reached: &StageReached,
        latencies: Option<&Latencies>,
    ) -> Result<Models, Error> {
        let (classes, image) = (images.classes, images.shape);
        let explainer = config
            .supernet(classes, image, reached)?
            .with_mixing(config.mixing.expected());
        let explainer = budget::within(config, explainer, images, latencies)?;
        // By which it is evaluated.
        let noisy = explainer.noisy(Draw {
            seed: config.run.seed,
            step: 0,
        });
        Ok(Models {
            explainer: noisy.unwrap_or(explainer),
            learner: None,
            audience: config.audience(classes, image)?,
        })
    }

    /// What the search's result depends on.
    pub(super) fn identity(
        config: &SearchConfig,
        dataset: &Dataset,
        latencies: Option<&Latencies>,
    ) -> Identity {
        let mut data = vec![("the training images", dataset.digest())];
        data.extend(latencies.map(|table| ("the latencies", table.digest())));
        Identity::new(config, &data)
    }
}
