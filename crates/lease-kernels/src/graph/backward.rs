//! The backward pass: level by level from the last.
//!
//! The adjoint of a unit is never stored: it is a linear form of the adjoints of the states that the unit is
//! added to and of the unit itself, worked out image by image where it is used.

use rayon::prelude::*;

use super::image::{Readers, forms};
use super::sums::{Summing, added_up};
use super::{Graph, Group, Id, Level, Node, Normalise, Output, Saved, Term, Unit, scaled};
use crate::combine::{Store, combine};
use crate::field::{Field, Memory, Pair, PairMut, Part, Share, Spare, share_out};
use crate::norm::{Adjoint, AdjointSums, Norm};
use crate::plane::{Rows, Size, add, add_gated, gate, gate_in_place};
use crate::stage::{self, Back, Forms, Stage, StageShape};
use crate::window::{Places, Window, add_to_maxima, avg_pool_backward};
use crate::{LANES, Lanes, blocks};

/// Which gradients a backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the coefficients.
    pub coefficients: bool,
    /// That of the input (and of its tangent).
    pub input: bool,
}

/// What a backward pass gives.
pub struct Gradients {
    /// Of the input, and of its tangent in a dual pass.
    pub input: Option<Field>,
    /// Of the weights; all zero if not wanted.
    pub weights: Vec<f32>,
    /// Of the coefficients; all zero if not wanted.
    pub coefficients: Vec<f32>,
}

/// A state that a unit is added to: the unit's adjoint as a form of the state's.
struct Contribution {
    state: Id,
    term: Term,
    adjoint: Adjoint,
}

/// Memory for the work on some images' units.
struct Room {
    readers: Readers,
    /// Adjoints of what groups read.
    accumulated: Memory,
    /// Adjoints of units.
    z_adjoint: Memory,
}

/// A backward pass under way.
struct Work<'a> {
    graph: &'a Graph,
    saved: Saved,
    wanted: Wanted,
    needs: Vec<bool>,
    /// Adjoints of states.
    adjoints: Vec<Option<Field>>,
    contributions: Vec<Vec<Contribution>>,
    /// How many units still wait for a state's adjoint.
    waiting: Vec<usize>,
    /// The sums that states need, where they were made while the adjoint was written.
    sums: Vec<Option<Vec<AdjointSums>>>,
    gradients: Gradients,
}

impl Graph {
    /// The gradients, from those of the results, in the layout of [`Graph::forward`]; `weights` and
    /// `coefficients` are how many there are.
    pub fn backward(
        &self,
        saved: Saved,
        results: &[f32],
        (weights, coefficients): (usize, usize),
        wanted: Wanted,
    ) -> Gradients {
        let n = self.entries.len();
        let mut work = Work {
            graph: self,
            needs: self.needs(wanted),
            adjoints: (0..n).map(|_| None).collect(),
            contributions: (0..n).map(|_| Vec::new()).collect(),
            waiting: vec![0; n],
            sums: vec![None; n],
            gradients: Gradients {
                input: None,
                weights: vec![0.0; weights],
                coefficients: vec![0.0; coefficients],
            },
            saved,
            wanted,
        };
        work.read_results(results);
        for level in self.levels.iter().rev() {
            for state in level.states.iter().rev() {
                work.state(*state);
            }
            work.units(level);
        }
        work.gradients.input = work.adjoints[0].take();
        work.gradients
    }

    /// Which nodes' adjoints lead to wanted gradients.
    fn needs(&self, wanted: Wanted) -> Vec<bool> {
        let mut needs: Vec<bool> = Vec::with_capacity(self.entries.len());
        for (i, entry) in self.entries.iter().enumerate() {
            needs.push(match &entry.node {
                Node::Input => wanted.input,
                Node::Unit {
                    unit: Unit::Noise { .. },
                    ..
                } => false,
                Node::Unit { sources, .. } => {
                    let weighted = wanted.weights && self.shape(Id(i)).is_some();
                    weighted || sources.iter().any(|s| needs[s.0])
                }
                Node::State { terms, .. } => terms.iter().any(|t| {
                    needs[t.source.0]
                        || wanted.coefficients && t.coefficient.is_some()
                        || wanted.weights && matches!(t.normalise, Normalise::Affine { .. })
                }),
            });
        }
        needs
    }
}

/// Adds the form of a state's adjoint to another adjoint, or sets it.
fn add_form(form: &Adjoint, factor: f32, g: Pair, area: usize, out: PairMut, store: Store) {
    let zero = [0.0; LANES];
    let PairMut { value, mut tangent } = out;
    for (b, value) in value.chunks_exact_mut(area).enumerate() {
        let plane = g.plane(b, area);
        let (along, across) = (scaled(&form.g[b], factor), scaled(&form.t[b], factor));
        match plane.tangent {
            None => combine(&zero, &[(along, plane.value)], value, store),
            Some(t) => {
                combine(&zero, &[(along, plane.value), (across, t)], value, store);
                if let Some(out) = tangent.as_deref_mut() {
                    let out = &mut out[b * area..(b + 1) * area];
                    combine(&zero, &[(along, t)], out, store);
                }
            }
        }
    }
}

impl<'a> Work<'a> {
    fn field(&self, id: Id) -> Field {
        let (saved, n) = (&self.saved, blocks(self.graph.channels(id)));
        Field::stale(saved.images, n, saved.sizes[id.0], saved.dual)
    }

    /// Takes the results' gradients to the states that they were read from.
    fn read_results(&mut self, results: &[f32]) {
        let graph = self.graph;
        let half = if self.saved.dual {
            results.len() / 2
        } else {
            results.len()
        };
        let (values, tangents) = results.split_at(half);
        let mut start = 0;
        for output in &graph.outputs {
            for state in output.states() {
                if self.adjoints[state.0].is_none() {
                    let (saved, n) = (&self.saved, blocks(graph.channels(*state)));
                    let zeros = Field::zeros(saved.images, n, saved.sizes[state.0], saved.dual);
                    self.adjoints[state.0] = Some(zeros);
                }
            }
            for i in 0..self.saved.images {
                for state in output.states() {
                    let (area, channels) =
                        (self.saved.sizes[state.0].area(), graph.channels(*state));
                    let each = match output {
                        Output::Whole(_) => area,
                        Output::Means(_) => 1,
                    };
                    let Some(field) = &mut self.adjoints[state.0] else {
                        continue;
                    };
                    let first = i * field.per_image();
                    let spread = |from: &[f32], to: &mut [Lanes]| {
                        for (c, from) in from.chunks_exact(each).enumerate() {
                            let plane = &mut to[first + c / LANES * area..][..area];
                            for (p, pixel) in plane.iter_mut().enumerate() {
                                pixel[c % LANES] += if each == 1 && area > 1 {
                                    from[0] / area as f32
                                } else {
                                    from[p]
                                };
                            }
                        }
                    };
                    let range = start..start + channels * each;
                    start += channels * each;
                    spread(&values[range.clone()], &mut field.value);
                    if let Some(to) = &mut field.tangent {
                        spread(&tangents[range], to);
                    }
                }
            }
        }
    }

    /// From a state's adjoint to those of the states it adds up, and the forms of those of its units.
    fn state(&mut self, id: Id) {
        let graph = self.graph;
        let Some(mut g) = self.adjoints[id.0].take() else {
            return;
        };
        if !self.needs[id.0] {
            return;
        }
        let terms = graph.terms(id);
        let n = blocks(graph.channels(id));
        let area = g.size.area();
        let summing = self.summing(id);
        let norms = &summing.norms;
        // Plain summands that are states need no sums; their adjoints are added in the first sweep.
        let identities = self.identities(id, norms, &AdjointSums::zeros(n));
        let mut targets: Vec<Id> = Vec::new();
        for (term, identity) in terms.iter().zip(&identities) {
            if identity.is_some() && !targets.contains(&term.source) {
                targets.push(term.source);
            }
        }
        let mut fields: Vec<(Field, bool)> = targets
            .iter()
            .map(|t| match self.adjoints[t.0].take() {
                Some(field) => (field, true),
                None => (self.field(*t), false),
            })
            .collect();
        let filled: Vec<bool> = fields.iter().map(|f| f.1).collect();
        let made = self.sums[id.0].take();
        let saved = &self.saved;
        let rectified = match (&graph.entries[id.0].node, &saved.fields[id.0]) {
            (Node::State { rectify: true, .. }, Some(field)) => Some(field),
            _ => None,
        };
        let mut all = vec![&mut g];
        all.extend(fields.iter_mut().map(|f| &mut f.0));
        let sweep = || {
            share_out(saved.images, Share::SINGLY, all, |mut part| {
                let mut sums = summing.zeros();
                for i in part.images.clone() {
                    let mut outs = part.image(i);
                    let (g, outs) = outs.split_at_mut(1);
                    if let Some(state) = rectified {
                        let state = state.image(i).value;
                        gate_in_place(g[0].value, state);
                        if let Some(tangent) = &mut g[0].tangent {
                            gate_in_place(tangent, state);
                        }
                    }
                    let g = g[0].read();
                    summing.add(saved, i, g, &mut sums);
                    let mut filled = filled.clone();
                    for (term, identity) in terms.iter().zip(&identities) {
                        let Some(form) = identity else { continue };
                        let factor = saved.factor(term, i);
                        let at = targets.iter().position(|t| *t == term.source);
                        let at = at.unwrap_or_default();
                        let store = if filled[at] { Store::Add } else { Store::Set };
                        add_form(form, factor, g, area, outs[at].again(), store);
                        filled[at] = true;
                    }
                }
                sums
            })
        };
        let sums = made.unwrap_or_else(|| added_up(sweep()));
        for (target, (field, _)) in targets.into_iter().zip(fields) {
            self.adjoints[target.0] = Some(field);
        }
        self.numbers(id, norms, &sums);
        let form = |t: usize| {
            let needed = self.needs[terms[t].source.0] && identities[t].is_none();
            let total = &self.saved.terms[id.0][t].total;
            needed.then(|| norms[t].backward(total, &sums[t]))
        };
        let forms: Vec<Option<Adjoint>> = (0..terms.len()).into_par_iter().map(form).collect();
        for (term, adjoint) in terms.iter().zip(forms) {
            let Some(adjoint) = adjoint else { continue };
            if graph.is_unit(term.source) {
                self.waiting[id.0] += 1;
                self.contributions[term.source.0].push(Contribution {
                    state: id,
                    term: *term,
                    adjoint,
                });
            } else {
                self.add_normalised(term, &adjoint, &g);
            }
        }
        if self.waiting[id.0] > 0 {
            self.adjoints[id.0] = Some(g);
        }
        // All that reads this state has been worked on.
        self.saved.fields[id.0] = None;
    }

    /// The terms that are other states as they are, and how their adjoints follow.
    fn identities(&self, id: Id, norms: &[Norm], sums: &AdjointSums) -> Vec<Option<Adjoint>> {
        let terms = self.graph.terms(id).iter().enumerate();
        terms
            .map(|(t, term)| {
                let plain = term.normalise == Normalise::Not
                    && !self.graph.is_unit(term.source)
                    && self.needs[term.source.0];
                let total = &self.saved.terms[id.0][t].total;
                plain.then(|| norms[t].backward(total, sums))
            })
            .collect()
    }

    /// Whether a state's adjoint is complete once the units of one level are done with it, as it is if only one
    /// convolution reads it: its sums are made then, while all that they need is in the cache.
    fn is_summed_early(&self, id: Id) -> bool {
        let terms = self.graph.terms(id);
        !self.graph.is_kept(id) && terms.iter().all(|t| self.graph.is_unit(t.source))
    }

    fn summing(&self, id: Id) -> Summing<'a> {
        let wanted = |t: &Term| self.wants_sums(t);
        Summing::new(self.graph, &self.saved, id, wanted)
    }

    fn wants_sums(&self, term: &Term) -> bool {
        let normalised = term.normalise != Normalise::Not && self.needs[term.source.0];
        let affine = matches!(term.normalise, Normalise::Affine { .. });
        normalised
            || self.wanted.coefficients && term.coefficient.is_some()
            || self.wanted.weights && affine
    }

    /// The gradients of a state's coefficients, scales and shifts.
    fn numbers(&mut self, id: Id, norms: &[Norm], sums: &[AdjointSums]) {
        let terms = self.graph.terms(id);
        for (t, term) in terms.iter().enumerate() {
            if !self.wants_sums(term) {
                continue;
            }
            let weighted = &self.saved.terms[id.0][t];
            let (own, [k, kt]) = (&weighted.own, weighted.coefficient);
            let mut along_coefficient = 0.0;
            for c in 0..self.graph.channels(term.source) {
                let [along, across] = norms[t].along(&sums[t], c);
                let (g, gt) = (sums[t].g[c], sums[t].t[c]);
                if let (Normalise::Affine { scale, shift }, true) =
                    (term.normalise, self.wanted.weights)
                {
                    self.gradients.weights[scale + c] += (k * along + kt * across) as f32;
                    self.gradients.weights[shift + c] += (k * g + kt * gt) as f32;
                }
                along_coefficient += own.value[c] * along
                    + own.tangent[c] * across
                    + own.shift[c] * g
                    + own.shift_tangent[c] * gt;
            }
            if let (Some(number), true) = (term.coefficient, self.wanted.coefficients) {
                self.gradients.coefficients[number] += along_coefficient as f32;
            }
        }
    }

    /// Adds to the adjoint of a state that was normalised itself.
    fn add_normalised(&mut self, term: &Term, adjoint: &Adjoint, g: &Field) {
        let source = term.source;
        let mut field = self.adjoints[source.0].take().unwrap_or_else(|| {
            let mut field = self.field(source);
            field.clear();
            field
        });
        let saved = &self.saved;
        let area = field.size.area();
        if let Some(z) = &saved.fields[source.0] {
            share_out(saved.images, Share::SINGLY, vec![&mut field], |mut part| {
                for i in part.images.clone() {
                    let contribution = [(adjoint, saved.factor(term, i), g.image(i))];
                    for out in part.image(i) {
                        unit_adjoint(&contribution, z.image(i), area, out, Store::Add);
                    }
                }
            });
        }
        self.adjoints[source.0] = Some(field);
    }

    /// From the adjoints of a level's units to those of the states they read, and their weights' gradients.
    fn units(&mut self, level: &Level) {
        let graph = self.graph;
        let groups: Vec<Group> = level
            .groups
            .iter()
            .map(|group| {
                let mut group = group.clone();
                let worth = |u: &Id| self.needs[u.0] && !self.contributions[u.0].is_empty();
                group.units.retain(worth);
                group
            })
            .filter(|group| !group.units.is_empty())
            .collect();
        let units: Vec<Id> = groups.iter().flat_map(|g| g.units.clone()).collect();
        let mut targets: Vec<Id> = Vec::new();
        for source in groups.iter().flat_map(|g| &g.sources) {
            if self.needs[source.0] && !targets.contains(source) {
                targets.push(*source);
            }
        }
        let mut fields: Vec<(Field, bool)> = targets
            .iter()
            .map(|t| match self.adjoints[t.0].take() {
                Some(field) => (field, true),
                None => (self.field(*t), false),
            })
            .collect();
        let filled: Vec<bool> = fields.iter().map(|f| f.1).collect();
        let work = &*self;
        let saved = &self.saved;
        let summing: Vec<Option<Summing>> = targets
            .iter()
            .map(|t| self.is_summed_early(*t).then(|| self.summing(*t)))
            .collect();
        let backs: Vec<Option<Back>> = units
            .par_iter()
            .map(|u| saved.stages[u.0].as_ref().map(|s| s.back()))
            .collect();
        let all = fields.iter_mut().map(|f| &mut f.0).collect();
        let shapes = units.iter().filter_map(|u| graph.shape(*u));
        let own = match self.wanted.weights {
            true => shapes.map(StageShape::matrix_len).sum(),
            false => 0,
        };
        let forms: Vec<Forms> = groups.iter().map(|g| work.read_forms(g)).collect();
        let together = Readers::together(graph, saved, &groups);
        // Adjoints of what groups read, and of their units, of some images.
        let area = |id: &Id| blocks(graph.channels(*id)) * saved.sizes[id.0].area();
        let read = |g: &Group| g.sources.iter().map(area).sum::<usize>();
        let memory = || {
            let of_all = |widest: Option<usize>| {
                let n = together * widest.unwrap_or(0);
                Memory::new(n, saved.dual)
            };
            Room {
                readers: Readers::new(graph, saved, &groups, &forms, together),
                accumulated: of_all(groups.iter().map(read).max()),
                z_adjoint: of_all(units.iter().map(area).max()),
            }
        };
        let share = Share { together, own };
        let work_on = |mut part: Part, room: &mut Room| {
            let Room {
                readers,
                accumulated,
                z_adjoint,
            } = room;
            let mut gradients: Vec<Option<stage::Gradients>> = units
                .iter()
                .map(|u| {
                    let shape = graph.shape(*u).filter(|_| work.wanted.weights);
                    shape.map(|s| s.gradients())
                })
                .collect();
            let zeros = |s: &Option<Summing>| s.as_ref().map(Summing::zeros);
            let mut sums: Vec<Option<Vec<AdjointSums>>> = summing.iter().map(zeros).collect();
            for images in part.chunks(together) {
                let mut outs = part.some(images.clone());
                let mut filled = filled.clone();
                let mut numbers = 0..;
                for (at, group) in groups.iter().enumerate() {
                    let (prepared, scratch) = readers.of(at, images.len());
                    for (i, prepared) in images.clone().zip(&mut *prepared) {
                        saved.prepare(graph, group, forms[at], i, prepared);
                    }
                    let size = saved.sizes[group.sources[0].0];
                    let carries = group.sources.iter().any(|s| work.needs[s.0]);
                    let mut x_adjoints = accumulated.write().split(read(group), images.len());
                    // The first unit sets the adjoints if it covers them; else they begin as zero.
                    let first = group.units.first();
                    let first = first.and_then(|u| saved.stages[u.0].as_ref());
                    let mut fresh = carries && first.is_some_and(Stage::covers);
                    if carries && !fresh {
                        for x_adjoint in &mut x_adjoints {
                            x_adjoint.fill_zero();
                        }
                    }
                    for (unit, k) in group.units.iter().zip(numbers.by_ref()) {
                        let Some(z) = &saved.fields[unit.0] else {
                            continue;
                        };
                        let mut gs = z_adjoint.write().split(area(unit), images.len());
                        for (i, g) in images.clone().zip(&mut gs) {
                            work.adjoint_of(*unit, z.image(i), i, g.again());
                        }
                        let gs: Vec<Pair> = gs.into_iter().map(PairMut::into_read).collect();
                        if let (Some(stage), Some(back)) = (&saved.stages[unit.0], &backs[k]) {
                            let outs = carries.then_some((&mut x_adjoints[..], !fresh));
                            let gradients = gradients[k].as_mut();
                            stage.backward(back, prepared, &gs, gradients, outs, scratch);
                        }
                        fresh = false;
                        for ((i, g), out) in images.clone().zip(gs).zip(&mut x_adjoints) {
                            match &graph.entries[unit.0].node {
                                Node::Unit {
                                    unit: Unit::MaxPool(window),
                                    ..
                                } => {
                                    let places = &saved.places[unit.0][i];
                                    max_back(g, places, size, *window, out.again());
                                }
                                Node::Unit {
                                    unit: Unit::AvgPool(window),
                                    ..
                                } => avg_back(g, size, *window, out.again()),
                                Node::Unit {
                                    unit: Unit::Gather(lanes),
                                    ..
                                } => gather_back(g, size.area(), lanes, out.again()),
                                _ => {}
                            }
                        }
                    }
                    if !carries {
                        continue;
                    }
                    let mut start = 0;
                    for source in &group.sources {
                        let range = start..start + area(source);
                        start = range.end;
                        let Some(t) = targets.iter().position(|t| t == source) else {
                            continue;
                        };
                        let all = x_adjoints.iter().zip(&*prepared).zip(&mut outs[t]);
                        for (((x_adjoint, prepared), out), i) in all.zip(images.clone()) {
                            let open = group.rectify.then(|| match &saved.fields[source.0] {
                                Some(field) => (field.image(i).value, Rows::whole(size.area())),
                                None => {
                                    let (x, rows) = prepared.read();
                                    (&x.value[range.start / size.area() * rows.plane..], rows)
                                }
                            });
                            out.each(x_adjoint.read().part(range.clone()), |from, to| {
                                match (open, filled[t]) {
                                    (Some(x), true) => add_gated(from, x, to),
                                    (Some(x), false) => gate(from, x, (to, x.1.beside())),
                                    (None, true) => add(from, to),
                                    (None, false) => to.copy_from_slice(from),
                                }
                            });
                            if let (Some(summing), Some(sums)) = (&summing[t], &mut sums[t]) {
                                summing.add(saved, i, out.read(), sums);
                            }
                        }
                        filled[t] = true;
                    }
                }
            }
            (gradients, sums)
        };
        let spare = Spare::default();
        let parts = share_out(saved.images, share, all, |part| {
            spare.with(memory, |room| work_on(part, room))
        });
        let (parts, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        for (target, parts) in targets.iter().zip(columns(sums)) {
            if !parts.is_empty() {
                self.sums[target.0] = Some(added_up(parts));
            }
        }
        if self.wanted.weights {
            let shapes: Vec<_> = units.iter().map(|u| graph.shape(*u)).collect();
            let unpacked = shapes
                .par_iter()
                .zip(columns(parts))
                .with_max_len(1)
                .filter_map(|(shape, parts)| Some((*shape)?.unpack(&parts)));
            for (start, values) in unpacked.collect::<Vec<_>>().into_iter().flatten() {
                let weights = &mut self.gradients.weights[start..];
                for (weight, value) in weights.iter_mut().zip(values) {
                    *weight += value;
                }
            }
        }
        for (target, (field, _)) in targets.into_iter().zip(fields) {
            self.adjoints[target.0] = Some(field);
        }
        for unit in level.groups.iter().flat_map(|g| &g.units) {
            self.saved.fields[unit.0] = None;
            self.saved.places[unit.0] = Vec::new();
            self.saved.stages[unit.0] = None;
            for contribution in std::mem::take(&mut self.contributions[unit.0]) {
                let waiting = &mut self.waiting[contribution.state.0];
                *waiting -= 1;
                if *waiting == 0 {
                    self.adjoints[contribution.state.0] = None;
                }
            }
        }
    }

    /// The forms in which a group's sources are read: by gradients of weights, and by the rectifier if they are not kept.
    fn read_forms(&self, group: &Group) -> Forms {
        let mut read = match self.wanted.weights {
            true => forms(self.graph, group),
            false => Forms::default(),
        };
        if group.rectify && read.none() {
            read.plain = group.sources.iter().any(|s| !self.graph.is_kept(*s));
        }
        read
    }

    /// One image of a unit's adjoint.
    fn adjoint_of(&self, unit: Id, z: Pair, i: usize, out: PairMut) {
        let of = |c: &Contribution| -> Option<(usize, f32)> {
            self.adjoints[c.state.0].as_ref()?;
            Some((c.state.0, self.saved.factor(&c.term, i)))
        };
        let contributions: Vec<(&Adjoint, f32, Pair)> = self.contributions[unit.0]
            .iter()
            .filter_map(|c| {
                let (state, factor) = of(c)?;
                let g = self.adjoints[state].as_ref()?;
                Some((&c.adjoint, factor, g.image(i)))
            })
            .collect();
        unit_adjoint(
            &contributions,
            z,
            self.saved.sizes[unit.0].area(),
            out,
            Store::Set,
        );
    }
}

/// Sets `out` to the adjoint of z, or adds it: the sum of its contributions' forms.
fn unit_adjoint(
    contributions: &[(&Adjoint, f32, Pair)],
    z: Pair,
    area: usize,
    out: PairMut,
    store: Store,
) {
    let PairMut { value, mut tangent } = out;
    let mut values: Vec<(Lanes, &[Lanes])> = Vec::with_capacity(2 * contributions.len() + 2);
    let mut tangents: Vec<(Lanes, &[Lanes])> = Vec::with_capacity(contributions.len() + 1);
    for (b, value) in value.chunks_exact_mut(area).enumerate() {
        values.clear();
        tangents.clear();
        let [mut along, mut cross, mut constant, mut tangent_constant] = [[0.0; LANES]; 4];
        for (form, factor, g) in contributions {
            let g = g.plane(b, area);
            values.push((scaled(&form.g[b], *factor), g.value));
            if let Some(t) = g.tangent {
                if form.t[b] != [0.0; LANES] {
                    values.push((scaled(&form.t[b], *factor), t));
                }
                tangents.push((scaled(&form.g[b], *factor), t));
            }
            for l in 0..LANES {
                along[l] += form.z[b][l];
                cross[l] += form.cross[b][l];
                constant[l] += form.constant[b][l];
                tangent_constant[l] += form.tangent_constant[b][l];
            }
        }
        let z = z.plane(b, area);
        if along != [0.0; LANES] {
            values.push((along, z.value));
        }
        if let (Some(zt), true) = (z.tangent, cross != [0.0; LANES]) {
            values.push((cross, zt));
            tangents.push((cross, z.value));
        }
        combine(&constant, &values, value, store);
        if let Some(out) = tangent.as_deref_mut() {
            let out = &mut out[b * area..(b + 1) * area];
            combine(&tangent_constant, &tangents, out, store);
        }
    }
}

/// What the tasks have for each place, in order, without what they have not.
fn columns<T>(parts: Vec<Vec<Option<T>>>) -> Vec<Vec<T>> {
    let places = parts.first().map_or(0, Vec::len);
    let mut columns: Vec<Vec<T>> = (0..places).map(|_| Vec::new()).collect();
    for part in parts {
        for (column, own) in columns.iter_mut().zip(part) {
            column.extend(own);
        }
    }
    columns
}

fn max_back(g: Pair, places: &[Places], size: Size, window: Window, mut x: PairMut) {
    let (area, after) = (size.area(), window.after(size).area());
    x.each(g, |g, x| {
        let planes = g.chunks_exact(after).zip(x.chunks_exact_mut(area));
        for ((g, x), places) in planes.zip(places.chunks_exact(after)) {
            add_to_maxima(g, size, window, places, x);
        }
    });
}

fn gather_back(g: Pair, area: usize, lanes: &[usize], mut x: PairMut) {
    x.each(g, |g, x| {
        for (from, to) in lanes.iter().enumerate() {
            let g = &g[from / LANES * area..][..area];
            let x = &mut x[to / LANES * area..][..area];
            for (g, x) in g.iter().zip(x) {
                x[to % LANES] += g[from % LANES];
            }
        }
    });
}

fn avg_back(g: Pair, size: Size, window: Window, mut x: PairMut) {
    let (area, after) = (size.area(), window.after(size).area());
    x.each(g, |g, x| {
        let planes = g.chunks_exact(after).zip(x.chunks_exact_mut(area));
        for (g, x) in planes {
            avg_pool_backward(g, size, window, x);
        }
    });
}
