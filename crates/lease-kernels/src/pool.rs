//! Buffers that are used again: first touch of fresh memory costs more than most kernels.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, OnceLock, PoisonError};

use aligned_vec::{AVec, ConstAlign};

use crate::{LANES, Lanes};

/// Memory that begins with a cache line, so that no vector lies across two.
type Lines = AVec<Lanes, ConstAlign<64>>;

fn free() -> &'static Mutex<HashMap<usize, Vec<Lines>>> {
    static FREE: OnceLock<Mutex<HashMap<usize, Vec<Lines>>>> = OnceLock::new();
    FREE.get_or_init(Mutex::default)
}

/// A buffer that goes back to the pool when it is dropped.
#[derive(Debug)]
pub struct Buffer(Lines);

impl Buffer {
    /// A buffer of this many pixels with whatever was in it before.
    pub fn stale(len: usize) -> Self {
        let mut free = free().lock().unwrap_or_else(PoisonError::into_inner);
        let reused = free.get_mut(&len).and_then(Vec::pop);
        drop(free);
        Self(reused.unwrap_or_else(|| {
            let mut lines = Lines::with_capacity(0, len);
            lines.resize(len, [0.0; LANES]);
            lines
        }))
    }

    /// A buffer of zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::stale(len);
        buffer.fill([0.0; LANES]);
        buffer
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Lines::new(0))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.0, Lines::new(0));
        if buffer.is_empty() {
            return;
        }
        let mut free = free().lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(buffer.len()).or_default().push(buffer);
    }
}

impl Deref for Buffer {
    type Target = [Lanes];

    fn deref(&self) -> &[Lanes] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Lanes] {
        &mut self.0
    }
}
