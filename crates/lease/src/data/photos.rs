//! What fits photos.

use toml::{Table, Value};

use super::DataSettings;
use crate::config::{ConfigError, Section, preset};
use crate::network::{NetworkSettings, Stem};

/// The smallest side of images of which DARTS's auxiliary head for photos finds enough after two thirds of the cells.
const LEAST_WITH_AUXILIARY: usize = 6 * 32 + 1;

/// What fits photos, where these values say that the images are some: those of files, on which networks have the stem for
/// photos. Nothing else fits all spaces, so that it lies under their own recipes.
///
/// # Errors
/// If a value cannot be read.
pub fn photos(values: &Table) -> Result<Table, ConfigError> {
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
