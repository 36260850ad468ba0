//! CIFAR-10 and CIFAR-100 in the official binary layout, unpacked or in the archive as it is downloaded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::{DataError, Images, Loaded, Watch, read};

const PIXELS: usize = 3 * 32 * 32;

/// One of the two layouts.
struct Layout {
    name: &'static str,
    folder: &'static str,
    archive: &'static str,
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
    archive: "cifar-10-binary.tar.gz",
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
    archive: "cifar-100-binary.tar.gz",
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
};

/// Reads `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` from `path`, from `cifar-10-batches-bin` in it, or from
/// the archive `cifar-10-binary.tar.gz` that `path` is or has in it.
pub(super) fn load_10(path: &Path, watch: &dyn Watch) -> Result<Loaded, DataError> {
    load(path, &CIFAR_10, watch)
}

/// Reads `train.bin` and `test.bin` in the same ways; the fine labels.
pub(super) fn load_100(path: &Path, watch: &dyn Watch) -> Result<Loaded, DataError> {
    load(path, &CIFAR_100, watch)
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

/// Where the files of a layout are.
enum Place {
    Folder(PathBuf),
    /// The archive and its files by their names.
    Archive(PathBuf, HashMap<String, Vec<u8>>),
}

fn load(path: &Path, layout: &Layout, watch: &dyn Watch) -> Result<Loaded, DataError> {
    let place = layout.place(path)?;
    let train = images(&place, layout.train, layout)?;
    let test = images(&place, &[layout.test], layout)?;
    if (train.len(), test.len()) != (50_000, 10_000) {
        watch.warn(&format!(
            "{} has {} training and {} test images, and the official set 50000 and 10000; was it fetched whole?",
            path.display(),
            train.len(),
            test.len()
        ));
    }
    Ok((layout.name, class_names(&place, layout), train, test))
}

fn images(place: &Place, names: &[&str], layout: &Layout) -> Result<Images, DataError> {
    let mut images = none();
    for name in names {
        match place {
            Place::Folder(folder) => {
                let advice = format!(
                    "{} in the official binary version has this file; --path is the folder that holds it, or {}",
                    layout.name, layout.archive
                );
                let file = folder.join(name);
                layout.read(&read(&file, &advice)?, &file, &mut images)?;
            }
            Place::Archive(archive, files) => {
                let Some(bytes) = files.get(*name) else {
                    return Err(DataError::Invalid {
                        path: archive.clone(),
                        reason: format!("it has no {name}, as {} has", layout.archive),
                    });
                };
                layout.read(bytes, &archive.join(name), &mut images)?;
            }
        }
    }
    Ok(images)
}

fn none() -> Images {
    Images::none([3, 32, 32], 255)
}

/// Whether a file begins as an archive packed by gzip does.
fn is_packed(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == [0x1F, 0x8B]
}

impl Layout {
    /// Where the files are that a path leads to.
    fn place(&self, path: &Path) -> Result<Place, DataError> {
        let invalid = |path: &Path, reason: String| {
            let path = path.into();
            Err(DataError::Invalid { path, reason })
        };
        let needed = format!(
            "give the folder of the official binary version of {}, or its archive {}",
            self.name, self.archive
        );
        if path.is_file() {
            return match is_packed(path) {
                true => self.unpacked(path),
                false => invalid(path, format!("it is no archive packed by gzip; {needed}")),
            };
        }
        let inner = path.join(self.folder);
        let has = |folder: &&PathBuf| {
            let mut names = self.train.iter().chain([&self.test]);
            names.any(|name| folder.join(name).is_file())
        };
        // Archives are unpacked into a folder of their own name, at times twice.
        let folders = [inner.join(self.folder), inner.clone(), path.into()];
        if let Some(folder) = folders.iter().find(has) {
            return Ok(Place::Folder(folder.clone()));
        }
        let archive = path.join(self.archive);
        if archive.is_file() {
            return self.unpacked(&archive);
        }
        for other in [&CIFAR_10, &CIFAR_100] {
            let there = |name: &str| {
                path.join(name).exists() || path.join(other.folder).join(name).exists()
            };
            if other.name != self.name && there(other.test) {
                let reason = format!("it holds {n}; give --dataset {n}", n = other.name);
                return invalid(path, reason);
            }
        }
        let python = [
            "cifar-10-batches-py",
            "cifar-100-python",
            "batches.meta",
            "data_batch_1",
        ];
        let archives = ["cifar-10-python.tar.gz", "cifar-100-python.tar.gz"];
        let found = python
            .iter()
            .chain(&archives)
            .find(|name| path.join(name).exists());
        if let Some(found) = found {
            return invalid(
                &path.join(found),
                format!("it is the Python version, which is not read; {needed}"),
            );
        }
        let packed = path.join(format!("{}.gz", self.train[0]));
        if packed.is_file() {
            return invalid(
                &packed,
                "it is packed; unpack it and the other files (gunzip)".into(),
            );
        }
        Ok(Place::Folder(if inner.is_dir() {
            inner
        } else {
            path.into()
        }))
    }

    /// The files of an archive.
    fn unpacked(&self, path: &Path) -> Result<Place, DataError> {
        /// No archive of either set has more bytes in it.
        const MOST: u64 = 512 << 20;
        let invalid = |reason: String| DataError::Invalid {
            path: path.into(),
            reason,
        };
        let damaged = |error: io::Error| {
            invalid(format!(
                "it is damaged or no such archive ({error}); fetch it again"
            ))
        };
        let file = File::open(path).map_err(damaged)?;
        let mut archive = tar::Archive::new(GzDecoder::new(file).take(MOST));
        let mut files = HashMap::new();
        let wanted = |name: &str| {
            let mut names = self.train.iter().chain([&self.test, &self.names]);
            names.any(|wanted| *wanted == name)
        };
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = entry.path().map_err(damaged)?;
            let folder = name
                .components()
                .next()
                .map(|c| c.as_os_str().to_string_lossy().into_owned());
            let name = name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if folder.is_some_and(|folder| folder.ends_with("-py") || folder.ends_with("-python")) {
                let reason = "it is the Python version, which is not read";
                return Err(invalid(format!("{reason}; give {}", self.archive)));
            }
            if wanted(&name) && entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                files.insert(name, bytes);
            }
        }
        if !files.contains_key(self.test)
            && let Some(other) = [&CIFAR_10, &CIFAR_100]
                .into_iter()
                .find(|l| l.name != self.name)
        {
            let (test, name) = (self.test, other.name);
            let reason = format!("it has no {test}; if it is of {name}, give --dataset {name}");
            return Err(invalid(reason));
        }
        Ok(Place::Archive(path.into(), files))
    }

    /// Adds the images of a file.
    fn read(&self, bytes: &[u8], file: &Path, images: &mut Images) -> Result<(), DataError> {
        let record = self.label_bytes + PIXELS;
        let invalid = |reason: String| DataError::Invalid {
            path: file.into(),
            reason,
        };
        // What Python's pickles of protocols 2 to 5 begin with; as a record, a label of no class.
        if let [0x80, 2..=5, ..] = bytes {
            let reason = "it is a file of the Python version by another name, which is not read";
            return Err(invalid(format!(
                "{reason}; fetch the binary version, {}",
                self.archive
            )));
        }
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
            images.add(pixels, label);
        }
        Ok(())
    }
}

/// The names beside the data, or numbers.
fn class_names(place: &Place, layout: &Layout) -> Vec<String> {
    let text = match place {
        Place::Folder(folder) => std::fs::read_to_string(folder.join(layout.names)).ok(),
        Place::Archive(_, files) => {
            let bytes = files.get(layout.names).cloned();
            bytes.and_then(|bytes| String::from_utf8(bytes).ok())
        }
    };
    let text = text.unwrap_or_default();
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
    use crate::data::Unwatched;

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
        let (_, classes, train, test) = load_10(folder.path(), &Unwatched).unwrap();
        assert_eq!(
            (&train.labels[..], &test.labels[..]),
            (&[0, 1, 2, 3, 4][..], &[4][..])
        );
        assert_eq!((train.image(0)[0], train.image(1)[0]), (1, 2));
        assert_eq!(classes[9], "9");
    }

    #[test]
    fn an_archive_is_read_as_its_files_are() {
        let folder = tempfile::tempdir().unwrap();
        write_batches(folder.path());
        let archive = folder.path().join("any-name.tar.gz");
        let pack = |inner: &str| {
            let file = std::fs::File::create(&archive).unwrap();
            let packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            let mut tar = tar::Builder::new(packed);
            for entry in folder.path().read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path != archive {
                    let name = Path::new(inner).join(path.file_name().unwrap());
                    tar.append_path_with_name(&path, name).unwrap();
                }
            }
            tar.into_inner().unwrap().finish().unwrap();
        };
        pack("cifar-10-batches-bin");
        let (_, _, train, test) = load_10(&archive, &Unwatched).unwrap();
        assert_eq!(
            (&train.labels[..], &test.labels[..]),
            (&[0, 1, 2, 3, 4][..], &[4][..])
        );
        assert_eq!(train.image(1)[0], 2);
        let refused = || load_10(&archive, &Unwatched).unwrap_err().to_string();
        let bytes = std::fs::read(&archive).unwrap();
        std::fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
        assert!(refused().contains("damaged"), "{}", refused());
        pack("cifar-10-batches-py");
        assert!(refused().contains("Python version"), "{}", refused());
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write_batches(folder.path());
        let file = folder.path().join("data_batch_3.bin");
        let refused = || load_10(folder.path(), &Unwatched).unwrap_err().to_string();
        std::fs::write(&file, vec![0; PIXELS]).unwrap();
        assert!(refused().contains("data_batch_3.bin") && refused().contains("record 1 is cut"));
        std::fs::write(&file, vec![10; PIXELS + 1]).unwrap();
        assert!(refused().contains("record 1 has label 10"), "{}", refused());
        std::fs::remove_file(&file).unwrap();
        assert!(refused().contains("there is no"), "{}", refused());
    }
}
