//! The nine spaces of DARTS-Bench-Suite (*confopt: A Library for Implementation and Evaluation of Gradient-based One-Shot NAS
//! Methods*, AutoML 2025; code automl/ConfigurableOptimizer, `scripts/benchsuite_experiments`): the DARTS space at three sizes
//! with three sets of operations.
//!
//! - Sizes: wide (18 channels, 4 cells), deep (7 channels, 18 cells), single-cell (26 channels, one cell of 8 nodes, the last 4
//!   of which are joined; the cell reduces, so that the genotype's normal cell says nothing).
//! - Operations: all eight of DARTS (regular), all but skip-connects (no-skip), all with a skip-connect beside every
//!   mixture (all-skip). That one has no coefficient, its weights are its own where it halves the resolution, and trained
//!   networks have one beside every operation too, which the space's recipe says.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use crate::config::SectionInfo;
use crate::network::NetworkError;
use crate::space::darts::{Candidates, DartsGenotype, Operation, Supernet, SupernetShape};
use crate::space::{Entry, Explainer, Family, Genotype, SearchSpace, Size, StageReached};

/// A space by its number: three for each size, by operations.
#[derive(Clone, Debug)]
struct Benchmark(usize);

/// The entry of a space: its name, and channels, cells and batch of its authors' searches. How they train what is found, in the
/// second of their nine settings, has the search's sizes.
macro_rules! entry {
    ($number:literal, $name:literal, [$channels:literal, $cells:literal, $batch:literal], $edge_skips:literal) => {
        Entry {
            name: $name,
            about: concat!("DARTS-Bench-Suite's ", $name),
            sections: &[],
            preset: concat!(
                "[explainer]\nchannels = ",
                $channels,
                "\ncells = ",
                $cells,
                "\n[search]\nepochs = 100\nbatch = ",
                $batch,
                "\n"
            ),
            recipe: concat!(
                "[train]\nchannels = ",
                $channels,
                "\ncells = ",
                $cells,
                "\nepochs = 300\nbatch = 512\nauxiliary = 0.0\ndrop_path = 0.3\nedge_skips = ",
                $edge_skips,
                "\n"
            ),
            read: |_| Ok(Arc::new(Benchmark($number))),
        }
    };
}

/// The nine spaces.
pub static FAMILY: Family = Family {
    spaces: &[
        entry!(0, "wide-regular", [18, 4, 96], false),
        entry!(1, "wide-no-skip", [18, 4, 96], false),
        entry!(2, "wide-all-skip", [18, 4, 96], true),
        entry!(3, "deep-regular", [7, 18, 64], false),
        entry!(4, "deep-no-skip", [7, 18, 64], false),
        entry!(5, "deep-all-skip", [7, 18, 64], true),
        entry!(6, "single-cell-regular", [26, 1, 96], false),
        entry!(7, "single-cell-no-skip", [26, 1, 96], false),
        entry!(8, "single-cell-all-skip", [26, 1, 96], true),
    ],
    // Their genotypes are DARTS's, which that family reads.
    read: |_, _| None,
};

/// Nodes that a cell's output joins.
const JOINED: usize = 4;

impl Benchmark {
    /// Nodes of a cell.
    fn nodes(&self) -> usize {
        match self.0 / 3 {
            2 => 8,
            _ => 4,
        }
    }

    fn candidates(&self) -> Candidates {
        let all = Operation::ALL.into_iter();
        let skips = self.0 % 3 != 1;
        let operations = all.filter(|o| skips || *o != Operation::SkipConnect);
        Candidates::same(self.nodes(), &operations.collect::<Vec<_>>())
    }
}

impl SearchSpace for Benchmark {
    fn entry(&self) -> &'static Entry {
        &FAMILY.spaces[self.0]
    }

    fn tables(&self) -> Vec<(&'static SectionInfo, Table)> {
        Vec::new()
    }

    fn supernet(
        &self,
        size: &Size,
        _reached: &StageReached,
    ) -> Result<Arc<dyn Explainer>, NetworkError> {
        Ok(Arc::new(Supernet::new(&SupernetShape {
            candidates: Some(self.candidates()),
            joined: Some(JOINED),
            edge_skips: self.0 % 3 == 2,
            ..SupernetShape::of(size, self.nodes())?
        })?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        let DartsGenotype { normal, reduce } = self.candidates().random(rng);
        Genotype::new(DartsGenotype {
            normal: normal.joining(JOINED),
            reduce: reduce.joining(JOINED),
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::Vector;
    use crate::rng::{Purpose, stream};

    #[test]
    fn cells_are_drawn_and_derived_as_the_suite_has_them() {
        let size = Size {
            channels: 2,
            cells: 1,
            classes: 3,
            image: [1, 8, 8],
            partial: 1,
            stem: crate::network::Stem::Cifar,
        };
        for number in 0..FAMILY.spaces.len() {
            let space = Benchmark(number);
            let supernet = space.supernet(&size, &StageReached::default()).unwrap();
            let entries = supernet.weights().entries();
            let beside = entries.iter().any(|e| e.name.contains("aux_skip"));
            assert_eq!(beside, number % 3 == 2, "{}", space.entry().name);
            let layout = supernet.architecture();
            for seed in 0..10 {
                let mut rng = stream(seed, Purpose::RandomGenotype, 0);
                let values = layout.initial_values(&mut rng);
                let alphas =
                    Vector::from_values(layout.clone(), values, &Device::flex(), DType::F32);
                let derived = supernet.derive(&alphas.scale(1e3)).unwrap();
                for genotype in [space.random(&mut rng), derived] {
                    assert_eq!(Genotype::parse(&genotype.to_string()).unwrap(), genotype);
                    let genotype: &DartsGenotype = genotype.downcast().unwrap();
                    for cell in [&genotype.normal, &genotype.reduce] {
                        let nodes = if number < 6 { 4 } else { 8 };
                        assert_eq!(cell.nodes.len(), nodes);
                        assert_eq!(cell.concat, (nodes - 2..nodes + 2).collect::<Vec<_>>());
                        assert!(number % 3 != 1 || cell.skip_connects() == 0);
                    }
                }
            }
        }
    }
}
