//! `lease table`: what NAS-Bench-201 knows of a cell.

use std::path::PathBuf;

use lease::Error;
use lease::space::Truths;
use lease::space::nas_bench_201::{Brief, Cell};

use super::source::Source;
use crate::Ended;
use crate::terminal;

/// Tell the true accuracies and costs of a cell of NAS-Bench-201, and where it stands among all.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, a file (FILE:NAME for one of several), or the cell itself
    #[arg(value_name = "RUN|CELL")]
    source: String,
    /// CSV file, gz or not, with accuracies instead of the benchmark's, which come along
    #[arg(long, value_name = "FILE")]
    nb201_table: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let genotype = Source::of(&arguments.source)?.genotype()?;
    let truths = match &arguments.nb201_table {
        Some(path) => Truths::read(path)?,
        None => Truths::embedded()?,
    };
    let Some(standing) = truths.standing_of(&genotype) else {
        return Err(Error::Usage(format!(
            "{genotype} is no cell of NAS-Bench-201, and the table has no other"
        )));
    };
    // An own table has no short trainings beside it.
    let cell = genotype.downcast::<Cell>();
    let brief = cell.filter(|_| !truths.is_own()).and_then(Brief::of);
    if arguments.json {
        let mut all = serde_json::to_value(standing).unwrap_or_default();
        all["genotype"] = genotype.to_string().into();
        if let Some(brief) = brief {
            all["after_12_epochs"] = serde_json::to_value(brief).unwrap_or_default();
        }
        terminal::result(all);
        return Ok(Ended::Well);
    }
    let t = &standing.truth;
    terminal::result(&genotype);
    terminal::result(format_args!(
        "{:16} {:>12} {:>9} {:>7} {:>15}",
        "after 200 epochs", "validation %", "test %", "rank", "below the best"
    ));
    let valid = [t.cifar10_valid, t.cifar100_valid, t.in16_valid];
    for (on, valid) in standing.on_sets().into_iter().zip(valid) {
        let (name, test, rank, regret) = (on.name, on.test, on.rank, on.regret);
        terminal::result(format_args!(
            "{name:16} {valid:>12.2} {test:>9.2} {rank:>7} {regret:>15.2}"
        ));
    }
    if let Some(brief) = brief {
        terminal::result("after 12 epochs");
        for (name, valid, test) in [
            ("CIFAR-10", brief.cifar10_valid, brief.cifar10_test),
            ("CIFAR-100", brief.cifar100_valid, brief.cifar100_test),
            ("ImageNet16-120", brief.in16_valid, brief.in16_test),
        ] {
            terminal::result(format_args!("{name:16} {valid:>12.2} {test:>9.2}"));
        }
    }
    terminal::result(format_args!(
        "Ranks are of {} architectures. {} parameters, {} multiply-adds on CIFAR-10.",
        Cell::COUNT,
        t.params,
        t.flops
    ));
    Ok(Ended::Well)
}
