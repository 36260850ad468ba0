//! Flat vectors of everything that is differentiated: E, W, A and Δ.
//!
//! METHOD.md's equations add, scale and compare whole sets of weights. A [`Vector`] is such a set: one
//! flat tensor, off every graph, and a [`Layout`] that says which named tensor lies where. For a pass the
//! vector is opened into [`Leaves`] of the graph, each with its tangent where the pass carries dual numbers.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use rand::Rng;

use super::dual::Dual;
use super::memo::Memo;
use crate::rng::unit;

/// How a named tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Uniform in ±bound. PyTorch's default for convolutions and linear layers has
    /// bound = 1/√fan_in.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// One named tensor of a [`Layout`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name in PyTorch's state dict, such as `cells.0.preprocess1.op.1.weight`.
    pub name: String,
    /// Its shape, in PyTorch's order (a convolution is `[out, in / groups, height, width]`).
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// Where it lies in the flat tensor.
    pub range: Range<usize>,
}

/// The names, shapes and places of the tensors in a [`Vector`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

/// The handle of one tensor of a layout, typed by its rank.
#[derive(Clone, Debug)]
pub struct Slot<const D: usize> {
    index: usize,
    start: usize,
    shape: [usize; D],
}

impl<const D: usize> Slot<D> {
    /// The tensor's shape.
    pub fn shape(&self) -> [usize; D] {
        self.shape
    }

    /// Where the tensor starts in the flat vector.
    pub fn place(&self) -> usize {
        self.start
    }

    /// The same tensor as a row of numbers.
    pub fn flat(&self) -> Slot<1> {
        Slot {
            index: self.index,
            start: self.start,
            shape: [self.shape.iter().product()],
        }
    }
}

impl Layout {
    /// Appends a tensor and returns its handle.
    pub fn push<const D: usize>(
        &mut self,
        name: impl Into<String>,
        shape: [usize; D],
        init: Init,
    ) -> Slot<D> {
        let start = self.len;
        self.len += shape.iter().product::<usize>();
        self.entries.push(Entry {
            name: name.into(),
            shape: shape.to_vec(),
            init,
            range: start..self.len,
        });
        Slot {
            index: self.entries.len() - 1,
            start,
            shape,
        }
    }

    /// The tensors, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many numbers the vector holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the vector holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Starting values, drawn entry by entry in order, so that they depend on the layout and the
    /// generator alone.
    pub fn initial_values(&self, rng: &mut impl Rng) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len);
        for entry in &self.entries {
            let n = entry.range.len();
            match entry.init {
                Init::Zeros => values.extend(std::iter::repeat_n(0.0, n)),
                Init::Ones => values.extend(std::iter::repeat_n(1.0, n)),
                Init::Uniform(bound) => values.extend((0..n).map(|_| {
                    let u = unit(rng);
                    ((2.0 * u - 1.0) * bound) as f32
                })),
                Init::Normal(deviation) => {
                    values.extend((0..n).map(|_| (normal(rng) * deviation) as f32))
                }
            }
        }
        values
    }
}

/// A standard normal number (Box–Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let (radius, angle) = (unit(rng), unit(rng));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A flat vector with named parts, off every graph.
#[derive(Clone, Debug)]
pub struct Vector {
    layout: Arc<Layout>,
    flat: Tensor<1>,
    memo: Option<Memo>,
}

impl Vector {
    /// Wraps a flat tensor.
    ///
    /// # Panics
    /// If the tensor's length is not the layout's: a mistake of the caller, not of any input.
    pub fn new(layout: Arc<Layout>, flat: Tensor<1>) -> Self {
        assert_eq!(flat.dims()[0], layout.len(), "a vector fills its layout");
        Self {
            layout,
            flat,
            memo: None,
        }
    }

    /// The same weights, whose passes leave their values there for one with tangents, or take them from there.
    pub fn remembering(&self, memo: Option<&Memo>) -> Self {
        Self {
            memo: memo.cloned(),
            ..self.clone()
        }
    }

    /// A vector of these values in `dtype` on `device`.
    pub fn from_values(
        layout: Arc<Layout>,
        values: Vec<f32>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let n = values.len();
        Self::new(
            layout,
            Tensor::from_data(TensorData::new(values, [n]), (device, dtype)),
        )
    }

    /// All zeros.
    pub fn zeros(layout: Arc<Layout>, device: &Device, dtype: DType) -> Self {
        let n = layout.len();
        Self::new(layout, Tensor::zeros([n], (device, dtype)))
    }

    /// A vector of one tensor called `name`.
    pub fn single<const D: usize>(name: &str, tensor: Tensor<D>) -> (Self, Slot<D>) {
        let mut layout = Layout::default();
        let slot = layout.push(name, tensor.dims(), Init::Zeros);
        let n = layout.len();
        (Self::new(Arc::new(layout), tensor.reshape([n])), slot)
    }

    /// The layout.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The flat tensor.
    pub fn flat(&self) -> Tensor<1> {
        self.flat.clone()
    }

    /// One part in its own shape.
    pub fn part<const D: usize>(&self, slot: &Slot<D>) -> Tensor<D> {
        let range = self.layout.entries[slot.index].range.clone();
        self.flat.clone().slice([range]).reshape(slot.shape)
    }

    /// The vector with some of its rank-1 parts replaced.
    pub fn replace(&self, parts: Vec<(Slot<1>, Tensor<1>)>) -> Self {
        let mut all: Vec<Tensor<1>> = self.slices(&self.flat);
        for (slot, part) in parts {
            all[slot.index] = part;
        }
        self.with(Tensor::cat(all, 0))
    }

    /// The parts of a flat tensor in this vector's layout.
    fn slices(&self, flat: &Tensor<1>) -> Vec<Tensor<1>> {
        if self.layout.entries.len() == 1 {
            return vec![flat.clone()];
        }
        let entries = self.layout.entries.iter();
        entries
            .map(|e| flat.clone().slice([e.range.clone()]))
            .collect()
    }

    /// All values, as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        let data = self.flat.to_data().convert::<f64>();
        data.iter::<f64>().collect()
    }

    /// The same layout with another flat tensor.
    pub fn with(&self, flat: Tensor<1>) -> Self {
        Self::new(self.layout.clone(), flat)
    }

    /// The same layout, device and precision with these values.
    ///
    /// # Panics
    /// If they are not as many: a mistake of the caller.
    pub fn with_values(&self, values: Vec<f64>) -> Self {
        self.with_data(TensorData::new(values, [self.layout.len()]))
    }

    /// The same layout, device and precision with these numbers.
    pub(crate) fn with_data(&self, data: TensorData) -> Self {
        let like = (&self.flat.device(), self.flat.dtype());
        self.with(Tensor::from_data(data, like))
    }

    /// All values as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.flat.to_data().as_bytes().to_vec()
    }

    /// The sums of its numbers with another's.
    pub fn plus(&self, other: &Self) -> Self {
        self.with(self.flat() + other.flat())
    }

    /// The products of its numbers with another's.
    pub fn times(&self, other: &Self) -> Self {
        self.with(self.flat() * other.flat())
    }

    /// self + factor · other.
    pub fn add_scaled(&self, factor: f64, other: &Self) -> Self {
        self.with(self.flat() + other.flat().mul_scalar(factor))
    }

    /// factor · self.
    pub fn scale(&self, factor: f64) -> Self {
        self.with(self.flat().mul_scalar(factor))
    }

    /// The Euclidean norm, summed in f64 when the values are; non-finite where a value is.
    pub fn norm(&self) -> f64 {
        self.flat().square().sum().into_scalar::<f64>().sqrt()
    }

    /// The sum of the products of its numbers with another's.
    pub fn dot(&self, other: &Self) -> f64 {
        (self.flat() * other.flat()).sum().into_scalar::<f64>()
    }

    /// Opens the vector for one pass.
    pub fn open(&self, tangent: Option<&Vector>, tracked: bool) -> Leaves {
        Leaves {
            vector: self.clone(),
            tangent: tangent.cloned(),
            tracked,
            whole: OnceCell::new(),
            parts: RefCell::default(),
        }
    }
}

/// A [`Vector`] opened for one pass. Each named tensor, or the whole, becomes a leaf of the graph when it is
/// first asked for.
pub struct Leaves {
    vector: Vector,
    tangent: Option<Vector>,
    tracked: bool,
    whole: OnceCell<Tensor<1>>,
    parts: RefCell<BTreeMap<usize, Tensor<1>>>,
}

impl Leaves {
    fn leaf(&self, tensor: Tensor<1>) -> Tensor<1> {
        if self.tracked {
            tensor.autodiff().require_grad()
        } else {
            tensor
        }
    }

    /// One tensor, with its tangent if the pass carries one for this vector.
    pub fn get<const D: usize>(&self, slot: &Slot<D>) -> Dual<D> {
        let range = slot.start..slot.start + slot.shape.iter().product::<usize>();
        let part = |from: &Vector| from.flat().slice([range.clone()]);
        let mut parts = self.parts.borrow_mut();
        let leaf = parts
            .entry(slot.index)
            .or_insert_with(|| self.leaf(part(&self.vector)));
        Dual {
            value: leaf.clone().reshape(slot.shape),
            tangent: self.tangent.as_ref().map(|t| part(t).reshape(slot.shape)),
        }
    }

    /// The whole vector, flat.
    pub fn whole(&self) -> Dual<1> {
        let leaf = self.whole.get_or_init(|| self.leaf(self.vector.flat()));
        Dual {
            value: leaf.clone(),
            tangent: self.tangent.as_ref().map(Vector::flat),
        }
    }

    /// Where passes by these weights leave their values.
    pub fn memo(&self) -> Option<&Memo> {
        self.vector.memo.as_ref()
    }

    /// A vector of zeros in these leaves' layout.
    pub fn zeros(&self) -> Vector {
        self.vector.with(self.vector.flat().zeros_like())
    }

    /// Collects the leaves' gradients; what the loss does not depend on has gradient 0.
    pub fn gradient(&self, gradients: &mut Gradients) -> Vector {
        let mut of = |leaf: &Tensor<1>| leaf.grad_remove(gradients);
        let whole = self.whole.get().map(&mut of);
        let parts = self.parts.borrow();
        let parts = parts.iter().map(|(index, leaf)| (*index, of(leaf)));
        let Some(whole) = whole else {
            let mut found: BTreeMap<usize, Tensor<1>> = BTreeMap::new();
            found.extend(parts.filter_map(|(index, g)| Some((index, g?))));
            let entries = self.vector.layout.entries.iter().enumerate();
            let all = entries.map(|(index, e)| match found.remove(&index) {
                Some(gradient) => gradient,
                None => self.vector.flat().slice([e.range.clone()]).zeros_like(),
            });
            return self.vector.with(Tensor::cat(all.collect(), 0));
        };
        let whole = whole.unwrap_or_else(|| self.vector.flat().zeros_like());
        let total = parts.fold(whole, |total, (index, g)| match g {
            Some(g) => {
                let range = self.vector.layout.entries[index].range.clone();
                let sum = total.clone().slice([range.clone()]) + g;
                total.slice_assign([range], sum)
            }
            None => total,
        });
        self.vector.with(total)
    }
}
