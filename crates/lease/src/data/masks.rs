//! Masks beside the images of a folder: which of their pixels matter.

use std::path::{Path, PathBuf};

use image::DynamicImage;
use rayon::prelude::*;

use super::listing::Item;
use super::picture::{contents, decode_image};
use super::{DataError, Frame, Watch};

/// The folder beside the parts that has them.
pub(super) const FOLDER: &str = "masks";

/// The masks of these files, `[height, width]` each, from files of the same names (or with the ending .png) in the folder of masks:
/// what is lighter than half of white matters. None if there is no such folder, or it has not all of them.
///
/// # Errors
/// If one cannot be read.
pub(super) fn of(
    root: &Path,
    items: &[Item],
    frame: Frame,
    watch: &dyn Watch,
) -> Result<Option<Vec<bool>>, DataError> {
    let folder = root.join(FOLDER);
    if !folder.is_dir() {
        return Ok(None);
    }
    let files: Vec<Option<PathBuf>> = items.iter().map(|item| file(root, &folder, item)).collect();
    if let Some(missing) = files.iter().position(Option::is_none) {
        let count = files.iter().filter(|file| file.is_none()).count();
        watch.warn(&format!(
            "{} lacks the masks of {count} of {} images (the first is that of {}): none are used.",
            folder.display(),
            items.len(),
            items[missing].file.display()
        ));
        return Ok(None);
    }
    let read = |file: &PathBuf| mask(file, frame);
    let masks: Result<Vec<Vec<bool>>, DataError> = files.par_iter().flatten().map(read).collect();
    watch.note(&format!("Which pixels matter is read from {FOLDER}."));
    Ok(Some(masks?.concat()))
}

/// The file of an image's mask.
fn file(root: &Path, folder: &Path, item: &Item) -> Option<PathBuf> {
    let same = folder.join(item.file.strip_prefix(root).ok()?);
    [same.clone(), same.with_extension("png")]
        .into_iter()
        .find(|file| file.is_file())
}

fn mask(file: &Path, frame: Frame) -> Result<Vec<bool>, DataError> {
    let mask = decode_image(&contents(file)?, file)?.image.into_luma8();
    let mask = frame.fitted(&DynamicImage::ImageLuma8(mask)).into_luma8();
    Ok(mask.iter().map(|level| *level > 127).collect())
}
