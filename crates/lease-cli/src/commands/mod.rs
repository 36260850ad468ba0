//! The subcommands.

pub mod bench;
pub mod compare;
pub mod data;
pub mod devices;
pub mod export;
pub mod genotype;
pub mod predict;
pub mod report;
pub mod run;
pub mod search;
pub mod show;
pub mod source;
pub mod table;
pub mod test;
pub mod train;
pub mod verify;
