//! Networks on a GPU: graphs of `lease_kernels`, run by kernels written in CubeCL on all devices that Burn reaches by it.
//!
//! What the CPU's kernels do image by image in a cache, these do stage by stage: all nodes at the same distance from the input
//! are computed by one launch of each kernel, from a table that says where each finds what it reads. So a pass over a supernet of
//! thousands of operations is some hundred launches. Which ones, on what, is worked out once for each shape ([`program`]); a pass
//! then only launches ([`run`]). Nothing is read back in between, and all sums are made in an order that does not depend on how a GPU
//! schedules its work.
//!
//! Where fields of all images don't fit into one buffer, launches are made for parts of the images apart; what they share (sums of
//! batch norms, gradients) is joined as if they had been one.

mod arena;
mod backward;
mod forward;
mod kernels;
pub mod program;
mod records;
pub mod run;
mod weights;
