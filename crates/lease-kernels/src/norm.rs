//! Batch normalisation by batch statistics, on dual numbers.
//!
//! With x̂ = (z − μ)·r, r = (σ² + ε)^−½, ċ = ż − ṁ (ṁ the mean of ż) and p = mean(x̂·ċ), the tangent of x̂ is
//! ẏ = r·(ċ − p·x̂). Given the adjoints ȳ of x̂ and t̄ of ẏ, and q = mean(t̄·x̂), s = mean(t̄·ċ):
//!
//! ```text
//! adjoint of ż = r·(t̄ − mean t̄ − q·x̂)
//! adjoint of z = r·(ȳ − mean ȳ − mean(ȳ·x̂)·x̂) − r²·(p·(t̄ − mean t̄) + q·ċ + (s − 3pq)·x̂)
//! ```
//!
//! All of it is, channel by channel, a linear form of what is in memory; [`Form`]s hold the coefficients.

use pulp::{Simd, WithSimd};

use crate::simd::{lanes, load, run};
use crate::{LANES, Lanes};

/// Added to a variance before its root is taken (PyTorch's default).
pub const EPSILON: f64 = 1e-5;

/// What numbers of this variance are multiplied by: r.
pub fn reciprocal(variance: f64) -> f64 {
    1.0 / (variance + EPSILON).sqrt()
}

/// The unbiased variance of so many numbers, from r.
pub fn unbiased(reciprocal: f64, count: f64) -> f32 {
    let variance = (reciprocal * reciprocal).recip() - EPSILON;
    (variance * (count / (count - 1.0).max(1.0))) as f32
}

/// One block's sums over one image, centred on the image's own mean, so that f32 suffices.
#[derive(Clone, Copy, Default)]
pub struct ImageSums {
    mean: Lanes,
    squares: Lanes,
    tangent_mean: Lanes,
    cross: Lanes,
}

/// The sums of one plane and its tangent.
pub fn image_sums(z: &[Lanes], tangent: Option<&[Lanes]>) -> ImageSums {
    run(Sums { z, tangent })
}

struct Sums<'a> {
    z: &'a [Lanes],
    tangent: Option<&'a [Lanes]>,
}

impl WithSimd for Sums<'_> {
    type Output = ImageSums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> ImageSums {
        let centre = mean(s, self.z);
        let [squares] = chains(s, [self.z], |s, [z], [sum]| {
            let c = s.sub_f32s(z, centre);
            [s.mul_add_e_f32s(c, c, sum)]
        });
        let mut sums = ImageSums {
            mean: lanes::<S>(centre),
            squares: lanes::<S>(squares),
            ..ImageSums::default()
        };
        if let Some(tangent) = self.tangent {
            let [cross] = chains(s, [self.z, tangent], |s, [z, t], [sum]| {
                let c = s.sub_f32s(z, centre);
                [s.mul_add_e_f32s(c, t, sum)]
            });
            sums.tangent_mean = lanes::<S>(mean(s, tangent));
            sums.cross = lanes::<S>(cross);
        }
        sums
    }
}

#[inline(always)]
fn mean<S: Simd>(s: S, plane: &[Lanes]) -> S::f32s {
    let [sum] = chains(s, [plane], |s, [x], [sum]| [s.add_f32s(sum, x)]);
    s.mul_f32s(sum, s.splat_f32s(1.0 / plane.len() as f32))
}

/// Sums over the pixels of planes, in four chains so that one addition need not wait for the last.
#[inline(always)]
fn chains<S: Simd, const N: usize, const M: usize>(
    s: S,
    planes: [&[Lanes]; N],
    step: impl Fn(S, [S::f32s; N], [S::f32s; M]) -> [S::f32s; M],
) -> [S::f32s; M] {
    let n = planes[0].len();
    let planes = planes.map(|p| &p[..n]);
    let mut sums = [[s.splat_f32s(0.0); M]; 4];
    let whole = n / 4 * 4;
    let mut i = 0;
    while i < whole {
        let four = planes.map(|p| &p[i..i + 4]);
        for (k, sums) in sums.iter_mut().enumerate() {
            *sums = step(s, four.map(|p| load::<S>(&p[k])), *sums);
        }
        i += 4;
    }
    while i < n {
        sums[0] = step(s, planes.map(|p| load::<S>(&p[i])), sums[0]);
        i += 1;
    }
    let [a, b, c, d] = sums;
    std::array::from_fn(|m| s.add_f32s(s.add_f32s(a[m], b[m]), s.add_f32s(c[m], d[m])))
}

/// A batch norm's statistics, for each channel.
#[derive(Clone, Debug)]
pub struct Norm {
    mean: Vec<f64>,
    /// r.
    scale: Vec<f64>,
    tangent_mean: Vec<f64>,
    /// p.
    projection: Vec<f64>,
    count: f64,
}

/// Coefficients of a linear form, for each block.
pub type Form = Vec<Lanes>;

/// y = scale · z + shift, and its tangent scale · ż + slope · z + tangent_shift.
pub struct Affine {
    /// Of z, and of ż in the tangent.
    pub scale: Form,
    /// The constant.
    pub shift: Form,
    /// Of z in the tangent.
    pub slope: Form,
    /// The tangent's constant.
    pub tangent_shift: Form,
}

/// Sums over the batch of an adjoint g of y (and g' of ẏ) against z: what [`Norm::backward`] needs.
#[derive(Clone, Debug)]
pub struct AdjointSums {
    /// Σ g.
    pub g: Vec<f64>,
    /// Σ g·(z − μ).
    pub gz: Vec<f64>,
    /// Σ g'.
    pub t: Vec<f64>,
    /// Σ g'·(z − μ).
    pub tz: Vec<f64>,
    /// Σ g'·(ż − ṁ).
    pub tc: Vec<f64>,
}

/// The adjoints of z and ż as linear forms of g, g', z and ż.
pub struct Adjoint {
    /// Of g: in z's adjoint, and of g' in ż's.
    pub g: Form,
    /// Of g' in z's adjoint.
    pub t: Form,
    /// Of z in z's adjoint.
    pub z: Form,
    /// Of ż in z's adjoint, and of z in ż's.
    pub cross: Form,
    /// The constant in z's adjoint.
    pub constant: Form,
    /// The constant in ż's adjoint.
    pub tangent_constant: Form,
}

fn form(n: usize, value: impl Fn(usize) -> f64) -> Form {
    let blocks = 0..n / LANES;
    blocks
        .map(|b| std::array::from_fn(|l| value(b * LANES + l) as f32))
        .collect()
}

impl Norm {
    /// The statistics of a batch: the sums of each image's blocks, each over `pixels`.
    pub fn new<'a>(
        images: impl Iterator<Item = &'a [ImageSums]> + Clone,
        blocks: usize,
        pixels: usize,
    ) -> Self {
        let channels = blocks * LANES;
        let n = images.clone().count() as f64;
        let pixels = pixels as f64;
        let count = n * pixels;
        let mut norm = Self {
            mean: vec![0.0; channels],
            scale: vec![0.0; channels],
            tangent_mean: vec![0.0; channels],
            projection: vec![0.0; channels],
            count,
        };
        for b in 0..blocks {
            let of_images = || images.clone().map(|image| &image[b]);
            let [mut mean, mut tangent_mean] = [[0.0; LANES]; 2];
            for i in of_images() {
                for l in 0..LANES {
                    mean[l] += f64::from(i.mean[l]);
                    tangent_mean[l] += f64::from(i.tangent_mean[l]);
                }
            }
            let [mean, tangent_mean] = [mean, tangent_mean].map(|sums| sums.map(|sum| sum / n));
            let [mut squares, mut cross] = [[0.0; LANES]; 2];
            for i in of_images() {
                for l in 0..LANES {
                    let away = f64::from(i.mean[l]) - mean[l];
                    squares[l] += f64::from(i.squares[l]) + pixels * away * away;
                    cross[l] +=
                        f64::from(i.cross[l]) + pixels * away * f64::from(i.tangent_mean[l]);
                }
            }
            for l in 0..LANES {
                let c = b * LANES + l;
                let scale = reciprocal(squares[l] / count);
                norm.mean[c] = mean[l];
                norm.scale[c] = scale;
                norm.tangent_mean[c] = tangent_mean[l];
                norm.projection[c] = scale * cross[l] / count;
            }
        }
        norm
    }

    /// By running statistics instead of a batch's; nothing is differentiated through them.
    pub fn running(mean: &[f32], variance: &[f32]) -> Self {
        let channels = mean.len().next_multiple_of(LANES);
        let mut norm = Self::none(channels);
        for (c, (mean, variance)) in mean.iter().zip(variance).enumerate() {
            norm.mean[c] = f64::from(*mean);
            norm.scale[c] = reciprocal(f64::from(*variance));
        }
        norm
    }

    /// No normalisation at all: what the identity has.
    pub fn none(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            scale: vec![1.0; channels],
            tangent_mean: vec![0.0; channels],
            projection: vec![0.0; channels],
            count: f64::INFINITY,
        }
    }

    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The first `channels` means and unbiased variances: what running statistics are made of.
    pub fn statistics(&self, channels: usize) -> Statistics {
        let variance = |r: &f64| unbiased(*r, self.count);
        Statistics {
            mean: self.mean[..channels].iter().map(|m| *m as f32).collect(),
            variance: self.scale[..channels].iter().map(variance).collect(),
        }
    }

    /// y = weight · x̂ + shift and its tangent, as forms of z and ż.
    pub fn forward(&self, weighting: &Weighting) -> Affine {
        let n = self.channels();
        let (w, wt) = (&weighting.value, &weighting.tangent);
        let r = |c: usize| self.scale[c] * w[c];
        let slope = |c: usize| self.scale[c] * (wt[c] - r(c) * self.projection[c]);
        Affine {
            scale: form(n, r),
            shift: form(n, |c| weighting.shift[c] - r(c) * self.mean[c]),
            slope: form(n, slope),
            tangent_shift: form(n, |c| {
                weighting.shift_tangent[c] - r(c) * self.tangent_mean[c] - slope(c) * self.mean[c]
            }),
        }
    }

    /// The means that [`AdjointSums`] are centred on: μ and ṁ.
    pub fn centres(&self) -> [Form; 2] {
        let n = self.channels();
        [form(n, |c| self.mean[c]), form(n, |c| self.tangent_mean[c])]
    }

    /// The inner products of the adjoints of y and ẏ with x̂ and its tangent, and of that of ẏ with x̂, for
    /// one channel: the derivatives with respect to the weight and its tangent.
    pub fn along(&self, sums: &AdjointSums, c: usize) -> [f64; 2] {
        let (r, p) = (self.scale[c], self.projection[c]);
        [
            r * sums.gz[c] + r * (sums.tc[c] - p * r * sums.tz[c]),
            r * sums.tz[c],
        ]
    }

    /// The adjoints of z and ż as forms of those of y and ẏ, g and g'.
    pub fn backward(&self, weighting: &Weighting, sums: &AdjointSums) -> Adjoint {
        let (n, m) = (self.channels(), self.count);
        let (w, wt) = (&weighting.value, &weighting.tangent);
        let r = &self.scale;
        let p = &self.projection;
        // Means over the batch of the adjoints of x̂ (w·g + ẇ·g') and of its tangent (w·g').
        let q = |c: usize| w[c] * r[c] * sums.tz[c] / m;
        let mean_t = |c: usize| w[c] * sums.t[c] / m;
        let mean_y = |c: usize| (w[c] * sums.g[c] + wt[c] * sums.t[c]) / m;
        // What multiplies x̂ in z's adjoint.
        let along = |c: usize| {
            let mean_yx = r[c] * (w[c] * sums.gz[c] + wt[c] * sums.tz[c]) / m;
            let s = w[c] * sums.tc[c] / m;
            -r[c] * mean_yx - r[c] * r[c] * (s - 3.0 * p[c] * q(c))
        };
        let cross = |c: usize| -r[c] * r[c] * q(c);
        Adjoint {
            g: form(n, |c| r[c] * w[c]),
            t: form(n, |c| r[c] * (wt[c] - r[c] * p[c] * w[c])),
            z: form(n, |c| along(c) * r[c]),
            cross: form(n, cross),
            constant: form(n, |c| {
                -r[c] * mean_y(c) + r[c] * r[c] * p[c] * mean_t(c)
                    - cross(c) * self.tangent_mean[c]
                    - along(c) * r[c] * self.mean[c]
            }),
            tangent_constant: form(n, |c| -r[c] * mean_t(c) - cross(c) * self.mean[c]),
        }
    }
}

/// What a normalised x̂ is multiplied by and shifted by, channel by channel, with their tangents.
#[derive(Clone, Debug)]
pub struct Weighting {
    /// Weight.
    pub value: Vec<f64>,
    /// Its tangent.
    pub tangent: Vec<f64>,
    /// Shift.
    pub shift: Vec<f64>,
    /// Its tangent.
    pub shift_tangent: Vec<f64>,
}

/// A batch's mean and unbiased variance, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances.
    pub variance: Vec<f32>,
}

impl AdjointSums {
    /// No sums yet.
    pub fn zeros(blocks: usize) -> Self {
        let zeros = vec![0.0; blocks * LANES];
        Self {
            g: zeros.clone(),
            gz: zeros.clone(),
            t: zeros.clone(),
            tz: zeros.clone(),
            tc: zeros,
        }
    }

    /// Adds those of one plane, times a factor.
    pub fn add(&mut self, block: usize, sums: &PlaneSums, factor: f32) {
        let all = [
            &mut self.g,
            &mut self.gz,
            &mut self.t,
            &mut self.tz,
            &mut self.tc,
        ];
        for (total, sum) in all.into_iter().zip(sums) {
            for (total, sum) in total[block * LANES..].iter_mut().zip(sum) {
                *total += f64::from(factor * sum);
            }
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        let ours = [
            &mut self.g,
            &mut self.gz,
            &mut self.t,
            &mut self.tz,
            &mut self.tc,
        ];
        let theirs = [&other.g, &other.gz, &other.t, &other.tz, &other.tc];
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            for (a, b) in ours.iter_mut().zip(theirs) {
                *a += b;
            }
        }
    }
}

/// A plane of what was normalised, and what its sums are centred on.
pub struct Centred<'a> {
    /// z.
    pub z: &'a [Lanes],
    /// ż.
    pub tangent: Option<&'a [Lanes]>,
    /// μ and ṁ.
    pub centre: [&'a Lanes; 2],
}

/// The sums over one plane, in the order of [`AdjointSums`]'s fields.
pub type PlaneSums = [Lanes; 5];

/// Sets `sums` to those of a plane of g, and of g' if there is one, against each of these.
pub fn plane_sums(
    g: &[Lanes],
    tangent: Option<&[Lanes]>,
    planes: &[Centred],
    sums: &mut Vec<PlaneSums>,
) {
    sums.clear();
    run(Against {
        g,
        tangent,
        planes,
        sums,
    });
}

struct Against<'a, 'b> {
    g: &'a [Lanes],
    tangent: Option<&'a [Lanes]>,
    planes: &'a [Centred<'b>],
    sums: &'a mut Vec<PlaneSums>,
}

impl WithSimd for Against<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        // Four planes at a time, since memory gives several streams faster than one.
        for planes in self.planes.chunks(4) {
            match planes {
                [a, b, c, d] => self.values::<S, 4, 2>(s, [a, b, c, d]),
                [a, b, c] => self.values::<S, 3, 2>(s, [a, b, c]),
                [a, b] => self.values::<S, 2, 4>(s, [a, b]),
                [a] => self.values::<S, 1, 4>(s, [a]),
                _ => {}
            }
        }
        let Some(tangent) = self.tangent else { return };
        for (plane, sums) in self.planes.iter().zip(&mut *self.sums) {
            let Some(zt) = plane.tangent else { continue };
            let centre = plane.centre.map(load::<S>);
            let dual = chains(s, [tangent, plane.z, zt], |s, [t, z, zt], [sum, tz, tc]| {
                let (z, c) = (s.sub_f32s(z, centre[0]), s.sub_f32s(zt, centre[1]));
                [
                    s.add_f32s(sum, t),
                    s.mul_add_e_f32s(t, z, tz),
                    s.mul_add_e_f32s(t, c, tc),
                ]
            });
            for (sum, dual) in sums[2..].iter_mut().zip(dual) {
                *sum = lanes::<S>(dual);
            }
        }
    }
}

impl Against<'_, '_> {
    /// Σ g and Σ g·(z − μ) of `N` planes, each in `C` chains so that no addition need wait for the last.
    #[inline(always)]
    fn values<S: Simd, const N: usize, const C: usize>(&mut self, s: S, planes: [&Centred; N]) {
        let zero = s.splat_f32s(0.0);
        let centres = planes.map(|p| load::<S>(p.centre[0]));
        let (gs, rest) = self.g.as_chunks::<C>();
        let zs = planes.map(|p| p.z.as_chunks::<C>());
        let whole = zs.map(|(z, _)| &z[..gs.len()]);
        let (mut sums, mut along) = ([zero; C], [[zero; C]; N]);
        for (i, g) in gs.iter().enumerate() {
            for k in 0..C {
                let g = load::<S>(&g[k]);
                sums[k] = s.add_f32s(sums[k], g);
                for p in 0..N {
                    let z = s.sub_f32s(load::<S>(&whole[p][i][k]), centres[p]);
                    along[p][k] = s.mul_add_e_f32s(g, z, along[p][k]);
                }
            }
        }
        for (k, g) in rest.iter().enumerate() {
            let g = load::<S>(g);
            sums[k] = s.add_f32s(sums[k], g);
            for p in 0..N {
                let z = s.sub_f32s(load::<S>(&zs[p].1[k]), centres[p]);
                along[p][k] = s.mul_add_e_f32s(g, z, along[p][k]);
            }
        }
        let total = |sums: [S::f32s; C]| {
            let sum = sums.into_iter().reduce(|a, b| s.add_f32s(a, b));
            lanes::<S>(sum.unwrap_or(zero))
        };
        let sum = total(sums);
        for along in along {
            let mut all = [[0.0; LANES]; 5];
            (all[0], all[1]) = (sum, total(along));
            self.sums.push(all);
        }
    }
}
