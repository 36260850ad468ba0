//! The processes that the program was started as: one of them speaks for all.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use lease::Error;
use lease::collective::{self, Collective};

use crate::terminal;

/// The processes that this one was started with, itself among them. To be called once, by a command that they do together.
pub fn joined() -> Result<Arc<dyn Collective>, Error> {
    if let Some(launched) = collective::launched().filter(|launched| launched.rank > 0) {
        terminal::mute(launched.rank);
    }
    Ok(collective::join()?)
}

/// Says what went wrong and ends all of them: a process that has failed would leave the others waiting.
pub fn failed(error: &Error) {
    // What is wrong for all of them the first one says, and ends the others before they do.
    let rank = terminal::rank().min(20) as u32;
    sleep(Duration::from_millis(250) * rank);
    terminal::error(error);
    collective::abort(1);
}
