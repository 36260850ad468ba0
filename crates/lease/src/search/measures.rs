//! What is measured after an epoch.

use burn::tensor::{DType, Tensor};

use super::guard::Watched;
use super::selection::Selection;
use super::{EpochMetrics, Search};
use crate::Error;
use crate::method::curvature::dominant_eigenvalue;
use crate::method::product::MixedProduct;
use crate::method::stage1;
use crate::network::Vector;
use crate::rng::{Purpose, stream, symmetric};
use crate::space::entropy;

/// Power iteration ends after this many Hessian-vector products, or when the eigenvalue has settled to this
/// share of itself.
const EIGENVALUE_PRODUCTS: usize = 30;
const EIGENVALUE_TOLERANCE: f64 = 1e-3;

impl Search {
    /// The measures of an epoch that has just ended, which the safeguards remember.
    pub(super) fn measured(&mut self, epoch: usize) -> Result<EpochMetrics, Error> {
        let listens = self.config.listens();
        let progress = &mut self.state.progress;
        let train = std::mem::take(&mut progress.explainer).accuracy();
        let audience_train = std::mem::take(&mut progress.audience).accuracy();
        let explainer_val = self.supernet_val_accuracy();
        let (point, models) = (&self.state.point, &self.models);
        let w = point.audience.open(None, false);
        let audience_val = listens.then(|| {
            self.accuracy(self.feed.audience_val.indices(), |images| {
                models.audience.forward(&w, images.into()).value
            })
        });
        let mixtures = models.explainer.mixtures(&point.architecture);
        let entropies = mixtures.iter().map(|m| (m.kind.into(), entropy(&m.rows)));
        let genotype = self.genotype()?;
        let eigenvalue = self.eigenvalue(epoch);
        let last = self.config.selection.selection_epochs;
        let all = self.config.search.epochs * self.config.stages().len();
        let wanted = self.config.selection.selection == Selection::BestEpoch && epoch + last >= all;
        let discrete_accuracy = match wanted {
            true => Some(self.discrete_accuracy()?),
            false => None,
        };
        self.state.progress.watched.push(Watched {
            genotype: genotype.to_json(),
            skip_connects: genotype.skip_connects(),
            eigenvalue,
            discrete_accuracy,
        });
        Ok(EpochMetrics {
            epoch,
            explainer_learning_rate: self.unrolling(0, epoch).explainer.learning_rate,
            explainer_train_accuracy: train,
            explainer_val_accuracy: explainer_val,
            audience_train_accuracy: listens.then_some(audience_train),
            audience_val_accuracy: audience_val,
            accuracy_gap: train - explainer_val,
            entropy: entropies.collect(),
            skip_connects: genotype.skip_connects(),
            parameter_free_share: genotype.parameter_free_share(),
            eigenvalue,
            discrete_accuracy,
            frozen_operations: self.state.progress.freezing.frozen_count(),
            standing: self.standing(&genotype),
            genotype: genotype.to_string(),
            mixtures: mixtures
                .into_iter()
                .map(|m| (m.kind.into(), m.rows))
                .collect(),
        })
    }

    /// The share of the explainer's validation images that the supernet classifies correctly.
    pub(super) fn supernet_val_accuracy(&self) -> f64 {
        let (point, models) = (&self.state.point, &self.models);
        let e = point.explainer.open(None, false);
        let a = point.architecture.open(None, false);
        self.accuracy(self.feed.explainer_val.indices(), |images| {
            models.explainer.forward(&e, &a, images.into()).value
        })
    }

    /// The share of these training images that a network classifies correctly, by batch statistics.
    fn accuracy(&self, indices: &[u32], forward: impl Fn(Tensor<4>) -> Tensor<2>) -> f64 {
        let mut correct = 0;
        for batch in self.feed.plain(indices) {
            batch.note(&forward(batch.images.clone()).into());
            correct += batch.correct();
        }
        let correct: f64 = self.team.joined(vec![correct as f64]).iter().sum();
        correct / indices.len() as f64
    }

    /// The dominant eigenvalue of ∇²_A L_val on one validation batch, in epochs in which it is wanted.
    fn eigenvalue(&self, epoch: usize) -> Option<f64> {
        let every = self.config.search.eigenvalue_every;
        if every == 0 || !(epoch + 1).is_multiple_of(every) {
            return None;
        }
        let point = &self.state.point;
        let parts = self.feed.first_plain(self.feed.explainer_val.indices());
        let layout = self.models.explainer.architecture();
        let mut rng = stream(self.config.run.seed, Purpose::Eigenvalue, epoch as u64);
        let values = symmetric(&mut rng, layout.len(), 1.0);
        let start = Vector::from_values(layout.clone(), values, &self.device, DType::F32);
        let at = [&point.explainer, &point.architecture];
        let hessian = |along: &Vector| {
            let [product] = self.team.mean_of(parts.iter().map(|part| {
                let loss = stage1::loss(&*self.models.explainer, part);
                MixedProduct::Exact.product(loss, at, (1, along), [1])
            }));
            product
        };
        Some(dominant_eigenvalue(
            hessian,
            &start,
            EIGENVALUE_PRODUCTS,
            EIGENVALUE_TOLERANCE,
        ))
    }
}
