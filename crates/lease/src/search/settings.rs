//! The settings of a search, and all that it reads.

use std::sync::Arc;

use toml::{Table, Value};

use super::freezing::FreezingSettings;
use super::preset::PresetSettings;
use super::selection::{Selection, SelectionSettings};
use super::trial;
use crate::collective::{Collective, CollectiveError, Team};
use crate::config::{
    Composite, ConfigError, Layers, Rule, Section, SectionInfo, Setting, preset, section,
};
use crate::data::{self, DataConfig, DataSettings, Normalisation};
use crate::method::iteration::Unrolling;
use crate::method::optimiser::{SgdRule, cosine};
use crate::method::perturbation::PerturbationSettings;
use crate::method::regulariser::RegulariserSettings;
use crate::method::settings::{AudienceSettings, MethodSettings, Validate};
use crate::method::{Method, UnrolledStep};
use crate::network::{Audience, NetworkError, NetworkSettings};
use crate::run::RunSettings;
use crate::space::cost::BudgetSettings;
use crate::space::mixing::MixingSettings;
use crate::space::{
    self, Explainer, ExplainerSettings, SearchSpace, Size, StagePlan, StageReached,
};

section! {
    /// The search.
    SearchSettings, "search", "" {
        /// Epochs.
        epochs: usize = 50 => Rule::whole(1, 100_000);
        /// First epochs in which the architecture stays as it is.
        warmup_epochs: usize = 0 => Rule::whole(0, 100_000);
        /// Images in a mini-batch.
        batch: usize = 64 => Rule::whole(1, 65_536);
        /// Parts that every batch is cut into ("ghost batches"): batch norm normalises each by itself, and they are computed one after the other, which takes less memory. Several processes share them, so it is a multiple of their number.
        ghost_batches: usize = 1 => Rule::whole(1, 65_536);
        /// Learning rate of the explainer's weights at the start, η_e.
        learning_rate: f64 = 0.025 => Rule::POSITIVE;
        /// Learning rate at the end of the cosine.
        min_learning_rate: f64 = 0.001 => Rule::NOT_NEGATIVE;
        /// Momentum of explainer and audience.
        momentum: f64 = 0.9 => Rule::BELOW_1;
        /// Weight decay of the explainer's weights, λ_e.
        weight_decay: f64 = 3e-4 => Rule::NOT_NEGATIVE;
        /// Largest norm of a weight gradient; larger ones are scaled down.
        clip: f64 = 5.0 => Rule::POSITIVE;
        /// Learning rate of the architecture (Adam, β 0.5 and 0.999).
        architecture_learning_rate: f64 = 3e-4 => Rule::POSITIVE;
        /// Weight decay of the architecture.
        architecture_weight_decay: f64 = 1e-3 => Rule::NOT_NEGATIVE;
        /// Compute the dominant eigenvalue of the validation loss's Hessian with respect to the architecture after every N-th epoch; 0 means never.
        eigenvalue_every: usize = 0 => Rule::whole(0, 100_000);
        /// End the search when its mean over five epochs, five epochs ago, is below this share of that over the last five, with the choice of five epochs ago (published: 0.75). 0 means never. Needs eigenvalue_every = 1.
        stop_eigenvalue_ratio: f64 = 0.0 => Rule::BELOW_1;
        /// End the search when the normal cell would have this many skip-connects, with the choice of the epoch before (DARTS+: 2). 0 means never.
        stop_skip_connects: usize = 0 => Rule::whole(0, 1_000);
    }
}

/// All that a search reads.
#[derive(Clone, Debug)]
pub struct SearchConfig {
    /// The preset that the others lie on.
    pub preset: PresetSettings,
    /// Images.
    pub data: DataConfig,
    /// What all networks share.
    pub network: NetworkSettings,
    /// The explainer's supernet.
    pub explainer: ExplainerSettings,
    /// The space that is searched, with its own settings.
    pub space: Arc<dyn SearchSpace>,
    /// How the architecture becomes mixing weights.
    pub mixing: MixingSettings,
    /// The audience network.
    pub audience: AudienceSettings,
    /// The method.
    pub method: MethodSettings,
    /// Terms of the architecture alone.
    pub regulariser: RegulariserSettings,
    /// What the network that is found may cost.
    pub budget: BudgetSettings,
    /// Perturbations of the architecture.
    pub perturbation: PerturbationSettings,
    /// Operation-level early stopping.
    pub freezing: FreezingSettings,
    /// What the search ends with.
    pub selection: SelectionSettings,
    /// The search.
    pub search: SearchSettings,
    /// The run.
    pub run: RunSettings,
}

/// How far a stage of a search is; both from 0 at the first step to 1 at the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Of all its steps.
    pub steps: f64,
    /// Of those in which the architecture moves.
    pub moves: f64,
}

impl Composite for SearchConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = vec![PresetSettings::INFO];
        all.extend(DataConfig::scope());
        all.extend([NetworkSettings::INFO, ExplainerSettings::INFO]);
        all.extend(space::sections());
        all.extend([
            MixingSettings::INFO,
            AudienceSettings::INFO,
            MethodSettings::INFO,
            RegulariserSettings::INFO,
            BudgetSettings::INFO,
            PerturbationSettings::INFO,
            FreezingSettings::INFO,
            SelectionSettings::INFO,
            SearchSettings::INFO,
            RunSettings::INFO,
        ]);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        let explainer = ExplainerSettings::of(values)?;
        let space = space::named(&explainer.space).ok_or_else(|| {
            let reason = format!("one of {} is needed", space::names().join(", "));
            ExplainerSettings::setting("space").range(&explainer.space, reason)
        })?;
        Ok(Self {
            preset: Section::of(values)?,
            data: DataConfig::read(values)?,
            network: Section::of(values)?,
            space: (space.read)(values)?,
            explainer,
            mixing: Section::of(values)?,
            audience: Section::of(values)?,
            method: Section::of(values)?,
            regulariser: Section::of(values)?,
            budget: Section::of(values)?,
            perturbation: Section::of(values)?,
            freezing: Section::of(values)?,
            selection: Section::of(values)?,
            search: Section::of(values)?,
            run: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = vec![self.preset.table()];
        all.extend(self.data.tables());
        all.extend([self.network.table(), self.explainer.table()]);
        all.extend(self.space.tables());
        all.extend([
            self.mixing.table(),
            self.audience.table(),
            self.method.table(),
            self.regulariser.table(),
            self.budget.table(),
            self.perturbation.table(),
            self.freezing.table(),
            self.selection.table(),
            self.search.table(),
            self.run.table(),
        ]);
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        let s = &self.search;
        let mut errors = self.data.problems();
        errors.extend(self.space.problems());
        let mut ensure = |holds: bool, key: &str, value: String, reason: &str| {
            if !holds {
                errors.push(SearchSettings::setting(key).range(value, reason));
            }
        };
        // A supernet can be asked without its architecture ever having moved.
        let asked = self.selection.selection == Selection::Perturbation;
        ensure(
            s.warmup_epochs < s.epochs || asked && s.warmup_epochs == s.epochs,
            "warmup_epochs",
            s.warmup_epochs.to_string(),
            "it must be below the number of epochs, or the architecture never changes",
        );
        ensure(
            s.batch.is_multiple_of(s.ghost_batches),
            "ghost_batches",
            s.ghost_batches.to_string(),
            &format!("it must divide the batch of {} images", s.batch),
        );
        ensure(
            s.stop_eigenvalue_ratio == 0.0 || s.eigenvalue_every == 1,
            "stop_eigenvalue_ratio",
            s.stop_eigenvalue_ratio.to_string(),
            "it needs --eigenvalue-every 1",
        );
        let whole = self.space.can_end_early();
        let early = "a search in stages does not end early";
        ensure(
            whole || s.stop_skip_connects == 0,
            "stop_skip_connects",
            s.stop_skip_connects.to_string(),
            early,
        );
        ensure(
            whole || s.stop_eigenvalue_ratio == 0.0,
            "stop_eigenvalue_ratio",
            s.stop_eigenvalue_ratio.to_string(),
            early,
        );
        if asked && !whole {
            errors.push(SelectionSettings::setting("selection").range(
                "perturbation",
                "it does not look at how many skip-connects a search in stages may keep",
            ));
        }
        if asked && self.budget.bounds().any() {
            errors.push(SelectionSettings::setting("selection").range(
                "perturbation",
                "it looks at no bounds, so that it cannot be had with --max-parameters, --max-flops, --max-latency-ms or --min-convolutions",
            ));
        }
        let selects = &self.selection;
        let looked_up =
            selects.selection == Selection::Trained && selects.selection_train_epochs == 0;
        if let Some(reason) = looked_up.then(|| trial::unknown(self)).flatten() {
            let setting = SelectionSettings::setting("selection_train_epochs");
            errors.push(setting.range("0", reason));
        }
        errors
    }

    fn unread(&self, setting: &Setting) -> String {
        if data::reader(setting.section).is_some() {
            return self.data.unread(setting);
        }
        format!(
            "it is a setting of --space {}, and this is {}",
            space::readers(setting.section).join(" and "),
            self.explainer.space
        )
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.data.stray(upper)
    }
}

/// The presets of the space and the data set that these layers choose, a training's too, and the one that they name: what
/// lies under them.
///
/// # Errors
/// If the space is unknown, or a preset cannot be read.
pub fn presets(upper: &Layers) -> Result<Vec<Table>, ConfigError> {
    let named = PresetSettings::of(&upper.values)?.values()?;
    let dataset = DataSettings::of(&upper.values)?.dataset;
    let chosen = |values: &Table| {
        let section = values.get(ExplainerSettings::INFO.name)?;
        section.get("space").cloned()
    };
    let explainer = match chosen(&upper.values) {
        Some(_) => ExplainerSettings::of(&upper.values)?,
        None => ExplainerSettings::of(&named)?,
    };
    let (space, recipe) = match space::named(&explainer.space) {
        Some(space) => (preset(space.preset)?, preset(space.recipe)?),
        None => (Table::new(), Table::new()),
    };
    let mut all = data::presets(&upper.values)?;
    all.extend([space, recipe, preset(dataset.preset())?, named]);
    // A preset's warm-up is that of its own epochs; with too few for it, it is as large a share of them.
    let whole = |of: &Table, key| of.get("search")?.get(key)?.as_integer();
    let both = |of: &Table| whole(of, "epochs").zip(whole(of, "warmup_epochs"));
    let authors = all.iter().rev().find_map(both);
    let over = |key| all.iter().rev().find_map(|table| whole(table, key));
    let epochs = whole(&upper.values, "epochs").or_else(|| over("epochs"));
    all.push(budgeted(all.iter().chain([&upper.values])));
    if let (Some((of, warmup)), Some(epochs)) = (authors, epochs)
        && warmup >= epochs
    {
        let mut search = Table::new();
        search.insert("warmup_epochs".into(), Value::Integer(warmup * epochs / of));
        let mut table = Table::new();
        table.insert("search".into(), Value::Table(search));
        all.push(table);
    }
    Ok(all)
}

/// The size of the network that is trained by these tables, the later of which win, as that which a budget is for.
fn budgeted<'a>(tables: impl Iterator<Item = &'a Table>) -> Table {
    let mut budget = Table::new();
    for table in tables {
        let Some(train) = table.get("train").and_then(Value::as_table) else {
            continue;
        };
        for (key, to) in [("channels", "budget_channels"), ("cells", "budget_cells")] {
            if let Some(value) = train.get(key) {
                budget.insert(to.into(), value.clone());
            }
        }
    }
    let mut table = Table::new();
    table.insert(BudgetSettings::INFO.name.into(), Value::Table(budget));
    table
}

impl SearchConfig {
    /// The stages of the search, at least one.
    pub fn stages(&self) -> Vec<StagePlan> {
        self.space.stages(self.explainer.cells)
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
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        let size = Size {
            channels: self.explainer.channels,
            cells: self.explainer.cells,
            classes,
            image,
            partial: self.explainer.partial,
            stem: self.network.stem.for_images(image),
        };
        self.space.supernet(&size, reached)
    }

    /// The audience.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn audience(&self, classes: usize, image: [usize; 3]) -> Result<Audience, NetworkError> {
        let w = &self.audience;
        let stem = self.network.stem.for_images(image);
        Audience::new(&w.network.shape(w.width, classes, image[0], stem))
    }

    /// How E steps.
    pub fn explainer_rule(&self) -> SgdRule {
        SgdRule {
            momentum: self.search.momentum,
            nesterov: false,
            weight_decay: self.search.weight_decay,
            clip: self.search.clip,
        }
    }

    /// How W steps.
    pub fn audience_rule(&self) -> SgdRule {
        SgdRule {
            weight_decay: self.audience.weight_decay,
            ..self.explainer_rule()
        }
    }

    /// Whether the architecture stays as it is in an epoch.
    pub fn warms_up(&self, epoch: usize) -> bool {
        epoch % self.search.epochs < self.search.warmup_epochs
    }

    /// How far a stage of the search is, which has this many steps an epoch, at its step `within`.
    pub fn shares(&self, within: u64, per_epoch: u64) -> Shares {
        let all = per_epoch * self.search.epochs as u64;
        let warmup = per_epoch * self.search.warmup_epochs as u64;
        let last = |steps: u64| steps.saturating_sub(1).max(1) as f64;
        Shares {
            steps: within as f64 / last(all),
            moves: within.saturating_sub(warmup) as f64 / last(all.saturating_sub(warmup)),
        }
    }

    /// The settings of a step's iteration.
    pub fn unrolling(&self, step: u64, epoch: usize, normalisation: &Normalisation) -> Unrolling {
        let (m, s, w) = (&self.method, &self.search, &self.audience);
        let within = epoch % s.epochs;
        let rate = |first, last| cosine(first, last, within, s.epochs);
        Unrolling {
            method: m.method,
            explainer: UnrolledStep {
                learning_rate: rate(s.learning_rate, s.min_learning_rate),
                weight_decay: s.weight_decay,
            },
            audience: UnrolledStep {
                learning_rate: rate(w.learning_rate, w.min_learning_rate),
                weight_decay: w.weight_decay,
            },
            attack: m.attack(normalisation),
            told: m.told(),
            validate_reweighted: m.validate == Validate::Reweighted,
            product: m.product(),
            gamma: m.gamma(),
            norms: m.norms_every > 0 && step.is_multiple_of(m.norms_every),
        }
    }

    /// Whether what a search with these settings finds depends on this one.
    pub fn reads(&self, setting: &Setting) -> bool {
        let key = setting.key;
        match setting.section {
            "audience" => self.listens(),
            "method" => self.method.reads(key, self.regulariser.lambda > 0.0),
            "mixing" => self.mixing.reads(key),
            "perturbation" => self.perturbation.reads(key),
            "freezing" => self.freezing.reads(key),
            "selection" => self.selection.reads(key),
            "budget" => self.budget.reads(key),
            section => self.tables().iter().any(|(info, _)| info.name == section),
        }
    }

    /// The processes `peers` over the parts of a batch.
    ///
    /// # Errors
    /// If they cannot share them.
    pub fn team(&self, peers: Arc<dyn Collective>) -> Result<Team, CollectiveError> {
        Team::new(peers, self.search.ghost_batches, "--ghost-batches")
    }

    /// Whether there is an audience.
    pub fn listens(&self) -> bool {
        self.method.method == Method::Lease
    }
}
