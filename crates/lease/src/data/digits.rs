//! The embedded handwritten digits (see `data/README.md` for source and licence).

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{DataError, Images, Loaded, parts};

const FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// The 1,797 images; every fifth of each class is a test image.
pub(super) fn load() -> Result<Loaded, DataError> {
    let invalid = |reason: String| DataError::Invalid {
        path: Path::new("the embedded digits").into(),
        reason,
    };
    let mut text = String::new();
    GzDecoder::new(FILE)
        .read_to_string(&mut text)
        .map_err(|e| invalid(e.to_string()))?;
    let mut images = Images::none([1, 8, 8], 16);
    for (row, line) in text.lines().enumerate() {
        let values: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        match values.as_deref() {
            Ok([pixels @ .., label]) if pixels.len() == 64 && *label < 10 => {
                images.add(pixels, u16::from(*label));
            }
            _ => return Err(invalid(format!("row {} is no image", row + 1))),
        }
    }
    let test = parts::every_fifth(&images.labels, 10);
    let (test, train) = images.split(&test);
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Ok(("digits", classes, train, test))
}
