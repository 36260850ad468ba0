//! From the adjoints of a level's units to those of the states that they read, and their weights' gradients.

use std::ops::Range;

use rayon::prelude::*;

use super::super::image::{Readers, forms};
use super::super::sums::{Summing, added_up};
use super::super::{Group, Id, Level, Node, Unit};
use super::{Contribution, Work, unit_adjoint};
use crate::LANES;
use crate::blocks;
use crate::combine::Store;
use crate::field::{Field, Memory, Pair, PairMut, Part, Share, Spare, share_out};
use crate::norm::{Adjoint, AdjointSums};
use crate::plane::{Rows, Size, add, add_gated, gate};
use crate::stage::{Back, Forms, Gradients, Stage, StageShape};
use crate::window::{Places, Window, add_to_maxima, avg_pool_backward};

/// Memory for the work on some images' units.
struct Room {
    readers: Readers,
    /// Adjoints of what groups read.
    accumulated: Memory,
    /// Adjoints of units.
    z_adjoint: Memory,
}

/// What comes of some images beside adjoints.
struct Numbers {
    /// Of each unit's weights, where they are wanted.
    gradients: Vec<Option<Gradients>>,
    /// What each state needs whose adjoint is complete.
    sums: Vec<Option<Vec<AdjointSums>>>,
}

/// The units of a level whose adjoints lead to wanted gradients.
struct Units<'w, 'a> {
    work: &'w Work<'a>,
    groups: Vec<Group>,
    /// All units, group by group.
    units: Vec<Id>,
    /// The states whose adjoints are written.
    targets: &'w [Id],
    /// Whether something was added to them before.
    filled: Vec<bool>,
    /// Of each target that is complete after this level.
    summing: Vec<Option<Summing<'a>>>,
    /// Of each unit that is a convolution.
    backs: Vec<Option<Back>>,
    /// In which each group reads its sources.
    forms: Vec<Forms>,
    /// Images that are worked on together.
    together: usize,
}

impl<'a> Work<'a> {
    /// From the adjoints of a level's units to those of the states they read, and their weights' gradients.
    pub(super) fn units(&mut self, level: &Level) {
        let groups = self.worth_a_pass(level);
        let mut targets: Vec<Id> = Vec::new();
        for source in groups.iter().flat_map(|g| &g.sources) {
            if self.needs[source.0] && !targets.contains(source) {
                targets.push(*source);
            }
        }
        let (mut fields, filled) = self.taken(&targets);
        let units = Units::new(self, groups, &targets, filled);
        let numbers = units.worked_out(fields.iter_mut().collect());
        let units = units.units;
        let (gradients, sums): (Vec<_>, Vec<_>) =
            numbers.into_iter().map(|n| (n.gradients, n.sums)).unzip();
        for (target, parts) in targets.iter().zip(columns(sums)) {
            if !parts.is_empty() {
                self.sums[target.0] = Some(added_up(parts));
            }
        }
        if self.wanted.weights {
            self.add_gradients(&units, columns(gradients));
        }
        self.give_back(&targets, fields);
        self.forget(level);
    }

    /// A level's groups, with those of their units alone whose adjoints are there and needed.
    fn worth_a_pass(&self, level: &Level) -> Vec<Group> {
        let groups = level.groups.iter().map(|group| {
            let mut group = group.clone();
            let worth = |u: &Id| self.needs[u.0] && !self.contributions[u.0].is_empty();
            group.units.retain(worth);
            group
        });
        groups.filter(|group| !group.units.is_empty()).collect()
    }

    /// Adds what the tasks have for the weights of each unit.
    fn add_gradients(&mut self, units: &[Id], parts: Vec<Vec<Gradients>>) {
        let shapes: Vec<_> = units.iter().map(|u| self.graph.shape(*u)).collect();
        let unpacked = shapes
            .par_iter()
            .zip(parts)
            .with_max_len(1)
            .filter_map(|(shape, parts)| Some((*shape)?.unpack(&parts)));
        for (start, values) in unpacked.collect::<Vec<_>>().into_iter().flatten() {
            let weights = &mut self.gradients.weights[start..];
            for (weight, value) in weights.iter_mut().zip(values) {
                *weight += value;
            }
        }
    }

    /// Frees what a level's units kept, and the adjoints of states that no unit waits for any more.
    fn forget(&mut self, level: &Level) {
        for unit in level.groups.iter().flat_map(|g| &g.units) {
            if !self.keep {
                self.saved.fields[unit.0] = None;
                self.saved.places[unit.0] = Vec::new();
                self.saved.stages[unit.0] = None;
            }
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

impl<'w, 'a> Units<'w, 'a> {
    fn new(work: &'w Work<'a>, groups: Vec<Group>, targets: &'w [Id], filled: Vec<bool>) -> Self {
        let units: Vec<Id> = groups.iter().flat_map(|g| g.units.clone()).collect();
        let complete = |t: &Id| work.is_summed_early(*t).then(|| work.summing(*t));
        let stages = &work.saved.stages;
        Self {
            summing: targets.iter().map(complete).collect(),
            backs: units
                .par_iter()
                .map(|u| stages[u.0].as_ref().map(Stage::back))
                .collect(),
            forms: groups.iter().map(|g| work.read_forms(g)).collect(),
            together: Readers::together(work.graph, &work.saved, &groups),
            work,
            groups,
            units,
            targets,
            filled,
        }
    }

    /// Writes the targets' adjoints, shared out to tasks, and returns each task's numbers.
    fn worked_out(&self, targets: Vec<&mut Field>) -> Vec<Numbers> {
        let shapes = self.units.iter().filter_map(|u| self.work.graph.shape(*u));
        let own = match self.work.wanted.weights {
            true => shapes.map(StageShape::matrix_len).sum(),
            false => 0,
        };
        let share = Share {
            together: self.together,
            own,
        };
        let spare = Spare::default();
        share_out(self.work.saved.images, share, targets, |part| {
            spare.with(|| self.room(), |room| self.part(part, room))
        })
    }

    /// The pixels of an image of a node, in lanes.
    fn area(&self, id: Id) -> usize {
        blocks(self.work.graph.channels(id)) * self.work.saved.sizes[id.0].area()
    }

    /// Those of all that a group reads.
    fn read_area(&self, group: &Group) -> usize {
        group.sources.iter().map(|s| self.area(*s)).sum()
    }

    fn room(&self) -> Room {
        let (work, saved) = (self.work, &self.work.saved);
        let of_all = |widest: Option<usize>| {
            let n = self.together * widest.unwrap_or(0);
            Memory::new(n, saved.dual)
        };
        let (groups, together) = (&self.groups, self.together);
        Room {
            readers: Readers::new(work.graph, saved, groups, &self.forms, together),
            accumulated: of_all(groups.iter().map(|g| self.read_area(g)).max()),
            z_adjoint: of_all(self.units.iter().map(|u| self.area(*u)).max()),
        }
    }

    /// Some images' targets.
    fn part(&self, mut part: Part, room: &mut Room) -> Numbers {
        let gradients = |unit: &Id| {
            let shape = self.work.graph.shape(*unit);
            let shape = shape.filter(|_| self.work.wanted.weights);
            shape.map(StageShape::gradients)
        };
        let zeros = |s: &Option<Summing>| s.as_ref().map(Summing::zeros);
        let mut numbers = Numbers {
            gradients: self.units.iter().map(gradients).collect(),
            sums: self.summing.iter().map(zeros).collect(),
        };
        for images in part.chunks(self.together) {
            let mut outs = part.some(images.clone());
            let mut filled = self.filled.clone();
            let mut first = 0;
            for at in 0..self.groups.len() {
                self.group((at, first), &images, room, &mut numbers.gradients);
                first += self.groups[at].units.len();
                self.write(
                    at,
                    &images,
                    room,
                    (&mut outs, &mut filled),
                    &mut numbers.sums,
                );
            }
        }
        numbers
    }

    /// From the adjoints of a group's units, the first of which has this number, to those of what they read, which are accumulated in
    /// the room.
    fn group(
        &self,
        (at, first): (usize, usize),
        images: &Range<usize>,
        room: &mut Room,
        gradients: &mut [Option<Gradients>],
    ) {
        let (work, saved, group) = (self.work, &self.work.saved, &self.groups[at]);
        let (prepared, scratch) = room.readers.of(at, images.len());
        for (i, prepared) in images.clone().zip(&mut *prepared) {
            saved.prepare(work.graph, group, self.forms[at], i, prepared);
        }
        let carries = self.carries(group);
        let read = self.read_area(group);
        let mut x_adjoints = room.accumulated.write().split(read, images.len());
        // The first unit sets the adjoints if it covers them; else they begin as zero.
        let stage = group.units.first();
        let stage = stage.and_then(|u| saved.stages[u.0].as_ref());
        let mut fresh = carries && stage.is_some_and(Stage::covers);
        if carries && !fresh {
            for x_adjoint in &mut x_adjoints {
                x_adjoint.fill_zero();
            }
        }
        for (unit, k) in group.units.iter().zip(first..) {
            let Some(z) = &saved.fields[unit.0] else {
                continue;
            };
            let mut gs = room.z_adjoint.write().split(self.area(*unit), images.len());
            for (i, g) in images.clone().zip(&mut gs) {
                work.adjoint_of(*unit, z.image(i), i, g.again());
            }
            let gs: Vec<Pair> = gs.into_iter().map(PairMut::into_read).collect();
            if let (Some(stage), Some(back)) = (&saved.stages[unit.0], &self.backs[k]) {
                let outs = carries.then_some((&mut x_adjoints[..], !fresh));
                stage.backward(back, prepared, &gs, gradients[k].as_mut(), outs, scratch);
            }
            fresh = false;
            let size = saved.sizes[group.sources[0].0];
            for ((i, g), out) in images.clone().zip(gs).zip(&mut x_adjoints) {
                self.pool_back(*unit, (i, g), size, out.again());
            }
        }
    }

    /// Whether anything needs the adjoints of what a group reads.
    fn carries(&self, group: &Group) -> bool {
        group.sources.iter().any(|s| self.work.needs[s.0])
    }

    /// Adds an image's adjoint of what a unit reads that is no convolution.
    fn pool_back(&self, unit: Id, (i, g): (usize, Pair), size: Size, out: PairMut) {
        let Node::Unit { unit: made, .. } = &self.work.graph.entries[unit.0].node else {
            return;
        };
        match made {
            Unit::MaxPool(window) => {
                let places = &self.work.saved.places[unit.0][i];
                max_back(g, places, size, *window, out);
            }
            Unit::AvgPool(window) => avg_back(g, size, *window, out),
            Unit::Gather(lanes) => gather_back(g, size.area(), lanes, out),
            Unit::Conv(_) | Unit::Noise { .. } => {}
        }
    }

    /// Takes what was accumulated for a group to the adjoints of the states that it reads, and adds these' sums.
    fn write(
        &self,
        at: usize,
        images: &Range<usize>,
        room: &mut Room,
        (outs, filled): (&mut [Vec<PairMut>], &mut [bool]),
        sums: &mut [Option<Vec<AdjointSums>>],
    ) {
        let (saved, group) = (&self.work.saved, &self.groups[at]);
        if !self.carries(group) {
            return;
        }
        let area = saved.sizes[group.sources[0].0].area();
        let (prepared, _) = room.readers.of(at, images.len());
        let (x_adjoints, read) = (room.accumulated.read(), self.read_area(group));
        let mut start = 0;
        for source in &group.sources {
            let range = start..start + self.area(*source);
            start = range.end;
            let Some(t) = self.targets.iter().position(|t| t == source) else {
                continue;
            };
            let all = prepared.iter().zip(&mut outs[t]).zip(images.clone());
            for (k, ((prepared, out), i)) in all.enumerate() {
                let x_adjoint = x_adjoints.part(k * read..(k + 1) * read);
                let open = group.rectify.then(|| match &saved.fields[source.0] {
                    Some(field) => (field.image(i).value, Rows::whole(area)),
                    None => {
                        let (x, rows) = prepared.read();
                        (&x.value[range.start / area * rows.plane..], rows)
                    }
                });
                out.each(x_adjoint.part(range.clone()), |from, to| {
                    match (open, filled[t]) {
                        (Some(x), true) => add_gated(from, x, to),
                        (Some(x), false) => gate(from, x, (to, x.1.beside())),
                        (None, true) => add(from, to),
                        (None, false) => to.copy_from_slice(from),
                    }
                });
                if let (Some(summing), Some(sums)) = (&self.summing[t], &mut sums[t]) {
                    summing.add(saved, i, out.read(), sums);
                }
            }
            filled[t] = true;
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
