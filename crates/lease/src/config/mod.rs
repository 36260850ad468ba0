//! The configuration of a run: every setting once, with its meaning.
//!
//! Values come from four places, the later winning: the defaults below (the sizes of the DARTS paper), the
//! presets of the space and of the data set, a TOML file, and flags. What results is written into the run folder, whole.

mod settings;

use std::path::{Path, PathBuf};

pub use settings::{
    Augment, Config, Data, DatasetKind, Explainer, GammaScale, Hypergradient,
    Search as SearchSettings, Setting, Space, Split, StagePlan, StageReached, Train, Validate,
};
use toml::{Table, Value};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{place} is not a valid configuration: {reason}")]
    Invalid {
        /// The file, or what else the text came from.
        place: String,
        /// What is wrong, with line and column where known.
        reason: String,
    },
    /// A value is of the wrong type.
    #[error("`{value}` is no value for --{flag} ({reason})")]
    Flag {
        /// The flag, without dashes.
        flag: String,
        /// What was given.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// A value is out of range.
    #[error("{key} = {value} (flag --{flag}) cannot be used: {reason}")]
    Range {
        /// Section and key, as in `search.epochs`.
        key: String,
        /// The flag, without dashes.
        flag: String,
        /// The value.
        value: String,
        /// What is allowed.
        reason: String,
    },
}

impl Setting {
    /// The flag, without dashes: the key, after the section's prefix where it has one.
    pub fn flag(&self) -> String {
        let key = self.key.replace('_', "-");
        if self.prefix.is_empty() {
            key
        } else {
            format!("{}-{key}", self.prefix)
        }
    }

    /// The default, as TOML.
    pub fn default_value(&self) -> Value {
        let table = Config::default().to_table();
        table[self.section][self.key].clone()
    }
}

impl Config {
    /// Puts a configuration together from the defaults, the presets of its space and its data set, a TOML file and
    /// flags given as (flag, text).
    ///
    /// # Errors
    /// If the file cannot be read or parsed, a key is unknown, or a value is of the wrong type or range.
    pub fn resolve(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self, ConfigError> {
        let layers = layers(file, flags)?;
        let (data, explainer): (settings::Data, settings::Explainer) =
            (section(&layers, "data")?, section(&layers, "explainer")?);
        let parsed = |preset: &str| -> Result<Table, ConfigError> {
            preset.parse().map_err(|e| invalid("the preset", &e))
        };
        let (space, data) = (
            parsed(explainer.space.preset())?,
            parsed(data.dataset.preset())?,
        );
        let whole = |of: &Table, key| of.get("search")?.get(key)?.as_integer();
        let authors = whole(&space, "epochs").zip(whole(&space, "warmup_epochs"));
        let mut merged = Self::default().to_table();
        overlay(&mut merged, space);
        overlay(&mut merged, data);
        // A space's warm-up is that of its own epochs; with too few for it, it is as large a share of them.
        let epochs = whole(&layers, "epochs").or(whole(&merged, "epochs"));
        if let (Some((of, warmup)), Some(epochs)) = (authors, epochs)
            && whole(&layers, "warmup_epochs").is_none()
            && warmup >= epochs
        {
            merged["search"]["warmup_epochs"] = Value::Integer(warmup * epochs / of);
        }
        Self::merged(merged, layers)
    }

    /// This configuration under a TOML file and flags: what a later command changes of a run's.
    ///
    /// # Errors
    /// As [`Config::resolve`].
    pub fn overlaid(
        &self,
        file: Option<&Path>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        Self::merged(self.to_table(), layers(file, flags)?)
    }

    fn merged(mut lower: Table, upper: Table) -> Result<Self, ConfigError> {
        overlay(&mut lower, upper);
        let config: Self = lower
            .try_into()
            .map_err(|e| invalid("the configuration", &e))?;
        config.validate()?;
        Ok(config)
    }

    /// The settings in which another configuration differs, as `section.key is A there, B here`.
    pub fn differences(&self, here: &Self) -> Vec<String> {
        let (there, here) = (self.to_table(), here.to_table());
        Self::settings()
            .filter_map(|setting| {
                let of = |table: &Table| table[setting.section][setting.key].clone();
                let (a, b) = (of(&there), of(&here));
                let differ = a != b;
                differ
                    .then(|| format!("{}.{} is {a} there, {b} here", setting.section, setting.key))
            })
            .collect()
    }

    /// Reads a whole configuration, such as a run folder's.
    ///
    /// # Errors
    /// If the text is no TOML, has an unknown key or a value of the wrong type.
    pub fn parse(text: &str, place: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| invalid(place, &e))
    }

    /// The setting with this flag.
    pub fn find(flag: &str) -> Option<&'static Setting> {
        Self::settings().find(|s| s.flag() == flag)
    }

    /// The configuration as TOML, each value under its meaning.
    pub fn to_toml(&self) -> String {
        let table = self.to_table();
        let mut text = String::new();
        let mut section = "";
        for setting in Self::settings() {
            if setting.section != section {
                if !section.is_empty() {
                    text.push('\n');
                }
                section = setting.section;
                text.push_str(&format!("[{section}]\n"));
            }
            for line in wrap(setting.help) {
                text.push_str(&format!("# {line}\n"));
            }
            let value = &table[setting.section][setting.key];
            text.push_str(&format!("{} = {value}\n", setting.key));
        }
        text
    }

    fn to_table(&self) -> Table {
        // Every value is a number, a string or a boolean, so this cannot fail.
        Table::try_from(self).unwrap_or_default()
    }
}

impl Setting {
    /// Reads a flag's text as a value of the setting's type.
    fn value(&self, text: &str) -> Result<Value, ConfigError> {
        let wrong = |reason: &str| ConfigError::Flag {
            flag: self.flag(),
            value: text.into(),
            reason: reason.into(),
        };
        match self.default_value() {
            Value::Integer(_) => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Ok(Value::Integer(n)),
                _ => Err(wrong("a whole number of at least 0 is needed")),
            },
            Value::Float(_) => text
                .parse()
                .map(Value::Float)
                .map_err(|_| wrong("a number is needed")),
            Value::Boolean(_) => text
                .parse()
                .map(Value::Boolean)
                .map_err(|_| wrong("`true` or `false` is needed")),
            _ if !self.choices.is_empty() && !self.choices.contains(&text) => Err(wrong(&format!(
                "one of {} is needed",
                self.choices.join(", ")
            ))),
            _ => Ok(Value::String(text.into())),
        }
    }
}

/// One section of these layers, with defaults for what they don't say.
fn section<T: serde::de::DeserializeOwned + Default>(
    layers: &Table,
    name: &str,
) -> Result<T, ConfigError> {
    match layers.get(name) {
        Some(section) => {
            let section = section.clone().try_into();
            section.map_err(|e| invalid("the configuration", &e))
        }
        None => Ok(T::default()),
    }
}

/// What a file and flags set, section by section.
fn layers(file: Option<&Path>, flags: &[(String, String)]) -> Result<Table, ConfigError> {
    let mut layers = Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        // Parsed as a whole first, so that a mistake is reported with its line.
        let place = path.display().to_string();
        Config::parse(&text, &place)?;
        layers = text.parse().map_err(|e| invalid(&place, &e))?;
    }
    for (flag, text) in flags {
        let setting = Config::find(flag).ok_or_else(|| ConfigError::Flag {
            flag: flag.clone(),
            value: text.clone(),
            reason: "there is no such setting".into(),
        })?;
        let value = setting.value(text)?;
        let section = layers
            .entry(setting.section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(setting.key.into(), value);
        }
    }
    Ok(layers)
}

fn invalid(place: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Invalid {
        place: place.into(),
        reason: error.to_string().trim_end().into(),
    }
}

/// Sets the values of `upper` in `lower`, section by section.
fn overlay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_preset() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[explainer]\nchannels = 6\ncells = 5\n").unwrap();
        let config = Config::resolve(Some(file.path()), &flags(&[("cells", "4")])).unwrap();
        assert_eq!((config.explainer.channels, config.explainer.cells), (6, 4));
        assert_eq!(config.explainer.nodes, 3, "from the preset of the digits");
    }

    #[test]
    fn every_space_has_usable_defaults_on_every_data_set() {
        for space in ["darts", "pc-darts", "p-darts", "nas-bench-201"] {
            for dataset in ["digits", "cifar10", "cifar100", "folder"] {
                let all = flags(&[("space", space), ("dataset", dataset), ("path", "x")]);
                Config::resolve(None, &all).unwrap();
            }
        }
        let warmup = |epochs| {
            let all = flags(&[("space", "p-darts"), ("epochs", epochs)]);
            Config::resolve(None, &all).unwrap().search.warmup_epochs
        };
        assert_eq!((warmup("25"), warmup("10"), warmup("6")), (10, 4, 2));
    }

    #[test]
    fn a_written_configuration_reads_back_the_same() {
        let config = Config::resolve(None, &flags(&[("dataset", "cifar10"), ("path", "a b")]));
        let config = config.unwrap();
        assert_eq!(Config::parse(&config.to_toml(), "test").unwrap(), config);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let refused = |pairs: &[(&str, &str)]| {
            Config::resolve(None, &flags(pairs))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(&[("epochs", "many")]),
            "`many` is no value for --epochs (a whole number of at least 0 is needed)"
        );
        assert!(refused(&[("epochs", "0")]).contains("search.epochs = 0 (flag --epochs)"));
        assert!(refused(&[("method", "magic")]).contains("lease, darts, darts-first"));
        let error = Config::parse("[search]\nepoch = 3\n", "my.toml").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("my.toml is not") && text.contains("line 2"),
            "{text}"
        );
    }

    #[test]
    fn flags_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in Config::settings() {
            assert!(seen.insert(setting.flag()), "--{} twice", setting.flag());
        }
    }
}
