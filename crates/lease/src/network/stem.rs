//! What networks begin with: the stem for small images, and that of the networks that DARTS trains on ImageNet.

use serde::{Deserialize, Serialize};

use lease_kernels::graph::Id;

use super::dual::Dual;
use super::kernels::Emitter;
use super::layers::{BatchNorm, Builder, Conv, Pass, Square};
use crate::config::section;

/// What networks begin with, as it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StemChoice {
    /// By the size of the images (see [`StemChoice::for_images`]).
    #[default]
    Auto,
    /// That for small images.
    Cifar,
    /// That for photos.
    Imagenet,
}

/// What networks begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stem {
    /// A 3×3 convolution that keeps the resolution.
    #[default]
    Cifar,
    /// Three 3×3 convolutions of stride 2; in the audience a 7×7 convolution of stride 2 and a max-pool of stride 2.
    Imagenet,
}

section! {
    /// What all networks share.
    NetworkSettings, "network", "" {
        /// What networks begin with: a convolution that keeps the resolution (cifar), or the layers that DARTS's networks for ImageNet begin with, which leave an eighth of each side (imagenet); auto takes the latter for images of at least 96 pixels on their shorter side. The audience's is that of the ResNets for the same images.
        stem: StemChoice = StemChoice::Auto, ["auto", "cifar", "imagenet"];
    }
}

/// The shorter side from which on images are photos to [`StemChoice::Auto`], in pixels.
pub const PHOTO_SIDE: usize = 96;

impl StemChoice {
    /// The stem for images of `image` (channels, height, width).
    pub fn for_images(self, [_, height, width]: [usize; 3]) -> Stem {
        match self {
            Self::Cifar => Stem::Cifar,
            Self::Imagenet => Stem::Imagenet,
            Self::Auto if height.min(width) >= PHOTO_SIDE => Stem::Imagenet,
            Self::Auto => Stem::Cifar,
        }
    }
}

impl Stem {
    /// A side of the feature maps that the cells get, of images with this side.
    pub fn after(self, side: usize) -> usize {
        match self {
            Self::Cifar => side,
            Self::Imagenet => side.div_ceil(8),
        }
    }
}

/// The stem of a network of cells, under the names of PyTorch's DARTS (`NetworkCIFAR`, `NetworkImageNet`).
#[derive(Clone, Debug)]
pub(crate) enum StemLayers {
    /// Convolution, batch norm.
    Cifar(Box<(Conv, BatchNorm)>),
    /// Convolution, batch norm, ReLU, convolution, batch norm: a quarter of each side; then ReLU, convolution, batch norm: an
    /// eighth.
    Imagenet(Box<[(Conv, BatchNorm); 3]>),
}

impl StemLayers {
    /// Adds a stem from images of so many channels to `channels`; the one for small images to `wide`.
    pub fn new(
        builder: &mut Builder,
        stem: Stem,
        image: usize,
        [wide, channels]: [usize; 2],
    ) -> Self {
        let mut layer = |[conv, norm]: [&str; 2], [input, output]: [usize; 2], stride| {
            (
                builder.conv(conv, input, output, Square::new(3, stride)),
                builder.batch_norm(norm, output, true),
            )
        };
        match stem {
            Stem::Cifar => Self::Cifar(Box::new(layer(["stem.0", "stem.1"], [image, wide], 1))),
            Stem::Imagenet => {
                let half = (channels / 2).max(1);
                Self::Imagenet(Box::new([
                    layer(["stem0.0", "stem0.1"], [image, half], 2),
                    layer(["stem0.3", "stem0.4"], [half, channels], 2),
                    layer(["stem1.1", "stem1.2"], [channels, channels], 2),
                ]))
            }
        }
    }

    /// Whether the second of its two results has half the resolution of the first.
    pub fn halves(&self) -> bool {
        matches!(self, Self::Imagenet(_))
    }

    /// Adds it to a graph; the states that are the first cell's two inputs.
    pub fn emit(&self, e: &mut Emitter, input: Id) -> [Id; 2] {
        match self {
            Self::Cifar(layer) => {
                let z = layer.0.emit(e, &[input], false);
                let term = layer.1.emit(e, z);
                [e.graph.state(vec![term], false); 2]
            }
            Self::Imagenet(layers) => {
                let [first, second, third] = &**layers;
                let z = first.0.emit(e, &[input], false);
                let term = first.1.emit(e, z);
                let hidden = e.graph.passing(term);
                let mut after = |(conv, norm): &(Conv, BatchNorm), source| {
                    let z = conv.emit(e, &[source], true);
                    let term = norm.emit(e, z);
                    e.graph.state(vec![term], false)
                };
                let quarter = after(second, hidden);
                [quarter, after(third, quarter)]
            }
        }
    }

    /// The first cell's two inputs, for images `[batch, channels, h, w]`.
    pub fn forward(&self, pass: &Pass, images: Dual<4>) -> [Dual<4>; 2] {
        let apply = |(conv, norm): &(Conv, BatchNorm), x| norm.forward(pass, conv.forward(pass, x));
        match self {
            Self::Cifar(layer) => {
                let x = apply(layer, images);
                [x.clone(), x]
            }
            Self::Imagenet(layers) => {
                let [first, second, third] = &**layers;
                let quarter = apply(second, apply(first, images).relu());
                let eighth = apply(third, quarter.clone().relu());
                [quarter, eighth]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_told_by_their_shorter_side() {
        let auto = |h, w| StemChoice::Auto.for_images([3, h, w]);
        assert_eq!([auto(96, 96), auto(95, 400)], [Stem::Imagenet, Stem::Cifar]);
        assert_eq!([224, 97, 33].map(|n| Stem::Imagenet.after(n)), [28, 13, 5]);
    }
}
