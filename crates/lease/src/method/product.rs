//! The two derivatives that the method needs: ∇F, and the mixed product of METHOD.md.

use burn::tensor::Tensor;

use crate::network::{Dual, Leaves, Vector};

/// A loss with its value and gradients with respect to some of its variables.
pub struct Gradient<const M: usize> {
    /// The loss.
    pub value: f64,
    /// One gradient for each variable asked for.
    pub vectors: [Vector; M],
}

/// ∇ of a loss of `N` variables at `at`, with respect to those numbered in `wrt`.
///
/// The others enter as constants: a pass made for Δ alone computes no weight gradient.
pub fn gradient<const N: usize, const M: usize>(
    loss: impl Fn([&Leaves; N]) -> Dual<1>,
    at: [&Vector; N],
    wrt: [usize; M],
) -> Gradient<M> {
    let leaves: [Leaves; N] = std::array::from_fn(|i| at[i].open(None, wrt.contains(&i)));
    let value = loss(leaves.each_ref()).value;
    // A GPU goes on until the value is read.
    let vectors = backward(&value, &leaves, wrt);
    Gradient {
        value: value.into_scalar::<f64>(),
        vectors,
    }
}

/// How ∂/∂p ⟨∇_u F(u, p), v⟩ is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MixedProduct {
    /// By dual numbers and one backward pass: exact to rounding.
    Exact,
    /// By the central difference [∇_p F(u + hv) − ∇_p F(u − hv)] / 2h with h = h0 / ‖v‖ (DARTS: 0.01).
    FiniteDifference {
        /// The length of the step from u.
        h0: f64,
    },
}

impl MixedProduct {
    /// mixed(F, u, v; p) = ∂/∂p ⟨∇_u F(u, p), v⟩ for u = `at[along.0]`, v = `along.1` and each p in `wrt`.
    pub fn product<const N: usize, const M: usize>(
        self,
        loss: impl Fn([&Leaves; N]) -> Dual<1>,
        at: [&Vector; N],
        along: (usize, &Vector),
        wrt: [usize; M],
    ) -> [Vector; M] {
        let (u, v) = along;
        match self {
            Self::Exact => {
                let leaves: [Leaves; N] =
                    std::array::from_fn(|i| at[i].open((i == u).then_some(v), wrt.contains(&i)));
                match loss(leaves.each_ref()).tangent {
                    Some(tangent) => backward(&tangent, &leaves, wrt),
                    None => wrt.map(|i| at[i].scale(0.0)),
                }
            }
            Self::FiniteDifference { h0 } => {
                let norm = v.norm();
                if norm == 0.0 {
                    return wrt.map(|i| at[i].scale(0.0));
                }
                let h = h0 / norm;
                let side = |sign: f64| {
                    let shifted = at[u].add_scaled(sign * h, v);
                    let mut point = at;
                    point[u] = &shifted;
                    gradient(&loss, point, wrt).vectors
                };
                let (plus, minus) = (side(1.0), side(-1.0));
                std::array::from_fn(|i| plus[i].add_scaled(-1.0, &minus[i]).scale(0.5 / h))
            }
        }
    }
}

pub(super) fn backward<const N: usize, const M: usize>(
    scalar: &Tensor<1>,
    leaves: &[Leaves; N],
    wrt: [usize; M],
) -> [Vector; M] {
    if M == 0 || !scalar.is_tracked() {
        return wrt.map(|i| leaves[i].zeros());
    }
    let mut gradients = scalar.backward();
    wrt.map(|i| leaves[i].gradient(&mut gradients))
}
