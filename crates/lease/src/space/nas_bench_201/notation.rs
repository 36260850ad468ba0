//! NAS-Bench-201's notation as people have it, wherever it stands in a text. Tables have it as
//! [`Cell::parse`] takes it.

use std::ops::Range;

use super::cell::{Cell, EDGES, NODES, Operation};
use crate::space::GenotypeError;
use crate::space::reading::cursor::{
    ABBREVIATED, Cursor, Fault, QUOTES, beginning, is_ellipsis, is_of_word,
};
use crate::space::reading::text::{Read, Scan, listed};

/// The key of a cell in JSON.
pub(super) const KEY: &str = "nas_bench_201";

/// The edges as NNI writes them, first the node that an edge comes from.
const NNI: [&str; EDGES] = ["0_1", "0_2", "1_2", "0_3", "1_3", "2_3"];

/// Of texts without an edge only those that are no longer than this many bytes can be meant as a cell.
const SHORT: usize = 300;

/// Reads `|nor_conv_3x3~0|+|…|+|…|` or `{"0_1": "nor_conv_3x3", …}` in a cleaned text; nothing if nothing looks like
/// it. Of several the one of this name is read.
pub(super) fn read(text: &str, name: Option<&str>) -> Option<Result<Read<Cell>, GenotypeError>> {
    let mut passed = 0;
    let scan = Scan::of(text, |line| starts(text, line, &mut passed));
    if !scan.is_empty() {
        return Some(scan.choose(name, |at| {
            let cell = match Run::at(text, at) {
                Some(run) => run.cell(text),
                None => dictionary(text, at),
            };
            let value = cell.map_err(|fault| wrong(fault.within(text).to_string()))?;
            Ok(Read {
                value,
                notes: Vec::new(),
            })
        }));
    }
    let text = text.trim();
    if text.len() > SHORT || text.contains('\0') {
        return None;
    }
    if text.starts_with('|') && text.contains(['~', '+']) {
        return Cell::parse(text).err().map(Err);
    }
    if text.contains(KEY) {
        return Some(Err(wrong(format!("`{KEY}` is there, but no edge"))));
    }
    numbers(text).map(|reason| Err(wrong(reason)))
}

fn wrong(reason: String) -> GenotypeError {
    GenotypeError::NasBench201 { reason }
}

/// The places in a line at which a cell begins; `passed` is the end of what the cells before it take.
fn starts(text: &str, line: Range<usize>, passed: &mut usize) -> Vec<usize> {
    let mut all = Vec::new();
    for (i, found) in text[line.clone()].match_indices(['|', '{']) {
        let at = line.start + i;
        if at < *passed {
            continue;
        }
        if found == "|" {
            if let Some(run) = Run::at(text, at) {
                // What follows a broken cell without a blank is no other one.
                let rest = &text[run.end..];
                let broken = rest.find(char::is_whitespace).unwrap_or(rest.len());
                *passed = run.end + if run.nodes == NODES { 0 } else { broken };
                all.push(at);
            }
        } else {
            let after = text[at + 1..].trim_start();
            let key = after.trim_start_matches(QUOTES);
            if key.len() < after.len() && NNI.iter().any(|edge| key.starts_with(edge)) {
                all.push(at);
            }
        }
    }
    all
}

/// An edge as it stands in the text: its place, the operation and the node that it comes from.
type Written<'a> = (usize, &'a str, &'a str);

/// A node as it stands in the text: its first edges, and how many there are.
struct Node<'a> {
    first: Vec<Written<'a>>,
    edges: usize,
}

/// Nodes as they stand in the text: the first ones, how many there are, and where they end.
struct Run<'a> {
    first: Vec<Node<'a>>,
    nodes: usize,
    end: usize,
}

/// The place behind blanks and this character.
fn past(text: &str, at: usize, c: char) -> Option<usize> {
    let after = text[at..].trim_start().strip_prefix(c)?;
    Some(text.len() - after.len())
}

/// The text behind blanks that belongs together, and the place behind it.
fn taken(text: &str, at: usize, belongs: fn(char) -> bool) -> Option<(&str, usize)> {
    let rest = text[at..].trim_start();
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    (end > 0).then(|| (&rest[..end], text.len() - rest.len() + end))
}

/// `name~0|`, and the place behind it.
fn edge(text: &str, at: usize) -> Option<(Written<'_>, usize)> {
    let (name, at) = taken(text, at, is_of_word)?;
    let place = at - name.len();
    let (source, at) = taken(text, past(text, at, '~')?, |c| c.is_ascii_digit())?;
    Some(((place, name, source), past(text, at, '|')?))
}

impl<'a> Run<'a> {
    /// What stands behind the bar at this place; nothing if that is no edge.
    fn at(text: &'a str, at: usize) -> Option<Self> {
        let mut run = Self {
            first: Vec::new(),
            nodes: 0,
            end: at,
        };
        let mut next = past(text, at, '|');
        while let Some(mut at) = next {
            let mut node = Node {
                first: Vec::new(),
                edges: 0,
            };
            while let Some((found, behind)) = edge(text, at) {
                if node.edges < NODES {
                    node.first.push(found);
                }
                node.edges += 1;
                at = behind;
            }
            if node.edges == 0 {
                break;
            }
            if run.nodes < NODES {
                run.first.push(node);
            }
            run.nodes += 1;
            run.end = at;
            next = past(text, at, '+').and_then(|at| past(text, at, '|'));
        }
        (run.nodes > 0).then_some(run)
    }

    /// The cell, if it has the right nodes and edges.
    fn cell(&self, text: &str) -> Result<Cell, Fault> {
        if self.nodes != NODES {
            let n = self.nodes;
            let behind = text[self.end..].trim_start();
            let mut reason = format!("{n} nodes joined by `+` end here, but {NODES} are needed");
            if is_ellipsis(behind.trim_start_matches(['+', '|', ' '])) {
                reason = ABBREVIATED.into();
            } else if !behind.is_empty() {
                reason = format!("{reason}; `{}` was found", beginning(behind));
            }
            return Err(Fault::new(self.end, reason));
        }
        let mut cell = Cell([Operation::None; EDGES]);
        let mut operations = cell.0.iter_mut();
        for (number, node) in (1..).zip(&self.first) {
            if node.edges != number {
                let n = node.edges;
                let reason = format!("node {number} has {n} edges, but {number} are needed");
                return Err(Fault::new(node.first[0].0, reason));
            }
            for (from, (place, name, source)) in node.first.iter().enumerate() {
                if *source != from.to_string() {
                    let (name, source) = (beginning(name), beginning(source));
                    let reason = format!(
                        "edge {} of node {number} is `{name}~{source}`, which does not end with `~{from}`",
                        from + 1
                    );
                    return Err(Fault::new(*place, reason));
                }
                if let Some(of) = operations.next() {
                    *of = operation(*place, name)?;
                }
            }
        }
        Ok(cell)
    }
}

/// The cell of a dictionary that begins at this place: `{"0_1": "nor_conv_3x3", …}`.
fn dictionary(text: &str, at: usize) -> Result<Cell, Fault> {
    let mut cursor = Cursor { text, at };
    let mut operations = [None; EDGES];
    cursor.expect('{')?;
    while !cursor.accept('}') {
        let place = cursor.skip();
        let edge = cursor.name("the name of an edge")?;
        let number = NNI.iter().position(|e| *e == edge).ok_or_else(|| {
            let edges = listed(&NNI);
            Fault::new(place, format!("`{edge}` is no edge; a cell has {edges}"))
        })?;
        cursor.expect(':')?;
        let place = cursor.skip();
        let name = cursor.name("the name of an operation")?;
        if operations[number]
            .replace(operation(place, name)?)
            .is_some()
        {
            return Err(Fault::new(place, format!("edge {edge} is given twice")));
        }
        if !cursor.accept(',') {
            cursor.expect('}')?;
            break;
        }
    }
    let mut cell = Cell([Operation::None; EDGES]);
    for ((to, from), edge) in cell.0.iter_mut().zip(operations).zip(NNI) {
        *to = from.ok_or_else(|| Fault::new(at, format!("edge {edge} is missing")))?;
    }
    Ok(cell)
}

/// An operation by its name, also without `nor_`.
fn operation(place: usize, name: &str) -> Result<Operation, Fault> {
    let is = |o: &Operation| o.name() == name || o.name().strip_prefix("nor_") == Some(name);
    Operation::ALL.into_iter().find(is).ok_or_else(|| {
        let names = Operation::ALL.map(Operation::name).join(", ");
        let name = beginning(name);
        Fault::new(place, format!("`{name}` is no operation of it ({names})"))
    })
}

/// Why a text that has nothing but numbers is no cell.
fn numbers(text: &str) -> Option<String> {
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if text.contains(':') && text.split(':').all(number) {
        return Some(format!(
            "`{text}` has the channels of an architecture of NATS-Bench's other space, that of sizes"
        ));
    }
    let bare = |c: char| c.is_ascii_digit() || c.is_whitespace() || "()[],'\"".contains(c);
    let values = text.rsplit([':', '=']).next().unwrap_or(text);
    if !values.chars().all(bare) {
        return None;
    }
    let digits = values.split(|c: char| !c.is_ascii_digit());
    let all: Option<Vec<usize>> = digits
        .filter(|d| !d.is_empty())
        .map(|d| d.parse().ok())
        .collect();
    match all?[..] {
        [_] if values.len() == text.len() => Some(format!(
            "`{text}` may be the number of an architecture, but which one that is only the benchmark's file \
             tells (`api.arch(number)`)"
        )),
        [a, b, c, d, e, f]
            if [a, b, c, d, e, f]
                .into_iter()
                .all(|n| n < Operation::ALL.len()) =>
        {
            let own = Cell([a, b, c, d, e, f].map(|n| Operation::ALL[n]));
            let naslib = Cell([a, b, d, c, e, f].map(|n| NASLIB[n]));
            Some(format!(
                "six numbers are different cells in different code: `{text}` is {naslib} in NASLib, \
                 {own} in the benchmark's order of operations and edges, and there are other orders; give the \
                 cell that is meant"
            ))
        }
        _ => None,
    }
}

/// The operations in the order of NASLib, which also numbers edges by the node that they come from.
const NASLIB: [Operation; 5] = [
    Operation::SkipConnect,
    Operation::None,
    Operation::Conv3x3,
    Operation::Conv1x1,
    Operation::AvgPool3x3,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::reading::text::cleaned;

    const TEXT: &str =
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|";

    fn found(text: &str, name: Option<&str>) -> Result<Read<Cell>, GenotypeError> {
        read(&cleaned(text).unwrap(), name)
            .unwrap_or_else(|| panic!("no cell in {}", beginning(text)))
    }

    fn refused(text: &str) -> String {
        found(text, None).unwrap_err().to_string()
    }

    #[test]
    fn cells_are_read_wherever_and_however_they_stand() {
        let cell = Cell::parse(TEXT).unwrap();
        for text in [
            TEXT.to_string(),
            format!("\u{feff} {TEXT}\r\n"),
            format!("\"{TEXT}\""),
            format!("['{TEXT}']"),
            format!("```\n{TEXT}\n```"),
            format!("Structure(4 nodes with {TEXT})"),
            format!("[2020-01-01] <<<--->>> The 250-th epoch : {TEXT}"),
            format!(
                "nodes=4, inC=16, [1<-(I0-L0) | 2<-(I0-L1,I1-L2) | 3<-(I0-L3,I1-L4,I2-L5)], {TEXT}"
            ),
            format!("arch: {TEXT}"),
            format!("{{\"nas_bench_201\": \"{TEXT}\"}}"),
            TEXT.replace('+', " + "),
            TEXT.replace('|', "| ").replace('~', " ~ "),
            TEXT.replace('+', "\n+\n"),
            TEXT.replace("nor_", ""),
            TEXT.replace('~', "∼").replace('_', "\\_"),
            TEXT.replace('|', "｜").replace("3x3", "3×3"),
            "{\"0_1\": \"conv_3x3\", \"0_2\": \"conv_1x1\", \"1_2\": \"avg_pool_3x3\", \
              \"0_3\": \"skip_connect\", \"1_3\": \"conv_3x3\", \"2_3\": \"none\"}"
                .into(),
        ] {
            let read = found(&text, None).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.value, cell, "{text}");
            assert_eq!(read.notes, [""; 0], "{text}");
        }
    }

    #[test]
    fn of_several_cells_the_last_or_the_named_one_is_taken() {
        let cell = Cell::parse(TEXT).unwrap();
        let other = TEXT.replace("none", "skip_connect");
        let log = format!("epoch 0: {other}\nepoch 1: {TEXT}\n");
        let read = found(&log, None).unwrap();
        assert_eq!(read.value, cell);
        assert_eq!(
            read.notes,
            ["2 genotypes were found; the last one, from line 2, is taken."]
        );
        let file = format!("A = '{TEXT}'\nB = \"{other}\"\n");
        assert_eq!(found(&file, Some("A")).unwrap().value, cell);
        assert!(refused(&file).contains("A and B"), "{}", refused(&file));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let with = |from: &str, to: &str| TEXT.replacen(from, to, 1);
        for (text, told) in [
            (
                with("nor_conv_1x1", "sep_conv_3x3"),
                "line 1, column 19: `sep_conv_3x3` is no operation of it (none, skip_connect,",
            ),
            (
                with("|avg_pool_3x3~1", ""),
                "column 19: node 2 has 1 edges, but 2 are needed",
            ),
            (with("~2", "~1"), "edge 3 of node 3 is `none~1`"),
            (
                format!("{TEXT}+|none~0|none~1|none~2|none~3|"),
                "4 nodes joined by `+` end here, but 3",
            ),
            (format!("|none~0|+{TEXT}"), "4 nodes"),
            (TEXT[..40].to_string(), "2 nodes"),
            (
                with("|nor_conv_1x1~0|avg_pool_3x3~1|", "|…|"),
                "the dots stand for parts",
            ),
            ("|none|+|none|none|".into(), "2 nodes"),
            (
                "{\"nas_bench_201\": 3}".into(),
                "`nas_bench_201` is there, but no edge",
            ),
            ("{\"0_1\": \"conv_3x3\"}".into(), "edge 0_2 is missing"),
            (
                "{\"0_1\": \"none\", \"0_4\": \"none\"}".into(),
                "`0_4` is no edge; a cell has 0_1, 0_2,",
            ),
        ] {
            let error = refused(&text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_are_refused_with_what_they_can_mean() {
        let six = refused("(4, 0, 3, 1, 4, 3)");
        let naslib = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2| in NASLib";
        let own = "|avg_pool_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2| in the benchmark's";
        assert!(six.contains(naslib) && six.contains(own), "{six}");
        assert_eq!(six, refused("(4, 0, 3, 1, 4, 3)"));
        assert!(refused("arch = [4, 0, 3, 1, 4, 3]").contains(naslib));
        assert!(refused("12345").contains("the number of an architecture"));
        assert!(refused("64:64:64:64:64").contains("that of sizes"));
        assert!(read("(4, 0, 3, 1, 4, 7)", None).is_none());
        assert!(read("12 apples", None).is_none());
        assert!(read("epoch: 12", None).is_none());
        assert!(read("| method | error |", None).is_none());
    }

    #[test]
    fn long_texts_are_read_or_refused_in_linear_time() {
        let long = |part: &str| part.repeat((1 << 20) / part.len());
        for part in [
            "|none~0",
            "|none~0|+",
            "|none~0|+|none~0|x",
            "{'0_1':",
            "{'0_1':'none',",
        ] {
            assert!(refused(&format!("|{}", long(part))).len() < 500);
        }
        let text = format!("|none~0|+|none~0|{}~1|+|none~0|none~1|none~2|", long("x"));
        assert!(refused(&text).len() < 500);
        for part in ["|none~", "| #", "|+", "| "] {
            assert!(read(&long(part), None).is_none());
        }
        let log = found(&long(&format!("{TEXT}\n")), None).unwrap();
        assert_eq!(log.value.to_string(), TEXT);
    }
}
