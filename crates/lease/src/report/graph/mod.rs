//! Cells as graphs: where states and edges go, and how they are drawn as SVG and in characters.

mod layout;
mod svg;
pub mod text;

pub use svg::{Drawing, Edge};

/// The name of an operation as people say it: `sep_conv_3x3` is `sep 3×3`.
pub fn spoken(operation: &str) -> String {
    let known = match operation {
        "none" => "none",
        "skip_connect" => "skip",
        "max_pool_3x3" => "max 3×3",
        "avg_pool_3x3" => "avg 3×3",
        "sep_conv_3x3" => "sep 3×3",
        "sep_conv_5x5" => "sep 5×5",
        "dil_conv_3x3" => "dil 3×3",
        "dil_conv_5x5" => "dil 5×5",
        "nor_conv_1x1" => "conv 1×1",
        "nor_conv_3x3" => "conv 3×3",
        other => return other.replace('_', " "),
    };
    known.into()
}

/// The class of an operation's colour: its name, made fit for a style sheet.
pub fn class(operation: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("op-{}", operation.chars().map(fit).collect::<String>())
}

/// The strongest candidate of a mixture's row but `none`, and the next; where there is only one, no next.
pub fn strongest<'a>(row: &[f64], operations: &'a [&'a str]) -> Vec<(&'a str, f64)> {
    let all = operations.iter().copied().zip(row.iter().copied());
    let mut all: Vec<(&str, f64)> = all
        .filter(|(name, weight)| *name != "none" && *weight > 0.0)
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(2);
    all
}
