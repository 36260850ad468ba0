//! Logs of JSON lines, which a run appends to and a resumed one goes on with.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RunError;
use super::checkpoint::hex;

/// How far a log had come: what a checkpoint remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Bytes.
    pub bytes: u64,
    /// The SHA-256 of these bytes, in hexadecimal; empty where there are none.
    pub digest: String,
}

/// A log of JSON lines.
pub struct Log {
    file: File,
    path: PathBuf,
    bytes: u64,
    hash: Sha256,
}

impl Log {
    /// Opens a log, cut to where it was: what comes after belongs to steps that will be done again.
    pub(super) fn open(path: &Path, position: &LogPosition) -> Result<Self, RunError> {
        let failed = |source| RunError::Io {
            action: "open the log",
            path: path.into(),
            source,
        };
        let changed = |reason: String| RunError::Changed {
            path: path.into(),
            reason,
        };
        let mut file = OpenOptions::new()
            .create(position.bytes == 0)
            .truncate(false)
            .read(true)
            // What something else does to the file must not move where the next line goes.
            .append(true)
            .open(path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound if position.bytes > 0 => changed("it is gone".into()),
                _ => failed(source),
            })?;
        // Held as long as the file is open. Where a file system has no locks, it goes without.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(RunError::Busy { path: path.into() });
        }
        let length = file.metadata().map_err(failed)?.len();
        if length < position.bytes {
            return Err(changed(format!(
                "it has {length} bytes, but {} were written before the checkpoint",
                position.bytes
            )));
        }
        let hash = digest_of(&mut file, position.bytes).map_err(failed)?;
        if position.bytes > 0 && hex(&hash.clone().finalize()) != position.digest {
            return Err(changed(
                "its lines from before the checkpoint are no longer what was written".into(),
            ));
        }
        file.set_len(position.bytes).map_err(failed)?;
        Ok(Self {
            file,
            path: path.into(),
            bytes: position.bytes,
            hash,
        })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_vec(line).map_err(|e| self.failed(io::Error::other(e)))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|e| self.failed(e))?;
        self.bytes += text.len() as u64;
        self.hash.update(&text);
        Ok(())
    }

    /// Where the log is, once that is on the disk.
    ///
    /// # Errors
    /// As the file system reports, or if the file was removed or another put in its place.
    pub fn position(&mut self) -> Result<LogPosition, RunError> {
        self.file.sync_data().map_err(|e| self.failed(e))?;
        let there = std::fs::metadata(&self.path).map_err(|e| self.failed(e))?;
        if there.len() != self.bytes {
            return Err(RunError::Changed {
                path: self.path.clone(),
                reason: format!(
                    "it has {} bytes where {} were written, so something else has changed it",
                    there.len(),
                    self.bytes
                ),
            });
        }
        Ok(LogPosition {
            bytes: self.bytes,
            digest: match self.bytes {
                0 => String::new(),
                _ => hex(&self.hash.clone().finalize()),
            },
        })
    }

    /// Checks that the file is still what was written: before a result says that it is finished.
    ///
    /// # Errors
    /// If it is not, or cannot be read.
    pub fn verify(&mut self) -> Result<(), RunError> {
        let position = self.position()?;
        let failed = |source| RunError::Io {
            action: "read",
            path: self.path.clone(),
            source,
        };
        let mut file = File::open(&self.path).map_err(failed)?;
        let hash = digest_of(&mut file, self.bytes).map_err(failed)?;
        if self.bytes > 0 && hex(&hash.finalize()) != position.digest {
            return Err(RunError::Changed {
                path: self.path.clone(),
                reason: "its lines are no longer what was written".into(),
            });
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> RunError {
        RunError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

/// The digest of a file's first bytes, which it has.
fn digest_of(file: &mut File, bytes: u64) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut left = bytes;
    let mut buffer = [0; 1 << 16];
    while left > 0 {
        let most = buffer.len().min(left as usize);
        file.read_exact(&mut buffer[..most])?;
        hash.update(&buffer[..most]);
        left -= most as u64;
    }
    Ok(hash)
}
