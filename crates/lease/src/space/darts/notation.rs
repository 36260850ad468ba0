//! The notation in which PyTorch's DARTS prints genotypes, and people paste them.

use super::genotype::{CellGenotype, DartsGenotype as Genotype, Edge};
use super::operation::Operation;
use crate::space::NotationError;

/// No genotype has more states than this; it bounds `range`.
const MOST_STATES: usize = 1000;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Reads `Genotype(normal=[…], normal_concat=…, reduce=[…], reduce_concat=…)`, with or without `NAME =`
/// before it. A missing concat joins all nodes.
pub(super) fn parse(text: &str) -> Result<Genotype, NotationError> {
    let mut p = Parser { text, at: 0 };
    let start = "`Genotype(` or `NAME = Genotype(` was expected";
    let mut word = p.word().ok_or_else(|| p.error(start))?;
    if word != "Genotype" {
        if !p.accept('=') {
            return Err(p.error(start));
        }
        word = p.word().ok_or_else(|| p.error(start))?;
    }
    if word != "Genotype" {
        return Err(p.error(start));
    }
    p.expect('(')?;
    let (mut cells, mut concats) = ([None, None], [None, None]);
    while !p.accept(')') {
        let place = p.skip();
        let key = p.word().ok_or_else(|| {
            p.error("normal, normal_concat, reduce or reduce_concat was expected")
        })?;
        p.expect('=')?;
        let repeated = match key {
            "normal" => cells[0].replace(p.edges()?).is_some(),
            "reduce" => cells[1].replace(p.edges()?).is_some(),
            "normal_concat" => concats[0].replace(p.states()?).is_some(),
            "reduce_concat" => concats[1].replace(p.states()?).is_some(),
            other => {
                let reason = format!(
                    "`{other}` is unknown; a genotype has normal, normal_concat, reduce and reduce_concat"
                );
                return Err(p.error_at(place, reason));
            }
        };
        if repeated {
            return Err(p.error_at(place, format!("{key} is given twice")));
        }
        if !p.accept(',') {
            p.expect(')')?;
            break;
        }
    }
    p.skip();
    if p.at < text.len() {
        return Err(p.error("nothing more was expected after the closing bracket"));
    }
    let [normal, reduce] = cells;
    let [normal_concat, reduce_concat] = concats;
    let cell = |name, nodes: Option<Vec<[Edge; 2]>>, concat: Option<Vec<usize>>| {
        let nodes = nodes.ok_or_else(|| p.error(format!("the genotype has no {name} cell")))?;
        let joined = CellGenotype::joined(nodes);
        Ok(match concat {
            Some(concat) => CellGenotype { concat, ..joined },
            None => joined,
        })
    };
    Ok(Genotype {
        normal: cell("normal", normal, normal_concat)?,
        reduce: cell("reduce", reduce, reduce_concat)?,
    })
}

impl<'a> Parser<'a> {
    fn error(&self, reason: impl Into<String>) -> NotationError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, at: usize, reason: impl Into<String>) -> NotationError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        NotationError {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            reason: reason.into(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes over blanks and comments; returns the place.
    fn skip(&mut self) -> usize {
        loop {
            let trimmed = self.rest().trim_start();
            self.at = self.text.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return self.at;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn accept(&mut self, c: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), NotationError> {
        if self.accept(c) {
            Ok(())
        } else {
            Err(self.error(format!("`{c}` was expected")))
        }
    }

    fn taken(&mut self, belongs: impl Fn(char) -> bool) -> Option<&'a str> {
        self.skip();
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| &rest[..end])
    }

    fn word(&mut self) -> Option<&'a str> {
        self.taken(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn number(&mut self) -> Result<usize, NotationError> {
        let place = self.skip();
        let digits = self.taken(|c| c.is_ascii_digit());
        let number = digits.and_then(|d| d.parse().ok());
        number
            .filter(|n| *n < MOST_STATES)
            .ok_or_else(|| self.error_at(place, "the number of a state was expected"))
    }

    /// The closing bracket of a list or tuple, whichever opens here.
    fn open(&mut self) -> Result<char, NotationError> {
        if self.accept('[') {
            Ok(']')
        } else if self.accept('(') {
            Ok(')')
        } else {
            Err(self.error("`[` or `(` was expected"))
        }
    }

    /// A list of things, separated by commas.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, NotationError>,
    ) -> Result<Vec<T>, NotationError> {
        let close = self.open()?;
        let mut items = Vec::new();
        while !self.accept(close) {
            items.push(item(self)?);
            if !self.accept(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    /// `[('sep_conv_3x3', 0), …]`, two edges a node.
    fn edges(&mut self) -> Result<Vec<[Edge; 2]>, NotationError> {
        let place = self.skip();
        let edges = self.list(|p| {
            let close = p.open()?;
            let operation = p.operation()?;
            p.expect(',')?;
            let state = p.number()?;
            p.accept(',');
            p.expect(close)?;
            Ok(Edge(operation, state))
        })?;
        let (pairs, rest) = edges.as_chunks::<2>();
        if !rest.is_empty() {
            let n = edges.len();
            return Err(self.error_at(place, format!("a node has two edges, but {n} are given")));
        }
        Ok(pairs.to_vec())
    }

    fn operation(&mut self) -> Result<Operation, NotationError> {
        let quote = if self.accept('\'') {
            '\''
        } else if self.accept('"') {
            '"'
        } else {
            return Err(self.error("the name of an operation in quotes was expected"));
        };
        let start = self.at;
        let Some(length) = self.rest().find(quote) else {
            return Err(self.error_at(start - 1, "this quote is never closed"));
        };
        self.at += length + 1;
        let name = &self.text[start..start + length];
        name.parse()
            .map_err(|e| self.error_at(start - 1, format!("{e}")))
    }

    /// `range(2, 6)`, `[2, 3]` or `(2, 3)`.
    fn states(&mut self) -> Result<Vec<usize>, NotationError> {
        self.skip();
        if !self.rest().starts_with("range") {
            return self.list(Self::number);
        }
        self.at += "range".len();
        let place = self.at;
        match self.list(Self::number)?[..] {
            [start, end] => Ok((start..end).collect()),
            _ => Err(self.error_at(place, "`range(START, END)` was expected")),
        }
    }
}
