//! Texts: genotypes, configurations, tables.

use std::path::Path;
use std::sync::OnceLock;

use lease::config::{Composite, ConfigError, Layers, SectionInfo};
use lease::network::Stem;
use lease::search::{self, SearchConfig};
use lease::space::darts::DartsGenotype;
use lease::space::{DerivedShape, Genotype, GenotypeError, Truths};
use lease::study::{ComparisonConfig, StudyConfig};
use lease::training::{self, TrainConfig};
use toml::Table;

use super::{Outcome, told};

/// A text with genotypes, whatever stands around them; of several each by its name.
pub fn genotype(bytes: &[u8]) -> Outcome {
    match Genotype::from_bytes(bytes, None) {
        Ok(read) => {
            whole(&read.value);
            Ok(())
        }
        Err(GenotypeError::Several { names }) => {
            for name in names.iter().take(4) {
                if let Ok(read) = Genotype::from_bytes(bytes, Some(name)) {
                    whole(&read.value);
                }
            }
            let absent = Genotype::from_bytes(bytes, Some("no name")).map(|_| ());
            absent.map_err(told)
        }
        Err(error) => Err(told(error)),
    }
}

/// No more nodes are made into a network, for the sake of time.
const MOST_NODES: usize = 6;

/// What must be true of every genotype that was read.
fn whole(genotype: &Genotype) {
    for text in [genotype.to_string(), genotype.to_json()] {
        let again = Genotype::parse(&text).expect("what was written is read");
        assert!(again == *genotype, "{text}");
    }
    assert!((0.0..=1.0).contains(&genotype.parameter_free_share()));
    if let Err(error) = genotype.check_paths() {
        assert!(error.to_string().contains("no path"), "{error}");
    }
    if let Some(darts) = genotype.downcast::<DartsGenotype>() {
        let nodes = darts.normal.nodes.len().max(darts.reduce.nodes.len());
        if nodes > MOST_NODES {
            return;
        }
    }
    let shape = DerivedShape {
        channels: 2,
        cells: 2,
        classes: 2,
        image: [1, 8, 8],
        auxiliary: None,
        edge_skips: false,
        stem: Stem::Cifar,
    };
    let network = genotype.network(&shape).expect("a genotype can be built");
    assert!(network.parameters() > 0 && network.bytes(1, shape.image) > 0);
}

/// A configuration, as of a comparison, a run with its training, a search and a training.
pub fn config(bytes: &[u8]) -> Outcome {
    let text = std::str::from_utf8(bytes).map_err(told)?;
    let others = ComparisonConfig::scope();
    let of_search = |layers: &Layers| search::presets(layers);
    let compared = configured::<ComparisonConfig>(text, &[], of_search);
    for refused in [
        configured::<StudyConfig>(text, &others, of_search).err(),
        configured::<SearchConfig>(text, &others, of_search).err(),
        configured::<TrainConfig>(text, &others, |layers| {
            training::presets(a_genotype(), None, &[&layers.values])
        })
        .err(),
    ] {
        assert!(refused.is_none_or(|error| !error.is_empty()));
    }
    compared
}

/// Reads a configuration, and what is written of it again.
fn configured<C: Composite>(
    text: &str,
    others: &[&'static SectionInfo],
    presets: impl Fn(&Layers) -> Result<Vec<Table>, ConfigError>,
) -> Outcome {
    let layers = Layers::parse(text, "lease.toml", &C::scope(), others).map_err(told)?;
    let config = C::resolve(&presets(&layers).map_err(told)?, &layers).map_err(told)?;
    let again = C::parse(&config.to_toml(), "config.toml", &[]).expect("what was written is read");
    assert!(again.table() == config.table(), "{}", config.to_toml());
    assert!(again.identity() == config.identity());
    Ok(())
}

/// A genotype whose space has a recipe.
fn a_genotype() -> &'static Genotype {
    static GENOTYPE: OnceLock<Genotype> = OnceLock::new();
    GENOTYPE.get_or_init(|| {
        let text = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|";
        Genotype::parse(text).expect("a genotype")
    })
}

/// A table of NAS-Bench-201, packed or not.
pub fn table(bytes: &[u8]) -> Outcome {
    let table = Truths::from_bytes(bytes, Path::new("table.csv.gz")).map_err(told)?;
    let standing = table.standing_of(a_genotype()).expect("of its space");
    assert!((1..=15_625).contains(&standing.rank));
    Ok(())
}
