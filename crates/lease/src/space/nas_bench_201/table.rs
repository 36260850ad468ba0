//! The true accuracies of all architectures of NAS-Bench-201: those that come with the program, or from a CSV file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use crate::space::Genotype;

/// What the benchmark's authors measured of one architecture: mean accuracies in percent over their trainings
/// of 200 epochs, and costs on CIFAR-10.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// On the validation half of CIFAR-10's training images.
    pub cifar10_valid: f64,
    /// On the test images of CIFAR-10.
    pub cifar10_test: f64,
    /// On CIFAR-100's validation half of the test images.
    pub cifar100_valid: f64,
    /// On CIFAR-100's other half.
    pub cifar100_test: f64,
    /// On the validation images of ImageNet16-120.
    pub in16_valid: f64,
    /// On its test images.
    pub in16_test: f64,
    /// Parameters.
    pub params: u64,
    /// Multiplications and additions for one image.
    pub flops: u64,
}

impl Truth {
    /// The test accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120.
    pub fn tests(&self) -> [f64; 3] {
        [self.cifar10_test, self.cifar100_test, self.in16_test]
    }

    fn accuracies(&self) -> [f64; 6] {
        [
            self.cifar10_valid,
            self.cifar10_test,
            self.cifar100_valid,
            self.cifar100_test,
            self.in16_valid,
            self.in16_test,
        ]
    }
}

/// Where an architecture stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// What it reaches.
    #[serde(flatten)]
    pub truth: Truth,
    /// 1 + how many architectures have a higher accuracy on CIFAR-10's test images.
    pub rank: usize,
    /// The same on CIFAR-100's.
    #[serde(default)]
    pub cifar100_rank: usize,
    /// The same on ImageNet16-120's.
    #[serde(default)]
    pub in16_rank: usize,
    /// Points below the highest accuracy on CIFAR-10's test images.
    #[serde(default)]
    pub regret: f64,
    /// The same on CIFAR-100's.
    #[serde(default)]
    pub cifar100_regret: f64,
    /// The same on ImageNet16-120's.
    #[serde(default)]
    pub in16_regret: f64,
}

impl Standing {
    /// The data sets, in the order of [`Standing::on_sets`].
    pub const SETS: [&str; 3] = ["CIFAR-10", "CIFAR-100", "ImageNet16-120"];

    /// On each of them, in order.
    pub fn on_sets(&self) -> [OnSet; 3] {
        let ranks = [self.rank, self.cifar100_rank, self.in16_rank];
        let regrets = [self.regret, self.cifar100_regret, self.in16_regret];
        let tests = self.truth.tests();
        std::array::from_fn(|i| OnSet {
            name: Self::SETS[i],
            test: tests[i],
            rank: ranks[i],
            regret: regrets[i],
        })
    }
}

/// Where an architecture stands on one data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnSet {
    /// The data set's name.
    pub name: &'static str,
    /// The accuracy on its test images, percent.
    pub test: f64,
    /// 1 + how many architectures have a higher one.
    pub rank: usize,
    /// Points below the highest.
    pub regret: f64,
}

/// The whole table.
#[derive(Clone, Debug)]
pub struct Table {
    /// By [`Cell::index`].
    truths: Vec<Truth>,
    /// Test accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120, from the lowest.
    sorted: [Vec<f64>; 3],
    own: bool,
}

/// The benchmark's table (see `data/README.md` for source and licence).
const EMBEDDED: &[u8] = include_bytes!("../../../data/nas_bench_201.csv.gz");

/// A file that is no such table.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path} is no table of NAS-Bench-201: {reason}")]
pub struct TableError {
    path: PathBuf,
    reason: String,
}

/// One line.
#[derive(Deserialize)]
struct Line {
    arch: String,
    #[serde(flatten)]
    truth: Truth,
}

/// The columns that a table must have.
const COLUMNS: [&str; 9] = [
    "arch",
    "cifar10_valid",
    "cifar10_test",
    "cifar100_valid",
    "cifar100_test",
    "in16_valid",
    "in16_test",
    "params",
    "flops",
];

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// No table has more MiB, packed or unpacked; that of the benchmark has 3.
const MOST_MIB: u64 = 8;

/// No table has more columns.
const MOST_COLUMNS: usize = 1000;

/// The bytes that a reader gives, if they are not more than a table has.
fn bounded(from: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let most = MOST_MIB << 20;
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

impl Table {
    /// The table that comes with the program.
    ///
    /// # Errors
    /// If it is not what it was made as.
    pub fn embedded() -> Result<Self, TableError> {
        // Comparisons ask for it in every cell.
        static TABLE: LazyLock<Result<Table, TableError>> = LazyLock::new(|| {
            let table = Table::from_bytes(EMBEDDED, Path::new("the embedded table"))?;
            Ok(Table {
                own: false,
                ..table
            })
        });
        TABLE.clone()
    }

    /// Whether it is a file of the user's.
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Reads a table, CSV or CSV in gzip, with a line for each of the [`Cell::COUNT`] architectures.
    ///
    /// # Errors
    /// If the file cannot be read, and as [`Table::from_bytes`].
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let wrong = |reason: String| TableError {
            path: path.into(),
            reason,
        };
        match File::open(path).and_then(bounded) {
            Ok(Some(bytes)) => Self::from_bytes(&bytes, path),
            Ok(None) => Err(wrong(format!(
                "it is longer than the {MOST_MIB} MiB that a table has at most"
            ))),
            Err(e) => Err(wrong(format!("it cannot be read ({e})"))),
        }
    }

    /// The table that these bytes of a file are.
    ///
    /// # Errors
    /// If it unpacks to more than a table has, a column is missing, a line is no architecture or has a value that is
    /// no number, an architecture is missing or there twice, or the accuracies are fractions.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, TableError> {
        let wrong = |reason: String| TableError {
            path: path.into(),
            reason,
        };
        let unpacked = if bytes.starts_with(&GZIP) {
            let inside = bounded(MultiGzDecoder::new(bytes))
                .map_err(|e| wrong(format!("it cannot be unpacked ({e})")))?;
            let too_long =
                || format!("it unpacks to more than the {MOST_MIB} MiB that a table has at most");
            Some(inside.ok_or_else(|| wrong(too_long()))?)
        } else {
            None
        };
        let text = unpacked.as_deref().unwrap_or(bytes);
        let mut reader = csv::Reader::from_reader(text);
        let headers = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
        if headers.len() > MOST_COLUMNS {
            let n = headers.len();
            return Err(wrong(format!(
                "it has {n} columns, and no table has more than {MOST_COLUMNS}"
            )));
        }
        let missing = COLUMNS.iter().filter(|c| !headers.iter().any(|h| h == **c));
        let missing: Vec<&str> = missing.copied().collect();
        if !missing.is_empty() {
            return Err(wrong(format!(
                "it has no column {}; make one with scripts/export_nb201.py",
                missing.join(", ")
            )));
        }
        let mut found: Vec<Option<Truth>> = vec![None; Cell::COUNT];
        for (i, line) in reader.deserialize().enumerate() {
            // The header is line 1.
            let number = i + 2;
            let line: Line = line.map_err(|e| wrong(e.to_string()))?;
            let cell = Cell::parse(&line.arch).map_err(|e| wrong(format!("line {number}: {e}")))?;
            if line
                .truth
                .accuracies()
                .iter()
                .any(|a| !(0.0..=100.0).contains(a))
            {
                return Err(wrong(format!(
                    "line {number} has an accuracy that is not between 0 and 100"
                )));
            }
            if found[cell.index()].replace(line.truth).is_some() {
                return Err(wrong(format!("line {number}: {cell} is there twice")));
            }
        }
        let absent = found.iter().filter(|t| t.is_none()).count();
        if absent > 0 {
            return Err(wrong(format!(
                "{absent} of the {} architectures are missing",
                Cell::COUNT
            )));
        }
        let truths: Vec<Truth> = found.into_iter().flatten().collect();
        let mut accuracies = truths.iter().flat_map(Truth::accuracies);
        if accuracies.all(|a| a <= 1.0) {
            return Err(wrong(
                "none of its accuracies is above 1, so they are fractions; percent are needed: multiply them by 100"
                    .into(),
            ));
        }
        let sorted = [0, 1, 2].map(|set| {
            let mut all: Vec<f64> = truths.iter().map(|t| t.tests()[set]).collect();
            all.sort_by(f64::total_cmp);
            all
        });
        Ok(Self {
            truths,
            sorted,
            own: true,
        })
    }

    /// Where a genotype stands; none if it is of another space.
    pub fn standing_of(&self, genotype: &Genotype) -> Option<Standing> {
        genotype.downcast::<Cell>().map(|cell| self.standing(cell))
    }

    /// Where a cell stands.
    pub fn standing(&self, cell: &Cell) -> Standing {
        let truth = self.truths[cell.index()];
        let tests = truth.tests();
        let [first, second, third] = [0, 1, 2].map(|set| {
            let sorted = &self.sorted[set];
            let not_better = sorted.partition_point(|a| *a <= tests[set]);
            let best = sorted.last().copied().unwrap_or(tests[set]);
            (1 + sorted.len() - not_better, best - tests[set])
        });
        Standing {
            truth,
            rank: first.0,
            cifar100_rank: second.0,
            in16_rank: third.0,
            regret: first.1,
            cifar100_regret: second.1,
            in16_regret: third.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A table in which an architecture's accuracy grows with its number.
    fn text() -> String {
        let mut lines = vec![COLUMNS.join(",")];
        for index in 0..Cell::COUNT {
            let accuracy = 100.0 * index as f64 / Cell::COUNT as f64;
            let cell = Cell::numbered(index);
            lines.push(format!("{cell},{accuracy},{accuracy},1,2,3,4,{index},9"));
        }
        lines.join("\n")
    }

    fn read(text: &[u8]) -> Result<Table, TableError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Table::read(file.path())
    }

    /// The best test accuracies, and those of the cell that is all skip-connects, as published.
    #[test]
    fn the_embedded_table_is_the_benchmarks() {
        let table = Table::embedded().unwrap();
        assert!(!table.is_own());
        let all = (0..Cell::COUNT).map(|index| table.standing(&Cell::numbered(index)));
        let best = all
            .filter(|s| s.rank == 1)
            .map(|s| (s.truth.tests()[0], s.regret));
        assert_eq!(
            best.collect::<Vec<_>>(),
            [(94.3733, 0.0); 2],
            "two are the best"
        );
        let rounded = |tests: [f64; 3]| tests.map(|t| (100.0 * t).round() / 100.0);
        let tops = table.sorted.each_ref().map(|s| *s.last().unwrap());
        assert_eq!(rounded(tops), [94.37, 73.51, 47.31]);
        let skips = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+\
            |skip_connect~0|skip_connect~1|skip_connect~2|";
        let standing = table.standing(&Cell::parse(skips).unwrap());
        assert_eq!(rounded(standing.truth.tests()), [54.3, 15.61, 16.32]);
        assert!((standing.cifar100_regret - (tops[1] - standing.truth.cifar100_test)).abs() < 1e-9);
        assert!(standing.cifar100_rank > 14_000 && standing.in16_rank > 14_000);
    }

    #[test]
    fn a_table_says_what_a_cell_reaches_and_its_rank() {
        let text = text();
        let table = read(text.as_bytes()).unwrap();
        let best = table.standing(&Cell::numbered(Cell::COUNT - 1));
        assert_eq!((best.rank, best.truth.params), (1, Cell::COUNT as u64 - 1));
        assert_eq!(table.standing(&Cell::numbered(0)).rank, Cell::COUNT);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = read(&packed.finish().unwrap()).unwrap();
        assert_eq!(packed.truths, table.truths);
    }

    #[test]
    fn tables_with_something_missing_are_refused() {
        let whole = text();
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(
            refused(&whole.replacen("cifar10_test", "top1", 1)).contains("no column cifar10_test")
        );
        let (without_last, last) = whole.rsplit_once('\n').unwrap();
        assert!(refused(without_last).contains("1 of the 15625 architectures are missing"));
        assert!(refused(&format!("{whole}\n{last}")).contains("is there twice"));
        let unknown = whole.replacen("|none~0|+", "|sep_conv~0|+", 1);
        assert!(
            refused(&unknown).contains("line 2"),
            "{}",
            refused(&unknown)
        );
        assert!(refused(&whole.replacen(",9\n", ",many\n", 1)).contains("many"));
        assert!(refused("").contains("no column"));
    }

    #[test]
    fn fractions_are_not_taken_for_percent() {
        let fraction = |column: &str| match column.parse::<f64>() {
            Ok(percent) => (percent / 100.0).to_string(),
            Err(_) => column.to_string(),
        };
        let lines: Vec<String> = text()
            .lines()
            .map(|line| {
                let columns: Vec<&str> = line.split(',').collect();
                let accuracies: Vec<String> = columns[..7].iter().map(|c| fraction(c)).collect();
                format!("{},{}", accuracies.join(","), columns[7..].join(","))
            })
            .collect();
        let error = read(lines.join("\n").as_bytes()).unwrap_err().to_string();
        assert!(error.contains("fractions; percent are needed"), "{error}");
    }

    #[test]
    fn columns_without_end_are_refused_before_any_line_is_read() {
        let more = ",x".repeat(MOST_COLUMNS);
        let text = text().replace("flops", &format!("flops{more}"));
        let error = read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("it has 1009 columns"), "{error}");
    }

    #[test]
    fn what_unpacks_to_more_than_a_table_is_refused() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let part = vec![b' '; 1 << 20];
        for _ in 0..=MOST_MIB {
            packed.write_all(&part).unwrap();
        }
        let bomb = packed.finish().unwrap();
        assert!(bomb.len() < 1 << 16, "{}", bomb.len());
        let error = read(&bomb).unwrap_err().to_string();
        assert!(error.contains("unpacks to more than the 8 MiB"), "{error}");
        let long = vec![b' '; (MOST_MIB << 20) as usize + 1];
        let error = read(&long).unwrap_err().to_string();
        assert!(error.contains("longer than the 8 MiB"), "{error}");
    }
}
