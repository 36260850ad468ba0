//! What a search's result may cost.

use std::path::Path;
use std::sync::Arc;

use super::{Search, SearchConfig};
use crate::Error;
use crate::collective::{Collective, told_by_first};
use crate::data::ImageSet;
use crate::run::RunFolder;
use crate::space::cost::{Budget, Latencies, NetworkCost, milliseconds};
use crate::space::{DerivedShape, Explainer, Genotype, StageReached};

/// The latencies in a run folder.
const FILE: &str = "latency.json";

/// The network that a budget is for.
fn shape(config: &SearchConfig, explainer: &dyn Explainer, images: &ImageSet) -> DerivedShape {
    let how = (config.network.stem, explainer.edge_skips());
    config.budget.shape(images.classes, images.shape, how)
}

/// Measures the latencies of the networks that a search with these settings on these images can find.
///
/// # Errors
/// If a network cannot be built.
pub fn measure(config: &SearchConfig, images: &ImageSet) -> Result<Latencies, Error> {
    let reached = StageReached::default();
    let explainer = config.supernet(images.classes, images.shape, &reached)?;
    Latencies::measure(&*explainer, &shape(config, &*explainer, images))
}

/// A supernet from which only what the budget allows is derived.
///
/// # Errors
/// If nothing is allowed, or the latencies are of other networks.
pub(super) fn within(
    config: &SearchConfig,
    explainer: Arc<dyn Explainer>,
    images: &ImageSet,
    latencies: Option<&Latencies>,
) -> Result<Arc<dyn Explainer>, Error> {
    let mut bounds = config.budget.bounds();
    if latencies.is_none() {
        // They are measured once all else is in order.
        bounds = bounds.without_time();
    }
    if !bounds.any() {
        return Ok(explainer);
    }
    let shape = shape(config, &*explainer, images);
    let budget = Budget::new(&*explainer, &shape, bounds, latencies)?;
    let explainer = explainer.within(Arc::new(budget));
    let level = crate::network::part::start(explainer.architecture());
    explainer.derive(&level)?;
    Ok(explainer)
}

/// The table of latencies that the settings name.
///
/// # Errors
/// If it cannot be read.
pub(super) fn named(config: &SearchConfig) -> Result<Option<Latencies>, Error> {
    let path = config.budget.latency_table.as_str();
    if path.is_empty() || !config.budget.bounds().times() {
        return Ok(None);
    }
    Ok(Some(Latencies::read(path.as_ref())?))
}

/// The latencies of a new search, which all processes share: those of the table that the settings name, or measured now by the
/// first.
///
/// # Errors
/// If the table cannot be read.
pub(super) fn at_start(
    config: &SearchConfig,
    images: &ImageSet,
    peers: &dyn Collective,
) -> Result<Option<Latencies>, Error> {
    if !config.budget.bounds().times() {
        return Ok(None);
    }
    if let Some(table) = named(config)? {
        return Ok(Some(table));
    }
    match told_by_first(peers, || measure(config, images).ok()) {
        Some(table) => Ok(Some(table)),
        // Networks that one process cannot build none can.
        None => measure(config, images).map(Some),
    }
}

/// The latencies that an earlier search left in its folder, which the first process reads; none if it left none, which a
/// checkpoint will tell.
///
/// # Errors
/// If they cannot be read.
pub(super) fn kept(
    config: &SearchConfig,
    run: &Path,
    peers: &dyn Collective,
) -> Result<Option<Latencies>, Error> {
    if !config.budget.bounds().times() {
        return Ok(None);
    }
    let file = run.join(FILE);
    let read = || match file.is_file() {
        true => Latencies::read(&file).map(Some).map_err(|e| e.to_string()),
        false => Ok(None),
    };
    told_by_first(peers, read).map_err(Error::Usage)
}

/// Leaves the latencies in the run folder, for when it is gone on with.
///
/// # Errors
/// If they cannot be written.
pub(super) fn keep(run: &RunFolder, latencies: Option<&Latencies>) -> Result<(), Error> {
    if let Some(latencies) = latencies {
        run.write(FILE, &latencies.to_json())?;
    }
    Ok(())
}

impl Search {
    /// What a genotype's network costs, at the size that a budget is for.
    pub(super) fn cost(&self, genotype: &Genotype) -> Option<NetworkCost> {
        let explainer = &*self.models.explainer;
        let shape = shape(&self.config, explainer, &self.feed.dataset.size());
        let cost = NetworkCost::of(genotype, &shape).ok()?;
        let table = self.latencies.as_ref().and(explainer.budget());
        let choice = explainer.choice_in(genotype);
        let by_table = table
            .zip(choice)
            .map(|(budget, choice)| milliseconds(budget.costs().of_choice(&choice).nanoseconds));
        Some(NetworkCost {
            table_latency_ms: by_table,
            ..cost
        })
    }
}
