//! What a result depends on: by this a checkpoint knows whether it belongs to a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::hex;
use crate::config::{Composite, differences};

/// What a result depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// The settings that the result depends on, and what else it does.
    pub fn new(config: &impl Composite, more: &[(&str, String)]) -> Self {
        let mut all = config.identity();
        all.extend(
            more.iter()
                .map(|(name, value)| (name.to_string(), value.clone())),
        );
        Self(all)
    }

    /// What differs, as `NAME is A there, B here`; empty where nothing does.
    pub fn differences(&self, here: &Self) -> Vec<String> {
        let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let digest = |name: &str| self.0.get(name).is_some_and(|value| hex(value));
        let told = differences(&self.0, &here.0).into_iter();
        told.map(|difference| match difference.split_once(" is ") {
            // Nobody reads digests.
            Some((name, _)) if digest(name) => format!("{name} are others"),
            _ => difference,
        })
        .collect()
    }

    /// A digest of all of it.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in &self.0 {
            hash.update(format!("{name} = {value}\n"));
        }
        hex(&hash.finalize())
    }
}
