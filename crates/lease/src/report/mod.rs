//! What a person looks at: a page about a run, a training or a comparison, made from the files of its folder alone.

mod chart;
mod finding;
mod graph;
mod page;
mod read;
mod serve;
mod show;
pub mod tensorboard;

use std::path::{Path, PathBuf};

pub use serve::Server;
pub use show::show;

use crate::Error;
pub use crate::run::REPORT;
use crate::run::RunError;
use crate::run::files::write_atomically;
use read::Subject;

/// A path as a shell reads it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map_or_else(|_| text.clone(), |quoted| quoted.into_owned())
}

/// The page about a folder, as HTML that needs nothing else. What is not there (yet) is left out.
///
/// # Errors
/// If the folder is no run, training or comparison.
pub fn page(folder: &Path) -> Result<String, Error> {
    Ok(page::page(&Subject::read(folder)?, None))
}

/// Writes the page about a folder, whole or not at all, to `to` or as [`REPORT`] into the folder, and returns where it is.
///
/// # Errors
/// As [`page()`], or as the file system reports; if another file than such a page is there.
pub fn write(folder: &Path, to: Option<&Path>) -> Result<PathBuf, Error> {
    let path = to.map_or_else(|| folder.join(REPORT), PathBuf::from);
    let text = page(folder)?;
    let ours = |there: Vec<u8>| {
        let there = String::from_utf8_lossy(&there);
        there.is_empty()
            || (there.starts_with("<!DOCTYPE html>") && there.contains(page::WRITTEN_BY))
    };
    if std::fs::read(&path).is_ok_and(|there| !ours(there)) {
        return Err(Error::Usage(format!(
            "{} is there already and is no page of lease's; give another file by --out",
            path.display()
        )));
    }
    write_atomically(&path, text.as_bytes()).map_err(|source| RunError::Io {
        action: "write",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}
