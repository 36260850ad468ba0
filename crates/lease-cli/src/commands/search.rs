//! `lease search`: search an architecture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lease::Error;
use lease::collective::{Collective, told_by_first};
use lease::config::{Composite, Layers};
use lease::data::Dataset;
use lease::report::tensorboard::Watched;
use lease::run::{Found, Kind, RunError, RunFolder};
use lease::search::{Outcome, SearchConfig, Summary, presets};
use lease::space::cost::NetworkCost;
use lease::study::cell::search_in;
use lease::study::{self, Searching};

use crate::Ended;
use crate::peers;
use crate::settings::Settings;
use crate::terminal::progress::{Console, told_standing};
use crate::terminal::{self, Level, quoted, reading, signals};

/// Search an architecture and leave a run folder.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    start: Start<SearchConfig>,
}

/// What starts a search, or goes on with one.
#[derive(clap::Args)]
pub struct Start<C: Composite + Clone + Send + Sync + 'static> {
    /// Go on with the run in this folder; its own settings hold, but for those that the result does not depend on
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Where the run folder goes [default: a new one in runs/]
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Print every setting with its meaning and value, as TOML, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings<C>,
}

/// A run to start or to go on with, after all has been checked.
pub struct Prepared<C> {
    pub config: C,
    pub dataset: Dataset,
    pub folder: PathBuf,
    /// The processes that do it.
    pub peers: Arc<dyn Collective>,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let Some(prepared) = arguments.start.prepared()? else {
        return Ok(Ended::Well);
    };
    let stop = signals::stop_flag();
    let again = |run: &Path| format!("lease search --resume {}", quoted(run));
    match prepared.search(&stop, again)? {
        Some(summary) => {
            report(&summary);
            let folder = quoted(&summary.folder);
            terminal::result(format_args!("Train it from scratch: lease train {folder}"));
            let first = prepared.peers.rank() == 0;
            super::report::after(&summary.folder, first && prepared.config.run.report);
            Ok(Ended::Well)
        }
        None => Ok(Ended::Stopped),
    }
}

impl<C: Searching + Clone + Send + Sync + 'static> Start<C> {
    /// What the arguments ask for; nothing if they only ask for the settings.
    ///
    /// Everything that a later step will need is looked at here, and all that is wrong with it told at once.
    pub fn prepared(&self) -> Result<Option<Prepared<C>>, Error> {
        let peers = peers::joined()?;
        let config = match &self.resume {
            Some(path) => self.resumed(path)?,
            None => {
                let layers = self.settings.layers()?;
                C::resolve(&presets(&layers)?, &layers)?
            }
        };
        if self.print_config {
            terminal::plain(config.to_toml());
            return Ok(None);
        }
        let search = config.search();
        // The folder first, since reading images may take long; then all that is wrong with the rest.
        if let Some(path) = self.out.as_ref().filter(|_| peers.rank() == 0) {
            free(path)?;
        }
        let dataset = reading::load(&search.data)?;
        let checked =
            lease::device::with_threads(search.run.threads, || config.obstacles(&dataset))?;
        Error::all(config.unshared(&peers).into_iter().chain(checked).collect())?;
        let folder = match self.resume.as_ref().or(self.out.as_ref()) {
            Some(path) => path.clone(),
            None => {
                let made = (peers.rank() == 0).then(|| fresh(search)).transpose()?;
                told_by_first(&*peers, || made.unwrap_or_default())
            }
        };
        Ok(Some(Prepared {
            config,
            dataset,
            folder,
            peers,
        }))
    }

    /// The configuration of an earlier run, with what can be given anew.
    fn resumed(&self, path: &Path) -> Result<C, Error> {
        let upper = self.settings.only_free()?;
        if path.is_dir() && RunFolder::look(path, Kind::Search)? == Found::Nothing {
            return Err(Error::Usage(format!(
                "nothing was written yet in {}, so there is nothing to go on with; start the run anew, with --out {}",
                path.display(),
                quoted(path)
            )));
        }
        let (text, file) = RunFolder::configuration(path)?;
        let others = study::sections();
        let there = Layers::parse(&text, &file.display().to_string(), &C::scope(), &others)?;
        // What the folder's command did not read, as a search's does no trainings, is as in a new run.
        let mut lower = presets(&there)?;
        for table in &mut lower {
            table.retain(|section, _| !there.values.contains_key(section));
        }
        lower.push(there.values);
        Ok(C::resolve(&lower, &upper)?)
    }
}

/// Whether a new run can be put into a folder.
fn free(path: &Path) -> Result<(), Error> {
    match RunFolder::look(path, Kind::Search)? {
        Found::Nothing => Ok(()),
        Found::Run => Err(Error::Run(RunError::Exists {
            path: path.into(),
            kind: Kind::Search.name(),
            again: format!("--resume {}", quoted(path)),
        })),
    }
}

/// `runs/DATASET-METHOD-seedN`, with a number where that is taken; made at once, so that of several runs that are started
/// together each has its own.
fn fresh(config: &SearchConfig) -> Result<PathBuf, Error> {
    let data = serde_json::to_value(config.data.images.dataset).unwrap_or_default();
    let (data, method) = (data.as_str().unwrap_or("data"), config.method.method);
    let name = format!("runs/{data}-{method}-seed{}", config.run.seed);
    let failed = |path: &Path, source| {
        Error::Run(RunError::Io {
            action: "create",
            path: path.into(),
            source,
        })
    };
    let runs = Path::new("runs");
    std::fs::create_dir_all(runs).map_err(|e| failed(runs, e))?;
    let mut number = 1;
    loop {
        let path = match number {
            1 => PathBuf::from(&name),
            _ => PathBuf::from(format!("{name}-{number}")),
        };
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(failed(&path, e)),
        }
    }
}

impl<C: Searching + Send + Sync> Prepared<C> {
    /// Searches; nothing if it was stopped, after saying by what command it goes on.
    pub fn search(
        &self,
        stop: &AtomicBool,
        again: impl Fn(&Path) -> String,
    ) -> Result<Option<Summary>, Error> {
        let (search, toml) = (self.config.search().clone(), self.config.to_toml());
        let outcome = lease::device::with_threads(search.run.threads, || {
            let (peers, wanted) = (self.peers.clone(), search.run.tensorboard);
            let wanted = wanted && peers.rank() == 0;
            let mut console = Watched::new(Console::new(), wanted, &self.folder, &self.folder);
            let search = search_in(search, &toml, &self.dataset, &self.folder, peers)?;
            search.run(&mut console, stop)
        })??;
        match outcome {
            Outcome::Finished(summary) => Ok(Some(*summary)),
            Outcome::Stopped => {
                let again = again(&self.folder);
                let told = format_args!("Stopped with a checkpoint. Go on with: {again}");
                terminal::say(Level::Info, told);
                Ok(None)
            }
        }
    }
}

/// What a network costs, in a line.
pub fn told_cost(cost: &NetworkCost) -> String {
    let [channels, height, width] = cost.image;
    let table = cost
        .table_latency_ms
        .map(|ms| format!(", {ms:.2} ms by the table"));
    format!(
        "as a network of {} channels and {} cells for images of {channels}×{height}×{width}: {} parameters, {:.2} million \
         multiply-adds, {:.2} ms for an image on this machine{}",
        cost.channels,
        cost.cells,
        cost.parameters,
        cost.multiply_adds as f64 / 1e6,
        cost.latency_ms,
        table.unwrap_or_default()
    )
}

/// What was found.
pub fn report(summary: &Summary) {
    terminal::result(format_args!("Found: {}", summary.genotype));
    terminal::result(format_args!(
        "  skip-connects in the cell that keeps the resolution: {}; operations without weights: {:.0} %",
        summary.genotype.skip_connects(),
        100.0 * summary.genotype.parameter_free_share()
    ));
    if let Some(cost) = &summary.cost {
        terminal::result(format_args!("  {}", told_cost(cost)));
    }
    if let Some(standing) = &summary.standing {
        terminal::result(format_args!("  {}", told_standing(standing)));
    }
    terminal::result(format_args!("Run folder: {}", summary.folder.display()));
}
