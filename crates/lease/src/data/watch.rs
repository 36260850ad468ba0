//! Who watches images being read.

/// Who watches a data set being read. All that is told is told once.
pub trait Watch: Sync {
    /// So many files are about to be decoded.
    fn started(&self, files: usize);
    /// One of them was; from any thread.
    fn read(&self);
    /// All of them were, or it failed.
    fn ended(&self);
    /// Something a person should know.
    fn note(&self, message: &str);
    /// Something that may not be as it should.
    fn warn(&self, message: &str);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn started(&self, _: usize) {}
    fn read(&self) {}
    fn ended(&self) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
