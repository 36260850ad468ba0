//! `lease genotype`: read a genotype and print it in the other form.

use std::path::Path;

use lease::Error;
use lease::space::Genotype;

use super::train::read_genotype;
use crate::Ended;

/// Check a genotype and print it, in DARTS's notation or as JSON.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run folder, a file, or the genotype itself
    #[arg(value_name = "RUN|GENOTYPE")]
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let path = Path::new(&arguments.source);
    let genotype = if path.is_dir() {
        read_genotype(&path.join("genotype.json"))?
    } else if path.is_file() {
        read_genotype(path)?
    } else {
        Genotype::parse(&arguments.source)?
    };
    if arguments.json {
        print!("{}", genotype.to_json());
    } else {
        println!("{genotype}");
    }
    Ok(Ended::Well)
}
