//! The cells of a comparison, who does which of them, and whether they can be done.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::ComparisonConfig;
use super::cell::Cell;
use super::variant::Variant;
use crate::config::{Composite, ConfigError, Layers, Section, Setting};
use crate::data::{DataConfig, Dataset, Watch};
use crate::run::{RunFolder, RunSettings};
use crate::{Error, memory};

/// Methods and seeds that are compared in a folder.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The methods.
    pub variants: &'a [Variant],
    /// Seeds 0 to one less than this.
    pub seeds: u64,
    /// The folder.
    pub folder: &'a Path,
    /// A file with settings of all methods.
    pub file: Option<&'a Path>,
    /// Flag and text of settings of all methods, which win over the file.
    pub flags: &'a [(String, String)],
    /// Whether each cell has one thread where no setting says how many.
    pub single: bool,
}

/// The file that keeps other processes out of something in a comparison's folder.
pub(super) fn lock(folder: &Path, what: &str) -> PathBuf {
    folder.join(".locks").join(what)
}

/// The file that keeps other processes out of a cell.
pub(super) fn lock_of_cell(folder: &Path, method: &str, seed: u64) -> PathBuf {
    lock(folder, &format!("{method}-seed{seed}"))
}

impl<'a> Comparison<'a> {
    /// All cells, seed by seed, none of which was begun with other settings.
    ///
    /// # Errors
    /// If a setting cannot be used, or is given as a flag where no method reads it; if a cell was begun with others; if the
    /// folder holds anything else.
    pub fn cells(&self) -> Result<Vec<Cell<'a>>, Error> {
        // Read as a whole first, so that a mistake is told once.
        let common = Layers::read(
            self.file,
            self.flags,
            &ComparisonConfig::scope(),
            &super::sections(),
        )?;
        let mut flags = self.flags.to_vec();
        let run = common.values.get(RunSettings::INFO.name);
        if self.single && run.is_none_or(|run| run.get("threads").is_none()) {
            flags.push(("threads".into(), "1".into()));
        }
        let (mut cells, mut errors) = (Vec::new(), Vec::new());
        for seed in 0..self.seeds {
            for variant in self.variants {
                let name = &variant.name;
                let cell = Cell {
                    variant,
                    seed,
                    number: cells.len() + 1,
                    config: variant.config(self.file, &flags, seed)?,
                    lock: lock_of_cell(self.folder, name, seed),
                    folder: self.folder.join(name).join(format!("seed{seed}")),
                };
                errors.extend(cell.same_configuration().err());
                cells.push(cell);
            }
        }
        errors.extend(common.flags.iter().filter_map(|flag| unread(&cells, flag)));
        let stray = |cell: &Cell| cell.config.stray(&common);
        if let Some(first) = cells
            .first()
            .filter(|_| !cells.iter().any(|c| stray(c).is_empty()))
        {
            errors.extend(stray(first).into_iter().map(Error::from));
        }
        Error::all(errors)?;
        RunFolder::for_comparison(self.folder)?;
        Ok(cells)
    }
}

/// The error of a setting of all cells that none of them reads.
fn unread(cells: &[Cell], setting: &Setting) -> Option<Error> {
    let reads = |cell: &Cell| {
        let sections = cell.config.tables();
        let mut names = sections.iter().map(|(section, _)| section.name);
        names.any(|name| name == setting.section)
    };
    let first = cells.first().filter(|_| !cells.iter().any(reads))?;
    Some(Error::Config(ConfigError::Unread {
        flag: setting.flag(),
        reason: first.config.unread(setting),
    }))
}

/// The part of a comparison's cells that one of several processes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let read = parts.and_then(|(number, of)| {
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&number).then_some(Self { number, of })
        });
        read.ok_or_else(|| "I/N is needed, such as 3/8, with I from 1 to N".into())
    }
}

impl Share {
    /// Those of all cells that are in it: every N-th, counted method by method, so that each share has about as many cells
    /// of a method, which take about as long.
    pub fn of<'a, 'b>(self, cells: &'b [Cell<'a>]) -> Vec<&'b Cell<'a>> {
        let methods = cells
            .iter()
            .take_while(|cell| cell.seed == 0)
            .count()
            .max(1);
        let seeds = cells.len() / methods;
        let ours = |(index, _): &(usize, &Cell)| {
            let (seed, method) = (index / methods, index % methods);
            (method * seeds + seed) % self.of == self.number - 1
        };
        let all = cells.iter().enumerate().filter(ours);
        all.map(|(_, cell)| cell).collect()
    }
}

/// The images of cells that are to be done.
pub struct Images(Vec<(DataConfig, Dataset)>);

impl Images {
    /// Reads the images of cells, `jobs` of which are to be done at a time, while `watch` watches, and looks at everything that
    /// these will need.
    ///
    /// # Errors
    /// All that keeps them from being done.
    pub fn of(cells: &[&Cell], jobs: usize, watch: &dyn Watch) -> Result<Self, Error> {
        let mut all = Self(Vec::new());
        let mut told: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for cell in cells {
            let data = &cell.config.study.search.data;
            if all.find(data).is_none() {
                all.0
                    .push((data.clone(), Dataset::load_watched(data, watch)?));
            }
            for error in cell.obstacles(all.for_cell(cell)) {
                // The same of several methods and seeds is told once.
                let text = error.to_string();
                if !told.contains(&text) {
                    told.push(text);
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() && jobs > 1 {
            errors.extend(all.too_many(cells, jobs));
        }
        Error::all(errors)?;
        Ok(all)
    }

    fn find(&self, data: &DataConfig) -> Option<&Dataset> {
        let found = self.0.iter().find(|(known, _)| known == data);
        found.map(|(_, dataset)| dataset)
    }

    /// The images of a cell, which were read.
    pub(super) fn for_cell(&self, cell: &Cell) -> &Dataset {
        let Some(dataset) = self.find(&cell.config.study.search.data) else {
            unreachable!("all data sets of cells to come were read");
        };
        dataset
    }

    /// The error of cells that need more memory than there is when so many are done at a time.
    fn too_many(&self, cells: &[&Cell], jobs: usize) -> Option<Error> {
        let have = memory::total()?;
        let mut of: Vec<(&str, u64)> = Vec::new();
        let mut needs = Vec::new();
        for cell in cells {
            let name = cell.variant.name.as_str();
            let known = of.iter().find(|(method, _)| *method == name);
            let need = known.map(|(_, need)| *need).unwrap_or_else(|| {
                let dataset = self.for_cell(cell);
                // All cells share the images.
                let own = cell.memory(dataset);
                let need = own.saturating_sub(dataset.size().bytes as u64);
                of.push((name, need));
                need
            });
            needs.push(need);
        }
        let images: usize = self.0.iter().map(|(_, d)| d.size().bytes).sum();
        needs.sort_unstable_by(|a, b| b.cmp(a));
        let at_once = |jobs: usize| images as u64 + needs.iter().take(jobs).sum::<u64>();
        let most = (1..jobs).rev().find(|jobs| at_once(*jobs) <= have);
        let jobs = jobs.min(needs.len());
        (at_once(jobs) > have).then(|| Error::Memory {
            what: format!("doing {jobs} cells at a time"),
            need: memory::told(at_once(jobs)),
            have: memory::told(have),
            advice: format!("lower --jobs to {}", most.unwrap_or(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_one_share_and_no_share_has_one_method_alone() {
        let methods = ["lease", "darts"].map(String::from);
        let variants = Variant::parse_all(&methods).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let comparison = Comparison {
            variants: &variants,
            seeds: 6,
            folder: folder.path(),
            file: None,
            flags: &[],
            single: true,
        };
        let cells = comparison.cells().unwrap();
        for of in [1, 2, 4, 20] {
            let mut numbers = Vec::new();
            for number in 1..=of {
                let share = Share { number, of }.of(&cells);
                let darts = share.iter().filter(|c| c.variant.name == "darts").count();
                assert!(darts.abs_diff(share.len() - darts) <= 1);
                numbers.extend(share.iter().map(|c| c.number));
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
        }
        assert_eq!("3/8".parse(), Ok(Share { number: 3, of: 8 }));
        for text in ["", "3", "0/8", "9/8", "1/0", "a/b", "-1/2"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
