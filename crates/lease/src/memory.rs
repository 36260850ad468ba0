//! How much memory a run needs, and how much there is.

use std::fs;

use crate::Error;

/// What a program has beside its networks and images: code, buffers, the allocator's slack.
const REST: u64 = 128 << 20;

/// An estimate of the most memory that something needs at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// What needs it.
    pub what: &'static str,
    /// Bytes.
    pub bytes: u64,
}

impl Need {
    /// What needs this for activations of one pass and its backward pass, for so many numbers of weights, their
    /// gradients and optimisers, and for images.
    pub fn new(what: &'static str, activations: u64, weights: usize, images: usize) -> Self {
        // Values, gradients, momentum, unrolled copies, and a checkpoint on its way to the disk.
        const COPIES: u64 = 12;
        let weights = weights as u64 * COPIES * size_of::<f32>() as u64;
        Self {
            what,
            bytes: activations + weights + images as u64 + REST,
        }
    }

    /// The bytes as people read them.
    pub fn told(&self) -> String {
        told(self.bytes)
    }

    /// The error of a need that is more than the machine has, where that is known.
    pub fn problem(&self, advice: &'static str) -> Option<Error> {
        let have = total().filter(|have| self.bytes > *have)?;
        Some(Error::Memory {
            what: self.what.into(),
            need: self.told(),
            have: told(have),
            advice: advice.into(),
        })
    }
}

/// Bytes as people read them.
pub fn told(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.0} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

/// The memory that this process can have: the machine's, or the limit of its control group; none where the system does not
/// tell (all but Linux).
pub fn total() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let line = machine.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limit = limits.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        text.trim().parse::<u64>().ok()
    });
    Some((kibibytes * 1024).min(limit.unwrap_or(u64::MAX)))
}
