//! Everything that can go wrong, in one place.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::network::NetworkError;
use crate::run::RunError;
use crate::run::checkpoint::CheckpointError;
use crate::space::{GenotypeError, TableError};
use crate::verify::CaseError;

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A network's size.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A genotype.
    #[error(transparent)]
    Genotype(#[from] GenotypeError),
    /// A table of true accuracies.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A case of the reference.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A quantity is no finite number any more.
    #[error(
        "step {step}: {quantity} is {value}, so the run has diverged; \
         the last checkpoint is from before"
    )]
    Diverged {
        /// The step, from 0.
        step: u64,
        /// What diverged.
        quantity: &'static str,
        /// Its value.
        value: f64,
    },
    /// A file with a genotype.
    #[error("{path}: {reason}")]
    GenotypeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A method to compare that makes no sense.
    #[error("`{text}` is no method to compare: {reason}")]
    Method {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A comparison's cell with other settings.
    #[error(
        "{folder} was made with other settings ({differences}); choose another --out, or the settings of \
         that comparison"
    )]
    Comparison {
        /// The cell's folder.
        folder: PathBuf,
        /// What differs.
        differences: String,
    },
    /// A file that is not as it was written.
    #[error("{path} is damaged ({reason}); remove it, and the same command makes it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// Anything else that the system refuses.
    #[error("the system refused: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Diverged { .. } => Some(
                "lower --learning-rate, --audience-learning-rate or --attack-step, or --clip; \
                 a new run is needed, since the configuration is part of it",
            ),
            Self::Config(_) => {
                Some("`lease search --print-config` shows every setting with its meaning")
            }
            _ => None,
        }
    }
}
