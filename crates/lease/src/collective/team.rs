//! Who computes which part of a batch.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::{Collective, CollectiveError, Number, alone, summed};
use crate::network::Vector;

/// The parts that every batch is computed in, and the processes that share them.
///
/// A batch is cut into parts of as many images each ("ghost batches"), and process r of P has the r-th P-th of them. Batch
/// norm normalises each part by itself; gradients, mixed products and losses are added up over all parts in an order that
/// depends on their number alone, before they are used again. So what is computed depends on the number of parts, and not
/// on that of processes.
#[derive(Clone, Debug)]
pub struct Team {
    peers: Arc<dyn Collective>,
    parts: usize,
    sent: Arc<AtomicU64>,
}

/// What all processes agree on after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Whether one of them was asked to stop.
    pub stop: bool,
    /// Whether one of them holds a checkpoint to be due.
    pub due: bool,
}

impl Team {
    /// The processes `peers` over this many parts, given by the setting `flag`.
    ///
    /// # Errors
    /// If every process cannot have as many parts.
    pub fn new(
        peers: Arc<dyn Collective>,
        parts: usize,
        flag: &'static str,
    ) -> Result<Self, CollectiveError> {
        let processes = peers.size();
        if parts == 0 || !parts.is_multiple_of(processes) {
            return Err(CollectiveError::Parts {
                flag,
                parts,
                processes,
            });
        }
        Ok(Self {
            peers,
            parts,
            sent: Arc::default(),
        })
    }

    /// One process by itself, over this many parts (at least 1).
    pub fn alone(parts: usize) -> Self {
        Self {
            peers: alone(),
            parts: parts.max(1),
            sent: Arc::default(),
        }
    }

    /// The processes.
    pub fn peers(&self) -> &dyn Collective {
        &*self.peers
    }

    /// The same, for a team of other parts.
    pub fn own_peers(&self) -> Arc<dyn Collective> {
        self.peers.clone()
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.peers.size()
    }

    /// Whether this process writes the run folder.
    pub fn leads(&self) -> bool {
        self.peers.rank() == 0
    }

    /// How many parts a batch has.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Those of this process.
    pub fn own(&self) -> Range<usize> {
        self.share(self.parts)
    }

    /// What this process does of so many things that no order matters for.
    pub fn share(&self, things: usize) -> Range<usize> {
        let (rank, size) = (self.peers.rank(), self.peers.size());
        things * rank / size..things * (rank + 1) / size
    }

    /// The most parts that a process adds up by itself before the others' come in: a power of two, as the tree has it.
    pub(crate) fn alike(&self) -> usize {
        match self.size() {
            1 => usize::MAX,
            size => 1 << (self.parts / size).trailing_zeros(),
        }
    }

    /// The sum of rows of numbers over all processes.
    pub(crate) fn summed<F: Number>(&self, own: Vec<Vec<F>>) -> Vec<F> {
        let numbers = own.iter().map(Vec::len).sum::<usize>();
        let (size, length) = (self.size(), own.first().map_or(0, Vec::len));
        // To each other process its slice of all rows, then the slice that was added up here.
        let sent = (numbers + length) / size * (size - 1) * size_of::<F>();
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        summed(&*self.peers, own)
    }

    /// The sum over all parts of a few numbers of each.
    pub fn total<const K: usize>(&self, own: impl Iterator<Item = [f64; K]>) -> [f64; K] {
        let rows = own.map(|row| row.to_vec()).collect();
        let total = self.summed::<f64>(rows);
        std::array::from_fn(|k| total.get(k).copied().unwrap_or(0.0))
    }

    /// The numbers that all processes have, in order of ranks: those of their [`Team::share`] of some things.
    pub fn joined(&self, own: Vec<f64>) -> Vec<f64> {
        if self.size() == 1 {
            return own;
        }
        let all = self.peers.gather(bytemuck::cast_slice(&own).to_vec());
        let numbers = all.iter().flat_map(|of| super::from_bytes::<f64>(of));
        numbers.collect()
    }

    /// Bytes that this process has sent to others for sums of vectors and numbers since this was last asked.
    pub fn sent_since(&self) -> u64 {
        self.sent.swap(0, Ordering::Relaxed)
    }

    /// What this process would, and what all will therefore do.
    pub fn agree(&self, mine: Agreement) -> Agreement {
        if self.size() == 1 {
            return mine;
        }
        let all = self.peers.gather(vec![mine.stop.into(), mine.due.into()]);
        let any = |k: usize| all.iter().any(|of| of.get(k) == Some(&1));
        Agreement {
            stop: any(0),
            due: any(1),
        }
    }

    /// Whether all processes have the same text, such as a digest.
    ///
    /// # Errors
    /// If one has another than process 0: it is a stranger.
    pub fn same(&self, text: &str) -> Result<(), CollectiveError> {
        let other = self.other(text.as_bytes());
        other.map_or(Ok(()), |rank| Err(CollectiveError::Strangers { rank }))
    }

    /// Whether all processes have the same numbers after so many steps: their digests are compared.
    ///
    /// # Errors
    /// If one has others than process 0.
    pub fn together<'a>(
        &self,
        step: u64,
        vectors: impl IntoIterator<Item = (&'static str, &'a Vector)>,
    ) -> Result<(), CollectiveError> {
        if self.size() == 1 {
            return Ok(());
        }
        for (what, vector) in vectors {
            let mut hash = Sha256::new();
            hash.update(step.to_le_bytes());
            hash.update(vector.to_bytes());
            if let Some(rank) = self.other(&hash.finalize()) {
                return Err(CollectiveError::Apart { step, rank, what });
            }
        }
        Ok(())
    }

    /// The first process that has other bytes than process 0.
    fn other(&self, bytes: &[u8]) -> Option<usize> {
        let all = self.peers.gather(bytes.to_vec());
        all.iter().position(|of| *of != all[0])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::super::threads;
    use super::*;
    use crate::network::{Init, Layout};

    #[test]
    fn processes_that_have_come_apart_are_told_by_all() {
        let mut layout = Layout::default();
        layout.push("alphas", [2], Init::Zeros);
        let layout = Arc::new(layout);
        let told = |peer: super::super::Thread, odd: usize| {
            let last = if peer.rank() == odd { 1e-7 } else { 0.0 };
            let team = Team::new(Arc::new(peer), 3, "--ghost-batches").unwrap();
            let values = vec![1.0, last];
            let a = Vector::from_values(layout.clone(), values, &Device::flex(), DType::F32);
            let together = team.together(7, [("architecture", &a)]);
            together.map_err(|error| error.to_string())
        };
        let of = |odd: usize| {
            std::thread::scope(|scope| {
                let all = threads(3).into_iter();
                let told = &told;
                let all: Vec<_> = all
                    .map(|peer| scope.spawn(move || told(peer, odd)))
                    .collect();
                let joined = all.into_iter().map(|one| one.join().unwrap());
                joined.collect::<Vec<_>>()
            })
        };
        assert_eq!(of(9), [Ok(()), Ok(()), Ok(())]);
        for told in of(2) {
            let told = told.unwrap_err();
            assert!(
                told.contains("after step 7 process 2 has another architecture"),
                "{told}"
            );
        }
    }
}
