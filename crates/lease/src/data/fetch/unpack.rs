//! Out of the archive.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Archive, FetchError, failed};

/// Text files beside the images are not larger.
const MOST_TEXT: u64 = 1 << 20;

/// Whether a folder has all files of an archive.
///
/// # Errors
/// If it has not, but is there.
pub(super) fn is_there(archive: &Archive, folder: &Path) -> Result<bool, FetchError> {
    if folder.symlink_metadata().is_err() {
        return Ok(false);
    }
    let lacks = archive.files.iter().find(|(name, bytes)| {
        let metadata = fs::metadata(folder.join(name))
            .ok()
            .filter(fs::Metadata::is_file);
        metadata.is_none_or(|file| bytes.is_some_and(|bytes| file.len() != bytes))
    });
    match lacks {
        None => Ok(true),
        Some((name, _)) => Err(FetchError::InTheWay {
            path: folder.into(),
            reason: format!(
                "is there, but {name} in it is missing or not whole; remove the folder, and the same command makes it anew"
            ),
        }),
    }
}

/// Unpacks the files that are known of an archive, whose checksum was right, into `folder`.
pub(super) fn unpack(
    archive: &Archive,
    file: &mut File,
    path: &Path,
    folder: &Path,
) -> Result<(), FetchError> {
    let partial = folder.with_file_name(format!(
        ".partial-{}-{}",
        std::process::id(),
        archive.folder
    ));
    let done = write(archive, file, path, &partial)
        .and_then(|()| fs::rename(&partial, folder).map_err(|source| failed(folder, source)));
    if done.is_err() {
        // What cannot be removed is named as unfinished.
        let _ = fs::remove_dir_all(&partial);
    }
    done
}

fn write(
    archive: &Archive,
    file: &mut File,
    path: &Path,
    partial: &Path,
) -> Result<(), FetchError> {
    file.rewind().map_err(|source| failed(path, source))?;
    fs::create_dir_all(partial).map_err(|source| failed(partial, source))?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut missing: Vec<&str> = archive.files.iter().map(|(name, _)| *name).collect();
    let broken = |reason: String| FetchError::InTheWay {
        path: path.into(),
        reason,
    };
    let entries = tar
        .entries()
        .map_err(|e| broken(format!("cannot be unpacked: {e}")))?;
    for entry in entries {
        let mut entry = entry.map_err(|e| broken(format!("cannot be unpacked: {e}")))?;
        // By their names alone, wherever the archive would have them go.
        let name = entry.path().ok().and_then(|path| {
            let name = path.file_name()?.to_str()?;
            let known = archive.files.iter().find(|(known, _)| *known == name)?;
            Some(*known)
        });
        let Some((name, bytes)) = name.filter(|(name, _)| missing.contains(name)) else {
            continue;
        };
        let to = partial.join(name);
        let most = bytes.unwrap_or(MOST_TEXT);
        let written = File::create(&to)
            .and_then(|mut out| {
                let written = io::copy(&mut (&mut entry).take(most + 1), &mut out)?;
                out.sync_all()?;
                Ok(written)
            })
            .map_err(|source| failed(&to, source))?;
        if written > most || bytes.is_some_and(|bytes| bytes != written) {
            return Err(broken(format!(
                "has {name} with another size than it should have"
            )));
        }
        missing.retain(|wanted| *wanted != name);
    }
    match missing.first() {
        None => Ok(()),
        Some(name) => Err(broken(format!("has no {name}"))),
    }
}
