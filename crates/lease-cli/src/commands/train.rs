//! `lease train`: train a derived network from scratch.

use std::path::{Path, PathBuf};

use lease::Error;
use lease::config::{Composite, Layers, Section};
use lease::report::tensorboard::Watched;
use lease::rng::{Purpose, stream};
use lease::run::{Kind, RunFolder};
use lease::search::{self, SearchConfig};
use lease::space::cost::NetworkCost;
use lease::space::{self, ExplainerSettings, Genotype};
use lease::study::cell::train_together;
use lease::study::{self, ComparisonConfig};
use lease::training::{self, ClassResult, TrainConfig, TrainResult};
use toml::{Table, Value};

use super::search::told_cost;
use super::source::Source;
use crate::Ended;
use crate::peers;
use crate::settings::Settings;
use crate::terminal::progress::Console;
use crate::terminal::{self, Level, counted, reading, signals};

/// Train a derived network from scratch and report its test error. The same command goes on with a
/// training that was interrupted.
///
/// The recipe is that of the genotype's space: DARTS's, or NAS-Bench-201's.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, a file with a genotype (FILE:NAME for one of several), the genotype itself in JSON or its space's
    /// notation, or random:SEED or random:SPACE:SEED
    #[arg(value_name = "RUN|GENOTYPE")]
    source: String,
    /// Where the training's folder goes [default: train/ in the run folder, else a folder in runs/]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print every setting with its meaning and value, as TOML, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings<TrainConfig>,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let peers = peers::joined()?;
    let upper = arguments.settings.layers()?;
    let (config, genotype, folder) = resolved(&arguments.source, &upper)?;
    if arguments.print_config {
        terminal::plain(config.to_toml());
        return Ok(Ended::Well);
    }
    let folder = arguments.out.unwrap_or(folder);
    // The folder first, since reading images may take long; then all that is wrong with the rest.
    if peers.rank() == 0 {
        RunFolder::look(&folder, Kind::Training)?;
    }
    let dataset = reading::load(&config.data)?;
    let unshared = config.team(peers.clone()).err().map(Error::from);
    let problems = training::problems(&config, &genotype, &dataset);
    Error::all(unshared.into_iter().chain(problems).collect())?;
    let stop = signals::stop_flag();
    // One process writes.
    let first = peers.rank() == 0;
    let wanted = first && config.run.report;
    let tensorboard = first && config.run.tensorboard;
    let trained = lease::device::with_threads(config.run.threads, || {
        let mut console = Watched::new(Console::new(), tensorboard, &folder, &folder);
        let on = (&dataset, &*folder);
        train_together(config, genotype, on, peers, &mut console, &stop)
    })??;
    match trained {
        Some(result) => {
            report(&result);
            let cost = std::fs::read_to_string(folder.join(training::COST));
            if let Ok(cost) = serde_json::from_str::<NetworkCost>(&cost.unwrap_or_default()) {
                terminal::result(told_cost(&cost));
            }
            terminal::result(format_args!("Folder: {}", folder.display()));
            super::report::after(&folder, wanted);
            Ok(Ended::Well)
        }
        None => {
            let told = "Stopped with a checkpoint. The same command goes on.";
            terminal::say(Level::Info, told);
            Ok(Ended::Stopped)
        }
    }
}

/// Configuration, genotype and the default folder of the training that a source and settings ask for.
pub fn resolved(source: &str, upper: &Layers) -> Result<(TrainConfig, Genotype, PathBuf), Error> {
    let source = Source::of(source)?;
    let (genotype, run, space) = match &source {
        Source::Random { space, seed } => {
            let space = space.as_deref();
            let genotype = drawn(space, *seed, upper)?;
            (genotype, Table::new(), space.and_then(space::named))
        }
        Source::Run(path) => {
            let run = settings_of(path)?;
            let space = ExplainerSettings::of(&run)?.space;
            (source.genotype()?, run, space::named(&space))
        }
        _ => (source.genotype()?, Table::new(), None),
    };
    let mut lower = training::presets(&genotype, space, &[&run, &upper.values])?;
    lower.push(run);
    let config = TrainConfig::resolve(&lower, upper)?;
    let folder = match &source {
        Source::Run(path) => path.join("train"),
        other => format!("runs/train-{}-seed{}", other.name(), config.run.seed).into(),
    };
    Ok((config, genotype, folder))
}

/// A run's configuration.
fn settings_of(path: &Path) -> Result<Table, Error> {
    let (text, file) = RunFolder::configuration(path)?;
    let others = study::sections();
    let place = file.display().to_string();
    Ok(Layers::parse(&text, &place, &ComparisonConfig::scope(), &others)?.values)
}

/// A random architecture of a space as it is set for these images.
fn drawn(space: Option<&str>, seed: u64, upper: &Layers) -> Result<Genotype, Error> {
    let mut values = upper.values.clone();
    values.retain(|section, _| section == "data");
    if let Some(space) = space {
        let mut explainer = Table::new();
        explainer.insert("space".into(), space.into());
        values.insert("explainer".into(), Value::Table(explainer));
    }
    let layers = Layers {
        values,
        flags: Vec::new(),
    };
    let config = SearchConfig::resolve(&search::presets(&layers)?, &layers)?;
    Ok(config
        .space
        .random(&mut stream(seed, Purpose::RandomGenotype, 0)))
}

/// What came out.
fn report(result: &TrainResult) {
    terminal::result(format_args!(
        "Test accuracy {:.2} % (error {:.2} %) on {} images; {} parameters, {}, seed {}",
        100.0 * result.test_accuracy,
        100.0 * (1.0 - result.test_accuracy),
        result.test_images,
        result.parameters,
        counted(result.epochs, "epoch"),
        result.seed
    ));
    if let Some(balanced) = result.balanced_accuracy {
        let worst = worst(&result.classes);
        terminal::result(format_args!(
            "Balanced accuracy {:.2} %{worst}",
            100.0 * balanced
        ));
    }
    if let Some(held_out) = &result.validation {
        terminal::result(format_args!(
            "Weights of epoch {}, the best on {} images held out: accuracy {:.2} %",
            held_out.epoch + 1,
            held_out.images,
            100.0 * held_out.accuracy
        ));
    }
}

/// The classes that are recognised least, as they are told after the mean over all.
pub fn worst(classes: &[ClassResult]) -> String {
    const TOLD: usize = 3;
    let known = classes.iter().filter_map(|c| Some((c.accuracy?, &c.class)));
    let mut all: Vec<(f64, &String)> = known.collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let told = all.iter().take(TOLD);
    let told: Vec<String> = told
        .map(|(a, c)| format!("{c} {:.1} %", 100.0 * a))
        .collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("; lowest: {}", told.join(", ")),
    }
}
