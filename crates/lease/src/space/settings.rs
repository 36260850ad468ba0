//! The explainer's settings that all spaces share.

use crate::config::{Rule, section};

section! {
    /// The explainer's supernet.
    ExplainerSettings, "explainer", "" {
        /// Search space; the guide says what each is.
        space: String = "darts".into(), from super::names;
        /// Channels of the first cells; doubled at each reduction.
        channels: usize = 16 => Rule::whole(1, 4_096);
        /// Cells; those at 1/3 and 2/3 of the depth reduce the resolution. Where a space's networks have stages of equal cells, the cells of each.
        cells: usize = 8 => Rule::whole(1, 256);
        /// One channel in so many passes the mixed operations, and edges have strengths of their own (PC-DARTS: 4); 1 means that all do. The number of channels must be divisible by it.
        partial: usize = 1 => Rule::whole(1, 4_096);
    }
}
