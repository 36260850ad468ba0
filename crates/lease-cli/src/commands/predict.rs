//! `lease predict`: what a trained network says of images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use lease::Error;
use lease::data::{DataError, Oddity};
use lease::training::{Answer, BATCH, Files, Trained};
use serde_json::json;

use crate::Ended;
use crate::terminal::{self, Level, counted};

/// Classify images by a trained network.
///
/// Results go to standard output in the order of the images. Files that cannot be read are told on standard error and passed
/// over; the exit status is then 3, and 1 where none can be read.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that `lease train` left, or a run folder of `lease run`
    #[arg(value_name = "TRAINED")]
    trained: PathBuf,
    /// Image files, or folders of them, sub-folders included
    #[arg(value_name = "IMAGE|FOLDER", required = true)]
    images: Vec<PathBuf>,
    /// What the results look like: a table for people, JSON lines, or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How many of the most probable classes are told of each image; 0 means all
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Images computed together
    #[arg(long, value_name = "N", default_value_t = BATCH)]
    batch: usize,
    #[command(flatten)]
    place: Place,
}

/// Where a trained network computes.
#[derive(clap::Args)]
pub struct Place {
    /// Device, as `lease devices` lists them
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads; 0 means one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Jsonl,
    Csv,
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let place = &arguments.place;
    lease::device::with_threads(place.threads, || predict(arguments))?
}

fn predict(arguments: &Arguments) -> Result<Ended, Error> {
    let trained = Trained::load(&arguments.trained, &arguments.place.device)?;
    let mut files = Files::default();
    let mut failed = 0;
    for path in &arguments.images {
        if let Err(error) = files.add(path) {
            failed += 1;
            terminal::say(Level::Warning, error);
        }
    }
    if files.others > 0 {
        let told = format!(
            "{} files have no names of images and are passed over.",
            files.others
        );
        terminal::say(Level::Info, told);
    }
    let top = match arguments.top {
        0 => trained.classes.len(),
        top => top.min(trained.classes.len()),
    };
    let writer = Writer::new(arguments.format, &trained, top, &files.images);
    let (started, mut done) = (Instant::now(), 0);
    let mut tell = |file: &Path, outcome: Result<Answer, DataError>| match outcome {
        Ok(answer) => {
            done += 1;
            if done == 1 {
                writer.header();
            }
            if answer.oddities.has(Oddity::Damaged) {
                let told =
                    "is damaged within: what is missing was filled in before it was looked at";
                terminal::say(Level::Warning, format_args!("{} {told}.", file.display()));
            }
            writer.row(file, &likeliest(answer.probabilities, top));
        }
        Err(error) => {
            failed += 1;
            terminal::say(Level::Warning, error);
        }
    };
    trained.predict(&files.images, arguments.batch, &mut tell);
    if done == 0 {
        return Err(DataError::Invalid {
            path: arguments.images[0].clone(),
            reason: "no image could be read; give image files, or folders of them".into(),
        }
        .into());
    }
    let seconds = started.elapsed().as_secs_f64();
    terminal::say(
        Level::Info,
        format_args!(
            "{} in {seconds:.2} s, {:.0} a second",
            counted(done, "image"),
            done as f64 / seconds
        ),
    );
    if failed == 0 {
        return Ok(Ended::Well);
    }
    let told = format!("{failed} of the images could not be read and were passed over.");
    terminal::say(Level::Warning, told);
    Ok(Ended::Incomplete)
}

/// The most probable classes and their probabilities, in order.
fn likeliest(probabilities: &[f32], top: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(top);
    all
}

struct Writer<'a> {
    format: Format,
    classes: &'a [String],
    top: usize,
    /// Columns of the file's name and of a class.
    widths: [usize; 2],
}

impl<'a> Writer<'a> {
    fn new(format: Format, trained: &'a Trained, top: usize, files: &[PathBuf]) -> Self {
        let files: Vec<_> = files.iter().map(|f| f.to_string_lossy()).collect();
        let classes = trained.classes.iter().map(String::as_str);
        Self {
            format,
            classes: &trained.classes,
            top,
            widths: [
                terminal::widest("image", files.iter().map(AsRef::as_ref)),
                terminal::widest("", classes),
            ],
        }
    }

    fn header(&self) {
        let [files, _] = self.widths;
        match self.format {
            Format::Table => terminal::result(format_args!(
                "{:files$}  {}",
                "image",
                if self.top == 1 {
                    "class"
                } else {
                    "classes, the most probable first"
                }
            )),
            Format::Jsonl => {}
            Format::Csv => {
                let of = |n: usize| [format!("class_{n}"), format!("probability_{n}")];
                let columns = (1..=self.top).flat_map(of);
                comma_separated(["image".to_string()].into_iter().chain(columns));
            }
        }
    }

    fn row(&self, file: &Path, likeliest: &[(usize, f32)]) {
        let name = file.to_string_lossy();
        let [files, classes] = self.widths;
        match self.format {
            Format::Table => {
                let told = likeliest.iter().map(|(class, p)| {
                    let class = terminal::padded(&self.classes[*class], classes);
                    format!("{class} {:>6}", percent(*p))
                });
                let told: Vec<String> = told.collect();
                let name = terminal::padded(&name, files);
                terminal::result(format_args!("{name}  {}", told.join("   ")));
            }
            Format::Jsonl => {
                let told = likeliest.iter();
                let told =
                    told.map(|(c, p)| json!({ "class": self.classes[*c], "probability": p }));
                let all: Vec<_> = told.collect();
                terminal::result(json!({ "image": name, "predictions": all }));
            }
            Format::Csv => {
                let of = |(c, p): &(usize, f32)| [self.classes[*c].clone(), p.to_string()];
                let columns = likeliest.iter().flat_map(of);
                comma_separated([name.to_string()].into_iter().chain(columns));
            }
        }
    }
}

fn percent(share: f32) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn comma_separated(columns: impl Iterator<Item = String>) {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Nothing fails that is written into memory.
    let _ = writer.write_record(columns);
    let line = writer.into_inner().unwrap_or_default();
    terminal::plain(String::from_utf8_lossy(&line));
}
