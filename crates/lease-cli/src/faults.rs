//! Failures of a GPU that come as panics.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::OnceLock;

use lease::Error;
use lease::device::{self, DeviceError};

use crate::Ended;

/// What the first panic said.
static FIRST: OnceLock<String> = OnceLock::new();

/// Does `work`. Burn panics, on threads of its own too, where a driver refuses something, memory above all: once a device
/// other than the CPU is open this is an error like others.
pub fn told(work: impl FnOnce() -> Result<Ended, Error>) -> Result<Ended, Error> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if device::accelerated() {
            FIRST.get_or_init(|| message(info));
        } else {
            usual(info);
        }
    }));
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome,
        Err(_) if device::accelerated() => Err(Error::Device(DeviceError::Failed {
            reason: FIRST
                .get()
                .map_or("it gave no reason", String::as_str)
                .into(),
        })),
        Err(panic) => panic::resume_unwind(panic),
    }
}

/// What a panic says, or of a chain of causes the last.
fn message(info: &PanicHookInfo) -> String {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no reason");
    let cause = text.rsplit("Caused by:").next().unwrap_or(text);
    let line = cause.trim().lines().next().unwrap_or(text);
    line.trim().into()
}
