//! Processes that are threads of one process: for tests, and for programs that embed the library.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Collective;

/// One of several threads that work as one.
#[derive(Debug)]
pub struct Thread {
    rank: usize,
    hall: Arc<Hall>,
}

/// So many of them, in order of ranks; each is for a thread of its own.
pub fn threads(size: usize) -> Vec<Thread> {
    let hall = Arc::new(Hall {
        size,
        state: Mutex::new(State {
            boxes: vec![Vec::new(); size],
            ..State::default()
        }),
        changed: Condvar::new(),
    });
    let one = |rank| Thread {
        rank,
        hall: hall.clone(),
    };
    (0..size).map(one).collect()
}

/// Where they meet.
#[derive(Debug)]
struct Hall {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// One exchange at a time: all come with what they bring, then all leave with what is theirs.
#[derive(Debug, Default)]
struct State {
    /// What each has brought, by whom it is for.
    boxes: Vec<Vec<Vec<u8>>>,
    arrived: usize,
    leaving: usize,
    /// Whether one of them has ended for good.
    gone: bool,
}

impl Hall {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        holds: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waiting = |state: &mut State| !holds(state) && !state.gone;
        let waited = self.changed.wait_while(state, waiting);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(holds(&state), "another thread of the group has ended");
        state
    }
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hall.size
    }

    fn exchange(&self, to: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let hall = &*self.hall;
        let mut state = hall.wait(hall.state(), |s| s.leaving == 0);
        state.boxes[self.rank] = to;
        state.arrived += 1;
        if state.arrived == hall.size {
            (state.arrived, state.leaving) = (0, hall.size);
            hall.changed.notify_all();
        } else {
            state = hall.wait(state, |s| s.leaving > 0);
        }
        let mine = |from: &mut Vec<Vec<u8>>| std::mem::take(&mut from[self.rank]);
        let got = state.boxes.iter_mut().map(mine).collect();
        state.leaving -= 1;
        if state.leaving == 0 {
            hall.changed.notify_all();
        }
        got
    }

    fn gather(&self, mine: Vec<u8>) -> Vec<Vec<u8>> {
        self.exchange(vec![mine; self.hall.size])
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = if self.rank == 0 { bytes } else { Vec::new() };
        self.gather(bytes).swap_remove(0)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.hall.state().gone = true;
        self.hall.changed.notify_all();
    }
}
