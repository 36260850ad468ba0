//! One flag for each setting that a command reads, made from the settings themselves.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use lease::config::{Composite, ImageSize, Layers, SectionInfo, Setting};
use lease::{data, space, study};
use toml::Value;

/// The settings given on the command line, and the file with more of them.
#[derive(Clone, Debug)]
pub struct Settings<C> {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flag and text of each setting given.
    pub flags: Vec<(String, String)>,
    of: PhantomData<C>,
}

impl<C: Composite> Settings<C> {
    /// What the file and the flags set.
    pub fn layers(&self) -> Result<Layers, lease::Error> {
        // A file may have settings of other commands.
        let others = study::sections();
        Ok(Layers::read(
            self.file.as_deref(),
            &self.flags,
            &C::scope(),
            &others,
        )?)
    }

    /// The flags that only say where a run takes place, which can change where it goes on; else an error.
    pub fn only_free(&self) -> Result<Layers, lease::Error> {
        let fixed = |setting: &&'static Setting| !setting.rule.is_free();
        let layers = self.layers()?;
        let given = layers.flags.iter().find(|s| fixed(s));
        if self.file.is_none() && given.is_none() {
            return Ok(layers);
        }
        let named = given.map_or("--config".into(), |s| format!("--{}", s.flag()));
        let mut free: Vec<String> = C::scope()
            .iter()
            .flat_map(|section| section.settings)
            .filter(|s| s.rule.is_free())
            .map(|s| format!("--{}", s.flag()))
            .collect();
        free.sort();
        Err(lease::Error::Usage(format!(
            "--resume goes on with the settings of the run folder's config.toml, so {named} cannot be given; leave it \
             out, or start a new run. What the result does not depend on can change: {}",
            free.join(", ")
        )))
    }
}

fn flag(section: &SectionInfo, setting: &Setting) -> Arg {
    let name = setting.flag();
    let default = match setting.rule.is_size() {
        true => Value::String(ImageSize::AUTO.into()),
        false => section.default_of(setting),
    };
    let words = setting.choices.words();
    let value_name = if !words.is_empty() {
        words.join("|")
    } else if setting.rule.is_size() {
        "auto|N|HxW".into()
    } else if default.is_bool() {
        "true|false".into()
    } else if default.is_str() {
        "TEXT".into()
    } else {
        "N".into()
    };
    let readers = space::readers(section.name);
    let mut heading = format!("Settings, [{}]", section.name);
    if !readers.is_empty() {
        heading += &format!(", with --space {}", readers.join(", "));
    }
    if let Some(dataset) = data::reader(section.name) {
        heading += &format!(", with --dataset {dataset}");
    }
    let arg = Arg::new(name.clone())
        .long(name)
        .value_name(value_name)
        .help(format!("{} [default: {default}]", setting.help))
        .help_heading(heading);
    if default.is_bool() {
        arg.num_args(0..=1).default_missing_value("true")
    } else {
        // So that a negative number is refused for what it is.
        arg.allow_negative_numbers(true)
    }
}

impl<C: Composite> Args for Settings<C> {
    fn augment_args(command: Command) -> Command {
        let flags = C::scope().into_iter().flat_map(|section| {
            let settings = section.settings.iter();
            settings.map(move |setting| flag(section, setting))
        });
        command
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("TOML file with settings; flags win over it"),
            )
            .args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Composite> FromArgMatches for Settings<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let all = C::scope();
        let given = all.iter().flat_map(|s| s.settings).filter_map(|setting| {
            let flag = setting.flag();
            let text = matches.get_one::<String>(&flag)?.clone();
            Some((flag, text))
        });
        Ok(Self {
            flags: given.collect(),
            file: matches.get_one("config").cloned(),
            of: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
