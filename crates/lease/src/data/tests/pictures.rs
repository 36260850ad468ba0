use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayAlphaImage, ImageEncoder, ImageFormat, RgbImage, RgbaImage};

use crate::config::ImageSize;
use crate::data::{Frame, Framing, Oddity, Reading, Resized, decode_image};

const SIZE: [u32; 2] = [24, 16];

/// The four corners' greys, of an image as it is stored.
const CORNERS: [u8; 4] = [20, 90, 160, 230];

fn stored() -> RgbImage {
    RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        let corner = usize::from(x >= SIZE[0] / 2) + 2 * usize::from(y >= SIZE[1] / 2);
        image::Rgb([CORNERS[corner]; 3])
    })
}

/// EXIF data with nothing but an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let entry = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    [&b"MM\0\x2A\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

fn written(format: ImageFormat, orientation: u8) -> Vec<u8> {
    let (image, mut bytes) = (stored(), Cursor::new(Vec::new()));
    let [width, height] = SIZE;
    let colours = image::ExtendedColorType::Rgb8;
    let exif = exif(orientation);
    match format {
        ImageFormat::Jpeg => {
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100);
            encoder.set_exif_metadata(exif).unwrap();
            encoder.write_image(&image, width, height, colours).unwrap();
        }
        ImageFormat::Png => {
            let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
            encoder.set_exif_metadata(exif).unwrap();
            encoder.write_image(&image, width, height, colours).unwrap();
        }
        ImageFormat::WebP => {
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
            encoder.set_exif_metadata(exif).unwrap();
            encoder.write_image(&image, width, height, colours).unwrap();
        }
        _ => {
            let mut file = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
            let mut encoder = file
                .new_image::<tiff::encoder::colortype::RGB8>(width, height)
                .unwrap();
            let tag = tiff::tags::Tag::Orientation;
            let orientation = u16::from(orientation);
            encoder.encoder().write_tag(tag, orientation).unwrap();
            encoder.write_data(&image).unwrap();
        }
    }
    bytes.into_inner()
}

fn read(bytes: &[u8], size: [usize; 2], background: [u8; 3]) -> Resized {
    let [height, width] = size;
    let size = ImageSize { height, width };
    let framing = Framing::Stretch;
    let frame = Frame { size, framing };
    let reading = Reading { frame, background };
    reading.read(bytes, Path::new("it.png")).unwrap()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn images_are_turned_as_their_orientation_says_in_every_format_that_has_one() {
    // Which corner of the stored image is shown at the top left and at the top right (EXIF 2.32, tag 0x0112).
    let shown = [
        [0, 1],
        [1, 0],
        [3, 2],
        [2, 3],
        [0, 2],
        [2, 0],
        [3, 1],
        [1, 3],
    ];
    let formats = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Tiff,
    ];
    for format in formats {
        for (orientation, corners) in (1..).zip(shown) {
            let bytes = written(format, orientation);
            let picture = decode_image(&bytes, Path::new("it")).unwrap();
            let upright = match orientation {
                1..=4 => SIZE,
                _ => [SIZE[1], SIZE[0]],
            };
            assert_eq!([picture.image.width(), picture.image.height()], upright);
            assert_eq!(picture.oddities.has(Oddity::Turned), orientation > 1);
            let image = picture.image.to_luma8();
            let at = |x| image.get_pixel(x, 1).0[0];
            for (x, corner) in [1, upright[0] - 2].into_iter().zip(corners) {
                let off = at(x).abs_diff(CORNERS[corner]);
                assert!(off < 4, "{format:?} {orientation}: {} at {x}", at(x));
            }
        }
    }
}

#[test]
fn what_is_transparent_shows_the_background_and_not_the_colour_beneath() {
    let red = |opacity| image::Rgba([255, 0, 0, opacity]);
    let image = RgbaImage::from_fn(2, 1, |x, _| red([0, 51][x as usize]));
    let bytes = png(image);
    let over = read(&bytes, [1, 2], [255; 3]);
    assert_eq!(over.planes(3), [255, 255, 255, 204, 255, 204]);
    assert!(over.oddities.has(Oddity::Transparent));
    let over = read(&bytes, [1, 2], [0, 0, 100]);
    assert_eq!(over.planes(3), [0, 51, 0, 0, 100, 80]);
    let grey = png(GrayAlphaImage::from_pixel(1, 1, image::LumaA([7, 0])));
    assert!(read(&grey, [1, 1], [9; 3]).is_grey());
    assert_eq!(read(&grey, [1, 1], [9; 3]).planes(1), [9]);
    assert_eq!(read(&grey, [1, 1], [1, 2, 3]).planes(3), [1, 2, 3]);
    let opaque = png(RgbaImage::from_pixel(1, 1, red(255)));
    assert!(
        !read(&opaque, [1, 1], [9; 3])
            .oddities
            .has(Oddity::Transparent)
    );
}

#[test]
fn images_of_16_bits_are_scaled_to_8_and_said_to_be() {
    let deep = image::ImageBuffer::from_pixel(3, 3, image::Luma([0x8080u16]));
    let read = read(&png(deep), [3, 3], [255; 3]);
    assert!(read.oddities.has(Oddity::Deep));
    assert_eq!(read.planes(1), [0x80; 9]);
}

#[test]
fn what_is_no_image_is_said_to_be_what_it_is() {
    let heif = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let avif = b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf";
    for (bytes, told) in [
        (&heif[..], "a HEIC image, which is not read; convert it"),
        (avif, "an AVIF image"),
        (b"", "empty"),
        (
            b"<!DOCTYPE html><html>not found</html>",
            "a web page, no image",
        ),
        (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
        (b"labels of this folder\n", "a text, no image"),
        (&[0; 100], "nothing but zero bytes"),
    ] {
        let error = decode_image(bytes, Path::new("it.jpg")).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn images_that_say_they_are_huge_are_refused_with_the_limit() {
    let refused = |bytes: &[u8]| {
        let error = decode_image(bytes, Path::new("huge.bin")).unwrap_err();
        error.to_string()
    };
    let two = |n: u16| n.to_le_bytes();
    let (side, long) = (two(60_000), 60_000i32.to_le_bytes());
    // A palette of two colours, and a picture that begins.
    let palette = [&[0x80, 0, 0][..], &[0; 6]].concat();
    let gif = [b"GIF89a", &side[..], &side, &palette, b",", &[0; 9]].concat();
    let bmp = |width: [u8; 4], height: [u8; 4]| {
        let file = [&b"BM"[..], &[0; 8], &[54, 0, 0, 0], &[40, 0, 0, 0]].concat();
        let depth = [&two(1)[..], &two(24), &[0; 24]].concat();
        [&file[..], &width, &height, &depth].concat()
    };
    for (bytes, told) in [
        (gif, "60000 × 60000 pixels, 13733 MiB"),
        (bmp(long, long), "60000 × 60000 pixels, 10300 MiB"),
        (bmp(long, [1, 0, 0, 0]), "60000 × 1 pixels, 1 MiB"),
        (
            bmp([0, 64, 0, 0], [0, 64, 0, 0]),
            "16384 × 16384 pixels, 768 MiB",
        ),
    ] {
        let error = refused(&bytes);
        assert!(
            error.contains("huge.bin") && error.contains(told),
            "{error}"
        );
        let limit = "no more than 16384 pixels a side and 512 MiB are read";
        assert!(error.contains(limit), "{error}");
    }
}
