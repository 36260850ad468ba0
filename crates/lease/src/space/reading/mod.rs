//! Reading genotypes as people have them: what the notations of all spaces share.

pub mod cursor;
pub mod text;
