//! What a file is, by its contents.

use image::ImageFormat;

/// What the first bytes of files say, from a place on, of formats that are not read.
const KNOWN: &[(usize, &[u8], &str)] = &[
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypmsf1", "a HEIF image"),
    (4, b"ftypcrx", "a raw photo (CR3)"),
    (4, b"ftyp", "a video"),
    (0, b"\0\0\0\x0CjP  ", "a JPEG 2000 image"),
    (0, b"\xFF\x4F\xFF\x51", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0CJXL ", "a JPEG XL image"),
    (0, b"\xFF\x0A", "a JPEG XL image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo (RAF)"),
    (0, b"IIRO", "a raw photo (ORF)"),
    (0, b"IIU\0", "a raw photo (RW2)"),
    (8, b"CR\x02", "a raw photo (CR2)"),
    (128, b"DICM", "a DICOM image"),
    (0, b"SIMPLE  =", "a FITS image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1F\x8B", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xBC\xAF", "a 7z archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x1A\x45\xDF\xA3", "a video"),
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS, whose file was not fetched (git lfs pull)",
    ),
];

/// What texts say near their beginnings.
const MARKUP: &[(&str, &str)] = &[
    ("<svg", "an SVG drawing"),
    ("<!doctype html", "a web page"),
    ("<html", "a web page"),
];

/// The format of a file that can be read; else what it is instead.
///
/// # Errors
/// If it is no image, or of a format that is not read, in words that go on with "it is".
pub(super) fn of(bytes: &[u8]) -> Result<ImageFormat, String> {
    if bytes.is_empty() {
        return Err("empty".into());
    }
    let begins = |(at, magic, _): &&(usize, &[u8], &str)| {
        bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    if let Some((_, _, what)) = KNOWN.iter().find(begins) {
        let convert = match what.contains("image") || what.contains("photo") {
            true => ", which is not read; convert it to PNG or JPEG",
            false => "",
        };
        return Err(format!("{}{convert}", brand(bytes).unwrap_or(what)));
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    if let Some((_, what)) = MARKUP.iter().find(|(word, _)| start.contains(word)) {
        return Err(format!("{what}, no image"));
    }
    match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Png
            | ImageFormat::Jpeg
            | ImageFormat::Gif
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Tiff),
        ) => Ok(format),
        Ok(other) => Err(format!(
            "an image of the format {other:?}, which is not read; convert it to PNG or JPEG"
        )),
        Err(_) if bytes.iter().all(|byte| *byte == 0) => Err("nothing but zero bytes".into()),
        Err(_) if is_text(bytes) => Err("a text, no image".into()),
        Err(_) => Err("of no image format that is known".into()),
    }
}

/// An AVIF image whose first brand is the general one.
fn brand(bytes: &[u8]) -> Option<&'static str> {
    let general = bytes.get(4..12).is_some_and(|b| b == b"ftypmif1");
    let brands = bytes.get(16..64.min(bytes.len()))?;
    let avif = brands.chunks_exact(4).any(|brand| brand == b"avif");
    (general && avif).then_some("an AVIF image")
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let printed = |byte: &u8| !byte.is_ascii_control() || b"\n\r\t".contains(byte);
    start.iter().all(printed)
}

/// The chunks of a PNG file, by name, with their contents.
pub(super) fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_at_checked(4)?;
        let (content, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after.get(4..).unwrap_or_default();
        Some((name, content))
    })
}

/// Whether a WebP file has several pictures.
pub(super) fn webp_is_animated(bytes: &[u8]) -> bool {
    bytes.get(12..16).is_some_and(|name| name == b"VP8X")
        && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
}

/// The pictures of a GIF file, two at most.
pub(super) fn gif_pictures(bytes: &[u8]) -> usize {
    fn blocks(mut rest: &[u8]) -> Option<&[u8]> {
        loop {
            let (length, after) = rest.split_first()?;
            rest = after.get(usize::from(*length)..)?;
            if *length == 0 {
                return Some(rest);
            }
        }
    }
    let palette = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut pictures = 0;
    let mut next = bytes
        .get(10)
        .and_then(|flags| bytes.get(13 + palette(*flags)..));
    while let Some(rest) = next.filter(|_| pictures < 2) {
        next = match rest {
            [0x21, _, blocks_of @ ..] => blocks(blocks_of),
            [0x2C, header @ ..] => {
                pictures += 1;
                let flags = header.get(8).copied().unwrap_or_default();
                header.get(9 + palette(flags) + 1..).and_then(blocks)
            }
            _ => None,
        };
    }
    pictures
}
