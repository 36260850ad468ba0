//! Doing cells of a comparison, several at a time and beside other processes, each once.
//!
//! Each cell is done on threads of its own in one process: its images are in memory once, one signal stops all, and a kill
//! leaves nobody behind. What a cell finds does not depend on what is done beside it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::cell::Cell;
use super::compare::Found;
use super::plan::Images;
use crate::device::with_threads;
use crate::run::{Lock, RunError};
use crate::{Error, search, training};

/// Who watches cells being done, from several threads.
pub trait Watch: Sync {
    /// Who watches one of them.
    type Watcher: search::Observer + training::Observer + Send;

    /// A cell begins.
    fn begins(&self, cell: &Cell) -> Self::Watcher;

    /// A cell has ended.
    fn ended(&self, cell: &Cell, how: &Ending);
}

/// How a cell ended.
#[derive(Debug)]
pub enum Ending {
    /// It is done.
    Done(Box<Found>),
    /// Another process has done it in the meantime.
    DoneElsewhere,
    /// Another process is at work on it.
    Busy,
    /// It was asked to stop, and left a checkpoint.
    Stopped,
    /// It cannot be done.
    Failed(Error),
}

/// How it ended for all.
#[derive(Debug, Default)]
pub struct Outcome {
    /// It was asked to stop before all were done.
    pub stopped: bool,
    /// What kept cells from being done.
    pub errors: Vec<Error>,
}

/// Does these cells, `jobs` at a time, until all are done or `stop` is set. A cell that fails keeps no other from being
/// done; one that another process is at work on is tried again after all others.
pub fn run(
    cells: &[&Cell],
    images: &Images,
    jobs: usize,
    watch: &impl Watch,
    stop: &AtomicBool,
) -> Outcome {
    let office = Office {
        queue: Mutex::new(cells.iter().map(|cell| (*cell, false)).collect()),
        ended: Mutex::default(),
        images,
        watch,
        stop,
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, cells.len().max(1)) {
            scope.spawn(|| office.work());
        }
    });
    let left = lock(&office.queue).len();
    let ended = office.ended.into_inner();
    ended.unwrap_or_else(PoisonError::into_inner).outcome(left)
}

/// What the workers share.
struct Office<'a, W> {
    /// Cells to come, and whether another process was at work on them before.
    queue: Mutex<VecDeque<(&'a Cell<'a>, bool)>>,
    ended: Mutex<Ended<'a>>,
    images: &'a Images,
    watch: &'a W,
    stop: &'a AtomicBool,
}

/// Cells that were not done.
#[derive(Default)]
struct Ended<'a> {
    busy: Vec<&'a Cell<'a>>,
    failed: Vec<(&'a Cell<'a>, Error)>,
    stopped: usize,
}

impl Ended<'_> {
    /// With so many cells that nobody began.
    fn outcome(mut self, left: usize) -> Outcome {
        self.failed.sort_by_key(|(cell, _)| cell.number);
        self.busy.sort_by_key(|cell| cell.number);
        let failed = self.failed.into_iter().map(|(cell, error)| Error::Cell {
            method: cell.variant.name.clone(),
            seed: cell.seed,
            source: Box::new(error),
        });
        let mut errors: Vec<Error> = failed.collect();
        if !self.busy.is_empty() {
            errors.push(Error::Busy {
                cells: told(&self.busy),
            });
        }
        Outcome {
            stopped: self.stopped + left > 0,
            errors,
        }
    }
}

/// The most cells that are named.
const MOST_NAMED: usize = 8;

/// Cells by their names, the first of them where there are many.
pub fn told(cells: &[&Cell]) -> String {
    let named = cells.iter().take(MOST_NAMED);
    let mut all: Vec<String> = named
        .map(|cell| format!("{} with seed {}", cell.variant.name, cell.seed))
        .collect();
    if cells.len() > MOST_NAMED {
        all.push(format!("{} more", cells.len() - MOST_NAMED));
    }
    all.join(", ")
}

impl<'a, W: Watch> Office<'a, W> {
    fn work(&self) {
        while let Some((cell, again)) = self.next() {
            let ending = self.cell(cell).unwrap_or_else(|error| match error {
                Error::Run(RunError::Busy { .. }) => Ending::Busy,
                error => Ending::Failed(error),
            });
            if matches!(ending, Ending::Busy) && !again {
                lock(&self.queue).push_back((cell, true));
                continue;
            }
            self.watch.ended(cell, &ending);
            match ending {
                Ending::Busy => lock(&self.ended).busy.push(cell),
                Ending::Failed(error) => lock(&self.ended).failed.push((cell, error)),
                Ending::Stopped => lock(&self.ended).stopped += 1,
                Ending::Done(_) | Ending::DoneElsewhere => {}
            }
        }
    }

    fn next(&self) -> Option<(&'a Cell<'a>, bool)> {
        match self.stop.load(Ordering::Relaxed) {
            true => None,
            false => lock(&self.queue).pop_front(),
        }
    }

    /// Does a cell that no other process is at work on.
    fn cell(&self, cell: &Cell) -> Result<Ending, Error> {
        let Some(held) = Lock::take(&cell.lock)? else {
            return Ok(Ending::Busy);
        };
        // What was looked at before may have changed until nobody else could change it.
        if cell.is_done() {
            held.remove();
            return Ok(Ending::DoneElsewhere);
        }
        cell.same_configuration()?;
        let dataset = self.images.for_cell(cell);
        let mut watcher = self.watch.begins(cell);
        let threads = cell.config.study.search.run.threads;
        let found = with_threads(threads, || cell.run(dataset, &mut watcher, self.stop))??;
        Ok(match found {
            Some(found) => {
                held.remove();
                Ending::Done(Box::new(found))
            }
            None => Ending::Stopped,
        })
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
