//! The DARTS space with all operations on every edge and its settings; PC-DARTS is its form with partial channels.

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
    /// A supernet with these cells and all operations on every edge.
    ///
    /// # Errors
    /// As [`SupernetShape::of`].
    pub(super) fn shape(&self, size: &Size) -> Result<SupernetShape, NetworkError> {
        SupernetShape::of(size, self.nodes)
    }

    /// A genotype with these cells.
    pub(super) fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        Genotype::new(DartsGenotype::random(self.nodes, rng))
    }
}

/// The DARTS space searched at once.
#[derive(Clone, Debug)]
struct Darts {
    /// Its number among the forms of the space.
    number: usize,
    cells: DartsCells,
}

pub(super) const DARTS: Entry = Entry {
    name: "darts",
    about: "the DARTS space",
    sections: &[DartsCells::INFO],
    preset: "",
    recipe: "",
    read: |values| {
        Ok(Arc::new(Darts {
            number: 0,
            cells: Section::of(values)?,
        }))
    },
};

pub(super) const PC_DARTS: Entry = Entry {
    name: "pc-darts",
    about: "the DARTS space with partial channels",
    preset: "[explainer]\npartial = 4\n",
    read: |values| {
        Ok(Arc::new(Darts {
            number: 1,
            cells: Section::of(values)?,
        }))
    },
    ..DARTS
};

impl SearchSpace for Darts {
    fn entry(&self) -> &'static Entry {
        &super::FAMILY.spaces[self.number]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        vec![self.cells.table()]
    }

    fn supernet(
        &self,
        size: &Size,
        _reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        Ok(Arc::new(Supernet::new(&self.cells.shape(size)?)?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        self.cells.random(rng)
    }
}
