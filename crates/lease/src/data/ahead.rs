//! What is made for the next step while this one is computed.

use std::thread::JoinHandle;

/// Something that each step needs and that depends on nothing but the step, made on a thread of its own one step ahead.
#[derive(Debug)]
pub struct Ahead<T> {
    next: Option<(u64, JoinHandle<T>)>,
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        Self { next: None }
    }
}

impl<T: Send + 'static> Ahead<T> {
    /// What `make` makes for a step; that for the step after it is begun. What is made beforehand is the same as what is
    /// made at once.
    ///
    /// # Panics
    /// If making it did.
    pub fn take<M: FnOnce() -> T + Send + 'static>(
        &mut self,
        step: u64,
        mut make: impl FnMut(u64) -> M,
    ) -> T {
        let this = match self.next.take() {
            Some((known, thread)) if known == step => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            _ => make(step)(),
        };
        let next = make(step + 1);
        // Without a thread it is made when it is needed.
        let thread = std::thread::Builder::new()
            .name("images".into())
            .spawn(next);
        self.next = thread.ok().map(|thread| (step + 1, thread));
        this
    }
}
