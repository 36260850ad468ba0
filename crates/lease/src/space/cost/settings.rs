//! The settings of a budget.

use super::Bounds;
use crate::config::{Rule, section};
use crate::network::StemChoice;
use crate::space::DerivedShape;

section! {
    /// What the network that is found may cost, and must have.
    BudgetSettings, "budget", "" {
        /// Parameters at most, without an auxiliary head's; 0 means any number.
        max_parameters: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Multiply-adds for one image at most; 0 means any number.
        max_flops: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Milliseconds for one image at most, as the CPU's kernels take them on this machine; 0 means any time.
        max_latency_ms: f64 = 0.0 => Rule::NOT_NEGATIVE;
        /// Convolutions on the edges of the (normal) cell at least, whatever kind they are; 0 means any number.
        min_convolutions: usize = 0 => Rule::whole(0, 1_000);
        /// Weight of what the mixture is expected to cost beyond a bound, as a share of the bound, in the architecture's loss; 0 leaves the bounds to the derivation.
        budget_strength: f64 = 1.0 => Rule::NOT_NEGATIVE;
        /// Channels of the first cells of the network that the bounds are for; by default those that it is trained with.
        budget_channels: usize = 36 => Rule::whole(1, 4_096);
        /// Cells of that network; by default those that it is trained with.
        budget_cells: usize = 20 => Rule::whole(1, 256);
        /// File with the latencies of the operations, by lease bench --latency FILE; without one they are measured at the start of the search, and kept in its run folder.
        latency_table: String = String::new() => Rule::PATH;
    }
}

/// A bound as a whole number; none where it is 0.
fn bound(value: f64) -> Option<u64> {
    (value > 0.0).then_some(value as u64)
}

impl BudgetSettings {
    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            costs: [
                bound(self.max_parameters),
                bound(self.max_flops),
                bound(self.max_latency_ms * 1e6),
            ],
            convolutions: self.min_convolutions,
        }
    }

    /// Whether what is found depends on the setting of this key.
    pub fn reads(&self, key: &str) -> bool {
        match key {
            "budget_strength" | "budget_channels" | "budget_cells" => self.bounds().on_costs(),
            "latency_table" => self.bounds().times(),
            _ => true,
        }
    }

    /// The network that they are for, of so many classes and images of `image` (channels, height, width).
    pub fn shape(
        &self,
        classes: usize,
        image: [usize; 3],
        (stem, edge_skips): (StemChoice, bool),
    ) -> DerivedShape {
        DerivedShape {
            channels: self.budget_channels,
            cells: self.budget_cells,
            classes,
            image,
            auxiliary: None,
            edge_skips,
            stem: stem.for_images(image),
        }
    }
}
