//! The image files of a data set: formats, kinds of pixels, sizes, and what cannot be read.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};
use rayon::prelude::*;
use serde::Serialize;

use super::super::listing::Item;
use super::super::picture::{contents, decode_image};
use super::super::{
    DataError, DataSettings, DatasetKind, Unwatched, Watch, files, folder, formats, table,
};

/// Image files.
#[derive(Clone, Debug, Serialize)]
pub struct Files {
    /// How many.
    pub count: usize,
    /// Bytes of all.
    pub bytes: u64,
    /// How many of each format.
    pub formats: BTreeMap<String, usize>,
    /// How many of each kind of pixels.
    pub modes: BTreeMap<String, usize>,
    /// Width and height of the image with the fewest pixels.
    pub smallest: [u32; 2],
    /// Of one in the middle, by pixels.
    pub median: [u32; 2],
    /// Of the one with the most.
    pub largest: [u32; 2],
    /// How many different sizes there are.
    pub sizes: usize,
    /// Images with a side shorter than that to which they are resized.
    pub enlarged: usize,
    /// Those that cannot be read.
    pub broken: Vec<Broken>,
}

/// A file that cannot be read.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// It.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// What a file's head says.
struct Head {
    format: ImageFormat,
    mode: &'static str,
    /// Width and height, upright.
    size: [u32; 2],
    bytes: u64,
}

/// Looks at the files of a data set that consists of them, and names them, training images first. Unless all were read
/// already, each is decoded.
pub(super) fn look(
    settings: &DataSettings,
    read: bool,
    watch: &dyn Watch,
) -> (Option<Files>, Vec<String>) {
    let root = Path::new(&settings.path);
    let listing = match settings.dataset {
        DatasetKind::Folder => folder::list(root, &Unwatched),
        DatasetKind::Csv => table::list(root, &Unwatched),
        _ => return (None, Vec::new()),
    };
    // What is wrong with the whole is the survey's problem.
    let Ok(listing) = listing else {
        return (None, Vec::new());
    };
    let [train, test] = files::wanted(&listing, settings);
    let items = [train, test].concat();
    watch.started(items.len());
    let look = |item: &Item| {
        let head = head(item, read);
        watch.read();
        head
    };
    let heads: Vec<Result<Head, DataError>> = items.par_iter().map(look).collect();
    watch.ended();
    let from = if root.is_dir() {
        root
    } else {
        root.parent().unwrap_or(root)
    };
    let named = |file: &Path| {
        file.strip_prefix(from)
            .unwrap_or(file)
            .display()
            .to_string()
    };
    let names = items.iter().map(|item| named(&item.file)).collect();
    let (mut heads_read, mut troubles) = (Vec::new(), listing.troubles);
    for head in heads {
        match head {
            Ok(head) => heads_read.push(head),
            Err(error) => troubles.push(error),
        }
    }
    let broken = troubles.into_iter().map(Broken::of).collect();
    (
        Some(Files::of(heads_read, broken, settings.reading().size())),
        names,
    )
}

impl Broken {
    fn of(error: DataError) -> Self {
        match error {
            DataError::Invalid { path: file, reason } => Self { file, reason },
            DataError::Read { path: file, source } => Self {
                file,
                reason: source.to_string(),
            },
            other => Self {
                file: PathBuf::new(),
                reason: other.to_string(),
            },
        }
    }
}

impl Files {
    fn of(mut heads: Vec<Head>, broken: Vec<Broken>, [height, width]: [usize; 2]) -> Self {
        let (mut formats, mut modes) = (BTreeMap::new(), BTreeMap::new());
        for head in &heads {
            let format = format!("{:?}", head.format).to_uppercase();
            *formats.entry(format).or_insert(0) += 1;
            *modes.entry(head.mode.to_string()).or_insert(0) += 1;
        }
        let short =
            |head: &&Head| (head.size[0] as usize) < width || (head.size[1] as usize) < height;
        let enlarged = heads.iter().filter(short).count();
        heads.sort_by_key(|head| (u64::from(head.size[0]) * u64::from(head.size[1]), head.size));
        let size = |number: usize| heads.get(number).map_or([0; 2], |head| head.size);
        let mut sizes: Vec<[u32; 2]> = heads.iter().map(|head| head.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        Self {
            count: heads.len() + broken.len(),
            bytes: heads.iter().map(|head| head.bytes).sum(),
            formats,
            modes,
            smallest: size(0),
            median: size(heads.len() / 2),
            largest: size(heads.len().saturating_sub(1)),
            sizes: sizes.len(),
            enlarged,
            broken,
        }
    }
}

/// The head of a file; one that was not read is decoded, so that it is known whether it can be.
fn head(item: &Item, read: bool) -> Result<Head, DataError> {
    let bytes = contents(&item.file)?;
    let invalid = |reason: String| DataError::Invalid {
        path: item.file.clone(),
        reason,
    };
    if !read {
        decode_image(&bytes, &item.file)?;
    }
    let format = formats::of(&bytes).map_err(|what| invalid(format!("it is {what}")))?;
    let mut decoder = ImageReader::with_format(Cursor::new(&bytes), format)
        .into_decoder()
        .map_err(|error| invalid(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        decoder.orientation(),
        Ok(Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH)
    );
    Ok(Head {
        format,
        mode: mode(&bytes, format, decoder.original_color_type()),
        size: if turned {
            [height, width]
        } else {
            [width, height]
        },
        bytes: bytes.len() as u64,
    })
}

/// A kind of pixels, in words.
fn mode(bytes: &[u8], format: ImageFormat, colour: ExtendedColorType) -> &'static str {
    /// Where a PNG file has its colour type, and the one with a palette.
    const PNG: (usize, u8) = (25, 3);
    let palette = format == ImageFormat::Png && bytes.get(PNG.0) == Some(&PNG.1);
    if palette || format == ImageFormat::Gif {
        return "palette";
    }
    match colour {
        ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16 => "CMYK",
        ExtendedColorType::L1
        | ExtendedColorType::L2
        | ExtendedColorType::L4
        | ExtendedColorType::L8 => "grey",
        ExtendedColorType::La1
        | ExtendedColorType::La2
        | ExtendedColorType::La4
        | ExtendedColorType::La8 => "grey with opacity",
        ExtendedColorType::L16 => "grey, 16 bits",
        ExtendedColorType::La16 => "grey with opacity, 16 bits",
        ExtendedColorType::Rgba1
        | ExtendedColorType::Rgba2
        | ExtendedColorType::Rgba4
        | ExtendedColorType::Rgba8
        | ExtendedColorType::Bgra8 => "colour with opacity",
        ExtendedColorType::Rgb16 => "colour, 16 bits",
        ExtendedColorType::Rgba16 => "colour with opacity, 16 bits",
        ExtendedColorType::Rgb32F | ExtendedColorType::Rgba32F => "colour, floating point",
        _ => "colour",
    }
}
