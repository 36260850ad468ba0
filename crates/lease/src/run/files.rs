//! Writing files so that a kill at any moment leaves them whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What unfinished files begin with.
pub const PARTIAL: &str = ".partial-";

/// Writes to a temporary name beside `path`, flushes to the disk, and renames. The file has the mode that the umask
/// gives, or that of the file it takes the place of.
///
/// # Errors
/// As the file system reports; then the temporary file is gone and `path` is as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.join(format!("{PARTIAL}{}-{name}", std::process::id()));
    let written = write_through(&partial, bytes).and_then(|()| {
        if let Ok(before) = fs::metadata(path) {
            fs::set_permissions(&partial, before.permissions())?;
        }
        fs::rename(&partial, path)
    });
    if let Err(error) = written {
        // What cannot be removed either is passed over by every reader.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    // The rename itself is in the folder.
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what a kill left unfinished in a folder, while no other process writes there.
pub fn remove_partial(folder: &Path) {
    let Ok(entries) = folder.read_dir() else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            // One that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What is in a folder but for unfinished files, sorted; nothing if there is no folder.
///
/// # Errors
/// If it is no folder, or cannot be read.
pub fn contents(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn files_have_the_modes_of_ordinary_ones_and_keep_those_they_had() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let plain = folder.path().join("plain");
        fs::write(&plain, b"x").unwrap();
        let ours = folder.path().join("ours");
        write_atomically(&ours, b"x").unwrap();
        assert_eq!(mode(&ours), mode(&plain));
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&ours, b"y").unwrap();
        assert_eq!(mode(&ours) & 0o777, 0o640);
        assert_eq!(contents(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), b"x").unwrap();
        assert!(write_atomically(&taken, b"y").is_err());
        let left = folder.path().read_dir().unwrap().count();
        assert_eq!(left, 1);
    }
}
