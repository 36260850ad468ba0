//! What devices there are.

use burn::tensor::DType;
use serde::Serialize;

use super::{KINDS, Kind, apart, precision};
use crate::memory;

/// A device that can be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// How `--device` calls it.
    pub name: String,
    /// The hardware, and by which driver it is reached.
    pub what: String,
    /// Whether it computes in f64 too; in f32 all do.
    pub f64: bool,
    /// Bytes of memory, where the system or driver tells.
    pub memory: Option<u64>,
    /// How large things can be, where there are limits.
    pub limits: Option<Limits>,
}

/// How large things can be on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of a tensor that a kernel reads or writes.
    pub tensor: u64,
    /// Bytes of one allocation.
    pub allocation: u64,
    /// Bytes that a group of threads shares.
    pub shared: u32,
    /// Threads in such a group.
    pub group: u32,
    /// Fewest and most threads that run in step.
    pub subgroup: (u32, u32),
}

/// A kind of device that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Absence {
    /// How `--device` calls the kind.
    pub kind: &'static str,
    /// What the kind is.
    pub about: &'static str,
    /// What it would take.
    pub reason: String,
}

/// All devices and absences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// What can be used, the CPU first.
    pub devices: Vec<Listed>,
    /// What cannot.
    pub absent: Vec<Absence>,
}

/// Looks for devices, without opening any.
pub fn listing() -> Listing {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Listing {
        devices: vec![Listed {
            name: "cpu".into(),
            what: match cores {
                1 => "1 core".into(),
                n => format!("{n} cores"),
            },
            f64: true,
            memory: memory::total(),
            limits: None,
        }],
        absent: Vec::new(),
    };
    for kind in &KINDS {
        let found = if kind.built {
            apart(|| found(kind))
        } else {
            Err(format!(
                "a build made with `--features {}` has them",
                kind.name
            ))
        };
        match found {
            Ok(found) => all.devices.extend(found),
            Err(reason) => all.absent.push(Absence {
                kind: kind.name,
                about: kind.about,
                reason,
            }),
        }
    }
    all
}

/// The devices of a kind that this build has, or what is missing.
fn found(kind: &Kind) -> Result<Vec<Listed>, String> {
    match kind.name {
        #[cfg(feature = "gpu")]
        "gpu" => adapters(kind, super::gpu::Api::Any),
        #[cfg(feature = "vulkan")]
        "vulkan" => adapters(kind, super::gpu::Api::Vulkan),
        #[cfg(feature = "cuda")]
        "cuda" => {
            let count = super::cuda_devices().len();
            if count == 0 {
                return Err(super::library::cuda_missing());
            }
            Ok((0..count)
                .map(|i| listed(kind, i, "an NVIDIA GPU".into()))
                .collect())
        }
        name => unreachable!("{name} is no kind of this build"),
    }
}

#[cfg(any(feature = "gpu", feature = "vulkan"))]
fn adapters(kind: &Kind, api: super::gpu::Api) -> Result<Vec<Listed>, String> {
    let found = super::gpu::adapters(api);
    if found.is_empty() {
        return Err(super::library::gpu_missing());
    }
    let all = found.iter().enumerate().map(|(i, adapter)| {
        let limits = &adapter.limits;
        Listed {
            memory: adapter.memory,
            limits: Some(Limits {
                tensor: limits.max_storage_buffer_binding_size,
                allocation: limits.max_buffer_size,
                shared: limits.max_compute_workgroup_storage_size,
                group: limits.max_compute_invocations_per_workgroup,
                subgroup: (
                    adapter.info.subgroup_min_size,
                    adapter.info.subgroup_max_size,
                ),
            }),
            ..listed(kind, i, adapter.what())
        }
    });
    Ok(all.collect())
}

#[allow(dead_code, reason = "a build may have the CPU alone")]
fn listed(kind: &Kind, index: usize, what: String) -> Listed {
    let name = format!("{}:{index}", kind.name);
    Listed {
        f64: precision(&name) == DType::F64,
        name,
        what,
        memory: None,
        limits: None,
    }
}
