//! What is no genotype.

use super::reading::text::{MOST_BYTES, listed};

/// A text or value that is no genotype.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenotypeError {
    /// The bytes are no text.
    #[error("the genotype cannot be read: {reason}; save the text as UTF-8")]
    Encoding {
        /// What is wrong.
        reason: String,
    },
    /// The text is too long to look through.
    #[error(
        "the text is longer than {} MiB, which is looked through for genotypes; give the part with the genotype",
        MOST_BYTES >> 20
    )]
    TooLong,
    /// The text has nothing that looks like a genotype.
    #[error(
        "there is no genotype in the text, which {found}; it was looked through for \
         Genotype(normal=[('sep_conv_3x3', 0), …], …) and for JSON with normal and reduce, of the DARTS space, and \
         for |nor_conv_3x3~0|+|…|+|…|, of NAS-Bench-201"
    )]
    NoGenotype {
        /// What is in it instead.
        found: String,
    },
    /// The text has genotypes of two spaces.
    #[error("the text has genotypes of two spaces; give the one that is meant")]
    TwoSpaces,
    /// The text has different genotypes with names.
    #[error(
        "there are different genotypes in the text, {}; say which one by its name behind the file's, FILE:{}",
        listed(.names),
        .names.last().map_or("NAME", |n| n)
    )]
    Several {
        /// The names.
        names: Vec<String>,
    },
    /// The text has no genotype of the name.
    #[error(
        "there is no genotype {name} in the text; {}",
        known(.names)
    )]
    NoSuchName {
        /// The name.
        name: String,
        /// The names that are in the text.
        names: Vec<String>,
    },
    /// The text is in DARTS's notation or JSON, but not rightly so.
    #[error("the genotype cannot be read: {0}")]
    Notation(#[from] NotationError),
    /// The cells make no sense.
    #[error("the genotype's {cell} cell cannot be built: {reason}")]
    Cell {
        /// `normal` or `reduce`.
        cell: &'static str,
        /// Why.
        reason: String,
    },
    /// A cell whose output does not depend on its inputs.
    #[error(
        "no path leads through the genotype's {cell}: on each way from its inputs to its output there is a `none`, \
         so a network of it tells nothing about an image"
    )]
    NoPath {
        /// Which cell.
        cell: &'static str,
    },
    /// The text is not in NAS-Bench-201's notation.
    #[error(
        "the genotype is no cell of NAS-Bench-201: {reason}; \
         one looks like |nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    )]
    NasBench201 {
        /// What is wrong.
        reason: String,
    },
    /// No architecture keeps to the bounds.
    #[error(
        "no architecture of the space meets the budget: {reason}; loosen the bound, or, if it is one on costs, make the network smaller by --train-channels, --train-cells, --budget-channels or --budget-cells"
    )]
    Budget {
        /// What the cheapest cost.
        reason: String,
    },
    /// Coefficients from which nothing can be derived.
    #[error("no cell can be derived from these coefficients: {0}")]
    Coefficients(String),
}

/// A place in the text, and what is wrong there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct NotationError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "no genotype in it has a name".into()
    } else {
        format!("it has {}", listed(names))
    }
}
