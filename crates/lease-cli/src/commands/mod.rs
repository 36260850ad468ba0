//! The subcommands.

pub mod bench;
pub mod genotype;
pub mod run;
pub mod search;
pub mod train;
pub mod verify;
