//! What is read to explain.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::{
    Composite, ConfigError, Layers, Rule, Section, SectionInfo, Setting, preset, section,
};
use crate::data::{DataConfig, DataSettings};
use crate::method::settings::{AudienceSettings, MethodSettings};
use crate::network::NetworkSettings;
use crate::run::RunSettings;

/// Which images of a data set are explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The test images.
    #[default]
    Test,
    /// The training images.
    Train,
}

section! {
    /// Explanations.
    ExplainSettings, "explain", "" {
        /// Images that are explained, drawn at random from the split by the seed; 0 means all.
        count: usize = 100 => Rule::whole(0, 1_000_000);
        /// Images in one pass. A supernet normalises by the statistics of a pass's images, so what it says of an image depends on the others.
        at_once: usize = 100 => Rule::whole(1, 65_536);
        /// Explanations that are drawn as pictures.
        pictures: usize = 24 => Rule::whole(0, 10_000);
        /// Whether the explanations are measured too.
        measures: bool = true;
        /// Largest change of a number of the normalised image in the measure of sensitivity.
        sensitivity_radius: f64 = 0.02 => Rule::POSITIVE;
        /// Draws of such changes.
        sensitivity_draws: usize = 10 => Rule::whole(1, 10_000);
        /// Times that all weights are drawn anew in the randomisation check.
        redraws: usize = 3 => Rule::whole(1, 1_000);
        /// Epochs in which an audience listens (--audience).
        audience_epochs: usize = 20 => Rule::whole(1, 100_000);
        /// Images in a mini-batch of the audience (--audience).
        audience_batch: usize = 64 => Rule::whole(2, 65_536);
    }
}

/// The settings of [`MethodSettings`] that are about the attack.
const ATTACK: [&str; 6] = [
    "epsilon",
    "epsilon_unit",
    "attack_step",
    "attack_scale",
    "attack_steps",
    "signed_attack",
];

/// Of the method's section what an explanation reads.
fn attack_section() -> &'static SectionInfo {
    static SECTION: LazyLock<SectionInfo> = LazyLock::new(|| {
        let all = MethodSettings::INFO.settings.iter();
        let some = all.filter(|s| ATTACK.contains(&s.key)).copied();
        SectionInfo {
            name: MethodSettings::INFO.name,
            about: "The attack that explains.",
            // It lives as long as the program.
            settings: Vec::leak(some.collect()),
            defaults: || attack_values((MethodSettings::INFO.defaults)()),
        }
    });
    &SECTION
}

fn attack_values(mut values: Table) -> Table {
    values.retain(|key, _| ATTACK.contains(&key));
    values
}

/// All that is read to explain.
#[derive(Clone, Debug)]
pub struct ExplainConfig {
    /// Images.
    pub data: DataConfig,
    /// What all networks share, which only `--audience` reads.
    pub network: NetworkSettings,
    /// The method, of which the attack is read.
    pub method: MethodSettings,
    /// The audience, which only `--audience` reads.
    pub audience: AudienceSettings,
    /// Explanations.
    pub explain: ExplainSettings,
    /// The run.
    pub run: RunSettings,
}

impl Composite for ExplainConfig {
    fn scope() -> Vec<&'static SectionInfo> {
        let mut all = DataConfig::scope();
        all.extend([
            NetworkSettings::INFO,
            attack_section(),
            AudienceSettings::INFO,
            ExplainSettings::INFO,
            RunSettings::INFO,
        ]);
        all
    }

    fn read(values: &Table) -> Result<Self, ConfigError> {
        Ok(Self {
            data: DataConfig::read(values)?,
            network: Section::of(values)?,
            method: Section::of(values)?,
            audience: Section::of(values)?,
            explain: Section::of(values)?,
            run: Section::of(values)?,
        })
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        let mut all = self.data.tables();
        let (_, method) = self.method.table();
        all.push(self.network.table());
        all.push((attack_section(), attack_values(method)));
        all.extend([
            self.audience.table(),
            self.explain.table(),
            self.run.table(),
        ]);
        all
    }

    fn problems(&self) -> Vec<ConfigError> {
        self.data.problems()
    }

    fn unread(&self, setting: &Setting) -> String {
        self.data.unread(setting)
    }

    fn stray(&self, upper: &Layers) -> Vec<ConfigError> {
        self.data.stray(upper)
    }
}

/// The presets that explanations of what is in a folder lie on: what fits its data set, and its own settings.
///
/// # Errors
/// If a preset cannot be read.
pub fn presets(folder: Table) -> Result<Vec<Table>, ConfigError> {
    let dataset = DataSettings::of(&folder)?.dataset;
    let natural = match dataset.is_embedded() {
        true => "",
        false => include_str!("natural.toml"),
    };
    Ok(vec![preset(dataset.preset())?, preset(natural)?, folder])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_a_runs_own_or_what_explains_the_data_set() {
        let attack = |folder: &str| {
            let all = presets(folder.parse().unwrap()).unwrap();
            let none = Layers::read(None, &[], &ExplainConfig::scope(), &[]).unwrap();
            let m = ExplainConfig::resolve(&all, &none).unwrap().method;
            (m.epsilon, m.attack_steps, m.attack_step)
        };
        let cifar = "[data]\ndataset = \"cifar10\"\npath = \"data\"\n";
        assert_eq!(attack(cifar), (0.1, 10, 0.25));
        let run = format!("{cifar}[method]\nattack_steps = 3\nattack_step = 0.5\n");
        assert_eq!(attack(&run), (0.1, 3, 0.5));
        assert_eq!(attack("[data]\ndataset = \"shapes\"\n"), (0.3, 1, 1.0));
    }

    #[test]
    fn of_the_method_the_attack_alone_is_read_and_flags_win_over_a_runs_settings() {
        let run = "[method]\ngamma = 3.0\nattack_steps = 2\n".parse().unwrap();
        let flags = [("epsilon".to_string(), "0.5".to_string())];
        let upper = Layers::read(None, &flags, &ExplainConfig::scope(), &[]).unwrap();
        let config = ExplainConfig::resolve(&[run], &upper).unwrap();
        let m = &config.method;
        assert_eq!((m.epsilon, m.attack_step, m.attack_steps), (0.5, 1.0, 2));
        assert!(!config.to_toml().contains("gamma"));
    }
}
