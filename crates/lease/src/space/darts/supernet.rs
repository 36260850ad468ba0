//! The explainer: a supernet of the DARTS space, f(·; E, A).

use std::cell::RefCell;
use std::sync::Arc;

use super::cell::{Cell, CellShape};
use super::costs;
use super::derive::{Row, derive_cell, weighted_rows};
use super::genotype::{CellGenotype, DartsGenotype, Edge};
use super::operation::Operation;
use super::progressive::{Candidates, derive_capped};
use super::shape::SupernetShape;
use super::{CellKind, edge_count, edge_index, reduction_positions, stem};
use crate::network::kernels::{Compiled, Emitter, Mode, only_means};
use crate::network::layers::{Builder, LinearLayer, Pass};
use crate::network::stem::StemLayers;
use crate::network::{DropPath, Dual, Init, Kernels, Layout, Leaves, NetworkError, Slot, Vector};
use crate::rng::{Draw, Purpose, stream};
use crate::space::cost::{Budget, Menu};
use crate::space::mixing::Choice;
use crate::space::partial;
use crate::space::{
    Coefficients, DerivedShape, Explainer, Genotype, GenotypeError, Mixing, Mixture, SkipDropout,
    softmax,
};

/// A cell in its place.
#[derive(Clone, Debug)]
struct Member {
    kind: CellKind,
    cell: Cell,
}

/// The explainer's supernet.
#[derive(Clone, Debug)]
pub struct Supernet {
    weights: Arc<Layout>,
    architecture: Arc<Layout>,
    alphas: [Slot<2>; 2],
    /// The strengths of edges, `[edges]` for each kind of cell, with partial channels.
    betas: Option<[Slot<1>; 2]>,
    nodes: usize,
    /// How many of the last nodes are joined.
    joined: usize,
    candidates: Candidates,
    max_skip_connects: Option<usize>,
    dropout: Option<SkipDropout>,
    /// Whether any candidate is noise.
    noisy: bool,
    noise: Draw,
    mixing: Mixing,
    /// What derived networks may cost.
    budget: Option<Arc<Budget>>,
    /// Whether operations have skip-connects beside them.
    edge_skips: bool,
    /// The coefficients of each cell, where cells do not share them.
    untied: Option<Vec<Slot<2>>>,
    stem: StemLayers,
    cells: Vec<Member>,
    kernels: Kernels,
    compiled: Compiled,
    classifier: LinearLayer,
}

impl Supernet {
    /// Lays out a supernet.
    ///
    /// # Errors
    /// If a number is 0, or the channels cannot be split.
    pub fn new(shape: &SupernetShape) -> Result<Self, NetworkError> {
        for (what, n) in [
            ("channels", shape.channels),
            ("cells", shape.cells),
            ("nodes", shape.nodes),
            ("classes", shape.classes),
            ("image channels", shape.image_channels),
            ("joined nodes", shape.joined.unwrap_or(shape.nodes)),
        ] {
            if n == 0 {
                return Err(NetworkError::Zero { what });
            }
        }
        let joined = shape.joined.unwrap_or(shape.nodes).min(shape.nodes);
        let candidates = match &shape.candidates {
            Some(candidates) => candidates.checked(shape.nodes)?.clone(),
            None => Candidates::all(shape.nodes),
        };
        let mut builder = Builder::default();
        let (stem, [mut before, mut last]) = stem(
            &mut builder,
            shape.stem,
            [shape.image_channels, shape.channels],
        );
        let reductions = reduction_positions(shape.cells);
        let mut channels = shape.channels;
        let mut after_reduction = stem.halves();
        let mut cells = Vec::with_capacity(shape.cells);
        for i in 0..shape.cells {
            let kind = if reductions.contains(&i) {
                CellKind::Reduction
            } else {
                CellKind::Normal
            };
            if kind == CellKind::Reduction {
                channels *= 2;
            }
            let cell_shape = CellShape {
                nodes: shape.nodes,
                channels: [before, last, channels],
                kind,
                after_reduction,
                partial: shape.partial,
                drop_skips: shape.max_skip_connects.is_some(),
                joined,
                edge_skips: shape.edge_skips,
            };
            let name = format!("cells.{i}");
            let candidates = &candidates.cells[kind as usize];
            let cell = Cell::new(&mut builder, &name, &cell_shape, candidates)?;
            cells.push(Member { kind, cell });
            (before, last) = (last, joined * channels);
            after_reduction = kind == CellKind::Reduction;
        }
        let classifier = builder.linear("classifier", last, shape.classes);
        let mut architecture = Layout::default();
        let rows = [edge_count(shape.nodes), candidates.each()];
        let alphas = ["alphas_normal", "alphas_reduce"]
            .map(|name| architecture.push(name, rows, Init::Normal(1e-3)));
        let betas = (shape.partial > 1).then(|| {
            ["betas_normal", "betas_reduce"]
                .map(|name| architecture.push(name, [rows[0]], Init::Normal(1e-3)))
        });
        let (mut e, input) = Emitter::new(shape.image_channels);
        let [mut s0, mut s1] = stem.emit(&mut e, input).map(|state| vec![state]);
        // Cell by cell the coefficients, then the strengths of edges if there are any.
        let coefficients = rows.iter().product::<usize>();
        let mut first = 0;
        for Member { cell, .. } in &cells {
            let strengths = first + coefficients;
            let output = cell.emit(&mut e, [&s0, &s1], (first, strengths));
            (s0, s1) = (s1, output);
            first = strengths + if betas.is_some() { rows[0] } else { 0 };
        }
        e.graph.output_means(&s1);
        Ok(Self {
            compiled: e.finish(),
            noisy: builder.noises > 0,
            noise: Draw::default(),
            weights: Arc::new(builder.weights),
            architecture: Arc::new(architecture),
            alphas,
            betas,
            nodes: shape.nodes,
            joined,
            candidates,
            max_skip_connects: shape.max_skip_connects,
            dropout: None,
            mixing: Mixing::default(),
            budget: None,
            edge_skips: shape.edge_skips,
            untied: None,
            stem,
            cells,
            kernels: Kernels::default(),
            classifier,
        })
    }

    /// The same supernet, its cells computed in this way.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The mixing coefficients of both cells.
    fn rows(&self, architecture: &Vector) -> [Vec<Row>; 2] {
        [0, 1].map(|kind| {
            let alphas = architecture.part(&self.alphas[kind]).into_data();
            let alphas: Vec<f64> = alphas.iter::<f64>().collect();
            let weights = |row: &[f64]| self.mixing.expected(row);
            weighted_rows(&alphas, &self.candidates.cells[kind], weights)
        })
    }

    /// The same, with partial channels times the strengths of their edges: what cells are derived from.
    fn strong_rows(&self, architecture: &Vector) -> [Vec<Row>; 2] {
        let mut both = self.rows(architecture);
        for (kind, rows) in both.iter_mut().enumerate() {
            if let Some(betas) = &self.betas {
                let betas = architecture.part(&betas[kind]).into_data();
                let betas: Vec<f64> = betas.iter::<f64>().collect();
                for range in incoming(self.nodes) {
                    let strengths = softmax(&betas[range.clone()]);
                    for (row, strength) in rows[range].iter_mut().zip(strengths) {
                        *row = row.map(|p| p * strength);
                    }
                }
            }
        }
        both
    }

    fn derived_cells(&self, architecture: &Vector) -> Result<DartsGenotype, GenotypeError> {
        let strongest = self.strongest_cells(architecture)?;
        let budget = match &self.budget {
            Some(budget) if !budget.allows(&self.choice_of(&strongest)) => budget,
            _ => return Ok(strongest),
        };
        let mut within = self.likeliest_cells(architecture, Some(budget), (1, [None; 2]))?;
        Ok(within.swap_remove(0))
    }

    /// So many of the likeliest cells, at least one, that a budget allows, with the given cells of some kinds.
    fn likeliest_cells(
        &self,
        architecture: &Vector,
        budget: Option<&Budget>,
        of: (usize, [Option<&CellGenotype>; 2]),
    ) -> Result<Vec<DartsGenotype>, GenotypeError> {
        let rows = self.strong_rows(architecture);
        let space = (&self.candidates, self.nodes);
        let bounds = (budget, self.max_skip_connects);
        let found = costs::likeliest(&rows, space, bounds, of)?;
        let joined = found.into_iter().map(|cells| DartsGenotype {
            normal: cells.normal.joining(self.joined),
            reduce: cells.reduce.joining(self.joined),
        });
        Ok(joined.collect())
    }

    /// The cells of the strongest operations, whatever they cost.
    fn strongest_cells(&self, architecture: &Vector) -> Result<DartsGenotype, GenotypeError> {
        let [normal, reduce] = self.strong_rows(architecture);
        let normal = match self.max_skip_connects {
            Some(cap) => derive_capped(&normal, cap)?,
            None => derive_cell(&normal)?,
        };
        Ok(DartsGenotype {
            normal: normal.joining(self.joined),
            reduce: derive_cell(&reduce)?.joining(self.joined),
        })
    }

    /// For each kind of cell and each edge the operation that these cells have.
    fn choice_of(&self, cells: &DartsGenotype) -> Choice {
        let of = |(cell, candidates): (&CellGenotype, &Vec<Vec<Operation>>)| {
            let mut choice = vec![None; candidates.len()];
            for (node, edges) in cell.nodes.iter().enumerate() {
                for Edge(operation, state) in edges {
                    let edge = edge_index(node, *state);
                    choice[edge] = candidates[edge].iter().position(|o| o == operation);
                }
            }
            choice
        };
        let both = [&cells.normal, &cells.reduce].into_iter();
        both.zip(&self.candidates.cells).map(of).collect()
    }

    /// The coefficients of both kinds of cell.
    fn kinds(&self) -> [Coefficients; 2] {
        [(0, "normal"), (1, "reduction")].map(|(number, kind)| {
            let edges = self.candidates.cells[number].iter();
            let skip =
                |edge: &Vec<Operation>| edge.iter().position(|o| *o == Operation::SkipConnect);
            let derivable = |edge: &Vec<Operation>| {
                let all = (0..edge.len()).filter(|k| edge[*k] != Operation::None);
                all.collect()
            };
            Coefficients {
                kind,
                slot: self.alphas[number].clone(),
                skips: edges.clone().map(skip).collect(),
                derivable: edges.map(derivable).collect(),
                nodes: incoming(self.nodes).collect(),
            }
        })
    }
}

impl Explainer for Supernet {
    /// The names are those of PyTorch's DARTS.
    fn weights(&self) -> &Arc<Layout> {
        &self.weights
    }

    /// `alphas_normal` and `alphas_reduce`, each `[edges, operations]`.
    fn architecture(&self) -> &Arc<Layout> {
        &self.architecture
    }

    fn coefficients(&self) -> Vec<Coefficients> {
        let Some(slots) = &self.untied else {
            return self.kinds().into();
        };
        let kinds = self.kinds();
        let cells = self.cells.iter().zip(slots);
        cells
            .map(|(member, slot)| Coefficients {
                slot: slot.clone(),
                ..kinds[member.kind as usize].clone()
            })
            .collect()
    }

    fn untied(&self) -> Arc<dyn Explainer> {
        let mut architecture = Layout::default();
        let slots = self.cells.iter().enumerate().map(|(number, member)| {
            let shape = self.alphas[member.kind as usize].shape();
            architecture.push(format!("cells.{number}"), shape, Init::Zeros)
        });
        let slots = slots.collect();
        let betas = self.betas.as_ref().map(|betas| {
            let named = ["betas_normal", "betas_reduce"].into_iter().zip(betas);
            let both: Vec<Slot<1>> = named
                .map(|(name, slot)| architecture.push(name, slot.shape(), Init::Zeros))
                .collect();
            [both[0].clone(), both[1].clone()]
        });
        Arc::new(Self {
            untied: Some(slots),
            betas,
            architecture: Arc::new(architecture),
            mixing: Mixing::direct(),
            ..self.clone()
        })
    }

    fn mixing(&self) -> &Mixing {
        &self.mixing
    }

    fn with_mixing(&self, mixing: Mixing) -> Arc<dyn Explainer> {
        Arc::new(Self {
            mixing,
            ..self.clone()
        })
    }

    fn bytes(&self, batch: usize, image: [usize; 3]) -> u64 {
        self.compiled.bytes(batch, image)
    }

    fn mixtures(&self, architecture: &Vector) -> Vec<Mixture> {
        let kinds = ["normal", "reduction"].into_iter();
        let both = kinds.zip(self.rows(architecture));
        // What subsets have beside the operations of the space stands last.
        let edges = self.candidates.cells.iter().flatten();
        let noise = edges.flatten().any(|o| *o == Operation::Noise);
        let operations = match noise {
            true => Operation::EVERY.len(),
            false => Operation::ALL.len(),
        };
        both.map(|(kind, rows)| Mixture {
            kind,
            rows: rows.iter().map(|row| row[..operations].into()).collect(),
        })
        .collect()
    }

    fn derive(&self, architecture: &Vector) -> Result<Genotype, GenotypeError> {
        Ok(Genotype::new(self.derived_cells(architecture)?))
    }

    fn likeliest(
        &self,
        architecture: &Vector,
        count: usize,
    ) -> Result<Vec<Genotype>, GenotypeError> {
        // What no cell of the supernet is of has not been searched.
        let searched = |kind| self.cells.iter().any(|member| member.kind == kind);
        let derived = self.derived_cells(architecture)?;
        let given = [
            (!searched(CellKind::Normal)).then_some(&derived.normal),
            (!searched(CellKind::Reduction)).then_some(&derived.reduce),
        ];
        let budget = self.budget.as_deref();
        let found = self.likeliest_cells(architecture, budget, (count, given))?;
        Ok(found.into_iter().map(Genotype::new).collect())
    }

    fn choice_in(&self, genotype: &Genotype) -> Option<Choice> {
        Some(self.choice_of(genotype.downcast()?))
    }

    fn menu(&self, shape: &DerivedShape) -> Menu {
        costs::menu(shape, &self.candidates, self.nodes)
    }

    fn edge_skips(&self) -> bool {
        self.edge_skips
    }

    fn within(&self, budget: Arc<Budget>) -> Arc<dyn Explainer> {
        Arc::new(Self {
            budget: Some(budget),
            ..self.clone()
        })
    }

    fn budget(&self) -> Option<&Budget> {
        self.budget.as_deref()
    }

    /// Such as `cells.3._ops.5._ops.2`.
    fn operation_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let candidate = name.find("._ops.")? + 1;
        let candidate = candidate + name[candidate..].find("._ops.")? + "._ops.".len();
        let end = name[candidate..]
            .find('.')
            .map_or(name.len(), |at| candidate + at);
        Some(&name[..end])
    }

    fn kept(&self, architecture: &Vector, keep: usize) -> Option<serde_json::Value> {
        self.max_skip_connects?;
        let rows = self.rows(architecture);
        let mut kept = self.candidates.strongest(&rows, keep);
        // What the budget allows must not be lost on the way.
        if self.budget.is_some()
            && let Ok(cells) = self.derived_cells(architecture)
        {
            kept.keep(&cells, &rows);
        }
        serde_json::to_value(kept).ok()
    }

    fn dropping(&self, dropout: SkipDropout) -> Option<Arc<dyn Explainer>> {
        self.max_skip_connects?;
        Some(Arc::new(Self {
            dropout: Some(dropout),
            ..self.clone()
        }))
    }

    fn noisy(&self, draw: Draw) -> Option<Arc<dyn Explainer>> {
        if !self.noisy {
            return None;
        }
        Some(Arc::new(Self {
            noise: draw,
            ..self.clone()
        }))
    }

    fn forward(&self, weights: &Leaves, architecture: &Leaves, images: Dual<4>) -> Dual<2> {
        let pass = &Pass {
            noise: self.noise,
            ..Pass::new(weights)
        };
        let parts = self.coefficients();
        let mixed = parts.iter().map(|of| self.mixing.weights(architecture, of));
        let mixtures: Vec<Dual<2>> = mixed.collect();
        // Of each cell.
        let mixture = |number: usize| match self.untied {
            Some(_) => &mixtures[number],
            None => &mixtures[self.cells[number].kind as usize],
        };
        let strengths = self.betas.as_ref().map(|betas| {
            betas
                .each_ref()
                .map(|slot| partial::strengths(architecture.get(slot), incoming(self.nodes)))
        });
        let drop = self.dropout.map(|d| DropPath {
            probability: d.probability,
            rng: RefCell::new(stream(d.seed, Purpose::DropSkip, d.step)),
        });
        let pooled = if self.kernels.serve(&images.value) {
            let flat = self.cells.iter().enumerate().flat_map(|(number, member)| {
                let of = mixture(number).clone();
                let [edges, operations] = of.value.dims();
                let of = of.linear(|t| t.reshape([edges * operations]));
                let kind = member.kind as usize;
                [Some(of), strengths.as_ref().map(|s| s[kind].clone())]
            });
            let coefficients = Dual::cat(flat.flatten().collect(), 0);
            let mode = Mode {
                drop: drop.as_ref(),
                noise: self.noise,
                ..Mode::default()
            };
            let means = self
                .compiled
                .forward(images, weights, Some(coefficients), &mode);
            only_means(means)
        } else {
            let stem = self.stem.forward(pass, images);
            let mixtures = (0..self.cells.len()).map(|i| mixture(i).clone());
            self.cells_composed(pass, stem, mixtures.collect(), strengths, drop.as_ref())
        };
        self.classifier.forward(pass, pooled)
    }
}

impl Supernet {
    /// The cells from ordinary operations, on any device.
    fn cells_composed(
        &self,
        pass: &Pass,
        [mut s0, mut s1]: [Dual<4>; 2],
        mixtures: Vec<Dual<2>>,
        strengths: Option<[Dual<1>; 2]>,
        drop: Option<&DropPath>,
    ) -> Dual<2> {
        let strengths = strengths.map(|both| {
            both.map(|s| {
                let [edges] = s.value.dims();
                let rows = coefficients(s.linear(|t| t.reshape([edges, 1])));
                rows.into_iter().flatten().collect::<Vec<_>>()
            })
        });
        for (member, mixture) in self.cells.iter().zip(mixtures) {
            let mixture = &coefficients(mixture);
            let strengths = strengths.as_ref().map(|s| &s[member.kind as usize][..]);
            let output = member
                .cell
                .forward(pass, s0, s1.clone(), mixture, strengths, drop);
            (s0, s1) = (s1, output);
        }
        s1.global_mean()
    }
}

/// The edges into each node.
fn incoming(nodes: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..nodes).map(|node| edge_count(node)..edge_count(node + 1))
}

/// The mixing coefficients, one `[1, 1, 1, 1]` tensor for each edge and operation.
fn coefficients(weights: Dual<2>) -> Vec<Vec<Dual<4>>> {
    let [edges, operations] = weights.value.dims();
    (0..edges)
        .map(|edge| {
            (0..operations)
                .map(|k| {
                    weights.clone().linear(|t| {
                        t.slice([edge..edge + 1, k..k + 1])
                            .reshape([1usize, 1, 1, 1])
                    })
                })
                .collect()
        })
        .collect()
}
