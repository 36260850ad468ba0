//! The files of a data set, before any is opened.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::DataError;

/// What a data set's files are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Files of training images, class by class.
    pub train: Vec<Item>,
    /// Files of test images, class by class.
    pub test: Vec<Item>,
    /// What cannot be read, found so far.
    pub troubles: Vec<DataError>,
}

/// An image file of a class.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub file: PathBuf,
    pub label: u16,
    pub stamp: Stamp,
}

/// By what a file is known not to have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub bytes: u64,
    /// When it was written; when it or what it is called was changed, and its number, where the system tells.
    pub rest: [i128; 3],
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let written = metadata.modified().ok();
        let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = written.map_or(0, |time| time.as_nanos() as i128);
        #[cfg(unix)]
        let [changed, number] = {
            use std::os::unix::fs::MetadataExt;
            let changed = i128::from(metadata.ctime()) * 1_000_000_000;
            [
                changed + i128::from(metadata.ctime_nsec()),
                i128::from(metadata.ino()),
            ]
        };
        #[cfg(not(unix))]
        let [changed, number] = [0, 0];
        Self {
            bytes: metadata.len(),
            rest: [written, changed, number],
        }
    }
}

/// Whether a name is that of something which systems and programs leave in folders.
fn is_passed_over(name: &OsStr) -> bool {
    const LEFT: [&str; 9] = [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "__macosx",
        "icon\r",
        "$recycle.bin",
        "system volume information",
        "@eadir",
        "lost+found",
    ];
    let name = name.to_string_lossy();
    name.starts_with('.') || LEFT.contains(&name.to_lowercase().as_str())
}

/// The entries of a folder, sorted by name, but for what systems leave there.
pub(super) fn entries(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read {
        path: path.into(),
        source,
    };
    let mut found = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !is_passed_over(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What a path leads to, if that is a file or a folder.
pub(super) fn metadata(path: &Path) -> Result<Metadata, DataError> {
    let invalid = |reason: String| DataError::Invalid {
        path: path.into(),
        reason,
    };
    let metadata = fs::metadata(path).map_err(|source| match fs::read_link(path) {
        Ok(target) => invalid(format!(
            "it is a link to {}, which cannot be read ({source}); mend or remove it",
            target.display()
        )),
        Err(_) => DataError::Read {
            path: path.into(),
            source,
        },
    })?;
    if metadata.is_file() || metadata.is_dir() {
        return Ok(metadata);
    }
    Err(invalid(format!(
        "it is {}, no file; remove it",
        kind(&metadata)
    )))
}

fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    let _ = metadata;
    "something special"
}

impl Item {
    /// The item of a file.
    pub fn of(file: PathBuf, label: u16, metadata: &Metadata) -> Self {
        Self {
            file,
            label,
            stamp: Stamp::of(metadata),
        }
    }
}

/// What is found in a class's folder and the folders in it.
#[derive(Default)]
pub(super) struct Walk {
    /// The files.
    pub items: Vec<Item>,
    /// Folders within in which files lie.
    pub nested: Vec<PathBuf>,
    /// Links that lead back to a folder that they lie in.
    pub loops: Vec<PathBuf>,
    /// What is neither file nor folder, or cannot be read.
    pub troubles: Vec<DataError>,
}

impl Walk {
    /// Adds the files of a class's folder and of those in it.
    pub fn class(&mut self, folder: &Path, label: u16) {
        let here = folder.canonicalize().unwrap_or_else(|_| folder.into());
        self.folder(folder, label, &mut vec![here]);
    }

    fn folder(&mut self, folder: &Path, label: u16, above: &mut Vec<PathBuf>) {
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.troubles.push(error),
        };
        let before = self.items.len();
        let mut folders = Vec::new();
        for path in entries {
            match metadata(&path) {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(found) => self.items.push(Item::of(path, label, &found)),
                Err(error) => self.troubles.push(error),
            }
        }
        if above.len() > 1 && self.items.len() > before {
            self.nested.push(folder.into());
        }
        for path in folders {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if above.iter().any(|folder| folder.starts_with(&real)) {
                self.loops.push(path);
                continue;
            }
            above.push(real);
            self.folder(&path, label, above);
            above.pop();
        }
    }
}
