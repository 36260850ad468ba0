//! Shapes as a folder of PNG files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use super::{Picture, ShapesSettings};
use crate::config::Composite;
use crate::data::DataError;

/// The file that says how the images were made.
const SETTINGS_FILE: &str = "shapes.toml";

/// What a folder is called until it is whole begins with this.
const PARTIAL: &str = ".partial-";

/// Writes all images as `train/CLASS/N.png` and `test/CLASS/N.png` with their masks (white where the object is) under the same
/// names in `masks/`, and the settings as `shapes.toml`. The folder is there once all of it is written, or not at all; `done`
/// hears how many images there are as they become more. Nothing is returned if `stop` was set before the end.
///
/// # Errors
/// If there is something of this name already, or the system refuses.
pub fn write(
    settings: &ShapesSettings,
    folder: &Path,
    done: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Option<()>, DataError> {
    if folder
        .read_dir()
        .map_or(folder.symlink_metadata().is_ok(), |mut e| {
            e.next().is_some()
        })
    {
        return Err(DataError::Invalid {
            path: folder.into(),
            reason: "it is there already; choose another folder, or remove it".into(),
        });
    }
    let (above, name) = match (folder.parent(), folder.file_name()) {
        (Some(above), Some(name)) => (above, name),
        _ => {
            return Err(DataError::Invalid {
                path: folder.into(),
                reason: "it has no name of its own; name a folder that is to be made".into(),
            });
        }
    };
    let partial = above.join(format!(
        "{PARTIAL}{}-{}",
        std::process::id(),
        name.to_string_lossy()
    ));
    let written = write_all(settings, &partial, done, stop).and_then(|whole| {
        if whole.is_some() {
            fs::rename(&partial, folder).map_err(|source| failed(folder, source))?;
        }
        Ok(whole)
    });
    if !matches!(written, Ok(Some(()))) {
        // What cannot be removed is named as unfinished.
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::Write {
        path: path.into(),
        source,
    }
}

fn write_all(
    settings: &ShapesSettings,
    folder: &Path,
    done: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Option<()>, DataError> {
    let names = settings.names();
    for part in ["train", "test"] {
        for name in &names {
            for root in [folder.to_path_buf(), folder.join("masks")] {
                let class = root.join(part).join(name);
                fs::create_dir_all(&class).map_err(|source| failed(&class, source))?;
            }
        }
    }
    let count = AtomicUsize::new(0);
    let all = 0..settings.count + settings.test_count;
    all.into_par_iter().try_for_each(|number| {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (part, place) = match number.checked_sub(settings.count) {
            None => ("train", number),
            Some(place) => ("test", place),
        };
        let file: PathBuf = [
            part,
            &names[settings.class_of(place)],
            &format!("{place:06}.png"),
        ]
        .iter()
        .collect();
        write_one(&settings.picture(number), settings.side, folder, &file)?;
        done(count.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    })?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let path = folder.join(SETTINGS_FILE);
    fs::write(&path, settings.to_toml()).map_err(|source| failed(&path, source))?;
    Ok(Some(()))
}

fn write_one(picture: &Picture, side: usize, folder: &Path, file: &Path) -> Result<(), DataError> {
    let area = side * side;
    let pixels: Vec<u8> = (0..area)
        .flat_map(|at| [0, 1, 2].map(|channel| picture.pixels[channel * area + at]))
        .collect();
    let mask: Vec<u8> = picture.mask.iter().map(|m| 255 * u8::from(*m)).collect();
    for (path, bytes, colour) in [
        (folder.join(file), pixels, ExtendedColorType::Rgb8),
        (folder.join("masks").join(file), mask, ExtendedColorType::L8),
    ] {
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
            .write_image(&bytes, side as u32, side as u32, colour)
            .map_err(io::Error::other)
            .and_then(|()| fs::write(&path, png))
            .map_err(|source| failed(&path, source))?;
    }
    Ok(())
}
