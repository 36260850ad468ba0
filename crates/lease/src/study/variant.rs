//! The methods of a comparison, each a name and settings.

use toml::Table;

use crate::Error;
use crate::config::{Composite, Layers, SectionInfo, Setting};
use crate::method::settings::MethodSettings;
use crate::search::preset::PresetSettings;
use crate::search::presets;

use super::{ComparisonConfig, random_search};

/// What finds an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A search.
    Search,
    /// One architecture drawn uniformly.
    Random,
    /// The best of several after short trainings.
    RandomSearch,
}

impl Kind {
    /// The baseline of this name.
    fn baseline(name: &str) -> Option<Self> {
        match name {
            "random" => Some(Self::Random),
            "random-search" => Some(Self::RandomSearch),
            _ => None,
        }
    }
}

/// The searches by name.
fn methods() -> Vec<&'static str> {
    MethodSettings::setting("method").choices.words()
}

/// What is wrong with a name alone that is no method's.
fn unknown(name: &str) -> String {
    match PresetSettings::setting("preset")
        .choices
        .words()
        .contains(&name)
    {
        true => format!("it is a preset's name: say {name}:preset={name}"),
        false => format!(
            "it is none of {}, random and random-search, and has no settings, as in {name}:gamma=10",
            methods().join(", ")
        ),
    }
}

/// Whether a name can have it.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// A method's name and the settings that make it.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The name, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What finds an architecture.
    pub kind: Kind,
    flags: Vec<(String, String)>,
}

impl Variant {
    /// Reads `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE,…`. The name of a method stands for it, unless a preset says which it is.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Method {
            text: text.into(),
            reason: reason.into(),
        };
        let (name, settings) = match text.split_once(':') {
            Some((name, settings)) => (name, settings.to_string()),
            None if Kind::baseline(text).is_none() && !methods().contains(&text) => {
                return Err(wrong(&unknown(text)));
            }
            None => (text, String::new()),
        };
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(wrong("a name is made of letters, digits, - _ and ."));
        }
        // A piece without `=` goes on with the list before it, as in stage-cells=5,11,17.
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for piece in settings.split(',').filter(|s| !s.is_empty()) {
            match (piece.split_once('='), pairs.last_mut()) {
                (Some((key, value)), _) => pairs.push((key, value.into())),
                (None, Some((_, value))) => *value += &format!(",{piece}"),
                (None, None) => {
                    return Err(wrong("settings are SETTING=VALUE, separated by commas"));
                }
            }
        }
        let mut kind = Kind::baseline(name);
        pairs.retain(|(key, value)| {
            let baseline = Kind::baseline(value).filter(|_| *key == "method");
            kind = baseline.or(kind);
            baseline.is_none()
        });
        // A method's name stands for that method, with settings too.
        if methods().contains(&name) {
            let given = pairs.iter().find(|(key, _)| *key == "method");
            if kind.is_some() || given.is_some_and(|(_, other)| other != name) {
                let reason =
                    "its name is another method's, which would mislead: give it one of its own";
                return Err(wrong(reason));
            }
            if given.is_none() && pairs.iter().all(|(key, _)| *key != "preset") {
                pairs.insert(0, ("method", name.into()));
            }
        }
        let known = |key: &str| {
            let scope = ComparisonConfig::scope();
            scope
                .iter()
                .any(|s| s.settings.iter().any(|x| x.flag() == key))
        };
        let flags = pairs.into_iter().map(|(key, value)| {
            if !known(key) {
                return Err(wrong(&format!("there is no setting `{key}`")));
            }
            if key == "seed" {
                return Err(wrong("seeds are given by --seeds"));
            }
            Ok((key.to_string(), value))
        });
        Ok(Self {
            name: name.into(),
            kind: kind.unwrap_or(Kind::Search),
            flags: flags.collect::<Result<_, _>>()?,
        })
    }

    /// Reads several, whose names must differ.
    ///
    /// # Errors
    /// As [`Variant::parse`]; also if a name is there twice.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, Error> {
        let all = texts.iter().map(|text| Self::parse(text));
        Self::distinct(all.collect::<Result<Vec<_>, _>>()?)
    }

    /// These, whose names must differ.
    pub(super) fn distinct(all: Vec<Self>) -> Result<Vec<Self>, Error> {
        for (i, variant) in all.iter().enumerate() {
            if all[..i].iter().any(|v| v.name == variant.name) {
                return Err(Error::Method {
                    text: variant.name.clone(),
                    reason: "this name is there twice".into(),
                });
            }
        }
        Ok(all)
    }

    /// Whether it sets what this flag does.
    pub(super) fn sets(&self, flag: &str) -> bool {
        self.flags.iter().any(|(own, _)| own == flag)
    }

    /// The same with more settings, which its name tells.
    pub(super) fn with(&self, more: &[(&str, &str)]) -> Self {
        let mut new = self.clone();
        for (flag, value) in more {
            let told: String = value
                .chars()
                .map(|c| if is_plain(c) { c } else { '-' })
                .collect();
            new.name += &format!("-{flag}-{told}");
            new.flags.push(((*flag).into(), (*value).into()));
        }
        new
    }

    /// Whether what it finds, with this configuration, may depend on a setting.
    pub fn reads(&self, config: &ComparisonConfig, setting: &Setting) -> bool {
        let search = &config.study.search;
        let is_of = |tables: Vec<(&SectionInfo, Table)>, section: &str| {
            tables.iter().any(|(info, _)| info.name == section)
        };
        let of_space = |section: &str| is_of(search.space.tables(), section);
        let searches = self.kind == Kind::RandomSearch;
        match (setting.section, setting.key) {
            ("network" | "train", _) => true,
            (section, _) if is_of(search.data.tables(), section) => true,
            _ if self.kind == Kind::Search => search.reads(setting),
            // A preset may choose the space.
            ("explainer", "space") | ("preset", _) => true,
            ("random_search", _) => searches,
            ("run", _) => true,
            ("budget", "max_parameters" | "max_flops" | "min_convolutions") => true,
            ("budget", "budget_channels" | "budget_cells") => {
                search.budget.bounds().without_time().on_costs()
            }
            read => of_space(read.0) || searches && random_search::READ.contains(&read),
        }
    }

    /// The same of a setting by its name, such as `method.gamma`.
    pub(super) fn reads_named(&self, config: &ComparisonConfig, name: &str) -> bool {
        let scope = ComparisonConfig::scope();
        let mut all = scope.iter().flat_map(|section| section.settings.iter());
        let setting = all.find(|setting| setting.name() == name);
        setting.is_none_or(|setting| self.reads(config, setting))
    }

    /// The configuration with a seed, where `common` are the settings of all methods: such a one need not be read by
    /// this method, its own must be.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn config(
        &self,
        file: Option<&std::path::Path>,
        common: &[(String, String)],
        seed: u64,
    ) -> Result<ComparisonConfig, Error> {
        let mut flags = common.to_vec();
        flags.extend(self.flags.clone());
        flags.push(("seed".into(), seed.to_string()));
        let mut layers =
            Layers::read(file, &flags, &ComparisonConfig::scope(), &super::sections())?;
        layers.flags.retain(|setting| self.sets(&setting.flag()));
        Ok(ComparisonConfig::resolve(&presets(&layers)?, &layers)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_methods_name_stands_for_that_method_with_settings_too() {
        let method = |text: &str| {
            let config = Variant::parse(text).unwrap().config(None, &[], 0).unwrap();
            config.study.search.method.method.to_string()
        };
        for text in ["darts", "darts:beta=0", "darts:method=darts,beta=0"] {
            assert_eq!(method(text), "darts", "{text}");
        }
        assert_eq!(method("plain:beta=0"), "lease");
        assert_eq!(method("darts:preset=gdas"), "darts-first");
        for text in ["lease:method=darts", "lease:beta=0,method=random"] {
            let told = Variant::parse(text).unwrap_err().to_string();
            assert!(told.contains("another method's"), "{told}");
        }
    }
}
