//! Neural architecture search that learns by explaining itself (LeaSE; Hosseini & Xie, arXiv 2012.12899).
//!
//! A network that can explain its predictions to a listener has understood its task. Four stages, solved
//! jointly: an *explainer*, a supernet with architecture A, trains its weights E; it explains its
//! predictions on each training image by an adversarial perturbation δ; an *audience* trains its weights W
//! on the images weighted by δ; and A is updated by both validation losses, through all three.
//!
//! Data flows one way: [`data`] → [`network`] → [`method`] → [`search`] → [`run`]. [`method`] reads like
//! the equations in `docs/method.md`.

pub mod bench;
pub mod compare;
pub mod config;
pub mod data;
pub mod device;
mod error;
pub mod method;
pub mod network;
pub mod optimiser;
pub mod random_search;
pub mod rng;
pub mod run;
pub mod search;
pub mod space;
pub mod training;
pub mod verify;

pub use error::Error;
