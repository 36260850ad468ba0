//! The room that writes to people: results to standard output, all else to standard error.
//!
//! Nothing here fails or panics: a reader who is gone, or a full disk under a log, must not stop what is computed. Whether
//! the results could be written is in the exit status.

pub mod cells;
pub mod counter;
pub mod progress;
pub mod reading;
pub mod signals;
pub mod work;

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
pub use lease::data::counted;
pub use lease::report::quoted;
use serde_json::{Value, json};

/// The widest of some texts and their column's title, in the terminal's columns.
pub fn widest<'a>(title: &str, texts: impl Iterator<Item = &'a str>) -> usize {
    let widths = texts.map(console::measure_text_width);
    widths.fold(console::measure_text_width(title), usize::max)
}

/// A text with spaces up to so many of the terminal's columns, of which letters of East Asia take two.
pub fn padded(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

/// How the program speaks.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Style {
    /// Say nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// What progress, notes and errors look like on standard error: text, or one JSON object a line
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    log_format: Format,
}

/// The format of what goes to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// One object a line.
    Json,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something may not be as it should.
    Warning,
    /// It did not work.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The word in front of a line, in its colour.
    fn prefix(self, coloured: bool) -> &'static str {
        match (self, coloured) {
            (Self::Info, _) => "",
            (Self::Warning, true) => "\x1b[1;33mwarning:\x1b[0m ",
            (Self::Warning, false) => "warning: ",
            (Self::Error, true) => "\x1b[1;31merror:\x1b[0m ",
            (Self::Error, false) => "error: ",
        }
    }
}

static STYLE: OnceLock<Style> = OnceLock::new();

/// Which process this is, of several of which the first speaks.
static RANK: AtomicUsize = AtomicUsize::new(0);

/// Why results could not be written, the first time that they could not.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Sets how the program speaks.
pub fn set(style: &Style) {
    // It is set once, at the start.
    let _ = STYLE.set(*style);
}

/// Has this process, the one of this number, say nothing but what goes wrong here.
pub fn mute(rank: usize) {
    RANK.store(rank, Ordering::Relaxed);
}

/// Which process this is.
pub fn rank() -> usize {
    RANK.load(Ordering::Relaxed)
}

fn json_wanted() -> bool {
    STYLE.get().is_some_and(|s| s.log_format == Format::Json)
}

fn quiet() -> bool {
    rank() > 0 || STYLE.get().is_some_and(|s| s.quiet)
}

/// Whether colours are wanted on standard error (no-color.org).
fn coloured() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    !unwanted && io::stderr().is_terminal()
}

/// How many characters a line of standard output has.
pub fn width() -> usize {
    console::Term::stdout()
        .size_checked()
        .map_or(80, |(_, columns)| usize::from(columns))
}

/// Writes a result, with a line's end.
pub fn result(text: impl Display) {
    plain(format_args!("{text}\n"));
}

/// Writes a result as it is.
pub fn plain(text: impl Display) {
    if rank() > 0 {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
    }
}

/// Says something on standard error, where it is wanted.
pub fn say(level: Level, message: impl Display) {
    if json_wanted() {
        event(level, "note", json!({ "message": message.to_string() }));
    } else if let Some(text) = told(level, message) {
        line(text);
    }
}

/// What is said for people, where it is wanted.
fn told(level: Level, message: impl Display) -> Option<String> {
    let from = match rank() {
        0 => String::new(),
        rank => format!("process {rank}: "),
    };
    is_wanted(level).then(|| format!("{}{from}{message}", level.prefix(coloured())))
}

/// Whether what matters so much is to be said.
fn is_wanted(level: Level) -> bool {
    match level {
        Level::Info => !quiet(),
        Level::Warning => rank() == 0,
        Level::Error => true,
    }
}

/// Writes one event as a JSON object, where that is wanted.
pub fn event(level: Level, event: &str, fields: Value) {
    if !json_wanted() || !is_wanted(level) {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut all = serde_json::Map::new();
    all.insert("time".into(), json!(now.map_or(0.0, |t| t.as_secs_f64())));
    all.insert("level".into(), level.name().into());
    all.insert("event".into(), event.into());
    if rank() > 0 {
        all.insert("process".into(), rank().into());
    }
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    line(Value::Object(all));
}

/// A line on standard error, written at once, since other processes may write there too; nobody may be there to read it.
fn line(text: impl Display) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{text}\n").as_bytes());
}

/// Says what went wrong, and what to do about it.
pub fn error(error: &lease::Error) {
    if json_wanted() {
        let fields = json!({ "message": error.to_string(), "hint": error.hint() });
        return event(Level::Error, "error", fields);
    }
    say(Level::Error, error);
    if let Some(hint) = error.hint() {
        let prefix = match coloured() {
            true => "\x1b[1;36mhint:\x1b[0m",
            false => "hint:",
        };
        line(format_args!("{prefix} {hint}"));
    }
}

/// The exit status of a program that ends with this one otherwise: a reader of results who is gone ends it quietly, results
/// that could not be written are an error.
pub fn close(code: u8) -> u8 {
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*failed {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(
                Level::Error,
                format_args!("cannot write to standard output: {error}"),
            );
            1
        }
        _ => code,
    }
}

/// Ends the program at once with this status, whatever other threads do. What was written is written: nothing here waits in
/// a buffer. Libraries' own ends are left out: those of a GPU's driver would take away what threads still use.
pub fn end(code: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_that_a_terminal_shows() {
        assert_eq!(widest("class", ["猫", "犬と猫の写真"].into_iter()), 12);
        assert_eq!(widest("class", ["cat"].into_iter()), 5);
        assert_eq!(padded("猫", 4), "猫  ");
        assert_eq!(padded("über", 5), "über ");
    }
}
