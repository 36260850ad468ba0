//! The operations that networks can have, and what each costs where it stands.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use super::{Cost, Latencies, counted};
use crate::Error;
use crate::network::Vector;
use crate::network::part::Part;
use crate::space::mixing::Choice;
use crate::space::{DerivedShape, Explainer, Genotype};

/// An operation at a size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Its name.
    pub operation: String,
    /// Its channels.
    pub channels: usize,
    /// Its stride.
    pub stride: usize,
    /// The height of what it reads.
    pub height: usize,
    /// The width of what it reads.
    pub width: usize,
}

/// For each kind of cell, each edge and each candidate, in a supernet's order: the operations that it puts into a network, and how
/// often.
#[derive(Default)]
pub struct Menu {
    parts: BTreeMap<Key, Part>,
    edges: Vec<Vec<Vec<BTreeMap<Key, u64>>>>,
}

impl Menu {
    /// An empty menu of so many candidates on each edge of each kind of cell.
    pub(crate) fn new(kinds: impl IntoIterator<Item = Vec<usize>>) -> Self {
        let empty = |candidates| vec![BTreeMap::new(); candidates];
        let kinds = kinds.into_iter();
        Self {
            parts: BTreeMap::new(),
            edges: kinds
                .map(|edges| edges.into_iter().map(empty).collect())
                .collect(),
        }
    }

    /// Puts an operation in a cell's place: kind, edge, candidate.
    pub(crate) fn add(
        &mut self,
        [kind, edge, candidate]: [usize; 3],
        key: Key,
        part: impl FnOnce() -> Part,
    ) {
        self.parts.entry(key.clone()).or_insert_with(part);
        *self.edges[kind][edge][candidate].entry(key).or_default() += 1;
    }

    /// All operations at all sizes.
    pub(super) fn parts(&self) -> &BTreeMap<Key, Part> {
        &self.parts
    }
}

/// What networks of a size cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// What they all have: stem, what brings cells' inputs to their channels, classifier.
    pub rest: Cost,
    /// For each kind of cell, each edge and each candidate what it adds, in all cells of the kind.
    pub edges: Vec<Vec<Vec<Cost>>>,
}

/// An architecture of a supernet, as good as any for finding out what all have: that of coefficients of 0.
pub(super) fn example(explainer: &dyn Explainer) -> Result<(Choice, Genotype), Error> {
    let layout = explainer.architecture().clone();
    let level = Vector::zeros(layout, &Device::flex(), DType::F32);
    Ok((explainer.choice(&level)?, explainer.derive(&level)?))
}

impl Costs {
    /// Those of the networks that can be derived from a supernet, at this size; times only where latencies are given.
    ///
    /// # Errors
    /// If a network cannot be built, or the latencies are of other networks.
    pub fn of(
        explainer: &dyn Explainer,
        shape: &DerivedShape,
        latencies: Option<&Latencies>,
    ) -> Result<Self, Error> {
        let menu = explainer.menu(shape);
        let mut known = BTreeMap::new();
        for (key, part) in &menu.parts {
            let size = [key.height, key.width];
            let nanoseconds = match latencies {
                Some(latencies) => latencies.of(key)?,
                None => 0,
            };
            let cost = Cost {
                parameters: part.parameters(),
                multiply_adds: part.multiply_adds(size),
                nanoseconds,
            };
            known.insert(key, cost);
        }
        let of = |parts: &BTreeMap<Key, u64>| -> Cost {
            let each = parts.iter().map(|(key, count)| known[key].times(*count));
            each.sum()
        };
        let edges = menu.edges.iter().map(|kind| {
            let edges = kind.iter();
            edges
                .map(|candidates| candidates.iter().map(of).collect())
                .collect()
        });
        let mut costs = Self {
            rest: Cost::default(),
            edges: edges.collect(),
        };
        let (choice, genotype) = example(explainer)?;
        let whole = counted(&*genotype.network(shape)?, shape.image);
        let mut rest = whole.without(costs.of_choice(&choice));
        if let Some(latencies) = latencies {
            rest.nanoseconds = latencies.rest(shape)?;
        }
        costs.rest = rest;
        Ok(costs)
    }

    /// How many of these operations, on the edges of the first kind of cell, have parameters.
    pub fn convolutions(&self, choice: &Choice) -> usize {
        let first = self.edges.first().zip(choice.first());
        let edges = first
            .into_iter()
            .flat_map(|(edges, of)| edges.iter().zip(of));
        let chosen = edges.filter_map(|(candidates, chosen)| Some(candidates[(*chosen)?]));
        chosen.filter(|cost| cost.parameters > 0).count()
    }

    /// Whether there can be any.
    pub fn has_convolutions(&self) -> bool {
        let first = self.edges.first().into_iter().flatten().flatten();
        first.into_iter().any(|cost| cost.parameters > 0)
    }

    /// What a network with these operations costs.
    pub fn of_choice(&self, choice: &Choice) -> Cost {
        let kinds = self.edges.iter().zip(choice);
        let edges = kinds.flat_map(|(edges, chosen)| edges.iter().zip(chosen));
        let chosen = edges.filter_map(|(candidates, chosen)| Some(candidates[(*chosen)?]));
        self.rest + chosen.sum()
    }
}
