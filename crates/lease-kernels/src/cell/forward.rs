//! The forward pass: state by state, node by node.

use super::image::{
    Memory, normalise, pool_avg, pool_max, reduced_size, reduction_samples, sums_of,
};
use super::{Cell, Edge, OPERATIONS, Pools, Saved, Source, sources};
use crate::LANES;
use crate::edge::{Pair, Scratch, Stage, StageShape};
use crate::field::{Field, share_out};
use crate::norm::{ImageSums, Norm, combine};
use crate::plane::Size;

/// An edge's stages: of the skip if it reduces, of the separable convolutions' halves, of the dilated ones.
type EdgeStages = (Option<Stage>, [[Stage; 2]; 2], [Stage; 2]);

impl Cell {
    /// The cell's output, the nodes' channels one after the other. In a dual pass the inputs carry tangents,
    /// and `tangents` are those of the weights if they have any.
    pub fn forward(
        &self,
        inputs: [&Field; 2],
        weights: &[f32],
        tangents: Option<&[f32]>,
        mixture: &[f32],
    ) -> (Field, Saved) {
        let dual = inputs[0].tangent.is_some();
        let images = inputs[0].images;
        let stage = |shape: &StageShape| Stage::new(shape.clone(), weights, tangents);
        let preprocessed = [0, 1].map(|i| {
            let stage = stage(&self.preprocess[i]);
            let (z, norm) = self.preprocess_forward(&stage, inputs[i]);
            let state = normalised(&z, &norm);
            ((stage, z, norm), state)
        });
        let [(first, s0), (second, s1)] = preprocessed;
        let mut states = vec![s0, s1];
        let mut pools = Vec::new();
        let mut edges: Vec<Option<Edge>> = self.edges.iter().map(|_| None).collect();
        let after = states[0].size.strided(self.stride(0));
        let mut output = Field::stale(images, self.shape.nodes * self.blocks(), after, dual);
        for state in 0..self.shape.nodes + 1 {
            if state >= 2 {
                states.push(self.mix(state - 2, &states, &pools, &edges, mixture));
            }
            let out = self.out_of(state);
            let stages: Vec<_> = out
                .iter()
                .map(|e| {
                    let edge = &self.edges[*e];
                    (
                        edge.skip.as_ref().map(stage),
                        edge.sep.each_ref().map(|s| s.each_ref().map(stage)),
                        edge.dil.each_ref().map(stage),
                    )
                })
                .collect();
            let (pooled, computed) = self.state_forward(&states[state], self.stride(state), stages);
            pools.push(pooled);
            for (e, edge) in out.into_iter().zip(computed) {
                edges[e] = Some(edge);
            }
        }
        let last = self.shape.nodes - 1;
        states.push(self.mix(last, &states, &pools, &edges, mixture));
        concatenate(&states[2..], &mut output);
        let saved = Saved {
            dual,
            preprocess: [first, second],
            states,
            pools,
            edges: edges.into_iter().flatten().collect(),
        };
        (output, saved)
    }

    fn preprocess_forward(&self, stage: &Stage, input: &Field) -> (Field, Norm) {
        let size = reduced_size(&stage.shape, input.size);
        let dual = input.tangent.is_some();
        let mut z = Field::stale(input.images, self.blocks(), size, dual);
        let sums = share_out(input.images, vec![&mut z], |mut part| {
            let mut rectified = Memory::new(input.blocks, input.size, dual);
            let mut gathered = Memory::new(2 * input.blocks, size, dual);
            let mut scratch = Scratch::new(0, size);
            let mut all = Vec::new();
            for i in part.images.clone() {
                rectified.rectify(input.image(i));
                let x =
                    reduction_samples(&stage.shape, rectified.read(), input.size, &mut gathered);
                let mut fields = part.image(i);
                stage.forward(x, size, fields[0].again(), &mut scratch);
                all.push(sums_of(fields[0].read(), size));
            }
            all
        });
        let norm = Norm::new(&sums.concat(), size.area());
        (z, norm)
    }

    /// All edges out of a state, and its pools: two passes over the images, since the second halves of
    /// separable convolutions need the statistics of the first.
    fn state_forward(
        &self,
        x: &Field,
        stride: usize,
        stages: Vec<EdgeStages>,
    ) -> (Pools, Vec<Edge>) {
        let dual = x.tangent.is_some();
        let (size, after) = (x.size, x.size.strided(stride));
        let n = self.blocks();
        let field = || Field::stale(x.images, n, after, dual);
        // Per edge: the first halves of sep 3×3 and 5×5, dil 3×3, dil 5×5, skip.
        let mut z: Vec<Vec<Field>> = stages
            .iter()
            .map(|(skip, ..)| {
                (0..4 + usize::from(skip.is_some()))
                    .map(|_| field())
                    .collect()
            })
            .collect();
        let (mut max, mut avg) = (field(), field());
        let mut fields: Vec<&mut Field> = vec![&mut max, &mut avg];
        fields.extend(z.iter_mut().flatten());
        let results = share_out(x.images, fields, |mut part| {
            let mut rectified = Memory::new(n, size, dual);
            let mut padded = Memory::zeros(n, size.padded(), dual);
            let mut gathered = Memory::new(2 * n, after, dual);
            let mut scratch = Scratch::new(n, size);
            let mut index = vec![[0u32; LANES]; part.images.len() * n * after.area()];
            let mut sums = Vec::new();
            let start = part.images.start;
            for i in part.images.clone() {
                let image = x.image(i);
                rectified.rectify(image);
                padded.pad(rectified.read(), n, size);
                let mut out = part.image(i).into_iter();
                let mut next = || out.next().unwrap_or_else(|| unreachable!("a field each"));
                let mut image_sums = Vec::new();
                let index = &mut index[(i - start) * n * after.area()..][..n * after.area()];
                let mut max = next();
                pool_max(image, size, stride, max.again(), index);
                image_sums.push(sums_of(max.read(), after));
                let mut avg = next();
                pool_avg(image, size, stride, avg.again());
                image_sums.push(sums_of(avg.read(), after));
                for (skip, sep, dil) in &stages {
                    for stage in [&sep[0][0], &sep[1][0], &dil[0], &dil[1]] {
                        let mut z = next();
                        stage.forward(padded.read(), size, z.again(), &mut scratch);
                        image_sums.push(sums_of(z.read(), after));
                    }
                    if let Some(stage) = skip {
                        let mut z = next();
                        let samples =
                            reduction_samples(&stage.shape, rectified.read(), size, &mut gathered);
                        stage.forward(samples, after, z.again(), &mut scratch);
                        image_sums.push(sums_of(z.read(), after));
                    }
                }
                sums.push(image_sums);
            }
            (sums, index)
        });
        let (sums, indices): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let mut first_norms = norms(sums.concat(), after).into_iter();
        let mut next = || {
            first_norms
                .next()
                .unwrap_or_else(|| unreachable!("a norm each"))
        };
        let pools = Pools {
            max: (max, next()),
            index: indices.concat(),
            avg: (avg, next()),
        };
        let first: Vec<(Vec<Field>, Vec<Norm>)> = z
            .into_iter()
            .map(|z| {
                let norms = z.iter().map(|_| next()).collect();
                (z, norms)
            })
            .collect();

        let mut second: Vec<[Field; 2]> = stages.iter().map(|_| [field(), field()]).collect();
        let fields = second.iter_mut().flatten().collect();
        let sums = share_out(x.images, fields, |mut part| {
            let mut hidden = Memory::new(n, after, dual);
            let mut rectified = Memory::new(n, after, dual);
            let mut padded = Memory::zeros(n, after.padded(), dual);
            let mut scratch = Scratch::new(n, after);
            let mut sums = Vec::new();
            for i in part.images.clone() {
                let mut image_sums = Vec::new();
                let mut out = part.image(i).into_iter();
                for ((_, sep, _), (z, norms)) in stages.iter().zip(&first) {
                    for (k, halves) in sep.iter().enumerate() {
                        hidden.normalise(z[k].image(i), &norms[k], after.area());
                        rectified.rectify(hidden.read());
                        padded.pad(rectified.read(), n, after);
                        let Some(mut z) = out.next() else { continue };
                        halves[1].forward(padded.read(), after, z.again(), &mut scratch);
                        image_sums.push(sums_of(z.read(), after));
                    }
                }
                sums.push(image_sums);
            }
            sums
        });
        let mut second_norms = norms(sums.concat(), after).into_iter();
        let edges = stages
            .into_iter()
            .zip(first)
            .zip(second)
            .map(|(((skip, sep, dil), (z, norms)), second)| {
                let mut first = z.into_iter().zip(norms);
                let mut take = || first.next().unwrap_or_else(|| unreachable!("four or five"));
                let firsts = [take(), take()];
                let dils = [take(), take()];
                let with = |stage, (z, norm): (Field, Norm)| (stage, z, norm);
                let mut seconds = second.into_iter();
                let sep = two(sep.into_iter().zip(firsts).map(|([a, b], first)| {
                    let norm = second_norms
                        .next()
                        .unwrap_or_else(|| unreachable!("two each"));
                    let z = seconds.next().unwrap_or_else(|| unreachable!("two each"));
                    [with(a, first), (b, z, norm)]
                }));
                Edge {
                    sep,
                    dil: two(dil.into_iter().zip(dils).map(|(s, z)| with(s, z))),
                    skip: skip.map(|stage| with(stage, take())),
                }
            })
            .collect();
        (pools, edges)
    }

    /// The sum of all weighted candidates on the edges into a node.
    fn mix(
        &self,
        node: usize,
        states: &[Field],
        pools: &[Pools],
        edges: &[Option<Edge>],
        mixture: &[f32],
    ) -> Field {
        let template = &pools[0].max.0;
        let dual = template.tangent.is_some();
        let mut out = Field::stale(template.images, self.blocks(), template.size, dual);
        let edges: Vec<&Edge> = self
            .edges_to(node)
            .filter_map(|e| edges[e].as_ref())
            .collect();
        let first = self.edges_to(node).start;
        let area = template.size.area();
        let sources = |edge: usize| sources(&states[edge], &pools[edge], edges[edge]);
        let forms: Vec<Vec<_>> = (0..edges.len())
            .map(|j| {
                let weight = |k| f64::from(mixture[(first + j) * OPERATIONS + k]);
                let sources = sources(j);
                let form = |(k, _, norm): &Source| match norm {
                    Some(norm) => norm.forward(weight(*k)),
                    None => Norm::none(self.blocks() * LANES).forward(weight(*k)),
                };
                sources.iter().map(form).collect()
            })
            .collect();
        share_out(template.images, vec![&mut out], |mut part| {
            for i in part.images.clone() {
                let mut fields = part.image(i);
                let out = &mut fields[0];
                for b in 0..self.blocks() {
                    let range = b * area..(b + 1) * area;
                    for (j, forms) in forms.iter().enumerate() {
                        let sources = sources(j);
                        let planes: Vec<Pair> = sources
                            .iter()
                            .map(|s| s.1.image(i).plane(b, area))
                            .collect();
                        let mut constant = [0.0; LANES];
                        let mut tangent_constant = [0.0; LANES];
                        for form in forms {
                            for l in 0..LANES {
                                constant[l] += form.shift[b][l];
                                tangent_constant[l] += form.tangent_shift[b][l];
                            }
                        }
                        let terms: Vec<_> = forms
                            .iter()
                            .zip(&planes)
                            .map(|(f, p)| (&f.scale[b], p.value))
                            .collect();
                        combine(&constant, &terms, &mut out.value[range.clone()], j > 0);
                        if let Some(out) = &mut out.tangent {
                            let mut terms = Vec::new();
                            for (f, p) in forms.iter().zip(&planes) {
                                terms.extend(p.tangent.map(|t| (&f.scale[b], t)));
                                terms.push((&f.slope[b], p.value));
                            }
                            combine(&tangent_constant, &terms, &mut out[range.clone()], j > 0);
                        }
                    }
                }
            }
        });
        out
    }
}

fn two<T>(items: impl Iterator<Item = T>) -> [T; 2] {
    let mut items = items;
    std::array::from_fn(|_| items.next().unwrap_or_else(|| unreachable!("two items")))
}

/// The norms of several fields from the sums `[image][field][block]`.
fn norms(sums: Vec<Vec<Vec<ImageSums>>>, size: Size) -> Vec<Norm> {
    let fields = sums.first().map_or(0, Vec::len);
    (0..fields)
        .map(|f| {
            let of_field: Vec<Vec<ImageSums>> = sums.iter().map(|image| image[f].clone()).collect();
            Norm::new(&of_field, size.area())
        })
        .collect()
}

/// A field normalised.
fn normalised(z: &Field, norm: &Norm) -> Field {
    let dual = z.tangent.is_some();
    let mut out = Field::stale(z.images, z.blocks, z.size, dual);
    let area = z.size.area();
    let form = norm.forward(1.0);
    share_out(z.images, vec![&mut out], |mut part| {
        for i in part.images.clone() {
            let mut fields = part.image(i);
            normalise(z.image(i), &form, area, fields[0].again());
        }
    });
    out
}

fn concatenate(nodes: &[Field], out: &mut Field) {
    let per = nodes.first().map_or(0, Field::per_image);
    share_out(out.images, vec![out], |mut part| {
        for i in part.images.clone() {
            let mut fields = part.image(i);
            let out = &mut fields[0];
            for (k, node) in nodes.iter().enumerate() {
                let node = node.image(i);
                out.value[k * per..(k + 1) * per].copy_from_slice(node.value);
                if let (Some(t), Some(out)) = (node.tangent, &mut out.tangent) {
                    out[k * per..(k + 1) * per].copy_from_slice(t);
                }
            }
        }
    });
}
