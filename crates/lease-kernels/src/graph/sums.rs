//! What the adjoints of batch norms need: sums over the batch of a state's adjoint against its terms.

use super::{Graph, Id, Saved, Term};
use crate::field::Pair;
use crate::norm::{AdjointSums, Centred, Form, Norm, PlaneSums, plane_sums};
use crate::{LANES, blocks};

/// What the sums of a state's terms are made with.
pub(super) struct Summing<'a> {
    terms: &'a [Term],
    wanted: Vec<bool>,
    /// The terms' batch norms.
    pub(super) norms: Vec<Norm>,
    centres: Vec<[Form; 2]>,
    blocks: usize,
}

impl<'a> Summing<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        saved: &Saved,
        id: Id,
        wanted: impl Fn(&Term) -> bool,
    ) -> Self {
        let (terms, blocks) = (graph.terms(id), blocks(graph.channels(id)));
        let norm = |t: &Term| saved.norm(t, blocks * LANES);
        let norms: Vec<Norm> = terms.iter().map(norm).collect();
        Self {
            terms,
            wanted: terms.iter().map(wanted).collect(),
            centres: norms.iter().map(Norm::centres).collect(),
            norms,
            blocks,
        }
    }

    pub(super) fn zeros(&self) -> Vec<AdjointSums> {
        let zeros = |_: &Term| AdjointSums::zeros(self.blocks);
        self.terms.iter().map(zeros).collect()
    }

    /// Adds those of one image, from the state's adjoint.
    pub(super) fn add(&self, saved: &Saved, i: usize, g: Pair, sums: &mut [AdjointSums]) {
        let area = g.value.len() / self.blocks;
        let field = |t: usize| saved.fields[self.terms[t].source.0].as_ref();
        let wanted: Vec<(usize, Pair)> = (0..self.terms.len())
            .filter(|t| self.wanted[*t])
            .filter_map(|t| Some((t, field(t)?.image(i))))
            .collect();
        let mut planes: Vec<Centred> = Vec::with_capacity(wanted.len());
        let mut own: Vec<PlaneSums> = Vec::with_capacity(wanted.len());
        for b in 0..self.blocks {
            planes.clear();
            for (t, z) in &wanted {
                let z = z.plane(b, area);
                let [mean, tangent] = &self.centres[*t];
                planes.push(Centred {
                    z: z.value,
                    tangent: z.tangent,
                    centre: [&mean[b], &tangent[b]],
                });
            }
            let g = g.plane(b, area);
            plane_sums(g.value, g.tangent, &planes, &mut own);
            for ((t, _), own) in wanted.iter().zip(&own) {
                sums[*t].add(b, own, saved.factor(&self.terms[*t], i));
            }
        }
    }
}

/// The tasks' sums added up in order.
pub(super) fn added_up(parts: Vec<Vec<AdjointSums>>) -> Vec<AdjointSums> {
    let sum = |mut total: Vec<AdjointSums>, part: Vec<AdjointSums>| {
        for (total, part) in total.iter_mut().zip(&part) {
            total.merge(part);
        }
        total
    };
    parts.into_iter().reduce(sum).unwrap_or_default()
}
