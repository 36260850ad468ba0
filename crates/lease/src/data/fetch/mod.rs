//! Data sets fetched from where their authors keep them.
//!
//! What arrives goes into a file that a later command goes on with, is held against the SHA-256 that is known of the archive, and
//! is unpacked under another name and renamed: the folder is whole or not there.

mod download;
mod unpack;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use download::Source;

/// An archive that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The data set.
    pub name: &'static str,
    /// The official address.
    pub url: &'static str,
    /// What its file is called.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The folder in it.
    pub folder: &'static str,
    /// The files in that, with their sizes where readers rely on them.
    pub files: &'static [(&'static str, Option<u64>)],
}

const CIFAR_10_BATCH: Option<u64> = Some(10_000 * 3_073);

impl Archive {
    /// CIFAR-10, binary version. Size and checksum as TensorFlow Datasets, Flux and others have them.
    pub fn cifar_10() -> Self {
        Self {
            name: "cifar10",
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            file: "cifar-10-binary.tar.gz",
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into(),
            folder: "cifar-10-batches-bin",
            files: &[
                ("batches.meta.txt", None),
                ("data_batch_1.bin", CIFAR_10_BATCH),
                ("data_batch_2.bin", CIFAR_10_BATCH),
                ("data_batch_3.bin", CIFAR_10_BATCH),
                ("data_batch_4.bin", CIFAR_10_BATCH),
                ("data_batch_5.bin", CIFAR_10_BATCH),
                ("test_batch.bin", CIFAR_10_BATCH),
            ],
        }
    }

    /// CIFAR-100, binary version. Size and checksum from the same places.
    pub fn cifar_100() -> Self {
        Self {
            name: "cifar100",
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            file: "cifar-100-binary.tar.gz",
            bytes: 168_513_733,
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec".into(),
            folder: "cifar-100-binary",
            files: &[
                ("coarse_label_names.txt", None),
                ("fine_label_names.txt", None),
                ("train.bin", Some(50_000 * 3_074)),
                ("test.bin", Some(10_000 * 3_074)),
            ],
        }
    }
}

/// Why a data set was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file or folder cannot be written or read.
    #[error("cannot write {path}: {source}{}", full(.source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server, or what is between, did not send it.
    #[error("cannot fetch {url}: {reason}")]
    Server {
        /// The address.
        url: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// What arrived is something else.
    #[error(
        "what {url} sent is not the archive: its SHA-256 is {found}, not {wanted}; it was removed. Try again; if it happens \
         again, name another address by --url"
    )]
    Checksum {
        /// The address.
        url: String,
        /// The checksum of what arrived.
        found: String,
        /// The right one.
        wanted: String,
    },
    /// Something is in the way.
    #[error("{path} {reason}")]
    InTheWay {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A setting of the environment cannot be used.
    #[error("the environment variable {name} cannot be used: {reason}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a full disk needs to be said.
fn full(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, and the same command goes on"
        }
        _ => "",
    }
}

/// Who watches something being fetched.
pub trait Observer {
    /// So many bytes of so many are there.
    fn reached(&mut self, done: u64, all: u64);
    /// Something a person should know.
    fn note(&mut self, message: &str);
}

/// How something is fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The address, if it is not the official one.
    pub url: Option<String>,
    /// How long nothing may arrive before the connection is made anew.
    pub patience: Duration,
    /// How often in a row it may be made anew without a byte arriving.
    pub attempts: u32,
    /// Half of the pause before the first of these; each pause is twice as long as the one before.
    pub pause: Duration,
    /// Whether the proxies that the environment names are used.
    pub proxies: bool,
    /// Whether the archive stays beside the folder.
    pub keep: bool,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            url: None,
            patience: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_millis(250),
            proxies: true,
            keep: false,
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The data set is in this folder.
    There(PathBuf),
    /// It was in this folder before.
    AlreadyThere(PathBuf),
    /// It was asked to stop; the same call goes on.
    Stopped,
}

/// Where data sets go by default: the folder `lease` in the user's folder for caches, where there is one.
pub fn default_folder() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("lease"))
}

impl Fetch {
    /// Fetches an archive and unpacks it in `into`, unless it is there. An archive of the right name that lies there, or a part
    /// of it, is used.
    ///
    /// # Errors
    /// If it cannot be had, is not what it should be, or cannot be written.
    pub fn run(
        &self,
        archive: &Archive,
        into: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Fetched, FetchError> {
        let folder = into.join(archive.folder);
        if unpack::is_there(archive, &folder)? {
            return Ok(Fetched::AlreadyThere(folder));
        }
        fs::create_dir_all(into).map_err(|source| failed(into, source))?;
        let whole = into.join(archive.file);
        let Some(mut file) = self.archive(archive, &whole, observer, stop)? else {
            return Ok(Fetched::Stopped);
        };
        unpack::unpack(archive, &mut file, &whole, &folder)?;
        if !self.keep {
            // One that stays does no harm.
            let _ = fs::remove_file(&whole);
        }
        Ok(Fetched::There(folder))
    }

    /// The archive, whole and right; nothing if it was asked to stop.
    fn archive(
        &self,
        archive: &Archive,
        whole: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<File>, FetchError> {
        if let Ok(mut file) = File::open(whole) {
            observer.note(&format!("Using {}.", whole.display()));
            let found = digest(&mut file).map_err(|source| failed(whole, source))?;
            if found == archive.sha256 {
                return Ok(Some(file));
            }
            return Err(FetchError::InTheWay {
                path: whole.into(),
                reason: format!(
                    "is not the archive that it is called: its SHA-256 is {found}, not {}; remove it, and the same command \
                     fetches it",
                    archive.sha256
                ),
            });
        }
        let partial = whole.with_extension("gz.partial");
        let mut file = open(&partial)?;
        let source = Source::new(self, archive)?;
        loop {
            let before = length(&file, &partial)?;
            if before > 0 {
                let share = 100.0 * before as f64 / archive.bytes as f64;
                observer.note(&format!("Going on at {share:.0} % of {}.", archive.file));
            }
            let downloaded = source.download(&mut file, &partial, observer, stop);
            if downloaded.is_err() && length(&file, &partial)? == 0 {
                // What cannot be removed is empty.
                let _ = fs::remove_file(&partial);
            }
            downloaded?;
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let found = digest(&mut file).map_err(|source| failed(&partial, source))?;
            if found == archive.sha256 {
                break;
            }
            file.set_len(0).map_err(|source| failed(&partial, source))?;
            if before == 0 {
                // What cannot be removed is empty.
                let _ = fs::remove_file(&partial);
                return Err(FetchError::Checksum {
                    url: source.url,
                    found,
                    wanted: archive.sha256.clone(),
                });
            }
            // The part that was there may be to blame.
            observer
                .note("What was there and what arrived do not fit together; it is fetched anew.");
        }
        file.sync_all()
            .and_then(|()| fs::rename(&partial, whole))
            .map_err(|source| failed(whole, source))?;
        Ok(Some(file))
    }
}

fn failed(path: &Path, source: io::Error) -> FetchError {
    FetchError::Write {
        path: path.into(),
        source,
    }
}

/// The unfinished archive, which no other process writes as long as this one does.
fn open(partial: &Path) -> Result<File, FetchError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(partial)
        .map_err(|source| failed(partial, source))?;
    // Where a file system has no locks, nobody is kept out.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(FetchError::InTheWay {
            path: partial.into(),
            reason: "is being fetched by another process; wait for it".into(),
        });
    }
    Ok(file)
}

fn length(file: &File, path: &Path) -> Result<u64, FetchError> {
    let metadata = file.metadata().map_err(|source| failed(path, source))?;
    Ok(metadata.len())
}

/// The SHA-256 of a file from its start.
fn digest(file: &mut File) -> io::Result<String> {
    io::Seek::rewind(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let digest = hash.finalize();
    Ok(digest.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests;
