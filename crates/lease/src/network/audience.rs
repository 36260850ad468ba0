//! The audience: a ResNet designed by hand, g(·; W) (He et al., arXiv 1512.03385).

use std::sync::Arc;

use lease_kernels::graph::{Id, Normalise, Term, Window};

use super::NetworkError;
use super::dual::Dual;
use super::kernels::{Compiled, Emitter, Kernels, Mode, only_means};
use super::layers::{BatchNorm, Builder, Conv, LinearLayer, Pass, Square};
use super::stem::Stem;
use super::vector::{Init, Layout, Leaves};

/// The size of a ResNet of basic blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetShape {
    /// Channels of each stage; every stage but the first halves the resolution (rounded up).
    pub widths: Vec<usize>,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub image_channels: usize,
    /// What it begins with: a 3×3 convolution that keeps the resolution (table 6 of the paper), or for photos a 7×7 convolution
    /// and a 3×3 max-pool that halve it each (table 1).
    pub stem: Stem,
}

/// The residual networks that the literature knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResNet {
    /// Three stages of 3 blocks, 16 to 64 channels.
    ResNet20,
    /// Three stages of 5 blocks, 16 to 64 channels.
    ResNet32,
    /// Three stages of 9 blocks, 16 to 64 channels.
    ResNet56,
    /// Four stages of 2 blocks, 64 to 512 channels.
    ResNet18,
    /// Four stages of 3, 4, 6, 3 blocks, 64 to 512 channels.
    ResNet34,
}

impl ResNet {
    /// The shape, its widths multiplied by `width` and rounded, at least 1.
    pub fn shape(
        self,
        width: f64,
        classes: usize,
        image_channels: usize,
        stem: Stem,
    ) -> ResNetShape {
        let (widths, blocks): (&[usize], &[usize]) = match self {
            Self::ResNet20 => (&[16, 32, 64], &[3, 3, 3]),
            Self::ResNet32 => (&[16, 32, 64], &[5, 5, 5]),
            Self::ResNet56 => (&[16, 32, 64], &[9, 9, 9]),
            Self::ResNet18 => (&[64, 128, 256, 512], &[2, 2, 2, 2]),
            Self::ResNet34 => (&[64, 128, 256, 512], &[3, 4, 6, 3]),
        };
        let scaled = |w: &usize| ((*w as f64 * width).round() as usize).max(1);
        ResNetShape {
            widths: widths.iter().map(scaled).collect(),
            blocks: blocks.to_vec(),
            classes,
            image_channels,
            stem,
        }
    }
}

#[derive(Clone, Debug)]
struct Block {
    first: (Conv, BatchNorm),
    second: (Conv, BatchNorm),
    downsample: Option<(Conv, BatchNorm)>,
}

/// The audience network.
#[derive(Clone, Debug)]
pub struct Audience {
    weights: Arc<Layout>,
    stem: (Conv, BatchNorm),
    /// Whether a max-pool follows the stem.
    pools: bool,
    blocks: Vec<Block>,
    kernels: Kernels,
    compiled: Compiled,
    classifier: LinearLayer,
}

/// A convolution started as torchvision's ResNets are (normal, by fan-out), and its batch norm.
fn conv_norm(
    builder: &mut Builder,
    (conv, norm): (&str, &str),
    input: usize,
    output: usize,
    kernel: Square,
) -> (Conv, BatchNorm) {
    let fan_out = output * kernel.size * kernel.size;
    let init = Init::Normal((2.0 / fan_out as f64).sqrt());
    (
        builder.conv_with(conv, input, output, kernel, 1, init),
        builder.batch_norm(norm, output, true),
    )
}

fn apply(pass: &Pass, (conv, norm): &(Conv, BatchNorm), x: Dual<4>) -> Dual<4> {
    norm.forward(pass, conv.forward(pass, x))
}

/// Adds a convolution of a state and its batch norm to a graph, as a summand.
fn emit(e: &mut Emitter, (conv, norm): &(Conv, BatchNorm), source: Id, rectify: bool) -> Term {
    let z = conv.emit(e, &[source], rectify);
    norm.emit(e, z)
}

impl Audience {
    /// Lays out a ResNet. The names are torchvision's: `conv1.weight`, `layer1.0.bn2.bias`, `fc.weight`.
    ///
    /// # Errors
    /// If there is no stage, a number is 0, or widths and blocks differ in length.
    pub fn new(shape: &ResNetShape) -> Result<Self, NetworkError> {
        if shape.widths.len() != shape.blocks.len() {
            return Err(NetworkError::Stages {
                widths: shape.widths.len(),
                blocks: shape.blocks.len(),
            });
        }
        let sizes = shape.widths.iter().chain(&shape.blocks);
        for (what, zero) in [
            ("audience stages", shape.widths.is_empty()),
            (
                "audience widths and blocks",
                sizes.into_iter().any(|n| *n == 0),
            ),
            ("classes", shape.classes == 0),
            ("image channels", shape.image_channels == 0),
        ] {
            if zero {
                return Err(NetworkError::Zero { what });
            }
        }
        let mut builder = Builder::default();
        let b = &mut builder;
        let mut channels = shape.widths[0];
        let stem = conv_norm(
            b,
            ("conv1", "bn1"),
            shape.image_channels,
            channels,
            match shape.stem {
                Stem::Cifar => Square::new(3, 1),
                Stem::Imagenet => Square::new(7, 2),
            },
        );
        let pools = shape.stem == Stem::Imagenet;
        let mut blocks = Vec::new();
        for (stage, (&width, &count)) in shape.widths.iter().zip(&shape.blocks).enumerate() {
            for i in 0..count {
                let name = format!("layer{}.{i}", stage + 1);
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let mut part = |conv: &str, norm: &str, input, kernel| {
                    let names = (format!("{name}.{conv}"), format!("{name}.{norm}"));
                    conv_norm(b, (&names.0, &names.1), input, width, kernel)
                };
                blocks.push(Block {
                    first: part("conv1", "bn1", channels, Square::new(3, stride)),
                    second: part("conv2", "bn2", width, Square::new(3, 1)),
                    downsample: (stride != 1 || channels != width).then(|| {
                        part(
                            "downsample.0",
                            "downsample.1",
                            channels,
                            Square::new(1, stride),
                        )
                    }),
                });
                channels = width;
            }
        }
        let classifier = builder.linear("fc", channels, shape.classes);
        let (mut e, input) = Emitter::new(shape.image_channels);
        let term = emit(&mut e, &stem, input, false);
        let mut state = e.graph.state(vec![term], true);
        if pools {
            let pool = e.graph.max_pool(state, Window::three(2));
            state = e.graph.state(vec![Term::new(pool, Normalise::Not)], false);
        }
        for block in &blocks {
            let residual = match &block.downsample {
                Some(layer) => emit(&mut e, layer, state, false),
                None => Term::new(state, Normalise::Not),
            };
            let first = emit(&mut e, &block.first, state, false);
            let hidden = e.graph.passing(first);
            let second = emit(&mut e, &block.second, hidden, true);
            state = e.graph.state(vec![second, residual], true);
        }
        e.graph.output_means(&[state]);
        Ok(Self {
            weights: Arc::new(builder.weights),
            stem,
            pools,
            blocks,
            kernels: Kernels::default(),
            compiled: e.finish(),
            classifier,
        })
    }

    /// The same network, computed in this way.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The layout of W.
    pub fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    /// The bytes of activations that a pass over a batch of images (channels, height, width) keeps until its backward
    /// pass is done, by the CPU's kernels.
    pub fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    /// Logits `[batch, classes]` for images `[batch, channels, h, w]`, by batch statistics.
    pub fn forward(&self, weights: &Leaves, images: Dual<4>) -> Dual<2> {
        let pass = &Pass::new(weights);
        if self.kernels.serve(&images.value) {
            let means = self
                .compiled
                .forward(images, weights, None, &Mode::default());
            return self.classifier.forward(pass, only_means(means));
        }
        let mut x = apply(pass, &self.stem, images).relu();
        if self.pools {
            x = x.max_pool_3x3(2);
        }
        for block in &self.blocks {
            let residual = match &block.downsample {
                Some(layer) => apply(pass, layer, x.clone()),
                None => x.clone(),
            };
            let y = apply(pass, &block.first, x).relu();
            x = (apply(pass, &block.second, y) + residual).relu();
        }
        self.classifier.forward(pass, x.global_mean())
    }
}
