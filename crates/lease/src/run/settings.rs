//! What every run needs to know, and its result mostly does not depend on.

use crate::config::{Rule, section};

section! {
    /// The run.
    RunSettings, "run", "" {
        /// Seed of everything random.
        seed: u64 = 0;
        /// Device, as `lease devices` lists them: cpu, or in builds that have them gpu, vulkan and cuda, with a number as in gpu:1.
        device: String = "cpu".into() => Rule::FREE;
        /// Threads; 0 means one for each core.
        threads: usize = 0 => Rule::whole(0, 1_024).free();
        /// Seconds between checkpoints; one is also written after each epoch.
        checkpoint_seconds: f64 = 60.0 => Rule::NOT_NEGATIVE.free();
        /// Write report.html at the end, and examples of explanations after each epoch of a search.
        report: bool = true => Rule::FREE;
        /// Write event files for TensorBoard beside metrics.jsonl.
        tensorboard: bool = false => Rule::FREE;
    }
}
