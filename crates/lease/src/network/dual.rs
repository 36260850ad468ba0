//! Dual numbers (value, tangent) over tensors, and the differentiation rule of every operation used.
//!
//! A pass without tangents is an ordinary forward pass. A pass with tangents computes the directional
//! derivative of the loss as its last tangent, an ordinary first-order expression: one backward pass
//! through it is the exact mixed product (METHOD.md, "The mixed product, exactly").
//!
//! Images and states are `[batch, channels, height, width]`.

use std::ops::{Add, Mul};

use burn::tensor::activation::{log_softmax, relu, sigmoid};
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d, max_pool2d_with_indices};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Int, Tensor, TensorData};

/// A tensor and, in a dual pass, its derivative along the pass's direction. No tangent means zero.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The tangent, of the value's shape.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self {
            value,
            tangent: None,
        }
    }
}

/// a + b where both may be absent.
fn sum<const D: usize>(a: Option<Tensor<D>>, b: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

impl<const D: usize> Add for Dual<D> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            tangent: sum(self.tangent, other.tangent),
        }
    }
}

/// The product, element by element; either side may be of size 1 along a dimension.
impl<const D: usize> Mul for Dual<D> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let left = self.tangent.map(|t| t * other.value.clone());
        let right = other.tangent.map(|t| t * self.value.clone());
        Self {
            value: self.value * other.value,
            tangent: sum(left, right),
        }
    }
}

/// The softmax along a dimension, of the same bits whether a tensor is tracked or not, which Burn's is not.
pub fn softmax<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    let largest = x.clone().detach().max_dim(dim);
    let powers = (x - largest).exp();
    powers.clone() / powers.sum_dim(dim)
}

impl<const D: usize> Dual<D> {
    /// Applies a linear map to value and tangent alike.
    pub fn linear<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual {
            value: map(self.value),
            tangent: self.tangent.map(map),
        }
    }

    /// |self|; the derivative at 0 is 0.
    pub fn abs(self) -> Self {
        let tangent = self.tangent.map(|t| t * self.value.clone().sign());
        Self {
            value: self.value.abs(),
            tangent,
        }
    }

    /// max(self, 0); the derivative at 0 is 0.
    pub fn relu(self) -> Self {
        let tangent = self
            .tangent
            .map(|t| t.mask_fill(self.value.clone().lower_equal_scalar(0.0), 0.0));
        Self {
            value: relu(self.value),
            tangent,
        }
    }

    /// 1 / (1 + e^(−self)).
    pub fn sigmoid(self) -> Self {
        let value = sigmoid(self.value);
        let tangent = self.tangent.map(|t| {
            let slope = value.clone() - value.clone().square();
            slope * t
        });
        Self { value, tangent }
    }

    /// elu(self) + 1: self + 1 above 0, e^self below.
    pub fn elu_plus_one(self) -> Self {
        let power = self.value.clone().neg();
        let power = relu(power).neg().exp();
        Self {
            value: relu(self.value) + power.clone(),
            // Above 0 the power is 1, and so is the slope.
            tangent: self.tangent.map(|t| t * power),
        }
    }

    /// The numbers as shares of their sum along the last dimension.
    pub fn normalised(self) -> Self {
        let sum = self.value.clone().sum_dim(D - 1);
        let value = self.value / sum.clone();
        let tangent = self.tangent.map(|t| {
            let all = t.clone().sum_dim(D - 1);
            (t - value.clone() * all) / sum
        });
        Self { value, tangent }
    }

    /// With constants added, given in order.
    pub fn plus(self, constants: &[f64]) -> Self {
        let like = (&self.value.device(), self.value.dtype());
        let data = TensorData::new(constants.to_vec(), self.value.dims());
        Self {
            value: self.value + Tensor::from_data(data, like),
            tangent: self.tangent,
        }
    }

    /// The joined parts, along dimension `dim`.
    pub fn cat(parts: Vec<Self>, dim: usize) -> Self {
        let tangent = parts.iter().any(|p| p.tangent.is_some()).then(|| {
            let tangents = parts.iter().map(|p| match &p.tangent {
                Some(t) => t.clone(),
                None => p.value.clone().inner().zeros_like(),
            });
            Tensor::cat(tangents.collect(), dim)
        });
        Self {
            value: Tensor::cat(parts.into_iter().map(|p| p.value).collect(), dim),
            tangent,
        }
    }

    /// The softmax along the last dimension.
    pub fn softmax(self) -> Self {
        let value = softmax(self.value, D - 1);
        let tangent = self.tangent.map(|t| {
            let weighted = value.clone() * t;
            let mean = weighted.clone().sum_dim(D - 1);
            weighted - value.clone() * mean
        });
        Self { value, tangent }
    }
}

impl Dual<4> {
    /// Convolution without bias: `[batch, in, h, w]` and `[out, in / groups, k, k]`.
    pub fn conv2d(self, weight: Dual<4>, options: &ConvOptions<2>) -> Self {
        let apply = |x: Tensor<4>, w: Tensor<4>| conv2d(x, w, None, options.clone());
        let through_input = self.tangent.map(|t| apply(t, weight.value.clone()));
        let through_weight = weight.tangent.map(|t| apply(self.value.clone(), t));
        Self {
            value: apply(self.value, weight.value),
            tangent: sum(through_input, through_weight),
        }
    }

    /// 3×3 max-pooling with padding 1.
    pub fn max_pool_3x3(self, stride: usize) -> Self {
        self.max_pool(3, stride, 1)
    }

    /// k×k max-pooling. The tangent follows the value's maxima.
    pub fn max_pool(self, size: usize, stride: usize, padding: usize) -> Self {
        let options = MaxPoolOptions::new([size, size])
            .with_stride([stride, stride])
            .with_padding([padding, padding]);
        let Some(tangent) = self.tangent else {
            return max_pool2d(self.value, options).into();
        };
        let (value, indices) = max_pool2d_with_indices(self.value, options);
        let [batch, channels, height, width] = value.dims();
        let flat: Tensor<3, Int> = indices.reshape([batch, channels, height * width]);
        let [_, _, input_height, input_width] = tangent.dims();
        let tangent = tangent
            .reshape([batch, channels, input_height * input_width])
            .gather(2, flat)
            .reshape([batch, channels, height, width]);
        Self {
            value,
            tangent: Some(tangent),
        }
    }

    /// 3×3 mean over the pixels inside the image (PyTorch's `count_include_pad=False`), padding 1.
    pub fn avg_pool_3x3(self, stride: usize) -> Self {
        self.avg_pool(3, stride, 1)
    }

    /// k×k mean over the pixels inside the image.
    pub fn avg_pool(self, size: usize, stride: usize, padding: usize) -> Self {
        let options = AvgPoolOptions::new([size, size])
            .with_stride([stride, stride])
            .with_padding([padding, padding])
            .with_count_include_pad(false);
        self.linear(|t| avg_pool2d(t, options.clone()))
    }

    /// These channels.
    pub fn channels(self, range: std::ops::Range<usize>) -> Self {
        self.linear(|t| {
            let [batch, _, height, width] = t.dims();
            t.slice([0..batch, range.clone(), 0..height, 0..width])
        })
    }

    /// Channel g · (C / groups) + i goes to i · groups + g (ShuffleNet's shuffle).
    pub fn shuffled(self, groups: usize) -> Self {
        self.linear(|t| {
            let [batch, channels, height, width] = t.dims();
            let split = t.reshape([batch, groups, channels / groups, height, width]);
            split
                .swap_dims(1, 2)
                .reshape([batch, channels, height, width])
        })
    }

    /// The image one pixel further on to the right and below, with zeros where it ends: what the second
    /// half of a factorized reduction sees. For an even size its stride-2 samples are PyTorch's
    /// `x[:, :, 1:, 1:]`; for an odd size, which PyTorch refuses, the last one is the zero padding.
    pub fn shifted_by_one(self) -> Self {
        self.linear(|t| {
            let [_, _, height, width] = t.dims();
            let padding = [(0, height % 2), (0, width % 2)];
            let t = if padding == [(0, 0), (0, 0)] {
                t
            } else {
                t.pad(padding, PadMode::Constant(0.0))
            };
            let [batch, channels, height, width] = t.dims();
            t.slice([0..batch, 0..channels, 1..height, 1..width])
        })
    }

    /// The mean over height and width: `[batch, channels]`.
    pub fn global_mean(self) -> Dual<2> {
        self.linear(|t| {
            let [batch, channels, _, _] = t.dims();
            t.mean_dims(&[2, 3]).reshape([batch, channels])
        })
    }
}

impl Dual<2> {
    /// x · weightᵀ + bias: `[batch, in]`, `[out, in]`, `[out]`.
    pub fn linear_layer(self, weight: Dual<2>, bias: Dual<1>) -> Self {
        let through_input = self
            .tangent
            .map(|t| t.matmul(weight.value.clone().transpose()));
        let through_weight = weight
            .tangent
            .map(|t| self.value.clone().matmul(t.transpose()));
        let product = Self {
            value: self.value.matmul(weight.value.transpose()),
            tangent: sum(through_input, through_weight),
        };
        let [rows, columns] = product.value.dims();
        let bias = bias.linear(|t| t.reshape([1, columns]));
        Self {
            value: product.value + bias.value,
            tangent: sum(
                product.tangent,
                bias.tangent.map(|t| t.expand([rows, columns])),
            ),
        }
    }

    /// −Σ_i Σ_k b_ik log softmax(self)_ik, over the batch and the classes; b may carry a tangent.
    pub fn soft_cross_entropy(self, target: Dual<2>) -> Dual<1> {
        let log = log_softmax(self.value.clone(), 1);
        let through_logits = self.tangent.map(|t| {
            let mean = (softmax(self.value.clone(), 1) * t.clone()).sum_dim(1);
            (target.value.clone() * (mean - t)).sum()
        });
        let through_target = target.tangent.map(|t| (t * log.clone()).sum().neg());
        Dual {
            value: (target.value * log).sum().neg(),
            tangent: sum(through_logits, through_target),
        }
    }

    /// The mean cross-entropy against labels given as one-hot rows `[batch, classes]`.
    pub fn cross_entropy(self, one_hot: Tensor<2>) -> Dual<1> {
        // Not div_scalar: Burn 0.22.1 rounds its divisor's reciprocal to f32 in the backward pass.
        let share = 1.0 / one_hot.dims()[0] as f64;
        self.soft_cross_entropy(one_hot.into())
            .linear(|t| t.mul_scalar(share))
    }
}
