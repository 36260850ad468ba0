//! A whole cell of the DARTS space in training mode, forward and backward, on values or dual numbers.

use crate::conv::Kernel;
use crate::edge::{Gradients, Pair, PairMut, Scratch, Stage, StageShape};
use crate::field::{Field, Part, share_out};
use crate::norm::{Adjoint, AdjointSums, ImageSums, Norm, Planes, combine, image_sums};
use crate::plane::{
    Size, add, add_gated, add_to_maxima, avg_pool, avg_pool_backward, gate, max_pool, pad, rectify,
    take_maxima,
};
use crate::pool::Buffer;
use crate::{LANES, Lanes, blocks};

/// Columns of the mixing coefficients: none, max-pool, mean-pool, skip, sep 3×3, sep 5×5, dil 3×3, dil 5×5.
pub const OPERATIONS: usize = 8;
const MAX: usize = 1;
const AVG: usize = 2;
const SKIP: usize = 3;
const SEP: [usize; 2] = [4, 5];
const DIL: [usize; 2] = [6, 7];

/// An input's channels: groups (the nodes of the cell before) of channels, each padded to whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Groups.
    pub groups: usize,
    /// Channels in a group.
    pub channels: usize,
}

/// How a cell is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellShape {
    /// Intermediate nodes.
    pub nodes: usize,
    /// Channels of a node.
    pub channels: usize,
    /// The two inputs.
    pub inputs: [Input; 2],
    /// Whether it halves the resolution.
    pub reduction: bool,
    /// Whether the first input has twice the resolution of the second.
    pub after_reduction: bool,
}

struct EdgeShape {
    from: usize,
    skip: Option<StageShape>,
    sep: [[StageShape; 2]; 2],
    dil: [StageShape; 2],
}

/// A cell: shapes, and the places of its weights.
pub struct Cell {
    shape: CellShape,
    preprocess: [StageShape; 2],
    edges: Vec<EdgeShape>,
    weights: usize,
}

/// Places of weights, handed out in PyTorch's order.
struct Places(usize);

impl Places {
    fn take(&mut self, n: usize) -> usize {
        self.0 += n;
        self.0 - n
    }

    fn project(&mut self, input: Input, channels: usize) -> StageShape {
        StageShape {
            depthwise: None,
            matrices: vec![self.take(channels * input.groups * input.channels)],
            outputs: channels,
            groups: input.groups,
            group: input.channels,
        }
    }

    fn reduce(&mut self, input: Input, channels: usize) -> StageShape {
        let half = channels / 2 * input.groups * input.channels;
        StageShape {
            matrices: vec![self.take(half), self.take(half)],
            depthwise: None,
            outputs: channels,
            groups: input.groups,
            group: input.channels,
        }
    }

    fn separable(&mut self, channels: usize, kernel: Kernel) -> StageShape {
        StageShape {
            depthwise: Some((kernel, self.take(channels * kernel.taps()))),
            matrices: vec![self.take(channels * channels)],
            outputs: channels,
            groups: 1,
            group: channels,
        }
    }
}

/// What a forward pass keeps for the backward pass.
pub struct Saved {
    dual: bool,
    preprocess: [(Stage, Field, Norm); 2],
    states: Vec<Field>,
    pools: Vec<Pools>,
    edges: Vec<Edge>,
}

struct Pools {
    max: (Field, Norm),
    index: Vec<[u32; LANES]>,
    avg: (Field, Norm),
}

struct Edge {
    skip: Option<(Stage, Field, Norm)>,
    sep: [[(Stage, Field, Norm); 2]; 2],
    dil: [(Stage, Field, Norm); 2],
}

/// Which gradients a backward pass computes; those of the mixing coefficients always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the inputs.
    pub inputs: bool,
}

/// What a backward pass gives.
pub struct CellGradients {
    /// Of the two inputs, and of their tangents in a dual pass.
    pub inputs: Option<[Field; 2]>,
    /// Of the weights, in PyTorch's order.
    pub weights: Option<Vec<f32>>,
    /// Of the mixing coefficients, `[edges, operations]`.
    pub mixture: Vec<f32>,
}

impl Cell {
    /// Lays out a cell. The weights lie in the order of PyTorch's DARTS: the preprocessings, then edge by
    /// edge and operation by operation.
    pub fn new(shape: CellShape) -> Self {
        let mut places = Places(0);
        let c = shape.channels;
        let first = if shape.after_reduction {
            places.reduce(shape.inputs[0], c)
        } else {
            places.project(shape.inputs[0], c)
        };
        let preprocess = [first, places.project(shape.inputs[1], c)];
        let mut edges = Vec::new();
        for node in 0..shape.nodes {
            for from in 0..node + 2 {
                let stride = if shape.reduction && from < 2 { 2 } else { 1 };
                let own = Input {
                    groups: 1,
                    channels: c,
                };
                let kernel = |size, dilation, stride| Kernel {
                    size,
                    dilation,
                    stride,
                };
                edges.push(EdgeShape {
                    from,
                    skip: (stride == 2).then(|| places.reduce(own, c)),
                    sep: [3, 5].map(|size| {
                        [stride, 1].map(|stride| places.separable(c, kernel(size, 1, stride)))
                    }),
                    dil: [3, 5].map(|size| places.separable(c, kernel(size, 2, stride))),
                });
            }
        }
        Self {
            shape,
            preprocess,
            edges,
            weights: places.0,
        }
    }

    /// How many weights it has.
    pub fn weights(&self) -> usize {
        self.weights
    }

    fn blocks(&self) -> usize {
        blocks(self.shape.channels)
    }

    fn stride(&self, state: usize) -> usize {
        if self.shape.reduction && state < 2 {
            2
        } else {
            1
        }
    }

    /// The edges into a node, by number.
    fn into_node(&self, node: usize) -> std::ops::Range<usize> {
        let before = |node: usize| (0..node).map(|n| n + 2).sum::<usize>();
        before(node)..before(node + 1)
    }

    fn out_of(&self, state: usize) -> Vec<usize> {
        let edges = 0..self.edges.len();
        edges.filter(|e| self.edges[*e].from == state).collect()
    }

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
        stages: Vec<(Option<Stage>, [[Stage; 2]; 2], [Stage; 2])>,
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
        let mut norms = norms(sums.concat(), after).into_iter();
        let mut next = || norms.next().unwrap_or_else(|| unreachable!("a norm each"));
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
        let second_norms = norms_of(sums.concat(), after);
        let mut second_norms = second_norms.into_iter();
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
            .into_node(node)
            .filter_map(|e| edges[e].as_ref())
            .collect();
        let first = self.into_node(node).start;
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
            let edges = self.into_node(node);
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
                i,
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
    fn node_sums(
        &self,
        saved: &Saved,
        edges: std::ops::Range<usize>,
        g: &Field,
    ) -> Vec<Vec<AdjointSums>> {
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
        edges: std::ops::Range<usize>,
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
            let mut gradients: Vec<EdgeGradients> = edges
                .clone()
                .map(|e| EdgeGradients::new(&saved.edges[e]))
                .collect();
            let mut wide: Vec<Wide> = Vec::new();
            for j in 0..edges.len() {
                wide.push(Wide::new(n, saved.states[j].size, after, dual));
            }
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
            let mut gradients: Vec<EdgeGradients> = edges
                .clone()
                .map(|e| EdgeGradients::new(&saved.edges[e]))
                .collect();
            let mut wide: Vec<Wide> = Vec::new();
            for j in 0..edges.len() {
                wide.push(Wide::new(n, saved.states[j].size, after, dual));
            }
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
        _which: usize,
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

/// A candidate's column, its field before normalisation, and its norm (none for the identity).
type Source<'a> = (usize, &'a Field, Option<&'a Norm>);

/// The sources of an edge, in a fixed order: max-pool, mean-pool, skip, sep 3×3, 5×5, dil 3×3, 5×5.
fn sources<'a>(state: &'a Field, pools: &'a Pools, edge: &'a Edge) -> Vec<Source<'a>> {
    let skip = match &edge.skip {
        Some((_, z, norm)) => (SKIP, z, Some(norm)),
        None => (SKIP, state, None),
    };
    let mut all = vec![
        (MAX, &pools.max.0, Some(&pools.max.1)),
        (AVG, &pools.avg.0, Some(&pools.avg.1)),
        skip,
    ];
    all.extend(
        SEP.iter()
            .zip(&edge.sep)
            .map(|(k, sep)| (*k, &sep[1].1, Some(&sep[1].2))),
    );
    all.extend(
        DIL.iter()
            .zip(&edge.dil)
            .map(|(k, dil)| (*k, &dil.1, Some(&dil.2))),
    );
    all
}

fn planes<'a>(g: Pair<'a>, z: Pair<'a>) -> Planes<'a> {
    Planes {
        g: g.value,
        z: z.value,
        dual: g.tangent.zip(z.tangent),
    }
}

fn two<T>(items: impl Iterator<Item = T>) -> [T; 2] {
    let mut items = items;
    std::array::from_fn(|_| items.next().unwrap_or_else(|| unreachable!("two items")))
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

fn sums_of(z: Pair, size: Size) -> Vec<ImageSums> {
    let area = size.area();
    let blocks = z.value.len() / area;
    (0..blocks)
        .map(|b| {
            let plane = z.plane(b, area);
            image_sums(plane.value, plane.tangent)
        })
        .collect()
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

use norms as norms_of;

/// The size that a preprocessing ends with.
fn reduced_size(shape: &StageShape, size: Size) -> Size {
    size.strided(shape.matrices.len())
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

fn normalise(z: Pair, form: &crate::norm::Affine, area: usize, mut out: PairMut) {
    for b in 0..z.value.len() / area {
        let (z, range) = (z.plane(b, area), b * area..(b + 1) * area);
        let value = &mut out.value[range.clone()];
        combine(&form.shift[b], &[(&form.scale[b], z.value)], value, false);
        if let (Some(t), Some(out)) = (z.tangent, out.tangent.as_deref_mut()) {
            let terms = [(&form.scale[b], t), (&form.slope[b], z.value)];
            combine(&form.tangent_shift[b], &terms, &mut out[range], false);
        }
    }
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

fn each_block(n: usize, mut work: impl FnMut(usize)) {
    (0..n).for_each(&mut work);
}

fn pool_max(x: Pair, size: Size, stride: usize, mut out: PairMut, index: &mut [[u32; LANES]]) {
    let (area, after) = (size.area(), size.strided(stride).area());
    each_block(x.value.len() / area, |b| {
        let (x, range) = (x.plane(b, area), b * after..(b + 1) * after);
        let index = &mut index[range.clone()];
        max_pool(x.value, size, stride, &mut out.value[range.clone()], index);
        if let (Some(t), Some(out)) = (x.tangent, out.tangent.as_deref_mut()) {
            take_maxima(t, index, &mut out[range]);
        }
    });
}

fn pool_avg(x: Pair, size: Size, stride: usize, mut out: PairMut) {
    let (area, after) = (size.area(), size.strided(stride).area());
    each_block(x.value.len() / area, |b| {
        let (x, range) = (x.plane(b, area), b * after..(b + 1) * after);
        avg_pool(x.value, size, stride, &mut out.value[range.clone()]);
        if let (Some(t), Some(out)) = (x.tangent, out.tangent.as_deref_mut()) {
            avg_pool(t, size, stride, &mut out[range]);
        }
    });
}

fn pool_max_backward(g: Pair, index: &[[u32; LANES]], size: Size, after: Size, mut x: PairMut) {
    let (area, after) = (size.area(), after.area());
    each_block(g.value.len() / after, |b| {
        let (g, range) = (g.plane(b, after), b * area..(b + 1) * area);
        let index = &index[b * after..(b + 1) * after];
        add_to_maxima(g.value, index, &mut x.value[range.clone()]);
        if let (Some(t), Some(x)) = (g.tangent, x.tangent.as_deref_mut()) {
            add_to_maxima(t, index, &mut x[range]);
        }
    });
}

fn pool_avg_backward(g: Pair, size: Size, stride: usize, mut x: PairMut) {
    let (area, after) = (size.area(), size.strided(stride).area());
    each_block(g.value.len() / after, |b| {
        let (g, range) = (g.plane(b, after), b * area..(b + 1) * area);
        avg_pool_backward(g.value, size, stride, &mut x.value[range.clone()]);
        if let (Some(t), Some(x)) = (g.tangent, x.tangent.as_deref_mut()) {
            avg_pool_backward(t, size, stride, &mut x[range]);
        }
    });
}

/// What the 1×1 convolutions of a stage see: the pixels as they are, or for a factorized reduction every
/// second one, from the first and from the second on, with zeros past the end.
fn reduction_samples<'a>(
    shape: &StageShape,
    x: Pair<'a>,
    size: Size,
    samples: &'a mut Memory,
) -> Pair<'a> {
    if shape.matrices.len() == 1 {
        return x;
    }
    let after = size.strided(2);
    let gather = |x: &[Lanes], out: &mut [Lanes]| {
        let n = x.len() / size.area();
        for (k, out) in out.chunks_exact_mut(after.area()).take(2 * n).enumerate() {
            let (plane, shift) = (&x[k % n * size.area()..], k / n);
            for (at, out) in out.iter_mut().enumerate() {
                let (y, x) = (at / after.w * 2 + shift, at % after.w * 2 + shift);
                let inside = y < size.h && x < size.w;
                *out = if inside {
                    plane[y * size.w + x]
                } else {
                    [0.0; LANES]
                };
            }
        }
    };
    gather(x.value, &mut samples.value);
    if let (Some(t), Some(out)) = (x.tangent, &mut samples.tangent) {
        gather(t, out);
    }
    samples.read()
}

/// Memory for one image's value and tangent.
struct Memory {
    value: Buffer,
    tangent: Option<Buffer>,
}

impl Memory {
    fn new(blocks: usize, size: Size, dual: bool) -> Self {
        let buffer = || Buffer::stale(blocks * size.area());
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
        }
    }

    fn zeros(blocks: usize, size: Size, dual: bool) -> Self {
        let buffer = || Buffer::zeros(blocks * size.area());
        Self {
            value: buffer(),
            tangent: dual.then(buffer),
        }
    }

    fn read(&self) -> Pair<'_> {
        Pair {
            value: &self.value,
            tangent: self.tangent.as_deref(),
        }
    }

    fn write(&mut self) -> PairMut<'_> {
        PairMut {
            value: &mut self.value,
            tangent: self.tangent.as_deref_mut(),
        }
    }

    fn rectify(&mut self, x: Pair) {
        rectify(x.value, &mut self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            gate(t, x.value, out);
        }
    }

    fn pad(&mut self, x: Pair, blocks: usize, size: Size) {
        let (area, outer) = (size.area(), size.padded().area());
        for b in 0..blocks {
            let (x, range) = (x.plane(b, area), b * outer..(b + 1) * outer);
            pad(x.value, size, &mut self.value[range.clone()], size, 1);
            if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
                pad(t, size, &mut out[range], size, 1);
            }
        }
    }

    fn normalise(&mut self, z: Pair, norm: &Norm, area: usize) {
        normalise(z, &norm.forward(1.0), area, self.write());
    }

    /// The adjoints of z and ż from those of what they were normalised to.
    fn adjoint(&mut self, g: Pair, z: Pair, form: &Adjoint, area: usize) {
        for b in 0..z.value.len() / area {
            let (g, z) = (g.plane(b, area), z.plane(b, area));
            let range = b * area..(b + 1) * area;
            let out = &mut self.value[range.clone()];
            match (g.tangent, z.tangent) {
                (Some(t), Some(zt)) => {
                    let terms = [
                        (&form.g[b], g.value),
                        (&form.t[b], t),
                        (&form.z[b], z.value),
                        (&form.cross[b], zt),
                    ];
                    combine(&form.constant[b], &terms, out, false);
                    if let Some(out) = &mut self.tangent {
                        let terms = [(&form.g[b], t), (&form.cross[b], z.value)];
                        combine(&form.tangent_constant[b], &terms, &mut out[range], false);
                    }
                }
                _ => {
                    let terms = [(&form.g[b], g.value), (&form.z[b], z.value)];
                    combine(&form.constant[b], &terms, out, false);
                }
            }
        }
    }
}

/// Memory at the resolution of an edge's state.
struct Wide {
    rectified: Memory,
    padded: Memory,
    samples: Memory,
    sample_adjoint: Memory,
    adjoint: Memory,
    scratch: Scratch,
}

impl Wide {
    fn new(blocks: usize, size: Size, after: Size, dual: bool) -> Self {
        Self {
            rectified: Memory::new(blocks, size, dual),
            padded: Memory::zeros(blocks, size.padded(), dual),
            samples: Memory::new(2 * blocks, after, dual),
            sample_adjoint: Memory::new(2 * blocks, after, dual),
            adjoint: Memory::new(blocks, size, dual),
            scratch: Scratch::new(blocks, size),
        }
    }

    /// Spreads the samples' adjoints over the pixels that they came from.
    fn spread(&mut self, size: Size, after: Size) {
        let spread = |samples: &[Lanes], out: &mut [Lanes]| {
            out.fill([0.0; LANES]);
            let n = out.len() / size.area();
            for (k, samples) in samples.chunks_exact(after.area()).enumerate() {
                let (plane, shift) = (k % n * size.area(), k / n);
                for (at, sample) in samples.iter().enumerate() {
                    let (y, x) = (at / after.w * 2 + shift, at % after.w * 2 + shift);
                    if y < size.h && x < size.w {
                        out[plane + y * size.w + x] = *sample;
                    }
                }
            }
        };
        spread(&self.sample_adjoint.value, &mut self.adjoint.value);
        if let (Some(t), Some(out)) = (&self.sample_adjoint.tangent, &mut self.adjoint.tangent) {
            spread(t, out);
        }
    }
}

impl PairMut<'_> {
    fn add(&mut self, x: Pair) {
        add(x.value, self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            add(t, out);
        }
    }

    fn add_gated(&mut self, x: Pair, gate: &[Lanes]) {
        add_gated(x.value, gate, self.value);
        if let (Some(t), Some(out)) = (x.tangent, &mut self.tangent) {
            add_gated(t, gate, out);
        }
    }
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
