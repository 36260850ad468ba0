//! The backward pass: level by level from the last.
//!
//! The adjoint of a unit is never stored: it is a linear form of the adjoints of the states that the unit is
//! added to and of the unit itself, worked out image by image where it is used.

mod states;
mod units;

use super::{Graph, Id, Node, Normalise, Output, Saved, Term, Unit, scaled};
use crate::combine::{Store, combine};
use crate::field::{Field, Pair, PairMut};
use crate::norm::{Adjoint, AdjointSums};
use crate::{LANES, Lanes, blocks};

/// Which gradients a backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the coefficients.
    pub coefficients: bool,
    /// That of the input (and of its tangent).
    pub input: bool,
}

impl Wanted {
    /// Whether the sums of a state's adjoint against a term's source are; `needed` is whether the source's adjoint is.
    pub fn sums(self, term: &Term, needed: bool) -> bool {
        let normalised = term.normalise != Normalise::Not && needed;
        let affine = matches!(term.normalise, Normalise::Affine { .. });
        normalised || self.coefficients && term.coefficient.is_some() || self.weights && affine
    }
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

/// A backward pass under way.
struct Work<'a> {
    graph: &'a Graph,
    saved: Saved,
    /// Whether all of that is kept, or freed on the way.
    keep: bool,
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
        self.gradients(saved, results, (weights, coefficients), wanted, false)
            .0
    }

    /// The same, with what was saved, whole: for [`Graph::forward_again`].
    pub fn backward_keeping(
        &self,
        saved: Saved,
        results: &[f32],
        lengths: (usize, usize),
        wanted: Wanted,
    ) -> (Gradients, Saved) {
        self.gradients(saved, results, lengths, wanted, true)
    }

    fn gradients(
        &self,
        saved: Saved,
        results: &[f32],
        (weights, coefficients): (usize, usize),
        wanted: Wanted,
        keep: bool,
    ) -> (Gradients, Saved) {
        let n = self.entries.len();
        let mut work = Work {
            keep,
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
        (work.gradients, work.saved)
    }

    /// Which nodes' adjoints lead to wanted gradients, in the order of [`Graph::nodes`].
    pub fn needs(&self, wanted: Wanted) -> Vec<bool> {
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

impl Work<'_> {
    fn field(&self, id: Id) -> Field {
        let (saved, n) = (&self.saved, blocks(self.graph.channels(id)));
        Field::stale(saved.images, n, saved.sizes[id.0], saved.dual)
    }

    /// The adjoints of states taken out to be written to, each with whether something was added to it already.
    fn taken(&mut self, targets: &[Id]) -> (Vec<Field>, Vec<bool>) {
        let taken = |target: &Id| match self.adjoints[target.0].take() {
            Some(field) => (field, true),
            None => (self.field(*target), false),
        };
        targets.iter().map(taken).unzip()
    }

    /// Puts them back.
    fn give_back(&mut self, targets: &[Id], fields: Vec<Field>) {
        for (target, field) in targets.iter().zip(fields) {
            self.adjoints[target.0] = Some(field);
        }
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
