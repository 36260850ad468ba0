//! The best choice of one entry of each group whose costs together stay within bounds.
//!
//! Group by group all partial choices are kept that are not beaten, in score and in each cost, by another one (a multiple-choice
//! knapsack by dynamic programming over undominated states). Those are left out that cannot be completed within the bounds, or
//! cannot reach the score of a choice that is known already, from single changes of the best choice without bounds. The result
//! is exact.
//!
//! The best choices after it are found by Lawler's partition (*Management Science* 18, 1972): what is left without a choice is
//! parted by the first group in which it differs from it, and the next best is the best of the parts' best.

/// Costs that are bounded: parameters, multiply-adds, nanoseconds, operations that are no convolutions, and one that a space has
/// of its own.
pub const COSTS: usize = 5;

/// One of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// What it is worth; scores add up.
    pub score: f64,
    /// What it costs; costs add up.
    pub costs: [u64; COSTS],
}

/// A partial choice.
#[derive(Clone)]
struct State {
    score: f64,
    costs: [u64; COSTS],
    chosen: Vec<u32>,
}

/// Scores that differ by less are those of the same choice, added up in another order.
const ROUNDING: f64 = 1e-9;

fn plus(a: [u64; COSTS], b: [u64; COSTS]) -> [u64; COSTS] {
    std::array::from_fn(|d| a[d].saturating_add(b[d]))
}

fn within(costs: [u64; COSTS], bounds: [u64; COSTS]) -> bool {
    costs.iter().zip(bounds).all(|(cost, bound)| *cost <= bound)
}

/// The index in each group of the choice with the largest sum of scores, of equals the first, whose costs with those at the
/// `start` are within the bounds; none if there is none. `u64::MAX` bounds nothing.
fn best(groups: &[Vec<Entry>], start: [u64; COSTS], bounds: [u64; COSTS]) -> Option<Vec<usize>> {
    // What is not bounded distinguishes nothing.
    let bounded = |costs: [u64; COSTS]| -> [u64; COSTS] {
        std::array::from_fn(|d| if bounds[d] == u64::MAX { 0 } else { costs[d] })
    };
    let groups: Vec<Vec<Entry>> = groups
        .iter()
        .map(|group| {
            let entries = group.iter().map(|entry| Entry {
                costs: bounded(entry.costs),
                ..*entry
            });
            entries.collect()
        })
        .collect();
    let start = bounded(start);
    let rest = rests(&groups);
    let known = improved(&groups, start, bounds).unwrap_or(f64::NEG_INFINITY);
    let mut states = vec![State {
        score: 0.0,
        costs: start,
        chosen: Vec::new(),
    }];
    for (group, (least, most)) in groups.iter().zip(rest) {
        let entries = group.iter().enumerate().map(|(i, entry)| State {
            score: entry.score,
            costs: entry.costs,
            chosen: vec![i as u32],
        });
        let entries = undominated(entries.collect());
        let mut next = Vec::new();
        for state in &states {
            for entry in &entries {
                let costs = plus(state.costs, entry.costs);
                let score = state.score + entry.score;
                if within(plus(costs, least), bounds) && score + most >= known - ROUNDING {
                    let mut chosen = state.chosen.clone();
                    chosen.extend(&entry.chosen);
                    next.push(State {
                        score,
                        costs,
                        chosen,
                    });
                }
            }
        }
        states = undominated(next);
    }
    let best = states.into_iter().next()?;
    Some(best.chosen.into_iter().map(|i| i as usize).collect())
}

/// The indices in each group of so many choices with the largest sums of scores, the best first, whose costs with those at the
/// `start` are within the bounds; fewer where there are fewer. `u64::MAX` bounds nothing.
pub fn several(
    groups: &[Vec<Entry>],
    start: [u64; COSTS],
    bounds: [u64; COSTS],
    count: usize,
) -> Vec<Vec<usize>> {
    let solved = |allowed: Vec<Vec<usize>>| {
        let pairs = groups.iter().zip(&allowed);
        let left: Vec<Vec<Entry>> = pairs
            .map(|(group, allowed)| allowed.iter().map(|i| group[*i]).collect())
            .collect();
        let chosen = best(&left, start, bounds)?;
        let places = allowed.iter().zip(chosen).map(|(allowed, i)| allowed[i]);
        let chosen: Vec<usize> = places.collect();
        let score = groups.iter().zip(&chosen).map(|(g, i)| g[*i].score).sum();
        Some(Part {
            allowed,
            chosen,
            score,
        })
    };
    let all = groups.iter().map(|group| (0..group.len()).collect());
    let mut parts: Vec<Part> = solved(all.collect()).into_iter().collect();
    let mut found = Vec::new();
    while found.len() < count {
        let better = |a: &usize, b: &usize| {
            let order = parts[*a].score.total_cmp(&parts[*b].score);
            order.then_with(|| parts[*b].chosen.cmp(&parts[*a].chosen))
        };
        let Some(next) = (0..parts.len()).max_by(better) else {
            break;
        };
        let Part {
            allowed, chosen, ..
        } = parts.swap_remove(next);
        if found.len() + 1 < count {
            for differs in 0..groups.len() {
                let mut rest = allowed.clone();
                for (same, chosen) in rest.iter_mut().zip(&chosen).take(differs) {
                    *same = vec![*chosen];
                }
                rest[differs].retain(|i| *i != chosen[differs]);
                parts.extend(solved(rest));
            }
        }
        found.push(chosen);
    }
    found
}

/// Some of all choices.
struct Part {
    /// The entries of each group that they may have.
    allowed: Vec<Vec<usize>>,
    /// The best of them.
    chosen: Vec<usize>,
    /// What it is worth.
    score: f64,
}

/// The least that a choice costs, each cost for itself.
pub fn least(groups: &[Vec<Entry>], start: [u64; COSTS]) -> [u64; COSTS] {
    let of = |group: &Vec<Entry>, d: usize| group.iter().map(|e| e.costs[d]).min().unwrap_or(0);
    let cheapest = groups.iter().map(|g| std::array::from_fn(|d| of(g, d)));
    cheapest.fold(start, plus)
}

/// For each group what all after it cost at least, and are worth at most.
fn rests(groups: &[Vec<Entry>]) -> Vec<([u64; COSTS], f64)> {
    let mut all = Vec::with_capacity(groups.len());
    let mut after = ([0; COSTS], 0.0);
    for group in groups.iter().rev() {
        all.push(after);
        let least = |d: usize| group.iter().map(|e| e.costs[d]).min().unwrap_or(0);
        let most = group.iter().map(|e| e.score);
        after.0 = plus(after.0, std::array::from_fn(least));
        after.1 += most.fold(f64::NEG_INFINITY, f64::max);
    }
    all.reverse();
    all
}

/// Those that no other one beats, the best first.
fn undominated(mut states: Vec<State>) -> Vec<State> {
    states.sort_by(|a, b| {
        let order = b.score.total_cmp(&a.score).then(a.costs.cmp(&b.costs));
        order.then_with(|| a.chosen.cmp(&b.chosen))
    });
    let mut kept: Vec<State> = Vec::new();
    for state in states {
        // What was kept last is most often the cheapest.
        let beaten = kept.iter().rev().any(|k| within(k.costs, state.costs));
        if !beaten {
            kept.push(state);
        }
    }
    kept
}

/// The score of a choice within the bounds, found from the best one by single changes, each of which costs the least score for
/// what it brings nearer to the bounds.
fn improved(groups: &[Vec<Entry>], start: [u64; COSTS], bounds: [u64; COSTS]) -> Option<f64> {
    let over = |costs: [u64; COSTS]| -> f64 {
        let each = costs.iter().zip(bounds);
        each.map(|(cost, bound)| cost.saturating_sub(bound) as f64 / bound.max(1) as f64)
            .sum()
    };
    let mut chosen: Vec<&Entry> = Vec::new();
    for group in groups {
        chosen.push(
            group
                .iter()
                .reduce(|a, b| if b.score > a.score { b } else { a })?,
        );
    }
    let total = |chosen: &[&Entry]| chosen.iter().fold(start, |sum, e| plus(sum, e.costs));
    loop {
        let costs = total(&chosen);
        if within(costs, bounds) {
            return Some(chosen.iter().map(|e| e.score).sum());
        }
        let mut change: Option<(f64, usize, &Entry)> = None;
        for (at, group) in groups.iter().enumerate() {
            for entry in group {
                let moved = std::array::from_fn(|d| costs[d] - chosen[at].costs[d]);
                let nearer = over(costs) - over(plus(moved, entry.costs));
                let price = (chosen[at].score - entry.score) / nearer;
                if nearer > 0.0 && change.is_none_or(|(best, ..)| price < best) {
                    change = Some((price, at, entry));
                }
            }
        }
        let (_, at, entry) = change?;
        chosen[at] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, below, stream, unit};

    #[test]
    fn the_best_choices_within_bounds_are_those_of_trying_all() {
        let mut rng = stream(1, Purpose::Selection, 0);
        for case in 0..60u64 {
            let mut entry = || Entry {
                score: unit(&mut rng).ln(),
                costs: [0; COSTS].map(|_: u64| below(&mut rng, 50) as u64),
            };
            let groups: Vec<Vec<Entry>> =
                (0..5).map(|_| (0..5).map(|_| entry()).collect()).collect();
            let bound = 40 + 3 * case;
            let bounds = match case % 3 {
                0 => [bound, u64::MAX, u64::MAX, u64::MAX, u64::MAX],
                1 => [bound, bound + 10, u64::MAX, bound + 25, u64::MAX],
                _ => [bound + 20, bound + 10, bound + 30, bound + 25, bound],
            };
            let start = [3; COSTS];
            let total = |chosen: &[usize]| {
                let entries = groups.iter().zip(chosen).map(|(group, i)| group[*i]);
                entries.fold((0.0, start), |(score, costs), e| {
                    (score + e.score, plus(costs, e.costs))
                })
            };
            let all = (0..5usize.pow(5)).map(|index| {
                let chosen: Vec<usize> = (0..5).map(|g| index / 5usize.pow(g) % 5).collect();
                total(&chosen)
            });
            let allowed = all.filter(|(_, costs)| within(*costs, bounds));
            let mut expected: Vec<f64> = allowed.map(|(score, _)| score).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            expected.truncate(12);
            let found = several(&groups, start, bounds, 12);
            assert_eq!(found.first(), best(&groups, start, bounds).as_ref());
            assert_eq!(found.len(), expected.len());
            for (i, (chosen, expected)) in found.iter().zip(expected).enumerate() {
                let (score, costs) = total(chosen);
                assert!(within(costs, bounds) && (score - expected).abs() < 1e-9);
                assert!(!found[..i].contains(chosen));
            }
        }
    }
}
