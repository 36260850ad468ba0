//! A cell in characters, for terminals.

use super::{spoken, strongest};
use crate::space::CellGraph;

/// A cell as lines: one lane down for each state, and one line across for each edge. `rows` is the supernet's last mixture,
/// where it is known; `width` is the terminal's.
pub fn drawn(graph: &CellGraph, rows: Option<&[Vec<f64>]>, width: usize) -> Vec<String> {
    let states = graph.states();
    // A lane ends with the last edge out of its state.
    let last = |state: usize| {
        let to = graph
            .edges
            .iter()
            .filter(|e| e.from == state && e.operation != "none");
        let joined = graph.joined.contains(&state).then_some(states);
        to.map(|e| e.to).chain(joined).max().unwrap_or(0)
    };
    let ends: Vec<usize> = (0..states).map(last).collect();
    let lane = if states * 3 + 26 > width { 2 } else { 3 };
    let lanes = |at: usize, upto: usize| -> String {
        let mark = |state: usize| if ends[state] >= at { '│' } else { ' ' };
        (0..upto).map(|state| pad(mark(state), ' ', lane)).collect()
    };
    let mut all = Vec::new();
    for input in 0..graph.inputs.len() {
        all.push(format!("{}{}", lanes(0, input), graph.name(input)));
    }
    for to in graph.inputs.len()..states {
        let edges: Vec<_> = graph
            .edges
            .iter()
            .filter(|e| e.to == to && e.operation != "none")
            .collect();
        for (number, edge) in edges.iter().enumerate() {
            let mut line: String = (0..to)
                .map(|state| match state.cmp(&edge.from) {
                    std::cmp::Ordering::Less if ends[state] >= to => pad('│', ' ', lane),
                    std::cmp::Ordering::Less => pad(' ', ' ', lane),
                    std::cmp::Ordering::Equal => pad('├', '─', lane),
                    std::cmp::Ordering::Greater if ends[state] >= to => pad('┼', '─', lane),
                    std::cmp::Ordering::Greater => pad('─', '─', lane),
                })
                .collect();
            let corner = match number {
                0 => '╮',
                _ => '┤',
            };
            line += &format!(
                "{corner} {}",
                told(graph, (edge.from, edge.to, edge.operation), rows)
            );
            all.push(cut(&line, width));
        }
        let arrow = if edges.is_empty() { "(no edge)" } else { "▼" };
        all.push(format!("{}{arrow}", lanes(to, to)));
        all.push(format!("{}{}", lanes(to, to), graph.name(to)));
    }
    if !graph.joined.is_empty() {
        let across: String = (0..states)
            .map(|state| match graph.joined.contains(&state) {
                true => pad('┴', '─', lane),
                false if graph.joined.iter().any(|j| *j < state) => pad('─', '─', lane),
                false => pad(' ', ' ', lane),
            })
            .collect();
        all.push(cut(&format!("{across}▶ c_{{k}}"), width));
    }
    all
}

/// What is written on an edge: its operation, the weight, and the second.
fn told(
    graph: &CellGraph,
    (from, to, operation): (usize, usize, &str),
    rows: Option<&[Vec<f64>]>,
) -> String {
    let row = graph.row(from, to).and_then(|row| rows?.get(row));
    let Some(row) = row else {
        return spoken(operation);
    };
    let column = graph.operations.iter().position(|o| *o == operation);
    let weight = column.and_then(|column| row.get(column));
    let weight = weight.map_or(String::new(), |w| format!(" {w:.2}"));
    let ranked = strongest(row, &graph.operations);
    let second = ranked.iter().find(|(name, _)| *name != operation);
    let second = second.map_or(String::new(), |(name, w)| {
        format!("  ({} {w:.2})", spoken(name))
    });
    format!("{:8}{weight}{second}", spoken(operation))
}

fn pad(mark: char, fill: char, width: usize) -> String {
    std::iter::once(mark)
        .chain(std::iter::repeat_n(fill, width - 1))
        .collect()
}

/// The line as far as it fits.
fn cut(line: &str, width: usize) -> String {
    line.chars()
        .take(width.max(20))
        .collect::<String>()
        .trim_end()
        .into()
}

/// Numbers as a row of bars, the lowest and highest being those of the row; at most `width` of them.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let each = finite.len().div_ceil(width.max(1)).max(1);
    let means: Vec<f64> = finite
        .chunks(each)
        .map(|c| c.iter().sum::<f64>() / c.len() as f64)
        .collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: &f64| match high > low {
        true => BARS[(((value - low) / (high - low)) * 7.0).round() as usize],
        false => BARS[3],
    };
    means.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Genotype;

    #[test]
    fn a_cell_is_drawn_with_a_lane_for_each_state() {
        let text = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 2), ('dil_conv_5x5', 0)], \
            reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 2), ('dil_conv_5x5', 0)])";
        let cells = Genotype::parse(text).unwrap().graphs();
        let expected = "\
c_{k-2}
│  c_{k-1}
├──┼──╮ sep 3×3
│  ├──┤ skip
│  │  ▼
│  │  0
│     ├──╮ max 3×3
├─────┼──┤ dil 5×5
│     │  ▼
│     │  1
      ┴──┴──▶ c_{k}";
        assert_eq!(drawn(&cells[0], None, 80).join("\n"), expected);
        for line in drawn(&cells[0], None, 24) {
            assert!(line.chars().count() <= 24, "{line}");
        }
    }

    #[test]
    fn sparklines_go_from_the_lowest_to_the_highest() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0, f64::NAN], 10), "▁▅█");
        assert_eq!(sparkline(&[2.0; 30], 10), "▄▄▄▄▄▄▄▄▄▄");
    }
}
