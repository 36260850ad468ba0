//! The settings themselves.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::method::product::MixedProduct;
use crate::method::stage2::{Attack, Explained};
use crate::method::stage3::Reweighting;
use crate::method::stage4::{Gamma, Method};
use crate::network::{self, NetworkError, ResNet, Stage, Supernet, SupernetShape};
use crate::space::{
    Candidates, DartsGenotype, Genotype, Operation, Table, TableError, nas_bench_201,
};

/// One setting, as told by `--help` and `--print-config`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The TOML section.
    pub section: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// What its flag starts with.
    pub prefix: &'static str,
    /// What it means.
    pub help: &'static str,
    /// The values it can take, where they are words.
    pub choices: &'static [&'static str],
}

/// A section of the configuration: a struct with defaults, and its settings as data.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident, $section:literal, $prefix:literal {
        $( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr $(, [$($choice:literal),+])?; )+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $kind, )+ }

        impl Default for $name {
            fn default() -> Self { Self { $( $field: $default, )+ } }
        }

        impl $name {
            const SETTINGS: &[Setting] = &[ $( Setting {
                section: $section,
                key: stringify!($field),
                prefix: $prefix,
                help: concat!($($doc,)+),
                choices: &[$($($choice),+)?],
            }, )+ ];
        }
    };
}

/// Where images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// The embedded handwritten digits.
    #[default]
    Digits,
    /// CIFAR-10, official binary files.
    Cifar10,
    /// CIFAR-100, official binary files.
    Cifar100,
    /// A folder with one sub-folder per class.
    Folder,
}

impl DatasetKind {
    /// Settings that fit the data set where they differ from the defaults, as TOML.
    pub(super) fn preset(self) -> &'static str {
        match self {
            Self::Digits => include_str!("digits.toml"),
            Self::Cifar10 | Self::Cifar100 | Self::Folder => "",
        }
    }
}

/// How training images are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Not at all.
    None,
    /// Shifted by up to an eighth of their size.
    Crop,
    /// Shifted, and mirrored half the time.
    #[default]
    CropFlip,
}

/// What the audience is validated on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validate {
    /// Images as they are.
    #[default]
    Raw,
    /// Images weighted by explanations of their own.
    Reweighted,
}

/// How training images are shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Explainer and audience share one training and one validation part.
    #[default]
    Shared,
    /// Four disjoint sets.
    Disjoint,
}

/// What γ multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GammaScale {
    /// The audience's loss.
    #[default]
    Absolute,
    /// The norm of the explainer's term.
    Relative,
}

/// How mixed products are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hypergradient {
    /// Dual numbers.
    #[default]
    Exact,
    /// Central differences.
    FiniteDifference,
}

section! {
    /// Images.
    Data, "data", "" {
        /// Data set: the embedded digits, CIFAR-10 or CIFAR-100 in the official binary layout, or a folder with one sub-folder per class.
        dataset: DatasetKind = DatasetKind::Digits, ["digits", "cifar10", "cifar100", "folder"];
        /// Where the data set lies; not used for digits.
        path: String = String::new();
        /// Side in pixels to which the images of a folder are resized.
        image_size: usize = 32;
        /// Use only the first N training images; 0 means all.
        limit: usize = 0;
        /// Use only the first N test images; 0 means all.
        test_limit: usize = 0;
        /// Variation of training images (never of validation or test images).
        augment: Augment = Augment::CropFlip, ["none", "crop", "crop-flip"];
    }
}

/// The space that is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// The DARTS space.
    #[default]
    Darts,
    /// The same, with PC-DARTS's partial channels and edge normalisation.
    PcDarts,
    /// The DARTS space, searched in P-DARTS's stages.
    PDarts,
    /// NAS-Bench-201's.
    #[serde(rename = "nas-bench-201")]
    NasBench201,
}

impl Space {
    /// Settings that fit the space where they differ from the defaults, as TOML.
    pub(super) fn preset(self) -> &'static str {
        match self {
            Self::Darts | Self::PcDarts => "",
            Self::PDarts => include_str!("p_darts.toml"),
            Self::NasBench201 => include_str!("nas_bench_201.toml"),
        }
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Darts => "the DARTS space",
            Self::PcDarts => "the DARTS space with partial channels",
            Self::PDarts => "the DARTS space in stages",
            Self::NasBench201 => "NAS-Bench-201",
        })
    }
}

section! {
    /// The explainer's supernet.
    Explainer, "explainer", "" {
        /// Search space: that of DARTS, the same by PC-DARTS's supernet or in P-DARTS's stages, or that of NAS-Bench-201.
        space: Space = Space::Darts, ["darts", "pc-darts", "p-darts", "nas-bench-201"];
        /// In pc-darts one channel in so many passes the mixed operations.
        partial: usize = 4;
        /// Channels of the first cells; doubled at each reduction.
        channels: usize = 16;
        /// Cells; those at 1/3 and 2/3 of the depth reduce the resolution. In nas-bench-201 the cells of each of its three stages.
        cells: usize = 8;
        /// Intermediate nodes of a cell; not used in nas-bench-201, whose cells have four nodes.
        nodes: usize = 4;
        /// In p-darts the cells of each stage's supernet, instead of cells. Each stage lasts for all epochs.
        stage_cells: String = "5,11,17".into();
        /// In p-darts the candidates on each edge in each stage; all 8 in the first.
        stage_candidates: String = "8,5,3".into();
        /// In p-darts the probability at the start of each stage that an image loses what a skip-connect carries.
        stage_skip_dropout: String = "0,0.4,0.7".into();
        /// In p-darts the skip-connects in the normal cell at most.
        max_skip_connects: usize = 2;
        /// In nas-bench-201 whether `none` can be an edge's choice, as in the benchmark's own code; false follows DARTS's rule, and random cells are drawn without it too.
        derive_none: bool = true;
    }
}

/// One stage of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StagePlan {
    /// Cells of the supernet.
    pub cells: usize,
    /// Candidates on each edge.
    pub candidates: usize,
    /// The probability at its start that an image loses what a skip-connect carries.
    pub skip_dropout: f64,
}

/// The stage that a search is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReached {
    /// Its number, from 0.
    pub number: usize,
    /// The candidates that are left; none means all.
    pub candidates: Option<Candidates>,
}

/// The entries of a list such as `5,11,17`; empty if one cannot be read.
fn list<T: std::str::FromStr>(text: &str) -> Vec<T> {
    let entries = text.split(',').map(|entry| entry.trim().parse());
    entries.collect::<Result<_, _>>().unwrap_or_default()
}

impl Explainer {
    /// An architecture drawn uniformly from the space; in P-DARTS's too, whose cap on skip-connects is the search's.
    pub fn random(&self, rng: &mut impl rand::Rng) -> Genotype {
        match self.space {
            Space::Darts | Space::PcDarts | Space::PDarts => {
                Genotype::Darts(DartsGenotype::random(self.nodes, rng))
            }
            Space::NasBench201 => {
                let choices = nas_bench_201::Operation::choices(self.derive_none);
                Genotype::NasBench201(nas_bench_201::Cell::random(choices, rng))
            }
        }
    }

    /// The divisor of the channels that pass the mixed operations.
    fn partial(&self, image: [usize; 3]) -> Result<usize, NetworkError> {
        if self.space != Space::PcDarts {
            return Ok(1);
        }
        network::halved_twice("PC-DARTS", image)?;
        Ok(self.partial)
    }

    /// The stages of a search, one in most spaces; none if their settings cannot be read (which [`Config::validate`]
    /// refuses).
    pub fn stages(&self) -> Vec<StagePlan> {
        if self.space != Space::PDarts {
            return vec![StagePlan {
                cells: self.cells,
                candidates: Operation::ALL.len(),
                skip_dropout: 0.0,
            }];
        }
        let cells = list(&self.stage_cells).into_iter();
        let rest = list(&self.stage_candidates)
            .into_iter()
            .zip(list(&self.stage_skip_dropout));
        cells
            .zip(rest)
            .map(|(cells, (candidates, skip_dropout))| StagePlan {
                cells,
                candidates,
                skip_dropout,
            })
            .collect()
    }

    /// The supernet for images of `image` (channels, height, width), in this stage.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn supernet(
        &self,
        classes: usize,
        image: [usize; 3],
        reached: &StageReached,
    ) -> Result<Arc<dyn network::Explainer>, NetworkError> {
        Ok(match self.space {
            Space::Darts | Space::PcDarts | Space::PDarts => {
                let all = || Candidates::all(self.nodes);
                let stages = self.stages();
                let cells = stages.get(reached.number).map_or(self.cells, |s| s.cells);
                Arc::new(Supernet::new(&SupernetShape {
                    channels: self.channels,
                    cells,
                    nodes: self.nodes,
                    classes,
                    image_channels: image[0],
                    partial: self.partial(image)?,
                    stage: (self.space == Space::PDarts).then(|| Stage {
                        candidates: reached.candidates.clone().unwrap_or_else(all),
                        max_skip_connects: self.max_skip_connects,
                    }),
                })?)
            }
            Space::NasBench201 => {
                let shape = nas_bench_201::Shape {
                    channels: self.channels,
                    cells: self.cells,
                    classes,
                    image,
                };
                let choices = nas_bench_201::Operation::choices(self.derive_none);
                Arc::new(nas_bench_201::Network::supernet(&shape)?.choosing(choices))
            }
        })
    }
}

section! {
    /// The audience network.
    AudienceNetwork, "audience", "audience" {
        /// Residual network that listens.
        network: ResNet = ResNet::ResNet20, ["resnet18", "resnet20", "resnet32", "resnet34", "resnet56"];
        /// Multiplier of its channels.
        width: f64 = 1.0;
        /// Learning rate at the start, η_w.
        learning_rate: f64 = 0.025;
        /// Learning rate at the end of the cosine.
        min_learning_rate: f64 = 0.001;
        /// Weight decay, λ_w.
        weight_decay: f64 = 3e-4;
    }
}

section! {
    /// The method.
    MethodSettings, "method", "" {
        /// lease: all four stages; darts: without an audience (second order); darts-first: at fixed weights.
        method: Method = Method::Lease, ["lease", "darts", "darts-first"];
        /// Weight of the audience's validation loss.
        gamma: f64 = 1.0;
        /// absolute: gamma is the weight; relative: the weight is chosen at each step so that the audience's term has gamma times the norm of the explainer's.
        gamma_scale: GammaScale = GammaScale::Absolute, ["absolute", "relative"];
        /// Steps from one to the next that carries the two terms of the architecture's gradient apart, so that their norms are known, which takes one more mixed product; 0 means never. With a relative gamma, and by finite differences, every step does.
        norms_every: u64 = 10;
        /// Largest perturbation of a pixel, ε, in standard deviations of the pixels.
        epsilon: f64 = 0.03;
        /// Step along the attack's gradient, η_δ; with signed_attack the step itself.
        attack_step: f64 = 1.0;
        /// Attack steps; the derivative goes through the last.
        attack_steps: usize = 1;
        /// Step along the gradient's sign (PGD). This cuts the audience's path back to the architecture: its term becomes 0.
        signed_attack: bool = false;
        /// What the audience is given as explanations: attack is the method; the others are controls: shuffled (those of another image), random-signs, or plain (images as they are). The last two do not depend on the architecture, so its gradient is that of darts.
        explanation: Explained = Explained::Attack, ["attack", "shuffled", "random-signs", "plain"];
        /// How an explanation weights pixels: signed is δ ⊙ x, magnitude |δ| ⊙ x.
        reweighting: Reweighting = Reweighting::Signed, ["signed", "magnitude"];
        /// Whether the audience is validated on images as they are or reweighted by explanations of their own.
        validate: Validate = Validate::Raw, ["raw", "reweighted"];
        /// Mixed products: exact by dual numbers, or by the central difference of older code.
        hypergradient: Hypergradient = Hypergradient::Exact, ["exact", "finite-difference"];
        /// Length of the finite difference's step.
        h0: f64 = 0.01;
        /// Whether explainer and audience share one training and one validation part, or have four disjoint sets.
        split: Split = Split::Shared, ["shared", "disjoint"];
        /// Share of the training images that train; the others validate.
        training_share: f64 = 0.5;
    }
}

section! {
    /// The search.
    Search, "search", "" {
        /// Epochs.
        epochs: usize = 50;
        /// First epochs in which the architecture stays as it is.
        warmup_epochs: usize = 0;
        /// Images in a mini-batch.
        batch: usize = 64;
        /// Seed of everything random.
        seed: u64 = 0;
        /// Learning rate of the explainer's weights at the start, η_e.
        learning_rate: f64 = 0.025;
        /// Learning rate at the end of the cosine.
        min_learning_rate: f64 = 0.001;
        /// Momentum of explainer and audience.
        momentum: f64 = 0.9;
        /// Weight decay of the explainer's weights, λ_e.
        weight_decay: f64 = 3e-4;
        /// Largest norm of a weight gradient; larger ones are scaled down.
        clip: f64 = 5.0;
        /// Learning rate of the architecture (Adam, β 0.5 and 0.999).
        architecture_learning_rate: f64 = 3e-4;
        /// Weight decay of the architecture.
        architecture_weight_decay: f64 = 1e-3;
        /// Compute the dominant eigenvalue of the validation loss's Hessian with respect to the architecture after every N-th epoch; 0 means never.
        eigenvalue_every: usize = 0;
        /// End the search when its mean over five epochs, five epochs ago, is below this share of that over the last five, with the choice of five epochs ago (published: 0.75). 0 means never. Needs eigenvalue_every = 1.
        stop_eigenvalue_ratio: f64 = 0.0;
        /// End the search when the normal cell would have this many skip-connects, with the choice of the epoch before (DARTS+: 2). 0 means never.
        stop_skip_connects: usize = 0;
        /// Architectures that random search (in lease compare) draws and trains briefly.
        random_draws: usize = 10;
        /// Epochs for which it trains each.
        random_epochs: usize = 5;
        /// Seconds between checkpoints; one is also written after each epoch.
        checkpoint_seconds: f64 = 60.0;
        /// CSV file, gz or not, with the true accuracies of all architectures of NAS-Bench-201, to say after each epoch what the choice is worth. The search does not use it.
        nb201_table: String = String::new();
        /// Device: cpu, or in builds that have them vulkan and cuda, with a number as in cuda:1.
        device: String = "cpu".into();
        /// Threads; 0 means one for each core.
        threads: usize = 0;
    }
}

section! {
    /// Training a derived network from scratch.
    Train, "train", "train" {
        /// Channels of the first cells.
        channels: usize = 36;
        /// Cells.
        cells: usize = 20;
        /// Epochs.
        epochs: usize = 600;
        /// Images in a mini-batch.
        batch: usize = 96;
        /// Learning rate at the start of the cosine, which ends at 0.
        learning_rate: f64 = 0.025;
        /// Momentum.
        momentum: f64 = 0.9;
        /// Weight decay.
        weight_decay: f64 = 3e-4;
        /// Largest norm of the gradient.
        clip: f64 = 5.0;
        /// Probability of dropping a path, reached at the last epoch and proportional to the epoch before.
        drop_path: f64 = 0.2;
        /// Weight of the auxiliary head's loss; 0 means no auxiliary head.
        auxiliary: f64 = 0.4;
        /// Side of the square that cutout blanks, as a share of the image's side; 0 means none.
        cutout: f64 = 0.5;
    }
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Images.
    pub data: Data,
    /// The explainer's supernet.
    pub explainer: Explainer,
    /// The audience network.
    pub audience: AudienceNetwork,
    /// The method.
    pub method: MethodSettings,
    /// The search.
    pub search: Search,
    /// Training a derived network from scratch.
    pub train: Train,
}

impl Config {
    /// All settings, in the order of the file.
    pub fn settings() -> impl Iterator<Item = &'static Setting> {
        [
            Data::SETTINGS,
            Explainer::SETTINGS,
            AudienceNetwork::SETTINGS,
            MethodSettings::SETTINGS,
            Search::SETTINGS,
            Train::SETTINGS,
        ]
        .into_iter()
        .flatten()
    }

    /// The attack of stage II.
    pub fn attack(&self) -> Attack {
        Attack {
            epsilon: self.method.epsilon,
            step_size: self.method.attack_step,
            steps: self.method.attack_steps,
            signed: self.method.signed_attack,
        }
    }

    /// The table of true accuracies, where there is one.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn table(&self) -> Result<Option<Table>, TableError> {
        match self.search.nb201_table.as_str() {
            "" => Ok(None),
            path => Table::read(Path::new(path)).map(Some),
        }
    }

    /// How mixed products are computed.
    pub fn product(&self) -> MixedProduct {
        match self.method.hypergradient {
            Hypergradient::Exact => MixedProduct::Exact,
            Hypergradient::FiniteDifference => {
                MixedProduct::FiniteDifference { h0: self.method.h0 }
            }
        }
    }

    /// The weight of the audience's term.
    pub fn gamma(&self) -> Gamma {
        match self.method.gamma_scale {
            GammaScale::Absolute => Gamma::Absolute(self.method.gamma),
            GammaScale::Relative => Gamma::Relative(self.method.gamma),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (m, s, t, w) = (&self.method, &self.search, &self.train, &self.audience);
        let at_least_1 = "it must be at least 1";
        for (flag, n) in [
            ("channels", self.explainer.channels),
            ("cells", self.explainer.cells),
            ("nodes", self.explainer.nodes),
            ("partial", self.explainer.partial),
            ("image-size", self.data.image_size),
            ("attack-steps", m.attack_steps),
            ("epochs", s.epochs),
            ("batch", s.batch),
            ("random-draws", s.random_draws),
            ("random-epochs", s.random_epochs),
            ("train-channels", t.channels),
            ("train-cells", t.cells),
            ("train-epochs", t.epochs),
            ("train-batch", t.batch),
        ] {
            ensure(n >= 1, flag, n, at_least_1)?;
        }
        let positive = "it must be a finite number above 0";
        for (flag, x) in [
            ("audience-width", w.width),
            ("audience-learning-rate", w.learning_rate),
            ("epsilon", m.epsilon),
            ("attack-step", m.attack_step),
            ("h0", m.h0),
            ("learning-rate", s.learning_rate),
            ("architecture-learning-rate", s.architecture_learning_rate),
            ("clip", s.clip),
            ("train-learning-rate", t.learning_rate),
            ("train-clip", t.clip),
        ] {
            ensure(x > 0.0 && x.is_finite(), flag, x, positive)?;
        }
        let not_negative = "it must be a finite number of at least 0";
        for (flag, x) in [
            ("gamma", m.gamma),
            ("audience-min-learning-rate", w.min_learning_rate),
            ("audience-weight-decay", w.weight_decay),
            ("min-learning-rate", s.min_learning_rate),
            ("weight-decay", s.weight_decay),
            ("architecture-weight-decay", s.architecture_weight_decay),
            ("checkpoint-seconds", s.checkpoint_seconds),
            ("train-weight-decay", t.weight_decay),
            ("train-auxiliary", t.auxiliary),
        ] {
            ensure(x >= 0.0 && x.is_finite(), flag, x, not_negative)?;
        }
        for (flag, x) in [
            ("momentum", s.momentum),
            ("train-momentum", t.momentum),
            ("train-drop-path", t.drop_path),
        ] {
            ensure(
                (0.0..1.0).contains(&x),
                flag,
                x,
                "it must be at least 0 and below 1",
            )?;
        }
        ensure(
            (0.0..=1.0).contains(&t.cutout),
            "train-cutout",
            t.cutout,
            "it must be between 0 and 1",
        )?;
        ensure(
            m.training_share > 0.0 && m.training_share < 1.0,
            "training-share",
            m.training_share,
            "it must be above 0 and below 1, so that both parts have images",
        )?;
        ensure(
            s.warmup_epochs < s.epochs,
            "warmup-epochs",
            s.warmup_epochs,
            "it must be below the number of epochs, or the architecture never changes",
        )?;
        ensure(
            (0.0..1.0).contains(&s.stop_eigenvalue_ratio),
            "stop-eigenvalue-ratio",
            s.stop_eigenvalue_ratio,
            "it must be at least 0 and below 1",
        )?;
        ensure(
            s.stop_eigenvalue_ratio == 0.0 || s.eigenvalue_every == 1,
            "stop-eigenvalue-ratio",
            s.stop_eigenvalue_ratio,
            "it needs --eigenvalue-every 1",
        )?;
        self.validate_stages()?;
        ensure(
            s.nb201_table.is_empty() || self.explainer.space == Space::NasBench201,
            "nb201-table",
            &s.nb201_table,
            "it needs --space nas-bench-201",
        )?;
        ensure(
            self.data.dataset == DatasetKind::Digits || !self.data.path.is_empty(),
            "path",
            "\"\"",
            "this data set needs the folder where it lies",
        )
    }
}

impl Config {
    /// Checks what only P-DARTS has.
    fn validate_stages(&self) -> Result<(), ConfigError> {
        let (e, s) = (&self.explainer, &self.search);
        if e.space != Space::PDarts {
            return Ok(());
        }
        let cells = list::<usize>(&e.stage_cells);
        ensure(
            !cells.is_empty() && !cells.contains(&0),
            "stage-cells",
            &e.stage_cells,
            "it must be a list of whole numbers of at least 1, such as 5,11,17",
        )?;
        let candidates = list::<usize>(&e.stage_candidates);
        ensure(
            candidates.len() == cells.len()
                && candidates[0] == Operation::ALL.len()
                && candidates.is_sorted_by(|a, b| a >= b)
                && candidates.iter().all(|n| *n >= 2),
            "stage-candidates",
            &e.stage_candidates,
            "it must have a whole number for each entry of stage-cells, the first 8, none larger than the one before, \
             and none below 2, such as 8,5,3",
        )?;
        let dropout = list::<f64>(&e.stage_skip_dropout);
        ensure(
            dropout.len() == cells.len() && dropout.iter().all(|p| (0.0..1.0).contains(p)),
            "stage-skip-dropout",
            &e.stage_skip_dropout,
            "it must have a probability of at least 0 and below 1 for each entry of stage-cells, such as 0,0.4,0.7",
        )?;
        for (flag, off, value) in [
            (
                "stop-skip-connects",
                s.stop_skip_connects == 0,
                s.stop_skip_connects.to_string(),
            ),
            (
                "stop-eigenvalue-ratio",
                s.stop_eigenvalue_ratio == 0.0,
                s.stop_eigenvalue_ratio.to_string(),
            ),
        ] {
            ensure(
                off,
                flag,
                value,
                "a search in stages does not end early; p-darts has --max-skip-connects",
            )?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, flag: &str, value: impl ToString, reason: &str) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    let setting = Config::find(flag);
    Err(ConfigError::Range {
        key: setting.map_or(flag.into(), |s| format!("{}.{}", s.section, s.key)),
        flag: flag.into(),
        value: value.to_string(),
        reason: reason.into(),
    })
}
