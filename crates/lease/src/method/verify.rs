//! Holding one iteration against the exact reference, quantity by quantity.
//!
//! A case is a safetensors file made by `reference/lease_reference.py`: a tiny explainer and audience,
//! four mini-batches (`in.*`) and what each stage must produce from them (`out.*`), in double precision.
//! The same comparison tells whether a device computes correctly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::layers::agreement;
use super::product::MixedProduct;
use super::stage2::{Attack, AttackScale};
use super::stage3::{Reweighting, Told};
use super::{
    Batches, Examples, Gamma, Iteration, Method, Models, Part, Point, Starts, UnrolledStep,
    Unrolling,
};
use crate::collective::Team;
use crate::network::{Audience, Layout, Memo, ResNetShape, Stem, Vector};
use crate::space::Explainer;
use crate::space::darts::{Operation, Supernet, SupernetShape};

/// A case that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file cannot be read.
    #[error("cannot read the case {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a case.
    #[error(
        "{path} is not a case of the reference: {reason}; make one with reference/lease_reference.py"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The settings stored with a case.
#[derive(Clone, Debug, Deserialize)]
struct Settings {
    channels: usize,
    cells: usize,
    nodes: usize,
    classes: usize,
    in_channels: usize,
    size: usize,
    batch: usize,
    widths: Vec<usize>,
    blocks: Vec<usize>,
    lr_explainer: f64,
    lr_delta: f64,
    lr_audience: f64,
    wd_explainer: f64,
    wd_audience: f64,
    gamma: f64,
    epsilon: f64,
    reweight: Reweighting,
    /// The cases made before there was a choice are absolute.
    #[serde(default = "absolute")]
    attack_scale: AttackScale,
    ops: Vec<Operation>,
}

fn absolute() -> AttackScale {
    AttackScale::Absolute
}

impl Settings {
    /// What is wrong with them: cases are small, and a file that says otherwise is damaged.
    fn check(&self) -> Result<(), String> {
        for (what, n, most) in [
            ("channels", self.channels, 64),
            ("cells", self.cells, 16),
            ("nodes", self.nodes, 8),
            ("classes", self.classes, 1_000),
            ("in_channels", self.in_channels, 16),
            ("size", self.size, 256),
            ("batch", self.batch, 256),
            ("widths", self.widths.len(), 8),
            (
                "the widest of widths",
                self.widths.iter().copied().max().unwrap_or(0),
                1_024,
            ),
            ("blocks", self.blocks.iter().copied().max().unwrap_or(0), 64),
        ] {
            if n == 0 || n > most {
                return Err(format!("its {what} is {n}, where 1 to {most} can be"));
            }
        }
        for (what, x, least) in [
            ("epsilon", self.epsilon, f64::MIN_POSITIVE),
            ("lr_explainer", self.lr_explainer, 0.0),
            ("lr_delta", self.lr_delta, 0.0),
            ("lr_audience", self.lr_audience, 0.0),
            ("wd_explainer", self.wd_explainer, 0.0),
            ("wd_audience", self.wd_audience, 0.0),
            ("gamma", self.gamma, 0.0),
        ] {
            if !(x.is_finite() && x >= least) {
                return Err(format!("its {what} is {x}, which it cannot be"));
            }
        }
        Ok(())
    }
}

/// A loaded case.
pub struct Case {
    path: PathBuf,
    settings: Settings,
    tensors: BTreeMap<String, Vec<f64>>,
    models: Models,
}

/// One line of the comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The quantity, such as `stage4.grad_total`.
    pub quantity: String,
    /// ‖reference‖ over the whole quantity.
    pub norm: f64,
    /// ‖ours − reference‖ / ‖reference‖; 0 where both vanish.
    pub relative_error: f64,
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// If the file cannot be read, or lacks a tensor or setting, or has one of the wrong size.
    pub fn load(path: &Path) -> Result<Self, CaseError> {
        let bytes = std::fs::read(path).map_err(|source| CaseError::Read {
            path: path.into(),
            source,
        })?;
        Self::from_bytes(&bytes, path)
    }

    /// The case that these bytes of a file are.
    ///
    /// # Errors
    /// As [`Case::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CaseError> {
        let foreign = |reason: String| CaseError::Foreign {
            path: path.into(),
            reason,
        };
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|e| foreign(format!("it is no safetensors file ({e})")))?;
        let case = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get("case"))
            .ok_or_else(|| foreign("its metadata has no entry `case`".into()))?;
        let settings: Settings = serde_json::from_str(case)
            .map_err(|e| foreign(format!("its settings cannot be read ({e})")))?;
        if settings.ops != Operation::ALL {
            return Err(foreign(
                "its candidate operations are not those of the DARTS space, in their order".into(),
            ));
        }
        settings.check().map_err(foreign)?;
        let file =
            SafeTensors::deserialize(bytes).map_err(|e| foreign(format!("it is damaged ({e})")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values: Vec<f64> = match view.dtype() {
                Dtype::F64 => chunks(view.data(), f64::from_le_bytes),
                Dtype::I64 => chunks(view.data(), |b| i64::from_le_bytes(b) as f64),
                other => {
                    return Err(foreign(format!(
                        "{name} is of type {other:?}, not F64 or I64"
                    )));
                }
            };
            tensors.insert(name.to_string(), values);
        }
        let explainer = Supernet::new(&SupernetShape {
            channels: settings.channels,
            cells: settings.cells,
            nodes: settings.nodes,
            classes: settings.classes,
            image_channels: settings.in_channels,
            ..SupernetShape::default()
        })
        .map_err(|e| foreign(e.to_string()))?;
        let audience = Audience::new(&ResNetShape {
            widths: settings.widths.clone(),
            blocks: settings.blocks.clone(),
            classes: settings.classes,
            image_channels: settings.in_channels,
            stem: Stem::Cifar,
        })
        .map_err(|e| foreign(e.to_string()))?;
        let case = Self {
            path: path.into(),
            settings,
            tensors,
            models: Models {
                explainer: Arc::new(explainer),
                learner: None,
                audience,
            },
        };
        case.check()?;
        Ok(case)
    }

    /// The number of images in each of the case's batches, and their shape.
    fn image_shape(&self) -> [usize; 4] {
        let s = &self.settings;
        [s.batch, s.in_channels, s.size, s.size]
    }

    /// Every tensor that will be asked for is there, of the right length, with labels in range.
    fn check(&self) -> Result<(), CaseError> {
        let images = self.image_shape().iter().product();
        for set in SETS {
            self.get(&format!("in.{set}.images"), images)?;
            let labels = self.get(&format!("in.{set}.labels"), self.settings.batch)?;
            if let Some(label) = labels
                .iter()
                .find(|l| !(**l >= 0.0 && **l < self.settings.classes as f64 && l.fract() == 0.0))
            {
                return Err(self.foreign(format!(
                    "in.{set}.labels has the label {label} of {} classes",
                    self.settings.classes
                )));
            }
        }
        self.get("in.delta0", images)?;
        for (prefix, layout) in self.layouts() {
            for entry in layout.entries() {
                self.get(&format!("in.{prefix}{}", entry.name), entry.range.len())?;
            }
        }
        Ok(())
    }

    fn layouts(&self) -> [(&'static str, &Arc<Layout>); 3] {
        [
            ("explainer.", self.models.explainer.weights()),
            ("audience.", self.models.audience.weights()),
            ("", self.models.explainer.architecture()),
        ]
    }

    fn foreign(&self, reason: String) -> CaseError {
        CaseError::Foreign {
            path: self.path.clone(),
            reason,
        }
    }

    fn get(&self, name: &str, len: usize) -> Result<&[f64], CaseError> {
        match self.tensors.get(name) {
            Some(values) if values.len() == len => Ok(values),
            Some(values) => Err(self.foreign(format!(
                "{name} has {} values where {len} are needed",
                values.len()
            ))),
            None => Err(self.foreign(format!("it has no {name}"))),
        }
    }

    fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        (device, dtype): (&Device, DType),
    ) -> Result<Tensor<D>, CaseError> {
        let values = self.get(name, shape.iter().product())?.to_vec();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            (device, dtype),
        ))
    }

    /// The named tensors of a layout, joined.
    fn joined(&self, prefix: &str, layout: &Layout) -> Result<Vec<f64>, CaseError> {
        let mut all = Vec::with_capacity(layout.len());
        for entry in layout.entries() {
            all.extend(self.get(&format!("{prefix}{}", entry.name), entry.range.len())?);
        }
        Ok(all)
    }

    fn vector(
        &self,
        prefix: &str,
        layout: &Arc<Layout>,
        (device, dtype): (&Device, DType),
    ) -> Result<Vector, CaseError> {
        let values = self.joined(prefix, layout)?;
        let data = TensorData::new(values, [layout.len()]);
        Ok(Vector::new(
            layout.clone(),
            Tensor::from_data(data, (device, dtype)),
        ))
    }

    fn examples(&self, set: &str, on: (&Device, DType)) -> Result<Examples, CaseError> {
        let images = self.tensor(&format!("in.{set}.images"), self.image_shape(), on)?;
        let labels = self.get(&format!("in.{set}.labels"), self.settings.batch)?;
        let labels = labels.iter().map(|l| *l as i64).collect();
        Ok(Examples::new(images, labels, self.settings.classes))
    }

    /// The settings as those of an iteration.
    fn unrolling(&self, product: MixedProduct) -> Unrolling {
        let s = &self.settings;
        Unrolling {
            method: Method::Lease,
            explainer: UnrolledStep {
                learning_rate: s.lr_explainer,
                weight_decay: s.wd_explainer,
            },
            audience: UnrolledStep {
                learning_rate: s.lr_audience,
                weight_decay: s.wd_audience,
            },
            attack: Attack {
                epsilon: vec![s.epsilon; s.in_channels],
                step_size: s.lr_delta,
                scale: s.attack_scale,
                steps: 1,
                signed: false,
            },
            told: Told {
                reweighting: s.reweight,
                ..Told::default()
            },
            validate_reweighted: false,
            product,
            gamma: Gamma::Absolute(s.gamma),
            norms: false,
        }
    }

    /// Computes every `out.*` quantity on `device` in `dtype` and compares.
    ///
    /// # Errors
    /// If the case lacks one of them.
    pub fn compare(
        &self,
        device: &Device,
        dtype: DType,
        product: MixedProduct,
    ) -> Result<Vec<Comparison>, CaseError> {
        let on = (device, dtype);
        let models = &self.models;
        let (weights_e, weights_w) = (models.explainer.weights(), models.audience.weights());
        let layout_a = models.explainer.architecture();
        let at = Point {
            explainer: self.vector("in.explainer.", weights_e, on)?,
            audience: self.vector("in.audience.", weights_w, on)?,
            architecture: self.vector("in.", layout_a, on)?,
        };
        let [train_e, train_a, val_e, val_a] = SETS.map(|set| self.examples(set, on));
        let batches = Batches {
            explainer_train: train_e?,
            audience_train: train_a?,
            explainer_val: val_e?,
            audience_val: val_a?,
        };
        let delta0 = self.tensor("in.delta0", self.image_shape(), on)?;
        let starts = Starts {
            train: delta0.clone(),
            val: delta0,
        };
        let settings = self.unrolling(product);
        let part = Part {
            models: models.clone(),
            batches,
            starts: Some(starts),
            memo: Some(Memo::default()),
        };
        let team = Team::alone(1);
        let iteration = Iteration {
            parts: std::slice::from_ref(&part),
            team: &team,
            at: &at,
            trains: None,
            settings: &settings,
        };
        let stages = iteration.stages();
        let Some(audience) = &stages.audience else {
            return Err(self.foreign("it has no audience".into()));
        };
        let explainer = iteration.explainer_term(&stages);
        let listener = iteration.audience_term(&stages, audience);
        let total = iteration.architecture_gradient(&explainer, Some(&listener));

        let explanation = &audience.explanations[0];
        let mut table = Vec::new();
        for (name, ours) in [
            ("stage1.loss", stages.explainer_loss),
            ("stage2.objective", explanation.objective),
            ("stage3.loss", audience.loss),
            ("stage4.explainer_val_loss", explainer.loss),
            ("stage4.audience_val_loss", listener.loss),
        ] {
            let reference = self.get(&format!("out.{name}"), 1)?;
            table.push(compared(name, &[ours], reference));
        }
        let adjoint_e = &explainer.reach.explainer;
        let adjoint_e = adjoint_e.add_scaled(self.settings.gamma, &listener.reach.explainer);
        for (name, ours) in [
            ("stage1.explainer.", &stages.explainer),
            ("stage3.audience.", &audience.weights),
            (
                "stage4.grad_first_order_explainer.",
                &explainer.reach.architecture,
            ),
            (
                "stage4.grad_explainer_term.",
                &iteration.through_stage1(&explainer.reach),
            ),
            (
                "stage4.grad_audience_term.",
                &iteration.through_stage1(&listener.reach),
            ),
            ("stage4.grad_total.", &total.total),
            ("adjoint.audience.", &listener.adjoint_audience),
            ("adjoint.explainer.", &adjoint_e),
        ] {
            let reference = self.joined(&format!("out.{name}"), ours.layout())?;
            table.push(compared(
                name.trim_end_matches('.'),
                &ours.to_f64(),
                &reference,
            ));
        }
        // The cases made before there was Λ do not have it.
        if self.tensors.contains_key("out.agreement.value") {
            let of: [(&dyn Explainer, &Examples); 1] =
                [(&*part.models.explainer, &part.batches.explainer_train)];
            let ours = agreement(&team, &of, [&at.explainer, &at.architecture], product);
            let reference = self.get("out.agreement.value", 1)?;
            table.push(compared("agreement.value", &[ours.value], reference));
            let reference = self.joined("out.agreement.explainer.", weights_e)?;
            table.push(compared(
                "agreement.explainer",
                &ours.gradient.to_f64(),
                &reference,
            ));
        }
        for (name, ours) in [
            ("stage2.delta", &explanation.delta),
            ("adjoint.delta", &listener.adjoint_delta[0]),
        ] {
            let reference = self.get(&format!("out.{name}"), ours.layout().len())?;
            table.push(compared(name, &ours.to_f64(), reference));
        }
        table.sort_by_key(|row| order(&row.quantity));
        self.all_compared(&table)?;
        Ok(table)
    }

    /// No `out.*` quantity of the file was passed over.
    fn all_compared(&self, table: &[Comparison]) -> Result<(), CaseError> {
        let outputs = self.tensors.keys().filter_map(|k| k.strip_prefix("out."));
        for name in outputs {
            if !table.iter().any(|row| name.starts_with(&row.quantity)) {
                return Err(self.foreign(format!("its quantity out.{name} is unknown here")));
            }
        }
        Ok(())
    }
}

/// The four batches by their names in a case, in the order of [`Batches`].
const SETS: [&str; 4] = [
    "explainer_train",
    "audience_train",
    "explainer_val",
    "audience_val",
];

/// Stages first, then adjoints in the order in which they are computed, then Λ-DARTS's agreement.
fn order(quantity: &str) -> (u8, String) {
    let rank = match quantity {
        "adjoint.audience" => 1,
        "adjoint.delta" => 2,
        "adjoint.explainer" => 3,
        "agreement.value" => 4,
        "agreement.explainer" => 5,
        _ => 0,
    };
    (
        rank,
        if rank == 0 {
            quantity.into()
        } else {
            String::new()
        },
    )
}

fn compared(name: &str, ours: &[f64], reference: &[f64]) -> Comparison {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let size = norm(&mut reference.iter().copied());
    let difference = norm(&mut ours.iter().zip(reference).map(|(a, b)| a - b));
    Comparison {
        quantity: name.into(),
        norm: size,
        relative_error: if difference == 0.0 {
            0.0
        } else {
            difference / size
        },
    }
}

fn chunks<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|c| decode(*c)).collect()
}
