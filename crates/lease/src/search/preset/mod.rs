//! Searches by their published names: settings with their sources, one TOML file each.

use toml::Table;

use crate::config::{ConfigError, preset, section};

/// The presets by name, in order; `none` is no preset.
const ALL: [(&str, &str); 20] = [
    ("lease", include_str!("lease.toml")),
    ("shortlist", include_str!("shortlist.toml")),
    ("darts", include_str!("darts.toml")),
    ("darts-first", include_str!("darts-first.toml")),
    ("pc-darts", include_str!("pc-darts.toml")),
    ("p-darts", include_str!("p-darts.toml")),
    ("gdas", include_str!("gdas.toml")),
    ("drnas", include_str!("drnas.toml")),
    ("beta-darts", include_str!("beta-darts.toml")),
    ("fair-darts", include_str!("fair-darts.toml")),
    ("darts-minus", include_str!("darts-minus.toml")),
    ("sdarts-rs", include_str!("sdarts-rs.toml")),
    ("sdarts-adv", include_str!("sdarts-adv.toml")),
    ("robust-darts", include_str!("robust-darts.toml")),
    ("darts-plus", include_str!("darts-plus.toml")),
    ("darts-pt", include_str!("darts-pt.toml")),
    ("oles", include_str!("oles.toml")),
    ("a2m", include_str!("a2m.toml")),
    ("lambda-darts", include_str!("lambda-darts.toml")),
    ("sanas", include_str!("sanas.toml")),
];

/// What stands for no preset.
const NONE: &str = "none";

section! {
    /// The preset that other settings lie on.
    PresetSettings, "preset", "" {
        /// A published search's settings, which all that is set otherwise wins over; the guide says what each is. A written configuration holds all of its values, so this only says where they came from.
        preset: String = NONE.into(), from names;
    }
}

/// The names of all presets.
pub fn names() -> Vec<&'static str> {
    let mut all = vec![NONE];
    all.extend(ALL.iter().map(|(name, _)| *name));
    all
}

impl PresetSettings {
    /// The preset's settings.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn values(&self) -> Result<Table, ConfigError> {
        if self.preset == NONE {
            return Ok(Table::new());
        }
        let found = ALL.iter().find(|(name, _)| *name == self.preset);
        let (_, text) = found.ok_or_else(|| {
            let reason = format!("one of {} is needed", names().join(", "));
            PresetSettings::setting("preset").range(&self.preset, reason)
        })?;
        preset(text)
    }
}
