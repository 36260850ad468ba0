//! What the mixture is expected to cost beyond a budget: Σ_c max(0, C_c / B_c − 1) over the costs c that have a bound B_c, as
//! ProxylessNAS (Cai et al., arXiv 1812.00332, section 3.3) adds the expected latency to its loss.
//!
//! C = rest + Σ_edges s_e Σ_k q_ek c_ek. q_e are the weights that the edge's α stand for (without draws), over the operations
//! that can be derived, Σ_k q_ek = 1. s_e is the share of networks in which the edge stays if any is as likely as another: 2 over
//! the number of edges into its node where cells keep two of them, else 1.

use super::Regulariser;
use crate::network::Vector;
use crate::space::cost::{Budget, Cost};
use crate::space::{Explainer, Mixing};

/// The term at weight 1.
pub struct OverBudget<'a> {
    mixing: &'a Mixing,
    rest: Cost,
    bounds: [Option<u64>; 3],
    /// Row by row of A.
    edges: Vec<EdgeCosts<'a>>,
}

struct EdgeCosts<'a> {
    /// s_e.
    share: f64,
    /// The operations that can be derived.
    derivable: Vec<usize>,
    /// c_ek.
    costs: &'a [Cost],
}

/// An edge's q, and the sum of the weights that they are shares of.
struct Shares {
    q: Vec<f64>,
    sum: f64,
}

impl EdgeCosts<'_> {
    fn shares(&self, mixing: &Mixing, row: &[f64]) -> Shares {
        let weights = mixing.expected(row);
        let sum: f64 = self.derivable.iter().map(|k| weights[*k]).sum();
        let mut q = vec![0.0; row.len()];
        for k in &self.derivable {
            q[*k] = weights[*k] / sum;
        }
        Shares { q, sum }
    }

    /// Σ_k q_k c_k of a cost.
    fn expected(&self, q: &[f64], cost: usize) -> f64 {
        let all = q.iter().zip(self.costs);
        all.map(|(q, c)| q * c.each()[cost] as f64).sum()
    }
}

impl<'a> OverBudget<'a> {
    /// That of a supernet with this budget.
    pub fn new(explainer: &'a dyn Explainer, budget: &'a Budget) -> Self {
        let parts = explainer.coefficients();
        let kinds = parts.iter().zip(&budget.costs().edges);
        let edges = kinds.flat_map(|(of, costs)| {
            let edges = costs.iter().enumerate();
            edges.map(|(edge, costs)| {
                let node = of.nodes.iter().find(|node| node.contains(&edge));
                EdgeCosts {
                    share: node.map_or(1.0, |node| 2.0 / node.len() as f64),
                    derivable: of.derivable[edge].clone(),
                    costs,
                }
            })
        });
        Self {
            mixing: explainer.mixing(),
            rest: budget.costs().rest,
            bounds: budget.bounds().costs,
            edges: edges.collect(),
        }
    }

    /// What the mixture is expected to cost: parameters, multiply-adds, nanoseconds.
    pub fn expected(&self, rows: &[&[f64]]) -> [f64; 3] {
        let mut all = self.rest.each().map(|cost| cost as f64);
        for (edge, row) in self.edges.iter().zip(rows) {
            let Shares { q, .. } = edge.shares(self.mixing, row);
            for (cost, sum) in all.iter_mut().enumerate() {
                *sum += edge.share * edge.expected(&q, cost);
            }
        }
        all
    }
}

impl Regulariser for OverBudget<'_> {
    fn value(&self, rows: &[&[f64]]) -> f64 {
        let each = self.expected(rows).into_iter().zip(self.bounds);
        let beyond =
            each.map(|(cost, bound)| bound.map_or(0.0, |b| (cost / b as f64 - 1.0).max(0.0)));
        beyond.sum()
    }

    /// ∂C/∂θ_ek = s_e (c_ek − Σ_k q_ek c_ek) / Σ_k θ_ek over the operations that can be derived, carried back to α.
    fn gradient(&self, rows: &[&[f64]]) -> Vec<Vec<f64>> {
        let expected = self.expected(rows);
        let beyond: Vec<(usize, f64)> = (0..3)
            .filter_map(|cost| {
                let bound = self.bounds[cost]? as f64;
                (expected[cost] > bound).then_some((cost, bound))
            })
            .collect();
        let edges = self.edges.iter().zip(rows);
        edges
            .map(|(edge, row)| {
                let Shares { q, sum } = edge.shares(self.mixing, row);
                let mut by_weight = vec![0.0; row.len()];
                for (cost, bound) in &beyond {
                    let mean = edge.expected(&q, *cost);
                    for k in &edge.derivable {
                        let own = edge.costs[*k].each()[*cost] as f64;
                        by_weight[*k] += edge.share * (own - mean) / (sum * bound);
                    }
                }
                self.mixing.carried_back(row, &by_weight)
            })
            .collect()
    }
}

/// The term of a supernet's budget at A with its gradient, times this weight; none where it has no budget, or stays within it.
pub fn over_budget(
    explainer: &dyn Explainer,
    architecture: &Vector,
    weight: f64,
) -> Option<super::Added> {
    let budget = explainer.budget().filter(|_| weight > 0.0)?;
    super::added(
        architecture,
        vec![(weight, Box::new(OverBudget::new(explainer, budget)))],
    )
    .filter(|added| added.value > 0.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::Stem;
    use crate::rng::{Purpose, stream};
    use crate::space::cost::Bounds;
    use crate::space::darts::{DartsGenotype, Supernet, SupernetShape};
    use crate::space::mixing::Relaxation;
    use crate::space::{DerivedShape, Genotype};

    fn supernet() -> (Arc<dyn Explainer>, DerivedShape) {
        let supernet = Supernet::new(&SupernetShape {
            channels: 2,
            cells: 3,
            nodes: 2,
            classes: 3,
            ..SupernetShape::default()
        });
        let shape = DerivedShape {
            channels: 4,
            cells: 4,
            classes: 3,
            image: [3, 12, 8],
            auxiliary: None,
            edge_skips: false,
            stem: Stem::Cifar,
        };
        (Arc::new(supernet.unwrap()), shape)
    }

    fn alphas(explainer: &dyn Explainer, seed: u64) -> Vector {
        let layout = explainer.architecture().clone();
        let mut rng = stream(seed, Purpose::ArchitectureInit, 0);
        let values = layout.initial_values(&mut rng);
        Vector::from_values(layout, values, &Device::flex(), DType::F64).scale(1e3)
    }

    fn costing(costs: [Option<u64>; 3]) -> Bounds {
        Bounds {
            costs,
            ..Bounds::default()
        }
    }

    fn budget(explainer: &dyn Explainer, shape: &DerivedShape, bounds: Bounds) -> Arc<Budget> {
        Arc::new(Budget::new(explainer, shape, bounds, None).unwrap())
    }

    #[test]
    fn its_gradient_is_that_of_central_differences_for_every_relaxation() {
        let (explainer, shape) = supernet();
        let a = alphas(&*explainer, 1);
        for relaxation in [
            Relaxation::Softmax,
            Relaxation::Sigmoid,
            Relaxation::DirichletMean,
        ] {
            let mixing = Mixing {
                relaxation,
                ..Mixing::default()
            };
            let explainer = explainer.with_mixing(mixing);
            let bounds = costing([Some(900), Some(50_000), Some(1)]);
            let explainer = explainer.within(budget(&*explainer, &shape, bounds));
            let at = over_budget(&*explainer, &a, 1.0).unwrap();
            let exact = at.gradient.to_f64();
            for (i, exact) in exact.iter().enumerate() {
                let moved = |shift: f64| {
                    let mut values = a.to_f64();
                    values[i] += shift;
                    let at = over_budget(&*explainer, &a.with_values(values), 1.0);
                    at.unwrap().value
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let error = (difference - exact).abs();
                assert!(error < 1e-8, "{relaxation:?}: {difference} against {exact}");
            }
            assert!(exact.iter().any(|g| *g != 0.0));
        }
    }

    #[test]
    fn what_is_derived_costs_what_its_network_does_and_keeps_to_the_budget() {
        let (explainer, shape) = supernet();
        let cost_of = |genotype: &Genotype| {
            let network = genotype.network(&shape).unwrap();
            crate::space::cost::counted(&*network, shape.image)
        };
        for seed in 0..20 {
            let a = alphas(&*explainer, seed);
            let free = budget(&*explainer, &shape, Bounds::default());
            let genotype = explainer.derive(&a).unwrap();
            let cost = cost_of(&genotype);
            let choice = explainer.choice(&a).unwrap();
            assert_eq!(free.costs().of_choice(&choice), cost);
            // Whatever is allowed is derived as without a budget.
            let loose = costing([Some(cost.parameters), Some(cost.multiply_adds), None]);
            let loose = explainer.within(budget(&*explainer, &shape, loose));
            assert_eq!(loose.derive(&a).unwrap(), genotype);
            let tight = (free.costs().rest.parameters + cost.parameters) / 2;
            let tight = costing([Some(tight), None, None]);
            let tight = explainer.within(budget(&*explainer, &shape, tight));
            let within = cost_of(&tight.derive(&a).unwrap());
            assert!(within.parameters <= tight.budget().unwrap().bounds().costs[0].unwrap());
            assert_eq!(explainer.likeliest(&a, 3).unwrap()[0], genotype);
            let likeliest = tight.likeliest(&a, 6).unwrap();
            assert_eq!(likeliest[0], tight.derive(&a).unwrap());
            let most = tight.budget().unwrap().bounds().costs[0].unwrap();
            for (i, other) in likeliest.iter().enumerate() {
                assert!(cost_of(other).parameters <= most && !likeliest[..i].contains(other));
            }
            // The reduction cell is not asked for convolutions.
            for convolutions in 0..=4 {
                let bounds = Bounds {
                    convolutions,
                    ..Bounds::default()
                };
                let most = explainer.within(budget(&*explainer, &shape, bounds));
                let most = most.derive(&a).unwrap();
                assert!(most.convolutions() >= convolutions);
                let [before, after]: [&DartsGenotype; 2] =
                    [&genotype, &most].map(|g| g.downcast().unwrap());
                assert_eq!(after.reduce, before.reduce);
                assert_eq!(after == before, genotype.convolutions() >= convolutions);
            }
        }
        let none = costing([Some(3), None, None]);
        let none = explainer.within(budget(&*explainer, &shape, none));
        let error = none
            .derive(&alphas(&*explainer, 0))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--max-parameters is 3, and the smallest has"),
            "{error}"
        );
    }
}
