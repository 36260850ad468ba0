//! Text as people have it: in whatever encoding, with the quotes of chats and the escapes of terminals; with one
//! genotype, with those of all epochs of a search, or with many by their names.

use std::collections::HashMap;
use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

use super::cursor::{beginning, is_of_word};
use crate::space::GenotypeError;

/// Longer texts than this many bytes are refused; a search's log has thousands to millions.
pub const MOST_BYTES: usize = 64 << 20;

/// Something that was read, and what there is to tell about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<T> {
    /// What was read.
    pub value: T,
    /// Sentences for whom the text is from, such as which one of several was taken.
    pub notes: Vec<String>,
}

impl<T> Read<T> {
    /// The same, with something else made of the value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Read<U> {
        Read {
            value: make(self.value),
            notes: self.notes,
        }
    }
}

fn within_bound(bytes: usize) -> Result<(), GenotypeError> {
    if bytes > MOST_BYTES {
        return Err(GenotypeError::TooLong);
    }
    Ok(())
}

/// The text of a file: UTF-8, or UTF-16 that begins with a byte-order mark.
///
/// # Errors
/// If it is neither, or longer than [`MOST_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<String, GenotypeError> {
    within_bound(bytes.len())?;
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        _ => match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => {
                let at = error.valid_up_to();
                Err(GenotypeError::Encoding {
                    reason: format!("byte {at}, 0x{:02X}, is not UTF-8", bytes[at]),
                })
            }
        },
    }
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, GenotypeError> {
    let wrong = |reason: &str| GenotypeError::Encoding {
        reason: format!("it begins with the mark of UTF-16, but {reason}"),
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong("has an odd number of bytes"));
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map_err(|e| {
            let unit = e.unpaired_surrogate();
            wrong(&format!("has half a character, 0x{unit:04X}"))
        })
}

/// The text in plain characters: straight quotes, no marks that cannot be seen, no escapes of terminals, strings
/// or Markdown, no `>` before lines. Places in it are those that one sees in the text.
///
/// # Errors
/// If it is longer than [`MOST_BYTES`].
pub(in crate::space) fn cleaned(text: &str) -> Result<String, GenotypeError> {
    within_bound(text.len())?;
    let returns_end_lines = !text.contains('\n');
    let mut clean = String::with_capacity(text.len());
    let mut line_begins = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '\u{1b}' => {
                pass_escape(&mut chars);
                continue;
            }
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => continue,
            '\\' => match chars.peek() {
                Some('n' | 'r' | 't') => {
                    chars.next();
                    clean.push(' ');
                    ' '
                }
                Some(c) if c.is_ascii_punctuation() => continue,
                _ => ' ',
            },
            '>' if line_begins => ' ',
            '\r' if returns_end_lines => '\n',
            '‘' | '’' | '‚' | '‛' | '′' | '´' | '`' | '‹' | '›' => '\'',
            '“' | '”' | '„' | '‟' | '″' | '«' | '»' => '"',
            '～' | '˜' | '∼' => '~',
            '│' | '∣' => '|',
            '×' => 'x',
            // Full-width forms of ASCII.
            '\u{ff01}'..='\u{ff5d}' => {
                char::from_u32(u32::from(c) - 0xff01 + u32::from('!')).unwrap_or(c)
            }
            c => c,
        };
        line_begins = c == '\n' || line_begins && c.is_whitespace();
        clean.push(c);
    }
    Ok(clean)
}

/// The error for a cleaned text in which no space finds anything of its own.
pub(in crate::space) fn nothing_in(text: &str) -> GenotypeError {
    let found = match text.trim() {
        "" => "is empty".into(),
        text if text.contains('\0') => {
            "has zero bytes, as binary files have and UTF-16 without a byte-order mark".into()
        }
        text => format!("begins with `{}`", beginning(text)),
    };
    GenotypeError::NoGenotype { found }
}

/// What one of the spaces reads in a text, of what each reads; nothing if none finds anything of its own.
pub(in crate::space) fn only<T>(
    all: impl IntoIterator<Item = Option<Result<Read<T>, GenotypeError>>>,
) -> Option<Result<Read<T>, GenotypeError>> {
    let mut all = all.into_iter().flatten();
    let first = all.next()?;
    Some(all.fold(first, |one, other| match (one, other) {
        (Ok(_), Ok(_)) => Err(GenotypeError::TwoSpaces),
        (Err(_), Ok(other)) => Ok(other),
        (one, Err(_)) => one,
    }))
}

/// Passes over the rest of a terminal's escape.
fn pass_escape(chars: &mut Peekable<Chars>) {
    if chars.next_if_eq(&'[').is_none() {
        return;
    }
    while chars
        .next_if(|c| matches!(c, '0'..='?' | ' '..='/'))
        .is_some()
    {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// A place at which a genotype begins.
struct Start {
    at: usize,
    /// From 1.
    line: usize,
    in_comment: bool,
}

/// The places at which genotypes begin in a text, and the names that are given to them.
#[derive(Default)]
pub(in crate::space) struct Scan<'a> {
    starts: Vec<Start>,
    /// The names in the order in which they come, each with the number of its start.
    names: Vec<(&'a str, usize)>,
    /// The numbers of the names.
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Scan<'a> {
    /// Looks through a text; `starts` tells the places in a line, which it gets as a range of the text.
    pub(in crate::space) fn of(
        text: &'a str,
        mut starts: impl FnMut(Range<usize>) -> Vec<usize>,
    ) -> Self {
        let mut scan = Self::default();
        let mut next = 0;
        for (number, line) in text.split('\n').enumerate() {
            let range = next..next + line.len();
            next = range.end + 1;
            let comment = line.find('#').unwrap_or(line.len());
            let here = starts(range.clone());
            if here.is_empty()
                && let Some((name, of)) = line[..comment].split_once('=')
                && let (Some(name), Some(of)) = (as_name(name), as_name(of))
                && let Some(known) = scan.numbers.get(of)
            {
                let start = scan.names[*known].1;
                scan.bind(name, start);
            }
            for at in here {
                let column = at - range.start;
                let in_comment = column > comment;
                if let Some(name) = name_before(&line[..column]).filter(|_| !in_comment) {
                    scan.bind(name, scan.starts.len());
                }
                scan.starts.push(Start {
                    at,
                    line: number + 1,
                    in_comment,
                });
            }
        }
        // What is commented out counts if there is nothing else.
        if scan.starts.iter().all(|s| s.in_comment) {
            for start in &mut scan.starts {
                start.in_comment = false;
            }
        }
        scan
    }

    /// Gives a name to a start, as Python does: the last one counts.
    fn bind(&mut self, name: &'a str, start: usize) {
        if let Some(number) = self.numbers.get(name) {
            self.names[*number].1 = start;
        } else {
            self.numbers.insert(name, self.names.len());
            self.names.push((name, start));
        }
    }

    pub(in crate::space) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The genotype of this name; without one the only one that has any, or the last one of a log. `read` reads
    /// what begins at a place.
    pub(in crate::space) fn choose<T: PartialEq>(
        &self,
        name: Option<&str>,
        read: impl Fn(usize) -> Result<Read<T>, GenotypeError>,
    ) -> Result<Read<T>, GenotypeError> {
        let names = || self.names.iter().map(|(name, _)| (*name).to_string());
        if let Some(name) = name {
            return match self.numbers.get(name) {
                Some(number) => read(self.starts[self.names[*number].1].at),
                None => Err(GenotypeError::NoSuchName {
                    name: name.into(),
                    names: names().collect(),
                }),
            };
        }
        if self.names.len() > 1 {
            return match self.all_the_same(&read) {
                Some(found) => Ok(found),
                None => Err(GenotypeError::Several {
                    names: names().collect(),
                }),
            };
        }
        let mut counted = self.starts.iter().filter(|s| !s.in_comment);
        let Some(last) = counted.next_back() else {
            unreachable!("a text with a genotype");
        };
        let mut found = read(last.at)?;
        let before = counted.count();
        if before > 0 {
            found.notes.push(format!(
                "{} genotypes were found; the last one, from line {}, is taken.",
                before + 1,
                last.line
            ));
        }
        Ok(found)
    }

    /// What all names stand for, if that is one and the same.
    fn all_the_same<T: PartialEq>(
        &self,
        read: impl Fn(usize) -> Result<Read<T>, GenotypeError>,
    ) -> Option<Read<T>> {
        let mut starts: Vec<usize> = self.names.iter().map(|(_, start)| *start).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut all = starts.iter().map(|s| read(self.starts[*s].at));
        let mut first = all.next()?.ok()?;
        if !all.all(|other| other.is_ok_and(|other| other.value == first.value)) {
            return None;
        }
        let names: Vec<&str> = self.names.iter().map(|(name, _)| *name).collect();
        let names = listed(&names);
        first.notes.push(format!("{names} are the same genotype."));
        Some(first)
    }
}

/// Names are shorter than what is looked through for them.
const BEFORE: usize = 200;

/// The name that a genotype gets from what stands before it in its line, as in `NAME = Genotype(…)`, `NAME: …`,
/// `NAME = genotypes.Genotype(…)` and `NAME = '|…|'`.
fn name_before(before: &str) -> Option<&str> {
    if before.len() > BEFORE {
        return None;
    }
    let open = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '[' | '(');
    let mut before = before.trim_end_matches(open);
    if before.ends_with('.') {
        before = before.trim_end_matches(|c| is_of_word(c) || c == '.');
        before = before.trim_end();
    }
    let name = match before.strip_suffix('=') {
        Some(name) => name.split_once(':').map_or(name, |(name, _)| name),
        None => before.strip_suffix(':')?,
    };
    as_name(name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '{')))
}

/// The text without blanks, if it is a name of Python.
fn as_name(text: &str) -> Option<&str> {
    let name = text.trim();
    let begins = name.starts_with(|c: char| is_of_word(c) && !c.is_ascii_digit());
    (begins && name.chars().all(is_of_word)).then_some(name)
}

/// No message lists more names.
const LISTED: usize = 30;

/// `A`, `A and B`, `A, B and C`.
pub(in crate::space) fn listed(names: &[impl AsRef<str>]) -> String {
    let mut all: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    let more = format!("{} more", names.len() - all.len());
    if names.len() > LISTED {
        all.push(&more);
    }
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Genotype;
    use proptest::prelude::*;

    const CELL: &str =
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|";
    const DARTS: &str = "A = Genotype(normal=[('none', 0), ('skip_connect', 1)], normal_concat=range(2, 3), \
        reduce=[['none', 0, 0.5], (\"none\", np.int64(1))], reduce_concat=[2])\nB = A # and so on\n";

    #[test]
    fn files_tell_their_encoding() {
        let text = "‘é’ \u{1f600}";
        assert_eq!(decode(text.as_bytes()).unwrap(), text);
        let units = || text.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            decode(&[&[0xFF, 0xFE], &little[..]].concat()).unwrap(),
            text
        );
        assert_eq!(decode(&[&[0xFE, 0xFF], &big[..]].concat()).unwrap(), text);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert!(refused(b"caf\xE9").contains("byte 3, 0xE9, is not UTF-8; save"));
        assert!(refused(b"\xFF\xFEa").contains("odd number of bytes"));
        assert!(refused(b"\xFF\xFE\x00\xD8").contains("half a character, 0xD800"));
        assert!(refused(&vec![b' '; MOST_BYTES + 1]).contains("longer than 64 MiB"));
        let bare: Vec<u8> = CELL.bytes().flat_map(|b| [b, 0]).collect();
        let error = Genotype::from_bytes(&bare, None).unwrap_err().to_string();
        assert!(error.contains("zero bytes"), "{error}");
    }

    #[test]
    fn genotypes_of_either_space_are_found_in_files() {
        let genotype = Genotype::parse(CELL).unwrap();
        assert_eq!(genotype.to_string(), CELL);
        assert_eq!(Genotype::parse(&genotype.to_json()).unwrap(), genotype);
        let read = Genotype::read(DARTS, Some("B")).unwrap();
        assert_eq!(read.value, Genotype::parse(&read.value.to_json()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genotypes.py");
        std::fs::write(&path, format!("\u{feff}{DARTS}")).unwrap();
        assert_eq!(Genotype::from_file(&path, Some("A")).unwrap(), read);
        let error = Genotype::from_file(&path, Some("C"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("genotypes.py: there is no genotype C in the text; it has A and B"));
    }

    #[test]
    fn a_text_without_a_genotype_is_told_what_was_looked_for() {
        let refused = |text: &str| Genotype::parse(text).unwrap_err().to_string();
        assert!(refused(" \n").contains("the text, which is empty"));
        let error = refused("\nruns/not-there and so on and on\n");
        for told in [
            "begins with `runs/not-there and so on…`",
            "Genotype(",
            "JSON",
            "|nor_conv_3x3~0|+",
        ] {
            assert!(error.contains(told), "{error}");
        }
        assert!(refused(&format!("{DARTS}{CELL}")).contains("genotypes of two spaces"));
    }

    #[test]
    fn lists_of_names_end() {
        assert_eq!(listed(&[""; 0]), "");
        assert_eq!(listed(&["A"]), "A");
        assert_eq!(listed(&["A", "B", "C"]), "A, B and C");
        assert!(listed(&["A"; 33]).ends_with("A, A and 3 more"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".*", at in 0usize..400, cut in 0usize..40, name in "[AB]?") {
            let name = Some(name.as_str()).filter(|n| !n.is_empty());
            let _ = Genotype::read(&text, name);
            for whole in [CELL, DARTS] {
                for json in [false, true] {
                    let mut broken = if json {
                        Genotype::parse(whole).unwrap().to_json()
                    } else {
                        whole.to_string()
                    };
                    let start = at.min(broken.len());
                    broken.replace_range(start..(start + cut).min(broken.len()), &text);
                    let _ = Genotype::read(&broken, name);
                }
            }
        }

        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>, mark in 0usize..3) {
            let mark: &[u8] = [&[][..], &[0xFF, 0xFE], &[0xFE, 0xFF]][mark];
            let _ = Genotype::from_bytes(&[mark, &bytes].concat(), None);
        }
    }
}
