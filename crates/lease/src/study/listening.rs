//! The method's own question: does an audience learn more from explanations than from what looks like them?
//!
//! The same audience is trained from scratch on images weighted pixel by pixel: by δ, |δ|, random signs, the image's edges, or the explanation
//! of another image; and on the images themselves. δ is made once for each image, of a network that is given, and images are not varied.
//! Weights are scaled, image by image, to a root mean square of 1, so that none has an advantage by its size. It is tested on test images that
//! are weighted in the same way, each by what belongs to it, and on test images as they are. What it hears of test images depends
//! on the explainer's own predictions for them; a δ that gives these away helps too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::Difference;
use crate::Error;
use crate::config::{Composite, differences};
use crate::data::{BatchOrder, DataError, Dataset};
use crate::explain::{Chosen, ExplainConfig, Explained, Maps, Observer, Part, Planes, Subject};
use crate::method::optimiser::{SgdRule, cosine, sgd};
use crate::method::product::gradient;
use crate::method::{Examples, stage3};
use crate::network::{Audience, Vector};
use crate::rng::{Purpose, stream, symmetric};
use crate::run::RunError;
use crate::run::files::write_atomically;
use crate::statistics::mean;

/// What weights the images of an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// δ ⊙ x.
    Explanation,
    /// |δ| ⊙ x.
    Magnitude,
    /// Random signs ⊙ x.
    RandomSigns,
    /// Edges of x ⊙ x.
    Edges,
    /// δ of another image ⊙ x.
    Other,
    /// |δ| of another image ⊙ x.
    OtherMagnitude,
    /// x.
    Image,
}

impl Told {
    /// All, the method's first.
    pub const ALL: [Self; 7] = [
        Self::Explanation,
        Self::Magnitude,
        Self::RandomSigns,
        Self::Edges,
        Self::Other,
        Self::OtherMagnitude,
        Self::Image,
    ];

    /// Its name in files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Explanation => "explanation",
            Self::Magnitude => "magnitude",
            Self::RandomSigns => "random-signs",
            Self::Edges => "edges",
            Self::Other => "other",
            Self::OtherMagnitude => "other-magnitude",
            Self::Image => "image",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explanation => "δ ⊙ x",
            Self::Magnitude => "|δ| ⊙ x",
            Self::RandomSigns => "random signs ⊙ x",
            Self::Edges => "edges ⊙ x",
            Self::Other => "another's δ ⊙ x",
            Self::OtherMagnitude => "|another's δ| ⊙ x",
            Self::Image => "x",
        }
    }
}

/// What one audience has learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// What it was told.
    pub told: Told,
    /// The seed of its start and of the order of its images.
    pub seed: u64,
    /// The accuracy on test images weighted in the same way, percent.
    pub accuracy: f64,
    /// The accuracy on test images as they are, percent.
    pub on_images: f64,
    /// The mean loss of its last epoch.
    pub loss: f64,
    /// What it depends on.
    identity: BTreeMap<String, String>,
}

/// One way of telling, over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was told.
    pub told: Told,
    /// Seeds.
    pub seeds: usize,
    /// Mean accuracy on images weighted in the same way, percent.
    pub accuracy: f64,
    /// Its standard deviation over seeds; none for one.
    pub deviation: Option<f64>,
    /// Mean accuracy on images as they are, percent.
    pub on_images: f64,
}

/// All audiences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listened {
    /// Test images.
    pub test_images: usize,
    /// Training images.
    pub training_images: usize,
    /// Each audience.
    pub heard: Vec<Heard>,
    /// Each way of telling.
    pub rows: Vec<Row>,
    /// Paired differences, by seed, of the accuracies on images weighted in the same way.
    pub differences: Vec<Difference>,
}

/// Images with explanations.
struct Side {
    images: Planes,
    delta: Planes,
    labels: Vec<usize>,
}

/// What audiences listen to.
pub struct Listening<'a> {
    subject: &'a Subject,
    config: &'a ExplainConfig,
    audience: Audience,
    train: Side,
    test: Side,
    identity: BTreeMap<String, String>,
}

impl<'a> Listening<'a> {
    /// Explains all images of a data set; none if it was asked to stop.
    ///
    /// # Errors
    /// If the images are not those of the network, fewer than a batch, or the audience cannot be built.
    pub fn new(
        subject: &'a Subject,
        dataset: &Dataset,
        config: &'a ExplainConfig,
        (observer, stop): (&mut dyn Observer, &AtomicBool),
    ) -> Result<Option<Self>, Error> {
        let w = &config.audience;
        let stem = config.network.stem.for_images(subject.image);
        let (classes, channels) = (subject.classes.len(), subject.image[0]);
        let shape = w.network.shape(w.width, classes, channels, stem);
        let audience = Audience::new(&shape)?;
        let (images, batch) = (dataset.train.len(), config.explain.audience_batch);
        if images < batch {
            let part = "the training set (--audience-batch)";
            return Err(DataError::TooFew {
                part,
                images,
                batch,
            }
            .into());
        }
        let mut all = config.clone();
        all.explain.count = 0;
        let mut side = |part| -> Result<Option<Side>, Error> {
            let chosen = Chosen::of_dataset(subject, dataset, part, &all)?;
            let explained = Explained::of(subject, chosen, &all, observer, stop);
            Ok(explained.map(|e| Side {
                labels: e.chosen.labels.unwrap_or_default(),
                images: e.chosen.images,
                delta: e.delta,
            }))
        };
        let (Some(train), Some(test)) = (side(Part::Train)?, side(Part::Test)?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            identity: identity(subject, dataset, config),
            subject,
            config,
            audience,
            train,
            test,
        }))
    }

    /// Trains an audience for each way of telling and seed that is not recorded in the folder, and records each as it is done. None if it
    /// was asked to stop; the same call goes on.
    ///
    /// # Errors
    /// If the folder has records that were made otherwise, or cannot be written; if a loss is no finite number any more.
    pub fn run(
        &self,
        seeds: u64,
        folder: &Path,
        (observer, stop): (&mut dyn Observer, &AtomicBool),
    ) -> Result<Option<Listened>, Error> {
        let mut all = Vec::new();
        let cells = (0..seeds).flat_map(|seed| Told::ALL.map(|told| (told, seed)));
        for (told, seed) in cells {
            let file = place(folder, told, seed);
            let heard = match self.recorded(&file)? {
                Some(heard) => heard,
                None => {
                    let Some(heard) = self.listen(told, seed, (observer, stop))? else {
                        return Ok(None);
                    };
                    record(&file, &heard)?;
                    heard
                }
            };
            all.push(heard);
        }
        Ok(Some(self.listened(all)))
    }

    /// What a record says, if there is one.
    fn recorded(&self, file: &Path) -> Result<Option<Heard>, Error> {
        let Ok(bytes) = std::fs::read(file) else {
            return Ok(None);
        };
        let heard: Heard = serde_json::from_slice(&bytes).map_err(|e| Error::Damaged {
            path: file.into(),
            reason: e.to_string(),
        })?;
        let found = differences(&heard.identity, &self.identity);
        if found.is_empty() {
            return Ok(Some(heard));
        }
        Err(Error::Comparison {
            folder: file.parent().unwrap_or(file).into(),
            differences: found.join("; "),
        })
    }

    /// Images weighted in a way.
    fn weighted(&self, told: Told, side: &Side, seed: u64) -> Planes {
        let images = &side.images;
        let (size, area) = (images.size(), images.area());
        let edges = (told == Told::Edges).then(|| Maps::edges(images));
        let next = |i: usize| side.delta.image((i + 1) % images.count());
        let sizes = |delta: &[f32]| delta.iter().map(|d| d.abs()).collect();
        images.map(|i, image| {
            let weights: Vec<f32> = match (told, &edges) {
                (Told::Image, _) => return image.to_vec(),
                (Told::Explanation, _) => side.delta.image(i).to_vec(),
                (Told::Magnitude, _) => sizes(side.delta.image(i)),
                (Told::Other, _) => next(i).to_vec(),
                (Told::OtherMagnitude, _) => sizes(next(i)),
                (Told::Edges, Some(edges)) => {
                    let map = edges.map(i);
                    (0..size).map(|k| map[k % area]).collect()
                }
                (Told::RandomSigns | Told::Edges, _) => {
                    let mut rng = stream(seed, Purpose::RandomSigns, i as u64);
                    let drawn = symmetric(&mut rng, size, 1.0);
                    drawn.into_iter().map(f32::signum).collect()
                }
            };
            let squares: f64 = weights.iter().map(|w| f64::from(*w).powi(2)).sum();
            let rms = (squares / size as f64).sqrt().max(f64::MIN_POSITIVE) as f32;
            let pairs = image.iter().zip(weights);
            pairs.map(|(x, w)| x * w / rms).collect()
        })
    }

    /// Images with these numbers, on the device.
    fn examples(&self, images: &Planes, labels: &[usize], indices: &[u32]) -> Examples {
        let [c, h, w] = images.shape;
        let values: Vec<f32> = indices
            .iter()
            .flat_map(|i| images.image(*i as usize).iter().copied())
            .collect();
        let data = TensorData::new(values, [indices.len(), c, h, w]);
        let tensor = Tensor::from_data(data, (self.subject.device(), DType::F32));
        let labels = indices.iter().map(|i| labels[*i as usize] as i64).collect();
        Examples::new(tensor, labels, self.subject.classes.len())
    }

    /// Trains and tests one audience.
    fn listen(
        &self,
        told: Told,
        seed: u64,
        (observer, stop): (&mut dyn Observer, &AtomicBool),
    ) -> Result<Option<Heard>, Error> {
        let (w, e) = (&self.config.audience, &self.config.explain);
        let images = self.weighted(told, &self.train, 2 * seed);
        let all: Vec<u32> = (0..images.count() as u32).collect();
        let part = "the training set (--audience-batch)";
        let mut order = BatchOrder::new(part, all, e.audience_batch, seed, Purpose::ListenerOrder)?;
        let layout = self.audience.weights();
        let start = layout.initial_values(&mut stream(seed, Purpose::ListenerInit, 0));
        let device = self.subject.device();
        let mut weights = Vector::from_values(layout.clone(), start, device, DType::F32);
        let mut stepper = sgd(&SgdRule {
            momentum: 0.9,
            nesterov: false,
            weight_decay: w.weight_decay,
            clip: 5.0,
        });
        let (epochs, per_epoch) = (e.audience_epochs, order.batches_per_epoch());
        observer.begun(
            &format!("{}, seed {seed}", told.name()),
            epochs as u64 * per_epoch,
        );
        let mut loss = 0.0;
        for epoch in 0..epochs {
            let rate = cosine(w.learning_rate, w.min_learning_rate, epoch, epochs);
            loss = 0.0;
            for within in 0..per_epoch {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let step = epoch as u64 * per_epoch + within;
                let batch = self.examples(&images, &self.train.labels, order.at(step));
                let of = stage3::validation_loss(&self.audience, &batch);
                let found = gradient(of, [&weights], [0]);
                if !found.value.is_finite() {
                    return Err(Error::Diverged {
                        step,
                        quantity: "the audience's loss",
                        value: found.value,
                        advice: "lower --audience-learning-rate",
                    });
                }
                loss += found.value / per_epoch as f64;
                let [direction] = found.vectors;
                weights = stepper.step(rate, &weights, &direction);
                observer.step();
            }
        }
        let test = self.weighted(told, &self.test, 2 * seed + 1);
        Ok(Some(Heard {
            told,
            seed,
            accuracy: self.tested(&weights, &test),
            on_images: self.tested(&weights, &self.test.images),
            loss,
            identity: self.identity.clone(),
        }))
    }

    /// The accuracy on test images weighted somehow, percent.
    fn tested(&self, weights: &Vector, images: &Planes) -> f64 {
        let all: Vec<u32> = (0..images.count() as u32).collect();
        // It normalises by the images of a pass, so none may be much smaller than the others.
        let parts = all
            .len()
            .div_ceil(self.config.explain.audience_batch)
            .max(1);
        let size = all.len().div_ceil(parts).max(1);
        let correct: usize = all
            .chunks(size)
            .map(|part| {
                let batch = self.examples(images, &self.test.labels, part);
                let of = stage3::validation_loss(&self.audience, &batch);
                gradient(of, [weights], []);
                batch.correct()
            })
            .sum();
        100.0 * correct as f64 / all.len() as f64
    }

    fn listened(&self, heard: Vec<Heard>) -> Listened {
        let of = |told: Told, value: fn(&Heard) -> f64| -> Vec<f64> {
            let some = heard.iter().filter(|h| h.told == told);
            some.map(value).collect()
        };
        let row = |told| {
            let values = of(told, |h| h.accuracy);
            let (centre, n) = (mean(&values), values.len());
            let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
            Row {
                told,
                seeds: n,
                accuracy: centre,
                deviation: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
                on_images: mean(&of(told, |h| h.on_images)),
            }
        };
        let difference = |told: Told, against: Told| {
            let pairs = of(told, |h| h.accuracy)
                .into_iter()
                .zip(of(against, |h| h.accuracy));
            let pairs: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
            Difference::of(told.name(), against.name(), &pairs)
        };
        let others = |told: Told| Told::ALL.into_iter().filter(move |other| *other != told);
        let own = [Told::Explanation, Told::Magnitude];
        Listened {
            test_images: self.test.images.count(),
            training_images: self.train.images.count(),
            rows: Told::ALL.map(row).into(),
            differences: own
                .into_iter()
                .flat_map(|told| others(told).map(move |other| (told, other)))
                // One of the two directions is enough.
                .filter(|pair| *pair != (Told::Magnitude, Told::Explanation))
                .map(|(told, other)| difference(told, other))
                .collect(),
            heard,
        }
    }
}

/// What the audiences' results depend on.
fn identity(
    subject: &Subject,
    dataset: &Dataset,
    config: &ExplainConfig,
) -> BTreeMap<String, String> {
    let mut all = config.identity();
    all.retain(|name, _| {
        let read = ["explain.audience_", "explain.at_once"];
        !name.starts_with("explain.") || read.iter().any(|r| name.starts_with(r))
    });
    let mut hash = Sha256::new();
    for vector in subject.numbers() {
        for value in vector.to_f64() {
            hash.update(value.to_le_bytes());
        }
    }
    let digest = crate::run::checkpoint::hex(&hash.finalize());
    all.insert("the network".into(), digest);
    all.insert("the images".into(), dataset.whole_digest());
    all
}

/// Where the record of an audience is.
fn place(folder: &Path, told: Told, seed: u64) -> PathBuf {
    folder.join(format!("audience/{}-{seed}.json", told.key()))
}

fn record(file: &Path, heard: &Heard) -> Result<(), Error> {
    write(file, heard)
}

fn write(file: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |source| RunError::Io {
        action: "write",
        path: file.into(),
        source,
    };
    let folder = file.parent().unwrap_or(file);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut bytes = serde_json::to_vec_pretty(value).map_err(std::io::Error::other)?;
    bytes.push(b'\n');
    write_atomically(file, &bytes).map_err(failed)?;
    Ok(())
}

impl Listened {
    /// Writes `audience.json` and `audience.md` into a folder.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        write(&folder.join("audience.json"), self)?;
        // Markdown would take them for the bounds of cells.
        let text = self.tables(|name| name.replace('|', "\\|"));
        write_atomically(&folder.join("audience.md"), text.as_bytes())?;
        Ok(())
    }

    /// The tables, with what they can and cannot show.
    pub fn markdown(&self) -> String {
        self.tables(str::to_string)
    }

    /// The same with names as they are to be written.
    fn tables(&self, named: impl Fn(&str) -> String) -> String {
        let mut text = String::from(
            "| the audience is told | seeds | accuracy on the same, % | on x, % |\n|---|---|---|---|\n",
        );
        for row in &self.rows {
            let deviation = row
                .deviation
                .map_or(String::new(), |d| format!(" ± {d:.2}"));
            text += &format!(
                "| {} | {} | {:.2}{deviation} | {:.2} |\n",
                named(row.told.name()),
                row.seeds,
                row.accuracy,
                row.on_images
            );
        }
        text += "\n| difference, paired by seed | points | 95 % interval | |\n|---|---|---|---|\n";
        for d in &self.differences {
            let interval = d.interval.map_or("–".into(), |[low, high]| {
                format!("{low:+.2} to {high:+.2}")
            });
            text += &format!(
                "| {} − {} | {:+.2} | {interval} | {} |\n",
                named(&d.method),
                named(&d.against),
                d.mean,
                named(&d.verdict())
            );
        }
        text + "\n" + &self.caution() + "\n"
    }

    /// What the numbers cannot show.
    pub fn caution(&self) -> String {
        let best = self.rows.iter().map(|r| r.accuracy).fold(0.0, f64::max);
        let p = best / 100.0;
        let error = 100.0 * (p * (1.0 - p) / self.test_images as f64).sqrt();
        format!(
            "Intervals are over the audience's seeds alone: one explainer, {} training images, and {} test images, which account for a \
             standard error of up to {error:.2} points in each accuracy. Another explainer may give other differences.",
            self.training_images, self.test_images
        )
    }
}
