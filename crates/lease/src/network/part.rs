//! A part of a network by itself, such as one operation: what it has of parameters, what it does, and how long that takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, Tensor};
use lease_kernels::graph::{Id, Normalise, Term};

use super::kernels::{Compiled, Emitter, Mode, ZERO};
use super::layers::{Builder, Statistics};
use super::vector::{Init, Layout, Vector};
use crate::rng::{Purpose, stream};

/// Passes that are timed, after some that are not; fewer where they take long.
const TIMED: usize = 15;
const TIMED_AT_LEAST: usize = 5;
const UNTIMED: usize = 2;
const LONG: Duration = Duration::from_millis(300);

/// What takes a state of so many channels to one of as many.
pub(crate) struct Part {
    channels: usize,
    parameters: usize,
    weights: Arc<Layout>,
    running: Arc<Layout>,
    compiled: Compiled,
}

impl Part {
    /// What `build` lays out and `emit` adds to a graph; no term is nothing.
    pub fn new<L>(
        channels: usize,
        build: impl FnOnce(&mut Builder) -> L,
        emit: impl FnOnce(&L, &mut Emitter, Id) -> Option<Term>,
    ) -> Self {
        let mut builder = Builder {
            keep_running: true,
            ..Builder::default()
        };
        let layer = build(&mut builder);
        let parameters = builder.weights.len();
        // A vector has at least one number.
        builder.weights.push("unused", [1], Init::Zeros);
        builder.running.push("unused", [1], Init::Zeros);
        let (mut e, input) = Emitter::new(channels);
        let state = e.graph.state(vec![Term::new(input, Normalise::Not)], false);
        let term = emit(&layer, &mut e, state)
            .unwrap_or_else(|| Term::new(state, Normalise::Not).times(ZERO));
        let result = e.graph.state(vec![term], false);
        e.graph.output_means(&[result]);
        Self {
            channels,
            parameters,
            weights: Arc::new(builder.weights),
            running: Arc::new(builder.running),
            compiled: e.finish(),
        }
    }

    /// Its parameters.
    pub fn parameters(&self) -> u64 {
        self.parameters as u64
    }

    /// The multiply-adds of its convolutions for one state of this height and width.
    pub fn multiply_adds(&self, [height, width]: [usize; 2]) -> u64 {
        self.compiled.multiply_adds([self.channels, height, width])
    }

    /// The nanoseconds that the kernels take for one state of this height and width, with running statistics.
    pub fn nanoseconds(&self, [height, width]: [usize; 2]) -> u64 {
        let (weights, running) = (start(&self.weights), start(&self.running));
        let weights = weights.open(None, false);
        let shape = [1, self.channels, height, width];
        let mode = Mode {
            statistics: Statistics::Running(&running),
            ..Mode::default()
        };
        timed(|| {
            let state = Tensor::<4>::ones(shape, (&Device::flex(), DType::F32));
            self.compiled.forward(state.into(), &weights, None, &mode);
        })
    }
}

/// Numbers as a network starts with.
pub(crate) fn start(layout: &Arc<Layout>) -> Vector {
    let values = layout.initial_values(&mut stream(0, Purpose::DerivedInit, 0));
    Vector::from_values(layout.clone(), values, &Device::flex(), DType::F32)
}

/// The median of the nanoseconds of several passes.
pub(crate) fn timed(mut pass: impl FnMut()) -> u64 {
    (0..UNTIMED).for_each(|_| pass());
    let (begun, mut all) = (Instant::now(), Vec::with_capacity(TIMED));
    while all.len() < TIMED_AT_LEAST || all.len() < TIMED && begun.elapsed() < LONG {
        let started = Instant::now();
        pass();
        all.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    all.sort_unstable();
    all[all.len() / 2]
}
