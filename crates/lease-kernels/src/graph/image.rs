//! The work on one image: states from their terms, and what units read.

use super::{Graph, Group, Id, Node, Saved, scaled};
use crate::combine::{Store, combine_into};
use crate::field::{Halves, Pair, PairMut, most};
use crate::norm::{ImageSums, image_sums};
use crate::plane::{Rows, gate, place};
use crate::stage::{Forms, Prepared, Scratch, StageShape};
use crate::{LANES, Lanes, blocks};

/// Appends the sums of all planes of an image.
pub(super) fn sums_of(z: Pair, area: usize, sums: &mut Vec<ImageSums>) {
    for b in 0..z.value.len() / area {
        let plane = z.plane(b, area);
        sums.push(image_sums(plane.value, plane.tangent));
    }
}

impl Saved {
    /// One image of a state, or of its tangent alone, worked out from its terms; rectified if it is, or if its reader wants it
    /// so. It is written to these rows of each block's plane.
    pub(super) fn state_image(
        &self,
        graph: &Graph,
        id: Id,
        i: usize,
        rectified: bool,
        (mut out, rows): (PairMut, Rows),
        halves: Halves,
    ) {
        let rectify =
            rectified || matches!(graph.entries[id.0].node, Node::State { rectify: true, .. });
        let store = if rectify {
            Store::Rectified
        } else {
            Store::Set
        };
        let area = self.sizes[id.0].area();
        let terms = graph.terms(id);
        let mut values: Vec<(Lanes, &[Lanes])> = Vec::with_capacity(terms.len());
        let mut tangents: Vec<(Lanes, &[Lanes])> = Vec::with_capacity(2 * terms.len());
        for b in 0..out.value.len() / rows.plane {
            values.clear();
            tangents.clear();
            let (mut constant, mut tangent_constant) = ([0.0; LANES], [0.0; LANES]);
            for (term, weighted) in terms.iter().zip(&self.terms[id.0]) {
                let Some(field) = &self.fields[term.source.0] else {
                    continue;
                };
                let (factor, form) = (self.factor(term, i), &weighted.form);
                let plane = field.image(i).plane(b, area);
                for l in 0..LANES {
                    constant[l] += factor * form.shift[b][l];
                    tangent_constant[l] += factor * form.tangent_shift[b][l];
                }
                values.push((scaled(&form.scale[b], factor), plane.value));
                if let Some(tangent) = plane.tangent {
                    tangents.push((scaled(&form.scale[b], factor), tangent));
                    // The identity has no slope.
                    if form.slope[b] != [0.0; LANES] {
                        tangents.push((scaled(&form.slope[b], factor), plane.value));
                    }
                }
            }
            let range = b * rows.plane..(b + 1) * rows.plane;
            let value = &mut out.value[range.clone()];
            if halves == Halves::Both {
                combine_into(&constant, &values, (&mut *value, rows), store);
            }
            if let Some(out) = out.tangent.as_deref_mut() {
                let out = &mut out[range];
                let store = if rectify {
                    Store::Gated(value)
                } else {
                    Store::Set
                };
                combine_into(&tangent_constant, &tangents, (out, rows), store);
            }
        }
    }

    /// What a group of units reads of one image, in these forms.
    pub(super) fn prepare(
        &self,
        graph: &Graph,
        group: &Group,
        forms: Forms,
        i: usize,
        prepared: &mut Prepared,
    ) {
        if forms.none() {
            return;
        }
        let mut start = 0;
        for source in &group.sources {
            let (out, rows) = prepared.write(forms);
            let n = blocks(graph.channels(*source)) * rows.plane;
            let mut out = out.part(start..start + n);
            start += n;
            match &self.fields[source.0] {
                Some(field) => {
                    let x = field.image(i);
                    if group.rectify {
                        let own = (x.value, rows.beside());
                        out.each(x, |from, to| gate(from, own, (to, rows)));
                    } else {
                        out.each(x, |from, to| place(from, to, rows));
                    }
                }
                None => {
                    let to = (out, rows);
                    self.state_image(graph, *source, i, group.rectify, to, Halves::Both);
                }
            }
        }
        prepared.complete();
    }
}

/// A group's convolutions.
fn shapes<'a>(graph: &'a Graph, group: &'a Group) -> impl Iterator<Item = &'a StageShape> {
    group.units.iter().filter_map(|u| graph.shape(*u))
}

/// The forms in which a group's convolutions read its sources.
pub(super) fn forms(graph: &Graph, group: &Group) -> Forms {
    shapes(graph, group)
        .map(Forms::of)
        .fold(Forms::default(), Forms::and)
}

/// Memory for what a level's groups read of some images, shared by groups of the same shape so that
/// borders are cleared once.
pub(super) struct Readers {
    /// For each group, which of `all` serves it.
    of_group: Vec<usize>,
    all: Vec<(Vec<Prepared>, Scratch)>,
}

impl Readers {
    /// How many images of these groups are worth working on together.
    pub(super) fn together(graph: &Graph, saved: &Saved, groups: &[Group]) -> usize {
        let worth = |group: &Group| {
            let size = saved.sizes[group.sources[0].0];
            let each = shapes(graph, group).map(move |s| s.together(size));
            each.max().unwrap_or(1)
        };
        let worth = groups.iter().map(worth).max().unwrap_or(1);
        worth.min(most(saved.images))
    }

    /// For so many images together; `forms` are those in which each group's sources are read.
    pub(super) fn new(
        graph: &Graph,
        saved: &Saved,
        groups: &[Group],
        forms: &[Forms],
        together: usize,
    ) -> Self {
        let key = |group: &Group| {
            let n: usize = group
                .sources
                .iter()
                .map(|s| blocks(graph.channels(*s)))
                .sum();
            (n, saved.sizes[group.sources[0].0])
        };
        let mut keys = Vec::new();
        let mut of_group = Vec::with_capacity(groups.len());
        for group in groups {
            let key = key(group);
            let at = keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            of_group.push(at);
        }
        let all = keys
            .iter()
            .enumerate()
            .map(|(k, (n, size))| {
                let members = groups.iter().zip(&of_group).filter(|(_, at)| **at == k);
                let stages: Vec<&StageShape> =
                    members.flat_map(|(g, _)| shapes(graph, g)).collect();
                let stages = stages.iter().copied();
                let members = forms.iter().zip(&of_group).filter(|(_, at)| **at == k);
                let forms = members.map(|(f, _)| *f).fold(Forms::default(), Forms::and);
                let prepared = || Prepared::new(*n, *size, saved.dual, forms, stages.clone());
                (
                    (0..together).map(|_| prepared()).collect(),
                    Scratch::new(*size, saved.dual, together, stages.clone()),
                )
            })
            .collect();
        Self { of_group, all }
    }

    /// What a group reads of so many images, and memory for the work on them.
    pub(super) fn of(&mut self, group: usize, images: usize) -> (&mut [Prepared], &mut Scratch) {
        let (prepared, scratch) = &mut self.all[self.of_group[group]];
        (&mut prepared[..images], scratch)
    }
}
