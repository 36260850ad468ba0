//! What a file and flags set.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{ConfigError, SectionInfo, Setting, nearest};

/// No configuration is longer than this, in bytes.
const LONGEST: u64 = 1 << 20;

/// No error tells of more things that are wrong with a file.
const MOST_TOLD: usize = 20;

/// What a path is where nothing is wanted; a file that is called so is `./none`.
const NO_PATH: &str = "none";

/// Values from a file and from flags, checked one by one.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The values, section by section.
    pub values: Table,
    /// The settings that were given as flags.
    pub flags: Vec<&'static Setting>,
}

impl Layers {
    /// Reads a TOML file, if there is one, and flags given as (flag, text), which win over it. Sections of `others` are
    /// those of other commands: a file may have them, and they are passed over.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, a section or key is unknown, or a value is not allowed: all that is wrong.
    pub fn read(
        file: Option<&Path>,
        flags: &[(String, String)],
        scope: &[&'static SectionInfo],
        others: &[&'static SectionInfo],
    ) -> Result<Self, ConfigError> {
        let mut layers = match file {
            Some(path) => {
                let text = text_of(path)?;
                Self::parse(&text, &path.display().to_string(), scope, others)?
            }
            None => Self::default(),
        };
        let mut errors = Vec::new();
        for (flag, text) in flags {
            if let Err(error) = layers.flag(flag, text, scope) {
                errors.push(error);
            }
        }
        ConfigError::all(errors)?;
        layers.locate(scope);
        Ok(layers)
    }

    /// Makes the paths absolute that were given relative to where the program was started.
    fn locate(&mut self, scope: &[&'static SectionInfo]) {
        for section in scope {
            let Some(Value::Table(values)) = self.values.get_mut(section.name) else {
                continue;
            };
            for setting in section.settings.iter().filter(|s| s.rule.is_path()) {
                if let Some(Value::String(path)) = values.get_mut(setting.key)
                    && !["", NO_PATH].contains(&path.as_str())
                {
                    *path = absolute(path);
                }
            }
        }
    }

    fn flag(
        &mut self,
        flag: &str,
        text: &str,
        scope: &[&'static SectionInfo],
    ) -> Result<(), ConfigError> {
        let all = scope
            .iter()
            .flat_map(|s| s.settings.iter().map(move |x| (s, x)));
        let Some((section, setting)) = all.into_iter().find(|(_, s)| s.flag() == flag) else {
            return Err(ConfigError::Flag {
                flag: flag.into(),
                value: text.into(),
                reason: "there is no such setting".into(),
            });
        };
        let value = match setting.is_left_out_by(text) {
            true => None,
            false => Some(setting.value(text, &section.default_of(setting))?),
        };
        let values = self
            .values
            .entry(section.name)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(values) = values {
            match value {
                Some(value) => values.insert(setting.key.into(), value),
                None => values.remove(setting.key),
            };
        }
        self.flags.push(setting);
        Ok(())
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub fn parse(
        text: &str,
        place: &str,
        scope: &[&'static SectionInfo],
        others: &[&'static SectionInfo],
    ) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let invalid = |reason: String| ConfigError::Invalid {
            place: place.into(),
            reason,
        };
        if text.contains('\0') {
            return Err(invalid(
                "it is no UTF-8 text (it looks like UTF-16); save it as UTF-8".into(),
            ));
        }
        let document = DeTable::parse(text).map_err(|e| {
            let mut reason = e.to_string().trim_end().to_string();
            if reason.contains("missing escaped value") {
                reason += "\nwrite a path with backslashes in single quotes, as in 'C:\\data'";
            }
            invalid(reason)
        })?;
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| 1 + ends.partition_point(|end| *end < at);
        let mut values = Table::new();
        let mut errors = Wrong::default();
        for (name, section) in document.get_ref().iter() {
            let at = line(name.span().start);
            let word = name.get_ref().as_ref();
            if others.iter().any(|s| s.name == word) && !scope.iter().any(|s| s.name == word) {
                continue;
            }
            let Some(info) = scope.iter().find(|s| s.name == word) else {
                errors.add(|| {
                    // A setting outside of any section, or settings under a name that is no section's.
                    let inside = section
                        .get_ref()
                        .as_table()
                        .into_iter()
                        .flat_map(|t| t.keys());
                    let words = inside.map(|key| key.get_ref().as_ref());
                    let mut settings = std::iter::once(word).chain(words).filter_map(|key| {
                        let owner = scope.iter().find(|s| s.find(key).is_some())?;
                        Some(format!(
                            "; the setting `{key}` belongs under [{}]",
                            owner.name
                        ))
                    });
                    let near = || nearest(word, scope.iter().map(|s| s.name));
                    let advice = settings.next().unwrap_or_else(near);
                    format!("line {at}: there is no section [{word}]{advice}")
                });
                continue;
            };
            let DeValue::Table(entries) = section.get_ref() else {
                errors.add(|| format!("line {at}: [{word}] must be a section with settings"));
                continue;
            };
            let read = section_values(info, entries, scope, (&line, &mut errors));
            values.insert(word.into(), Value::Table(read));
        }
        if let Some(told) = errors.told() {
            return Err(invalid(told));
        }
        Ok(Self {
            values,
            flags: Vec::new(),
        })
    }
}

/// What is wrong with a file, line by line, as far as it is told.
#[derive(Default)]
struct Wrong {
    told: Vec<String>,
    more: usize,
}

impl Wrong {
    fn add(&mut self, tell: impl FnOnce() -> String) {
        if self.told.len() < MOST_TOLD {
            self.told.push(tell());
        } else {
            self.more += 1;
        }
    }

    /// All of it; nothing if nothing is wrong.
    fn told(mut self) -> Option<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more", self.more));
        }
        (!self.told.is_empty()).then(|| self.told.join("\n  "))
    }
}

/// A section's values.
fn section_values(
    info: &'static SectionInfo,
    entries: &DeTable,
    scope: &[&'static SectionInfo],
    (line, errors): (&dyn Fn(usize) -> usize, &mut Wrong),
) -> Table {
    let mut values = Table::new();
    let defaults = (info.defaults)();
    for (key, value) in entries.iter() {
        let (at, word) = (line(key.span().start), key.get_ref().as_ref());
        let Some(setting) = info.find(word) else {
            errors.add(|| {
                let owner = scope.iter().find(|s| s.find(word).is_some());
                let advice = match owner {
                    Some(owner) => format!("; it belongs under [{}]", owner.name),
                    None => nearest(word, info.settings.iter().map(|s| s.key)),
                };
                format!(
                    "line {at}: there is no setting `{word}` in [{}]{advice}",
                    info.name
                )
            });
            continue;
        };
        if value
            .get_ref()
            .as_str()
            .is_some_and(|text| setting.is_left_out_by(text))
        {
            continue;
        }
        let checked = plain(value).and_then(|v| setting.checked(v, &defaults[setting.key]));
        match checked {
            Ok(value) => {
                values.insert(word.into(), value);
            }
            Err(reason) => {
                errors.add(|| format!("line {at}: {} cannot be used: {reason}", setting.name()))
            }
        }
    }
    values
}

/// A value without its place.
fn plain(value: &Spanned<DeValue>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Integer(n) => {
            let parsed = i64::from_str_radix(n.as_str(), n.radix());
            Value::Integer(parsed.map_err(|_| format!("{} is the largest number", i64::MAX))?)
        }
        DeValue::Float(x) => {
            let parsed = x.as_str().parse();
            Value::Float(parsed.map_err(|_| "a number is needed".to_string())?)
        }
        other => {
            return Err(format!(
                "a number, a text or true or false is needed, this is of type {}",
                other.type_str()
            ));
        }
    })
}

/// A path from the root, `~/` being the home folder where nothing else is called so.
fn absolute(text: &str) -> String {
    let path = match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) if !Path::new(text).exists() => home.join(rest),
        _ => PathBuf::from(text),
    };
    let whole = std::path::absolute(&path).unwrap_or(path);
    whole.to_str().map_or(text.into(), String::from)
}

/// The text of a configuration file.
fn text_of(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.into(),
        source,
    };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > LONGEST {
        return Err(ConfigError::Invalid {
            place: path.display().to_string(),
            reason: format!("it has {length} bytes; a configuration has at most {LONGEST}"),
        });
    }
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData => ConfigError::Invalid {
            place: path.display().to_string(),
            reason: "it is no UTF-8 text; save it as UTF-8".into(),
        },
        _ => failed(source),
    })
}

/// A preset that comes with the program. Its values are checked as a file's are where it is laid under others.
///
/// # Errors
/// If it is no TOML.
pub fn preset(text: &str) -> Result<Table, ConfigError> {
    text.parse()
        .map_err(|e: toml::de::Error| ConfigError::Invalid {
            place: "a preset".into(),
            reason: e.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;
    use crate::run::RunSettings;

    #[test]
    fn many_mistakes_are_told_by_their_lines_at_once_and_not_all() {
        let lines: Vec<String> = (0..70_000).map(|n| format!("k{n} = 1")).collect();
        let text = format!("\n[run]\n{}\n", lines.join("\n"));
        let started = std::time::Instant::now();
        let refused = Layers::parse(&text, "lease.toml", &[RunSettings::INFO], &[]);
        let error = refused.unwrap_err().to_string();
        // Counting lines anew and looking for a likely name for each took minutes.
        assert!(started.elapsed().as_secs() < 20);
        assert!(
            error.contains("line 3: there is no setting `k0`"),
            "{error}"
        );
        assert!(error.ends_with("and 69980 more"), "{error}");
        assert_eq!(error.lines().count(), MOST_TOLD + 1);
    }
}
