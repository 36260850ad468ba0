//! The launches of a backward pass: stage by stage from the last. Every adjoint is made in one go from those of all that read its
//! node, which are there by then.

use std::collections::BTreeMap;

use lease_kernels::graph::{Geometry, Id, Made, Normalise, Term, Wanted};
use lease_kernels::plane::Size;

use super::arena::Range;
use super::forward::{Between, dense_kernel};
use super::kernels::{LANES, NONE, PIXELS, norm, sweep};
use super::program::{Batch, Builder, Kernel, sources};

/// The sums of lists that a gradient is: first number, numbers of a sum, from one to the next.
type Lists = Vec<[usize; 3]>;

/// Adjoints of what units read, by unit and the number of its source.
type Read = BTreeMap<(Id, usize), Range>;

/// A backward pass while it is planned.
pub(super) struct Back {
    pub wanted: Wanted,
    needs: BTreeMap<Id, bool>,
    /// For each node, what its adjoint is the sum of.
    contributions: BTreeMap<Id, Vec<[u32; sweep::CONTRIBUTION as usize]>>,
    pub adjoints: BTreeMap<Id, Range>,
    /// What is given back after a stage.
    given: BTreeMap<usize, Vec<Range>>,
    /// Gradients by their place and how many numbers follow.
    pub totals: BTreeMap<(usize, usize), Lists>,
}

impl Builder<'_> {
    pub fn backward(&mut self) {
        let Some(wanted) = self.setting.wanted else {
            return;
        };
        self.back = true;
        let mut back = Back {
            wanted,
            needs: self.graph.nodes().zip(self.graph.needs(wanted)).collect(),
            contributions: BTreeMap::new(),
            adjoints: BTreeMap::new(),
            given: BTreeMap::new(),
            totals: BTreeMap::new(),
        };
        for (means, state, start, channels, first) in self.outputs() {
            let sort = if means { sweep::MEANS } else { sweep::WHOLE };
            let place = self.program.places.result_gradients + start;
            let entry = [sort, place as u32, channels as u32, first as u32];
            back.contributions.entry(state).or_default().push(entry);
        }
        for stage in (0..self.stages.len()).rev() {
            let mut nodes = self.stages[stage].clone();
            nodes.retain(|id| back.needs[id] && back.contributions.contains_key(id));
            let read = nodes.iter().flat_map(|id| sources(self.graph, *id));
            self.make_again(nodes.iter().copied().chain(read.collect::<Vec<Id>>()));
            self.adjoints(&nodes, &mut back);
            self.states_back(&nodes, &mut back);
            self.units_back(&nodes, stage, &mut back);
            let own = self.stages[stage].clone();
            let fields = own
                .iter()
                .flat_map(|id| [self.fields.remove(id), self.maxima.remove(id)]);
            let mut done: Vec<Range> = fields.flatten().collect();
            done.extend(back.given.remove(&stage).unwrap_or_default());
            done.into_iter().for_each(|range| self.arena.give(range));
        }
        self.totals(&back);
        let input = self.stages[0].first();
        let adjoint = input.and_then(|id| back.adjoints.get(id));
        self.program.places.input_adjoint = adjoint.map(|range| range.start);
    }

    /// The adjoints of a stage's nodes.
    fn adjoints(&mut self, nodes: &[Id], back: &mut Back) {
        for id in nodes {
            let range = self.take(self.graph.channels(*id), self.sizes[id]);
            back.adjoints.insert(*id, range);
        }
        for part in 0..self.program.parts.len() {
            let mut batch = Batch::default();
            for id in nodes {
                let channels = self.graph.channels(*id);
                let (planes, pieces) = self.planes(part, channels);
                let rectified = matches!(self.graph.made(*id), Made::State { rectify: true, .. });
                let contributions = &back.contributions[id];
                let mut record = vec![
                    back.adjoints[id].start as u32,
                    channels as u32,
                    self.sizes[id].area() as u32,
                    planes,
                    self.program.parts[part].start as u32,
                    self.field(*id),
                    u32::from(rectified),
                    contributions.len() as u32,
                ];
                record.extend(contributions.iter().flatten());
                batch.push(Kernel::Adjoint, record, pieces);
            }
            self.launch(part, batch);
        }
    }

    /// From the states' adjoints to the forms of those of what they add up.
    fn states_back(&mut self, nodes: &[Id], back: &mut Back) {
        let mut terms: Vec<(Id, Term)> = Vec::new();
        for id in nodes {
            if let Made::State { terms: own, .. } = self.graph.made(*id) {
                terms.extend(own.iter().map(|t| (*id, *t)));
            }
        }
        terms.retain(|(_, t)| back.needs[&t.source] || wants_sums(back, t));
        let channels = terms.iter().map(|(id, _)| self.graph.channels(*id)).sum();
        let chunks = self.chunks(channels);
        let sums: Vec<usize> = terms
            .iter()
            .map(|(id, _)| norm::SUMS as usize * self.graph.channels(*id) * chunks.count)
            .map(|length| self.numbers(length))
            .collect();
        for part in 0..self.program.parts.len() {
            let mut batch = Batch::default();
            for ((id, term), sums) in terms.iter().zip(&sums) {
                if !wants_sums(back, term) {
                    continue;
                }
                let channels = self.graph.channels(*id);
                let (first, own) = chunks.parts[part];
                let begin = self.program.parts[part].start as u32;
                let drops = match self.drops(term.drop) {
                    NONE => NONE,
                    place => place + begin,
                };
                let record = [
                    back.adjoints[id].start as u32,
                    self.field(term.source),
                    self.weighting(term)[0],
                    channels as u32,
                    self.sizes[id].area() as u32,
                    self.images(part) as u32,
                    chunks.images as u32,
                    own as u32,
                    first as u32,
                    chunks.count as u32,
                    *sums as u32,
                    drops,
                ];
                batch.push(Kernel::Against, record.into(), channels * own);
            }
            self.launch(part, batch);
        }
        let mut batch = Batch::default();
        for ((id, term), sums) in terms.iter().zip(&sums) {
            let channels = self.graph.channels(*id);
            let form = self.numbers(norm::FORM as usize * channels);
            let gradients = self.numbers(norm::GRADIENTS as usize * channels);
            let wants = wants_sums(back, term);
            let batch_norm = term.normalise != Normalise::Not && !self.setting.running;
            let count = self.setting.images * self.sizes[id].area();
            let fixed = [
                *sums,
                if wants { chunks.count } else { 0 },
                channels,
                if batch_norm { count } else { 0 },
                form,
                gradients,
            ];
            let mut record: Vec<u32> = fixed.map(|n| n as u32).into();
            record.extend(self.weighting(term));
            batch.push(Kernel::Forms, record, channels.div_ceil(LANES as usize));
            self.term_gradients(term, gradients, channels, back);
            if back.needs[&term.source] {
                let g = back.adjoints[id].start as u32;
                let entry = [sweep::FORM, g, form as u32, self.drops(term.drop)];
                let all = back.contributions.entry(term.source).or_default();
                all.push(entry);
            }
        }
        self.launch(0, batch);
        // A state's adjoint stays until what it adds up has its own.
        for id in nodes {
            if let Made::State { terms, .. } = self.graph.made(*id) {
                let stages = terms.iter().map(|t| self.stage_of[&t.source]);
                let last = stages.min().unwrap_or(0);
                back.given.entry(last).or_default().push(back.adjoints[id]);
            }
        }
    }

    /// What a term's gradients are the sums of.
    fn term_gradients(&self, term: &Term, gradients: usize, channels: usize, back: &mut Back) {
        let first = self.program.places.gradients;
        if let (Normalise::Affine { scale, shift }, true) = (term.normalise, back.wanted.weights) {
            for (place, from) in [(scale, gradients), (shift, gradients + channels)] {
                let lists = back.totals.entry((first + place, channels)).or_default();
                lists.push([from, 1, 0]);
            }
        }
        if let (Some(number), true) = (term.coefficient, back.wanted.coefficients) {
            let place = first + self.setting.weights + number;
            let lists = back.totals.entry((place, 1)).or_default();
            lists.push([gradients + 2 * channels, channels, 1]);
        }
    }

    /// From the adjoints of a stage's units to those of what they read, and their weights' gradients.
    fn units_back(&mut self, nodes: &[Id], stage: usize, back: &mut Back) {
        let units: Vec<Id> = nodes
            .iter()
            .filter(|id| !matches!(self.graph.made(**id), Made::State { .. } | Made::Input))
            .copied()
            .collect();
        let between = self.between(&units);
        let carried = self.between(&units);
        let mut read = Read::new();
        for id in &units {
            for (number, source) in sources(self.graph, *id).into_iter().enumerate() {
                if back.needs[&source] {
                    let range = self.take(self.graph.channels(source), self.sizes[&source]);
                    read.insert((*id, number), range);
                }
            }
        }
        for part in 0..self.program.parts.len() {
            let mut again = Batch::default();
            let mut batch = Batch::default();
            let mut last = Batch::default();
            for id in &units {
                if back.wanted.weights {
                    self.depthwise_forward(*id, part, &between, &mut again);
                }
                self.unit_back(*id, part, (back, &carried, &read), &mut batch, &mut last);
            }
            self.launch(part, again);
            self.launch(part, batch);
            self.launch(part, last);
        }
        if back.wanted.weights {
            self.weights(&units, &between, &carried, back);
        }
        for ((id, number), range) in &read {
            let source = sources(self.graph, *id)[*number];
            let gate = match self.graph.made(*id) {
                Made::Conv { rectify: true, .. } => self.field(source),
                _ => NONE,
            };
            let entry = [sweep::READ, range.start as u32, gate, 0];
            back.contributions.entry(source).or_default().push(entry);
            let of = self.stage_of[&source];
            back.given.entry(of).or_default().push(*range);
        }
        let own = units.iter().map(|id| back.adjoints[id]);
        let done = between
            .into_values()
            .chain(carried.into_values())
            .chain(own);
        back.given.entry(stage).or_default().extend(done);
    }

    /// What carries a unit's adjoint back to what it read; `last` holds what follows `batch`.
    fn unit_back(
        &self,
        id: Id,
        part: usize,
        (back, carried, read): (&Back, &Between, &Read),
        batch: &mut Batch,
        last: &mut Batch,
    ) {
        let g = back.adjoints[&id].start;
        match self.graph.made(id) {
            Made::MaxPool(source, window) | Made::AvgPool(source, window) => {
                if let Some(x) = read.get(&(id, 0)) {
                    let fields = [x.start as u32, g as u32];
                    let (record, pieces) = self.pooling(id, part, fields, (source, window));
                    batch.push(Kernel::PoolBack, record, pieces);
                }
            }
            Made::Gather => {
                let taken = self.graph.gathered(id);
                let of = self.graph.channels(id) as u32;
                for (number, source) in sources(self.graph, id).into_iter().enumerate() {
                    let Some(x) = read.get(&(id, number)) else {
                        continue;
                    };
                    let channels = self.graph.channels(source);
                    let (planes, pieces) = self.planes(part, channels);
                    let area = self.sizes[&id].area() as u32;
                    let mut record = vec![x.start as u32, channels as u32, area, planes];
                    for channel in 0..channels {
                        let at = taken.iter().position(|t| *t == (source, channel));
                        record.extend([g as u32, of, at.map_or(NONE, |at| at as u32)]);
                    }
                    batch.push(Kernel::Gather, record, pieces);
                }
            }
            Made::Conv { .. } => self.conv_back(id, part, (g, carried, read), batch, last),
            _ => {}
        }
    }

    fn conv_back(
        &self,
        id: Id,
        part: usize,
        (g, carried, read): (usize, &Between, &Read),
        batch: &mut Batch,
        last: &mut Batch,
    ) {
        let Made::Conv { sources, shape, .. } = self.graph.made(id) else {
            return;
        };
        let after = self.sizes[&id];
        let [side, dilation, stride, pad] = dense_kernel(shape.geometry);
        let taps = side * side;
        let inputs: usize = shape.inputs.iter().sum();
        let outputs = shape.outputs / shape.matrices.len();
        let dense = |x: usize, channels: usize, first: usize, before: Size| {
            let entries: Vec<[usize; 6]> = shape
                .matrices
                .iter()
                .enumerate()
                .map(|(m, matrix)| {
                    let weights = self.weight(*matrix) + first * taps;
                    [g, shape.outputs, m * outputs, outputs, weights, m]
                })
                .collect();
            self.dense(
                part,
                ([x, channels, 0, channels], before),
                [taps, inputs * taps],
                (after, [dilation, stride, pad]),
                false,
                &entries,
            )
        };
        let kernel = Kernel::Dense {
            side: side as u32,
            back: true,
            pixels: PIXELS,
        };
        if let Geometry::Separable(depthwise) = shape.geometry {
            let Some(x) = read.get(&(id, 0)) else {
                if let Some(between) = carried.get(&id) {
                    let (record, pieces) = dense(between.start, inputs, 0, after);
                    batch.push(kernel, record, pieces);
                }
                return;
            };
            let between = carried[&id].start;
            let (record, pieces) = dense(between, inputs, 0, after);
            batch.push(kernel, record, pieces);
            self.depthwise(
                part,
                [between, x.start, self.weight(shape.taps), inputs],
                (after, self.sizes[&sources[0]]),
                (depthwise, true),
                false,
                last,
            );
            return;
        }
        let mut first = 0;
        for (number, source) in sources.iter().enumerate() {
            let channels = self.graph.channels(*source);
            if let Some(x) = read.get(&(id, number)) {
                let (record, pieces) = dense(x.start, channels, first, self.sizes[source]);
                batch.push(kernel, record, pieces);
            }
            first += channels;
        }
    }

    /// Adds up all gradients.
    fn totals(&mut self, back: &Back) {
        let mut batch = Batch::default();
        for ((place, length), lists) in &back.totals {
            let mut record = vec![*place as u32, *length as u32, lists.len() as u32];
            record.extend(lists.iter().flatten().map(|n| *n as u32));
            batch.push(Kernel::Totals, record, length.div_ceil(LANES as usize));
        }
        self.launch(0, batch);
    }
}

/// Whether a term's sums are wanted.
fn wants_sums(back: &Back, term: &Term) -> bool {
    back.wanted.sums(term, back.needs[&term.source])
}
