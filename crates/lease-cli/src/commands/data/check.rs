//! `lease data check`: what a data set is like, and whether a search would read it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use lease::Error;
use lease::config::Composite;
use lease::data::survey::{self, Files, Survey, Twice};
use lease::data::{self, DataConfig, DataError, Dataset};
use lease::run::files::write_atomically;

use crate::Ended;
use crate::settings::Settings;
use crate::terminal::reading::Reading;
use crate::terminal::{self, Level};

/// Look at a data set as a search would read it: classes, parts, sizes and kinds of images, what is broken or there twice.
/// The exit status says whether it can be used.
#[derive(clap::Args)]
pub struct Arguments {
    /// A folder, table or archive; what it is, is seen by what is there unless --dataset says it
    #[arg(value_name = "PATH")]
    place: Option<PathBuf>,
    /// Write a contact sheet, some images of each class as they are read, as a PNG file
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings<DataConfig>,
}

/// What is broken, or twice, is told up to this many.
const MOST_TOLD: usize = 20;

pub fn run(mut arguments: Arguments) -> Result<Ended, Error> {
    let config = arguments.config()?;
    let (survey, dataset) = survey::survey(&config, &Reading::new());
    if let Some((file, dataset)) = arguments.sheet.as_ref().zip(dataset) {
        write_sheet(file, &dataset)?;
    }
    if arguments.json {
        terminal::result(serde_json::to_value(&survey).unwrap_or_default());
    } else {
        report(&survey);
    }
    Ok(match survey.usable {
        true => Ended::Well,
        false => Ended::Refuted,
    })
}

impl Arguments {
    /// What is to be looked at.
    fn config(&mut self) -> Result<DataConfig, Error> {
        let flags = &mut self.settings.flags;
        let given =
            |flags: &[(String, String)], name: &str| flags.iter().any(|(flag, _)| flag == name);
        if let Some(place) = &self.place {
            if given(flags, "path") {
                let told = "the place is given twice, as PATH and as --path; leave one out";
                return Err(Error::Usage(told.into()));
            }
            let Some(text) = place.to_str() else {
                let told = format!("the name {} is no UTF-8; rename it", place.display());
                return Err(Error::Usage(told));
            };
            if !given(flags, "dataset") {
                let kind = serde_json::to_value(survey::kind_of(place)).unwrap_or_default();
                let kind = kind.as_str().unwrap_or_default().to_string();
                flags.push(("dataset".into(), kind));
            }
            flags.push(("path".into(), text.into()));
        }
        let layers = self.settings.layers()?;
        Ok(DataConfig::resolve(
            &data::presets(&layers.values)?,
            &layers,
        )?)
    }
}

/// Writes the contact sheet; never over another file, which may be a photo.
fn write_sheet(file: &Path, dataset: &Dataset) -> Result<(), Error> {
    let failed = |source| DataError::Write {
        path: file.into(),
        source,
    };
    let png = survey::sheet(dataset).map_err(failed)?;
    if std::fs::read(file).is_ok_and(|there| there != png) {
        let file = file.display();
        let told = format!(
            "{file} is there already and is another; give another name to --sheet, or remove it"
        );
        return Err(Error::Usage(told));
    }
    write_atomically(file, &png).map_err(failed)?;
    terminal::say(
        Level::Info,
        format_args!("Contact sheet: {}", file.display()),
    );
    Ok(())
}

fn report(survey: &Survey) {
    if let Some(files) = &survey.files {
        report_files(files);
    }
    if let Some([channels, height, width]) = survey.shape {
        let levels = |values: &[f32]| -> String {
            let values: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
            values.join(" ")
        };
        terminal::result(format_args!(
            "Read as {channels} × {height} × {width}; mean {}, deviation {} (white = 1){}",
            levels(&survey.mean),
            levels(&survey.deviation),
            if survey.masks {
                "; which pixels matter is known"
            } else {
                ""
            }
        ));
    }
    report_classes(survey);
    report_twice(&survey.twice);
    for note in &survey.notes {
        terminal::result(format_args!("Note: {note}"));
    }
    for warning in &survey.warnings {
        terminal::result(format_args!("Warning: {warning}"));
    }
    match &survey.problem {
        None => terminal::result("It can be used."),
        Some(problem) => terminal::result(format_args!("It cannot be used: {problem}")),
    }
}

fn report_files(files: &Files) {
    let counted = |counts: &BTreeMap<String, usize>| -> String {
        let told: Vec<String> = counts
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        told.join(", ")
    };
    terminal::result(format_args!(
        "{} files, {}: {}; pixels: {}",
        files.count,
        HumanBytes(files.bytes),
        counted(&files.formats),
        counted(&files.modes)
    ));
    let size = |[width, height]: [u32; 2]| format!("{width} × {height}");
    terminal::result(match files.sizes {
        1 => format!(
            "All are {} pixels (width × height){}",
            size(files.smallest),
            if files.enlarged > 0 {
                ", and are enlarged to be read"
            } else {
                ""
            }
        ),
        sizes => format!(
            "{sizes} sizes (width × height) from {} to {}, the median {}; {} are enlarged to be read",
            size(files.smallest),
            size(files.largest),
            size(files.median),
            files.enlarged
        ),
    });
    if files.broken.is_empty() {
        return;
    }
    terminal::result(format_args!("Broken: {}", files.broken.len()));
    for broken in files.broken.iter().take(MOST_TOLD) {
        terminal::result(format_args!(
            "  {}: {}",
            broken.file.display(),
            broken.reason
        ));
    }
    and_more(files.broken.len());
}

fn report_classes(survey: &Survey) {
    let names = survey.classes.iter().map(|class| plain(&class.name));
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return;
    }
    let title = format!("{} classes", survey.classes.len());
    let widest = terminal::widest(&title, names.iter().map(String::as_str));
    terminal::result(format_args!("{title:widest$} {:>9} {:>9}", "train", "test"));
    for (class, name) in survey.classes.iter().zip(&names) {
        terminal::result(format_args!(
            "{} {:>9} {:>9}",
            terminal::padded(name, widest),
            class.train,
            class.test
        ));
    }
    let sum = |of: fn(&survey::Class) -> usize| survey.classes.iter().map(of).sum::<usize>();
    terminal::result(format_args!(
        "{:widest$} {:>9} {:>9}",
        "all",
        sum(|class| class.train),
        sum(|class| class.test)
    ));
}

/// A name on one line.
fn plain(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

fn report_twice(twice: &[Twice]) {
    if twice.is_empty() {
        return;
    }
    let count = |of: fn(&&Twice) -> bool| twice.iter().filter(of).count();
    terminal::result(format_args!(
        "{} images are there more than once (equal in every pixel as they are read): {} in both parts, {} in several classes",
        twice.len(),
        count(|group| group.across_parts),
        count(|group| group.across_classes)
    ));
    for group in twice.iter().take(MOST_TOLD) {
        let told: Vec<String> = group
            .images
            .iter()
            .map(|one| match group.across_classes {
                true => format!("{} ({})", one.name, one.class),
                false => one.name.clone(),
            })
            .collect();
        terminal::result(format_args!("  {}", told.join(" = ")));
    }
    and_more(twice.len());
}

fn and_more(count: usize) {
    if count > MOST_TOLD {
        terminal::result(format_args!("  … and {} more", count - MOST_TOLD));
    }
}
