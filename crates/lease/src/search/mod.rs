//! The loop around the method: batches, schedules, optimisers, records, checkpoints.

mod guard;
mod metrics;
mod state;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};

use guard::Watched;
pub use metrics::{EpochMetrics, Metrics, StepMetrics, Summary};
pub(crate) use state::Tally;
use state::{Progress, State};

use crate::Error;
use crate::config::{Config, StagePlan, StageReached, Validate};
use crate::data::{Augmentation, Batch, BatchOrder, Dataset, Partition};
use crate::method::curvature::dominant_eigenvalue;
use crate::method::product::gradient;
use crate::method::stage3::Told;
use crate::method::stage4::{self, Method, Starts, Unrolling};
use crate::method::{Batches, Examples, Models, UnrolledStep, stage1};
use crate::network::{Audience, SkipDropout, Vector};
use crate::optimiser::cosine;
use crate::rng::{Purpose, stream, symmetric};
use crate::run::{Log, RunFolder, fingerprint};
use crate::space::{Genotype, Standing, Table, entropy, skip_dropout};

/// Power iteration ends after this many Hessian-vector products, or when the eigenvalue has settled to this
/// share of itself.
const EIGENVALUE_PRODUCTS: usize = 30;
const EIGENVALUE_TOLERANCE: f64 = 1e-3;

/// The share of |δ| at ε below which an attack hardly moved it.
const WEAK_ATTACK: f64 = 0.01;

/// Who watches a search.
pub trait Observer {
    /// The search is about to do `steps` steps in `epochs` epochs, of which `done` steps are done.
    fn started(&mut self, steps: u64, epochs: usize, done: u64);
    /// Something a person should know.
    fn note(&mut self, message: &str);
    /// A step is done.
    fn step(&mut self, metrics: &StepMetrics);
    /// An epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics);
}

/// How a search ended.
pub enum Outcome {
    /// All epochs are done.
    Finished(Box<Summary>),
    /// It was asked to stop, and left a checkpoint.
    Stopped,
}

/// A search in progress.
pub struct Search {
    config: Config,
    dataset: Dataset,
    device: Device,
    models: Models,
    orders: Orders,
    augmentation: Augmentation,
    run: RunFolder,
    fingerprint: String,
    state: State,
    metrics: Log,
    timing: Log,
    table: Option<Table>,
    notes: Vec<String>,
}

/// What a search needs besides its state.
struct Parts {
    device: Device,
    models: Models,
    orders: Orders,
    table: Option<Table>,
}

impl Parts {
    fn new(config: &Config, dataset: &Dataset, reached: &StageReached) -> Result<Self, Error> {
        let (classes, image) = (dataset.classes.len(), dataset.train.shape);
        let explainer = config.explainer.supernet(classes, image, reached)?;
        let w = &config.audience;
        let audience = Audience::new(&w.network.shape(w.width, classes, image[0]))?;
        Ok(Self {
            device: crate::device::device(&config.search.device)?,
            models: Models {
                explainer,
                audience,
            },
            orders: Orders::new(config, dataset.train.len())?,
            table: config.table()?,
        })
    }
}

/// The orders of the four parts.
struct Orders {
    explainer_train: BatchOrder,
    audience_train: BatchOrder,
    explainer_val: BatchOrder,
    audience_val: BatchOrder,
}

impl Search {
    /// Starts a search in a new run folder at `path`, which is made only once all else is in order.
    ///
    /// # Errors
    /// If the device is absent, the data are too few for a batch, a network cannot be built, or the folder
    /// exists or cannot be written.
    pub fn start(config: Config, dataset: Dataset, path: &Path) -> Result<Self, Error> {
        let progress = Progress::default();
        let parts = Parts::new(&config, &dataset, &progress.stage)?;
        let state = State::start(&config, &parts.models, &parts.device, progress);
        let run = RunFolder::create(path)?;
        run.write("config.toml", config.to_toml().as_bytes())?;
        run.write_json("run.json", &metrics::about(&config, &dataset))?;
        let fingerprint = fingerprint(&config, &dataset.digest());
        Self::new(
            config,
            dataset,
            run,
            fingerprint,
            parts,
            (state, Vec::new()),
        )
    }

    /// Goes on with the search in a run folder from its newest usable checkpoint, or from the start if it
    /// was killed before the first.
    ///
    /// # Errors
    /// As [`Search::start`]; also if every checkpoint is damaged or foreign.
    pub fn resume(config: Config, dataset: Dataset, run: RunFolder) -> Result<Self, Error> {
        let fingerprint = fingerprint(&config, &dataset.digest());
        let (found, notes) = state::newest(&run, &fingerprint)?;
        let reached = found.as_ref().map(|(_, progress)| progress.stage.clone());
        let parts = Parts::new(&config, &dataset, &reached.unwrap_or_default())?;
        let (models, device) = (&parts.models, &parts.device);
        let state = match found {
            Some(found) => State::restore(&config, models, device, found)?,
            None => State::start(&config, models, device, Progress::default()),
        };
        Self::new(config, dataset, run, fingerprint, parts, (state, notes))
    }

    fn new(
        config: Config,
        dataset: Dataset,
        run: RunFolder,
        fingerprint: String,
        parts: Parts,
        (state, notes): (State, Vec<String>),
    ) -> Result<Self, Error> {
        Ok(Self {
            metrics: run.log("metrics.jsonl", state.progress.metrics_bytes)?,
            timing: run.log("timing.jsonl", state.progress.timing_bytes)?,
            augmentation: dataset.augmentation(config.data.augment, 0.0),
            device: parts.device,
            models: parts.models,
            orders: parts.orders,
            table: parts.table,
            config,
            dataset,
            run,
            fingerprint,
            state,
            notes,
        })
    }

    /// The two networks.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Searches until the last epoch is done, or `stop` is set.
    ///
    /// # Errors
    /// If a quantity is no finite number any more, or the run folder cannot be written.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, Error> {
        let per_epoch = self.orders.explainer_train.batches_per_epoch();
        let stages = self.config.explainer.stages();
        let epochs = self.config.search.epochs * stages.len();
        let steps = per_epoch * epochs as u64;
        observer.started(steps, epochs, self.state.progress.step);
        self.announce(observer);
        for note in std::mem::take(&mut self.notes) {
            observer.note(&note);
        }
        let mut saved = Instant::now();
        let mut epoch_started = Instant::now();
        while self.state.progress.step < steps && self.state.progress.fired.is_none() {
            let step = self.state.progress.step;
            let epoch = (step / per_epoch) as usize;
            let metrics = self.step(step, epoch)?;
            self.metrics.append(&Metrics::Step(metrics.clone()))?;
            observer.step(&metrics);
            self.state.progress.step += 1;
            let epoch_done = self.state.progress.step.is_multiple_of(per_epoch);
            if epoch_done {
                let weak = self.told_weak_attack(&metrics).filter(|_| epoch == 0);
                let metrics = self.finish_epoch(epoch)?;
                self.metrics.append(&Metrics::Epoch(metrics.clone()))?;
                let seconds = epoch_started.elapsed().as_secs_f64();
                self.timing
                    .append(&serde_json::json!({ "epoch": epoch, "seconds": seconds }))?;
                epoch_started = Instant::now();
                observer.epoch(&metrics);
                if let Some(weak) = weak {
                    observer.note(&weak);
                }
                self.state.progress.fired =
                    guard::fired(&self.config.search, &self.state.progress.watched);
                if (epoch + 1).is_multiple_of(self.config.search.epochs) && epoch + 1 < epochs {
                    self.next_stage(&stages)?;
                    observer.note(&self.told_stage(&stages));
                }
            }
            let fired = self.state.progress.fired.clone();
            let stopping = stop.load(Ordering::Relaxed);
            let due = saved.elapsed().as_secs_f64() >= self.config.search.checkpoint_seconds;
            if epoch_done || stopping || due {
                self.save()?;
                saved = Instant::now();
            }
            if let Some(fired) = &fired {
                observer.note(&format!(
                    "STOPPED EARLY: {}. The result is the choice of epoch {}.",
                    fired.reason,
                    fired.epoch + 1
                ));
                break;
            }
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished(Box::new(self.finish()?)))
    }

    /// Begins the next stage: each edge's strongest candidates, a deeper supernet, and all learners from the start.
    fn next_stage(&mut self, stages: &[StagePlan]) -> Result<(), Error> {
        let number = self.state.progress.stage.number + 1;
        let architecture = &self.state.point.architecture;
        let keep = stages[number].candidates;
        let reached = StageReached {
            number,
            candidates: self.models.explainer.strongest(architecture, keep),
        };
        let (classes, image) = (self.dataset.classes.len(), self.dataset.train.shape);
        let settings = &self.config.explainer;
        self.models.explainer = settings.supernet(classes, image, &reached)?;
        let progress = Progress {
            stage: reached,
            ..std::mem::take(&mut self.state.progress)
        };
        self.state = State::start(&self.config, &self.models, &self.device, progress);
        Ok(())
    }

    /// A warning if the attack left δ where it started.
    fn told_weak_attack(&self, m: &StepMetrics) -> Option<String> {
        let settings = &self.config.method;
        let share = m
            .share_at_epsilon
            .filter(|share| *share < WEAK_ATTACK && !settings.signed_attack)?;
        Some(format!(
            "The explanations are little more than their random start: {:.2} % of |δ| is at ε = {}. \
             Raise --attack-step (now {}) until a good share is.",
            100.0 * share,
            settings.epsilon,
            settings.attack_step
        ))
    }

    fn told_stage(&self, stages: &[StagePlan]) -> String {
        let number = self.state.progress.stage.number;
        format!(
            "Stage {} of {}: {} cells, {} candidates on each edge, {} weights.",
            number + 1,
            stages.len(),
            stages[number].cells,
            stages[number].candidates,
            self.models.explainer.weights().len()
        )
    }

    /// The networks in a step: with skip-connects dropped out where the stage says so.
    fn models_at(&self, step: u64, epoch: usize) -> Models {
        let mut models = self.models.clone();
        let s = &self.config.search;
        let stages = self.config.explainer.stages();
        let start = stages[self.state.progress.stage.number].skip_dropout;
        let within = epoch % s.epochs;
        let probability = skip_dropout(start, within, s.epochs, s.warmup_epochs);
        if probability > 0.0 {
            let dropout = SkipDropout {
                probability,
                seed: s.seed,
                step,
            };
            models.explainer = models
                .explainer
                .dropping(dropout)
                .unwrap_or(models.explainer);
        }
        models
    }

    fn announce(&self, observer: &mut dyn Observer) {
        let (m, s, n) = (
            &self.config.method,
            &self.config.search,
            &self.config.explainer,
        );
        observer.note(&format!(
            "Searching by {} on {} ({} images): a supernet of {}, {} channels, {} cells, {} weights.\n\
             Run folder: {}",
            m.method,
            self.dataset.name,
            self.dataset.train.len(),
            n.space,
            n.channels,
            n.stages()[self.state.progress.stage.number].cells,
            self.models.explainer.weights().len(),
            self.run.path().display()
        ));
        if s.warmup_epochs > 0 {
            observer.note(&format!(
                "The architecture stays as it is for the first {} epochs{} (warm-up).",
                s.warmup_epochs,
                if n.stages().len() > 1 {
                    " of each stage"
                } else {
                    ""
                }
            ));
        }
        if m.method == Method::Lease && m.signed_attack {
            observer.note(
                "The signed attack's derivative is zero almost everywhere: the architecture does not \
                 hear from the audience through its explanations.",
            );
        }
    }

    /// One iteration: stages I to IV, then the real steps of E and W.
    pub(crate) fn step(&mut self, step: u64, epoch: usize) -> Result<StepMetrics, Error> {
        let settings = self.unrolling(epoch);
        let batches = self.batches(step);
        let starts = (settings.method == Method::Lease).then(|| self.starts(step));
        let s = &self.config.search;
        let warmup = epoch % s.epochs < s.warmup_epochs;
        let at = self.state.point.clone();
        let models = &self.models_at(step, epoch);
        let mut m = StepMetrics::at(step, epoch, warmup);

        let stages = (settings.method != Method::DartsFirst)
            .then(|| stage4::stages(models, &at, &batches, starts.as_ref(), &settings));
        if !warmup {
            let explainer = match &stages {
                Some(stages) => stage4::explainer_term(models, &at, &batches, stages),
                None => stage4::first_order_term(models, &at, &batches),
            };
            let listening = stages.as_ref().zip(starts.as_ref());
            let audience = listening.and_then(|(stages, starts)| {
                let both = (stages, stages.audience.as_ref()?);
                Some(stage4::audience_term(
                    models, &at, &batches, starts, both, &settings,
                ))
            });
            let gradient = stage4::architecture_gradient(
                models,
                &at,
                &batches,
                (&explainer, audience.as_ref()),
                (self.config.gamma(), self.norms_due(step)),
                &settings,
            );
            m.terms(&explainer, audience.as_ref(), &gradient);
            m.check()?;
            let rate = self.config.search.architecture_learning_rate;
            let stepper = &mut self.state.architecture_stepper;
            self.state.point.architecture = stepper.step(rate, &at.architecture, &gradient.total);
        }

        // Stage I for real, with the new architecture; if that has not moved, the gradient is known.
        let explainer_gradient = match (&stages, warmup) {
            (Some(stages), true) => stages.explainer_gradient.clone(),
            _ => {
                let loss = stage1::loss(&*models.explainer, &batches.explainer_train);
                let point = [&at.explainer, &self.state.point.architecture];
                let learned = gradient(loss, point, [0]);
                m.explainer_train_loss = learned.value;
                let [vector] = learned.vectors;
                vector
            }
        };
        if let Some(stages) = &stages {
            m.explainer_train_loss = stages.explainer_loss;
        }
        m.explainer_gradient_norm = explainer_gradient.norm();
        let rate = settings.explainer.learning_rate;
        let stepper = &mut self.state.explainer_stepper;
        self.state.point.explainer = stepper.step(rate, &at.explainer, &explainer_gradient);
        self.state.progress.explainer.add(&batches.explainer_train);

        // Stage III for real: W and δ' are those of the unrolled step, and so is the gradient.
        if let Some(audience) = stages.as_ref().and_then(|s| s.audience.as_ref()) {
            m.audience(audience);
            let rate = settings.audience.learning_rate;
            let stepper = &mut self.state.audience_stepper;
            self.state.point.audience = stepper.step(rate, &at.audience, &audience.gradient);
            self.state.progress.audience.add(&batches.audience_train);
        }
        m.check()?;
        Ok(m)
    }

    /// Whether the norms of the architecture gradient's two terms are wanted in a step.
    fn norms_due(&self, step: u64) -> bool {
        let every = self.config.method.norms_every;
        every > 0 && step.is_multiple_of(every)
    }

    /// The settings of an epoch's iterations.
    fn unrolling(&self, epoch: usize) -> Unrolling {
        let (m, s, w) = (
            &self.config.method,
            &self.config.search,
            &self.config.audience,
        );
        let epoch = epoch % s.epochs;
        Unrolling {
            method: m.method,
            explainer: UnrolledStep {
                learning_rate: cosine(s.learning_rate, s.min_learning_rate, epoch, s.epochs),
                weight_decay: s.weight_decay,
            },
            audience: UnrolledStep {
                learning_rate: cosine(w.learning_rate, w.min_learning_rate, epoch, s.epochs),
                weight_decay: w.weight_decay,
            },
            attack: self.config.attack(),
            told: Told {
                reweighting: m.reweighting,
                explained: m.explanation,
            },
            validate_reweighted: m.validate == Validate::Reweighted,
            product: self.config.product(),
        }
    }

    /// The four batches of a step. Training images are varied, validation images never.
    pub(crate) fn batches(&mut self, step: u64) -> Batches {
        let seed = self.config.search.seed;
        let (dataset, device, augmentation) = (&self.dataset, &self.device, &self.augmentation);
        let load = |indices: &[u32], vary: Option<Purpose>| {
            let mut rng = vary.map(|purpose| stream(seed, purpose, step));
            let vary = rng.as_mut().map(|rng| (augmentation, rng));
            let batch = dataset.train.batch(indices, &dataset.normalisation, vary);
            examples(batch, dataset.classes.len(), device)
        };
        let o = &mut self.orders;
        Batches {
            explainer_train: load(o.explainer_train.at(step), Some(Purpose::AugmentExplainer)),
            audience_train: load(o.audience_train.at(step), Some(Purpose::AugmentAudience)),
            explainer_val: load(o.explainer_val.at(step), None),
            audience_val: load(o.audience_val.at(step), None),
        }
    }

    /// Random starts of the step's explanations.
    fn starts(&self, step: u64) -> Starts {
        let [channels, height, width] = self.dataset.train.shape;
        let shape = [self.config.search.batch, channels, height, width];
        let draw = |purpose| {
            let mut rng = stream(self.config.search.seed, purpose, step);
            let n = shape.iter().product();
            let values = symmetric(&mut rng, n, self.config.method.epsilon);
            Tensor::from_data(TensorData::new(values, shape), (&self.device, DType::F32))
        };
        Starts {
            train: draw(Purpose::DeltaTrain),
            val: draw(Purpose::DeltaVal),
        }
    }

    fn finish_epoch(&mut self, epoch: usize) -> Result<EpochMetrics, Error> {
        let lease = self.config.method.method == Method::Lease;
        let progress = &mut self.state.progress;
        let train = std::mem::take(&mut progress.explainer).accuracy();
        let audience_train = std::mem::take(&mut progress.audience).accuracy();
        let (point, models) = (&self.state.point, &self.models);
        let (e, a, w) = (
            point.explainer.open(None, false),
            point.architecture.open(None, false),
            point.audience.open(None, false),
        );
        let explainer_val = self.accuracy(self.orders.explainer_val.indices(), |images| {
            models.explainer.forward(&e, &a, images.into()).value
        });
        let audience_val = lease.then(|| {
            self.accuracy(self.orders.audience_val.indices(), |images| {
                models.audience.forward(&w, images.into()).value
            })
        });
        let mixtures = models.explainer.mixtures(&point.architecture);
        let entropies = mixtures.iter().map(|m| (m.kind.into(), entropy(&m.rows)));
        let genotype = self.genotype()?;
        let eigenvalue = self.eigenvalue(epoch);
        self.state.progress.watched.push(Watched {
            genotype: genotype.to_json(),
            skip_connects: genotype.skip_connects(),
            eigenvalue,
        });
        Ok(EpochMetrics {
            epoch,
            explainer_learning_rate: self.unrolling(epoch).explainer.learning_rate,
            explainer_train_accuracy: train,
            explainer_val_accuracy: explainer_val,
            audience_train_accuracy: lease.then_some(audience_train),
            audience_val_accuracy: audience_val,
            accuracy_gap: train - explainer_val,
            entropy: entropies.collect(),
            skip_connects: genotype.skip_connects(),
            parameter_free_share: genotype.parameter_free_share(),
            eigenvalue,
            standing: self.standing(&genotype),
            genotype: genotype.to_string(),
            mixtures: mixtures
                .into_iter()
                .map(|m| (m.kind.into(), m.rows))
                .collect(),
        })
    }

    /// The share of these training images that a network classifies correctly, by batch statistics.
    fn accuracy(&self, indices: &[u32], forward: impl Fn(Tensor<4>) -> Tensor<2>) -> f64 {
        let dataset = &self.dataset;
        let mut correct = 0;
        for part in indices.chunks(self.config.search.batch) {
            let batch = dataset.train.batch(part, &dataset.normalisation, None);
            let batch = examples(batch, dataset.classes.len(), &self.device);
            batch.note(&forward(batch.images.clone()).into());
            correct += batch.correct();
        }
        correct as f64 / indices.len() as f64
    }

    /// The genotype that would be derived now.
    fn genotype(&self) -> Result<Genotype, Error> {
        let architecture = &self.state.point.architecture;
        Ok(self.models.explainer.derive(architecture)?)
    }

    /// The dominant eigenvalue of ∇²_A L_val on one validation batch, in epochs in which it is wanted.
    fn eigenvalue(&self, epoch: usize) -> Option<f64> {
        let every = self.config.search.eigenvalue_every;
        if every == 0 || !(epoch + 1).is_multiple_of(every) {
            return None;
        }
        let (dataset, point) = (&self.dataset, &self.state.point);
        let indices = self.orders.explainer_val.indices();
        let batch = &indices[..self.config.search.batch];
        let batch = dataset.train.batch(batch, &dataset.normalisation, None);
        let batch = examples(batch, dataset.classes.len(), &self.device);
        let loss = stage1::loss(&*self.models.explainer, &batch);
        let layout = self.models.explainer.architecture();
        let seed = self.config.search.seed;
        let mut rng = stream(seed, Purpose::Eigenvalue, epoch as u64);
        let start = Vector::from_values(
            layout.clone(),
            symmetric(&mut rng, layout.len(), 1.0),
            &self.device,
            DType::F32,
        );
        let (e, a) = (&point.explainer, &point.architecture);
        Some(dominant_eigenvalue(
            loss,
            e,
            a,
            &start,
            EIGENVALUE_PRODUCTS,
            EIGENVALUE_TOLERANCE,
        ))
    }

    /// What the table says of a genotype.
    fn standing(&self, genotype: &Genotype) -> Option<Standing> {
        self.table.as_ref()?.standing_of(genotype)
    }

    fn save(&mut self) -> Result<(), Error> {
        self.state.progress.metrics_bytes = self.metrics.position()?;
        self.state.progress.timing_bytes = self.timing.position()?;
        let checkpoint = self.state.checkpoint(&self.fingerprint)?;
        checkpoint.save(&self.run.checkpoints(), self.state.progress.step)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<Summary, Error> {
        let progress = &self.state.progress;
        let genotype = match &progress.fired {
            Some(fired) => Genotype::parse(&progress.watched[fired.epoch].genotype)?,
            None => self.genotype()?,
        };
        self.run
            .write("genotype.json", genotype.to_json().as_bytes())?;
        let point = &self.state.point;
        for (name, vector) in [
            ("weights/explainer.safetensors", &point.explainer),
            ("weights/audience.safetensors", &point.audience),
            ("weights/architecture.safetensors", &point.architecture),
        ] {
            self.run.write_weights(name, &[vector])?;
        }
        let steps = self.state.progress.step;
        let per_epoch = self.orders.explainer_train.batches_per_epoch();
        let s = &self.config.search;
        let settings = self.unrolling(0);
        let passes = |step: u64| {
            let warmup = (step / per_epoch) as usize % s.epochs < s.warmup_epochs;
            settings.explainer_passes(warmup, (self.config.gamma(), self.norms_due(step)))
        };
        Ok(Summary {
            steps,
            explainer_passes: (0..steps).map(passes).sum(),
            standing: self.standing(&genotype),
            genotype,
            folder: self.run.path().into(),
        })
    }
}

impl Orders {
    fn new(config: &Config, images: usize) -> Result<Self, Error> {
        let (m, s) = (&config.method, &config.search);
        let parts = Partition::new(images, m.split, m.training_share, s.seed);
        let order =
            |name, indices, purpose| BatchOrder::new(name, indices, s.batch, s.seed, purpose);
        Ok(Self {
            explainer_train: order(
                "the explainer's training part",
                parts.explainer_train,
                Purpose::ExplainerTrain,
            )?,
            audience_train: order(
                "the audience's training part",
                parts.audience_train,
                Purpose::AudienceTrain,
            )?,
            explainer_val: order(
                "the explainer's validation part",
                parts.explainer_val,
                Purpose::ExplainerVal,
            )?,
            audience_val: order(
                "the audience's validation part",
                parts.audience_val,
                Purpose::AudienceVal,
            )?,
        })
    }
}

/// A batch on the device.
pub(crate) fn examples(batch: Batch, classes: usize, device: &Device) -> Examples {
    let data = TensorData::new(batch.values, batch.shape);
    let images = Tensor::from_data(data, (device, DType::F32));
    Examples::new(images, batch.labels, classes)
}
