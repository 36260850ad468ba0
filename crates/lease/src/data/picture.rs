//! One image file as pixels, the way a viewer shows it.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, GenericImageView, GrayImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat,
    ImageReader, Limits, RgbImage,
};

use super::jpeg::{self, State};
use super::{DataError, Frame, formats};

/// Images with more pixels on a side are refused.
pub const MOST_SIDE: u32 = 16_384;

/// Files with more bytes are refused, and images whose pixels take more.
pub const MOST_IMAGE_BYTES: u64 = 512 << 20;

/// What about an image file is not as its pixels say, or not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Oddity {
    /// It lies on its side or is mirrored, and was turned by its EXIF tag.
    Turned = 1,
    /// It lets through what is behind it, and was laid over the background.
    Transparent = 2,
    /// It has more than 8 bits for a channel, and was scaled to 8.
    Deep = 4,
    /// It has several pictures, of which the first was taken.
    Several = 8,
    /// Some of its data are missing in the middle or wrong.
    Damaged = 16,
}

/// The oddities of an image file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities(pub(super) u8);

impl Oddities {
    /// Whether this is one of them.
    pub fn has(self, oddity: Oddity) -> bool {
        self.0 & oddity as u8 != 0
    }

    fn note(&mut self, oddity: Oddity, found: bool) {
        self.0 |= if found { oddity as u8 } else { 0 };
    }
}

/// An image file's picture, upright, in its own size and kind of pixels.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The pixels.
    pub image: DynamicImage,
    /// What is odd about the file.
    pub oddities: Oddities,
    /// The format of the file.
    pub format: ImageFormat,
    /// Whether colours were multiplied by their opacity already.
    multiplied: bool,
}

/// How image files become the images of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What they are brought to.
    pub frame: Frame,
    /// Red, green and blue of what is behind transparent images.
    pub background: [u8; 3],
}

/// An image as it is in a data set, but for the number of its channels.
#[derive(Clone, Debug)]
pub struct Resized {
    /// Grey (`Luma8`) or coloured (`Rgb8`).
    image: DynamicImage,
    /// What is odd about the file.
    pub oddities: Oddities,
}

impl Reading {
    /// Height and width of what it gives.
    pub fn size(&self) -> [usize; 2] {
        self.frame.kept()
    }

    /// The image in a file, as a data set that is read so has it.
    ///
    /// # Errors
    /// If the file cannot be read; also as [`decode_image`].
    pub fn open(&self, file: &Path) -> Result<Resized, DataError> {
        self.read(&contents(file)?, file)
    }

    /// The image that these bytes of a file are, as a data set that is read so has it.
    ///
    /// # Errors
    /// As [`decode_image`].
    pub fn read(&self, bytes: &[u8], file: &Path) -> Result<Resized, DataError> {
        let mut picture = decode_image(bytes, file)?;
        let image = picture.over(self.background);
        let image = self.frame.fitted(&image);
        Ok(Resized {
            image: match image.color().has_color() {
                true => DynamicImage::ImageRgb8(image.into_rgb8()),
                false => DynamicImage::ImageLuma8(image.into_luma8()),
            },
            oddities: picture.oddities,
        })
    }
}

impl Resized {
    /// Whether it has no colours.
    pub fn is_grey(&self) -> bool {
        !self.image.color().has_color()
    }

    /// The pixels, `[channels, height, width]`, of one channel or three.
    pub fn planes(&self, channels: usize) -> Vec<u8> {
        let converted;
        let interleaved: &[u8] = match (channels, &self.image) {
            (1, DynamicImage::ImageLuma8(image)) => image.as_raw(),
            (3, DynamicImage::ImageRgb8(image)) => image.as_raw(),
            (1, image) => {
                converted = image.to_luma8().into_raw();
                &converted
            }
            (_, image) => {
                converted = image.to_rgb8().into_raw();
                &converted
            }
        };
        let mut planes = Vec::with_capacity(interleaved.len());
        for channel in 0..channels {
            planes.extend(
                interleaved
                    .chunks_exact(channels)
                    .map(|pixel| pixel[channel]),
            );
        }
        planes
    }
}

/// The bytes of a file, not many more than are read at all.
pub(super) fn contents(file: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read {
        path: file.into(),
        source,
    };
    // A byte more than can be, to be refused.
    let mut opened = File::open(file).map_err(failed)?.take(MOST_IMAGE_BYTES + 1);
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The picture that these bytes of a file are: PNG, JPEG, TIFF, WebP, BMP or GIF, turned as it says that it is to be shown; of
/// several the first. What it takes is known from its header before anything is decoded.
///
/// # Errors
/// If it is no such image, damaged or cut off, or larger than [`MOST_SIDE`] and [`MOST_IMAGE_BYTES`] allow.
pub fn decode_image(bytes: &[u8], file: &Path) -> Result<Picture, DataError> {
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
        ImageError::Unsupported(error) => invalid(format!(
            "it is an image of a kind that is not read ({error}); convert it to PNG or JPEG"
        )),
        error => {
            // What is behind this is how the decoder writes it down for itself.
            let told = error.to_string();
            let told = told.split(" while decoding ChunkType").next();
            invalid(broken(told.unwrap_or_default()))
        }
    };
    if bytes.len() as u64 > MOST_IMAGE_BYTES {
        return Err(invalid(too_large("the file is too long".into())));
    }
    let format = formats::of(bytes).map_err(|what| invalid(format!("it is {what}")))?;
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
    let mut oddities = Oddities::default();
    if format == ImageFormat::Jpeg {
        let state = jpeg::state(bytes);
        if state == State::CutOff {
            return Err(invalid(broken("the end of the file is missing")));
        }
        oddities.note(Oddity::Damaged, state == State::Damaged);
    }
    let beside = Beside::of(bytes, format);
    // Only what is known to turn it turns it: damaged metadata are no reason to refuse it.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let orientation = beside.orientation.unwrap_or(orientation);
    limits.reserve(size).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let deep = image.color().bytes_per_pixel() / image.color().channel_count() > 1;
    oddities.note(Oddity::Deep, deep);
    oddities.note(Oddity::Several, beside.several);
    oddities.note(Oddity::Turned, orientation != Orientation::NoTransforms);
    Ok(Picture {
        image,
        oddities,
        format,
        multiplied: beside.multiplied,
    })
}

/// What a file says beside the pixels, where the decoder does not tell.
#[derive(Default)]
struct Beside {
    several: bool,
    orientation: Option<Orientation>,
    multiplied: bool,
}

impl Beside {
    fn of(bytes: &[u8], format: ImageFormat) -> Self {
        match format {
            ImageFormat::Gif => Self {
                several: formats::gif_pictures(bytes) > 1,
                ..Self::default()
            },
            ImageFormat::WebP => Self {
                several: formats::webp_is_animated(bytes),
                ..Self::default()
            },
            ImageFormat::Png => {
                let chunk = |wanted: &[u8]| {
                    let mut chunks = formats::png_chunks(bytes);
                    chunks.find(|(name, _)| *name == wanted)
                };
                // It may come after the pixels.
                let exif = chunk(b"eXIf").map(|(_, content)| content);
                Self {
                    several: chunk(b"acTL").is_some(),
                    orientation: exif.and_then(Orientation::from_exif_chunk),
                    ..Self::default()
                }
            }
            ImageFormat::Tiff => Self::of_tiff(bytes).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    fn of_tiff(bytes: &[u8]) -> Option<Self> {
        /// What TIFF 6.0 calls associated alpha.
        const ASSOCIATED: u16 = 1;
        let mut decoder = tiff::decoder::Decoder::new(Cursor::new(bytes)).ok()?;
        let extra = decoder.get_tag_u16_vec(tiff::tags::Tag::ExtraSamples);
        Some(Self {
            several: decoder.more_images(),
            orientation: None,
            multiplied: extra.is_ok_and(|extra| extra.first() == Some(&ASSOCIATED)),
        })
    }
}

/// A value of a pixel's channel.
trait Value: Copy {
    /// White, or full opacity.
    const MOST: u64;
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Value for u8 {
    const MOST: u64 = 255;
    fn number(self) -> u64 {
        self.into()
    }
    fn of(number: u64) -> Self {
        number.min(Self::MOST) as Self
    }
}

impl Value for u16 {
    const MOST: u64 = 65_535;
    fn number(self) -> u64 {
        self.into()
    }
    fn of(number: u64) -> Self {
        number.min(Self::MOST) as Self
    }
}

impl Picture {
    /// The picture over a background, without opacity.
    fn over(&mut self, background: [u8; 3]) -> DynamicImage {
        let image = std::mem::take(&mut self.image);
        if !image.color().has_alpha() {
            return image;
        }
        let (width, height) = image.dimensions();
        let grey = background[0] == background[1] && background[0] == background[2];
        let mut seen = false;
        let over = match image {
            DynamicImage::ImageLumaA8(image) if grey => {
                let raw = self.laid::<u8, 2, 1>(image.as_raw(), [background[0]], &mut seen);
                GrayImage::from_raw(width, height, raw).map(DynamicImage::ImageLuma8)
            }
            DynamicImage::ImageLumaA16(image) if grey => {
                let raw = self.laid::<u16, 2, 1>(image.as_raw(), [background[0]], &mut seen);
                ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageLuma16)
            }
            image @ (DynamicImage::ImageLumaA8(_) | DynamicImage::ImageRgba8(_)) => {
                let raw = image.into_rgba8().into_raw();
                let raw = self.laid::<u8, 4, 3>(&raw, background, &mut seen);
                RgbImage::from_raw(width, height, raw).map(DynamicImage::ImageRgb8)
            }
            image => {
                let raw = image.into_rgba16().into_raw();
                let raw = self.laid::<u16, 4, 3>(&raw, background, &mut seen);
                ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgb16)
            }
        };
        self.oddities.note(Oddity::Transparent, seen);
        over.unwrap_or_else(|| unreachable!("there is a pixel for each of the image's"))
    }

    /// Pixels over a background; `seen` tells whether it shows anywhere.
    fn laid<V: Value, const FROM: usize, const TO: usize>(
        &self,
        pixels: &[V],
        background: [u8; TO],
        seen: &mut bool,
    ) -> Vec<V> {
        let behind = background.map(|value| u64::from(value) * V::MOST / 255);
        let mut laid = Vec::with_capacity(pixels.len() / FROM * TO);
        for pixel in pixels.chunks_exact(FROM) {
            let opacity = pixel[TO].number();
            *seen |= opacity < V::MOST;
            for (value, behind) in pixel.iter().zip(behind) {
                let share = match self.multiplied {
                    true => V::MOST,
                    false => opacity,
                };
                let sum = value.number() * share + behind * (V::MOST - opacity);
                laid.push(V::of((sum + V::MOST / 2) / V::MOST));
            }
        }
        laid
    }
}
