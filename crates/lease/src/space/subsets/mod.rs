//! S1 to S4: subsets of the DARTS space on which DARTS fails (Zela et al., *Understanding and Robustifying Differentiable
//! Architecture Search*, arXiv 1909.09656, section 3).
//!
//! Every edge has two candidates of its own (S1), a skip-connect and a separable convolution (S2), these and `none`
//! (S3), or a separable convolution and noise (S4): standard normal numbers of its input's shape, fresh in each step and the same
//! in all passes of it. As in the authors' code noise is noise in trained networks too, when they are evaluated as well. Cells have four nodes; supernets, derived networks and genotypes are those of DARTS.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use toml::Table;

use crate::config::SectionInfo;
use crate::network::NetworkError;
use crate::space::darts::{Candidates, Operation, Supernet, SupernetShape};
use crate::space::{Entry, Explainer, Family, Genotype, SearchSpace, Size, StageReached};
use Operation::{
    AvgPool3x3, DilConv3x3, DilConv5x5, MaxPool3x3, Noise, None as Zero, SepConv3x3, SkipConnect,
};

/// Nodes of a cell.
const NODES: usize = 4;

/// Edges of a cell.
const EDGES: usize = 14;

/// The candidates of S1 on each edge of a normal cell, as in the authors' code.
const S1_NORMAL: [[Operation; 2]; EDGES] = [
    [SkipConnect, DilConv3x3],
    [SkipConnect, DilConv5x5],
    [SkipConnect, DilConv5x5],
    [SkipConnect, SepConv3x3],
    [SkipConnect, DilConv3x3],
    [MaxPool3x3, SkipConnect],
    [SkipConnect, SepConv3x3],
    [SkipConnect, SepConv3x3],
    [SkipConnect, DilConv3x3],
    [SkipConnect, SepConv3x3],
    [MaxPool3x3, SkipConnect],
    [SkipConnect, DilConv3x3],
    [DilConv3x3, DilConv5x5],
    [DilConv3x3, DilConv5x5],
];

/// The same of a reduction cell.
const S1_REDUCTION: [[Operation; 2]; EDGES] = [
    [MaxPool3x3, AvgPool3x3],
    [MaxPool3x3, DilConv3x3],
    [MaxPool3x3, AvgPool3x3],
    [MaxPool3x3, AvgPool3x3],
    [SkipConnect, DilConv5x5],
    [MaxPool3x3, AvgPool3x3],
    [MaxPool3x3, SepConv3x3],
    [SkipConnect, DilConv3x3],
    [SkipConnect, DilConv5x5],
    [MaxPool3x3, AvgPool3x3],
    [MaxPool3x3, AvgPool3x3],
    [SkipConnect, DilConv5x5],
    [SkipConnect, DilConv5x5],
    [SkipConnect, DilConv5x5],
];

/// One of the subsets, by its number from 0.
#[derive(Clone, Debug)]
struct Subset(usize);

const fn entry(name: &'static str, about: &'static str, read: Read) -> Entry {
    Entry {
        name,
        about,
        sections: &[],
        preset: "",
        recipe: "",
        read,
    }
}

type Read = fn(&Table) -> Result<Arc<dyn SearchSpace>, crate::config::ConfigError>;

/// S1 to S4.
pub static FAMILY: Family = Family {
    spaces: &[
        entry("s1", "the subset S1 of the DARTS space", |_| {
            Ok(Arc::new(Subset(0)))
        }),
        entry("s2", "the subset S2 of the DARTS space", |_| {
            Ok(Arc::new(Subset(1)))
        }),
        entry("s3", "the subset S3 of the DARTS space", |_| {
            Ok(Arc::new(Subset(2)))
        }),
        entry("s4", "the subset S4 of the DARTS space", |_| {
            Ok(Arc::new(Subset(3)))
        }),
    ],
    // Their genotypes are DARTS's, which that family reads.
    read: |_, _| None,
};

impl Subset {
    fn candidates(&self) -> Candidates {
        let own = |edges: &[[Operation; 2]]| edges.iter().map(|e| e.to_vec()).collect();
        match self.0 {
            0 => Candidates {
                cells: [own(&S1_NORMAL), own(&S1_REDUCTION)],
            },
            1 => Candidates::same(NODES, &[SkipConnect, SepConv3x3]),
            2 => Candidates::same(NODES, &[Zero, SkipConnect, SepConv3x3]),
            _ => Candidates::same(NODES, &[SepConv3x3, Noise]),
        }
    }
}

impl SearchSpace for Subset {
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
            ..SupernetShape::of(size, NODES)?
        })?))
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> Genotype {
        Genotype::new(self.candidates().random(rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Vector;
    use crate::rng::{Draw, Purpose, stream};
    use crate::space::darts::{DartsGenotype, Edge, edge_index};
    use burn::tensor::{DType, Device, Tensor};

    #[test]
    fn cells_are_drawn_and_derived_from_an_edges_own_candidates_alone() {
        let size = Size {
            channels: 2,
            cells: 3,
            classes: 3,
            image: [1, 8, 8],
            partial: 1,
            stem: crate::network::Stem::Cifar,
        };
        for number in 0..FAMILY.spaces.len() {
            let space = Subset(number);
            let candidates = space.candidates();
            let supernet = space.supernet(&size, &StageReached::default()).unwrap();
            let layout = supernet.architecture();
            assert_eq!(layout.len(), 2 * EDGES * candidates.each());
            for seed in 0..20 {
                let mut rng = stream(seed, Purpose::RandomGenotype, 0);
                let values = layout.initial_values(&mut rng);
                let device = Device::flex();
                let alphas = Vector::from_values(layout.clone(), values, &device, DType::F32);
                // Only S4's coefficients tell of noise.
                let operations = supernet.mixtures(&alphas)[0].rows[0].len();
                let noise = usize::from(space.entry().name == "s4");
                assert_eq!(operations, 8 + noise);
                let derived = supernet.derive(&alphas.scale(1e3)).unwrap();
                for genotype in [space.random(&mut rng), derived] {
                    let genotype: &DartsGenotype = genotype.downcast().unwrap();
                    let cells = [&genotype.normal, &genotype.reduce];
                    for (cell, candidates) in cells.into_iter().zip(&candidates.cells) {
                        for (node, edges) in cell.nodes.iter().enumerate() {
                            assert_ne!(edges[0].1, edges[1].1);
                            for Edge(operation, state) in edges {
                                let of = &candidates[edge_index(node, *state)];
                                assert!(of.contains(operation) && *operation != Zero);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn noise_is_anew_in_each_step_and_the_same_within_one() {
        let size = Size {
            channels: 2,
            cells: 1,
            classes: 3,
            image: [1, 8, 8],
            partial: 1,
            stem: crate::network::Stem::Cifar,
        };
        let device = Device::flex();
        let reached = StageReached::default();
        let of = |number: usize| Subset(number).supernet(&size, &reached).unwrap();
        let logits = |supernet: &dyn Explainer| {
            let draw = |layout: &Arc<crate::network::Layout>| {
                let values = layout.initial_values(&mut stream(1, Purpose::ExplainerInit, 0));
                Vector::from_values(layout.clone(), values, &device, DType::F32).open(None, false)
            };
            let (e, a) = (draw(supernet.weights()), draw(supernet.architecture()));
            let images = Tensor::<4>::ones([2, 1, 8, 8], (&device, DType::F32));
            let logits = supernet.forward(&e, &a, images.into()).value.into_data();
            logits.iter::<f32>().collect::<Vec<_>>()
        };
        let at = |step| logits(&*of(3).noisy(Draw { seed: 5, step }).unwrap());
        assert_eq!(at(7), at(7));
        assert_ne!(at(7), at(8));
        assert_ne!(at(7)[..3], at(7)[3..], "images have noise of their own");
        assert!(of(2).noisy(Draw::default()).is_none());
    }
}
