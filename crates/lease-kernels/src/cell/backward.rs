//! The backward pass: node by node from the last, then the preprocessings.

use std::ops::Range;

use super::image::{Memory, Wide, pool_avg_backward, pool_max_backward, reduction_samples};
use super::{Cell, CellGradients, Edge, OPERATIONS, Saved, Source, Wanted, sources};
use crate::edge::{Gradients, Pair, Scratch, Stage};
use crate::field::{Field, Part, share_out};
use crate::norm::{Adjoint, AdjointSums, Norm, Planes};
use crate::plane::gate;
use crate::{LANES, Lanes};

impl Cell {
    /// The gradients, from that of the output (and of its tangent).
    pub fn backward(
        &self,
        inputs: [&Field; 2],
        mixture: &[f32],
        saved: &Saved,
        output: &Field,
        wanted: Wanted,
    ) -> CellGradients {
        let dual = saved.dual;
        let mut weights = wanted.weights.then(|| vec![0.0; self.weights]);
        let mut mixture_gradient = vec![0.0; mixture.len()];
        // The gradients of all states; a node's starts with its part of the output's.
        let mut states: Vec<Field> = saved
            .states
            .iter()
            .enumerate()
            .map(|(j, s)| match j {
                0 | 1 => Field::zeros(s.images, s.blocks, s.size, dual),
                _ => part_of(output, (j - 2) * self.blocks(), self.blocks()),
            })
            .collect();
        for node in (0..self.shape.nodes).rev() {
            let edges = self.edges_to(node);
            let (before, rest) = states.split_at_mut(node + 2);
            let g = &rest[0];
            let sums = self.node_sums(saved, edges.clone(), g);
            let weight = |e: usize, k: usize| f64::from(mixture[e * OPERATIONS + k]);
            let adjoints: Vec<Vec<Adjoint>> = edges
                .clone()
                .zip(&sums)
                .enumerate()
                .map(|(j, (e, sums))| {
                    let edge = &saved.edges[e];
                    let sources = sources(&saved.states[j], &saved.pools[j], edge);
                    let of = |((k, _, norm), sums): (&Source, &AdjointSums)| {
                        let none = Norm::none(self.blocks() * LANES);
                        let norm = norm.unwrap_or(&none);
                        mixture_gradient[e * OPERATIONS + k] = norm.along(sums) as f32;
                        norm.backward(weight(e, *k), sums)
                    };
                    sources.iter().zip(sums).map(of).collect()
                })
                .collect();
            self.node_backward(saved, edges, g, &adjoints, before, &mut weights);
        }
        let [a, b] = [0, 1].map(|i| {
            self.preprocess_backward(
                inputs[i],
                &saved.preprocess[i],
                &states[i],
                wanted,
                &mut weights,
            )
        });
        CellGradients {
            inputs: a.zip(b).map(|(a, b)| [a, b]),
            weights,
            mixture: mixture_gradient,
        }
    }

    /// The sums of a node's gradient against every source of every edge into it.
    fn node_sums(&self, saved: &Saved, edges: Range<usize>, g: &Field) -> Vec<Vec<AdjointSums>> {
        let area = g.size.area();
        let all: Vec<Vec<Source>> = edges
            .enumerate()
            .map(|(j, e)| sources(&saved.states[j], &saved.pools[j], &saved.edges[e]))
            .collect();
        let centres: Vec<Vec<[Vec<Lanes>; 2]>> = all
            .iter()
            .map(|s| s.iter().map(|(_, _, norm)| self.centres(*norm)).collect())
            .collect();
        let parts = share_out(g.images, Vec::new(), |part: Part| {
            let zeros = |s: &Vec<Source>| -> Vec<AdjointSums> {
                s.iter()
                    .map(|_| AdjointSums::zeros(self.blocks()))
                    .collect()
            };
            let mut sums: Vec<Vec<AdjointSums>> = all.iter().map(zeros).collect();
            for i in part.images.clone() {
                for b in 0..self.blocks() {
                    let g = g.image(i).plane(b, area);
                    for (j, sources) in all.iter().enumerate() {
                        for (k, (_, field, _)) in sources.iter().enumerate() {
                            let [mean, tangent] = &centres[j][k];
                            let planes = planes(g, field.image(i).plane(b, area));
                            sums[j][k].add(b, &planes, [&mean[b], &tangent[b]]);
                        }
                    }
                }
            }
            sums
        });
        merged(parts, |a, b| {
            for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
                a.merge(b);
            }
        })
    }

    fn centres(&self, norm: Option<&Norm>) -> [Vec<Lanes>; 2] {
        match norm {
            Some(norm) => norm.centres(),
            None => Norm::none(self.blocks() * LANES).centres(),
        }
    }

    /// From a node's gradient to those of the states before it and of the weights on the edges into it.
    fn node_backward(
        &self,
        saved: &Saved,
        edges: Range<usize>,
        g: &Field,
        adjoints: &[Vec<Adjoint>],
        before: &mut [Field],
        weights: &mut Option<Vec<f32>>,
    ) {
        let (n, dual, after) = (self.blocks(), saved.dual, g.size);
        let area = after.area();
        let want = weights.is_some();
        let hidden_field = || Field::stale(g.images, n, after, dual);
        let mut hidden: Vec<[Field; 2]> = edges
            .clone()
            .map(|_| [hidden_field(), hidden_field()])
            .collect();
        let hidden_centres: Vec<_> = edges
            .clone()
            .map(|e| saved.edges[e].sep.each_ref().map(|sep| sep[0].2.centres()))
            .collect();
        // What every task needs for each edge: gradients to add to, and memory at its state's resolution.
        let workspace = || -> (Vec<EdgeGradients>, Vec<Wide>) {
            let of = |(j, e): (usize, usize)| {
                (
                    EdgeGradients::new(&saved.edges[e]),
                    Wide::new(n, saved.states[j].size, after, dual),
                )
            };
            edges.clone().enumerate().map(of).unzip()
        };
        let mut fields: Vec<&mut Field> = before.iter_mut().collect();
        fields.extend(hidden.iter_mut().flatten());
        let parts = share_out(g.images, fields, |mut part| {
            let mut z_adjoint = Memory::new(n, after, dual);
            let mut hidden = Memory::new(n, after, dual);
            let mut rectified = Memory::new(n, after, dual);
            let mut padded = Memory::zeros(n, after.padded(), dual);
            let mut scratch = Scratch::new(n, after);
            let mut sums: Vec<[AdjointSums; 2]> = edges
                .clone()
                .map(|_| [AdjointSums::zeros(n), AdjointSums::zeros(n)])
                .collect();
            let (mut gradients, mut wide) = workspace();
            for i in part.images.clone() {
                let mut out = part.image(i);
                let (states, hiddens) = out.split_at_mut(edges.len());
                let g = g.image(i);
                for (j, e) in edges.clone().enumerate() {
                    let (edge, adjoints) = (&saved.edges[e], &adjoints[j]);
                    let gradients = &mut gradients[j];
                    let x = saved.states[j].image(i);
                    let size = saved.states[j].size;
                    let pools = &saved.pools[j];
                    let state = &mut states[j];
                    let stride = self.stride(j);
                    let wide = &mut wide[j];
                    // Pools and skip: sources 0, 1 and 2.
                    z_adjoint.adjoint(g, pools.max.0.image(i), &adjoints[0], area);
                    let index = &pools.index[i * n * area..][..n * area];
                    pool_max_backward(z_adjoint.read(), index, size, after, state.again());
                    z_adjoint.adjoint(g, pools.avg.0.image(i), &adjoints[1], area);
                    pool_avg_backward(z_adjoint.read(), size, stride, state.again());
                    wide.rectified.rectify(x);
                    match &edge.skip {
                        None => {
                            z_adjoint.adjoint(g, x, &adjoints[2], area);
                            state.add(z_adjoint.read());
                        }
                        Some((stage, z, _)) => {
                            z_adjoint.adjoint(g, z.image(i), &adjoints[2], area);
                            let samples = reduction_samples(
                                &stage.shape,
                                wide.rectified.read(),
                                size,
                                &mut wide.samples,
                            );
                            let wanted = want.then_some(()).and(gradients.skip.as_mut());
                            stage.backward(
                                samples,
                                after,
                                z_adjoint.read(),
                                wanted,
                                wide.sample_adjoint.write(),
                                &mut scratch,
                            );
                            wide.spread(size, after);
                            state.add_gated(wide.adjoint.read(), x.value);
                        }
                    }
                    // Dilated convolutions: sources 5 and 6.
                    wide.padded.pad(wide.rectified.read(), n, size);
                    for k in 0..2 {
                        let (stage, z, _) = &edge.dil[k];
                        z_adjoint.adjoint(g, z.image(i), &adjoints[5 + k], area);
                        let wanted = want.then_some(&mut gradients.dil[k]);
                        stage.backward(
                            wide.padded.read(),
                            size,
                            z_adjoint.read(),
                            wanted,
                            wide.adjoint.write(),
                            &mut wide.scratch,
                        );
                        state.add_gated(wide.adjoint.read(), x.value);
                    }
                    // Second halves of separable convolutions: sources 3 and 4.
                    for k in 0..2 {
                        let [(_, first, first_norm), (stage, second, _)] = &edge.sep[k];
                        z_adjoint.adjoint(g, second.image(i), &adjoints[3 + k], area);
                        hidden.normalise(first.image(i), first_norm, area);
                        rectified.rectify(hidden.read());
                        padded.pad(rectified.read(), n, after);
                        let wanted = want.then_some(&mut gradients.sep[k][1]);
                        let out = &mut hiddens[2 * j + k];
                        let adjoint = rectified.write();
                        stage.backward(
                            padded.read(),
                            after,
                            z_adjoint.read(),
                            wanted,
                            adjoint,
                            &mut scratch,
                        );
                        gate(rectified.read().value, hidden.read().value, out.value);
                        if let (Some(t), Some(out)) = (rectified.read().tangent, &mut out.tangent) {
                            gate(t, hidden.read().value, out);
                        }
                        let [mean, tangent] = &hidden_centres[j][k];
                        for b in 0..n {
                            let g = out.read().plane(b, area);
                            let planes = planes(g, first.image(i).plane(b, area));
                            sums[j][k].add(b, &planes, [&mean[b], &tangent[b]]);
                        }
                    }
                }
            }
            (sums, gradients)
        });
        let (sums, gradients): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let sums = merged(sums, |a: &mut Vec<[AdjointSums; 2]>, b| {
            for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
                a.merge(b);
            }
        });
        let first: Vec<[Adjoint; 2]> = edges
            .clone()
            .zip(&sums)
            .map(|(e, sums)| [0, 1].map(|k| saved.edges[e].sep[k][0].2.backward(1.0, &sums[k])))
            .collect();
        let fields = before.iter_mut().collect();
        let first_gradients = share_out(g.images, fields, |mut part| {
            let mut z_adjoint = Memory::new(n, after, dual);
            let (mut gradients, mut wide) = workspace();
            for i in part.images.clone() {
                let mut states = part.image(i);
                for (j, e) in edges.clone().enumerate() {
                    let x = saved.states[j].image(i);
                    let size = saved.states[j].size;
                    let wide = &mut wide[j];
                    wide.rectified.rectify(x);
                    wide.padded.pad(wide.rectified.read(), n, size);
                    for k in 0..2 {
                        let (stage, z, _) = &saved.edges[e].sep[k][0];
                        let g = hidden[j][k].image(i);
                        z_adjoint.adjoint(g, z.image(i), &first[j][k], area);
                        let wanted = want.then_some(&mut gradients[j].sep[k][0]);
                        stage.backward(
                            wide.padded.read(),
                            size,
                            z_adjoint.read(),
                            wanted,
                            wide.adjoint.write(),
                            &mut wide.scratch,
                        );
                        states[j].add_gated(wide.adjoint.read(), x.value);
                    }
                }
            }
            gradients
        });
        if let Some(weights) = weights {
            let parts = gradients.into_iter().chain(first_gradients).collect();
            let total = merged(parts, |a: &mut Vec<EdgeGradients>, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| a.merge(b));
            });
            for (e, gradients) in edges.zip(total) {
                gradients.unpack(&saved.edges[e], weights);
            }
        }
    }

    fn preprocess_backward(
        &self,
        input: &Field,
        (stage, z, norm): &(Stage, Field, Norm),
        g: &Field,
        wanted: Wanted,
        weights: &mut Option<Vec<f32>>,
    ) -> Option<Field> {
        let (n, dual, size) = (self.blocks(), g.tangent.is_some(), z.size);
        let area = size.area();
        let [mean, tangent] = norm.centres();
        let sums = share_out(g.images, Vec::new(), |part: Part| {
            let mut sums = AdjointSums::zeros(n);
            for i in part.images.clone() {
                for b in 0..n {
                    let planes = planes(g.image(i).plane(b, area), z.image(i).plane(b, area));
                    sums.add(b, &planes, [&mean[b], &tangent[b]]);
                }
            }
            sums
        });
        let adjoint = norm.backward(1.0, &merged(sums, |a: &mut AdjointSums, b| a.merge(b)));
        let mut out = Field::zeros(input.images, input.blocks, input.size, dual);
        let gradients = share_out(g.images, vec![&mut out], |mut part| {
            let mut z_adjoint = Memory::new(n, size, dual);
            let mut wide = Wide::new(input.blocks, input.size, size, dual);
            let mut gradients = stage.shape.gradients();
            let mut scratch = Scratch::new(0, size);
            for i in part.images.clone() {
                let x = input.image(i);
                z_adjoint.adjoint(g.image(i), z.image(i), &adjoint, area);
                wide.rectified.rectify(x);
                let reduce = stage.shape.matrices.len() == 2;
                let samples = reduction_samples(
                    &stage.shape,
                    wide.rectified.read(),
                    input.size,
                    &mut wide.samples,
                );
                let target = if reduce {
                    wide.sample_adjoint.write()
                } else {
                    wide.adjoint.write()
                };
                let wanted = wanted.weights.then_some(&mut gradients);
                stage.backward(
                    samples,
                    size,
                    z_adjoint.read(),
                    wanted,
                    target,
                    &mut scratch,
                );
                if reduce {
                    wide.spread(input.size, size);
                }
                part.image(i)[0].add_gated(wide.adjoint.read(), x.value);
            }
            gradients
        });
        if let Some(weights) = weights {
            let total = merged(gradients, |a: &mut Gradients, b| a.merge(b));
            stage.shape.unpack(&total, weights);
        }
        wanted.inputs.then_some(out)
    }
}

fn planes<'a>(g: Pair<'a>, z: Pair<'a>) -> Planes<'a> {
    Planes {
        g: g.value,
        z: z.value,
        dual: g.tangent.zip(z.tangent),
    }
}

/// The tasks' results added up in order.
fn merged<T>(parts: Vec<T>, add: impl Fn(&mut T, &T)) -> T {
    let mut parts = parts.into_iter();
    let mut total = parts
        .next()
        .unwrap_or_else(|| unreachable!("at least one task"));
    for part in parts {
        add(&mut total, &part);
    }
    total
}

/// Some blocks of a field.
fn part_of(field: &Field, first: usize, blocks: usize) -> Field {
    let mut out = Field::stale(field.images, blocks, field.size, field.tangent.is_some());
    let area = field.size.area();
    let range = first * area..(first + blocks) * area;
    share_out(field.images, vec![&mut out], |mut part| {
        for i in part.images.clone() {
            let (mut fields, from) = (part.image(i), field.image(i));
            fields[0].value.copy_from_slice(&from.value[range.clone()]);
            if let (Some(t), Some(out)) = (from.tangent, &mut fields[0].tangent) {
                out.copy_from_slice(&t[range.clone()]);
            }
        }
    });
    out
}

/// Gradients of an edge's weights.
struct EdgeGradients {
    skip: Option<Gradients>,
    sep: [[Gradients; 2]; 2],
    dil: [Gradients; 2],
}

impl EdgeGradients {
    fn new(edge: &Edge) -> Self {
        let of = |(stage, ..): &(Stage, Field, Norm)| stage.shape.gradients();
        Self {
            skip: edge.skip.as_ref().map(of),
            sep: edge.sep.each_ref().map(|halves| halves.each_ref().map(of)),
            dil: edge.dil.each_ref().map(of),
        }
    }

    fn merge(&mut self, other: &Self) {
        if let (Some(a), Some(b)) = (&mut self.skip, &other.skip) {
            a.merge(b);
        }
        let ours = self.sep.iter_mut().flatten().chain(&mut self.dil);
        for (a, b) in ours.zip(other.sep.iter().flatten().chain(&other.dil)) {
            a.merge(b);
        }
    }

    fn unpack(&self, edge: &Edge, weights: &mut [f32]) {
        let add =
            |(stage, ..): &(Stage, Field, Norm), gradients: &Gradients, weights: &mut [f32]| {
                stage.shape.unpack(gradients, weights);
            };
        if let (Some(stage), Some(gradients)) = (&edge.skip, &self.skip) {
            add(stage, gradients, weights);
        }
        for (halves, gradients) in edge.sep.iter().zip(&self.sep) {
            for (stage, gradients) in halves.iter().zip(gradients) {
                add(stage, gradients, weights);
            }
        }
        for (stage, gradients) in edge.dil.iter().zip(&self.dil) {
            add(stage, gradients, weights);
        }
    }
}
