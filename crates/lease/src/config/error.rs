//! Settings that cannot be used.

use std::path::PathBuf;

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
        /// What is wrong, with its line where known.
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
    /// A setting that nothing reads here.
    #[error("--{flag} is not read here: {reason}")]
    Unread {
        /// The flag, without dashes.
        flag: String,
        /// What reads it.
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
    /// Several of them.
    #[error("{} settings cannot be used:{}", .0.len(), listed(.0))]
    Several(Vec<ConfigError>),
}

fn listed(errors: &[ConfigError]) -> String {
    errors.iter().map(|e| format!("\n  {e}")).collect()
}

impl ConfigError {
    /// Nothing, the error, or all of them in one.
    ///
    /// # Errors
    /// If there is one.
    pub fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
