//! `lease explain`: explanations of a network's predictions, as pictures and tensors, and what they are worth.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use lease::Error;
use lease::config::{Composite, Layers, Section};
use lease::data::Dataset;
use lease::explain::{
    Better, Check, Chosen, ExplainConfig, Explained, Measure, Measured, Measures, Part, Source,
    Subject, Written, free, presets, write,
};
use lease::run::{Kind, RunFolder};
use lease::statistics;
use lease::study::listening::Listening;
use lease::study::{self, ComparisonConfig};

use crate::Ended;
use crate::settings::Settings;
use crate::terminal::work::Work;
use crate::terminal::{self, Level, quoted, signals};

/// Explain predictions by the attack of the method: pictures, tensors, and what the explanations are worth beside a random map, the
/// image's edges, the plain gradient and another image's explanation.
///
/// The network is that of the folder: a search's supernet as its newest checkpoint has it, or a trained network. Settings are those of
/// the folder where it has them. With --audience audiences are trained on what the explanations leave of the images.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, whose supernet is explained, or the folder of a training, such as train/ in it
    #[arg(value_name = "RUN|TRAINED")]
    source: PathBuf,
    /// Explain the images of this folder (PNG, JPEG, TIFF, BMP, GIF, WebP), or of its sub-folders, named as classes
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["split", "audience"])]
    images: Option<PathBuf>,
    /// Which images of the data set are explained
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Train audiences on δ ⊙ x, |δ| ⊙ x, random signs ⊙ x, edges ⊙ x, another image's δ ⊙ x, its |δ| ⊙ x and x, and compare them; the same
    /// command goes on where it was interrupted
    #[arg(long, conflicts_with = "split")]
    audience: bool,
    /// Seeds of audiences, 0 to N − 1
    #[arg(long, value_name = "N", default_value_t = 4, requires = "audience", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Where what is found goes [default: explanations/ in the folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print all numbers as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Print every setting with its meaning and value, as TOML, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings<ExplainConfig>,
}

/// Which images of the data set.
#[derive(Clone, Copy, ValueEnum)]
enum Split {
    /// Test images
    Test,
    /// Training images
    Train,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let path = &arguments.source;
    let kind = kind(path)?;
    let config = resolved(&arguments)?;
    if arguments.print_config {
        terminal::plain(config.to_toml());
        return Ok(Ended::Well);
    }
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => path.join("explanations"),
    };
    free(&out)?;
    lease::device::with_threads(config.run.threads, || {
        let device = &config.run.device;
        let (subject, dataset) = match kind {
            // The images of a folder are all that a trained network needs.
            Kind::Training if arguments.images.is_some() => (Subject::trained(path, device)?, None),
            Kind::Training => {
                let subject = Subject::trained(path, device)?;
                (subject, Some(Dataset::load(&config.data)?))
            }
            Kind::Search => {
                let dataset = Dataset::load(&config.data)?;
                let others = study::sections();
                let subject = Subject::supernet(path, device, &dataset, &others)?;
                (subject, Some(dataset))
            }
        };
        Error::all(
            subject
                .too_large(config.explain.at_once)
                .into_iter()
                .collect(),
        )?;
        match dataset {
            Some(dataset) if arguments.audience => {
                listen(&arguments, &config, (&subject, &dataset), &out)
            }
            dataset => {
                let chosen = chosen(&arguments, &config, &subject, dataset.as_ref())?;
                explain(&arguments, &config, (&subject, chosen), &out)
            }
        }
    })?
}

/// What the folder holds.
fn kind(path: &Path) -> Result<Kind, Error> {
    if !path.is_dir() {
        return Err(Error::Usage(format!(
            "there is no folder {}; give a run folder, or one that `lease train` left",
            path.display()
        )));
    }
    RunFolder::kind(path).ok_or_else(|| {
        Error::Usage(format!(
            "{} has neither a search nor a training; give a run folder, or one that `lease train` left",
            path.display()
        ))
    })
}

/// The settings: those of the folder, and over them those given.
fn resolved(arguments: &Arguments) -> Result<ExplainConfig, Error> {
    let upper = arguments.settings.layers()?;
    let (text, file) = RunFolder::configuration(&arguments.source)?;
    let (place, others) = (file.display().to_string(), study::sections());
    let there = Layers::parse(&text, &place, &ComparisonConfig::scope(), &others)?;
    Ok(ExplainConfig::resolve(&presets(there.values)?, &upper)?)
}

/// The images that are explained.
fn chosen(
    arguments: &Arguments,
    config: &ExplainConfig,
    subject: &Subject,
    dataset: Option<&Dataset>,
) -> Result<Chosen, Error> {
    let chosen = match (&arguments.images, dataset) {
        (Some(folder), _) => Chosen::of_folder(subject, folder, config)?,
        (None, Some(dataset)) => {
            let part = match arguments.split {
                Split::Test => Part::Test,
                Split::Train => Part::Train,
            };
            Chosen::of_dataset(subject, dataset, part, config)?
        }
        (None, None) => unreachable!("without a folder of images the data set is read"),
    };
    let count = chosen.images.count();
    if count < chosen.of && arguments.images.is_some() {
        let told = format!(
            "{count} of {} images are explained, the first by name; --count 0 means all.",
            chosen.of
        );
        terminal::say(Level::Info, told);
    }
    if subject.kind == Kind::Search && count.min(config.explain.at_once) < FEW {
        terminal::say(
            Level::Warning,
            format_args!(
                "a supernet normalises by the images of a pass, and {count} are few for that; explain at least {FEW} at a time"
            ),
        );
    }
    Ok(chosen)
}

/// Images of a pass below which a supernet's statistics are rough.
const FEW: usize = 16;

/// Says that it was stopped.
fn stopped(what: &str) -> Ended {
    terminal::say(Level::Info, what);
    Ended::Stopped
}

fn explain(
    arguments: &Arguments,
    config: &ExplainConfig,
    (subject, chosen): (&Subject, Chosen),
    out: &Path,
) -> Result<Ended, Error> {
    let stop = signals::stop_flag();
    let mut work = Work::new();
    let nothing = "Stopped; nothing was written.";
    let Some(explained) = Explained::of(subject, chosen, config, &mut work, &stop) else {
        return Ok(stopped(nothing));
    };
    let measures = match config.explain.measures {
        true => match explained.measured(subject, config, &mut work, &stop) {
            Some(measures) => Some(measures),
            None => return Ok(stopped(nothing)),
        },
        false => None,
    };
    work.end();
    let written = Written {
        subject,
        explained: &explained,
        measures: measures.as_ref(),
        config,
    };
    write(out, &written)?;
    if arguments.json {
        terminal::result(written.json());
        return Ok(Ended::Well);
    }
    about(subject, &explained, config);
    if let Some(measures) = &measures {
        tables(measures);
    }
    terminal::result(format_args!(
        "Folder: {} (sheet.png, images/, explanations.json, explanations.safetensors)",
        quoted(out)
    ));
    Ok(Ended::Well)
}

fn listen(
    arguments: &Arguments,
    config: &ExplainConfig,
    (subject, dataset): (&Subject, &Dataset),
    out: &Path,
) -> Result<Ended, Error> {
    let stop = signals::stop_flag();
    let mut work = Work::new();
    let again = "Stopped; what is done is recorded, and the same command goes on.";
    let Some(listening) = Listening::new(subject, dataset, config, (&mut work, &stop))? else {
        return Ok(stopped(again));
    };
    let Some(listened) = listening.run(arguments.seeds, out, (&mut work, &stop))? else {
        return Ok(stopped(again));
    };
    work.end();
    listened.write(out)?;
    if arguments.json {
        let json = serde_json::to_value(&listened).map_err(std::io::Error::other)?;
        terminal::result(json);
        return Ok(Ended::Well);
    }
    terminal::plain(listened.markdown());
    terminal::result(format_args!(
        "Folder: {} (audience.md, audience.json, audience/)",
        quoted(out)
    ));
    Ok(Ended::Well)
}

/// What was explained.
fn about(subject: &Subject, explained: &Explained, config: &ExplainConfig) {
    let what = match subject.step {
        Some(step) => format!("supernet of {} after step {step}", subject.folder.display()),
        None => format!("trained network of {}", subject.folder.display()),
    };
    let chosen = &explained.chosen;
    terminal::result(format_args!(
        "{} {}, explained by the {what}",
        explained.count(),
        chosen.from
    ));
    let (m, p) = (&config.method, explained.predictions());
    let unit = MethodWords::of(config);
    terminal::result(format_args!(
        "attack: ε {} {}, {} of {} {}",
        m.epsilon, unit.epsilon, unit.steps, m.attack_step, unit.step
    ));
    let accuracy = p
        .accuracy
        .map_or(String::new(), |a| format!("accuracy {:.1} %; ", 100.0 * a));
    terminal::result(format_args!(
        "{accuracy}δ changes {:.1} % of the predictions, and the mean probability of the class predicted from {:.3} to {:.3}\n",
        100.0 * p.changed,
        p.probability,
        p.perturbed_probability
    ));
}

/// The attack's settings in words.
struct MethodWords {
    epsilon: &'static str,
    step: &'static str,
    steps: String,
}

impl MethodWords {
    fn of(config: &ExplainConfig) -> Self {
        let m = &config.method;
        let (_, values) = m.table();
        let is = |key: &str, word: &str| values[key].as_str() == Some(word);
        Self {
            epsilon: match is("epsilon_unit", "range") {
                true => "of the range of pixels",
                false => "standard deviations of pixels",
            },
            step: match (is("attack_scale", "relative"), m.signed_attack) {
                (true, false) => "× ε",
                (true, true) => "× ε along the sign",
                (false, _) => "(absolute)",
            },
            steps: match m.attack_steps {
                1 => "1 step".into(),
                n => format!("{n} steps"),
            },
        }
    }
}

/// The columns of a table.
const NAME: usize = 32;
const COLUMN: usize = 18;

fn tables(measures: &Measures) {
    let mut heading = format!("{:NAME$}", "mean, with its 95 % interval");
    for source in Source::ALL {
        heading += &format!("{:>COLUMN$}", source.name());
    }
    terminal::result(heading);
    for measure in &measures.measures {
        row(measure);
    }
    for line in verdict(measures) {
        terminal::result(line);
    }
    terminal::result(format_args!(
        "\nrandomisation check{:>29}{:>22}{:>22}",
        "with random weights", "with another start", "entropy rises by"
    ));
    for check in &measures.checks {
        checked(check);
    }
    terminal::result("");
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}

fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or(String::new(), |[low, high]| {
        format!("{} to {}", number(low), number(high))
    })
}

fn row(measure: &Measure) {
    let arrow = match measure.better {
        Better::Higher => " ↑",
        Better::Lower => " ↓",
        Better::Neither => "",
    };
    let of = |source: Source, tell: &dyn Fn(&Measured) -> String| {
        let mut all = measure.of.iter();
        let found = all.find(|m| m.source == source);
        found.map_or("–".into(), tell)
    };
    let line = |first: &str, tell: &dyn Fn(&Measured) -> String| {
        let columns = Source::ALL.map(|source| format!("{:>COLUMN$}", of(source, tell)));
        terminal::result(format_args!("{first:NAME$}{}", columns.concat()));
    };
    line(&format!("{}{arrow}", measure.name), &|m| number(m.mean));
    if measure.of.iter().any(|m| m.interval.is_some()) {
        let columns = Source::ALL.map(|source| {
            let mut all = measure.of.iter();
            let found = all.find(|m| m.source == source);
            format!(
                "{:>COLUMN$}",
                found.map_or(String::new(), |m| range(m.interval))
            )
        });
        terminal::result(format_args!("{:NAME$}{}", "", columns.concat()));
    }
}

/// What the main figure says.
fn verdict(measures: &Measures) -> Vec<String> {
    let Some(road) = measures.measures.first() else {
        return Vec::new();
    };
    let images = road.of.iter().map(|m| m.values.len()).max().unwrap_or(0);
    if images < 2 {
        return vec!["\nOf one image nothing can be said: explain more of them.".into()];
    }
    let mut lines = vec![String::from(
        "\nBy ROAD, the main figure, the explanation is",
    )];
    for d in &road.differences {
        let told = match d.interval {
            Some([low, _]) if low > 0.0 => "better than",
            Some([_, high]) if high < 0.0 => "worse than",
            _ => "not told apart by these images from",
        };
        lines.push(format!(
            "  {told} the {}: {:+.3} ({})",
            match d.control {
                Source::Other => "explanation of another image",
                control => control.name(),
            },
            d.mean,
            range(d.interval)
        ));
    }
    if images < statistics::FEW {
        lines.push(format!(
            "With {images} images such intervals are too narrow: take this as a hint."
        ));
    }
    lines
}

fn checked(check: &Check) {
    let word = |passed: bool| if passed { "passed" } else { "failed" };
    terminal::result(format_args!(
        "{:19}{:>20} {:>8}{:>22}{:>13} {:>8}",
        check.source.name(),
        format!("{:+.3}", check.likeness.mean),
        word(check.likeness_passed),
        format!("{:+.3}", check.likeness_of_starts.mean),
        format!("{:+.1} %", 100.0 * check.rise.mean),
        word(check.rise_passed)
    ));
}
