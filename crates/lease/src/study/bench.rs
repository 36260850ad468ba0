//! How long the passes of a search take: what a person compares with other tools, and from run to run.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{DType, Device};
use serde::Serialize;

use crate::Error;
use crate::collective::alone;
use crate::data::{Dataset, ImageSet};
use crate::device::DeviceError;
use crate::method::product::{MixedProduct, gradient};
use crate::method::{stage1, stage3};
use crate::network::{Layout, Vector};
use crate::rng::{Purpose, stream};
use crate::search::{self, Search, SearchConfig};
use crate::space::Genotype;
use crate::training::{self, TrainConfig, Training};

/// The seconds of one kind of pass, run by run.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// What was timed.
    pub name: &'static str,
    /// Seconds, in order, after one run that is not counted.
    pub seconds: Vec<f64>,
    /// The most memory that the process has had until then, in MiB, where the system tells (Linux); of another device than
    /// the CPU what Burn holds of its memory.
    pub peak_mebibytes: Option<u64>,
}

/// The most memory that this process has had, or what it holds of another device's.
fn peak_mebibytes(device: &Device) -> Option<u64> {
    if *device != Device::flex() {
        return Some(device.memory_pool_usage()?.bytes_reserved >> 20);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024)
}

impl Timing {
    /// The median.
    pub fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }
}

/// Hears of each timing as soon as it is there.
pub type Told<'a> = &'a mut (dyn FnMut(&Timing) + Send);

/// What is timed of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Passes.
    Parts,
    /// Whole iterations too.
    Iterations,
    /// All that takes long in it.
    Search,
}

/// The names of what is timed.
const EXPLAINER: &str = "explainer forward+backward";
const AUDIENCE: &str = "audience forward+backward";
pub(super) const PRODUCT: &str = "mixed product, A alone";
pub(super) const ITERATION: &str = "whole iteration";
pub(super) const WARMUP: &str = "warm-up iteration";
pub(super) const EXPLAINER_VALIDATION: &str = "explainer forward";
pub(super) const AUDIENCE_VALIDATION: &str = "audience forward";

/// What times passes.
struct Clock<'a> {
    device: Device,
    runs: usize,
    told: Told<'a>,
    timings: Vec<Timing>,
}

impl Clock<'_> {
    /// Work is done when the device has done it, not when it has been told to. A GPU fails when results are read, which
    /// those of the run that is not counted are.
    fn time(
        &mut self,
        name: &'static str,
        mut work: impl FnMut() -> Result<Vec<Vector>, Error>,
    ) -> Result<(), Error> {
        let mut seconds = Vec::with_capacity(self.runs);
        for run in 0..=self.runs {
            let started = Instant::now();
            let results = work()?;
            self.device.sync().map_err(|e| DeviceError::Failed {
                reason: e.to_string(),
            })?;
            if run > 0 {
                seconds.push(started.elapsed().as_secs_f64());
                continue;
            }
            for vector in results {
                vector.norm();
            }
        }
        let timing = Timing {
            name,
            seconds,
            peak_mebibytes: peak_mebibytes(&self.device),
        };
        (self.told)(&timing);
        self.timings.push(timing);
        Ok(())
    }
}

/// The sizes of the random images that are measured on.
pub fn images(config: &SearchConfig, shape: [usize; 3], classes: usize) -> ImageSet {
    let count = 4 * config.search.batch;
    ImageSet {
        classes,
        shape,
        count,
        // They serve as test images too.
        bytes: 2 * count * shape.iter().product::<usize>(),
    }
}

/// Times steps of a derived network's training, with the augmentation of its images, on random images of `image` (channels, height,
/// width) and with a scratch folder in `folder`.
///
/// # Errors
/// As [`Training::new`].
pub fn training(
    config: TrainConfig,
    genotype: Genotype,
    (image, classes): ([usize; 3], usize),
    runs: usize,
    folder: &Path,
    told: Told,
) -> Result<Vec<Timing>, Error> {
    let dataset = Dataset::random(image, classes, 2 * config.train.batch, config.run.seed);
    Error::all(training::problems(&config, &genotype, &dataset))?;
    let mut clock = Clock {
        device: crate::device::device(&config.run.device)?,
        runs,
        told,
        timings: Vec::new(),
    };
    let mut training = Training::new(config, genotype, dataset, folder)?;
    clock.time("training step", || {
        training.late_step()?;
        Ok(Vec::new())
    })?;
    Ok(clock.timings)
}

/// Times, on random images of `image` (channels, height, width) and with a scratch run folder in `folder`:
/// one forward and backward pass of the explainer (gradients of E and A) and of the audience, one mixed
/// product with respect to A, and as far as is wanted whole iterations of the search as configured, and what else it is made
/// of.
///
/// # Errors
/// As [`Search::start`].
pub fn run(
    config: SearchConfig,
    image: [usize; 3],
    classes: usize,
    (runs, extent): (usize, Extent),
    folder: &Path,
    told: Told,
) -> Result<Vec<Timing>, Error> {
    let size = images(&config, image, classes);
    Error::all(search::problems(&config, &size))?;
    let dataset = Dataset::random(image, classes, size.count, config.run.seed);
    let (seed, warmup) = (config.run.seed, config.search.warmup_epochs);
    let mut search = Search::start(config, "", dataset, folder, alone())?;
    let batches = search.batches(0).swap_remove(0);
    let (models, device) = (search.models().clone(), Device::clone(search.device()));
    let draw = |layout: &Arc<Layout>, purpose| {
        let values = layout.initial_values(&mut stream(seed, purpose, 0));
        Vector::from_values(layout.clone(), values, &device, DType::F32)
    };
    let e = draw(models.explainer.weights(), Purpose::ExplainerInit);
    let w = draw(models.audience.weights(), Purpose::AudienceInit);
    let a = draw(models.explainer.architecture(), Purpose::ArchitectureInit);
    let loss = stage1::loss(&*models.explainer, &batches.explainer_train);
    let listen = stage3::validation_loss(&models.audience, &batches.audience_val);
    let mut clock = Clock {
        device: device.clone(),
        runs,
        told,
        timings: Vec::new(),
    };
    clock.time(EXPLAINER, || {
        Ok(gradient(&loss, [&e, &a], [0, 1]).vectors.into())
    })?;
    clock.time(AUDIENCE, || Ok(gradient(&listen, [&w], [0]).vectors.into()))?;
    clock.time(PRODUCT, || {
        Ok(MixedProduct::Exact
            .product(&loss, [&e, &a], (0, &e), [1])
            .into())
    })?;
    let mut step = 0;
    let mut iteration = |epoch| {
        search.step(step, epoch)?;
        step += 1;
        Ok(Vec::new())
    };
    if extent != Extent::Parts {
        clock.time(ITERATION, || iteration(warmup))?;
    }
    if extent == Extent::Search {
        if warmup > 0 {
            clock.time(WARMUP, || iteration(0))?;
        }
        clock.time(EXPLAINER_VALIDATION, || {
            gradient(&loss, [&e, &a], []);
            Ok(Vec::new())
        })?;
        clock.time(AUDIENCE_VALIDATION, || {
            gradient(&listen, [&w], []);
            Ok(Vec::new())
        })?;
    }
    Ok(clock.timings)
}
