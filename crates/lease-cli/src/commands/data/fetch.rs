//! `lease data fetch`: CIFAR from its official address.

use std::path::PathBuf;

use clap::ValueEnum;
use lease::Error;
use lease::data::fetch::{self, Archive, Fetch, Fetched, Observer};

use crate::Ended;
use crate::terminal::counter::Counter;
use crate::terminal::{self, Level, quoted, signals};

/// Fetch a data set from its official address, hold it against its SHA-256 and unpack it. An interrupted command is gone on
/// with by the same command.
///
/// HTTPS_PROXY, ALL_PROXY and NO_PROXY are respected, and SSL_CERT_FILE where a network has certificates of its own.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data set, in the binary version
    #[arg(value_enum, value_name = "DATASET")]
    dataset: Set,
    /// Where its folder goes, which is what --path takes [default: lease/ in the user's folder for caches, such as ~/.cache]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Another address of the same archive, such as a mirror's
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Keep the archive beside the folder
    #[arg(long)]
    keep_archive: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Set {
    Cifar10,
    Cifar100,
}

impl Set {
    fn archive(self) -> Archive {
        match self {
            Self::Cifar10 => Archive::cifar_10(),
            Self::Cifar100 => Archive::cifar_100(),
        }
    }
}

struct Shown(Counter);

impl Observer for Shown {
    fn reached(&mut self, done: u64, _: u64) {
        self.0.reach(done);
    }

    fn note(&mut self, message: &str) {
        self.0.note(message);
    }
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let archive = arguments.dataset.archive();
    let Some(into) = arguments.out.or_else(fetch::default_folder) else {
        return Err(Error::Usage(
            "this user has no folder for caches; name one by --out".into(),
        ));
    };
    let stop = signals::stop_flag_saying("Stopping; the same command goes on.");
    let how = Fetch {
        url: arguments.url,
        keep: arguments.keep_archive,
        ..Fetch::default()
    };
    let mut shown = Shown(Counter::of_bytes(archive.bytes));
    let fetched = how.run(&archive, &into, &mut shown, &stop);
    shown.0.end();
    let folder = match fetched? {
        Fetched::Stopped => {
            let told = "Stopped. The same command goes on.";
            terminal::say(Level::Info, told);
            return Ok(Ended::Stopped);
        }
        Fetched::AlreadyThere(folder) => {
            terminal::say(Level::Info, "It is there already.");
            folder
        }
        Fetched::There(folder) => folder,
    };
    terminal::result(folder.display());
    terminal::say(
        Level::Info,
        format_args!(
            "Search on it: lease run --dataset {} --path {}",
            archive.name,
            quoted(&folder)
        ),
    );
    Ok(Ended::Well)
}
