//! A place in a text that is read from left to right, and what is wrong at it.

use crate::space::NotationError;

/// What is wrong at an offset. Line and column are counted for the one that is reported, not for each that is met.
#[derive(Debug)]
pub(in crate::space) struct Fault {
    at: usize,
    pub(in crate::space) reason: String,
}

impl Fault {
    pub(in crate::space) fn new(at: usize, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { at, reason }
    }

    /// With line and column in this text.
    pub(in crate::space) fn within(self, text: &str) -> NotationError {
        let before = &text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        NotationError {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            reason: self.reason,
        }
    }
}

/// The characters that a message shows of a text.
const SHOWN: usize = 24;

/// The beginning of a text for a message, up to the end of its first line.
pub(in crate::space) fn beginning(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim_end();
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

/// Where a text is read.
pub(in crate::space) struct Cursor<'a> {
    pub(in crate::space) text: &'a str,
    pub(in crate::space) at: usize,
}

impl<'a> Cursor<'a> {
    pub(in crate::space) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes over blanks and comments; returns the place.
    pub(in crate::space) fn skip(&mut self) -> usize {
        loop {
            let trimmed = self.rest().trim_start();
            self.at = self.text.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return self.at;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(in crate::space) fn accept(&mut self, c: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    pub(in crate::space) fn expect(&mut self, c: char) -> Result<(), Fault> {
        if self.accept(c) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{c}`")))
        }
    }

    /// Says what was expected here, and what is here.
    pub(in crate::space) fn expected(&mut self, what: &str) -> Fault {
        let at = self.skip();
        let rest = self.rest();
        let reason = if is_ellipsis(rest) {
            ABBREVIATED.to_string()
        } else if rest.is_empty() {
            format!("{what} was expected, but the text ends")
        } else {
            format!("{what} was expected, but `{}` was found", beginning(rest))
        };
        Fault::new(at, reason)
    }

    /// The characters that belong to something, after blanks; nothing if there is none.
    pub(in crate::space) fn taken(&mut self, belongs: impl Fn(char) -> bool) -> Option<&'a str> {
        self.skip();
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| &rest[..end])
    }

    pub(in crate::space) fn word(&mut self) -> Option<&'a str> {
        self.taken(is_of_word)
    }

    /// A name in quotes, or a word without.
    pub(in crate::space) fn name(&mut self, what: &str) -> Result<&'a str, Fault> {
        let place = self.skip();
        let rest = self.rest();
        // Python marks strings by letters before them.
        let marked = rest.strip_prefix(['b', 'r', 'u']);
        let rest = marked.filter(|s| s.starts_with(QUOTES)).unwrap_or(rest);
        let inside = rest.trim_start_matches(QUOTES);
        if inside.len() == rest.len() {
            let word = self.word().filter(|w| w.len() < SHORT);
            self.at = place + word.map_or(0, str::len);
            return word.ok_or_else(|| self.expected(what));
        }
        let short = &inside[..inside.floor_char_boundary(SHORT)];
        let end = short.find(|c| QUOTES.contains(&c) || c == '\n');
        let name = &short[..end.unwrap_or(short.len())];
        if name.contains('…') || name.contains("...") {
            return Err(Fault::new(place, ABBREVIATED));
        }
        let after = inside[name.len()..].trim_start_matches(QUOTES);
        if end.is_none() || after.len() == inside.len() - name.len() {
            return Err(Fault::new(place, "this quote is never closed"));
        }
        self.at = self.text.len() - after.len();
        Ok(name.trim())
    }

    /// A number, also one in brackets: `0`, `np.int64(0)`, `tensor(0.13, device='cuda:0')`.
    pub(in crate::space) fn number(&mut self, what: &str) -> Result<&'a str, Fault> {
        let part = |c: char| is_of_word(c) || matches!(c, '.' | '+' | '-');
        let number = self.taken(part);
        let number = number.ok_or_else(|| self.expected(what))?;
        if !self.rest().starts_with('(') {
            return Ok(number);
        }
        self.at += 1;
        let number = self.taken(part);
        let number = number.ok_or_else(|| self.expected(what))?;
        let rest = self.rest();
        let short = &rest[..rest.floor_char_boundary(SHORT)];
        let Some(end) = short.find([')', '\n']) else {
            return Err(self.expected("`)`"));
        };
        self.at += end;
        self.expect(')')?;
        Ok(number)
    }

    /// Passes over the name of one of these functions, with its module, and the bracket behind it.
    pub(in crate::space) fn accept_call(&mut self, functions: &[&str]) -> bool {
        let before = self.skip();
        let name = self.taken(|c| is_of_word(c) || c == '.');
        let function = name.and_then(|n| n.rsplit('.').next());
        let known = function.is_some_and(|f| functions.contains(&f)) && self.accept('(');
        if !known {
            self.at = before;
        }
        known
    }
}

/// The quotes of a cleaned text.
pub(in crate::space) const QUOTES: [char; 2] = ['\'', '"'];

/// Names, and what stands in brackets behind a number, are shorter than this many bytes.
const SHORT: usize = 100;

/// What an ellipsis says.
pub(in crate::space) const ABBREVIATED: &str =
    "the dots stand for parts that were left out; the whole genotype is needed";

/// Whether dots that stand for something begin here.
pub(in crate::space) fn is_ellipsis(text: &str) -> bool {
    text.starts_with('…') || text.starts_with("...")
}

/// Whether a name of Python can have it.
pub(in crate::space) fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
