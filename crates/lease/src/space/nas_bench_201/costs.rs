//! What networks of NAS-Bench-201 cost, and the likeliest cells, within a budget or without.

use super::cell::{Cell, EDGES, Operation};
use super::network::STAGES;
use crate::network::layers::Square;
use crate::network::part::Part;
use crate::space::cost::{Budget, COSTS, Key, Menu, entry};
use crate::space::{DerivedShape, GenotypeError};
use lease_kernels::graph::{Normalise, Term, Window};

/// An operation by itself, of so many channels.
fn part(operation: Operation, channels: usize) -> Part {
    Part::new(
        channels,
        |builder| {
            operation.kernel().map(|side| {
                let square = Square::new(side, 1);
                builder.relu_conv_bn("part", [channels; 2], square, true)
            })
        },
        |layer, e, state| match (operation, layer) {
            (_, Some(layer)) => Some(layer.emit(e, &[state])),
            (Operation::AvgPool3x3, _) => {
                let pool = e.graph.avg_pool(state, Window::three(1));
                Some(Term::new(pool, Normalise::Not))
            }
            (Operation::SkipConnect, _) => Some(Term::new(state, Normalise::Not)),
            _ => None,
        },
    )
}

/// The operations of networks of this size.
pub(super) fn menu(shape: &DerivedShape) -> Menu {
    let mut menu = Menu::new([vec![Operation::ALL.len(); EDGES]]);
    let [_, height, width] = shape.image;
    let mut size = [height, width].map(|n| shape.stem.after(n));
    let mut channels = shape.channels;
    for stage in 0..STAGES {
        if stage > 0 {
            channels *= 2;
            size = size.map(|n| n.div_ceil(2));
        }
        let operations = Operation::ALL.into_iter().enumerate();
        for (k, operation) in operations.filter(|(_, o)| *o != Operation::None) {
            let key = Key {
                operation: operation.name().into(),
                channels,
                stride: 1,
                height: size[0],
                width: size[1],
            };
            for edge in 0..EDGES {
                for _ in 0..shape.cells {
                    menu.add([0, edge, k], key.clone(), || part(operation, channels));
                }
            }
        }
    }
    menu
}

/// Of all cells of these operations that lead from their input to their output and that a budget allows so many with the largest
/// products of mixing weights, the likeliest first, of equals the first.
///
/// # Errors
/// If none is allowed.
pub(super) fn likeliest(
    rows: &[Vec<f64>],
    choices: &[Operation],
    budget: Option<&Budget>,
    count: usize,
) -> Result<Vec<Cell>, GenotypeError> {
    let mut found: Vec<(f64, Cell)> = Vec::new();
    let mut least = [u64::MAX; COSTS];
    for cell in (0..Cell::COUNT).map(Cell::numbered) {
        if !cell.0.iter().all(|o| choices.contains(o)) || !cell.is_connected() {
            continue;
        }
        let operations = || cell.0.iter().map(|o| *o as usize).enumerate();
        if let Some(budget) = budget {
            let costs = budget.costs();
            let choice = vec![operations().map(|(_, k)| Some(k)).collect()];
            let others = (EDGES - costs.convolutions(&choice)) as u64;
            let cost = entry(0.0, costs.of_choice(&choice), [others, 0]).costs;
            least = std::array::from_fn(|d| least[d].min(cost[d]));
            if !budget.allows(&choice) {
                continue;
            }
        }
        let score = operations().map(|(edge, k)| rows[edge][k].max(f64::MIN_POSITIVE).ln());
        found.push((score.sum(), cell));
    }
    if let (true, Some(budget)) = (found.is_empty(), budget) {
        return Err(budget.problem(least, EDGES));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(count);
    Ok(found.into_iter().map(|(_, cell)| cell).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::{Stem, Vector};
    use crate::rng::{Purpose, stream};
    use crate::space::cost::{Bounds, Costs, counted};
    use crate::space::nas_bench_201::{Network, Shape};
    use crate::space::{Explainer, Truths};

    fn supernet() -> (Arc<dyn Explainer>, DerivedShape) {
        let small = Shape {
            channels: 2,
            cells: 1,
            classes: 10,
            image: [3, 8, 8],
            partial: 1,
            stem: Stem::Cifar,
        };
        // The benchmark's own networks.
        let shape = DerivedShape {
            channels: 16,
            cells: 5,
            classes: 10,
            image: [3, 32, 32],
            auxiliary: None,
            edge_skips: false,
            stem: Stem::Cifar,
        };
        (Arc::new(Network::supernet(&small).unwrap()), shape)
    }

    #[test]
    fn parameters_and_multiply_adds_are_the_benchmarks_for_every_cell() {
        let (explainer, shape) = supernet();
        let costs = Costs::of(&*explainer, &shape, None).unwrap();
        let table = Truths::embedded().unwrap();
        for index in 0..Cell::COUNT {
            let cell = Cell::numbered(index);
            let genotype = crate::space::Genotype::new(cell);
            let truth = table.standing_of(&genotype).unwrap().truth;
            let choice = vec![cell.0.iter().map(|o| Some(*o as usize)).collect()];
            let cost = costs.of_choice(&choice);
            let expected = (truth.params, truth.flops);
            assert_eq!((cost.parameters, cost.multiply_adds), expected, "{cell}");
            if index % 3_001 == 0 {
                let network = genotype.network(&shape).unwrap();
                assert_eq!(counted(&*network, shape.image), cost);
            }
        }
    }

    #[test]
    fn the_likeliest_cells_and_those_within_a_budget_lead_through() {
        let (explainer, shape) = supernet();
        let values = vec![0.3; explainer.architecture().len()];
        let mut level = stream(3, Purpose::ArchitectureInit, 0);
        let noise = explainer.architecture().initial_values(&mut level);
        let values = values.iter().zip(noise).map(|(a, b)| a + 1e3 * b).collect();
        let layout = explainer.architecture().clone();
        let a = Vector::from_values(layout, values, &Device::flex(), DType::F64);
        let derived = |bounds: Bounds| {
            let budget = Budget::new(&*explainer, &shape, bounds, None).unwrap();
            explainer.within(Arc::new(budget)).derive(&a)
        };
        let rows = &explainer.mixtures(&a)[0].rows;
        let score = |cell: &Cell| -> f64 {
            let weights = cell.0.iter().enumerate().map(|(e, o)| rows[e][*o as usize]);
            weights.product()
        };
        let table = Truths::embedded().unwrap();
        let parameters = |cell: Cell| {
            let genotype = crate::space::Genotype::new(cell);
            table.standing_of(&genotype).unwrap().truth.params
        };
        let strongest = derived(Bounds::default()).unwrap();
        let mut before = *strongest.downcast::<Cell>().unwrap();
        // Each time what was derived before is not allowed any more.
        let more = before.convolutions() + 1;
        for (smaller, convolutions) in [(true, 0), (false, more), (true, more)] {
            let most = if smaller {
                parameters(before) - 1
            } else {
                u64::MAX
            };
            let bounds = Bounds {
                costs: [Some(most), None, None],
                convolutions,
            };
            let keeps = |cell: &Cell| {
                let enough = cell.convolutions() >= convolutions;
                enough && cell.is_connected() && parameters(*cell) <= most
            };
            assert!(!keeps(&before), "{before} keeps to {bounds:?}");
            let within = derived(bounds).unwrap();
            let found: &Cell = within.downcast().unwrap();
            assert!(keeps(found));
            let mut all = (0..Cell::COUNT).map(Cell::numbered);
            let better = all.find(|cell| score(cell) > 1.001 * score(found) && keeps(cell));
            assert_eq!(better, None);
            before = *found;
        }
        let connected = (0..Cell::COUNT).map(Cell::numbered);
        let connected = connected.filter(Cell::is_connected);
        let mut scores: Vec<f64> = connected.map(|cell| score(&cell)).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let likeliest = explainer.likeliest(&a, 12).unwrap();
        assert_eq!(likeliest.len(), 12);
        for (genotype, score_of) in likeliest.iter().zip(scores) {
            let cell: &Cell = genotype.downcast().unwrap();
            assert!(cell.is_connected() && (score(cell) / score_of - 1.0).abs() < 1e-9);
        }
        let impossible = derived(Bounds {
            convolutions: 7,
            ..Bounds::default()
        });
        let error = impossible.unwrap_err().to_string();
        let told = "--min-convolutions is 7, and a cell has 6 at most";
        assert!(error.contains(told), "{error}");
    }
}
