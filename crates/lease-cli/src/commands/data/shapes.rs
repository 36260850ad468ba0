//! `lease data shapes`: a generated set whose relevant pixels are known.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use lease::Error;
use lease::config::{Composite, Layers, Section};
use lease::data::{ShapesSettings, shapes};
use lease::network::PHOTO_SIDE;

use crate::Ended;
use crate::terminal::counter::Counter;
use crate::terminal::{self, Level, quoted, signals};

/// Draw shapes, an object on a textured background among distractors each, and write them as a folder of PNG files,
/// train/CLASS and test/CLASS, with masks of the object in masks/.
///
/// The same settings draw the same images everywhere. `--dataset shapes` draws them without a folder.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder to make
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

/// The settings of shapes, as `--side` or as `--shapes-side`.
struct Flags(Vec<(String, String)>);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let info = ShapesSettings::INFO;
        command.args(info.settings.iter().map(|setting| {
            let name = setting.key.replace('_', "-");
            Arg::new(setting.key)
                .long(name)
                .alias(setting.flag())
                .value_name("N")
                .allow_negative_numbers(true)
                .help(format!(
                    "{} [default: {}]",
                    setting.help,
                    info.default_of(setting)
                ))
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let settings = ShapesSettings::INFO.settings.iter();
        let given = settings.filter_map(|setting| {
            let text = matches.get_one::<String>(setting.key)?;
            Some((setting.flag(), text.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let settings = Layers::read(None, &arguments.flags.0, &ShapesSettings::scope(), &[])
        .and_then(|layers| ShapesSettings::resolve(&[], &layers))
        // Without the hint at --print-config, which is not here.
        .map_err(|error| Error::Usage(error.to_string()))?;
    let folder = &arguments.folder;
    let stop = signals::stop_flag_saying("Stopping; nothing will be left.");
    let all = settings.count + settings.test_count;
    let bar = Counter::of("images", all as u64);
    let done = |count: usize| bar.reach(count as u64);
    let written = shapes::write(&settings, folder, &done, &stop)?;
    bar.end();
    if written.is_none() {
        terminal::say(Level::Info, "Stopped; nothing was written.");
        return Ok(Ended::Stopped);
    }
    terminal::result(format_args!(
        "{} training and {} test images of {} classes, {side} × {side} pixels: {}",
        settings.count,
        settings.test_count,
        settings.classes,
        folder.display(),
        side = settings.side,
    ));
    // A photo's recipe takes parts of images, in which there may be nothing of the object.
    let whole = match settings.side >= PHOTO_SIDE {
        true => " --framing stretch --augment crop-flip",
        false => "",
    };
    terminal::result(format_args!(
        "Search on them: lease run --dataset folder --path {} --image-size {}{whole}",
        quoted(folder),
        settings.side
    ));
    Ok(Ended::Well)
}
