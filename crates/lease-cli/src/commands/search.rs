//! `lease search`: search an architecture.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lease::Error;
use lease::config::Config;
use lease::data::Dataset;
use lease::run::RunFolder;
use lease::search::{Outcome, Search, Summary};

use crate::Ended;
use crate::console::{Console, stop_on_interrupt};
use crate::settings::Settings;

/// Search an architecture, and leave a run folder.
#[derive(clap::Args)]
pub struct Arguments {
    /// Go on with the run in this folder; its own settings hold
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Where the run folder goes [default: a new one in runs/]
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Print every setting with its meaning and value, as TOML, and end
    #[arg(long)]
    pub print_config: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// A run to start or to go on with.
pub struct Prepared {
    pub config: Config,
    pub dataset: Dataset,
    place: Place,
}

enum Place {
    New(PathBuf),
    Existing(RunFolder),
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let Some(prepared) = prepare(&arguments)? else {
        return Ok(Ended::Well);
    };
    let stop = stop_on_interrupt();
    let again = |run: &Path| format!("lease search --resume {}", run.display());
    match prepared.search(&stop, again)? {
        Some(summary) => {
            report(&summary);
            let folder = summary.folder.display();
            println!("Train it from scratch: lease train {folder}");
            Ok(Ended::Well)
        }
        None => Ok(Ended::Stopped),
    }
}

/// What the arguments ask for; nothing if they only ask for the settings.
pub fn prepare(arguments: &Arguments) -> Result<Option<Prepared>, Error> {
    if let Some(path) = &arguments.resume {
        if !arguments.settings.is_empty() {
            return Err(Error::Usage(
                "--resume goes on with the settings of the run folder's config.toml; \
                 leave the other settings out, or start a new run",
            ));
        }
        let (run, config) = RunFolder::existing(path)?;
        let dataset = Dataset::load(&config.data)?;
        return Ok(Some(Prepared {
            config,
            dataset,
            place: Place::Existing(run),
        }));
    }
    let config = arguments.settings.resolve()?;
    if arguments.print_config {
        print!("{}", config.to_toml());
        return Ok(None);
    }
    let dataset = Dataset::load(&config.data)?;
    let path = match &arguments.out {
        Some(path) => path.clone(),
        None => fresh(&dataset.name, &config),
    };
    Ok(Some(Prepared {
        config,
        dataset,
        place: Place::New(path),
    }))
}

/// `runs/DATASET-METHOD-seedN`, with a number where that is taken.
fn fresh(dataset: &str, config: &Config) -> PathBuf {
    let method = config.method.method;
    let name = format!("runs/{dataset}-{method}-seed{}", config.search.seed);
    let numbered = (2..).map(|i| PathBuf::from(format!("{name}-{i}")));
    std::iter::once(PathBuf::from(&name))
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| name.into())
}

impl Prepared {
    /// A run in this folder, to be gone on with if it is there.
    pub fn at(config: Config, dataset: Dataset, path: &Path) -> Result<Self, Error> {
        let place = if path.join("config.toml").is_file() {
            Place::Existing(RunFolder::existing(path)?.0)
        } else {
            Place::New(path.into())
        };
        Ok(Self {
            config,
            dataset,
            place,
        })
    }

    /// The run folder.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::New(path) => path,
            Place::Existing(run) => run.path(),
        }
    }

    /// Searches; nothing if it was stopped, after saying by what command it goes on.
    pub fn search(
        self,
        stop: &AtomicBool,
        again: impl Fn(&Path) -> String,
    ) -> Result<Option<Summary>, Error> {
        let path = self.path().to_path_buf();
        let outcome = lease::device::with_threads(self.config.search.threads, || {
            let search = match self.place {
                Place::New(path) => Search::start(self.config, self.dataset, &path),
                Place::Existing(run) => Search::resume(self.config, self.dataset, run),
            };
            search?.run(&mut Console::new(), stop)
        })??;
        match outcome {
            Outcome::Finished(summary) => Ok(Some(*summary)),
            Outcome::Stopped => {
                eprintln!("Stopped with a checkpoint. Go on with: {}", again(&path));
                Ok(None)
            }
        }
    }
}

/// What was found.
pub fn report(summary: &Summary) {
    println!("Found: {}", summary.genotype);
    println!(
        "  skip-connects in the cell that keeps the resolution: {}; operations without weights: {:.0} %",
        summary.genotype.skip_connects(),
        100.0 * summary.genotype.parameter_free_share()
    );
    if let Some(standing) = &summary.standing {
        println!("  {}", crate::console::told_standing(standing));
    }
    println!("Run folder: {}", summary.folder.display());
}
