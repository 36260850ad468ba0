//! Images in files, from the file to the data set.

mod cached;
mod folders;
mod pictures;

use std::path::Path;
use std::sync::Mutex;

use super::{DataSettings, Dataset, DatasetKind, Watch};

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn has(&self, text: &str) -> bool {
        self.all().contains(text)
    }
}

impl Watch for Told {
    fn started(&self, files: usize) {
        self.note(&format!("decoding {files}"));
    }
    fn read(&self) {}
    fn ended(&self) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.into());
    }
    fn warn(&self, message: &str) {
        self.note(message);
    }
}

/// Writes an image of one colour, different for each number.
fn write(path: &Path, number: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = image::RgbImage::from_pixel(9, 7, image::Rgb([number, 0, 255 - number]));
    image.save(path).unwrap();
}

fn settings(path: &Path) -> DataSettings {
    DataSettings {
        dataset: DatasetKind::Folder,
        path: path.to_str().unwrap().into(),
        image_size: crate::config::ImageSize::square(8),
        cache: "none".into(),
        ..DataSettings::default()
    }
}

/// What comes of a data set: its classes and numbers of images, or the error; and what was told.
fn loaded(settings: DataSettings) -> (Result<Dataset, String>, Told) {
    let told = Told::default();
    let dataset = Dataset::load_watched(&settings.into(), &told);
    (dataset.map_err(|e| e.to_string()), told)
}

fn refused(settings: DataSettings) -> String {
    loaded(settings).0.unwrap_err()
}
