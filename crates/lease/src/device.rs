//! Devices by name, and the threads of the CPU.

use burn::tensor::Device;

/// A device or thread count that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("`{name}` is no device; this build has {known}, where N counts from 0")]
    Unknown {
        /// The name.
        name: String,
        /// The names that this build knows.
        known: String,
    },
    /// The machine has no such device.
    #[error("this machine has no device `{name}` (found {found}); use --device cpu")]
    Absent {
        /// The name.
        name: String,
        /// How many of the kind there are.
        found: usize,
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

/// The device called `cpu`, or in builds with those features `vulkan`, `vulkan:N`, `cuda`, `cuda:N`.
///
/// # Errors
/// If the name is unknown, or there is no such device.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse().ok()),
        None => (name, Some(0)),
    };
    match (kind, index) {
        ("cpu", Some(0)) if name == "cpu" => Ok(Device::flex()),
        #[cfg(feature = "vulkan")]
        ("vulkan", Some(index)) => enumerated(name, burn::tensor::DeviceType::Vulkan, index),
        #[cfg(feature = "cuda")]
        ("cuda", Some(index)) => enumerated(name, burn::tensor::DeviceType::Cuda, index),
        _ => {
            let mut known = vec!["cpu"];
            if cfg!(feature = "vulkan") {
                known.push("vulkan[:N]");
            }
            if cfg!(feature = "cuda") {
                known.push("cuda[:N]");
            }
            Err(DeviceError::Unknown {
                name: name.into(),
                known: known.join(", "),
            })
        }
    }
}

/// Opening an absent device panics in Burn, so it is looked for first.
#[cfg(any(feature = "vulkan", feature = "cuda"))]
fn enumerated(
    name: &str,
    kind: burn::tensor::DeviceType,
    index: usize,
) -> Result<Device, DeviceError> {
    let mut found: Vec<Device> = Device::enumerate(kind).into_iter().collect();
    if index < found.len() {
        Ok(found.swap_remove(index))
    } else {
        Err(DeviceError::Absent {
            name: name.into(),
            found: found.len(),
        })
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
