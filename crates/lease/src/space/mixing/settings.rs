//! How A becomes mixing weights, as settings.

use serde::{Deserialize, Serialize};

use super::{Draw, Mixing, Relaxation};
use crate::config::{Rule, section};

/// How an edge's coefficients become its mixing weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Their softmax (DARTS).
    #[default]
    Softmax,
    /// Each one's sigmoid (FairDARTS).
    Sigmoid,
    /// Drawn from a Dirichlet distribution (DrNAS).
    Dirichlet,
    /// One operation, drawn (GDAS).
    Gumbel,
}

section! {
    /// The mixture on the supernet's edges.
    MixingSettings, "mixing", "" {
        /// How an edge's coefficients become mixing weights: softmax (DARTS); sigmoid, each for itself (FairDARTS); dirichlet, drawn from the distribution with concentrations elu(α) + 1 (DrNAS); gumbel, one operation drawn (GDAS). What is drawn is the same in all passes of a step.
        sampler: Sampler = Sampler::Softmax, ["softmax", "sigmoid", "dirichlet", "gumbel"];
        /// Temperature of the gumbel sampler's derivative at the start; it falls linearly (GDAS: 10).
        gumbel_temperature: f64 = 10.0 => Rule::POSITIVE;
        /// Temperature at the end (GDAS: 0.1).
        gumbel_end_temperature: f64 = 0.1 => Rule::POSITIVE;
        /// Weight at the start of an auxiliary skip-connect beside every edge that has one among its candidates, which takes from the candidate what it gains from easing optimisation; it falls linearly to 0 (DARTS−: 1). 0 means none.
        auxiliary_skip: f64 = 0.0 => Rule::NOT_NEGATIVE;
    }
}

impl MixingSettings {
    /// Whether the mixture depends on the setting of this key.
    pub fn reads(&self, key: &str) -> bool {
        !key.starts_with("gumbel_") || self.sampler == Sampler::Gumbel
    }

    /// The mixture without any draw: what a supernet is evaluated and derived by.
    pub fn expected(&self) -> Mixing {
        Mixing {
            relaxation: match self.sampler {
                Sampler::Softmax | Sampler::Gumbel => Relaxation::Softmax,
                Sampler::Sigmoid => Relaxation::Sigmoid,
                Sampler::Dirichlet => Relaxation::DirichletMean,
            },
            ..Mixing::default()
        }
    }

    /// The mixture in a step, when this share (0 to 1) of all steps is done; the same for the same seed and step.
    pub fn at(&self, seed: u64, step: u64, share: f64) -> Mixing {
        let draw = Draw { seed, step };
        let (first, last) = (self.gumbel_temperature, self.gumbel_end_temperature);
        let expected = self.expected();
        Mixing {
            relaxation: match self.sampler {
                Sampler::Softmax | Sampler::Sigmoid => expected.relaxation,
                Sampler::Dirichlet => Relaxation::Dirichlet(draw),
                Sampler::Gumbel => Relaxation::Gumbel {
                    draw,
                    temperature: first + (last - first) * share,
                },
            },
            auxiliary_skip: self.auxiliary_skip * (1.0 - share),
            ..expected
        }
    }
}
