//! The explainer's settings that all spaces share.

use crate::config::{Rule, section};

section! {
    /// The explainer's supernet.
    ExplainerSettings, "explainer", "" {
        /// Search space: that of DARTS, the same by PC-DARTS's supernet or in P-DARTS's stages, that of NAS-Bench-201, or one of the subsets S1 to S3 of DARTS's space on which it fails.
        space: String = "darts".into(), from super::names;
        /// Channels of the first cells; doubled at each reduction.
        channels: usize = 16 => Rule::whole(1, 4_096);
        /// Cells; those at 1/3 and 2/3 of the depth reduce the resolution. In nas-bench-201 the cells of each of its three stages.
        cells: usize = 8 => Rule::whole(1, 256);
    }
}
