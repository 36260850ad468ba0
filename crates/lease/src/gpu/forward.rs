//! The launches of a forward pass.

use std::collections::{BTreeMap, BTreeSet};

use lease_kernels::graph::{Geometry, Id, Made, StageShape, Term};
use lease_kernels::plane::Size;

use super::arena::Range;
use super::kernels::PIXELS;
use super::program::{Batch, Builder, Kernel, sources};

/// Results of separable convolutions' depthwise parts.
pub(super) type Between = BTreeMap<Id, Range>;

impl Builder<'_> {
    pub fn forward(&mut self) {
        let last = self.last_reads();
        // What comes from the host is there before the first launch, so its memory is nobody else's until it is read.
        for id in self.graph.nodes() {
            if let Made::Input | Made::Noise { .. } = self.graph.made(id) {
                self.make_room(id);
            }
        }
        for stage in 0..self.stages.len() {
            let nodes = self.stages[stage].clone();
            for id in &nodes {
                if !self.fields.contains_key(id) {
                    self.make_room(*id);
                }
            }
            let between = self.between(&nodes);
            for part in 0..self.program.parts.len() {
                let mut batch = Batch::default();
                for id in &nodes {
                    self.depthwise_forward(*id, part, &between, &mut batch);
                    self.node_forward(*id, part, &between, &mut batch);
                }
                self.launch(part, batch);
            }
            for range in between.into_values() {
                self.arena.give(range);
            }
            self.normalise(&nodes);
            let kept = self.setting.wanted.is_some();
            let done = |id: &Id| {
                let made = self.stage_of[id] <= stage;
                let read = last.get(id).is_none_or(|last| *last <= stage);
                made && read && (!kept || self.is_made_again(*id))
            };
            let fields = self.fields.keys().copied().filter(done);
            for id in fields.collect::<Vec<Id>>() {
                let own = [self.fields.remove(&id), self.maxima.remove(&id)];
                own.into_iter().flatten().for_each(|r| self.arena.give(r));
            }
            if stage == 0 {
                self.program.places.input = nodes.first().map_or(0, |id| self.fields[id].start);
            }
        }
        self.results();
    }

    /// Memory for a node's field.
    fn make_room(&mut self, id: Id) {
        let (channels, size) = (self.graph.channels(id), self.sizes[&id]);
        let field = self.take(channels, size);
        self.fields.insert(id, field);
        if let Made::MaxPool(..) = self.graph.made(id) {
            let maxima = self.take(channels, size);
            self.maxima.insert(id, maxima);
        }
    }

    /// Whether a node is not kept for the backward pass but made again there, since that is quickly done.
    fn is_made_again(&self, id: Id) -> bool {
        match self.graph.made(id) {
            Made::MaxPool(..) | Made::AvgPool(..) => true,
            Made::State { terms, .. } => terms.len() == 1,
            _ => false,
        }
    }

    /// Makes those of these nodes again that are not there.
    pub fn make_again(&mut self, nodes: impl IntoIterator<Item = Id>) {
        let mut missing: BTreeSet<Id> = BTreeSet::new();
        let mut open: Vec<Id> = nodes.into_iter().collect();
        while let Some(id) = open.pop() {
            if !self.fields.contains_key(&id) && missing.insert(id) {
                open.extend(sources(self.graph, id));
            }
        }
        while !missing.is_empty() {
            // Those whose sources are there.
            let there = |s: &Id| self.fields.contains_key(s);
            let ready = |id: &&Id| sources(self.graph, **id).iter().all(there);
            let nodes: Vec<Id> = missing.iter().filter(ready).copied().collect();
            for id in &nodes {
                missing.remove(id);
                self.make_room(*id);
            }
            for part in 0..self.program.parts.len() {
                let mut batch = Batch::default();
                for id in &nodes {
                    self.node_forward(*id, part, &Between::new(), &mut batch);
                }
                self.launch(part, batch);
            }
        }
    }

    /// The stage after which nothing reads a node any more.
    fn last_reads(&self) -> BTreeMap<Id, usize> {
        let mut last = BTreeMap::new();
        for id in self.graph.nodes() {
            for source in sources(self.graph, id) {
                let stage = last.entry(source).or_insert(0);
                *stage = (*stage).max(self.stage_of[&id]);
            }
        }
        for (_, state, ..) in self.outputs() {
            last.insert(state, usize::MAX);
        }
        last
    }

    /// Memory for what depthwise convolutions leave.
    pub fn between(&mut self, nodes: &[Id]) -> Between {
        let mut between = Between::new();
        for id in nodes {
            if let Made::Conv { sources, shape, .. } = self.graph.made(*id)
                && let Geometry::Separable(_) = shape.geometry
            {
                let range = self.take(self.graph.channels(sources[0]), self.sizes[id]);
                between.insert(*id, range);
            }
        }
        between
    }

    /// The depthwise convolution of a separable one.
    pub fn depthwise_forward(&self, id: Id, part: usize, between: &Between, batch: &mut Batch) {
        let Made::Conv {
            sources,
            rectify,
            shape,
        } = self.graph.made(id)
        else {
            return;
        };
        let Geometry::Separable(kernel) = shape.geometry else {
            return;
        };
        let source = sources[0];
        self.depthwise(
            part,
            [
                self.field(source) as usize,
                between[&id].start,
                self.weight(shape.taps),
                self.graph.channels(source),
            ],
            (self.sizes[&source], self.sizes[&id]),
            (kernel, false),
            rectify,
            batch,
        );
    }

    fn node_forward(&mut self, id: Id, part: usize, between: &Between, batch: &mut Batch) {
        match self.graph.made(id) {
            Made::Input => {}
            Made::Noise { number, .. } => {
                let each = self.graph.channels(id) * self.sizes[&id].area();
                let noise = (number, self.fields[&id].start, each);
                if part == 0 {
                    self.program.places.noises.push(noise);
                }
            }
            Made::Conv {
                sources,
                rectify,
                shape,
            } => {
                let mut inputs: Vec<usize> = Vec::new();
                let mut channels: Vec<usize> = Vec::new();
                let mut before = self.sizes[&sources[0]];
                let mut rectify = rectify;
                if let Some(between) = between.get(&id) {
                    (before, rectify) = (self.sizes[&id], false);
                    inputs.push(between.start);
                    channels.push(self.graph.channels(sources[0]));
                } else {
                    inputs.extend(sources.iter().map(|s| self.fields[s].start));
                    channels.extend(sources.iter().map(|s| self.graph.channels(*s)));
                }
                self.convolve(
                    id,
                    part,
                    shape,
                    (&inputs, &channels),
                    (before, rectify),
                    batch,
                );
            }
            Made::MaxPool(source, window) | Made::AvgPool(source, window) => {
                let fields = [self.field(source), self.field(id)];
                let (record, pieces) = self.pooling(id, part, fields, (source, window));
                batch.push(Kernel::Pool, record, pieces);
            }
            Made::Gather => {
                let channels = self.graph.channels(id);
                let (planes, pieces) = self.planes(part, channels);
                let area = self.sizes[&id].area() as u32;
                let mut record = vec![self.field(id), channels as u32, area, planes];
                for (source, channel) in self.graph.gathered(id) {
                    let of = self.graph.channels(source) as u32;
                    record.extend([self.field(source), of, channel as u32]);
                }
                batch.push(Kernel::Gather, record, pieces);
            }
            Made::State { terms, rectify } => self.state(id, part, terms, rectify, batch),
        }
    }

    /// The dense parts of a convolution of these fields.
    fn convolve(
        &self,
        id: Id,
        part: usize,
        shape: &StageShape,
        (fields, channels): (&[usize], &[usize]),
        (before, rectify): (Size, bool),
        batch: &mut Batch,
    ) {
        let [side, dilation, stride, pad] = dense_kernel(shape.geometry);
        let taps = side * side;
        let inputs: usize = channels.iter().sum();
        let outputs = shape.outputs / shape.matrices.len();
        for (m, matrix) in shape.matrices.iter().enumerate() {
            let mut entries = Vec::new();
            let mut first = 0;
            for (field, own) in fields.iter().zip(channels) {
                let weights = self.weight(*matrix) + first * taps;
                entries.push([*field, *own, 0, *own, weights, m]);
                first += own;
            }
            let to = [self.fields[&id].start, shape.outputs, m * outputs, outputs];
            let (record, pieces) = self.dense(
                part,
                (to, self.sizes[&id]),
                [inputs * taps, taps],
                (before, [dilation, stride, pad]),
                rectify,
                &entries,
            );
            let kernel = Kernel::Dense {
                side: side as u32,
                back: false,
                pixels: PIXELS,
            };
            batch.push(kernel, record, pieces);
        }
    }

    fn state(&self, id: Id, part: usize, terms: &[Term], rectify: bool, batch: &mut Batch) {
        let channels = self.graph.channels(id);
        let (planes, pieces) = self.planes(part, channels);
        let mut record = vec![
            self.field(id),
            channels as u32,
            self.sizes[&id].area() as u32,
            planes,
            u32::from(rectify),
            self.program.parts[part].start as u32,
            terms.len() as u32,
        ];
        for term in terms {
            record.push(self.field(term.source));
            record.extend(self.weighting(term));
            record.push(self.drops(term.drop));
        }
        batch.push(Kernel::State, record, pieces);
    }

    fn results(&mut self) {
        for part in 0..self.program.parts.len() {
            let mut batch = Batch::default();
            for (means, state, start, channels, first) in self.outputs() {
                let own = self.graph.channels(state);
                let (planes, pieces) = self.planes(part, own);
                let record = [
                    self.fields[&state].start,
                    own,
                    self.sizes[&state].area(),
                    planes as usize,
                    self.program.parts[part].start,
                    self.program.places.results + start,
                    channels,
                    first,
                ];
                let record = record.map(|n| n as u32).into();
                batch.push(Kernel::Result { means }, record, pieces);
            }
            self.launch(part, batch);
        }
    }
}

/// Side, dilation, stride and padding of a convolution's dense part.
pub(super) fn dense_kernel(geometry: Geometry) -> [usize; 4] {
    match geometry {
        Geometry::Dense(kernel) => [kernel.size, kernel.dilation, kernel.stride, kernel.pad()],
        Geometry::Separable(_) => [1, 1, 1, 0],
        Geometry::Reduce => [1, 1, 2, 0],
    }
}
