//! One setting: its name, meaning, default and what it may be.

use toml::{Table, Value};

use super::ConfigError;

/// One setting, as told by `--help` and `--print-config`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The TOML section.
    pub section: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// What its flag starts with.
    pub prefix: &'static str,
    /// What it means.
    pub help: &'static str,
    /// The values it can take, where they are words.
    pub choices: Choices,
    /// What it may be, beside its type.
    pub rule: Rule,
}

/// The words that a setting can be.
#[derive(Clone, Copy, Debug)]
pub enum Choices {
    /// Any text, or no text at all.
    Any,
    /// These.
    Words(&'static [&'static str]),
    /// Those that this returns.
    Listed(fn() -> Vec<&'static str>),
}

impl Choices {
    /// The words; none where any text will do.
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Any => Vec::new(),
            Self::Words(words) => words.to_vec(),
            Self::Listed(list) => list(),
        }
    }
}

/// A section of the configuration: what one part of the program reads.
#[derive(Clone, Copy, Debug)]
pub struct SectionInfo {
    /// Its name in TOML.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its settings, in order.
    pub settings: &'static [Setting],
    /// Its defaults.
    pub defaults: fn() -> Table,
}

impl SectionInfo {
    /// The setting of this key.
    pub fn find(&self, key: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|s| s.key == key)
    }

    /// The default of a setting.
    pub fn default_of(&self, setting: &Setting) -> Value {
        let defaults = (self.defaults)();
        let value = defaults.get(setting.key).cloned();
        value.unwrap_or_else(|| Value::String(String::new()))
    }
}

/// A section as a type: made by [`section!`](crate::config::section).
pub trait Section:
    Clone + std::fmt::Debug + Default + PartialEq + serde::Serialize + serde::de::DeserializeOwned
{
    /// The section as data.
    const INFO: &'static SectionInfo;

    /// The section out of a whole configuration; what that does not say is at its default.
    ///
    /// # Errors
    /// If a value is not of its type.
    fn of(values: &Table) -> Result<Self, ConfigError> {
        let Some(section) = values.get(Self::INFO.name) else {
            return Ok(Self::default());
        };
        let read = section.clone().try_into();
        read.map_err(|e: toml::de::Error| ConfigError::Invalid {
            place: format!("the section [{}]", Self::INFO.name),
            reason: e.to_string().trim_end().into(),
        })
    }

    /// Name and values.
    fn table(&self) -> (&'static SectionInfo, Table) {
        // A section is a struct of numbers, words and booleans; numbers are bounded by their rules.
        (Self::INFO, Table::try_from(self).unwrap_or_default())
    }
}

/// What a setting may be, beside its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    least: f64,
    most: f64,
    above: bool,
    below: bool,
    free: bool,
    path: bool,
    later: bool,
    size: bool,
}

impl Rule {
    /// Whatever its type allows, if it is finite.
    pub const ANY: Self = Self {
        least: f64::MIN,
        most: f64::MAX,
        above: false,
        below: false,
        free: false,
        path: false,
        later: false,
        size: false,
    };
    /// A finite number above 0.
    pub const POSITIVE: Self = Self {
        least: 0.0,
        above: true,
        ..Self::ANY
    };
    /// A finite number of at least 0.
    pub const NOT_NEGATIVE: Self = Self {
        least: 0.0,
        ..Self::ANY
    };
    /// At least 0 and below 1.
    pub const BELOW_1: Self = Self {
        least: 0.0,
        most: 1.0,
        below: true,
        ..Self::ANY
    };
    /// From 0 to 1.
    pub const SHARE: Self = Self {
        least: 0.0,
        most: 1.0,
        ..Self::ANY
    };
    /// Above 0 and at most 1.
    pub const PART: Self = Self {
        least: 0.0,
        most: 1.0,
        above: true,
        ..Self::ANY
    };
    /// Between 0 and 1, neither of them.
    pub const INSIDE: Self = Self {
        least: 0.0,
        most: 1.0,
        above: true,
        below: true,
        ..Self::ANY
    };
    /// A file or folder of input. The result depends on what is in it, not on where it lies; and it is written into run
    /// folders, which are gone on with from anywhere, so it is made absolute where it is given.
    pub const PATH: Self = Self {
        free: true,
        path: true,
        ..Self::ANY
    };
    /// An [`ImageSize`](super::ImageSize).
    pub const SIZE: Self = Self {
        size: true,
        ..Self::ANY
    };
    /// The result does not depend on it.
    pub const FREE: Self = Self {
        free: true,
        ..Self::ANY
    };

    /// A whole number in this range.
    pub const fn whole(least: u32, most: u32) -> Self {
        Self {
            least: least as f64,
            most: most as f64,
            ..Self::ANY
        }
    }

    /// The same rule for a setting that the result does not depend on.
    pub const fn free(self) -> Self {
        Self { free: true, ..self }
    }

    /// The same rule for a setting that was added when there were runs already. At its default a result is what it was
    /// before, so that those runs are gone on with.
    pub const fn later(self) -> Self {
        Self {
            later: true,
            ..self
        }
    }

    /// Whether a result at the setting's default is what it was before there was the setting.
    pub fn is_later(self) -> bool {
        self.later
    }

    /// The same rule with a smallest number.
    pub const fn at_least(self, least: f64) -> Self {
        Self {
            least,
            above: false,
            ..self
        }
    }

    /// The same rule with a largest number.
    pub const fn at_most(self, most: f64) -> Self {
        Self { most, ..self }
    }

    /// Whether the setting is a size of images.
    pub fn is_size(self) -> bool {
        self.size
    }

    /// Whether the setting is a path.
    pub fn is_path(self) -> bool {
        self.path
    }

    /// Whether the result does not depend on the setting.
    pub fn is_free(self) -> bool {
        self.free
    }

    /// What is wrong with a number, if anything.
    fn refuses(self, number: f64, whole: bool) -> Option<String> {
        let low = if self.above {
            number > self.least
        } else {
            number >= self.least
        };
        let high = if self.below {
            number < self.most
        } else {
            number <= self.most
        };
        if number.is_finite() && low && high {
            return None;
        }
        if whole {
            return Some(match self.most == f64::MAX {
                true => format!("it must be at least {}", self.least),
                false => format!(
                    "it must be a whole number from {} to {}",
                    self.least, self.most
                ),
            });
        }
        let bounds = [
            (self.least != f64::MIN).then(|| {
                let word = if self.above { "above" } else { "of at least" };
                format!("{word} {}", self.least)
            }),
            (self.most != f64::MAX).then(|| {
                let word = if self.below { "below" } else { "at most" };
                format!("{word} {}", self.most)
            }),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        Some(format!(
            "it must be a finite number {}",
            bounds.join(" and ")
        ))
    }
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

    /// The setting's name, `section.key`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The error of a value that is not allowed.
    pub fn range(&self, value: impl ToString, reason: impl Into<String>) -> ConfigError {
        ConfigError::Range {
            key: self.name(),
            flag: self.flag(),
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    /// Whether this text says that nothing is set: what is chosen is then what fits.
    pub(crate) fn is_left_out_by(&self, text: &str) -> bool {
        self.rule.is_size() && text.trim() == super::ImageSize::AUTO
    }

    /// Reads a flag's text as a value of the type of `default`.
    pub(crate) fn value(&self, text: &str, default: &Value) -> Result<Value, ConfigError> {
        let wrong = |reason: &str| ConfigError::Flag {
            flag: self.flag(),
            value: text.into(),
            reason: reason.into(),
        };
        if self.rule.is_size() {
            let size: Result<super::ImageSize, String> = text.parse();
            return size.map(super::ImageSize::value).map_err(|e| wrong(&e));
        }
        let value = match default {
            Value::Integer(_) => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Value::Integer(n),
                // A whole number all the same, but larger than any setting can be.
                Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                    return Err(wrong(&format!("{} is the largest number", i64::MAX)));
                }
                _ => return Err(wrong("a whole number of at least 0 is needed")),
            },
            Value::Float(_) => number(text)
                .map(Value::Float)
                .ok_or_else(|| wrong("a number, or a fraction such as 8/255, is needed"))?,
            Value::Boolean(_) => text
                .parse()
                .map(Value::Boolean)
                .map_err(|_| wrong("`true` or `false` is needed"))?,
            _ => Value::String(text.into()),
        };
        self.checked(value, default)
            .map_err(|reason| match default {
                Value::Integer(_) | Value::Float(_) => self.range(text, reason),
                _ => wrong(&reason),
            })
    }

    /// A value as one of the type of `default`, if it is allowed; else what is wrong with it.
    pub(super) fn checked(&self, value: Value, default: &Value) -> Result<Value, String> {
        if self.rule.is_size() {
            let size: Result<super::ImageSize, _> = value.try_into();
            let size = size.map_err(|_| super::ImageSize::needed())?;
            return Ok(size.value());
        }
        match (value, default) {
            (Value::Integer(n), Value::Integer(_)) => {
                if n < 0 {
                    return Err("a whole number of at least 0 is needed".into());
                }
                match self.rule.refuses(n as f64, true) {
                    Some(reason) => Err(reason),
                    None => Ok(Value::Integer(n)),
                }
            }
            (Value::Integer(n), Value::Float(_)) => self.checked(Value::Float(n as f64), default),
            (Value::String(text), Value::Float(_)) => match number(&text) {
                Some(x) => self.checked(Value::Float(x), default),
                None => Err("a number, or a fraction such as \"8/255\", is needed".into()),
            },
            (Value::Float(x), Value::Float(_)) => match self.rule.refuses(x, false) {
                Some(reason) => Err(reason),
                None => Ok(Value::Float(x)),
            },
            (Value::Boolean(b), Value::Boolean(_)) => Ok(Value::Boolean(b)),
            (Value::String(text), Value::String(_)) => {
                let words = self.choices.words();
                if words.is_empty() || words.contains(&text.as_str()) {
                    return Ok(Value::String(text));
                }
                let near = super::nearest(&text, words.iter().copied());
                Err(format!("one of {} is needed{near}", words.join(", ")))
            }
            (_, Value::Integer(_)) => Err("a whole number is needed".into()),
            (_, Value::Float(_)) => Err("a number is needed".into()),
            (_, Value::Boolean(_)) => Err("true or false is needed".into()),
            _ => Err("a text in quotes is needed".into()),
        }
    }
}

/// A number, or a fraction of two.
fn number(text: &str) -> Option<f64> {
    match text.split_once('/') {
        Some((above, below)) => {
            let [above, below] = [above, below].map(|part| part.trim().parse::<f64>().ok());
            Some(above? / below?)
        }
        None => text.trim().parse().ok(),
    }
}

/// Declares a section: a struct with defaults, and its settings as data.
///
/// `field: type = default` may be followed by the words that it can be, `, ["a", "b"]`, and by what it may be else,
/// `=> RULE`.
#[macro_export]
#[doc(hidden)]
macro_rules! settings_section {
    ($(#[doc = $about:literal])+ $name:ident, $section:literal, $prefix:literal {
        $( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr
            $(, [$($choice:literal),+])? $(, from $list:path)? $(=> $rule:expr)?; )+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $kind, )+ }

        impl Default for $name {
            fn default() -> Self { Self { $( $field: $default, )+ } }
        }

        impl $crate::config::Section for $name {
            const INFO: &'static $crate::config::SectionInfo = &$crate::config::SectionInfo {
                name: $section,
                about: concat!($($about,)+),
                settings: &[ $( $crate::config::Setting {
                    section: $section,
                    key: stringify!($field),
                    prefix: $prefix,
                    help: concat!($($doc,)+),
                    choices: $crate::settings_section!(@choices $([$($choice),+])? $(from $list)?),
                    rule: $crate::settings_section!(@rule $($rule)?),
                }, )+ ],
                defaults: || $crate::config::Section::table(&Self::default()).1,
            };
        }

        impl $name {
            /// The setting of a field, by its key.
            #[allow(dead_code)]
            pub(crate) fn setting(key: &str) -> &'static $crate::config::Setting {
                let info = <Self as $crate::config::Section>::INFO;
                info.find(key).unwrap_or(&info.settings[0])
            }
        }
    };
    (@choices) => { $crate::config::Choices::Any };
    (@choices [$($choice:literal),+]) => { $crate::config::Choices::Words(&[$($choice),+]) };
    (@choices from $list:path) => { $crate::config::Choices::Listed($list) };
    (@rule) => { $crate::config::Rule::ANY };
    (@rule $rule:expr) => { $rule };
}
