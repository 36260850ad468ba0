//! What a person sees while cells of a comparison are done: those of one cell as of any search or training; those of
//! several at a time a line each, which begins with the cell's name, above one line of progress for each cell.

use indicatif::{MultiProgress, ProgressBar};
use lease::report::tensorboard::Watched;
use lease::study::cell::Cell;
use lease::study::work::{Ending, Watch};
use serde_json::{Value, json};

use super::progress::{Console, is_plain, shown};
use super::{Level, event, json_wanted, say, told};

/// Cells of a comparison being done.
pub struct Cells {
    /// How many cells the comparison has.
    total: usize,
    /// How many of them are to be done.
    wanted: usize,
    beside: Option<Beside>,
}

/// Lines of several cells at a time.
#[derive(Clone)]
struct Beside {
    bars: MultiProgress,
    jobs: u32,
}

/// A cell of a comparison, and what is done beside it.
#[derive(Clone)]
pub(super) struct Place {
    method: String,
    seed: u64,
    beside: Option<Beside>,
}

impl Place {
    /// Its bar where people see it, which is below those of other cells.
    pub(super) fn shown(&self, bar: ProgressBar) -> ProgressBar {
        match &self.beside {
            Some(beside) => {
                bar.set_prefix(format!("{} seed {}", self.method, self.seed));
                beside.bars.add(bar)
            }
            None => shown(bar),
        }
    }

    /// How many cells are done at a time.
    pub(super) fn jobs(&self) -> u32 {
        self.beside.as_ref().map_or(1, |beside| beside.jobs)
    }

    /// Says something about the cell above its line of progress.
    pub(super) fn say(&self, level: Level, text: &str, bar: &ProgressBar) {
        match &self.beside {
            _ if json_wanted() => self.event(level, "note", json!({ "message": text })),
            None => bar.suspend(|| say(level, text)),
            Some(beside) => {
                let pieces: Vec<&str> = text.lines().map(str::trim).collect();
                let line = format!("{} seed {}: {}", self.method, self.seed, pieces.join("  "));
                beside.say(level, &line);
            }
        }
    }

    /// Writes an event that tells its cell.
    pub(super) fn event(&self, level: Level, name: &str, mut fields: Value) {
        if let Value::Object(fields) = &mut fields {
            let cell = json!({ "method": self.method, "seed": self.seed });
            fields.insert("cell".into(), cell);
        }
        event(level, name, fields);
    }
}

impl Beside {
    fn say(&self, level: Level, line: &str) {
        if is_plain() {
            say(level, line);
        } else if let Some(text) = told(level, line) {
            // Unlike `suspend`, this fails without a panic where the terminal is gone.
            let _ = self.bars.println(text);
        }
    }
}

impl Cells {
    /// `wanted` of `total` cells, `jobs` at a time.
    pub fn new(total: usize, wanted: usize, jobs: usize) -> Self {
        let beside = || Beside {
            bars: MultiProgress::new(),
            jobs: jobs.min(wanted) as u32,
        };
        Self {
            total,
            wanted,
            beside: (jobs.min(wanted) > 1).then(beside),
        }
    }

    fn place(&self, cell: &Cell) -> Place {
        Place {
            method: cell.variant.name.clone(),
            seed: cell.seed,
            beside: self.beside.clone(),
        }
    }

    fn say(&self, level: Level, cell: &Cell, text: &str) {
        match &self.beside {
            _ if json_wanted() => {
                let fields = json!({ "message": text });
                self.place(cell).event(level, "note", fields);
            }
            Some(beside) => beside.say(level, text),
            None => say(level, text),
        }
    }
}

impl Watch for Cells {
    type Watcher = Watched<Console>;

    fn begins(&self, cell: &Cell) -> Self::Watcher {
        let (method, seed) = (&cell.variant.name, cell.seed);
        let told = format!(
            "Cell {} of {}: {method} with seed {seed}",
            cell.number, self.total
        );
        self.say(Level::Info, cell, &told);
        let console = Console::of(self.place(cell));
        let wanted = cell.config.study.search.run.tensorboard;
        Watched::new(console, wanted, &cell.folder, &cell.folder.join("train"))
    }

    fn ended(&self, cell: &Cell, how: &Ending) {
        let named = format!("{} with seed {}", cell.variant.name, cell.seed);
        let number = format!("Cell {} of {}", cell.number, self.total);
        let (level, told) = match how {
            Ending::Done(found) => {
                let accuracy = found.accuracy;
                (
                    Level::Info,
                    format!("{number} is done: {named}, {accuracy:.2} %"),
                )
            }
            Ending::DoneElsewhere => (
                Level::Info,
                format!("{number} was done by another process: {named}"),
            ),
            Ending::Busy => (
                Level::Info,
                format!("{number} is left to another process, which is at work on it: {named}"),
            ),
            // The only one is told at the end.
            Ending::Failed(error) if self.wanted > 1 => (
                Level::Warning,
                format!("{number} cannot be done, the others can: {named}: {error}"),
            ),
            Ending::Failed(_) | Ending::Stopped => return,
        };
        self.say(level, cell, &told);
    }
}
