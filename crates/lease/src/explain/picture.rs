//! Explanations as pictures: the image, δ as a heat map from blue (below 0) over white to red, and the one over the other.

use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};

use super::Explained;
use super::subject::Subject;

/// The least side of an image in a picture, in pixels.
const SIDE: usize = 112;

/// Pixels between the parts of a picture.
const GAP: u32 = 6;

/// The side of a letter.
const LETTER: u32 = 8;

/// Explanations side by side on the sheet.
const COLUMNS: u32 = 2;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([34, 34, 34]);

/// The ends of the heat map, for −1 and 1 (ColorBrewer's RdBu, readable by the colour-blind).
const ENDS: [[f32; 3]; 2] = [[33.0, 102.0, 172.0], [178.0, 24.0, 43.0]];

/// The colour of a number from −1 (blue) to 1 (red) over a paper, which 0 leaves as it is.
pub(crate) fn diverging(value: f32, paper: [f32; 3]) -> [f32; 3] {
    let end = ENDS[usize::from(value > 0.0)];
    std::array::from_fn(|c| paper[c] + (end[c] - paper[c]) * value.abs())
}

/// The picture of one explanation, with a caption.
pub fn picture(subject: &Subject, explained: &Explained, number: usize) -> RgbImage {
    let parts = parts(subject, explained, number);
    let (side_h, side_w) = (parts[0].height(), parts[0].width());
    let lines = caption(subject, explained, number);
    let width = 3 * side_w + 2 * GAP;
    let height = side_h + lines.len() as u32 * (LETTER + 3) + 3;
    let mut all = RgbImage::from_pixel(width, height, PAPER);
    for (i, part) in (0..).zip(&parts) {
        imageops::replace(&mut all, part, i * i64::from(side_w + GAP), 0);
    }
    for (line, text) in (0..).zip(&lines) {
        write(&mut all, text, [0, side_h + 4 + line * (LETTER + 3)]);
    }
    all
}

/// The pictures of the first explanations on one sheet.
pub fn sheet(pictures: &[RgbImage]) -> RgbImage {
    let (w, h) = pictures.first().map_or((1, 1), |first| first.dimensions());
    let columns = COLUMNS.min(pictures.len() as u32).max(1);
    let rows = (pictures.len() as u32).div_ceil(columns);
    let (margin, heading) = (4 * GAP, LETTER + GAP);
    let width = columns * w + (columns - 1) * margin + 2 * GAP;
    let height = rows * (h + GAP) + heading + 2 * GAP;
    let mut all = RgbImage::from_pixel(width, height, PAPER);
    let part = (w - 2 * GAP) / 3 + GAP;
    for column in 0..columns {
        let left = GAP + column * (w + margin);
        for (i, word) in (0..).zip(["image", "explanation", "both"]) {
            write(&mut all, word, [left + i * part, GAP]);
        }
    }
    for (i, picture) in (0..).zip(pictures) {
        let left = GAP + i % columns * (w + margin);
        let top = GAP + heading + i / columns * (h + GAP);
        imageops::replace(&mut all, picture, i64::from(left), i64::from(top));
    }
    all
}

/// What stands under a picture.
fn caption(subject: &Subject, explained: &Explained, number: usize) -> Vec<String> {
    let class = |c: usize| subject.classes[c].as_str();
    let [before, after] = explained.probability(number);
    let percent = |p: f32| format!("{:.0} %", 100.0 * p);
    let name = &explained.chosen.names[number];
    let first = match &explained.chosen.labels {
        Some(labels) => format!("{name}: {}", class(labels[number])),
        None => name.clone(),
    };
    let (seen, then) = (
        explained.predicted[number],
        explained.perturbed_predicted[number],
    );
    let second = format!("seen as {} ({})", class(seen), percent(before));
    let third = match seen == then {
        true => format!("moved: the same ({})", percent(after)),
        false => format!(
            "moved: {} ({seen_now} left)",
            class(then),
            seen_now = percent(after)
        ),
    };
    vec![first, second, third]
}

/// Image, heat map, and both, enlarged.
fn parts(subject: &Subject, explained: &Explained, number: usize) -> [RgbImage; 3] {
    let [channels, h, w] = subject.image;
    let (area, n) = (h * w, &subject.normalisation);
    let image = explained.chosen.images.image(number);
    let delta = explained.delta.image(number);
    let seen = |p: usize, c: usize| {
        let c = c.min(channels - 1);
        let white = image[c * area + p] * n.std[c] + n.mean[c];
        (255.0 * white).clamp(0.0, 255.0)
    };
    let heat: Vec<f32> = (0..area)
        .map(|p| (0..channels).map(|c| delta[c * area + p]).sum())
        .collect();
    let most = heat.iter().fold(0f32, |most, v| most.max(v.abs()));
    let share = |p: usize| if most == 0.0 { 0.0 } else { heat[p] / most };
    let grey = |p: usize| (seen(p, 0) + seen(p, 1) + seen(p, 2)) / 3.0;
    [
        drawn([h, w], |p| std::array::from_fn(|c| seen(p, c))),
        drawn([h, w], |p| diverging(share(p), [255.0; 3])),
        // The image grey and a bit lighter, and never wholly covered, so that both are readable.
        drawn([h, w], |p| {
            diverging(0.55 * share(p), [50.0 + 0.8 * grey(p); 3])
        }),
    ]
}

/// A picture of `h` × `w` colours, each as a square.
fn drawn([h, w]: [usize; 2], colour: impl Fn(usize) -> [f32; 3]) -> RgbImage {
    let size = SIDE.div_ceil(h.min(w)).max(1);
    RgbImage::from_fn((w * size) as u32, (h * size) as u32, |x, y| {
        let pixel = y as usize / size * w + x as usize / size;
        Rgb(colour(pixel).map(|v| v.round().clamp(0.0, 255.0) as u8))
    })
}

/// Writes a line as far as there is place.
fn write(image: &mut RgbImage, text: &str, [left, top]: [u32; 2]) {
    for (i, letter) in (0..).zip(text.chars()) {
        let glyph = BASIC_FONTS.get(letter).or_else(|| BASIC_FONTS.get('?'));
        for (y, row) in (0..).zip(glyph.unwrap_or_default()) {
            for x in (0..LETTER).filter(|x| row >> x & 1 == 1) {
                let (x, y) = (left + i * LETTER + x, top + y);
                if x < image.width() && y < image.height() {
                    image.put_pixel(x, y, INK);
                }
            }
        }
    }
}
