//! PC-DARTS (Xu et al., arXiv 1907.05737): the DARTS space, of whose channels only a part passes the mixed operations.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use super::{DartsCells, Supernet, SupernetShape};
use crate::config::{Rule, Section, SectionInfo, section};
use crate::network::{NetworkError, halved_twice};
use crate::space::{Entry, Explainer, Genotype, SearchSpace, Size, StageReached};

section! {
    /// Partial channels.
    PartialChannels, "pc_darts", "" {
        /// One channel in so many passes the mixed operations.
        partial: usize = 4 => Rule::whole(1, 4_096);
    }
}

/// The DARTS space with partial channels.
#[derive(Clone, Debug)]
struct PcDarts {
    cells: DartsCells,
    channels: PartialChannels,
}

pub(super) const PC_DARTS: Entry = Entry {
    name: "pc-darts",
    about: "the DARTS space with partial channels",
    sections: &[DartsCells::INFO, PartialChannels::INFO],
    preset: "",
    recipe: "",
    read: |values| {
        Ok(Arc::new(PcDarts {
            cells: Section::of(values)?,
            channels: Section::of(values)?,
        }))
    },
};

impl SearchSpace for PcDarts {
    fn entry(&self) -> &'static Entry {
        &super::FAMILY.spaces[1]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        vec![self.cells.table(), self.channels.table()]
    }

    fn supernet(
        &self,
        size: &Size,
        _reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        halved_twice("PC-DARTS", size.image)?;
        Ok(Arc::new(Supernet::new(&SupernetShape {
            partial: self.channels.partial,
            ..self.cells.shape(size)
        })?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        self.cells.random(rng)
    }
}
