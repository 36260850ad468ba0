//! Buffers that are used again: first touch of fresh memory costs more than most kernels.
//!
//! They are cut from slabs of many mebibytes. So they lie side by side, without an allocator's records or gaps
//! between, and systems that have large pages can give them to all of it.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::{Buf, BytesMut};

use crate::{LANES, Lanes};

/// Bytes of a slab.
const SLAB: usize = 32 << 20;

/// Buffers begin with a cache line, so that no vector lies across two.
const LINE: usize = 64;

/// Bytes after which a first cache's sets come round again, on all processors of today.
const ROUND: usize = 4096;

/// The bytes of a buffer of so many pixels. Buffers of whole rounds, one after the other, would have each their first pixels
/// in one set, and kernels that go through several of them would drive their lines out of the cache.
fn bytes(len: usize) -> usize {
    match (len * size_of::<Lanes>()).next_multiple_of(LINE) {
        whole if whole > 0 && whole.is_multiple_of(ROUND) => whole + 5 * LINE,
        other => other,
    }
}

#[derive(Default)]
struct Pool {
    /// Buffers to be used again, by their bytes, and the thread that each was made for.
    free: HashMap<usize, Vec<(BytesMut, Option<usize>)>>,
    /// What is left of the slabs.
    rest: Vec<BytesMut>,
}

impl Pool {
    /// The last buffer that was this thread's, since its cache may still hold it; else another thread's, whose cache
    /// would have to hand it over line by line.
    fn take(&mut self, bytes: usize, thread: Option<usize>) -> BytesMut {
        let free = self.free.get_mut(&bytes).filter(|free| !free.is_empty());
        let Some(free) = free else {
            return self.cut(bytes);
        };
        let own = free.iter().rposition(|(_, of)| *of == thread);
        free.remove(own.unwrap_or(free.len() - 1)).0
    }

    fn cut(&mut self, bytes: usize) -> BytesMut {
        let fits = self.rest.iter().position(|rest| rest.len() >= bytes);
        let at = fits.unwrap_or_else(|| {
            let mut slab = BytesMut::zeroed(SLAB.max(bytes) + LINE);
            slab.advance(slab.as_ptr().addr().wrapping_neg() % LINE);
            self.rest.push(slab);
            self.rest.len() - 1
        });
        let cut = self.rest[at].split_to(bytes);
        if self.rest[at].len() < LINE {
            self.rest.swap_remove(at);
        }
        cut
    }
}

fn pool<T>(work: impl FnOnce(&mut Pool) -> T) -> T {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    let pool = POOL.get_or_init(Mutex::default);
    work(&mut pool.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A buffer that goes back to the pool when it is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: BytesMut,
    len: usize,
    /// The thread that asked for it.
    thread: Option<usize>,
}

impl Buffer {
    /// A buffer of this many pixels with whatever was in it before.
    pub fn stale(len: usize) -> Self {
        let bytes = bytes(len);
        let thread = rayon::current_thread_index();
        Self {
            bytes: pool(|pool| pool.take(bytes, thread)),
            len,
            thread,
        }
    }

    /// A buffer of zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::stale(len);
        buffer.fill([0.0; LANES]);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            pool(|pool| {
                let free = pool.free.entry(bytes.len()).or_default();
                free.push((bytes, self.thread));
            });
        }
    }
}

impl Deref for Buffer {
    type Target = [Lanes];

    fn deref(&self) -> &[Lanes] {
        match self.len {
            // Bytes that are nowhere are not aligned.
            0 => &[],
            n => &bytemuck::cast_slice(&self.bytes)[..n],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Lanes] {
        match self.len {
            0 => &mut [],
            n => &mut bytemuck::cast_slice_mut(&mut self.bytes)[..n],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_whole_rounds_begin_in_different_sets() {
        let len = 3 * ROUND / size_of::<Lanes>();
        let buffers: Vec<Buffer> = (0..4).map(|_| Buffer::stale(len)).collect();
        let mut sets: Vec<usize> = buffers
            .iter()
            .map(|b| b.as_ptr().addr() % ROUND / LINE)
            .collect();
        assert!(buffers.iter().all(|b| b.len() == len));
        sets.dedup();
        assert_eq!(sets.len(), 4);
    }

    #[test]
    fn threads_get_their_own_buffers_again() {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(4).build();
        let threads = threads.expect("threads");
        let buffers = threads.broadcast(|_| Buffer::stale(12_345));
        let place = |buffer: &Buffer| buffer.as_ptr().addr();
        let places: Vec<usize> = buffers.iter().map(place).collect();
        drop(buffers);
        let again = threads.broadcast(|_| place(&Buffer::stale(12_345)));
        assert_eq!(again, places);
    }
}
