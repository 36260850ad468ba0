//! How a process comes to its peers, and leaves them.

use std::env;
use std::sync::Arc;

use super::{Collective, CollectiveError, alone};

/// What started a process as one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// How many there are.
    pub processes: usize,
    /// The number of this one, from 0.
    pub rank: usize,
    /// What started them.
    pub launcher: &'static str,
}

/// What started this process as one of several; none if it was started by itself.
pub fn launched() -> Option<Launched> {
    let number = |name: &str| env::var(name).ok()?.parse::<usize>().ok();
    // Slurm's tasks are processes of one program only where it offers them a way to meet.
    let ways = [
        ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("mpiexec", "PMI_SIZE", "PMI_RANK"),
        ("srun", "SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
    ];
    let told = ways.into_iter().find_map(|(launcher, size, rank)| {
        Some(Launched {
            processes: number(size)?,
            rank: number(rank)?,
            launcher,
        })
    });
    told.filter(|launched| launched.processes > 1)
}

/// The processes that this one was started with: alone, or those of an MPI job. To be called once, before the work.
///
/// # Errors
/// If there are several, and the build knows no MPI, or MPI does not start.
pub fn join() -> Result<Arc<dyn Collective>, CollectiveError> {
    match launched() {
        Some(launched) => started(launched),
        None => Ok(alone()),
    }
}

#[cfg(feature = "mpi")]
fn started(_: Launched) -> Result<Arc<dyn Collective>, CollectiveError> {
    Ok(Arc::new(super::Mpi::start()?))
}

#[cfg(not(feature = "mpi"))]
fn started(launched: Launched) -> Result<Arc<dyn Collective>, CollectiveError> {
    Err(CollectiveError::NotBuilt {
        processes: launched.processes,
        launcher: launched.launcher,
    })
}

/// Ends all processes that this one was started with, with this exit status, where there are others: what failed here
/// would leave them waiting.
pub fn abort(status: i32) {
    #[cfg(feature = "mpi")]
    super::mpi::abort(status);
    #[cfg(not(feature = "mpi"))]
    let _ = status;
}

/// Leaves the others, once all are done.
pub fn leave() {
    #[cfg(feature = "mpi")]
    super::mpi::leave();
}
