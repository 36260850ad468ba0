//! Images in files: decoded on all cores, and kept on disk where that is worth it.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cache::{self, Kept, Place, Writing};
use super::images::Facts;
use super::listing::{Item, Listing};
use super::photos::shorter_side;
use super::picture::{Oddities, Oddity, Reading, contents};
use super::{DataError, DataSettings, Images, Loaded, Watch, masks, parts};
use crate::memory;

/// Data sets whose files, or whose decoded images, have fewer bytes are read anew every time, unless a folder is named.
const LEAST_KEPT: u64 = 32 << 20;

/// What else than the version tells apart how images are resized: raised where the same settings give other pixels.
const RESIZING: [u8; 1] = [1];

/// Files that are decoded before they are written: as many as have so many bytes of pixels, but no more.
const AT_ONCE: (usize, usize) = (64 << 20, 256);

/// Files that cannot be read are named up to this many.
const MOST_NAMED: usize = 20;

/// Decoded images.
struct Decoded {
    images: Images,
    oddities: Vec<Oddities>,
}

/// The files of a listing's training and test images, as many as are wanted.
pub(super) fn wanted(listing: &Listing, settings: &DataSettings) -> [Vec<Item>; 2] {
    let classes = listing.classes.len();
    let limited = |items: &[Item], limit: usize| -> Vec<Item> {
        let labels: Vec<u16> = items.iter().map(|item| item.label).collect();
        let wanted = parts::limited(&labels, classes, limit);
        wanted.iter().map(|n| items[*n as usize].clone()).collect()
    };
    [
        limited(&listing.train, settings.limit),
        limited(&listing.test, settings.test_limit),
    ]
}

/// The images of a data set's files, as many as are wanted.
pub(super) fn load(
    name: &'static str,
    mut listing: Listing,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Result<Loaded, DataError> {
    let root = Path::new(&settings.path);
    let [train, test] = wanted(&listing, settings);
    let (trained, items) = (train.len(), [train, test].concat());
    let troubles = std::mem::take(&mut listing.troubles);
    let reading = settings.reading();
    let frame = reading.frame;
    if let Some(side) = shorter_side(&items[..trained]) {
        watch.note(&format!(
            "Images are brought to {}×{} pixels (--image-size); the shorter sides of their files have {side} in the median.",
            frame.size.height, frame.size.width
        ));
    }
    let decoded = Files {
        root,
        items: &items,
        reading,
        watch,
    }
    .decoded(&settings.cache, troubles)?;
    tell_oddities(&decoded.oddities, &items, settings, watch);
    let (mut train, mut test) = decoded.images.parted(trained as u32);
    if let Some(mut masks) = masks::of(root, &items, frame, watch)? {
        test.masks = Some(masks.split_off(trained * train.area()));
        train.masks = Some(masks);
    }
    Ok((name, listing.classes, train, test))
}

/// Files to be decoded.
struct Files<'a> {
    root: &'a Path,
    items: &'a [Item],
    reading: Reading,
    watch: &'a dyn Watch,
}

/// Where decoded images go.
enum Sink {
    Memory(Vec<u8>),
    File(Writing),
}

impl Files<'_> {
    fn area(&self) -> usize {
        self.reading.size().iter().product()
    }

    /// The images of all files, from the cache or decoded.
    fn decoded(&self, cache: &str, troubles: Vec<DataError>) -> Result<Decoded, DataError> {
        if !troubles.is_empty() {
            // Others are named with them.
            self.decode(None, troubles)?;
        }
        let Some((folder, named)) = self.folder(cache) else {
            return self.decode(None, Vec::new());
        };
        let place = self.place(folder);
        if let Some(kept) = place.find(self.items.len(), self.area()) {
            return Ok(self.kept(kept));
        }
        match place.begin() {
            Ok(writing) => self.decode(Some(writing), Vec::new()),
            Err(source) if named => Err(DataError::Read {
                path: place.path(),
                source,
            }),
            Err(error) => {
                self.watch.warn(&format!(
                    "Decoded images cannot be kept in {} ({error}); name another folder by --cache.",
                    place.path().display()
                ));
                self.decode(None, Vec::new())
            }
        }
    }

    /// The folder of decoded images, and whether it was named; nothing if none are to be kept.
    fn folder(&self, cache: &str) -> Option<(PathBuf, bool)> {
        match cache {
            "none" => None,
            "" => {
                let files: u64 = self.items.iter().map(|item| item.stamp.bytes).sum();
                let images = (self.items.len() * 3 * self.area()) as u64;
                let worth_it = files.max(images) >= LEAST_KEPT;
                let folder = dirs::cache_dir().filter(|_| worth_it)?;
                Some((folder.join("lease").join("images"), false))
            }
            folder => Some((folder.into(), true)),
        }
    }

    /// Where the images of these files lie: the name says where they are from and how they are read, the key which
    /// files they are.
    fn place(&self, folder: PathBuf) -> Place {
        let root = self.root.canonicalize();
        let root = root.as_deref().unwrap_or(self.root);
        let name = format!("{:?} {:?} {}", root, self.reading, self.items.len());
        let mut key = Sha256::new();
        key.update(env!("CARGO_PKG_VERSION"));
        key.update(RESIZING);
        key.update(&name);
        for item in self.items {
            key.update(item.file.as_os_str().as_encoded_bytes());
            key.update([0]);
            key.update(item.label.to_le_bytes());
            key.update(item.stamp.bytes.to_le_bytes());
            for number in item.stamp.rest {
                key.update(number.to_le_bytes());
            }
        }
        Place::new(folder, name.as_bytes(), key.finalize().into())
    }

    fn labels(&self) -> Vec<u16> {
        self.items.iter().map(|item| item.label).collect()
    }

    fn kept(&self, kept: Kept) -> Decoded {
        let [height, width] = self.reading.size();
        let shape = [kept.channels, height, width];
        let at = (kept.map, cache::START);
        Decoded {
            images: Images::mapped(shape, at, self.labels(), kept.facts),
            oddities: kept.oddities,
        }
    }

    /// Decodes all files, and says which cannot be. Three channels each; one if no image has colours.
    fn decode(
        &self,
        writing: Option<Writing>,
        mut troubles: Vec<DataError>,
    ) -> Result<Decoded, DataError> {
        let (count, area) = (self.items.len(), self.area());
        let bytes = count.saturating_mul(3 * area);
        let mut sink = match writing {
            Some(writing) => Sink::File(writing),
            None if troubles.is_empty() => Sink::Memory(self.room(bytes)?),
            // Nothing will come of it but their names.
            None => Sink::Memory(Vec::new()),
        };
        let (mut facts, mut oddities) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut grey = true;
        self.watch.started(count);
        let (most_bytes, most) = AT_ONCE;
        let at_once = (most_bytes / (3 * area)).min(most);
        let at_once = at_once.max(2 * rayon::current_num_threads());
        for items in self.items.chunks(at_once) {
            let read = |item: &Item| {
                let image = contents(&item.file).and_then(|b| self.reading.read(&b, &item.file));
                self.watch.read();
                let image = image?;
                let pixels = image.planes(3);
                Ok((
                    Facts::of(&pixels, 3),
                    image.is_grey(),
                    image.oddities,
                    pixels,
                ))
            };
            let images: Vec<Result<_, DataError>> = items.par_iter().map(read).collect();
            for image in images {
                match image {
                    Ok((known, is_grey, odd, pixels)) => {
                        grey &= is_grey;
                        facts.push(known);
                        oddities.push(odd);
                        if troubles.is_empty() {
                            sink.add(&pixels).map_err(|error| self.full(error))?;
                        }
                    }
                    Err(error) => troubles.push(error),
                }
            }
        }
        self.watch.ended();
        if !troubles.is_empty() {
            return Err(DataError::several(self.root, troubles, MOST_NAMED));
        }
        if grey {
            let first = sink.first_channel(&mut facts, area);
            first.map_err(|error| self.full(error))?;
        }
        self.finished(sink, if grey { 1 } else { 3 }, facts, oddities)
    }

    /// Memory for so many bytes, if there can be.
    fn room(&self, bytes: usize) -> Result<Vec<u8>, DataError> {
        let have = memory::total().filter(|have| bytes as u64 > *have);
        match have {
            None => Ok(Vec::with_capacity(bytes)),
            Some(have) => Err(DataError::Invalid {
                path: self.root.into(),
                reason: format!(
                    "its images take {} of memory and there are {}; give --cache a folder with room for them, or a smaller \
                     --image-size",
                    memory::told(bytes as u64),
                    memory::told(have)
                ),
            }),
        }
    }

    fn full(&self, error: std::io::Error) -> DataError {
        DataError::Invalid {
            path: self.root.into(),
            reason: format!(
                "its decoded images cannot be written ({error}); name a folder with more room by --cache, or give \
                 --cache none to keep them in memory"
            ),
        }
    }

    fn finished(
        &self,
        sink: Sink,
        channels: usize,
        facts: Vec<Facts>,
        oddities: Vec<Oddities>,
    ) -> Result<Decoded, DataError> {
        let [height, width] = self.reading.size();
        let shape = [channels, height, width];
        match sink {
            Sink::Memory(pixels) => Ok(Decoded {
                images: Images::new(shape, 255, pixels, self.labels()).with(facts),
                oddities,
            }),
            Sink::File(writing) => {
                let kept = writing.finish((channels, self.area()), facts, oddities);
                Ok(self.kept(kept.map_err(|error| self.full(error))?))
            }
        }
    }
}

impl Sink {
    fn add(&mut self, pixels: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Memory(all) => {
                all.extend(pixels);
                Ok(())
            }
            Self::File(writing) => writing.add(pixels),
        }
    }

    /// Keeps the first channel of three of each image, and knows of each what is known of that.
    fn first_channel(&mut self, facts: &mut [Facts], area: usize) -> std::io::Result<()> {
        match self {
            Self::Memory(all) => {
                for (image, facts) in facts.iter_mut().enumerate() {
                    let from = 3 * image * area;
                    all.copy_within(from..from + area, image * area);
                    *facts = Facts::of(&all[image * area..][..area], 1);
                }
                all.truncate(facts.len() * area);
                all.shrink_to_fit();
                Ok(())
            }
            Self::File(writing) => writing.first_channel(facts, area),
        }
    }
}

/// Tells once what is odd about the files, with the first of each kind.
fn tell_oddities(
    oddities: &[Oddities],
    items: &[Item],
    settings: &DataSettings,
    watch: &dyn Watch,
) {
    let with = |oddity: Oddity| {
        let mut found = oddities.iter().zip(items).filter(|(o, _)| o.has(oddity));
        let (_, first) = found.next()?;
        let count = format!("{} of {} images", found.count() + 1, items.len());
        Some((count, first.file.display().to_string()))
    };
    if let Some((count, first)) = with(Oddity::Damaged) {
        watch.warn(&format!(
            "{count} are damaged within, and read with what is missing filled in grey or shifted: {first}{}",
            if count.starts_with("1 ") { "." } else { " and others." }
        ));
    }
    if let Some((count, first)) = with(Oddity::Deep) {
        watch.warn(&format!(
            "{count} have more than 8 bits for a channel, and are scaled to 8 (the first is {first}). Where they use \
             little of their range, stretch it first."
        ));
    }
    if let Some((count, _)) = with(Oddity::Transparent) {
        watch.note(&format!(
            "{count} are transparent in places: laid over --background {}.",
            settings.background
        ));
    }
    if let Some((count, first)) = with(Oddity::Several) {
        watch.note(&format!(
            "{count} have several pictures, of which the first is read (the first is {first})."
        ));
    }
    if let Some((count, _)) = with(Oddity::Turned) {
        watch.note(&format!("{count} are turned as their EXIF tags say."));
    }
}
