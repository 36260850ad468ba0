//! What is no genotype.

/// A text or value that is no genotype.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenotypeError {
    /// The text is no JSON of a genotype.
    #[error("the genotype is no valid JSON: {0}")]
    Json(String),
    /// The text is not in DARTS's notation.
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
    /// The text is not in NAS-Bench-201's notation.
    #[error(
        "the genotype is no cell of NAS-Bench-201: {reason}; \
         one looks like |nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    )]
    NasBench201 {
        /// What is wrong.
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
    /// What was expected.
    pub reason: String,
}
