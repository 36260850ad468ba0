//! GPUs by wgpu.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};

use super::{DeviceError, library, there_is};

/// Which graphics API serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The first that has a GPU.
    #[cfg(feature = "gpu")]
    Any,
    /// Vulkan alone.
    #[cfg(feature = "vulkan")]
    Vulkan,
}

impl Api {
    fn kind(self) -> &'static str {
        match self {
            #[cfg(feature = "gpu")]
            Self::Any => "gpu",
            #[cfg(feature = "vulkan")]
            Self::Vulkan => "vulkan",
        }
    }

    fn burns(self) -> WgpuBackend {
        match self {
            #[cfg(feature = "gpu")]
            Self::Any => WgpuBackend::Auto,
            #[cfg(feature = "vulkan")]
            Self::Vulkan => WgpuBackend::Vulkan,
        }
    }

    /// The order in which Burn looks for a GPU.
    fn candidates(self) -> &'static [wgpu::Backend] {
        use wgpu::Backend;
        match self {
            #[cfg(feature = "gpu")]
            Self::Any if cfg!(target_os = "macos") => &[Backend::Metal],
            #[cfg(feature = "gpu")]
            Self::Any => &[Backend::Vulkan, Backend::Dx12, Backend::Gl],
            #[cfg(feature = "vulkan")]
            Self::Vulkan => &[Backend::Vulkan],
        }
    }
}

/// A GPU, or software that does as if it were one.
pub struct Adapter {
    /// How Burn calls it: by its kind, and its number among those.
    kind: DeviceKind,
    /// What its driver says of it.
    pub info: wgpu::AdapterInfo,
    /// How large things can be.
    pub limits: wgpu::Limits,
    /// Bytes of memory that are near it, where the driver tells.
    pub memory: Option<u64>,
}

impl Adapter {
    fn new(adapter: &wgpu::Adapter, earlier: &[Self]) -> Self {
        let info = adapter.get_info();
        let alike = earlier
            .iter()
            .filter(|e| e.info.device_type == info.device_type);
        let number = alike.count();
        Self {
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(number),
                wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(number),
                wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(number),
                wgpu::DeviceType::Cpu => DeviceKind::Cpu,
                wgpu::DeviceType::Other => DeviceKind::DefaultDevice,
            },
            info,
            limits: adapter.limits(),
            memory: memory(adapter),
        }
    }

    /// What it is, for people.
    pub fn what(&self) -> String {
        let kind = match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => "a GPU",
            wgpu::DeviceType::IntegratedGpu => "an integrated GPU",
            wgpu::DeviceType::VirtualGpu => "a virtual GPU",
            wgpu::DeviceType::Cpu => "software on the CPU",
            wgpu::DeviceType::Other => "of unknown kind",
        };
        let driver = [&self.info.driver, &self.info.driver_info];
        let driver: Vec<&str> = driver.map(String::as_str).into_iter().collect();
        format!(
            "{}, {kind}, by {:?}, driver {}",
            self.info.name,
            self.info.backend,
            driver.join(" ").trim()
        )
    }

    /// GPUs before software, and those with memory of their own first.
    fn rank(&self) -> u8 {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

/// The bytes in the heaps that Vulkan calls the device's own.
#[cfg(not(target_vendor = "apple"))]
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handles are asked for memory properties, which changes nothing, while the adapter is alive.
    let heaps = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let heaps = heaps
        .memory_heaps
        .iter()
        .take(heaps.memory_heap_count as usize);
    let own = heaps.filter(|h| h.flags.as_raw() & DEVICE_LOCAL != 0);
    Some(own.map(|h| h.size).sum())
}

#[cfg(target_vendor = "apple")]
fn memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// What a future gives that is ready at once, as wgpu's are outside of browsers.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The adapters of the API that Burn will settle on: the first that has a GPU, else the first that has anything.
pub fn adapters(api: Api) -> Vec<Adapter> {
    let mut software = Vec::new();
    for backend in api.candidates() {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: (*backend).into(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut found: Vec<Adapter> = Vec::new();
        for adapter in ready(instance.enumerate_adapters((*backend).into())).unwrap_or_default() {
            found.push(Adapter::new(&adapter, &found));
        }
        // Of these Burn knows one alone.
        let mut seen = Vec::new();
        found.retain(|a| {
            let kind = a.info.device_type;
            let one_alone = matches!(kind, wgpu::DeviceType::Cpu | wgpu::DeviceType::Other);
            let kept = !(one_alone && seen.contains(&kind));
            seen.push(kind);
            kept
        });
        found.sort_by_key(Adapter::rank);
        if found
            .iter()
            .any(|a| a.info.device_type != wgpu::DeviceType::Cpu)
        {
            return found;
        }
        if software.is_empty() {
            software = found;
        }
    }
    software
}

/// Those that were opened: Burn opens each once.
static OPENED: Mutex<Vec<((Api, usize), Device)>> = Mutex::new(Vec::new());

/// Opens the device of this number.
///
/// # Errors
/// If there is none, or its driver refuses.
pub fn open(api: Api, index: usize, name: &str) -> Result<Device, DeviceError> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = opened.iter().find(|(key, _)| *key == (api, index));
    if let Some((_, device)) = earlier {
        return Ok(device.clone());
    }
    let mut found = adapters(api);
    if index >= found.len() {
        return Err(DeviceError::Absent {
            name: name.into(),
            reason: there_is(api.kind(), found.len()).unwrap_or_else(library::gpu_missing),
        });
    }
    let device = Device::wgpu_options()
        .device_kind(found.swap_remove(index).kind)
        .graphics_api(api.burns())
        .init()
        .map_err(|e| DeviceError::Unopened {
            name: name.into(),
            reason: e.to_string(),
        })?;
    opened.push(((api, index), device.clone()));
    Ok(device)
}
