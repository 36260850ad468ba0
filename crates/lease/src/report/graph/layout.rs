//! Where the states of a cell and what is written on its edges go: rows from top to bottom, as few crossings as a few sweeps
//! find (Sugiyama, Tagawa and Toda 1981), and in each row the places nearest to those that they are joined to.

/// An edge to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The state that it comes from.
    pub from: usize,
    /// The state that it goes to.
    pub to: usize,
    /// How wide what is written on it is; 0 for nothing.
    pub label: f64,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Width and height of all of it.
    pub size: [f64; 2],
    /// The middle of each state.
    pub states: Vec<[f64; 2]>,
    /// Of each edge the points that it goes through, from a state to a state.
    pub paths: Vec<Vec<[f64; 2]>>,
    /// Of each edge the middle of what is written on it.
    pub labels: Vec<[f64; 2]>,
}

/// Between things in a row.
const GAP: f64 = 8.0;
/// What an edge that passes a row takes of it.
const PASSING: f64 = 7.0;
/// From a row of states to one of labels, and from that to the next row of states.
const STEPS: [f64; 2] = [48.0, 42.0];
/// Around all of it.
const MARGIN: f64 = 20.0;

/// One thing in a row.
#[derive(Clone, Debug)]
struct Item {
    row: usize,
    width: f64,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Places states and edges. `widths` are those of the states, of which the first `inputs` are in the first row; edges go from lower
/// to higher states.
pub fn layout(widths: &[f64], inputs: usize, links: &[Link]) -> Layout {
    let layers = layers(widths.len(), inputs, links);
    let mut items: Vec<Item> = (0..widths.len())
        .map(|state| Item::new(2 * layers[state], widths[state]))
        .collect();
    let (mut chains, mut labels) = (Vec::new(), Vec::new());
    for link in links {
        let (first, last) = (2 * layers[link.from], 2 * layers[link.to]);
        let mut chain = vec![link.from];
        for row in first + 1..last {
            let width = if row + 1 == last {
                link.label.max(PASSING)
            } else {
                PASSING
            };
            chain.push(items.len());
            items.push(Item::new(row, width));
        }
        labels.push(chain[chain.len() - 1]);
        chain.push(link.to);
        for pair in chain.windows(2) {
            items[pair[0]].below.push(pair[1]);
            items[pair[1]].above.push(pair[0]);
        }
        chains.push(chain);
    }
    let rows = ordered(&mut items);
    let width = settled(&mut items, &rows);
    let y = |row: usize| {
        MARGIN + (row / 2) as f64 * (STEPS[0] + STEPS[1]) + (row % 2) as f64 * STEPS[0]
    };
    let at = |item: usize| [items[item].x, y(items[item].row)];
    Layout {
        size: [width, y(rows.len() - 1) + MARGIN],
        states: (0..widths.len()).map(at).collect(),
        paths: chains
            .iter()
            .map(|chain| chain.iter().map(|i| at(*i)).collect())
            .collect(),
        labels: labels.into_iter().map(at).collect(),
    }
}

impl Item {
    fn new(row: usize, width: f64) -> Self {
        Self {
            row,
            width,
            x: 0.0,
            above: Vec::new(),
            below: Vec::new(),
        }
    }

    /// Whether it is a long edge on its way.
    fn passes(&self) -> bool {
        self.width == PASSING
    }
}

/// How many edges in a row lead to each state at most.
fn layers(states: usize, inputs: usize, links: &[Link]) -> Vec<usize> {
    let mut layers = vec![0; states];
    for state in inputs..states {
        let into = links.iter().filter(|link| link.to == state);
        layers[state] = 1 + into.map(|link| layers[link.from]).max().unwrap_or(0);
    }
    layers
}

/// The rows, their things in an order with few crossings.
fn ordered(items: &mut [Item]) -> Vec<Vec<usize>> {
    let count = items.iter().map(|item| item.row).max().unwrap_or(0) + 1;
    let mut rows = vec![Vec::new(); count];
    for (number, item) in items.iter().enumerate() {
        rows[item.row].push(number);
    }
    let mut best = (usize::MAX, rows.clone());
    for sweep in 0..12 {
        let down = sweep % 2 == 0;
        let order: Vec<usize> = if down {
            (1..count).collect()
        } else {
            (0..count - 1).rev().collect()
        };
        for row in order {
            let beside = if down { row - 1 } else { row + 1 };
            let place = places(items.len(), &rows[beside]);
            let mean = |item: &usize| {
                let near = if down {
                    &items[*item].above
                } else {
                    &items[*item].below
                };
                let known: Vec<f64> = near.iter().filter_map(|n| place[*n]).collect();
                known.iter().sum::<f64>() / known.len().max(1) as f64
            };
            // Stable, so that equals stay as they were.
            rows[row].sort_by(|a, b| mean(a).total_cmp(&mean(b)));
        }
        let found = crossings(items, &rows);
        if found < best.0 {
            best = (found, rows.clone());
        }
    }
    best.1
}

fn places(items: usize, row: &[usize]) -> Vec<Option<f64>> {
    let mut place = vec![None; items];
    for (at, item) in row.iter().enumerate() {
        place[*item] = Some(at as f64);
    }
    place
}

fn crossings(items: &[Item], rows: &[Vec<usize>]) -> usize {
    let mut all = 0;
    for pair in rows.windows(2) {
        let place = places(items.len(), &pair[1]);
        let ends: Vec<Vec<f64>> = pair[0]
            .iter()
            .map(|item| {
                items[*item]
                    .below
                    .iter()
                    .filter_map(|b| place[*b])
                    .collect()
            })
            .collect();
        for (number, left) in ends.iter().enumerate() {
            let right = ends[number + 1..].iter().flatten();
            all += right
                .map(|r| left.iter().filter(|l| *l > r).count())
                .sum::<usize>();
        }
    }
    all
}

/// Moves everything next to what it is joined to, as far as its row allows, and returns the width of all.
fn settled(items: &mut [Item], rows: &[Vec<usize>]) -> f64 {
    for row in rows {
        let wanted = vec![0.0; row.len()];
        spread(items, row, &wanted);
    }
    for sweep in 0..40 {
        let down = sweep % 2 == 0;
        let order: Vec<usize> = if down {
            (0..rows.len()).collect()
        } else {
            (0..rows.len()).rev().collect()
        };
        for row in order {
            let wanted: Vec<f64> = rows[row]
                .iter()
                .map(|item| {
                    let item = &items[*item];
                    let near = item.above.iter().chain(&item.below).map(|i| &items[*i]);
                    // What only passes stays below what only passes, so that long edges are straight.
                    let weighed = near.map(|other| match (item.passes(), other.passes()) {
                        (true, true) => (8.0, other.x),
                        (true, false) | (false, true) => (2.0, other.x),
                        (false, false) => (1.0, other.x),
                    });
                    let (weight, sum) =
                        weighed.fold((0.0, 0.0), |(all, sum), (w, x)| (all + w, sum + w * x));
                    if weight > 0.0 { sum / weight } else { item.x }
                })
                .collect();
            spread(items, &rows[row], &wanted);
        }
    }
    let left = items
        .iter()
        .map(|item| item.x - item.width / 2.0)
        .fold(f64::INFINITY, f64::min);
    let right = items
        .iter()
        .map(|item| item.x + item.width / 2.0)
        .fold(f64::NEG_INFINITY, f64::max);
    for item in items.iter_mut() {
        item.x += 4.0 - left;
    }
    right - left + 8.0
}

/// Puts the things of a row where they are wanted, or as near as may be in their order and apart (least squares: pool adjacent
/// violators).
fn spread(items: &mut [Item], row: &[usize], wanted: &[f64]) {
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(row.len());
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (place, item) in row.iter().enumerate() {
        if place > 0 {
            offset += f64::midpoint(items[row[place - 1]].width, items[*item].width) + GAP;
        }
        offsets.push(offset);
        blocks.push((wanted[place] - offset, 1));
        while let [.., before, last] = &blocks[..]
            && before.0 / before.1 as f64 > last.0 / last.1 as f64
        {
            let joined = (before.0 + last.0, before.1 + last.1);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let means = blocks
        .iter()
        .flat_map(|(sum, n)| std::iter::repeat_n(sum / *n as f64, *n));
    for ((item, mean), offset) in row.iter().zip(means).zip(offsets) {
        items[*item].x = mean + offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_row_overlaps_and_all_is_within_the_picture() {
        // The whole DARTS cell of four nodes.
        let links: Vec<Link> = (2..6)
            .flat_map(|to| {
                (0..to).map(move |from| Link {
                    from,
                    to,
                    label: 60.0,
                })
            })
            .collect();
        let widths = [40.0; 6];
        let layout = layout(&widths, 2, &links);
        let mut boxes: Vec<([f64; 2], f64)> = layout.states.iter().map(|at| (*at, 40.0)).collect();
        boxes.extend(layout.labels.iter().map(|at| (*at, 60.0)));
        for (number, (at, width)) in boxes.iter().enumerate() {
            assert!(at[0] >= width / 2.0 && at[0] + width / 2.0 <= layout.size[0]);
            for (other, theirs) in &boxes[..number] {
                let apart = (at[0] - other[0]).abs() >= (width + theirs) / 2.0;
                assert!(apart || (at[1] - other[1]).abs() > 30.0);
            }
        }
        let down = |path: &Vec<[f64; 2]>| path.windows(2).all(|p| p[0][1] < p[1][1]);
        assert!(layout.paths.iter().all(down));
    }

    #[test]
    fn edges_that_need_not_cross_do_not() {
        let link = |from, to| Link {
            from,
            to,
            label: 10.0,
        };
        let mut items = vec![
            Item::new(0, 1.0),
            Item::new(0, 1.0),
            Item::new(1, 1.0),
            Item::new(1, 1.0),
        ];
        for link in [link(0, 3), link(1, 2)] {
            items[link.from].below.push(link.to);
            items[link.to].above.push(link.from);
        }
        let rows = ordered(&mut items);
        assert_eq!(crossings(&items, &rows), 0);
    }
}
