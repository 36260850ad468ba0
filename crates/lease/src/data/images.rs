//! Labelled images, in memory or in a file that is mapped into it.

use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

/// Labelled images.
#[derive(Clone, Debug)]
pub struct Images {
    /// Channels, height and width of every image.
    pub shape: [usize; 3],
    /// The value of a white pixel.
    pub white: u8,
    /// The class of each image.
    pub labels: Vec<u16>,
    /// Which pixels of each image matter, image by image, `[height, width]` each, where that is known.
    pub masks: Option<Vec<bool>>,
    /// Rows and columns, half of them on each side, that networks do not see of an image when it is not varied.
    pub margin: [usize; 2],
    pixels: Pixels,
    /// What is known of each image's pixels without reading them; empty where nothing is.
    facts: Vec<Facts>,
}

/// The pixels of images, `[channels, height, width]` each.
#[derive(Clone, Debug)]
enum Pixels {
    /// Image by image.
    Owned(Vec<u8>),
    /// Those images of a file that have these numbers there; the first begins at `start`.
    Mapped {
        map: Arc<Mmap>,
        start: usize,
        numbers: Vec<u32>,
    },
}

/// What is known of an image's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Their SHA-256.
    pub digest: [u8; 32],
    /// Their sum and the sum of their squares, for each channel.
    pub sums: [[u64; 2]; 3],
}

impl Facts {
    /// Those of an image of so many channels.
    pub fn of(pixels: &[u8], channels: usize) -> Self {
        let area = pixels.len() / channels;
        let mut sums = [[0; 2]; 3];
        for (sums, plane) in sums.iter_mut().zip(pixels.chunks_exact(area)) {
            *sums = sums_of(plane);
        }
        Self {
            digest: Sha256::digest(pixels).into(),
            sums,
        }
    }
}

/// The sum of numbers and that of their squares.
fn sums_of(plane: &[u8]) -> [u64; 2] {
    plane.iter().fold([0, 0], |[sum, squares], pixel| {
        let pixel = u64::from(*pixel);
        [sum + pixel, squares + pixel * pixel]
    })
}

impl Images {
    /// No images yet, of a shape and with this value of white, to be added one by one.
    pub fn none(shape: [usize; 3], white: u8) -> Self {
        Self {
            shape,
            white,
            labels: Vec::new(),
            masks: None,
            margin: [0; 2],
            pixels: Pixels::Owned(Vec::new()),
            facts: Vec::new(),
        }
    }

    /// Images of these pixels, `[channels, height, width]` each.
    ///
    /// # Panics
    /// If there are not as many pixels as the labels and the shape ask for.
    pub fn new(shape: [usize; 3], white: u8, pixels: Vec<u8>, labels: Vec<u16>) -> Self {
        let images = Self {
            labels,
            pixels: Pixels::Owned(pixels),
            ..Self::none(shape, white)
        };
        assert_eq!(images.held(), images.len() * images.size());
        images
    }

    /// The images of a file, the first of which begins at `start`, one after another, with what is known of each.
    pub(super) fn mapped(
        shape: [usize; 3],
        (map, start): (Arc<Mmap>, usize),
        labels: Vec<u16>,
        facts: Vec<Facts>,
    ) -> Self {
        let numbers = (0..labels.len() as u32).collect();
        Self {
            labels,
            facts,
            pixels: Pixels::Mapped {
                map,
                start,
                numbers,
            },
            ..Self::none(shape, 255)
        }
    }

    /// The same images, of each of which this is known.
    pub(super) fn with(mut self, facts: Vec<Facts>) -> Self {
        self.facts = facts;
        self
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of what networks see of an image.
    pub fn seen(&self) -> [usize; 3] {
        let [channels, height, width] = self.shape;
        [channels, height - self.margin[0], width - self.margin[1]]
    }

    /// Numbers in one image.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pixels of one image.
    pub fn area(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// The pixels of an image, `[channels, height, width]`.
    ///
    /// # Panics
    /// If there is no image of this number.
    pub fn image(&self, image: usize) -> &[u8] {
        let size = self.size();
        match &self.pixels {
            Pixels::Owned(pixels) => &pixels[image * size..][..size],
            Pixels::Mapped {
                map,
                start,
                numbers,
            } => &map[start + numbers[image] as usize * size..][..size],
        }
    }

    /// The pixels of all images, one after another.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|image| self.image(image))
    }

    /// Which pixels of an image matter, `[height, width]`, where that is known: those of what its label says. An explanation
    /// of the image should lie on them.
    ///
    /// # Panics
    /// If there is no image of this number.
    pub fn relevant(&self, image: usize) -> Option<&[bool]> {
        let area = self.area();
        let masks = self.masks.as_ref()?;
        Some(&masks[image * area..(image + 1) * area])
    }

    /// Bytes of memory that they take; those of a mapped file are the system's to drop and read again.
    pub fn bytes(&self) -> usize {
        let masks = self.masks.as_ref().map_or(0, Vec::len);
        let facts = size_of_val(self.facts.as_slice());
        self.held() + 2 * self.labels.len() + masks + facts
    }

    fn held(&self) -> usize {
        match &self.pixels {
            Pixels::Owned(pixels) => pixels.len(),
            Pixels::Mapped { numbers, .. } => size_of_val(numbers.as_slice()),
        }
    }

    /// The SHA-256 of each image's pixels, where they are known.
    pub(super) fn digests(&self) -> Option<impl Iterator<Item = &[u8; 32]>> {
        let known = !self.facts.is_empty();
        known.then(|| self.facts.iter().map(|facts| &facts.digest))
    }

    /// The sum and the sum of squares of a channel of all images.
    pub(super) fn sums(&self, channel: usize) -> [u64; 2] {
        let area = self.area();
        let add = |[a, b]: [u64; 2], [sum, squares]: [u64; 2]| [a + sum, b + squares];
        if self.facts.is_empty() {
            let planes = self.iter().map(|image| &image[channel * area..][..area]);
            planes.map(sums_of).fold([0; 2], add)
        } else {
            let known = self.facts.iter().map(|facts| facts.sums[channel]);
            known.fold([0; 2], add)
        }
    }

    /// Adds an image and what is known of it, if that is so of all.
    pub(super) fn add(&mut self, pixels: &[u8], label: u16) {
        if let Pixels::Owned(all) = &mut self.pixels {
            all.extend(pixels);
            self.labels.push(label);
        }
    }

    /// The first so many images, and the others.
    pub(super) fn parted(mut self, first: u32) -> (Self, Self) {
        if let Pixels::Owned(pixels) = &mut self.pixels {
            let others = Self {
                shape: self.shape,
                white: self.white,
                margin: self.margin,
                pixels: Pixels::Owned(
                    pixels.split_off(first as usize * self.shape.iter().product::<usize>()),
                ),
                labels: self.labels.split_off(first as usize),
                masks: None,
                facts: self.facts.split_off((first as usize).min(self.facts.len())),
            };
            return (self, others);
        }
        let (first, others): (Vec<u32>, Vec<u32>) =
            (0..self.len() as u32).partition(|image| *image < first);
        (self.some(&first), self.some(&others))
    }

    /// Those images with these indices, and the others, each in order.
    pub(super) fn split(&self, taken: &[u32]) -> (Self, Self) {
        let mut is_taken = vec![false; self.len()];
        for image in taken {
            is_taken[*image as usize] = true;
        }
        let (mut those, mut others) = (Vec::new(), Vec::new());
        for (image, taken) in (0..).zip(is_taken) {
            if taken { &mut those } else { &mut others }.push(image);
        }
        (self.some(&those), self.some(&others))
    }

    /// The images with these indices, in this order.
    pub fn some(&self, indices: &[u32]) -> Self {
        let each = || indices.iter().map(|image| *image as usize);
        let pixels = match &self.pixels {
            Pixels::Owned(_) => {
                let mut pixels = Vec::with_capacity(indices.len() * self.size());
                each().for_each(|image| pixels.extend(self.image(image)));
                Pixels::Owned(pixels)
            }
            Pixels::Mapped {
                map,
                start,
                numbers,
            } => Pixels::Mapped {
                map: map.clone(),
                start: *start,
                numbers: each().map(|image| numbers[image]).collect(),
            },
        };
        let masks = self.masks.as_ref().map(|_| {
            let masks = each().filter_map(|image| self.relevant(image));
            masks.flatten().copied().collect()
        });
        let facts = match self.facts.is_empty() {
            true => Vec::new(),
            false => each().map(|image| self.facts[image]).collect(),
        };
        Self {
            shape: self.shape,
            white: self.white,
            margin: self.margin,
            labels: each().map(|image| self.labels[image]).collect(),
            masks,
            pixels,
            facts,
        }
    }
}
