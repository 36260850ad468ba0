//! A table of images and their labels: CSV with the columns `path`, `label` and, where parts are given, `part`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::listing::{Item, Listing, metadata};
use super::{DataError, Watch, parts};

/// Tables with more bytes are refused.
const MOST_BYTES: u64 = 1 << 30;

/// What a column is called.
const PATH: [&str; 6] = ["path", "file", "filename", "file_name", "image", "filepath"];
const LABEL: [&str; 4] = ["label", "class", "category", "target"];
const PART: [&str; 3] = ["part", "split", "subset"];

/// What a row's image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Train,
    Test,
    Validation,
}

/// One row.
struct Row {
    line: u64,
    file: PathBuf,
    label: String,
    part: Option<Use>,
}

/// The files that a table lists; relative paths begin in its folder. Without test rows every fifth of each class, in order,
/// tests.
pub(super) fn list(path: &Path, watch: &dyn Watch) -> Result<Listing, DataError> {
    let invalid = |reason: String| DataError::Invalid {
        path: path.into(),
        reason,
    };
    let rows = rows(path, watch)?;
    let classes = classes(&rows);
    if classes.len() < 2 {
        let reason = format!(
            "it has {} labels; at least two classes are needed",
            classes.len()
        );
        return Err(invalid(reason));
    }
    if classes.len() > usize::from(u16::MAX) {
        let reason = format!(
            "it has {} different labels, too many; labels are classes, not numbers to be guessed",
            classes.len()
        );
        return Err(invalid(reason));
    }
    let numbers: HashMap<&str, u16> = classes.iter().map(String::as_str).zip(0..).collect();
    let mut listing = Listing::default();
    let mut places: HashMap<&Path, u64> = HashMap::new();
    let mut items = Vec::new();
    for row in &rows {
        if let Some(before) = places.insert(&row.file, row.line) {
            let reason = format!("lines {before} and {} name the same file", row.line);
            return Err(invalid(reason));
        }
        match metadata(&row.file) {
            Ok(found) if found.is_file() => {
                let label = numbers[row.label.as_str()];
                items.push((row.part, Item::of(row.file.clone(), label, &found)));
            }
            Ok(_) => listing.troubles.push(DataError::Invalid {
                path: row.file.clone(),
                reason: format!("it is a folder (line {} of the table)", row.line),
            }),
            Err(DataError::Read { path, source }) => listing.troubles.push(DataError::Invalid {
                path,
                reason: format!("{source} (line {} of the table)", row.line),
            }),
            Err(error) => listing.troubles.push(error),
        }
    }
    items.sort_by_key(|(_, item)| item.label);
    share_out(&mut listing, items, watch);
    listing.classes = classes;
    Ok(listing)
}

/// Why a line of a table cannot be read.
fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            pos: Some(at),
            expected_len,
            len,
        } => format!(
            "line {} has another number of columns ({len}) than the first line ({expected_len}); a text with commas in it is put into quotes",
            at.line()
        ),
        _ => error.to_string(),
    }
}

/// Puts the items into their parts.
fn share_out(listing: &mut Listing, items: Vec<(Option<Use>, Item)>, watch: &dyn Watch) {
    let has = |wanted| items.iter().any(|(part, _)| *part == Some(wanted));
    let tests = match (has(Use::Test), has(Use::Validation)) {
        (true, validation) => {
            if validation {
                watch.note("Rows of the validation part are not used: validation images are taken from the training part.");
            }
            Some(Use::Test)
        }
        (false, true) => {
            watch.note("The validation part tests: it is read once, after training.");
            Some(Use::Validation)
        }
        (false, false) => None,
    };
    let labels: Vec<u16> = items.iter().map(|(_, item)| item.label).collect();
    let classes = labels.last().map_or(0, |last| usize::from(*last) + 1);
    let mut fifth = vec![false; items.len()];
    for image in parts::every_fifth(&labels, classes) {
        fifth[image as usize] = true;
    }
    for ((part, item), fifth) in items.into_iter().zip(fifth) {
        match (tests, part) {
            (None, _) if fifth => listing.test.push(item),
            (None, _) | (_, None | Some(Use::Train)) => listing.train.push(item),
            (Some(tests), Some(part)) if part == tests => listing.test.push(item),
            _ => {}
        }
    }
}

/// The labels in order: of numbers, else of text.
fn classes(rows: &[Row]) -> Vec<String> {
    let mut classes: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
    classes.sort();
    classes.dedup();
    let numbers: Result<Vec<i64>, _> = classes.iter().map(|label| label.parse()).collect();
    if let Ok(numbers) = numbers {
        let mut numbered: Vec<(i64, String)> = numbers.into_iter().zip(classes).collect();
        numbered.sort();
        classes = numbered.into_iter().map(|(_, label)| label).collect();
    }
    classes
}

/// The rows of a table.
fn rows(path: &Path, watch: &dyn Watch) -> Result<Vec<Row>, DataError> {
    let invalid = |reason: String| DataError::Invalid {
        path: path.into(),
        reason,
    };
    let advice =
        "--path is the table: CSV with the columns path, label and, where parts are given, part";
    if path.is_dir() {
        return Err(invalid(format!("it is a folder; {advice}")));
    }
    if metadata(path).is_ok_and(|found| found.len() > MOST_BYTES) {
        return Err(invalid("it has more than 1 GiB".into()));
    }
    let bytes = super::read(path, advice)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        invalid(format!("line {line} is no UTF-8; save it as UTF-8"))
    })?;
    let text = text.trim_start_matches('\u{FEFF}');
    let first = text.lines().next().unwrap_or_default();
    // As spreadsheets write it in some countries.
    let delimiter = [',', ';', '\t']
        .into_iter()
        .max_by_key(|d| (first.matches(*d).count(), *d == ','));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(',') as u8)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|e| invalid(e.to_string()))?
        .clone();
    let column = |names: &[&str]| {
        let named = |cell: &str| names.contains(&cell.to_lowercase().as_str());
        header.iter().position(named)
    };
    let (Some(file), Some(label)) = (column(&PATH), column(&LABEL)) else {
        return Err(invalid(format!(
            "its first line, `{first}`, does not name the columns path and label; add a line such as path,label or \
             path,label,part"
        )));
    };
    let part = column(&PART);
    let read = |n: &usize| *n != file && *n != label && Some(*n) != part;
    let unread: Vec<&str> = (0..header.len()).filter(read).map(|n| &header[n]).collect();
    if !unread.is_empty() {
        watch.note(&format!(
            "Columns that are not used: {}.",
            unread.join(", ")
        ));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| invalid(unreadable(&e)))?;
        let line = record.position().map_or(0, csv::Position::line);
        let empty = |what: &str| invalid(format!("line {line} has no {what}"));
        if record[file].is_empty() {
            return Err(empty("path"));
        }
        if record[label].is_empty() {
            return Err(empty("label"));
        }
        let part = match part.map(|part| record[part].to_lowercase()).as_deref() {
            None | Some("") => None,
            Some("train" | "training") => Some(Use::Train),
            Some("test" | "testing") => Some(Use::Test),
            Some("val" | "valid" | "validation") => Some(Use::Validation),
            Some(other) => {
                let reason = format!("line {line} has the part `{other}`; train or test is needed");
                return Err(invalid(reason));
            }
        };
        rows.push(Row {
            line,
            file: folder.join(&record[file]),
            label: record[label].into(),
            part,
        });
    }
    if rows.is_empty() {
        return Err(invalid("it has no rows".into()));
    }
    Ok(rows)
}
