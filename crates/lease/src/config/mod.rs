//! Settings as data: flags, TOML, help, checks and documentation come from one declaration each.
//!
//! A section belongs to the room that reads it and is declared there, by [`section!`](section). A command reads some
//! sections, a [`Composite`]; the values come from several places, the later winning: the defaults (the sizes of the
//! DARTS paper), presets, a TOML file, and flags.

mod error;
mod layers;
mod setting;
mod size;

use std::collections::BTreeMap;

pub use error::ConfigError;
pub use layers::{Layers, preset};
pub use setting::{Choices, Rule, Section, SectionInfo, Setting};
pub use size::ImageSize;
use toml::{Table, Value};

pub use crate::settings_section as section;

/// The sections that a command reads, as types.
pub trait Composite: Sized {
    /// All sections that can be set, whatever is chosen.
    fn scope() -> Vec<&'static SectionInfo>;

    /// Reads the sections out of a whole configuration.
    ///
    /// # Errors
    /// If a value cannot be used.
    fn read(values: &Table) -> Result<Self, ConfigError>;

    /// The sections that are read under these very settings, with their values.
    fn tables(&self) -> Vec<(&'static SectionInfo, Table)>;

    /// What is wrong with settings that are right one by one but do not fit together.
    fn problems(&self) -> Vec<ConfigError>;

    /// Why a setting in scope is not read under these settings.
    fn unread(&self, setting: &Setting) -> String {
        format!("nothing reads the section [{}]", setting.section)
    }

    /// What these layers set that nothing reads under these settings, though its section is read.
    fn stray(&self, _upper: &Layers) -> Vec<ConfigError> {
        Vec::new()
    }

    /// The configuration that results where `upper` lies over `lower`, the later of which win.
    ///
    /// # Errors
    /// If a setting cannot be used, or is given as a flag, or names images, where nothing reads it.
    fn resolve(lower: &[Table], upper: &Layers) -> Result<Self, ConfigError> {
        let mut values = Table::new();
        for section in Self::scope() {
            values.insert(section.name.into(), Value::Table((section.defaults)()));
        }
        for table in lower.iter().chain([&upper.values]) {
            overlay(&mut values, table);
        }
        let config = Self::read(&values)?;
        let read = config.tables();
        let mut errors = config.problems();
        for setting in &upper.flags {
            if !read
                .iter()
                .any(|(section, _)| section.name == setting.section)
            {
                errors.push(ConfigError::Unread {
                    flag: setting.flag(),
                    reason: config.unread(setting),
                });
            }
        }
        errors.extend(config.stray(upper));
        ConfigError::all(errors)?;
        Ok(config)
    }

    /// Reads a whole configuration that was written, such as a run folder's; sections of other commands are passed
    /// over.
    ///
    /// # Errors
    /// If the text is no TOML, has an unknown key or a value that cannot be used.
    fn parse(
        text: &str,
        place: &str,
        others: &[&'static SectionInfo],
    ) -> Result<Self, ConfigError> {
        let layers = Layers::parse(text, place, &Self::scope(), others)?;
        Self::resolve(&[], &layers)
    }

    /// All values, section by section.
    fn table(&self) -> Table {
        let sections = self.tables().into_iter();
        sections
            .map(|(info, values)| (info.name.to_string(), Value::Table(values)))
            .collect()
    }

    /// The configuration as TOML, each value under its meaning.
    fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, values) in self.tables() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{}]\n", section.name));
            for setting in section.settings {
                for line in wrap(setting.help) {
                    text.push_str(&format!("# {line}\n"));
                }
                text.push_str(&format!("{} = {}\n", setting.key, values[setting.key]));
            }
        }
        text
    }

    /// The settings that the result depends on, by name.
    fn identity(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (section, values) in self.tables() {
            let unset = |s: &Setting| s.rule.is_later() && values[s.key] == section.default_of(s);
            let settings = section.settings.iter();
            let settings = settings.filter(|s| !s.rule.is_free() && !unset(s));
            all.extend(settings.map(|s| (s.name(), values[s.key].to_string())));
        }
        all
    }
}

/// What differs between two sets of named values, as `NAME is A there, B here`.
pub fn differences(
    there: &BTreeMap<String, String>,
    here: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut names: Vec<&String> = there.keys().chain(here.keys()).collect();
    names.sort();
    names.dedup();
    let told = |value: Option<&String>| value.map_or("not set".to_string(), Clone::clone);
    names
        .into_iter()
        .filter(|name| there.get(*name) != here.get(*name))
        .map(|name| {
            format!(
                "{name} is {} there, {} here",
                told(there.get(name)),
                told(here.get(name))
            )
        })
        .collect()
}

/// Sets the values of `upper` in those sections that `lower` has.
pub(crate) fn overlay(lower: &mut Table, upper: &Table) {
    for (name, section) in upper {
        if let (Some(Value::Table(below)), Value::Table(above)) = (lower.get_mut(name), section) {
            for (key, value) in above {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// `; did you mean …?` where a word is near to one of these.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // No name is as long, and telling how alike long ones are takes long.
    if word.len() > 100 {
        return String::new();
    }
    let near = known
        .map(|k| (strsim::normalized_damerau_levenshtein(word, k), k))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    near.map_or(String::new(), |(_, k)| format!("; did you mean `{k}`?"))
}

/// Breaks a help text into comment lines.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + word.len() > 96 {
            lines.push(word.into());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
