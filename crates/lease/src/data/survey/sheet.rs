//! A contact sheet: some images of each class, as they are read.

use std::io::{self, Cursor};

use font8x8::UnicodeFonts;
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

use crate::data::{Dataset, Images};

/// Images of a class in each part.
const EACH: [usize; 2] = [10, 5];

/// Classes that are shown.
const MOST_CLASSES: usize = 100;

/// Sides of pictures on the sheet are not longer.
const LONGEST: usize = 128;

/// Small images are enlarged up to about this side.
const WANTED: usize = 80;

/// Between pictures, and around all.
const GAP: u32 = 6;

/// Between the parts.
const WIDE: u32 = 24;

/// Characters of a class's name that are shown.
const LETTERS: usize = 14;

/// The side of a character.
const LETTER: u32 = 16;

const INK: Rgb<u8> = Rgb([40, 40, 40]);

/// A sheet as a PNG file, with a row for each class: some of its training images, and some of its test images. Of each part those that are
/// shown are evenly spaced.
///
/// # Errors
/// If there is no memory for the file.
pub fn sheet(dataset: &Dataset) -> io::Result<Vec<u8>> {
    let mut png = Cursor::new(Vec::new());
    drawn(dataset)
        .write_to(&mut png, ImageFormat::Png)
        .map_err(io::Error::other)?;
    Ok(png.into_inner())
}

fn drawn(dataset: &Dataset) -> RgbImage {
    let parts = [&*dataset.train, dataset.test()];
    let classes = dataset.classes.len().min(MOST_CLASSES);
    let [width, height] = scaled(&dataset.train);
    let names: Vec<String> = dataset.classes[..classes]
        .iter()
        .map(|n| short(n))
        .collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let left = 2 * GAP + longest.unwrap_or(0) as u32 * LETTER;
    let begins = [left, left + EACH[0] as u32 * (width + GAP) + WIDE];
    let top = 2 * GAP + LETTER;
    let row = height.max(LETTER) + GAP;
    let mut sheet = RgbImage::from_pixel(
        begins[1] + EACH[1] as u32 * (width + GAP),
        top + classes as u32 * row,
        Rgb([255; 3]),
    );
    for (begin, title) in begins.into_iter().zip(["train", "test"]) {
        write(&mut sheet, title, begin, GAP);
    }
    for (class, name) in names.iter().enumerate() {
        let y = top + class as u32 * row;
        write(&mut sheet, name, GAP, y + (row - GAP - LETTER) / 2);
        for ((part, begin), each) in parts.into_iter().zip(begins).zip(EACH) {
            for (place, image) in spaced(part, class, each).into_iter().enumerate() {
                let x = begin + place as u32 * (width + GAP);
                let picture = picture(part, image, [width, height]);
                imageops::replace(&mut sheet, &picture, x.into(), y.into());
            }
        }
    }
    sheet
}

/// Width and height of a picture on the sheet.
fn scaled(images: &Images) -> [u32; 2] {
    let [_, height, width] = images.shape;
    let longer = height.max(width);
    let scale = |side: usize| match longer > LONGEST {
        true => (side * LONGEST / longer).max(1),
        false => side * (WANTED / longer).max(1),
    };
    [width, height].map(|side| scale(side) as u32)
}

fn short(name: &str) -> String {
    match name.chars().count() > LETTERS {
        true => name.chars().take(LETTERS - 1).chain(['.']).collect(),
        false => name.into(),
    }
}

/// Up to so many images of a class, evenly spaced among all of it.
fn spaced(images: &Images, class: usize, each: usize) -> Vec<usize> {
    let of_class = |image: &usize| usize::from(images.labels[*image]) == class;
    let all: Vec<usize> = (0..images.len()).filter(of_class).collect();
    let shown = all.len().min(each);
    (0..shown)
        .map(|place| all[place * all.len() / shown])
        .collect()
}

fn picture(images: &Images, image: usize, [width, height]: [u32; 2]) -> RgbImage {
    let [channels, rows, columns] = images.shape;
    let (pixels, area) = (images.image(image), rows * columns);
    let level = |channel: usize, at: usize| {
        let level = u32::from(pixels[channel.min(channels - 1) * area + at]);
        (level * 255 / u32::from(images.white)).min(255) as u8
    };
    let own = RgbImage::from_fn(columns as u32, rows as u32, |x, y| {
        let at = y as usize * columns + x as usize;
        Rgb([0, 1, 2].map(|channel| level(channel, at)))
    });
    let filter = match width as usize >= columns {
        true => FilterType::Nearest,
        false => FilterType::Triangle,
    };
    imageops::resize(&own, width, height, filter)
}

/// Writes with letters of 8×8 pixels, each twice as large; a box for one that is not among them.
fn write(sheet: &mut RgbImage, text: &str, left: u32, top: u32) {
    const BOX: [u8; 8] = [0, 126, 66, 66, 66, 66, 126, 0];
    for (place, letter) in text.chars().enumerate() {
        let known = [
            font8x8::BASIC_FONTS.get(letter),
            font8x8::LATIN_FONTS.get(letter),
            font8x8::GREEK_FONTS.get(letter),
            font8x8::HIRAGANA_FONTS.get(letter),
        ];
        let rows = known.into_iter().flatten().next().unwrap_or(BOX);
        for (y, x) in (0..LETTER).flat_map(|y| (0..LETTER).map(move |x| (y, x))) {
            let place = left + place as u32 * LETTER + x;
            let inked = rows[y as usize / 2] >> (x / 2) & 1 == 1;
            if inked && place < sheet.width() && top + y < sheet.height() {
                sheet.put_pixel(place, top + y, INK);
            }
        }
    }
}
