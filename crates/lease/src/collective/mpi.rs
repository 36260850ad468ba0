//! The processes of an MPI job.

use std::sync::{Mutex, PoisonError};

use ::mpi::Threading;
use ::mpi::collective::CommunicatorCollectives;
use ::mpi::datatype::{Partition, PartitionMut};
use ::mpi::environment::Universe;
use ::mpi::topology::{Communicator, SimpleCommunicator};
use ::mpi::traits::Root;

use super::{Collective, CollectiveError};

/// MPI itself, from its start to its end.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// A process of an MPI job.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Starts MPI and meets the others.
    ///
    /// # Errors
    /// If it was started before, or serves only one thread of a process: tensor operations have their own.
    pub fn start() -> Result<Self, CollectiveError> {
        let unusable = |reason: &str| CollectiveError::Unusable {
            reason: reason.into(),
        };
        let (universe, threading) = ::mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| unusable("it was started already"))?;
        if threading < Threading::Serialized {
            return Err(unusable(
                "the library serves only the thread that has started it; one built with threads is needed",
            ));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
        Ok(Self { rank, size })
    }
}

fn started() -> bool {
    let universe = UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner);
    universe.is_some()
}

/// Ends all processes of the job.
pub(super) fn abort(status: i32) {
    if started() {
        world().abort(status);
    }
}

/// Waits for the others and ends MPI.
pub(super) fn leave() {
    let universe = UNIVERSE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    drop(universe);
}

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

/// Where each of these many bytes begins, one after the other.
fn places(counts: &[i32]) -> Vec<i32> {
    let mut at = 0;
    let next = |count: &i32| {
        at += count;
        at - count
    };
    counts.iter().map(next).collect()
}

/// The length of a message, which MPI counts in 32 bits.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a message of MPI is below 2 GiB")
}

/// The messages that lie one after the other.
fn split(all: &[u8], counts: &[i32]) -> Vec<Vec<u8>> {
    let places = places(counts).into_iter().zip(counts);
    places
        .map(|(at, count)| all[at as usize..][..*count as usize].to_vec())
        .collect()
}

/// The most bytes that are broadcast at once.
const PIECE: usize = 1 << 28;

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn exchange(&self, to: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let world = world();
        let sent: Vec<i32> = to.iter().map(|bytes| length(bytes.len())).collect();
        let mut got = vec![0; self.size];
        world.all_to_all_into(&sent[..], &mut got[..]);
        let mine = to.concat();
        let all: usize = got.iter().map(|n| *n as usize).sum();
        let mut theirs = vec![0u8; length(all) as usize];
        let from = Partition::new(&mine[..], &sent[..], places(&sent));
        let mut into = PartitionMut::new(&mut theirs[..], &got[..], places(&got));
        world.all_to_all_varcount_into(&from, &mut into);
        split(&theirs, &got)
    }

    fn gather(&self, mine: Vec<u8>) -> Vec<Vec<u8>> {
        let world = world();
        let mut counts = vec![0; self.size];
        world.all_gather_into(&length(mine.len()), &mut counts[..]);
        let all: usize = counts.iter().map(|n| *n as usize).sum();
        let mut theirs = vec![0u8; length(all) as usize];
        let mut into = PartitionMut::new(&mut theirs[..], &counts[..], places(&counts));
        world.all_gather_varcount_into(&mine[..], &mut into);
        split(&theirs, &counts)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        let world = world();
        let first = world.process_at_rank(0);
        let mut length = bytes.len() as u64;
        first.broadcast_into(&mut length);
        let mut bytes = bytes;
        bytes.resize(length as usize, 0);
        for piece in bytes.chunks_mut(PIECE) {
            first.broadcast_into(piece);
        }
        bytes
    }

    fn barrier(&self) {
        world().barrier();
    }
}
