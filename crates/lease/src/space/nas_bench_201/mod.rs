//! The space of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326).
//!
//! A cell has four nodes, the first its input, each connected to all before it by one of five operations; its
//! output is the last node. A network is a stem, three stages of equal cells, and between them residual blocks
//! that halve the resolution and double the channels.

mod brief;
mod cell;
mod costs;
mod member;
mod network;
mod notation;
pub mod table;

use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use crate::config::{Rule, Section, SectionInfo, section};
use crate::network::NetworkError;
use crate::space::{
    Architecture, CellGraph, DerivedNetwork, DerivedShape, Entry, Explainer, Family, Genotype,
    GenotypeError, GraphEdge, Python, SearchSpace, Size, StageReached, TableError, Truths,
};

pub use brief::Brief;
pub use cell::{Cell, EDGES, Operation};
pub use network::{Network, Shape};

section! {
    /// NAS-Bench-201.
    Settings, "nas_bench_201", "" {
        /// Whether `none` can be an edge's choice, as in the benchmark's own code; false follows DARTS's rule, and random cells are drawn without it too.
        derive_none: bool = true;
        /// CSV file, gz or not, with true accuracies of all architectures of NAS-Bench-201 instead of those that come along, which are the benchmark's. They say after each epoch what the choice is worth; the search does not use them.
        nb201_table: String = String::new() => Rule::PATH;
    }
}

/// NAS-Bench-201 with its settings.
#[derive(Clone, Debug)]
struct NasBench201(Settings);

/// NAS-Bench-201.
pub static FAMILY: Family = Family {
    spaces: &[Entry {
        name: "nas-bench-201",
        about: "NAS-Bench-201",
        sections: &[Settings::INFO],
        preset: include_str!("search.toml"),
        recipe: RECIPE,
        read: |values| Ok(Arc::new(NasBench201(Section::of(values)?))),
    }],
    read: |text, name| notation::read(text, name).map(|read| read.map(|r| r.map(Genotype::new))),
};

/// How the benchmark's networks were trained (table 1 of the paper).
const RECIPE: &str = include_str!("recipe.toml");

impl SearchSpace for NasBench201 {
    fn entry(&self) -> &'static Entry {
        &FAMILY.spaces[0]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        vec![self.0.table()]
    }

    fn supernet(
        &self,
        size: &Size,
        _reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        let supernet = Network::supernet(&Shape {
            channels: size.channels,
            cells: size.cells,
            classes: size.classes,
            image: size.image,
            partial: size.partial,
            stem: size.stem,
        })?;
        let choices = Operation::choices(self.0.derive_none);
        Ok(Arc::new(supernet.choosing(choices)))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        let choices = Operation::choices(self.0.derive_none);
        Genotype::new(Cell::random(choices, rng))
    }

    fn truths(&self) -> Result<Option<Truths>, TableError> {
        match self.0.nb201_table.as_str() {
            "" => Truths::embedded().map(Some),
            path => Truths::read(Path::new(path)).map(Some),
        }
    }

    /// None beside a table of the user's own, which need not be of the same trainings.
    fn brief(&self, genotype: &Genotype) -> Option<Brief> {
        let embedded = self.0.nb201_table.is_empty();
        Brief::of(genotype.downcast()?).filter(|_| embedded)
    }
}

impl Architecture for Cell {
    fn to_json(&self) -> String {
        let key = notation::KEY;
        format!("{{\n  \"{key}\": \"{self}\"\n}}\n")
    }

    fn skip_connects(&self) -> usize {
        Self::skip_connects(self)
    }

    fn convolutions(&self) -> usize {
        Self::convolutions(self)
    }

    fn parameter_free_share(&self) -> f64 {
        Self::parameter_free_share(self)
    }

    fn check_paths(&self) -> Result<(), GenotypeError> {
        Self::check_paths(self)
    }

    fn graphs(&self) -> Vec<CellGraph> {
        let mixed: Vec<(usize, usize)> = (1..=cell::NODES)
            .flat_map(|to| (0..to).map(move |from| (from, to)))
            .collect();
        let edges = mixed.iter().zip(self.0);
        vec![CellGraph {
            kind: "cell",
            inputs: &["in"],
            nodes: cell::NODES,
            edges: edges
                .map(|((from, to), operation)| GraphEdge {
                    from: *from,
                    to: *to,
                    operation: operation.name(),
                })
                .collect(),
            joined: Vec::new(),
            mixed,
            operations: Operation::ALL.map(Operation::name).into(),
        }]
    }

    fn recipe(&self) -> &'static str {
        RECIPE
    }

    fn pytorch(&self) -> Python {
        let names = self.0.map(|operation| format!("\"{}\"", operation.name()));
        Python {
            // Into the second node, the third and the fourth.
            constants: format!("CELL = [{}]\n", names.join(", ")),
            network: include_str!("network.py"),
        }
    }

    fn network(&self, shape: &DerivedShape) -> Result<Box<dyn DerivedNetwork>, NetworkError> {
        let space = "NAS-Bench-201";
        if shape.auxiliary.is_some() {
            return Err(NetworkError::NoAuxiliary { space });
        }
        if shape.edge_skips {
            return Err(NetworkError::NoEdgeSkips { space });
        }
        let shape = Shape {
            channels: shape.channels,
            cells: shape.cells,
            classes: shape.classes,
            image: shape.image,
            partial: 1,
            stem: shape.stem,
        };
        Ok(Box::new(Network::derived(self, &shape)?))
    }
}
