//! Decoded images on disk: one file for a data set read in one way, mapped into memory.
//!
//! A head, the images one after another, what is known of each, and an end with a digest of that. The file is written under a
//! name of its own and renamed, so that it is whole or not there, and several programs can write it at once. It is never
//! changed in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use memmap2::Mmap;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::images::Facts;
use super::picture::Oddities;

/// What a file begins with; the number changes whenever images are decoded in another way.
const HEAD: &[u8; 16] = b"lease images 1\n\0";

/// What its name ends with.
const ENDING: &str = "images";

/// What the name of an unfinished one begins with.
const PARTIAL: &str = ".partial-";

/// Bytes of what is known of one image.
const RECORD: usize = 32 + 48 + 1;

/// Bytes of the end: the key, the number of images, channels, bytes of an image, and the digest.
const END: usize = 32 + 8 + 8 + 8 + 32;

/// Images with more bytes together are not all looked at when the file is opened.
const MOST_VERIFIED: usize = 1 << 30;

/// Files that were not used for so long are removed.
const KEPT: Duration = Duration::from_secs(60 * 24 * 3600);

/// Unfinished files of programs that are gone.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Where a data set's decoded images lie, and which they must be.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    name: String,
    key: [u8; 32],
}

/// Decoded images, in a file.
pub(super) struct Kept {
    pub map: Arc<Mmap>,
    pub channels: usize,
    pub facts: Vec<Facts>,
    pub oddities: Vec<Oddities>,
}

/// Where the images of a file begin.
pub(super) const START: usize = HEAD.len();

impl Place {
    /// The place in a folder of what has this name; the key is of all that the images depend on.
    pub fn new(folder: PathBuf, name: &[u8], key: [u8; 32]) -> Self {
        let digest = Sha256::digest(name);
        let name: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        Self {
            folder,
            name: format!("{name}.{ENDING}"),
            key,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// The images that are there; nothing if there are none, or others, or damaged ones.
    pub fn find(&self, count: usize, area: usize) -> Option<Kept> {
        let file = File::options().read(true).write(true).open(self.path());
        let file = file.or_else(|_| File::open(self.path())).ok()?;
        let kept = self.opened(&file, count, area)?;
        // When it was last used; where that cannot be noted it is made again some day.
        let _ = file.set_modified(SystemTime::now());
        Some(kept)
    }

    fn opened(&self, file: &File, count: usize, area: usize) -> Option<Kept> {
        let length = file.metadata().ok()?.len();
        let records = count.checked_mul(RECORD)?;
        let tail_at = length.checked_sub((records + END) as u64)?;
        let mut reader = BufReader::new(file);
        let mut head = [0; START];
        reader.read_exact(&mut head).ok()?;
        reader.seek(SeekFrom::Start(tail_at)).ok()?;
        let mut tail = Vec::new();
        reader.read_to_end(&mut tail).ok()?;
        let (told, digest) = tail.split_at_checked(tail.len().checked_sub(32)?)?;
        let (records, end) = told.split_at_checked(records)?;
        let number = |at: usize| -> Option<usize> {
            let bytes = end.get(at..at + 8)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let (channels, size) = (number(40)?, number(48)?);
        let right = head == *HEAD
            && Sha256::digest(told)[..] == *digest
            && end[..32] == self.key
            && number(32)? == count
            && [1, 3].contains(&channels)
            && size == channels * area
            && tail_at == (START + count * size) as u64;
        if !right {
            return None;
        }
        let (facts, oddities): (Vec<_>, Vec<_>) =
            records.chunks_exact(RECORD).map(record_read).unzip();
        // SAFETY: the file is changed by nobody: it was written under another name, and is only ever replaced or removed as a
        // whole, which leaves this map as it is.
        let map = unsafe { Mmap::map(file) }.ok()?;
        let kept = Kept {
            map: Arc::new(map),
            channels,
            facts,
            oddities,
        };
        kept.is_as_it_was(size).then_some(kept)
    }

    /// A new file for images of so many bytes.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn begin(&self) -> io::Result<Writing> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        clear(&self.folder);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PARTIAL}{}-{number}-{}", std::process::id(), self.name);
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let mut writing = Writing {
            place: self.clone(),
            path,
            file: BufWriter::new(file),
        };
        writing.file.write_all(HEAD)?;
        Ok(writing)
    }
}

fn record_read(record: &[u8]) -> (Facts, Oddities) {
    let number = |n: usize| {
        let bytes = record[32 + 8 * n..40 + 8 * n].try_into();
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let facts = Facts {
        digest: record[..32].try_into().unwrap_or_default(),
        sums: [0, 1, 2].map(|channel| [number(2 * channel), number(2 * channel + 1)]),
    };
    (facts, Oddities(record[RECORD - 1]))
}

fn record_written(facts: &Facts, oddities: Oddities) -> Vec<u8> {
    let mut record = facts.digest.to_vec();
    for number in facts.sums.as_flattened() {
        record.extend(number.to_le_bytes());
    }
    record.push(oddities.0);
    record
}

impl Kept {
    /// Whether the images are those that were written; of very many some are looked at.
    fn is_as_it_was(&self, size: usize) -> bool {
        let every = (self.facts.len() * size).div_ceil(MOST_VERIFIED).max(1);
        let looked_at: Vec<usize> = (0..self.facts.len()).step_by(every).collect();
        looked_at.into_par_iter().all(|image| {
            let pixels = &self.map[START + image * size..][..size];
            Sha256::digest(pixels)[..] == self.facts[image].digest
        })
    }
}

/// A file that is being written; removed if it is not finished.
pub(super) struct Writing {
    place: Place,
    path: PathBuf,
    file: BufWriter<File>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        // After it was renamed there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

impl Writing {
    /// Adds images.
    pub fn add(&mut self, pixels: &[u8]) -> io::Result<()> {
        self.file.write_all(pixels)
    }

    /// Keeps the first channel of three of each image, and knows of each what is known of that.
    pub fn first_channel(&mut self, facts: &mut [Facts], area: usize) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        let mut plane = vec![0; area];
        for (image, facts) in facts.iter_mut().enumerate() {
            file.seek(SeekFrom::Start((START + 3 * image * area) as u64))?;
            file.read_exact(&mut plane)?;
            file.seek(SeekFrom::Start((START + image * area) as u64))?;
            file.write_all(&plane)?;
            *facts = Facts::of(&plane, 1);
        }
        file.set_len((START + facts.len() * area) as u64)?;
        file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// Writes what is known of each image, and puts the file where it is found; the images in it.
    pub fn finish(
        mut self,
        (channels, area): (usize, usize),
        facts: Vec<Facts>,
        oddities: Vec<Oddities>,
    ) -> io::Result<Kept> {
        let mut told = Vec::with_capacity(facts.len() * RECORD + END);
        for (facts, oddities) in facts.iter().zip(&oddities) {
            told.extend(record_written(facts, *oddities));
        }
        told.extend(self.place.key);
        for number in [facts.len(), channels, channels * area] {
            told.extend((number as u64).to_le_bytes());
        }
        let digest = Sha256::digest(&told);
        self.file.write_all(&told)?;
        self.file.write_all(&digest)?;
        self.file.flush()?;
        let file = self.file.get_ref();
        file.sync_all()?;
        // SAFETY: as in `Place::opened`.
        let map = unsafe { Mmap::map(file) }?;
        fs::rename(&self.path, self.place.path())?;
        Ok(Kept {
            map: Arc::new(map),
            channels,
            facts,
            oddities,
        })
    }
}

/// Removes what was not used for long, and what programs that are gone left unfinished.
fn clear(folder: &Path) {
    let Ok(entries) = folder.read_dir() else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let most = match (name.starts_with(PARTIAL), name.ends_with(ENDING)) {
            (true, true) => ABANDONED,
            (false, true) => KEPT,
            _ => continue,
        };
        let age = entry.metadata().and_then(|m| m.modified());
        if age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > most)) {
            // One that cannot be removed only takes its place.
            let _ = fs::remove_file(entry.path());
        }
    }
}
