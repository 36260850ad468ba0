//! Neural architecture search that learns by explaining itself (LeaSE).

pub mod method;
pub mod network;
pub mod space;
pub mod verify;
