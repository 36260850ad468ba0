//! Signals that ask a run to stop: Ctrl-C, and what schedulers and closing terminals send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{Level, say};

/// The first signal that came; 0 for none.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// The number of the signal of Ctrl-C.
const INTERRUPT: i32 = 2;

/// The exit status of a run that a signal has stopped, as shells count.
pub fn status() -> u8 {
    let signal = match CAUGHT.load(Ordering::Relaxed) {
        0 => INTERRUPT,
        signal => signal,
    };
    (128 + signal) as u8
}

/// A flag that a signal sets; a second one ends the program at once.
///
/// A signal that was ignored when the program started stays ignored, as `nohup` and background jobs want it.
pub fn stop_flag() -> Arc<AtomicBool> {
    stop_flag_saying(
        "Stopping after this step; the same signal again (Ctrl-C) stops at once, from the last checkpoint.",
    )
}

/// The same, for something that says other words about it.
pub fn stop_flag_saying(words: &'static str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let received = move |signal: i32| {
        CAUGHT.store(signal, Ordering::Relaxed);
        if flag.swap(true, Ordering::Relaxed) {
            super::end(status());
        }
        say(Level::Info, words);
    };
    if let Err(error) = listen(received) {
        say(
            Level::Warning,
            format_args!("a signal will stop this without a checkpoint ({error})"),
        );
    }
    stop
}

#[cfg(unix)]
fn listen(received: impl Fn(i32) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator::Signals;

    // SIGUSR1 is what launchers of several processes pass on to them.
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP, SIGUSR1]
        .into_iter()
        .filter(|signal| !is_ignored(*signal))
        .collect();
    let mut signals = Signals::new(wanted)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || signals.forever().for_each(received))?;
    Ok(())
}

/// Whether whoever started the program has it ignore a signal.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action, sigaction only writes the old one to a struct of the right type.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all bytes of the struct are initialised, by zeros or by sigaction.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[cfg(not(unix))]
fn listen(received: impl Fn(i32) + Send + 'static) -> std::io::Result<()> {
    ctrlc::set_handler(move || received(INTERRUPT)).map_err(std::io::Error::other)
}
