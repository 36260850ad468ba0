//! Neural architecture search that learns by explaining itself (LeaSE; Hosseini & Xie, arXiv 2012.12899).
//!
//! A network that can explain its predictions to a listener has understood its task. Four stages, solved
//! jointly: an *explainer*, a supernet with architecture A, trains its weights E; it explains its
//! predictions on each training image by an adversarial perturbation δ; an *audience* trains its weights W
//! on the images weighted by δ; and A is updated by both validation losses, through all three.
//!
//! A room uses rooms below it, never one above: [`config`], [`network`] and [`data`] at the ground; [`space`] on
//! networks; [`run`], the folders; [`method`], which reads like the equations in `docs/method.md`; [`search`] and
//! [`training`]; [`explain`], what their networks' explanations are worth; [`export`], for other programs; [`study`], several
//! runs; [`report`], what a person looks at.

pub mod collective;
pub mod config;
pub mod data;
pub mod device;
mod error;
pub mod explain;
pub mod export;
#[cfg(all(feature = "cube", not(feature = "fusion")))]
mod gpu;
pub mod memory;
pub mod method;
pub mod network;
pub mod report;
pub mod rng;
pub mod run;
pub mod search;
pub mod space;
pub mod statistics;
pub mod study;
pub mod training;

pub use error::Error;
