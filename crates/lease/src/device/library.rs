//! Which library or driver is missing where a kind of device is not to be had.

/// Whether the system finds a shared library.
fn found(names: &[&str]) -> bool {
    names.iter().any(|name| {
        // SAFETY: what runs on loading is the library's own initialisation. These are the drivers' loaders, which
        // Burn has tried to load before this question comes up.
        unsafe { libloading::Library::new(name) }.is_ok()
    })
}

/// What keeps Vulkan, Metal or DirectX 12 from having a device.
#[cfg(any(feature = "gpu", feature = "vulkan"))]
pub fn gpu_missing() -> String {
    if cfg!(any(target_os = "macos", target_os = "windows")) {
        return "no driver of a GPU answers".into();
    }
    if found(&["libvulkan.so.1", "libvulkan.so"]) {
        "the Vulkan loader finds no driver. A GPU's driver brings a file for it (as nvidia_icd.json), which VK_DRIVER_FILES \
         names if it lies elsewhere than in /usr/share/vulkan/icd.d; mesa-vulkan-drivers has some, and one that computes on \
         the CPU"
            .into()
    } else {
        "the Vulkan loader libvulkan.so.1 is missing (Debian and Ubuntu: apt install libvulkan1), without which no driver \
         is found"
            .into()
    }
}

/// What keeps CUDA from having a device.
#[cfg(feature = "cuda")]
pub fn cuda_missing() -> String {
    if !found(&["libcuda.so.1", "libcuda.so", "nvcuda.dll"]) {
        "NVIDIA's driver is missing (libcuda.so.1)".into()
    } else if !found(&[
        "libnvrtc.so",
        "libnvrtc.so.13",
        "libnvrtc.so.12",
        "nvrtc64_120_0.dll",
    ]) {
        "CUDA's run-time compiler is missing (libnvrtc.so, of the CUDA toolkit)".into()
    } else {
        "NVIDIA's driver finds no GPU".into()
    }
}
