//! Files that keep other processes out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::RunError;

/// A file that no other process can hold as long as this one does, however that ends. Where a file system has no locks,
/// it keeps nobody out.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes it, making what is missing; nothing if another process has it.
    ///
    /// # Errors
    /// If the file cannot be made or opened.
    pub fn take(path: &Path) -> Result<Option<Self>, RunError> {
        let file = open(path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        Ok(Some(Self::of(file, path)))
    }

    /// Takes it as soon as no other process has it.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn wait(path: &Path) -> Result<Self, RunError> {
        let file = open(path)?;
        // One that is not supported goes without.
        let _ = file.lock();
        Ok(Self::of(file, path))
    }

    fn of(file: File, path: &Path) -> Self {
        Self {
            _file: file,
            path: path.into(),
        }
    }

    /// Gives it back and removes the file. Whoever comes later takes another one, so what it guards must be done, and
    /// be seen to be.
    pub fn remove(self) {
        // One that stays does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> Result<File, RunError> {
    let failed = |action, path: &Path, source: io::Error| RunError::Io {
        action,
        path: path.into(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed("create", folder, e))?;
    }
    // Network file systems lock only what is open for writing.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|e| failed("open", path, e))
}
