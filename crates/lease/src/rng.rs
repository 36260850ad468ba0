//! Random numbers without a state to save.
//!
//! Every use draws from a stream of its own, named by the seed, the purpose and an index such as the step.
//! A search's position is therefore one number, and a resumed one draws what an uninterrupted one would.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which images train and which validate.
    Split = 1,
    /// E's start.
    ExplainerInit = 2,
    /// W's start.
    AudienceInit = 3,
    /// A's start.
    ArchitectureInit = 4,
    /// The order of D_e^tr.
    ExplainerTrain = 5,
    /// The order of D_a^tr.
    AudienceTrain = 6,
    /// The order of D_e^val.
    ExplainerVal = 7,
    /// The order of D_a^val.
    AudienceVal = 8,
    /// Augmentation of the explainer's training images.
    AugmentExplainer = 9,
    /// Augmentation of the audience's training images.
    AugmentAudience = 10,
    /// The start of explanations of training images.
    DeltaTrain = 11,
    /// The start of explanations of validation images.
    DeltaVal = 12,
    /// A derived network's start.
    DerivedInit = 13,
    /// Dropped paths.
    DropPath = 14,
    /// A random architecture.
    RandomGenotype = 15,
    /// The order of a derived network's training images.
    DerivedTrain = 16,
    /// Their augmentation.
    DerivedAugment = 17,
    /// The start of power iteration.
    Eigenvalue = 18,
    /// Resampling of seeds.
    Bootstrap = 19,
    /// Dropped skip-connects of P-DARTS.
    DropSkip = 20,
    /// The draws of random search.
    RandomSearch = 21,
    /// A drawn mixture.
    Mixture = 22,
    /// A perturbed architecture.
    Perturbation = 23,
    /// The order in which edges are decided.
    Selection = 24,
    /// Canvases of cluttered digits.
    Clutter = 25,
    /// The operation that is noise.
    Noise = 26,
    /// Images of shapes.
    Shapes = 27,
    /// Which of a training's images are held out.
    HeldOut = 41,
    /// The order of a training's images with equally many of each class.
    Balance = 42,
    /// Which images are explained.
    ExplainedImages = 70,
    /// The starts of their explanations.
    ExplainedStart = 71,
    /// Random maps, and the order of pixels that are equally relevant.
    RandomMap = 72,
    /// Noise on imputed pixels.
    Imputation = 73,
    /// Weights drawn anew to see what becomes of explanations.
    Redrawn = 74,
    /// Small changes of images, to see how sensitive explanations are.
    Shift = 75,
    /// The start of an audience that listens to explanations that are made already.
    ListenerInit = 76,
    /// The order in which it hears them.
    ListenerOrder = 77,
    /// Random signs that it is told instead.
    RandomSigns = 78,
    /// The start of explanations that are only looked at.
    Examples = 60,
}

/// What the random numbers of a function are drawn by: the same function for the same seed and step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// The seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
}

/// The step as the draws of one part of its batch know it, so that each part has its own; the first part's is the step.
pub fn of_part(step: u64, part: usize) -> u64 {
    // No search has as many steps.
    step | (part as u64) << 40
}

/// The stream of a purpose and index under a seed.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(b"lease v1");
    ChaCha8Rng::from_seed(key)
}

/// A uniform number in (0, 1) from 53 random bits.
pub fn unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// `n` numbers uniform in [−bound, bound].
pub fn symmetric(rng: &mut impl Rng, n: usize, bound: f64) -> Vec<f32> {
    let scale = 2.0 / u32::MAX as f64;
    (0..n)
        .map(|_| ((rng.next_u32() as f64 * scale - 1.0) * bound) as f32)
        .collect()
}

/// A whole number below `n` (at least 1).
pub fn below(rng: &mut impl Rng, n: usize) -> usize {
    // The bias of this map is below n / 2^64.
    ((rng.next_u64() as u128 * n as u128) >> 64) as usize
}

/// The numbers below `n` in random order.
pub fn permutation(rng: &mut impl Rng, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, below(rng, i + 1));
    }
    order
}
