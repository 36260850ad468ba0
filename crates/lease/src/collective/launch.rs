//! How a process comes to its peers, and leaves them.

use std::env;
use std::sync::Arc;

use super::{Collective, CollectiveError, alone};

/// How many processes were started together with this one, itself counted, and by what; none if it was started by itself.
pub fn launched() -> Option<(usize, &'static str)> {
    let number = |name: &str| env::var(name).ok()?.parse::<usize>().ok();
    if let Some(size) = number("OMPI_COMM_WORLD_SIZE") {
        return Some((size, "mpirun"));
    }
    if let Some(size) = number("PMI_SIZE") {
        return Some((size, "mpiexec"));
    }
    // Slurm's tasks are processes of one program only where it offers them a way to meet.
    env::var_os("PMIX_RANK")?;
    Some((number("SLURM_STEP_NUM_TASKS")?, "srun"))
}

/// The processes that this one was started with: alone, or those of an MPI job. To be called once, before the work.
///
/// # Errors
/// If there are several, and the build knows no MPI, or MPI does not start.
pub fn join() -> Result<Arc<dyn Collective>, CollectiveError> {
    match launched() {
        Some((processes, launcher)) if processes > 1 => started(processes, launcher),
        _ => Ok(alone()),
    }
}

#[cfg(feature = "mpi")]
fn started(_: usize, _: &'static str) -> Result<Arc<dyn Collective>, CollectiveError> {
    Ok(Arc::new(super::Mpi::start()?))
}

#[cfg(not(feature = "mpi"))]
fn started(
    processes: usize,
    launcher: &'static str,
) -> Result<Arc<dyn Collective>, CollectiveError> {
    Err(CollectiveError::NotBuilt {
        processes,
        launcher,
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
