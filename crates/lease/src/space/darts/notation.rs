//! The notation in which PyTorch's DARTS prints genotypes, and JSON, wherever they stand in a text.

use std::ops::Range;

use super::genotype::{CellGenotype, DartsGenotype as Genotype, Edge};
use super::operation::{Operation, UnknownOperation};
use crate::space::GenotypeError;
use crate::space::reading::cursor::{
    ABBREVIATED, Cursor, Fault, QUOTES, beginning, is_ellipsis, is_of_word,
};
use crate::space::reading::text::{Read, Scan, listed};

/// The parts of a genotype, in the order of DARTS's named tuple.
const PARTS: [&str; 4] = ["normal", "normal_concat", "reduce", "reduce_concat"];

/// The parts of a cell in JSON.
const CELL_PARTS: [&str; 2] = ["nodes", "concat"];

/// Reads what begins with `Genotype(` or as a dictionary with one of [`PARTS`] in a cleaned text; nothing if nothing
/// does. Of several the one of this name is read.
pub(super) fn read(
    text: &str,
    name: Option<&str>,
) -> Option<Result<Read<Genotype>, GenotypeError>> {
    let scan = Scan::of(text, |line| starts(text, line));
    (!scan.is_empty()).then(|| scan.choose(name, |at| parse(text, at)))
}

/// The places in a line at which a genotype begins.
fn starts(text: &str, line: Range<usize>) -> Vec<usize> {
    let called = |at: usize| {
        let before = &text[line.start..at];
        let defined = ["class", "def"].map(|word| before.trim_end().ends_with(word));
        let after = text[at + "Genotype".len()..].trim_start();
        after.strip_prefix('(').is_some_and(has_parts)
            && !before.ends_with(is_of_word)
            && !defined.contains(&true)
    };
    let at = |(i, _)| line.start + i;
    let calls = text[line.clone()].match_indices("Genotype").map(at);
    let braces = text[line.clone()].match_indices('{').map(at);
    let mut all: Vec<usize> = calls.filter(|at| called(*at)).collect();
    all.extend(braces.filter(|at| is_dictionary(&text[at + 1..])));
    all.sort_unstable();
    all
}

/// Whether parts of a genotype stand in the brackets that this is from, not names of variables or words of a sentence.
fn has_parts(inside: &str) -> bool {
    let inside = inside.trim_start();
    let behind = inside.trim_start_matches(is_of_word);
    let key = behind.len() < inside.len() && behind.trim_start().starts_with('=');
    let value = inside.starts_with(['[', '(', ')', '#']) || behind.starts_with('(');
    key || value || is_ellipsis(inside) || behind.is_empty()
}

/// Whether these are the entries of a genotype's dictionary. Cells of numbers are something else, such as coefficients.
fn is_dictionary(entries: &str) -> bool {
    let entries = entries.trim_start();
    let key = entries.trim_start_matches(QUOTES);
    let value = key.trim_start_matches(is_of_word);
    let key = &key[..key.len() - value.len()];
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || "'\":".contains(c));
    let cell = value.trim_start_matches(|c: char| c.is_whitespace() || "[(".contains(c));
    let numbers =
        cell.len() < value.len() && cell.starts_with(|c: char| "-.0123456789".contains(c));
    entries.starts_with(QUOTES) && PARTS.contains(&key) && (key.ends_with("concat") || !numbers)
}

/// Reads the genotype that begins at a place.
fn parse(text: &str, at: usize) -> Result<Read<Genotype>, GenotypeError> {
    let mut parser = Parser {
        cursor: Cursor { text, at },
        strengths: false,
    };
    let genotype = parser.genotype().map_err(|f| f.within(text))?;
    let mut notes = Vec::new();
    if parser.strengths {
        notes.push("The third entries of its edges, their strengths, are passed over.".into());
    }
    Ok(Read {
        value: genotype.validated()?,
        notes,
    })
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// Whether some edge has a third entry.
    strengths: bool,
}

/// What is given of a cell.
#[derive(Default)]
struct Given {
    nodes: Option<Vec<[Edge; 2]>>,
    concat: Option<Vec<usize>>,
}

impl Given {
    /// A missing concat joins all nodes.
    fn cell(self, name: &str, end: usize) -> Result<CellGenotype, Fault> {
        let Some(nodes) = self.nodes else {
            return Err(Fault::new(
                end,
                format!("the genotype that ends here has no {name} cell"),
            ));
        };
        let joined = CellGenotype::joined(nodes);
        Ok(match self.concat {
            Some(concat) => CellGenotype { concat, ..joined },
            None => joined,
        })
    }
}

impl<'a> Parser<'a> {
    /// `Genotype(normal=[…], normal_concat=…, reduce=[…], reduce_concat=…)`, the same as a dictionary, or
    /// `{"normal": {"nodes": […], "concat": […]}, "reduce": …}`.
    fn genotype(&mut self) -> Result<Genotype, Fault> {
        self.cursor.word();
        let (mut normal, mut reduce) = (Given::default(), Given::default());
        self.entries(&PARTS, |p, part| {
            let given = if part < 2 { &mut normal } else { &mut reduce };
            if part % 2 == 1 {
                return Ok(given.concat.replace(p.states()?).is_some());
            }
            p.cursor.skip();
            if !p.cursor.rest().starts_with('{') {
                return Ok(given.nodes.replace(p.edges()?).is_some());
            }
            let repeated = given.nodes.is_some();
            p.entries(&CELL_PARTS, |p, part| {
                Ok(match part {
                    0 => given.nodes.replace(p.edges()?).is_some(),
                    _ => given.concat.replace(p.states()?).is_some(),
                })
            })?;
            Ok(repeated)
        })?;
        let end = self.cursor.at;
        Ok(Genotype {
            normal: normal.cell("normal", end)?,
            reduce: reduce.cell("reduce", end)?,
        })
    }

    /// `(key=value, …)` or `{"key": value, …}`. In round brackets keys can be left out, as in Python. `value` reads
    /// the value of the key of a number, and says whether there was one before.
    fn entries(
        &mut self,
        keys: &[&str],
        mut value: impl FnMut(&mut Self, usize) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let (close, between) = if self.cursor.accept('{') {
            ('}', ':')
        } else {
            self.cursor.expect('(')?;
            (')', '=')
        };
        let mut position = 0;
        while !self.cursor.accept(close) {
            let place = self.cursor.skip();
            let number = if close == ')' && position < keys.len() && self.at_value() {
                position
            } else {
                let key = self.cursor.name(&format!("one of {}", listed(keys)))?;
                let known = keys.iter().position(|k| *k == key);
                let number = known.ok_or_else(|| {
                    let keys = listed(keys);
                    Fault::new(place, format!("`{key}` is unknown; here can be {keys}"))
                })?;
                self.cursor.expect(between)?;
                number
            };
            if value(self, number)? {
                let key = keys[number];
                return Err(Fault::new(place, format!("{key} is given twice")));
            }
            position += 1;
            if !self.cursor.accept(',') {
                self.cursor.expect(close)?;
                break;
            }
        }
        Ok(())
    }

    /// Whether a list or a call of a function is here.
    fn at_value(&self) -> bool {
        let rest = self.cursor.rest();
        rest.starts_with(['[', '(']) || rest.trim_start_matches(is_of_word).starts_with('(')
    }

    fn state(&mut self) -> Result<usize, Fault> {
        const WHAT: &str = "the number of a state";
        let place = self.cursor.skip();
        let number = self.cursor.number(WHAT)?;
        let most = CellGenotype::MOST_NODES + 2;
        number.parse().ok().filter(|n| *n < most).ok_or_else(|| {
            Fault::new(
                place,
                if is_ellipsis(number) {
                    ABBREVIATED.to_string()
                } else {
                    let found = beginning(number);
                    format!("{WHAT} below {most} was expected, but `{found}` was found")
                },
            )
        })
    }

    /// What closes the list or tuple that opens here.
    fn open(&mut self) -> Result<char, Fault> {
        if self.cursor.accept('[') {
            Ok(']')
        } else if self.cursor.accept('(') {
            Ok(')')
        } else {
            Err(self.cursor.expected("`[` or `(`"))
        }
    }

    /// `[('sep_conv_3x3', 0), …]`, two edges a node, or `[[('sep_conv_3x3', 0), ('skip_connect', 1)], …]`.
    fn edges(&mut self) -> Result<Vec<[Edge; 2]>, Fault> {
        let place = self.cursor.skip();
        let close = self.open()?;
        let mut edges = Vec::new();
        while !self.cursor.accept(close) {
            let inner = self.open()?;
            let within = self.cursor.skip();
            if self.cursor.rest().starts_with(['[', '(']) {
                let before = edges.len();
                while !self.cursor.accept(inner) {
                    let close = self.open()?;
                    edges.push(self.edge(close)?);
                    if !self.cursor.accept(',') {
                        self.cursor.expect(inner)?;
                        break;
                    }
                }
                let n = edges.len() - before;
                if n != 2 {
                    let reason = format!("a node has two edges, but this one has {n}");
                    return Err(Fault::new(within, reason));
                }
            } else {
                edges.push(self.edge(inner)?);
            }
            let most = CellGenotype::MOST_NODES;
            if edges.len() > 2 * most {
                let reason = format!("a cell has no more than {most} nodes, but this one has");
                return Err(Fault::new(place, reason));
            }
            if !self.cursor.accept(',') {
                self.cursor.expect(close)?;
                break;
            }
        }
        let (pairs, rest) = edges.as_chunks::<2>();
        if !rest.is_empty() {
            let n = edges.len();
            let reason = format!("a node has two edges, but {n} are given for the cell");
            return Err(Fault::new(place, reason));
        }
        Ok(pairs.to_vec())
    }

    /// `'sep_conv_3x3', 0)` or, with a strength, `'sep_conv_3x3', 0, 0.13)`.
    fn edge(&mut self, close: char) -> Result<Edge, Fault> {
        let place = self.cursor.skip();
        let called = self.cursor.accept_call(&["str", "str_"]);
        let name = self.cursor.name("the name of an operation in quotes")?;
        if called {
            self.cursor.expect(')')?;
        }
        let operation = name.parse();
        let operation: Operation =
            operation.map_err(|e: UnknownOperation| Fault::new(place, e.to_string()))?;
        self.cursor.expect(',')?;
        let edge = Edge(operation, self.state()?);
        let comma = self.cursor.accept(',');
        if self.cursor.accept(close) {
            return Ok(edge);
        }
        if comma {
            self.cursor.number("the strength of the edge")?;
            self.strengths = true;
            self.cursor.accept(',');
        }
        self.cursor.expect(close)?;
        Ok(edge)
    }

    /// `range(2, 6)`, `[2, 3]` or `(2, 3)`, in quotes or not, or a call of `list` and the like with one of these.
    fn states(&mut self) -> Result<Vec<usize>, Fault> {
        self.cursor.taken(|c| QUOTES.contains(&c));
        let called = self
            .cursor
            .accept_call(&["list", "tuple", "array", "tensor"]);
        let states = self.plain_states()?;
        if called {
            self.cursor.expect(')')?;
        }
        self.cursor.taken(|c| QUOTES.contains(&c));
        Ok(states)
    }

    fn plain_states(&mut self) -> Result<Vec<usize>, Fault> {
        let place = self.cursor.skip();
        let range = self.cursor.accept_call(&["range", "arange"]);
        let close = if range { ')' } else { self.open()? };
        let mut numbers = Vec::new();
        while !self.cursor.accept(close) {
            numbers.push(self.state()?);
            if numbers.len() > CellGenotype::MOST_NODES {
                let most = CellGenotype::MOST_NODES;
                return Err(Fault::new(
                    place,
                    format!("no more than {most} states can be joined"),
                ));
            }
            self.cursor.accept(',');
        }
        if !range {
            return Ok(numbers);
        }
        match numbers[..] {
            [end] => Ok((0..end).collect()),
            [start, end] => Ok((start..end).collect()),
            [start, end, step] if step > 0 => Ok((start..end).step_by(step).collect()),
            _ => Err(Fault::new(place, "`range(START, END)` was expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::reading::text::cleaned;

    const NORMAL: &str =
        "[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 0), ('max_pool_3x3', 2)]";
    const REDUCE: &str =
        "[('avg_pool_3x3', 0), ('none', 1), ('sep_conv_5x5', 2), ('dil_conv_3x3', 2)]";

    fn whole() -> String {
        format!(
            "Genotype(normal={NORMAL}, normal_concat=range(2, 4), reduce={REDUCE}, reduce_concat=[3])"
        )
    }

    fn genotype() -> Genotype {
        use Operation::{
            AvgPool3x3, DilConv3x3, DilConv5x5, MaxPool3x3, None, SepConv3x3, SepConv5x5,
            SkipConnect,
        };
        let cell = |nodes, concat: &[usize]| CellGenotype {
            nodes,
            concat: concat.to_vec(),
        };
        Genotype {
            normal: cell(
                vec![
                    [Edge(SepConv3x3, 0), Edge(SkipConnect, 1)],
                    [Edge(DilConv5x5, 0), Edge(MaxPool3x3, 2)],
                ],
                &[2, 3],
            ),
            reduce: cell(
                vec![
                    [Edge(AvgPool3x3, 0), Edge(None, 1)],
                    [Edge(SepConv5x5, 2), Edge(DilConv3x3, 2)],
                ],
                &[3],
            ),
        }
    }

    fn found(text: &str, name: Option<&str>) -> Result<Read<Genotype>, GenotypeError> {
        read(&cleaned(text).unwrap(), name)
            .unwrap_or_else(|| panic!("no genotype in {}", beginning(text)))
    }

    /// What is read, of which there is nothing to tell.
    fn plain(text: &str) -> Genotype {
        let read = found(text, None).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(read.notes, [""; 0], "{text}");
        read.value
    }

    fn refused(text: &str) -> String {
        found(text, None).unwrap_err().to_string()
    }

    #[test]
    fn what_stands_around_a_genotype_is_passed_over() {
        let whole = whole();
        for text in [
            whole.clone(),
            format!("\u{feff}{whole}"),
            format!("  \"{whole}\"\n"),
            format!("`{whole}`"),
            format!("```python\n{whole}\n```"),
            format!("genotype: {whole}"),
            format!("11/26 03:00:12 PM genotype = {whole}\n"),
            format!("2018-06-27 13:25:46,379 genotype = {whole}\n"),
            format!("\u{1b}[32mINFO\u{1b}[0m \u{1b}[1m{whole}\u{1b}[0m"),
            format!(
                "Genotype = namedtuple('Genotype', 'normal reduce')\nclass Genotype(tuple): pass\nA = {whole}"
            ),
            format!("# OLD = Genotype(normal=[])\nA = genotypes.{whole} # the new one"),
            format!("{{\"normal\":[[0.5,0.5]],\"reduce\":[]}} {whole}"),
            format!("最高精度网络结构为{whole}，如何"),
        ] {
            assert_eq!(plain(&text), genotype(), "{text}");
        }
    }

    #[test]
    fn what_happened_to_a_genotype_on_its_way_is_undone() {
        let whole = whole();
        for text in [
            whole.replace(' ', "\r\n  "),
            whole.replace(' ', "\r"),
            format!("> {}", whole.replace(' ', "\n> ")),
            whole.replace('\'', "’"),
            whole.replace("('", "(“").replace("',", "”,"),
            whole.replace('\'', "`"),
            whole.replace('\'', "\"\""),
            whole.replace('\'', "\\\""),
            whole.replace('\'', ""),
            whole.replace('_', "\\_"),
            whole
                .replace(", ", "，")
                .replace('(', "（")
                .replace("3x3", "3×3"),
            whole.replace("', ", "', \u{200b}\u{a0}"),
        ] {
            assert_eq!(plain(&text), genotype(), "{text}");
        }
    }

    #[test]
    fn spellings_of_other_code_are_read() {
        let whole = whole();
        let pairs = |cell: &str| format!("[{}]", cell.replace("1), (", "1)], [("));
        let tuple = format!("Genotype({NORMAL}, range(2, 4), {REDUCE}, [3])");
        let dictionary = |open: &str, close: &str| {
            let text = format!(
                "{{'normal': {NORMAL}, 'normal_concat': [2, 3], 'reduce': {REDUCE}, 'reduce_concat': [3]}}"
            );
            let text = text.replace('(', open).replace(')', close);
            if open == "[" {
                text.replace('\'', "\"")
            } else {
                text
            }
        };
        for text in [
            whole
                .replace(NORMAL, &pairs(NORMAL))
                .replace(REDUCE, &pairs(REDUCE)),
            whole
                .replace("', 0)", "', np.int64(0))")
                .replace("', 2)", "', tensor(2, device='cuda:0'))"),
            whole.replace("('", "(np.str_('").replace("',", "'),"),
            whole.replace("('", "(u'"),
            whole.replace("range(2, 4)", "range(2, 4, 1)"),
            whole.replace("range(2, 4)", "np.arange(2, 4)"),
            whole.replace("range(2, 4)", "list(range(2, 4))"),
            whole.replace("range(2, 4)", "array([2, 3])"),
            whole.replace("range(2, 4)", "\"range(2, 4)\""),
            whole.replace("normal_concat=range(2, 4), ", ""),
            tuple,
            dictionary("(", ")"),
            dictionary("[", "]"),
            genotype().to_json(),
        ] {
            assert_eq!(plain(&text), genotype(), "{text}");
        }
    }

    #[test]
    fn strengths_of_edges_are_passed_over_and_this_is_told() {
        let whole = whole()
            .replace(", 0)", ", 0, 0.13017)")
            .replace(", 2)", ", 2, np.float64(1e-3))");
        let read = found(&whole, None).unwrap();
        assert_eq!(read.value, genotype());
        assert!(read.notes[0].contains("third entries"), "{:?}", read.notes);
    }

    #[test]
    fn of_a_log_the_last_genotype_is_taken_and_this_is_told() {
        let other = whole().replace("sep_conv_3x3", "sep_conv_5x5");
        let line = |time: &str, text: &str| format!("{time} epoch 1\n{time} genotype = {text}\n");
        for time in ["2020-01-01 10:00:00,125", ""] {
            let log = line(time, &other) + &line(time, "Genotype(broken=") + &line(time, &whole());
            let read = found(&log, None).unwrap();
            assert_eq!(read.value, genotype());
            let note = "3 genotypes were found; the last one, from line 6, is taken.";
            assert_eq!(read.notes, [note]);
        }
        let cut = line("", &other) + &whole()[..100];
        assert!(refused(&cut).contains("line 3"), "{}", refused(&cut));
    }

    #[test]
    fn a_file_of_python_has_genotypes_by_their_names() {
        let other = whole().replace("sep_conv_3x3", "sep_conv_5x5");
        let file = format!(
            "from collections import namedtuple\n\nNASNet = Genotype(\n  normal = [('sep_conv_7x7', 0)])\n\
             V1: Genotype = {other}\nV2 = {}\n\nDARTS = V2 # as published\nBEST = DARTS\n",
            whole()
        );
        let of = |name| found(&file, Some(name));
        assert_eq!(of("V2").unwrap().value, genotype());
        assert_eq!(of("BEST").unwrap().value, genotype());
        assert_ne!(of("V1").unwrap().value, genotype());
        let wrong = of("NASNet").unwrap_err().to_string();
        assert!(
            wrong.contains("line 4, column 14: `sep_conv_7x7`"),
            "{wrong}"
        );
        let none = refused(&file);
        assert!(
            none.contains("NASNet, V1, V2, DARTS and BEST") && none.contains("FILE:BEST"),
            "{none}"
        );
        let unknown = of("V3").unwrap_err().to_string();
        assert!(
            unknown.contains("no genotype V3") && unknown.contains("V1, V2"),
            "{unknown}"
        );
        let nameless = found(&whole(), Some("V2")).unwrap_err().to_string();
        assert!(nameless.contains("has a name"), "{nameless}");
        let same = format!("A = {}\nB = {}\n", whole(), whole());
        let read = found(&same, None).unwrap();
        assert_eq!(read.value, genotype());
        assert_eq!(read.notes, ["A and B are the same genotype."]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let whole = whole();
        let with = |from: &str, to: &str| whole.replacen(from, to, 1);
        let empty = "{\"normal\": {\"nodes\": [], \"concat\": []}, \"reduce\": []}";
        let unknown = "column 61: `dil_conv_7x7` is no operation of this space; it has none, max_";
        let state = "column 35: the number of a state below 1002 was expected, but `-1` was found";
        let part = "line 2, column 1: `recurrent` is unknown; here can be normal,";
        let one = "a node has two edges, but this one has 1";
        for (text, told) in [
            (with("dil_conv_5x5", "dil_conv_7x7"), unknown),
            (
                with(", ('skip_connect', 1)", ", …"),
                "column 39: the dots stand for",
            ),
            (with("sep_conv_3x3", "..."), "column 19: the dots"),
            (with("', 0)", "', -1)"), state),
            (with("', 0)", "' 0)"), "`,` was expected, but `0), ('skip"),
            (with("reduce=", "\nrecurrent="), part),
            (with("reduce=", "normal="), "normal is given twice"),
            (with("range(2, 4)", "range(2, 4, 0)"), "`range(START, END)`"),
            (
                with("range(2, 4)", "range(2, 5)"),
                "its output joins state 4",
            ),
            (
                with("', 0), ", "', 0)], "),
                "a node has two edges, but 1 are",
            ),
            (with("[('sep_conv_3x3', 0)", "[[('sep_conv_3x3', 0)]"), one),
            (with("', 1)", "', 3)"), "node 0 takes state 3"),
            (whole[..50].into(), "this quote is never closed"),
            (whole[..60].into(), "but the text ends"),
            (format!("Genotype(normal={NORMAL})"), "has no reduce cell"),
            (empty.into(), "it has no node"),
        ] {
            let error = refused(&text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn long_texts_are_read_or_refused_in_linear_time() {
        let cell = |nodes: usize| {
            let node = |i: usize| format!("('skip_connect', {}), ('none', {i}), ", i + 1);
            (0..nodes).map(node).collect::<String>()
        };
        let of = |nodes| format!("Genotype(normal=[{0}], reduce=[{0}])", cell(nodes));
        let most = CellGenotype::MOST_NODES;
        assert_eq!(plain(&of(most)).normal.nodes.len(), most);
        let error = refused(&of(most + 1));
        assert!(error.contains("no more than 1000 nodes"), "{error}");
        let long = |part: &str| part.repeat((1 << 20) / part.len());
        for part in ["Genotype(", "Genotype(#", "Genotype(\n", "{'normal':"] {
            assert!(refused(&long(part)).len() < 500);
        }
        let names: String = (0..20_000)
            .map(|i| format!("N{i} = Genotype(normal=\n"))
            .collect();
        assert!(refused(&names).contains("and 19970 more"));
        let (digits, word) = (long("1"), long("word"));
        assert!(refused(&format!("Genotype(normal=[('none', {digits})])")).len() < 300);
        assert!(refused(&format!("Genotype({word}=[])")).len() < 300);
        assert!(refused(&format!("Genotype(normal=[({word}, 0)])")).len() < 300);
        let log = long("01/01 genotype = Genotype(normal=[('none', 0), ('none', 1)])\n") + &whole();
        assert_eq!(found(&log, None).unwrap().value, genotype());
    }
}
