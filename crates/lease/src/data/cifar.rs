//! CIFAR-10 and CIFAR-100 in the official binary layout.

use std::path::{Path, PathBuf};

use super::{DataError, Images, Loaded, read};

const PIXELS: usize = 3 * 32 * 32;

/// One of the two layouts.
struct Layout {
    name: &'static str,
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    names: &'static str,
    classes: usize,
    /// Bytes before the pixels; the last of them is the label.
    label_bytes: usize,
}

const CIFAR_10: Layout = Layout {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    names: "batches.meta.txt",
    classes: 10,
    label_bytes: 1,
};

const CIFAR_100: Layout = Layout {
    name: "cifar100",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
};

/// Reads `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` from `path`, or from
/// `cifar-10-batches-bin` in it.
pub(super) fn load_10(path: &Path) -> Result<Loaded, DataError> {
    load(path, &CIFAR_10)
}

/// Reads `train.bin` and `test.bin` from `path`, or from `cifar-100-binary` in it; the fine labels.
pub(super) fn load_100(path: &Path) -> Result<Loaded, DataError> {
    load(path, &CIFAR_100)
}

/// The images that the bytes of a file of CIFAR-10 are.
///
/// # Errors
/// If they are no whole records, or a label is of no class.
pub fn cifar_10(bytes: &[u8], path: &Path) -> Result<Images, DataError> {
    let mut images = none();
    CIFAR_10.read(bytes, path, &mut images)?;
    Ok(images)
}

/// The images that the bytes of a file of CIFAR-100 are, with the fine labels.
///
/// # Errors
/// As [`cifar_10`].
pub fn cifar_100(bytes: &[u8], path: &Path) -> Result<Images, DataError> {
    let mut images = none();
    CIFAR_100.read(bytes, path, &mut images)?;
    Ok(images)
}

fn load(path: &Path, layout: &Layout) -> Result<Loaded, DataError> {
    let inner = path.join(layout.folder);
    let folder = if inner.is_dir() { inner } else { path.into() };
    let files = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(|n| folder.join(n)).collect() };
    let train = images(&files(layout.train), layout)?;
    let test = images(&files(&[layout.test]), layout)?;
    Ok((layout.name, class_names(&folder, layout), train, test))
}

fn images(files: &[PathBuf], layout: &Layout) -> Result<Images, DataError> {
    let mut images = none();
    for file in files {
        let advice = format!(
            "{} in the official binary version has this file; --path is the folder that holds it",
            layout.name
        );
        layout.read(&read(file, &advice)?, file, &mut images)?;
    }
    Ok(images)
}

fn none() -> Images {
    Images {
        shape: [3, 32, 32],
        white: 255,
        pixels: Vec::new(),
        labels: Vec::new(),
        masks: None,
    }
}

impl Layout {
    /// Adds the images of a file.
    fn read(&self, bytes: &[u8], file: &Path, images: &mut Images) -> Result<(), DataError> {
        let record = self.label_bytes + PIXELS;
        let invalid = |reason: String| DataError::Invalid {
            path: file.into(),
            reason,
        };
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            return Err(invalid(format!(
                "its {} bytes are not whole records of {record} bytes: record {} is cut off; \
                 fetch the file again",
                bytes.len(),
                bytes.len() / record + 1
            )));
        }
        for (i, record) in bytes.chunks_exact(record).enumerate() {
            let (label, pixels) = record.split_at(self.label_bytes);
            let label = u16::from(label[self.label_bytes - 1]);
            if usize::from(label) >= self.classes {
                return Err(invalid(format!(
                    "record {} has label {label}, but there are only {} classes",
                    i + 1,
                    self.classes
                )));
            }
            images.pixels.extend(pixels);
            images.labels.push(label);
        }
        Ok(())
    }
}

/// The names beside the data, or numbers.
fn class_names(folder: &Path, layout: &Layout) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(layout.names)).unwrap_or_default();
    let names: Vec<String> = text
        .lines()
        .map(|l| l.trim().to_string())
        .filter(|l| !l.is_empty())
        .collect();
    if names.len() == layout.classes {
        names
    } else {
        (0..layout.classes).map(|i| i.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_batches(folder: &Path) {
        for i in 1..=5u8 {
            let mut bytes = vec![i; PIXELS + 1];
            bytes[0] = i - 1;
            std::fs::write(folder.join(format!("data_batch_{i}.bin")), &bytes).unwrap();
            std::fs::write(folder.join("test_batch.bin"), &bytes).unwrap();
        }
    }

    #[test]
    fn records_are_read_in_file_order() {
        let folder = tempfile::tempdir().unwrap();
        write_batches(folder.path());
        let (_, classes, train, test) = load_10(folder.path()).unwrap();
        assert_eq!((train.labels, test.labels), (vec![0, 1, 2, 3, 4], vec![4]));
        assert_eq!((train.pixels[0], train.pixels[PIXELS]), (1, 2));
        assert_eq!(classes[9], "9");
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write_batches(folder.path());
        let file = folder.path().join("data_batch_3.bin");
        let refused = || load_10(folder.path()).unwrap_err().to_string();
        std::fs::write(&file, vec![0; PIXELS]).unwrap();
        assert!(refused().contains("data_batch_3.bin") && refused().contains("record 1 is cut"));
        std::fs::write(&file, vec![10; PIXELS + 1]).unwrap();
        assert!(refused().contains("record 1 has label 10"), "{}", refused());
        std::fs::remove_file(&file).unwrap();
        assert!(refused().contains("there is no"), "{}", refused());
    }
}
