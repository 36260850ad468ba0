//! Shapes: an object on a textured background among distractors, in colour. Which pixels matter is known.
//!
//! The class is the object's form, and above twelve classes its fill too. Colours, size, turn, place, background and, up to
//! twelve classes, fill are drawn independently of it, so that none of them tells the class; objects of all classes have areas from
//! the same range.

mod folder;
mod form;
mod texture;

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{DataError, Images, Loaded};
use crate::config::{Composite, ConfigError, Rule, Section, SectionInfo, section};
use crate::memory;
use crate::rng::{Purpose, stream, unit};
pub use folder::write;
use form::{Fill, Form, Item, SHAPES, Shape, any_fill, turn};

/// The fills, in the order in which classes take them.
const FILLS: [&str; 4] = ["plain", "striped", "dotted", "chequered"];

/// The most classes: every shape with every fill.
pub const MOST_CLASSES: usize = SHAPES.len() * FILLS.len();

/// The smallest canvas on which fills can be told apart.
const LEAST_WITH_FILLS: usize = 32;

section! {
    /// Shapes: how they are drawn.
    ShapesSettings, "shapes", "shapes" {
        /// Side of an image in pixels.
        side: usize = 32 => Rule::whole(16, 512);
        /// Classes. Up to 12 are forms with any fill; more are forms with fills of their own, up to 48.
        classes: usize = 6 => Rule::whole(2, MOST_CLASSES as u32);
        /// Training images, of all classes in turn.
        count: usize = 3_600 => Rule::whole(2, 1_000_000);
        /// Test images, of all classes in turn.
        test_count: usize = 600 => Rule::whole(2, 1_000_000);
        /// Smaller things drawn beside the object, none of which is of a class or touches it. As many as find a place.
        distractors: usize = 3 => Rule::whole(0, 100);
        /// Largest share of the image that an object covers; the smallest is 6/13 of it.
        object: f64 = 0.2 => Rule::PART.at_least(0.03).at_most(0.2);
        /// Fill objects and distractors at random: plain, striped, dotted or chequered. Otherwise they are plain, but where fills tell classes apart.
        fills: bool = false;
        /// What images are drawn from. The seed of a run does not change them.
        seed: u64 = 7;
    }
}

impl ShapesSettings {
    /// What is wrong with these settings together.
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut all = Vec::new();
        for (key, count) in [("count", self.count), ("test_count", self.test_count)] {
            if count < self.classes {
                let reason = format!("each of the {} classes needs an image", self.classes);
                all.push(Self::setting(key).range(count, reason));
            }
        }
        if self.classes > SHAPES.len() && self.side < LEAST_WITH_FILLS {
            let reason = format!(
                "fills, which tell more than {} classes apart, cannot be seen on it; use at least {LEAST_WITH_FILLS} pixels",
                SHAPES.len()
            );
            all.push(Self::setting("side").range(self.side, reason));
        }
        all
    }

    /// Bytes of all images and masks.
    fn bytes(&self) -> u64 {
        4 * ((self.count + self.test_count) * self.side * self.side) as u64
    }

    /// What is wrong with keeping all images in memory.
    pub(super) fn too_large(&self) -> Option<ConfigError> {
        let have = memory::total().filter(|have| self.bytes() > *have)?;
        let reason = format!(
            "the images take {} of memory, and this machine has {}; use fewer or smaller ones, or write them to a folder by \
             `lease data shapes` and use that",
            memory::told(self.bytes()),
            memory::told(have)
        );
        Some(Self::setting("count").range(self.count, reason))
    }

    /// The classes.
    fn kinds(&self) -> Vec<Kind> {
        // As many fills as are needed; each shape comes with all of them.
        let fills = self.classes.div_ceil(SHAPES.len());
        let kind = |class| Kind {
            shape: SHAPES[class / fills],
            fill: (fills > 1).then(|| class % fills),
        };
        (0..self.classes).map(kind).collect()
    }

    /// The names of the classes.
    pub fn names(&self) -> Vec<String> {
        self.kinds().iter().map(Kind::name).collect()
    }

    /// The class of an image of either part.
    fn class_of(&self, number: usize) -> usize {
        number % self.classes
    }

    /// The image of this number, training images first.
    fn picture(&self, number: usize) -> Picture {
        let test = number.checked_sub(self.count);
        let class = self.class_of(test.unwrap_or(number));
        let mut rng = stream(self.seed, Purpose::Shapes, number as u64);
        draw(&self.kinds()[class], self, &mut rng)
    }
}

impl Composite for ShapesSettings {
    fn scope() -> Vec<&'static SectionInfo> {
        vec![Self::INFO]
    }

    fn read(values: &toml::Table) -> Result<Self, ConfigError> {
        Section::of(values)
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, toml::Table)> {
        vec![Section::table(self)]
    }

    fn problems(&self) -> Vec<ConfigError> {
        self.problems()
    }
}

/// A class.
struct Kind {
    shape: (Shape, &'static str),
    /// The number of the fill, where that is part of the class.
    fill: Option<usize>,
}

impl Kind {
    fn name(&self) -> String {
        let shape = self.shape.1;
        self.fill
            .map_or(shape.into(), |fill| format!("{shape}-{}", FILLS[fill]))
    }
}

/// One image.
struct Picture {
    /// `[3, side, side]`.
    pixels: Vec<u8>,
    /// `[side, side]`: the pixels at least half of which the object covers.
    mask: Vec<bool>,
}

/// The images of both parts, and which of their pixels are the object's.
pub(super) fn load(settings: &ShapesSettings) -> Result<Loaded, DataError> {
    let [train, test] = [
        0..settings.count,
        settings.count..settings.count + settings.test_count,
    ]
    .map(|numbers| part(settings, numbers));
    Ok(("shapes", settings.names(), train, test))
}

fn part(settings: &ShapesSettings, numbers: std::ops::Range<usize>) -> Images {
    let area = settings.side * settings.side;
    let mut pixels = vec![0; 3 * area * numbers.len()];
    let mut masks = vec![false; area * numbers.len()];
    let labels = (0..numbers.len())
        .map(|number| settings.class_of(number) as u16)
        .collect();
    let places = pixels
        .par_chunks_exact_mut(3 * area)
        .zip(masks.par_chunks_exact_mut(area));
    places.zip(numbers).for_each(|((pixels, mask), number)| {
        let picture = settings.picture(number);
        pixels.copy_from_slice(&picture.pixels);
        mask.copy_from_slice(&picture.mask);
    });
    let shape = [3, settings.side, settings.side];
    let mut images = Images::new(shape, 255, pixels, labels);
    images.masks = Some(masks);
    images
}

/// The radii of distractors, in sides of the canvas.
const DISTRACTOR_RADII: [f64; 2] = [0.06, 0.13];

/// Places that are tried for a distractor before it is left out.
const TRIES: usize = 40;

fn draw(kind: &Kind, settings: &ShapesSettings, rng: &mut ChaCha8Rng) -> Picture {
    let side = settings.side;
    let (pixels, light) = texture::background(side, rng);
    let mut canvas = Canvas {
        side,
        pixels,
        mask: vec![false; side * side],
        beside: Vec::new(),
    };
    let object = settings.object(kind, light, rng);
    canvas.paint(&object);
    canvas.mark(&object);
    for _ in 0..settings.distractors {
        let wanted = settings.distractor(light, rng);
        if let Some(item) = canvas.placed(wanted, rng) {
            canvas.paint(&item);
            canvas.beside.push(item);
        }
    }
    canvas.finished(rng)
}

fn between([low, high]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    low + (high - low) * unit(rng)
}

impl ShapesSettings {
    /// The share of the canvas that an object covers.
    fn share(&self, rng: &mut ChaCha8Rng) -> f64 {
        between([6.0 * self.object / 13.0, self.object], rng)
    }

    /// The fill of what is of no class by its fill.
    fn fill(&self, rng: &mut ChaCha8Rng) -> Fill {
        let any = any_fill(rng);
        if self.fills { any } else { Fill::Plain }
    }

    fn object(&self, kind: &Kind, light: f64, rng: &mut ChaCha8Rng) -> Item {
        let (shape, _) = kind.shape;
        let fill = self.fill(rng);
        let fill = kind.fill.map_or(fill, Fill::numbered);
        let side = self.side as f64;
        let share = self.share(rng);
        let radius = side * (share / shape.area()).sqrt();
        // Whole, and a pixel from the border where there is room.
        let room = [radius + 1.0, side - radius - 1.0];
        let colour = texture::standing_out(light, rng);
        Item {
            form: Form::Shape(shape),
            fill,
            colours: [colour, texture::beside(colour)],
            centre: [between(room, rng), between(room, rng)],
            radius,
            turn: turn(rng),
            pattern: (0.34 * side * share.sqrt()).max(2.0),
            phase: [unit(rng), unit(rng)],
        }
    }

    /// A distractor that has no place yet.
    fn distractor(&self, light: f64, rng: &mut ChaCha8Rng) -> Item {
        let side = self.side as f64;
        let radius = side * between(DISTRACTOR_RADII, rng);
        let colour = texture::standing_out(light, rng);
        Item {
            form: Form::distractor(rng),
            fill: self.fill(rng),
            colours: [colour, texture::beside(colour)],
            centre: [0.0; 2],
            radius,
            turn: turn(rng),
            // Of the lengths that objects have.
            pattern: (0.34 * side * self.share(rng).sqrt()).max(2.0),
            phase: [unit(rng), unit(rng)],
        }
    }
}

struct Canvas {
    side: usize,
    /// `[3, side, side]`, white = 1.
    pixels: Vec<f64>,
    mask: Vec<bool>,
    /// The distractors so far.
    beside: Vec<Item>,
}

impl Canvas {
    fn paint(&mut self, item: &Item) {
        let area = self.side * self.side;
        let [rows, columns] = item.extent(self.side, 0.0);
        for (row, column) in rows.flat_map(|row| columns.clone().map(move |column| (row, column))) {
            let (share, colour) = item.cover(column, row);
            for (channel, colour) in colour.into_iter().enumerate() {
                let pixel = &mut self.pixels[channel * area + row * self.side + column];
                *pixel = *pixel * (1.0 - share) + colour * share;
            }
        }
    }

    /// Marks the pixels of the object.
    fn mark(&mut self, object: &Item) {
        let [rows, columns] = object.extent(self.side, 0.0);
        for (row, column) in rows.flat_map(|row| columns.clone().map(move |column| (row, column))) {
            self.mask[row * self.side + column] = object.cover(column, row).0 >= 0.5;
        }
    }

    /// The distractor where it touches neither the object nor another one, if such a place is found.
    fn placed(&self, mut item: Item, rng: &mut ChaCha8Rng) -> Option<Item> {
        let side = self.side as f64;
        for _ in 0..TRIES {
            item.centre = [side * unit(rng), side * unit(rng)];
            if self.is_free(&item) {
                return Some(item);
            }
        }
        None
    }

    fn is_free(&self, item: &Item) -> bool {
        let apart = self.beside.iter().all(|other| {
            let [x, y] = [0, 1].map(|axis| item.centre[axis] - other.centre[axis]);
            let reach = item.radius + other.radius;
            x * x + y * y > reach * reach
        });
        // Two pixels at least between its circle and the object.
        let reach = item.radius + 2.0;
        let [rows, columns] = item.extent(self.side, 2.0);
        apart
            && rows.into_iter().all(|row| {
                columns.clone().all(|column| {
                    let [x, y] = [(column, 0), (row, 1)]
                        .map(|(pixel, axis)| pixel as f64 + 0.5 - item.centre[axis]);
                    !self.mask[row * self.side + column] || x * x + y * y > reach * reach
                })
            })
    }

    /// As bytes, with a little grain.
    fn finished(self, rng: &mut ChaCha8Rng) -> Picture {
        let grain = 2.0 + 8.0 * unit(rng);
        let area = self.side * self.side;
        let grains: Vec<f64> = (0..area).map(|_| grain * (unit(rng) - 0.5)).collect();
        let pixels = self.pixels.iter().enumerate().map(|(at, value)| {
            let value = 255.0 * value + grains[at % area];
            value.round().clamp(0.0, 255.0) as u8
        });
        Picture {
            pixels: pixels.collect(),
            mask: self.mask,
        }
    }
}

#[cfg(test)]
mod tests;
