//! One flag for each setting of the library's configuration, made from the settings themselves.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use lease::config::{Config, Setting};

/// The settings given on the command line, and the file with more of them.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flag and text of each setting given.
    pub flags: Vec<(String, String)>,
}

impl Settings {
    /// The configuration: defaults, the data set's preset, the file, the flags.
    pub fn resolve(&self) -> Result<Config, lease::Error> {
        Ok(Config::resolve(self.file.as_deref(), &self.flags)?)
    }

    /// Whether anything was set.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.flags.is_empty()
    }
}

fn flag(setting: &Setting) -> Arg {
    let name = setting.flag();
    let default = setting.default_value();
    let value_name = if !setting.choices.is_empty() {
        setting.choices.join("|")
    } else if default.is_bool() {
        "true|false".into()
    } else if default.is_str() {
        "TEXT".into()
    } else {
        "N".into()
    };
    let arg = Arg::new(name.clone())
        .long(name)
        .value_name(value_name)
        .help(format!("{} [default: {default}]", setting.help))
        .help_heading(format!("Settings, [{}]", setting.section));
    if default.is_bool() {
        arg.num_args(0..=1).default_missing_value("true")
    } else {
        arg
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("TOML file with settings; flags win over it"),
            )
            .args(Config::settings().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Config::settings().filter_map(|setting| {
            let flag = setting.flag();
            let text = matches.get_one::<String>(&flag)?.clone();
            Some((flag, text))
        });
        Ok(Self {
            flags: given.collect(),
            file: matches.get_one("config").cloned(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
