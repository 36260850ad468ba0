//! Images: records of CIFAR, images in files, folders of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lease::data::{self, DataSettings, Dataset, DatasetKind};

use super::folders::{emptied, in_folder};
use super::{Outcome, told};

/// Records of CIFAR: of CIFAR-100 if the first byte is odd. The byte is no part of them.
pub fn cifar(bytes: &[u8]) -> Outcome {
    let (kind, records) = bytes.split_first().unwrap_or((&0, &[]));
    let path = Path::new("data_batch_1.bin");
    let (images, classes) = match kind % 2 {
        0 => (data::cifar_10(records, path), 10),
        _ => (data::cifar_100(records, path), 100),
    };
    let images = images.map_err(told)?;
    assert!(!images.is_empty() && images.iter().all(|image| image.len() == images.size()));
    assert!(images.labels.iter().all(|label| *label < classes));
    Ok(())
}

/// An image in a file.
pub fn image(bytes: &[u8]) -> Outcome {
    let image = data::decode_image(bytes, Path::new("image.png")).map_err(told)?;
    let image = image.image;
    let (width, height) = (image.width(), image.height());
    assert!(width.max(height) <= data::MOST_SIDE);
    assert!(image.as_bytes().len() as u64 <= data::MOST_IMAGE_BYTES);
    Ok(())
}

/// No more files are put into a folder.
const MOST_FILES: usize = 24;

/// A folder of images. Files follow one another: a name up to a line's end, the length of the contents in two bytes,
/// the contents. A name that ends with a slash is a folder.
pub fn folder(bytes: &[u8]) -> Outcome {
    in_folder(|folder| {
        emptied(folder);
        let mut rest = bytes;
        for _ in 0..MOST_FILES {
            let Some((name, content)) = next(&mut rest) else {
                break;
            };
            let Some(path) = path_of(name) else {
                continue;
            };
            let file = folder.join(path);
            // What cannot be made, such as a folder where there is a file, is left out.
            if name.ends_with(b"/") {
                let _ = fs::create_dir_all(&file);
            } else if let Some(parent) = file.parent() {
                let _ = fs::create_dir_all(parent).and_then(|()| fs::write(&file, content));
            }
        }
        let settings = DataSettings {
            dataset: DatasetKind::Folder,
            path: folder.to_string_lossy().into_owned(),
            image_size: lease::config::ImageSize::square(4),
            ..DataSettings::default()
        };
        let dataset = Dataset::load(&settings.into()).map_err(told)?;
        let images = &dataset.train;
        assert!(
            images.shape[1..] == [4, 4] && images.iter().all(|image| image.len() == images.size())
        );
        assert!(!dataset.test().is_empty() && dataset.classes.len() > 1);
        Ok(())
    })
}

/// A file's name and contents.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let (name, after) = (&rest[..end], &rest[end + 1..]);
    let (length, after) = after.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
    let (content, after) = after.split_at(length);
    *rest = after;
    Some((name, content))
}

/// A name as a path that stays within a folder.
fn path_of(name: &[u8]) -> Option<PathBuf> {
    let parts = name.split(|b| *b == b'/').filter(|p| !p.is_empty());
    let parts: Vec<&[u8]> = parts.collect();
    let stays = |part: &&[u8]| ![&b"."[..], b".."].contains(part) && !part.contains(&0);
    let short = parts.len() <= 4 && parts.iter().all(|part| part.len() <= 64);
    (short && !parts.is_empty() && parts.iter().all(stays))
        .then(|| parts.iter().map(|part| OsStr::from_bytes(part)).collect())
}
