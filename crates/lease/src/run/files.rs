//! Writing files so that a kill at any moment leaves them whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes to a temporary name beside `path`, flushes to the disk, and renames.
///
/// # Errors
/// As the file system reports.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    // The rename itself is in the folder.
    File::open(folder)?.sync_all()
}
