//! `lease test`: a trained network on another test set.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use lease::Error;
use lease::config::{Composite, ImageSize, Layers};
use lease::data::{DataConfig, DatasetKind};
use lease::training::{ClassResult, Confusion, Trained};
use serde_json::json;
use toml::{Table, Value};

use super::predict::Place;
use crate::Ended;
use crate::settings::Settings;
use crate::terminal::{self, Level, reading};

/// Test a trained network on another test set, class by class.
///
/// Without a data set it is the test images of the one that the network was trained on. The set's classes must be among the
/// network's, by their names.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that `lease train` left, or a run folder of `lease run`
    #[arg(value_name = "TRAINED")]
    trained: PathBuf,
    /// Which images of the set: its test images, its training images, or both [default: test; all of a folder that is not
    /// divided and that the network was not trained on]
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Print JSON, with the confusion matrix
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings<DataConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Test,
    Train,
    All,
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let place = &arguments.place;
    lease::device::with_threads(place.threads, || test(arguments))?
}

fn test(arguments: &Arguments) -> Result<Ended, Error> {
    let trained = Trained::load(&arguments.trained, &arguments.place.device)?;
    let upper = arguments.settings.layers()?;
    let config = DataConfig::resolve(&[read_as(&trained, &upper)], &upper)?;
    let own = is_own(&trained, &config);
    let part = match arguments.part {
        Some(part) => part,
        None if own => Part::Test,
        None => part_of(&config),
    };
    let dataset = reading::load(&config)?;
    if own && part != Part::Test {
        let told = format!(
            "{} of these images are those that the network was trained on, so this says little about others; --part test \
             leaves them out.",
            dataset.train.len()
        );
        terminal::say(Level::Warning, told);
    }
    let numbers = trained.numbers_of(&dataset)?;
    let (train, test) = (&*dataset.train, dataset.test());
    let parts = match part {
        Part::Test => vec![test],
        Part::Train => vec![train],
        Part::All => vec![train, test],
    };
    let mut confusion = Confusion::new(trained.classes.len());
    for images in parts {
        confusion.add_all(&trained.confusion(images, &numbers)?);
    }
    let known = |class: &String| dataset.classes.contains(class);
    let lacking = trained.classes.iter().filter(|c| !known(c)).count();
    if lacking > 0 {
        let told = format!("{lacking} of the network's classes have no images in this set.");
        terminal::say(Level::Info, told);
    }
    report(&trained, &confusion, arguments.json);
    Ok(Ended::Well)
}

/// The settings by which images are read as the network's were; those that it was trained with where no others are named.
fn read_as(trained: &Trained, upper: &Layers) -> Table {
    let mut all = Table::new();
    for (section, values) in trained.config.data.tables() {
        all.insert(section.name.into(), Value::Table(values));
    }
    let given = |key| {
        upper
            .values
            .get("data")
            .and_then(|data| data.get(key))
            .is_some()
    };
    let (other_kind, other_place) = (given("dataset"), given("path"));
    if let Some(Value::Table(data)) = all.get_mut("data") {
        if other_kind {
            data.remove("dataset");
        }
        if other_kind || other_place {
            for key in ["path", "limit", "test_limit"] {
                data.remove(key);
            }
        }
        let [_, height, width] = trained.image();
        if let Ok(size) = Value::try_from(ImageSize { height, width }) {
            data.insert("image_size".into(), size);
        }
    }
    all
}

/// Whether this is the data set that the network was trained on, as far as kind and place tell.
fn is_own(trained: &Trained, config: &DataConfig) -> bool {
    let (there, here) = (&trained.config.data.images, &config.images);
    let place = |path: &str| Path::new(path).canonicalize().ok();
    there.dataset == here.dataset
        && (here.dataset.is_embedded() || place(&there.path) == place(&here.path))
}

/// All of a folder that has no sub-folders for training and testing; else what tests.
fn part_of(config: &DataConfig) -> Part {
    let images = &config.images;
    let divided = |folder: &Path| {
        let Ok(entries) = folder.read_dir() else {
            return true;
        };
        entries.flatten().any(|entry| {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            ["train", "test", "val", "valid", "validation"].contains(&&*name)
        })
    };
    match images.dataset {
        DatasetKind::Folder if !divided(Path::new(&images.path)) => Part::All,
        _ => Part::Test,
    }
}

fn report(trained: &Trained, confusion: &Confusion, as_json: bool) {
    let classes = ClassResult::of(&trained.classes, confusion);
    let images: u64 = confusion.images().iter().sum();
    let (accuracy, balanced) = (confusion.accuracy(), confusion.balanced_accuracy());
    if as_json {
        terminal::result(json!({
            "images": images,
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "classes": classes,
            "confusion": confusion,
        }));
        return;
    }
    let width = terminal::widest("class", trained.classes.iter().map(String::as_str));
    terminal::result(format_args!(
        "{:width$} {:>8} {:>10}   most often taken for",
        "class", "images", "accuracy"
    ));
    for (class, row) in classes.iter().zip(confusion.rows()) {
        let Some(accuracy) = class.accuracy else {
            continue;
        };
        let name = &class.class;
        let others = row.iter().zip(&trained.classes).filter(|(_, c)| *c != name);
        let most = others.max_by_key(|(count, _)| **count);
        let taken = match most {
            Some((count, other)) if *count > 0 => {
                let share = 100.0 * *count as f64 / class.images as f64;
                format!("{other} ({share:.1} %)")
            }
            _ => "no other".into(),
        };
        let share = format!("{:.2} %", 100.0 * accuracy);
        terminal::result(format_args!(
            "{} {:>8} {share:>10}   {taken}",
            terminal::padded(name, width),
            class.images
        ));
    }
    terminal::result(format_args!(
        "Accuracy {:.2} % (error {:.2} %) on {images} images; balanced {:.2} %",
        100.0 * accuracy,
        100.0 * (1.0 - accuracy),
        100.0 * balanced
    ));
}
