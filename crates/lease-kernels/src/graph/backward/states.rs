//! From the adjoints of states to those of what they add up.

use rayon::prelude::*;

use super::super::sums::{Summing, added_up};
use super::super::{Id, Node, Normalise, Term, scaled};
use super::{Contribution, Work, unit_adjoint};
use crate::combine::{Store, combine};
use crate::field::{Field, Pair, PairMut, Share, share_out};
use crate::norm::{Adjoint, AdjointSums, Norm};
use crate::plane::gate_in_place;
use crate::{LANES, blocks};

impl<'a> Work<'a> {
    /// From a state's adjoint to those of the states it adds up, and the forms of those of its units.
    pub(super) fn state(&mut self, id: Id) {
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
        let (mut fields, filled) = self.taken(&targets);
        let made = self.sums[id.0].take();
        let saved = &self.saved;
        let rectified = match (&graph.entries[id.0].node, &saved.fields[id.0]) {
            (Node::State { rectify: true, .. }, Some(field)) => Some(field),
            _ => None,
        };
        let mut all = vec![&mut g];
        all.extend(&mut fields);
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
        self.give_back(&targets, fields);
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
        if !self.keep {
            self.saved.fields[id.0] = None;
        }
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
    pub(super) fn is_summed_early(&self, id: Id) -> bool {
        let terms = self.graph.terms(id);
        !self.graph.is_kept(id) && terms.iter().all(|t| self.graph.is_unit(t.source))
    }

    pub(super) fn summing(&self, id: Id) -> Summing<'a> {
        let wanted = |t: &Term| self.wants_sums(t);
        Summing::new(self.graph, &self.saved, id, wanted)
    }

    fn wants_sums(&self, term: &Term) -> bool {
        self.wanted.sums(term, self.needs[term.source.0])
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
