//! The forward pass, level by level.

use rayon::prelude::*;

use super::image::{Readers, forms, sums_of};
use super::{
    Graph, Group, Id, Level, Node, Normalise, Output, Saved, Statistics, Term, Unit, Weighted,
};
use crate::field::{Field, Halves, Pair, PairMut, Part, Share, Spare, fill, share_out};
use crate::norm::{ImageSums, Norm, Weighting};
use crate::plane::{Rows, Size};
use crate::stage::{Forms, Stage};
use crate::window::{Places, Window, avg_pool, max_pool, take_maxima};
use crate::{LANES, blocks};

/// Fills in the numbers of a noise, by its number, for an image: `[channels, height, width]`. The same every time.
pub type Noise<'a> = &'a (dyn Fn(usize, usize, &mut [f32]) + Sync);

/// The numbers that a pass works on besides its input.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// All weights.
    pub weights: &'a [f32],
    /// Their tangents, if they have any.
    pub weight_tangents: Option<&'a [f32]>,
    /// The coefficients of terms.
    pub coefficients: &'a [f32],
    /// Their tangents, if they have any.
    pub coefficient_tangents: Option<&'a [f32]>,
    /// Factors for path dropout, `[drops, images]`; read only if the graph has dropped terms.
    pub drop: &'a [f32],
    /// Statistics to normalise by instead of the batch's, in the order of [`Graph::normalised`].
    pub running: Option<&'a [Statistics]>,
    /// What fills in the graph's noises; none leaves them zero.
    pub noise: Option<Noise<'a>>,
    /// Whether a backward pass follows; if not, what is not needed any more is freed on the way.
    pub keep: bool,
}

impl Graph {
    /// The results, flat: the values of all outputs in order, then in a dual pass (the input has tangents) the
    /// tangents of all outputs.
    pub fn forward(&self, input: Field, pass: &Pass) -> (Vec<f32>, Saved) {
        let n = self.entries.len();
        let mut saved = Saved {
            dual: input.tangent.is_some(),
            halves: Halves::Both,
            images: input.images,
            sizes: self.sizes(input.size),
            fields: (0..n).map(|_| None).collect(),
            places: vec![Vec::new(); n],
            norms: vec![None; n],
            stages: self.stages(pass),
            terms: (0..n).map(|_| Vec::new()).collect(),
            drop: pass.drop.to_vec(),
        };
        saved.fields[0] = Some(input);
        self.worked_out(saved, pass)
    }

    /// A pass on dual numbers whose values are those of an earlier one, which was without tangents and kept: the same bits as
    /// [`Graph::forward`], for tangents alone. `tangents` are the input's planes, or none where they are zero.
    pub fn forward_again(
        &self,
        mut values: Saved,
        tangents: Option<&[f32]>,
        pass: &Pass,
    ) -> (Vec<f32>, Saved) {
        (values.dual, values.halves) = (true, Halves::Tangents);
        let input = values.fields[0].take();
        let channels = self.channels(Id(0));
        values.fields[0] = input.map(|input| input.with_tangent_planes(tangents, channels));
        let stages = values.stages.par_iter_mut().flatten();
        stages.for_each(|stage| stage.set_tangents(pass.weight_tangents));
        self.worked_out(values, pass)
    }

    fn worked_out(&self, mut saved: Saved, pass: &Pass) -> (Vec<f32>, Saved) {
        if let Some(running) = pass.running {
            for (id, statistics) in self.normalised().zip(running) {
                saved.norms[id.0] = Some(Norm::running(&statistics.mean, &statistics.variance));
            }
        }
        let last = if pass.keep {
            Vec::new()
        } else {
            self.last_reads()
        };
        for (number, level) in self.levels.iter().enumerate() {
            self.units_forward(level, &mut saved, pass);
            for id in &level.states {
                self.state_forward(*id, &mut saved, pass);
            }
            for (field, last) in saved.fields.iter_mut().zip(&last) {
                if *last <= number {
                    *field = None;
                }
            }
        }
        let mut results = Vec::new();
        for tangents in [false, true] {
            if tangents && !saved.dual {
                break;
            }
            for output in &self.outputs {
                saved.read(self, output, tangents, &mut results);
            }
        }
        (results, saved)
    }

    fn stages(&self, pass: &Pass) -> Vec<Option<Stage>> {
        let shapes: Vec<_> = (0..self.entries.len()).map(|i| self.shape(Id(i))).collect();
        let stage = |shape: &Option<&crate::stage::StageShape>| {
            shape.map(|s| Stage::new(s.clone(), pass.weights, pass.weight_tangents))
        };
        shapes.par_iter().map(stage).collect()
    }

    /// The level after which nothing reads a node any more.
    fn last_reads(&self) -> Vec<usize> {
        let mut last = vec![0; self.entries.len()];
        for (number, level) in self.levels.iter().enumerate() {
            let sources = level.groups.iter().flat_map(|g| &g.sources);
            for source in sources {
                last[source.0] = number;
                if !self.is_kept(*source) {
                    for term in self.terms(*source) {
                        last[term.source.0] = number;
                    }
                }
            }
            for state in &level.states {
                for term in self.terms(*state) {
                    last[term.source.0] = last[term.source.0].max(number);
                }
            }
        }
        for state in self.outputs.iter().flat_map(Output::states) {
            last[state.0] = usize::MAX;
        }
        last
    }

    fn units_forward(&self, level: &Level, saved: &mut Saved, pass: &Pass) {
        let units: Vec<Id> = level.groups.iter().flat_map(|g| g.units.clone()).collect();
        if units.is_empty() {
            return;
        }
        let mut fields: Vec<Field> = units
            .iter()
            .map(|u| saved.taken_to_write(self, *u))
            .collect();
        let by_batch = pass.running.is_none();
        let forms: Vec<Forms> = level.groups.iter().map(|g| read_forms(self, g)).collect();
        let together = Readers::together(self, saved, &level.groups);
        let spare = Spare::default();
        let share = Share { together, own: 0 };
        let work = |mut part: Part, readers: &mut Readers| {
            let mut sums: Vec<Vec<ImageSums>> = vec![Vec::new(); units.len()];
            let mut places: Vec<Vec<Vec<Places>>> = vec![Vec::new(); units.len()];
            for images in part.chunks(together) {
                let mut number = 0;
                let mut outs = part.some(images.clone()).into_iter();
                for (g, group) in level.groups.iter().enumerate() {
                    let (prepared, scratch) = readers.of(g, images.len());
                    for (i, prepared) in images.clone().zip(&mut *prepared) {
                        saved.prepare(self, group, forms[g], i, prepared);
                    }
                    let size = saved.sizes[group.sources[0].0];
                    for (unit, mut outs) in group.units.iter().zip(outs.by_ref()) {
                        let after = saved.sizes[unit.0].area();
                        if let Some(stage) = &saved.stages[unit.0] {
                            stage.forward(prepared, &mut outs, scratch, saved.halves);
                        }
                        for ((prepared, out), i) in
                            prepared.iter().zip(&mut outs).zip(images.clone())
                        {
                            // Pools read states as they are kept, whatever else reads them; noise reads nothing of them.
                            let node = &self.entries[unit.0].node;
                            let x = match &saved.fields[group.sources[0].0] {
                                Some(field) if is_pool(node) => field.image(i),
                                _ => prepared.read().0,
                            };
                            match node {
                                Node::Unit {
                                    unit: Unit::MaxPool(window),
                                    ..
                                } => {
                                    // Those of an earlier pass, where its values are there.
                                    let known = saved.places[unit.0].get(i);
                                    let found = max_image(x, size, *window, out.again(), known);
                                    places[number].extend(found);
                                }
                                Node::Unit {
                                    unit: Unit::AvgPool(window),
                                    ..
                                } => avg_image(x, size, *window, out.again(), saved.halves),
                                Node::Unit {
                                    unit: Unit::Gather(lanes),
                                    ..
                                } => gather_image(x, after, lanes, out.again(), saved.halves),
                                Node::Unit {
                                    unit: Unit::Noise { number, .. },
                                    ..
                                } => {
                                    let draw =
                                        pass.noise.map(|f| move |x: &mut _| f(*number, i, x));
                                    let planes = (self.channels(*unit), after);
                                    noise_image(draw, planes, out.again(), saved.halves);
                                }
                                _ => {}
                            }
                            if self.entries[unit.0].normalised && by_batch {
                                sums_of(out.read(), after, &mut sums[number]);
                            }
                        }
                        number += 1;
                    }
                }
            }
            (sums, places)
        };
        let all = fields.iter_mut().collect();
        let parts = share_out(saved.images, share, all, |part| {
            let new = || Readers::new(self, saved, &level.groups, &forms, together);
            spare.with(new, |readers| work(part, readers))
        });
        let (sums, places): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let norm = |(number, field): (usize, &Field)| {
            let blocks = field.blocks;
            let images = sums.iter().flat_map(|s| s[number].chunks_exact(blocks));
            let normalised = sums.iter().any(|s| !s[number].is_empty());
            normalised.then(|| Norm::new(images, blocks, field.size.area()))
        };
        let norms: Vec<_> = fields.par_iter().enumerate().map(norm).collect();
        for part in places {
            for (unit, places) in units.iter().zip(part) {
                saved.places[unit.0].extend(places);
            }
        }
        for ((unit, field), norm) in units.into_iter().zip(fields).zip(norms) {
            if norm.is_some() {
                saved.norms[unit.0] = norm;
            }
            saved.fields[unit.0] = Some(field);
        }
    }

    fn state_forward(&self, id: Id, saved: &mut Saved, pass: &Pass) {
        let channels = blocks(self.channels(id)) * LANES;
        let weighted = |term: &Term| {
            let weighted = self.weighting(term, channels, pass);
            let form = saved.norm(term, channels).forward(&weighted.2);
            Weighted {
                own: weighted.0,
                coefficient: weighted.1,
                total: weighted.2,
                form,
            }
        };
        saved.terms[id.0] = self.terms(id).par_iter().map(weighted).collect();
        if !self.is_kept(id) {
            return;
        }
        let size = saved.sizes[id.0];
        let mut field = saved.taken_to_write(self, id);
        let normalised = self.entries[id.0].normalised && pass.running.is_none();
        let sums = share_out(saved.images, Share::SINGLY, vec![&mut field], |mut part| {
            let mut sums = Vec::new();
            for i in part.images.clone() {
                for mut out in part.image(i) {
                    let rows = Rows::whole(size.area());
                    saved.state_image(self, id, i, false, (out.again(), rows), saved.halves);
                    if normalised {
                        sums_of(out.read(), size.area(), &mut sums);
                    }
                }
            }
            sums
        });
        if normalised {
            let images = sums.iter().flat_map(|s| s.chunks_exact(field.blocks));
            saved.norms[id.0] = Some(Norm::new(images, field.blocks, size.area()));
        }
        saved.fields[id.0] = Some(field);
    }

    /// A term's own scale and shift, its coefficient, and both together.
    fn weighting(
        &self,
        term: &Term,
        channels: usize,
        pass: &Pass,
    ) -> (Weighting, [f64; 2], Weighting) {
        let n = self.channels(term.source);
        let read = |from: Option<&[f32]>, at: usize, default: f64| -> Vec<f64> {
            let mut values = vec![0.0; channels];
            for (c, value) in values[..n].iter_mut().enumerate() {
                *value = from.map_or(default, |from| f64::from(from[at + c]));
            }
            values
        };
        let own = match term.normalise {
            Normalise::Affine { scale, shift } => Weighting {
                value: read(Some(pass.weights), scale, 1.0),
                tangent: read(pass.weight_tangents, scale, 0.0),
                shift: read(Some(pass.weights), shift, 0.0),
                shift_tangent: read(pass.weight_tangents, shift, 0.0),
            },
            _ => Weighting {
                value: read(None, 0, 1.0),
                tangent: vec![0.0; channels],
                shift: vec![0.0; channels],
                shift_tangent: vec![0.0; channels],
            },
        };
        let of = |from: Option<&[f32]>, default: f64| match (term.coefficient, from) {
            (Some(k), Some(from)) => f64::from(from[k]),
            _ => default,
        };
        let coefficient = [
            of(Some(pass.coefficients), 1.0),
            of(pass.coefficient_tangents, 0.0),
        ];
        let [c, ct] = coefficient;
        let times = |values: &[f64]| values.iter().map(|v| v * c).collect::<Vec<f64>>();
        let tangents = |values: &[f64], tangents: &[f64]| {
            let pairs = values.iter().zip(tangents);
            pairs.map(|(v, t)| ct * v + c * t).collect::<Vec<f64>>()
        };
        let total = Weighting {
            value: times(&own.value),
            tangent: tangents(&own.value, &own.tangent),
            shift: times(&own.shift),
            shift_tangent: tangents(&own.shift, &own.shift_tangent),
        };
        (own, coefficient, total)
    }
}

impl Saved {
    /// A node's field to be written: with the values of an earlier pass, where these are there.
    fn taken_to_write(&mut self, graph: &Graph, id: Id) -> Field {
        match self.fields[id.0].take() {
            Some(field) => field.with_tangents(),
            None => {
                let n = blocks(graph.channels(id));
                Field::stale(self.images, n, self.sizes[id.0], self.dual)
            }
        }
    }

    /// Appends one output's values, or tangents.
    fn read(&self, graph: &Graph, output: &Output, tangents: bool, results: &mut Vec<f32>) {
        for i in 0..self.images {
            for state in output.states() {
                let Some(field) = &self.fields[state.0] else {
                    continue;
                };
                let channels = graph.channels(*state);
                let start = results.len();
                field.read_planes(i, channels, tangents, results);
                if let Output::Means(_) = output {
                    let area = field.size.area();
                    let means: Vec<f32> = results[start..]
                        .chunks_exact(area)
                        .map(|p| {
                            (p.iter().map(|x| f64::from(*x)).sum::<f64>() / area as f64) as f32
                        })
                        .collect();
                    results.truncate(start);
                    results.extend(means);
                }
            }
        }
    }
}

fn is_pool(node: &Node) -> bool {
    matches!(
        node,
        Node::Unit {
            unit: Unit::MaxPool(_) | Unit::AvgPool(_) | Unit::Noise { .. },
            ..
        }
    )
}

/// The forms in which a group's units read its sources. Pools read states as they are kept.
fn read_forms(graph: &Graph, group: &Group) -> Forms {
    let gathers = |u: &Id| {
        let node = &graph.entries[u.0].node;
        matches!(
            node,
            Node::Unit {
                unit: Unit::Gather(_),
                ..
            }
        )
    };
    let all = forms(graph, group);
    Forms {
        plain: all.plain || group.units.iter().any(gathers),
        ..all
    }
}

/// Maxima and their tangents, or only these where it is known where the maxima lie; returns where, if that was found.
fn max_image(
    x: Pair,
    size: Size,
    window: Window,
    mut out: PairMut,
    known: Option<&Vec<Places>>,
) -> Option<Vec<Places>> {
    let (area, after) = (size.area(), window.after(size).area());
    let mut found = match known {
        Some(_) => Vec::new(),
        None => vec![[0; LANES]; out.value.len()],
    };
    for b in 0..x.value.len() / area {
        let (x, range) = (x.plane(b, area), b * after..(b + 1) * after);
        let places = match known {
            Some(places) => &places[range.clone()],
            None => {
                let places = &mut found[range.clone()];
                max_pool(x.value, size, window, &mut out.value[range.clone()], places);
                places
            }
        };
        if let (Some(t), Some(out)) = (x.tangent, out.tangent.as_deref_mut()) {
            take_maxima(t, size, window, places, &mut out[range]);
        }
    }
    known.is_none().then_some(found)
}

fn gather_image(x: Pair, area: usize, lanes: &[usize], mut out: PairMut, halves: Halves) {
    out.each_of(halves, x, |x, out| {
        // Lanes past the last channel stay zero.
        out.fill([0.0; LANES]);
        for (to, from) in lanes.iter().enumerate() {
            let x = &x[from / LANES * area..][..area];
            let out = &mut out[to / LANES * area..][..area];
            for (x, out) in x.iter().zip(out) {
                out[to % LANES] = x[from % LANES];
            }
        }
    });
}

/// One image of a noise of so many channels and pixels, which has no tangents.
fn noise_image(
    draw: Option<impl FnOnce(&mut [f32])>,
    (channels, area): (usize, usize),
    out: PairMut,
    halves: Halves,
) {
    if let Some(tangent) = out.tangent {
        tangent.fill([0.0; LANES]);
    }
    if halves == Halves::Tangents {
        return;
    }
    out.value.fill([0.0; LANES]);
    let Some(draw) = draw else { return };
    let mut planes = vec![0.0; channels * area];
    draw(&mut planes);
    fill(out.value, &planes, channels, area);
}

fn avg_image(x: Pair, size: Size, window: Window, mut out: PairMut, halves: Halves) {
    let (area, after) = (size.area(), window.after(size).area());
    out.each_of(halves, x, |x, out| {
        let planes = x.chunks_exact(area).zip(out.chunks_exact_mut(after));
        for (x, out) in planes {
            avg_pool(x, size, window, out);
        }
    });
}
