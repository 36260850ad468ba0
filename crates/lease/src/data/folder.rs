//! A folder of images with one sub-folder per class.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{
    DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
};

use super::{DataError, Images, Loaded, every_fifth};

/// Images with more pixels on a side are refused.
pub const MOST_SIDE: u32 = 16_384;

/// Files with more bytes are refused, and images whose pixels take more.
pub const MOST_IMAGE_BYTES: u64 = 512 << 20;

/// Reads `train/CLASS/*` and `test/CLASS/*` if both exist; else `CLASS/*`, of which every fifth image of each
/// class (in the order of the file names) is a test image. Images are resized to `side` × `side`, and are
/// grey only if all of them are.
pub(super) fn load(path: &Path, side: usize) -> Result<Loaded, DataError> {
    if !path.is_dir() {
        return Err(DataError::Missing {
            path: path.into(),
            advice: "--path must be a folder with one sub-folder of images for each class".into(),
        });
    }
    let (train, test) = (path.join("train"), path.join("test"));
    if !(train.is_dir() && test.is_dir()) {
        let classes = class_names(path)?;
        let decoded = decode(path, &classes, side)?;
        let images = join(&decoded, grey(&decoded), side);
        let test = every_fifth(&images.labels, classes.len());
        let (train, test) = images.split_off(&test);
        return Ok(("folder", classes, train, test));
    }
    let classes = class_names(&train)?;
    if let Some(unknown) = class_names(&test)?.iter().find(|c| !classes.contains(c)) {
        return Err(DataError::Invalid {
            path: test.join(unknown),
            reason: "this class has test images but no training images".into(),
        });
    }
    let train = decode(&train, &classes, side)?;
    let test = decode(&test, &classes, side)?;
    let grey = grey(&train) && grey(&test);
    let (train, test) = (join(&train, grey, side), join(&test, grey, side));
    Ok(("folder", classes, train, test))
}

type Decoded = Vec<(DynamicImage, u16)>;

/// The visible entries of a folder, sorted by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read {
        path: path.into(),
        source,
    };
    let mut found = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let folders = entries(path)?.into_iter().filter(|e| e.is_dir());
    let mut names: Vec<String> = Vec::new();
    for folder in folders {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
            return Err(DataError::Invalid {
                path: folder,
                reason: "its name, which is the class, is no UTF-8; rename it".into(),
            });
        };
        names.push(name.into());
    }
    if names.len() < 2 {
        return Err(DataError::Invalid {
            path: path.into(),
            reason: format!(
                "it has {} sub-folders; at least two classes, each a sub-folder, are needed",
                names.len()
            ),
        });
    }
    Ok(names)
}

fn decode(path: &Path, classes: &[String], side: usize) -> Result<Decoded, DataError> {
    let mut all = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let folder = path.join(class);
        let files = match folder.is_dir() {
            true => entries(&folder)?,
            false => Vec::new(),
        };
        if files.is_empty() {
            return Err(DataError::Invalid {
                path: folder,
                reason: "this class has no image".into(),
            });
        }
        for file in files {
            let image = open(&file)?;
            let side = side as u32;
            let image = if image.dimensions() == (side, side) {
                image
            } else {
                image.resize_exact(side, side, FilterType::Triangle)
            };
            all.push((image, label as u16));
        }
    }
    Ok(all)
}

fn open(file: &Path) -> Result<DynamicImage, DataError> {
    let mut bytes = Vec::new();
    // A byte more than can be, to be refused.
    File::open(file)
        .and_then(|file| file.take(MOST_IMAGE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| DataError::Read {
            path: file.into(),
            source,
        })?;
    decode_image(&bytes, file)
}

/// The image that these bytes of a file are: PNG, JPEG, BMP, GIF (the first picture) or WebP. What it takes is known
/// from its header before anything is decoded.
///
/// # Errors
/// If it is no such image, damaged or cut off, or larger than [`MOST_SIDE`] and [`MOST_IMAGE_BYTES`] allow.
pub fn decode_image(bytes: &[u8], file: &Path) -> Result<DynamicImage, DataError> {
    let invalid = |reason: String| DataError::Invalid {
        path: file.into(),
        reason,
    };
    let broken = |reason: &str| format!("it is no readable image ({reason}); remove or replace it");
    let too_large = |what: String| {
        let mib = MOST_IMAGE_BYTES >> 20;
        format!(
            "{what}, and no more than {MOST_SIDE} pixels a side and {mib} MiB are read; make it smaller, or remove it"
        )
    };
    let failed = |error: ImageError| match error {
        ImageError::Limits(_) => invalid(too_large(
            "decoding it takes more memory than its pixels".into(),
        )),
        error => invalid(broken(&error.to_string())),
    };
    if bytes.len() as u64 > MOST_IMAGE_BYTES {
        return Err(invalid(too_large("the file is too long".into())));
    }
    let format = image::guess_format(bytes).map_err(failed)?;
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(invalid(broken("the end of the file is missing")));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_IMAGE_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let size = decoder.total_bytes();
    if width.max(height) > MOST_SIDE || size > MOST_IMAGE_BYTES {
        let mib = size.div_ceil(1 << 20);
        return Err(invalid(too_large(format!(
            "it says that it has {width} × {height} pixels, {mib} MiB"
        ))));
    }
    limits.reserve(size).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    DynamicImage::from_decoder(decoder).map_err(failed)
}

/// Whether the segments of a JPEG file lead to its end marker. The decoder would accept a truncated file and
/// fill the rest with grey.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    // After the start marker.
    let mut at = 2;
    while let Some(rest) = bytes.get(at..) {
        // 0xFF followed by one of these is image data or padding, not the start of a segment.
        let data = |code| matches!(code, 0x00 | 0x01 | 0xD0..=0xD7 | 0xFF);
        let mut pairs = rest.windows(2);
        let Some(marker) = pairs.position(|pair| pair[0] == 0xFF && !data(pair[1])) else {
            return false;
        };
        match rest[marker + 1..] {
            [END, ..] => return true,
            [_, high, low, ..] => at += marker + 2 + usize::from(u16::from_be_bytes([high, low])),
            _ => return false,
        }
    }
    false
}

fn grey(images: &Decoded) -> bool {
    images.iter().all(|(image, _)| !image.color().has_color())
}

fn join(decoded: &Decoded, grey: bool, side: usize) -> Images {
    let channels = if grey { 1 } else { 3 };
    let mut images = Images {
        shape: [channels, side, side],
        white: 255,
        pixels: Vec::with_capacity(decoded.len() * channels * side * side),
        labels: Vec::with_capacity(decoded.len()),
        masks: None,
    };
    for (image, label) in decoded {
        let interleaved = if grey {
            image.to_luma8().into_raw()
        } else {
            image.to_rgb8().into_raw()
        };
        for channel in 0..channels {
            let of_channel = interleaved.iter().skip(channel).step_by(channels);
            images.pixels.extend(of_channel);
        }
        images.labels.push(*label);
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, level: u8, side: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = image::RgbImage::from_pixel(side, side, image::Rgb([level, 0, 255 - level]));
        image.save(path).unwrap();
    }

    #[test]
    fn images_are_resized_and_split_by_class() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..5u8 {
            write(&root.path().join(format!("cat/{i}.png")), 10 * i, 12);
            write(&root.path().join(format!("dog/{i}.jpg")), 200, 8);
        }
        let (_, classes, train, test) = load(root.path(), 8).unwrap();
        assert_eq!(classes, ["cat", "dog"]);
        assert_eq!(
            (train.len(), test.labels.as_slice()),
            (8, [0, 1].as_slice())
        );
        assert_eq!(train.shape, [3, 8, 8]);
        let second = &train.pixels[train.size()..][..train.size()];
        assert_eq!((second[0], second[64], second[128]), (10, 0, 245));
    }

    #[test]
    fn broken_folders_are_named() {
        let root = tempfile::tempdir().unwrap();
        let refused = || load(root.path(), 8).unwrap_err().to_string();
        assert!(refused().contains("at least two classes"));
        write(&root.path().join("a/0.png"), 1, 8);
        std::fs::create_dir(root.path().join("b")).unwrap();
        assert!(refused().contains("no image"), "{}", refused());
        std::fs::write(root.path().join("b/broken.png"), b"not a picture").unwrap();
        assert!(refused().contains("broken.png"), "{}", refused());
        write(&root.path().join("b/broken.png"), 9, 8);
        let cut = root.path().join("b/cut.jpg");
        write(&cut, 9, 64);
        let bytes = std::fs::read(&cut).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() - 20]).unwrap();
        assert!(refused().contains("cut.jpg"), "{}", refused());
        std::fs::remove_file(&cut).unwrap();
        let settings = crate::data::DataSettings {
            dataset: crate::data::DatasetKind::Folder,
            path: root.path().to_str().unwrap().into(),
            ..Default::default()
        };
        let few = crate::data::Dataset::load(&settings.into())
            .unwrap_err()
            .to_string();
        assert!(few.contains("no image is left for testing"), "{few}");
    }

    #[test]
    fn images_that_say_they_are_huge_are_refused_with_the_limit() {
        let refused = |bytes: &[u8]| {
            let error = decode_image(bytes, Path::new("huge.bin")).unwrap_err();
            error.to_string()
        };
        let two = |n: u16| n.to_le_bytes();
        let (side, long) = (two(60_000), 60_000i32.to_le_bytes());
        // A palette of two colours, and a picture that begins.
        let palette = [&[0x80, 0, 0][..], &[0; 6]].concat();
        let gif = [b"GIF89a", &side[..], &side, &palette, b",", &[0; 9]].concat();
        let bmp = |width: [u8; 4], height: [u8; 4]| {
            let file = [&b"BM"[..], &[0; 8], &[54, 0, 0, 0], &[40, 0, 0, 0]].concat();
            let depth = [&two(1)[..], &two(24), &[0; 24]].concat();
            [&file[..], &width, &height, &depth].concat()
        };
        for (bytes, told) in [
            (gif, "60000 × 60000 pixels, 13733 MiB"),
            (bmp(long, long), "60000 × 60000 pixels, 10300 MiB"),
            (bmp(long, [1, 0, 0, 0]), "60000 × 1 pixels, 1 MiB"),
            (
                bmp([0, 64, 0, 0], [0, 64, 0, 0]),
                "16384 × 16384 pixels, 768 MiB",
            ),
        ] {
            let error = refused(&bytes);
            assert!(
                error.contains("huge.bin") && error.contains(told),
                "{error}"
            );
            let limit = "no more than 16384 pixels a side and 512 MiB are read";
            assert!(error.contains(limit), "{error}");
        }
    }
}
