//! Choosing the instruction set at run time.

use pulp::{Scalar256b, Simd, WithSimd, bytemuck};

use crate::{LANES, Lanes};

/// Runs a kernel with the best vectors of this processor.
///
/// What a kernel calls on vectors is functions that are always inlined, no closures that are called twice: compiled apart, these
/// have no vectors, and call a function for each addition.
#[inline]
pub fn run<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return Simd::vectorize(avx2, op);
    }
    Scalar256b.vectorize(op)
}

/// Runs a kernel that knows vectors of sixteen lanes with these where this processor has them, else not at all.
#[inline]
pub fn run_wide<Op: WithSimd>(op: Op) -> Option<Op::Output> {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    if let Some(avx512) = pulp::x86::V4::try_new() {
        return Some(Simd::vectorize(avx512, op));
    }
    let _ = op;
    None
}

/// Runs a kernel that knows vectors of eight and of sixteen lanes with the widest of this processor.
#[inline]
pub fn run_widest<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    if let Some(avx512) = pulp::x86::V4::try_new() {
        return Simd::vectorize(avx512, op);
    }
    run(op)
}

/// Pixels of a vector, in kernels that [`run_widest`] calls.
#[inline(always)]
pub const fn pixels<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<Lanes>()
}

/// The vector of as many pixels, `T` apart, as there are in one; with zeros past the end.
#[inline(always)]
pub fn load_pixels<S: Simd, const T: usize>(from: &[Lanes]) -> S::f32s {
    match (pixels::<S>(), T) {
        (1, _) => bytemuck::cast(from[0]),
        (_, 1) => match from.first_chunk::<2>() {
            Some(two) => bytemuck::cast(*two),
            None => bytemuck::cast([from[0], [0.0; LANES]]),
        },
        _ => {
            let second = from.get(T).copied().unwrap_or([0.0; LANES]);
            bytemuck::cast([from[0], second])
        }
    }
}

/// The same eight lanes for each pixel of a vector.
#[inline(always)]
pub fn load_same<S: Simd>(lanes: &Lanes) -> S::f32s {
    match pixels::<S>() {
        1 => bytemuck::cast(*lanes),
        _ => bytemuck::cast([*lanes; 2]),
    }
}

/// Writes a vector's pixels, those that there is room for.
#[inline(always)]
pub fn store_pixels<S: Simd>(vector: S::f32s, to: &mut [Lanes]) {
    match pixels::<S>() {
        1 => to[0] = bytemuck::cast(vector),
        _ => match to.first_chunk_mut::<2>() {
            Some(two) => *two = bytemuck::cast(vector),
            None => [to[0], _] = bytemuck::cast(vector),
        },
    }
}

/// Adds all pixels of a vector to one.
#[inline(always)]
pub fn add_pixels<S: Simd>(s: S, to: &mut Lanes, vector: S::f32s) {
    if pixels::<S>() == 1 {
        *to = lanes::<S>(s.add_f32s(load::<S>(to), vector));
        return;
    }
    let [first, second] = halves::<S>(vector);
    for l in 0..LANES {
        to[l] += first[l] + second[l];
    }
}

/// The vector of sixteen lanes out of two halves.
#[inline(always)]
pub fn load_two<S: Simd>(halves: [&Lanes; 2]) -> S::f32s {
    bytemuck::cast(halves.map(|half| *half))
}

/// The halves of a vector of sixteen lanes.
#[inline(always)]
pub fn halves<S: Simd>(vector: S::f32s) -> [Lanes; 2] {
    bytemuck::cast(vector)
}

/// The vector of eight lanes in memory, in kernels that [`run`] calls.
#[inline(always)]
pub fn load<S: Simd>(lanes: &Lanes) -> S::f32s {
    bytemuck::cast(*lanes)
}

/// The lanes of a vector.
#[inline(always)]
pub fn lanes<S: Simd>(vector: S::f32s) -> Lanes {
    bytemuck::cast(vector)
}

/// Does twelve chains of `n` multiply-adds on registers, what the processor's vectors can do at most, and tells how many
/// operations that were. For benchmarks.
pub fn peak(n: usize) -> usize {
    run_widest(Peak { n })
}

struct Peak {
    n: usize,
}

impl WithSimd for Peak {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> usize {
        let factor = s.splat_f32s(0.999);
        let mut sums: [S::f32s; 12] = std::array::from_fn(|i| s.splat_f32s(i as f32));
        for _ in 0..self.n {
            for sum in &mut sums {
                *sum = s.mul_add_e_f32s(*sum, factor, factor);
            }
        }
        std::hint::black_box(sums.into_iter().reduce(|a, b| s.add_f32s(a, b)));
        2 * self.n * sums.len() * pixels::<S>() * LANES
    }
}
