//! The parts of a batch, and the sums over all of them.
//!
//! Every loss of the method is a mean or a sum over the images of a batch, and so are its gradients and mixed products.
//! Where a batch is in parts, each is computed part by part; a sum over parts, those of other processes too, follows at once
//! wherever the result is used again: a mixed product's v must be the sum before the product, since the mean of H_i v_i is
//! not that of H_i times that of v_i. What belongs to an image, δ and its adjoint, stays with its part.

use burn::tensor::{DType, TensorData};

use super::product::Gradient;
use super::{Batches, Models, Starts};
use crate::collective::{Number, Sum, Team};
use crate::network::{Memo, Vector};

/// One part of an iteration's batches, with what is drawn for its images.
#[derive(Clone)]
pub struct Part {
    /// f and g: the same functions in all parts, but for noise and dropout, which are drawn for each image.
    pub models: Models,
    /// Its images of the four batches.
    pub batches: Batches,
    /// Δ0; none without an audience.
    pub starts: Option<Starts>,
    /// Where the passes of stages I and II leave what stage IV would compute again; none where memory is short.
    pub memo: Option<Memo>,
}

impl Team {
    /// What the loss of one part counts in the mean over the batch.
    pub fn fraction(&self) -> f64 {
        1.0 / self.parts() as f64
    }

    /// The sum over all parts of a loss and its gradients, `own` those of this process's parts in order.
    pub fn sum<const M: usize>(&self, own: impl Iterator<Item = Gradient<M>>) -> Gradient<M> {
        let mut sum = Sum::new(self.alike(), plus::<M>);
        own.for_each(|part| sum.add(part));
        if self.size() > 1 {
            return self.over_processes(sum.parts());
        }
        sum.total().unwrap_or_else(|| unreachable!("a part"))
    }

    /// The mean over all parts of a loss and its gradients.
    pub fn mean<const M: usize>(&self, own: impl Iterator<Item = Gradient<M>>) -> Gradient<M> {
        let sum = self.sum(own);
        if self.parts() == 1 {
            return sum;
        }
        let share = self.fraction();
        Gradient {
            value: share * sum.value,
            vectors: sum.vectors.map(|vector| vector.scale(share)),
        }
    }

    /// The mean over all parts of mixed products, or other vectors.
    pub fn mean_of<const M: usize>(&self, own: impl Iterator<Item = [Vector; M]>) -> [Vector; M] {
        self.mean(own.map(valueless)).vectors
    }

    /// The sum over all parts of such vectors.
    pub fn sum_of<const M: usize>(&self, own: impl Iterator<Item = [Vector; M]>) -> [Vector; M] {
        self.sum(own.map(valueless)).vectors
    }

    fn over_processes<const M: usize>(&self, own: Vec<Gradient<M>>) -> Gradient<M> {
        let [value] = self.total(own.iter().map(|part| [part.value]));
        let first = own.first().unwrap_or_else(|| unreachable!("a part"));
        let double = first.vectors.iter().any(|v| v.flat().dtype() == DType::F64);
        let vectors = match double {
            true => self.vectors_summed::<f64, M>(&own),
            false => self.vectors_summed::<f32, M>(&own),
        };
        Gradient { value, vectors }
    }

    /// The vectors' sums, all in one row of numbers.
    fn vectors_summed<F: Number + burn::tensor::Element, const M: usize>(
        &self,
        own: &[Gradient<M>],
    ) -> [Vector; M] {
        let like = &own[0].vectors;
        let row = |part: &Gradient<M>| -> Vec<F> {
            let all = part.vectors.iter();
            all.flat_map(|v| v.flat().into_data().iter::<F>().collect::<Vec<F>>())
                .collect()
        };
        let mut numbers = self.summed(own.iter().map(row).collect()).into_iter();
        std::array::from_fn(|i| {
            let length = like[i].layout().len();
            let data = TensorData::new(numbers.by_ref().take(length).collect(), [length]);
            like[i].with_data(data)
        })
    }
}

fn valueless<const M: usize>(vectors: [Vector; M]) -> Gradient<M> {
    Gradient {
        value: 0.0,
        vectors,
    }
}

fn plus<const M: usize>(a: Gradient<M>, b: Gradient<M>) -> Gradient<M> {
    let mut after = b.vectors.into_iter();
    Gradient {
        value: a.value + b.value,
        vectors: a.vectors.map(|vector| match after.next() {
            Some(other) => vector.plus(&other),
            None => vector,
        }),
    }
}
