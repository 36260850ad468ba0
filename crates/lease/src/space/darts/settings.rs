//! The plain DARTS space and its settings.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use super::{DartsGenotype, Supernet, SupernetShape};
use crate::config::{Rule, Section, SectionInfo, section};
use crate::network::NetworkError;
use crate::space::{Entry, Explainer, Genotype, SearchSpace, Size, StageReached};

section! {
    /// Cells of the DARTS space.
    DartsCells, "darts", "" {
        /// Intermediate nodes of a cell.
        nodes: usize = 4 => Rule::whole(1, 12);
    }
}

impl DartsCells {
    /// A plain supernet with these cells.
    pub(super) fn shape(&self, size: &Size) -> SupernetShape {
        SupernetShape {
            channels: size.channels,
            cells: size.cells,
            nodes: self.nodes,
            classes: size.classes,
            image_channels: size.image[0],
            partial: 1,
            candidates: None,
            max_skip_connects: None,
        }
    }

    /// A genotype with these cells.
    pub(super) fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        Genotype::new(DartsGenotype::random(self.nodes, rng))
    }
}

/// The plain DARTS space.
#[derive(Clone, Debug)]
pub struct Darts {
    /// Its cells.
    pub cells: DartsCells,
}

pub(super) const DARTS: Entry = Entry {
    name: "darts",
    about: "the DARTS space",
    sections: &[DartsCells::INFO],
    preset: "",
    recipe: "",
    read: |values| {
        Ok(Arc::new(Darts {
            cells: Section::of(values)?,
        }))
    },
};

impl SearchSpace for Darts {
    fn entry(&self) -> &'static Entry {
        &super::FAMILY.spaces[0]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        vec![self.cells.table()]
    }

    fn supernet(
        &self,
        size: &Size,
        _reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        Ok(Arc::new(Supernet::new(&self.cells.shape(size))?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        self.cells.random(rng)
    }
}
