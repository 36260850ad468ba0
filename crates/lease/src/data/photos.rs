//! What fits the images of files: their size, and for photos a recipe.

use std::io::Cursor;
use std::path::Path;

use image::{ImageDecoder, ImageReader};
use toml::{Table, Value};

use super::listing::Item;
use super::picture::contents;
use super::{DataSettings, DatasetKind, Unwatched, folder, formats, table};
use crate::config::{ConfigError, ImageSize, Section, overlay, preset};
use crate::network::{NetworkSettings, Stem};

/// The smallest side of images of which DARTS's auxiliary head for photos finds enough after two thirds of the cells.
const LEAST_WITH_AUXILIARY: usize = 6 * 32 + 1;

/// The files whose sizes are looked at, spread over the training images.
const LOOKED_AT: usize = 50;

/// The shorter side from which on images are brought to more pixels, and to how many; to [`SMALL`] before.
const SIZES: [(u32, usize); 2] = [(80, 96), (48, 64)];

/// The size of small images.
const SMALL: usize = 32;

/// What lies under all presets: the size that fits the images of files, if these values set none, and what fits photos.
///
/// # Errors
/// If a value cannot be read.
pub fn presets(values: &Table) -> Result<Vec<Table>, ConfigError> {
    let sized = sized(values)?;
    let mut all = sized.clone();
    all.entry(NetworkSettings::INFO.name)
        .or_insert_with(|| Value::Table(Table::new()));
    all.entry(DataSettings::INFO.name)
        .or_insert_with(|| Value::Table(Table::new()));
    overlay(&mut all, values);
    Ok(vec![sized, photos(&all)?])
}

/// The size that fits the images, if these values set none and the files can be looked at. What keeps them from that is told
/// when they are read.
fn sized(values: &Table) -> Result<Table, ConfigError> {
    let data = values
        .get(DataSettings::INFO.name)
        .and_then(Value::as_table);
    if data.is_none_or(|data| data.contains_key("image_size")) {
        return Ok(Table::new());
    }
    let settings = DataSettings::of(values)?;
    let path = Path::new(&settings.path);
    let listing = match settings.dataset {
        DatasetKind::Folder => folder::list(path, &Unwatched),
        DatasetKind::Csv => table::list(path, &Unwatched),
        _ => return Ok(Table::new()),
    };
    let Some(side) = listing
        .ok()
        .and_then(|listing| shorter_side(&listing.train))
    else {
        return Ok(Table::new());
    };
    let found = SIZES.into_iter().find(|(least, _)| side >= *least);
    let mut data = Table::new();
    let size = ImageSize::square(found.map_or(SMALL, |(_, size)| size));
    data.insert("image_size".into(), size.value());
    let mut all = Table::new();
    all.insert(DataSettings::INFO.name.into(), Value::Table(data));
    Ok(all)
}

/// The median of the shorter sides of some of these files, of those that can be read.
pub(super) fn shorter_side(items: &[Item]) -> Option<u32> {
    let count = items.len().min(LOOKED_AT);
    let some = (0..count).map(|n| &items[n * items.len() / count].file);
    let side = |file: &Path| {
        let bytes = contents(file).ok()?;
        let format = formats::of(&bytes).ok()?;
        let reader = ImageReader::with_format(Cursor::new(&bytes), format);
        let (width, height) = reader.into_decoder().ok()?.dimensions();
        Some(width.min(height))
    };
    let mut sides: Vec<u32> = some.filter_map(|file| side(file)).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied()
}

/// What fits photos, where these values say that the images are some: those of files, on which networks have the stem for
/// photos. Nothing else fits all spaces, so that it lies under their own recipes.
///
/// # Errors
/// If a value cannot be read.
fn photos(values: &Table) -> Result<Table, ConfigError> {
    let stem = NetworkSettings::of(values)?.stem;
    let Some(frame) = DataSettings::of(values)?.frame() else {
        return Ok(Table::new());
    };
    let [height, width] = [frame.size.height, frame.size.width];
    if stem.for_images([3, height, width]) == Stem::Cifar {
        return Ok(Table::new());
    }
    let mut all = preset(include_str!("photos.toml"))?;
    if height.min(width) < LEAST_WITH_AUXILIARY
        && let Some(Value::Table(train)) = all.get_mut("train")
    {
        train.insert("auxiliary".into(), Value::Float(0.0));
    }
    Ok(all)
}
