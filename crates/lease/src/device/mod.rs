//! Devices by name, and the threads of the CPU.

#[cfg(any(feature = "gpu", feature = "vulkan"))]
mod gpu;
#[cfg(any(feature = "gpu", feature = "vulkan", feature = "cuda"))]
mod library;
mod listing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::tensor::{DType, Device};

pub use listing::{Absence, Limits, Listed, Listing, listing};

/// A device or thread count that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("`{name}` is no device; this build has {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that this build knows, such as `cpu, gpu, gpu:1, …`.
        known: String,
    },
    /// The build has no such devices.
    #[error(
        "this build has no device `{name}`; one made with `--features {feature}` has, and --device cpu is always there"
    )]
    NotBuilt {
        /// The name.
        name: String,
        /// The feature that adds such devices.
        feature: &'static str,
    },
    /// The machine has no such device.
    #[error("this machine has no device `{name}`: {reason}; use --device cpu")]
    Absent {
        /// The name.
        name: String,
        /// What there is, or what is missing.
        reason: String,
    },
    /// The machine has it, but its driver does not open it.
    #[error("the device `{name}` cannot be opened: {reason}; use --device cpu")]
    Unopened {
        /// The name.
        name: String,
        /// What its driver says.
        reason: String,
    },
    /// The device does not compute in this precision.
    #[error(
        "`{name}` does not compute in f64, since its kernels have no f64 exponential; use --precision f32"
    )]
    Precision {
        /// The name.
        name: String,
    },
    /// A computation on a device failed.
    #[error(
        "the device failed: {reason}; if it ran out of memory, try a smaller --batch, else --device cpu"
    )]
    Failed {
        /// What its driver or Burn said.
        reason: String,
    },
    /// The pool of threads could not be made.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// Why.
        reason: String,
    },
}

/// A kind of device beside the CPU, named as the feature of the build that adds it.
struct Kind {
    name: &'static str,
    about: &'static str,
    built: bool,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "gpu",
        about: "GPUs through Vulkan, Metal or DirectX 12, by WGSL",
        built: cfg!(feature = "gpu"),
    },
    Kind {
        name: "vulkan",
        about: "GPUs through Vulkan, by SPIR-V",
        built: cfg!(feature = "vulkan"),
    },
    Kind {
        name: "cuda",
        about: "NVIDIA GPUs through CUDA",
        built: cfg!(feature = "cuda"),
    },
];

/// Whether a device other than the CPU was opened.
static ACCELERATED: AtomicBool = AtomicBool::new(false);

/// Whether this process has opened a device other than the CPU. Burn panics where such a device fails.
pub fn accelerated() -> bool {
    ACCELERATED.load(Ordering::Relaxed)
}

/// The device called `cpu`, or in builds with those features `gpu`, `vulkan` or `cuda`, with a number behind, as in `gpu:1`,
/// where there are several.
///
/// # Errors
/// If the name is unknown, or there is no such device, or it cannot be opened.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    if name == "cpu" {
        return Ok(Device::flex());
    }
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse().ok()),
        None => (name, Some(0)),
    };
    let kind = KINDS.iter().find(|k| k.name == kind);
    match (kind, index) {
        (Some(kind), Some(index)) if kind.built => {
            let device = apart(|| opened(kind.name, index, name))?;
            ACCELERATED.store(true, Ordering::Relaxed);
            Ok(device)
        }
        (Some(kind), Some(_)) => Err(DeviceError::NotBuilt {
            name: name.into(),
            feature: kind.name,
        }),
        _ => {
            let built = KINDS.iter().filter(|k| k.built);
            let known = built.map(|k| format!(", {0}, {0}:1, …", k.name));
            Err(DeviceError::Unknown {
                name: name.into(),
                known: format!("cpu{}", known.collect::<String>()),
            })
        }
    }
}

/// Opens a device of a kind that this build has.
#[allow(unused_variables, reason = "a build may have none of these kinds")]
fn opened(kind: &str, index: usize, name: &str) -> Result<Device, DeviceError> {
    match kind {
        #[cfg(feature = "gpu")]
        "gpu" => gpu::open(gpu::Api::Any, index, name),
        #[cfg(feature = "vulkan")]
        "vulkan" => gpu::open(gpu::Api::Vulkan, index, name),
        #[cfg(feature = "cuda")]
        "cuda" => {
            let mut found = cuda_devices();
            if index < found.len() {
                return Ok(found.swap_remove(index));
            }
            Err(DeviceError::Absent {
                name: name.into(),
                reason: there_is("cuda", found.len()).unwrap_or_else(library::cuda_missing),
            })
        }
        _ => unreachable!("a build has the kinds that it says it has"),
    }
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Vec<Device> {
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda);
    found.into_iter().collect()
}

/// What there is of a kind, where there is any.
#[cfg(any(feature = "gpu", feature = "vulkan", feature = "cuda"))]
fn there_is(kind: &str, count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("there is {kind}:0 alone")),
        n => Some(format!("there are {kind}:0 to {kind}:{}", n - 1)),
    }
}

/// Does `work` on a thread of its own, which has ended, with all that libraries kept for it, when this returns.
///
/// Drivers' libraries are asked so: libEGL's state of a thread is freed when that thread ends, and a second time, unlooked
/// at, where the process ends at the same moment.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let outcome = thread::scope(|s| s.spawn(work).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The most precise numbers in which the device of this name computes all that the method needs. Shading languages, WGSL
/// and SPIR-V among them, have no exponential and logarithm of f64, whatever a device says of its arithmetic.
pub fn precision(name: &str) -> DType {
    match name.split(':').next() {
        Some("cpu" | "cuda") => DType::F64,
        _ => DType::F32,
    }
}

/// Runs `work` on a pool of this many threads (0: one for each core). Tensor operations use the pool that
/// they are called from, and start faster from inside it.
///
/// # Errors
/// If the threads cannot be started.
pub fn with_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, DeviceError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| DeviceError::Threads {
            threads,
            reason: e.to_string(),
        })?;
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// Takes its time to go, as a library's state of a thread may.
    struct Kept(Arc<AtomicBool>);

    impl Drop for Kept {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::Relaxed);
        }
    }

    thread_local! {
        static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
    }

    #[test]
    fn a_thread_of_its_own_leaves_nothing_to_be_freed() {
        let gone = Arc::new(AtomicBool::new(false));
        let kept = Kept(gone.clone());
        assert_eq!(apart(|| KEPT.replace(Some(kept)).map_or(7, |_| 0)), 7);
        assert!(gone.load(Ordering::Relaxed));
    }
}
