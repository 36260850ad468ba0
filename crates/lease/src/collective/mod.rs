//! Several processes as one: what they send each other, and sums that do not depend on who computed what.
//!
//! A [`Collective`] is the group that a process belongs to: [`Alone`], threads of one process ([`threads`]), or the
//! processes of an MPI job (in builds with the feature `mpi`). Everything in it is collective: all processes call the same
//! functions in the same order, and wait for each other there.

mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod sum;
mod team;
mod threads;

use std::fmt::Debug;
use std::sync::Arc;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use launch::{Launched, abort, join, launched, leave};
pub use sum::Number;
pub(crate) use sum::{Sum, from_bytes, summed};
pub use team::{Agreement, Team};
pub use threads::{Thread, threads};

/// The processes that work as one.
///
/// None of its functions fails: where a process has gone, what started them ends the others (MPI), or they panic
/// (threads).
pub trait Collective: Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Gives each process what is for it, `to[rank]`; what each had for this one, in order of ranks.
    fn exchange(&self, to: Vec<Vec<u8>>) -> Vec<Vec<u8>>;

    /// What each process has, in order of ranks.
    fn gather(&self, mine: Vec<u8>) -> Vec<Vec<u8>>;

    /// What process 0 has; what the others have is not looked at.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Waits until all are here.
    fn barrier(&self) {
        self.gather(Vec::new());
    }
}

/// One process by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn exchange(&self, to: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        to
    }

    fn gather(&self, mine: Vec<u8>) -> Vec<Vec<u8>> {
        vec![mine]
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

/// One process by itself, as a group.
pub fn alone() -> Arc<dyn Collective> {
    Arc::new(Alone)
}

/// A value that process 0 has, on all processes. It is asked for on process 0 alone.
pub fn told_by_first<T>(peers: &dyn Collective, value: impl FnOnce() -> T) -> T
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut value = (peers.rank() == 0).then(value);
    if peers.size() > 1 {
        let bytes = value
            .as_ref()
            .map(|v| serde_json::to_vec(v).unwrap_or_default());
        let bytes = peers.broadcast(bytes.unwrap_or_default());
        if value.is_none() {
            value = serde_json::from_slice(&bytes).ok();
        }
    }
    value.unwrap_or_else(|| unreachable!("what was written as JSON is read as the same"))
}

/// What a batch is in, for people.
fn pieces(parts: usize) -> String {
    match parts {
        1 => "one piece".into(),
        n => format!("in {n} parts"),
    }
}

/// Processes that cannot work as one.
#[derive(Debug, thiserror::Error)]
pub enum CollectiveError {
    /// The build has no MPI.
    #[error(
        "this is one of {processes} processes that {launcher} started, but this build of lease knows no MPI, so each would \
         do all the work by itself; build it with `--features mpi`, or start one process"
    )]
    NotBuilt {
        /// How many there are.
        processes: usize,
        /// What started them.
        launcher: &'static str,
    },
    /// MPI cannot be used.
    #[error("MPI cannot be used: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
    /// The parts of a batch cannot be spread over the processes.
    #[error(
        "every batch is {} ({flag} {parts}), which {processes} processes cannot share; give {flag} {processes}, so that batch \
         norm normalises each process's share of a batch by itself, or another multiple of {processes}",
        pieces(*.parts)
    )]
    Parts {
        /// The setting.
        flag: &'static str,
        /// How many parts there are.
        parts: usize,
        /// How many processes there are.
        processes: usize,
    },
    /// Processes that started from other things.
    #[error(
        "process {rank} has other settings or images than process 0 (or another version of lease), so they cannot work on \
         the same run; start all with the same command, on the same files"
    )]
    Strangers {
        /// The first that differs.
        rank: usize,
    },
    /// Processes that have come apart.
    #[error(
        "after step {step} process {rank} has another {what} than process 0, though both have computed it from the same \
         numbers: a fault of memory, or different processors or libraries; nothing was saved since the last checkpoint, from \
         which --resume goes on"
    )]
    Apart {
        /// The steps done.
        step: u64,
        /// The first that differs.
        rank: usize,
        /// What differs.
        what: &'static str,
    },
}
