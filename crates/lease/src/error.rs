//! Everything that can go wrong, in one place.

use std::path::PathBuf;

use crate::collective::CollectiveError;
use crate::config::ConfigError;
use crate::data::{DataError, FetchError};
use crate::device::DeviceError;
use crate::export::ExportError;
use crate::method::verify::CaseError;
use crate::network::NetworkError;
use crate::run::RunError;
use crate::run::checkpoint::CheckpointError;
use crate::space::cost::LatencyError;
use crate::space::{GenotypeError, TableError};
use crate::training::TrainedError;

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A data set that was to be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Several processes.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
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
    /// A table of latencies.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// A trained network.
    #[error(transparent)]
    Trained(#[from] TrainedError),
    /// A network in another form.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A case of the reference.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A quantity is no finite number any more.
    #[error("step {step}: {quantity} is {value}, so the run has diverged{}", before(*.step))]
    Diverged {
        /// The step, from 0.
        step: u64,
        /// What diverged.
        quantity: &'static str,
        /// Its value.
        value: f64,
        /// What to change.
        advice: &'static str,
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
    /// A grid of settings that makes no methods.
    #[error("--grid cannot be used: {reason}")]
    Grid {
        /// What is wrong with it.
        reason: String,
    },
    /// What ended one of a comparison's cells.
    #[error("{method} with seed {seed}: {source}")]
    Cell {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
        /// What went wrong.
        source: Box<Error>,
    },
    /// Cells of a comparison that another process is at work on.
    #[error(
        "another process is at work on {cells}, left to it; once it has ended, the same command goes on, or makes the tables"
    )]
    Busy {
        /// Which, as told.
        cells: String,
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
    /// A finished training with other settings, another genotype or other images.
    #[error("{folder} has another training ({differences}); choose another --out")]
    OtherTraining {
        /// Its folder.
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
    /// More memory than there is.
    #[error("{what} needs about {need} of memory, this machine has {have}; {advice}")]
    Memory {
        /// What needs it.
        what: String,
        /// How much, as told.
        need: String,
        /// How much there is, as told.
        have: String,
        /// What to change.
        advice: String,
    },
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// Several things at once.
    #[error("{} things keep this from being done:{}", .0.len(), listed(.0))]
    Several(Vec<Error>),
    /// Anything else that the system refuses.
    #[error("the system refused: {0}")]
    Io(#[from] std::io::Error),
}

fn before(step: u64) -> &'static str {
    match step {
        0 => " at its first step",
        _ => "; the last checkpoint is from before",
    }
}

fn listed(errors: &[Error]) -> String {
    errors.iter().map(|e| format!("\n  {e}")).collect()
}

impl Error {
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

    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Diverged { advice, .. } => Some(advice),
            Self::Cell { source, .. } => source.hint(),
            Self::Config(_) => {
                Some("the command with --print-config shows every setting with its meaning")
            }
            _ => None,
        }
    }
}
