//! A graph as a list of launches, with everything in its place. Which kernels run on what depends on shapes alone, so it is worked
//! out once, and a pass then only launches.

use std::collections::{BTreeMap, BTreeSet};
use std::ops;

use lease_kernels::graph::{Graph, Id, Made, Wanted};
use lease_kernels::plane::Size;

use super::arena::{Arena, Range};
use super::kernels::{LANES, PIXELS, PLANES, gradient, norm};

/// What a program depends on besides its graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Of the images.
    pub size: Size,
    /// How many.
    pub images: usize,
    /// Whether it works on dual numbers.
    pub dual: bool,
    /// Whether it normalises by given statistics.
    pub running: bool,
    /// The gradients that are wanted, if there is a backward pass.
    pub wanted: Option<Wanted>,
    /// How many weights there are.
    pub weights: usize,
    /// How many coefficients there are.
    pub coefficients: usize,
    /// The most numbers that a buffer can have.
    pub most: usize,
}

/// A kernel, with what it is compiled for. Of those in one launch's place, smaller ones run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    Depthwise {
        side: u32,
        back: bool,
    },
    Dense {
        side: u32,
        back: bool,
        pixels: usize,
    },
    Pool,
    PoolBack,
    Gather,
    State,
    Sums,
    Norms,
    Adjoint,
    Against,
    Forms,
    Result {
        means: bool,
    },
    DenseWeights {
        side: u32,
        across: u32,
    },
    DepthwiseWeights {
        side: u32,
    },
    Totals,
}

/// One launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel.
    pub kernel: Kernel,
    /// The part of the images whose fields it works on.
    pub part: usize,
    /// Pieces of a job, and jobs.
    pub groups: [u32; 2],
    /// Its part of the table.
    pub table: ops::Range<usize>,
}

/// Where in the numbers that are not images things are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub weights: usize,
    pub coefficients: usize,
    /// Factors of path dropout, `[drops, images]`.
    pub drop: usize,
    /// Statistics of all normalised nodes, one after the other, as [`norm::norms`] leaves them.
    pub statistics: usize,
    pub statistics_length: usize,
    pub results: usize,
    pub results_length: usize,
    pub result_gradients: usize,
    /// Of the weights, then of the coefficients.
    pub gradients: usize,
    /// Among the fields: the images, and their adjoint.
    pub input: usize,
    pub input_adjoint: Option<usize>,
    /// Number of a noise, its field, and numbers of an image.
    pub noises: Vec<(usize, usize, usize)>,
}

/// A graph's passes over images of one shape.
#[derive(Debug)]
pub struct Program {
    /// The images of each part.
    pub parts: Vec<ops::Range<usize>>,
    /// Numbers of a part's fields.
    pub fields: usize,
    /// Numbers that are not images.
    pub params: usize,
    pub places: Places,
    pub forward: Vec<Launch>,
    pub backward: Vec<Launch>,
    pub table: Vec<u32>,
}

/// One job of a launch.
pub(super) struct Job {
    pub record: Vec<u32>,
    pub pieces: u32,
}

/// Jobs by their kernels.
#[derive(Default)]
pub(super) struct Batch(BTreeMap<Kernel, Vec<Job>>);

impl Batch {
    pub fn push(&mut self, kernel: Kernel, record: Vec<u32>, pieces: usize) {
        let pieces = pieces as u32;
        self.0
            .entry(kernel)
            .or_default()
            .push(Job { record, pieces });
    }
}

/// Groups that a launch should have at least, so that a GPU has enough to do.
const GROUPS: usize = 2048;

/// Groups along one dimension at most.
const MOST_GROUPS: usize = 65_535;

/// The table of each launch begins at a multiple of this: the alignment of bindings.
const TABLE_ALIGNMENT: usize = 64;

/// A program while it is made.
pub(super) struct Builder<'a> {
    pub graph: &'a Graph,
    pub setting: &'a Setting,
    pub sizes: BTreeMap<Id, Size>,
    /// Nodes by the longest path to them.
    pub stages: Vec<Vec<Id>>,
    pub stage_of: BTreeMap<Id, usize>,
    pub normalised: BTreeSet<Id>,
    pub arena: Arena,
    pub fields: BTreeMap<Id, Range>,
    /// Of maxima.
    pub maxima: BTreeMap<Id, Range>,
    pub statistics: BTreeMap<Id, usize>,
    pub program: Program,
    /// Whether launches go to the backward pass.
    pub back: bool,
    /// Groups that a launch of sums should have at least.
    pub groups: usize,
}

/// How the images of each part are cut into chunks.
pub(super) struct Chunks {
    pub images: usize,
    /// Of each part: the first one's number, and how many.
    pub parts: Vec<(usize, usize)>,
    pub count: usize,
}

/// Two's complement, as kernels add it.
pub(super) fn minus(n: usize) -> u32 {
    0u32.wrapping_sub(n as u32)
}

impl Program {
    /// The program of a graph: for as few parts of the images as fit into buffers, and with as many chunks of sums.
    pub fn new(graph: &Graph, setting: &Setting) -> Self {
        let (mut parts, mut groups) = (1, GROUPS);
        loop {
            let each = setting.images.div_ceil(parts);
            let program = Builder::new(graph, setting, each, groups).build();
            if program.params > setting.most && groups > 1 {
                groups /= 4;
            } else if program.fits(setting.most) || each == 1 {
                return program;
            } else {
                parts += 1;
            }
        }
    }

    /// Whether its fields are no larger than a buffer can be, and its launches no larger than those.
    fn fits(&self, most: usize) -> bool {
        let launches = self.forward.iter().chain(&self.backward);
        let groups = launches.flat_map(|l| l.groups).max().unwrap_or(0);
        self.fields <= most && groups as usize <= MOST_GROUPS
    }
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, setting: &'a Setting, each: usize, groups: usize) -> Self {
        let mut stage_of: BTreeMap<Id, usize> = BTreeMap::new();
        let mut stages: Vec<Vec<Id>> = Vec::new();
        for id in graph.nodes() {
            let after = sources(graph, id).into_iter().map(|s| stage_of[&s] + 1);
            let stage = after.max().unwrap_or(0);
            stage_of.insert(id, stage);
            stages.resize_with(stages.len().max(stage + 1), Vec::new);
            stages[stage].push(id);
        }
        let starts = (0..setting.images).step_by(each);
        let parts = starts.map(|s| s..(s + each).min(setting.images));
        Self {
            sizes: graph.sized(setting.size),
            normalised: graph.normalised().collect(),
            stages,
            stage_of,
            arena: Arena::default(),
            fields: BTreeMap::new(),
            maxima: BTreeMap::new(),
            statistics: BTreeMap::new(),
            program: Program {
                parts: parts.collect(),
                fields: 0,
                params: 0,
                places: Places::default(),
                forward: Vec::new(),
                backward: Vec::new(),
                table: Vec::new(),
            },
            back: false,
            groups,
            graph,
            setting,
        }
    }

    fn build(mut self) -> Program {
        self.lay_out();
        self.forward();
        self.backward();
        self.program.fields = self.arena.size();
        self.program
    }

    /// Numbers that are not images, in all parts.
    pub fn numbers(&mut self, length: usize) -> usize {
        let start = self.program.params;
        self.program.params += length;
        start
    }

    fn lay_out(&mut self) {
        let (graph, setting) = (self.graph, self.setting);
        let weights = self.numbers(setting.weights);
        let coefficients = self.numbers(setting.coefficients);
        let drop = self.numbers(graph.drops() * setting.images);
        let statistics = self.program.params;
        for id in graph.normalised() {
            let place = self.numbers(norm::STATISTICS as usize * graph.channels(id));
            self.statistics.insert(id, place);
        }
        let statistics_length = self.program.params - statistics;
        let shapes = graph.output_shapes(setting.size);
        let each: usize = shapes.iter().map(|(c, size)| c * size.area()).sum();
        let results_length = each * setting.images;
        let results = self.numbers(results_length);
        let result_gradients = self.numbers(results_length);
        let gradients = self.numbers(setting.weights + setting.coefficients);
        self.program.places = Places {
            weights,
            coefficients,
            drop,
            statistics,
            statistics_length,
            results,
            results_length,
            result_gradients,
            gradients,
            ..Places::default()
        };
    }

    /// Numbers of a node's field in a part.
    pub fn length(&self, channels: usize, size: Size) -> usize {
        let images = self.program.parts[0].len();
        images * channels * size.area()
    }

    pub fn take(&mut self, channels: usize, size: Size) -> Range {
        self.arena.take(self.length(channels, size))
    }

    pub fn field(&self, id: Id) -> u32 {
        self.fields[&id].start as u32
    }

    pub fn images(&self, part: usize) -> usize {
        self.program.parts[part].len()
    }

    /// Pieces of a job on so many planes.
    pub fn planes(&self, part: usize, channels: usize) -> (u32, usize) {
        let planes = self.images(part) * channels;
        (planes as u32, planes.div_ceil(PLANES as usize))
    }

    /// Chunks such that jobs with so many groups for each chunk give a GPU enough to do.
    pub fn chunks(&self, groups: usize) -> Chunks {
        let most = self.program.parts[0].len();
        let wanted = (self.groups / groups.max(1)).clamp(1, most);
        let images = most.div_ceil(wanted);
        let mut count = 0;
        let parts = self.program.parts.iter().map(|part| {
            let own = (count, part.len().div_ceil(images));
            count += own.1;
            own
        });
        Chunks {
            images,
            parts: parts.collect(),
            count,
        }
    }

    /// Adds a launch of each of these kernels.
    pub fn launch(&mut self, part: usize, batch: Batch) {
        for (kernel, jobs) in batch.0 {
            let (kernel, jobs) = spread(kernel, jobs);
            for jobs in alike(jobs) {
                self.launch_one(kernel, part, &jobs);
            }
        }
    }

    fn launch_one(&mut self, kernel: Kernel, part: usize, jobs: &[Job]) {
        let table = &mut self.program.table;
        let start = table.len().next_multiple_of(TABLE_ALIGNMENT);
        table.resize(start, 0);
        let mut at = jobs.len();
        for job in jobs {
            table.push(at as u32);
            at += job.record.len();
        }
        for job in jobs {
            table.extend(&job.record);
        }
        let pieces = jobs.iter().map(|j| j.pieces).max().unwrap_or(0);
        let launch = Launch {
            kernel,
            part,
            groups: [pieces, jobs.len() as u32],
            table: start..self.program.table.len(),
        };
        let launches = match self.back {
            true => &mut self.program.backward,
            false => &mut self.program.forward,
        };
        launches.push(launch);
    }

    /// The statistics of these nodes, from their fields.
    pub fn normalise(&mut self, nodes: &[Id]) {
        if self.setting.running {
            return;
        }
        let own = |id: &&Id| self.normalised.contains(id);
        let nodes: Vec<Id> = nodes.iter().filter(own).copied().collect();
        let channels = nodes.iter().map(|id| self.graph.channels(*id)).sum();
        let chunks = self.chunks(channels);
        let mut sums = Vec::new();
        for id in &nodes {
            let length = norm::SUMS as usize * self.graph.channels(*id) * chunks.count;
            sums.push(self.numbers(length));
        }
        for part in 0..self.program.parts.len() {
            let mut batch = Batch::default();
            for (id, sums) in nodes.iter().zip(&sums) {
                let channels = self.graph.channels(*id);
                let (first, own) = chunks.parts[part];
                let record = [
                    self.field(*id) as usize,
                    channels,
                    self.sizes[id].area(),
                    self.images(part),
                    chunks.images,
                    own,
                    first,
                    chunks.count,
                    *sums,
                ];
                batch.push(
                    Kernel::Sums,
                    record.map(|n| n as u32).into(),
                    channels * own,
                );
            }
            self.launch(part, batch);
        }
        let mut batch = Batch::default();
        for (id, sums) in nodes.iter().zip(&sums) {
            let channels = self.graph.channels(*id);
            let record = [*sums, channels, chunks.count, self.statistics[id]];
            let pieces = channels.div_ceil(LANES as usize);
            batch.push(Kernel::Norms, record.map(|n| n as u32).into(), pieces);
        }
        self.launch(0, batch);
    }
}

/// What a node is made of.
pub(super) fn sources(graph: &Graph, id: Id) -> Vec<Id> {
    match graph.made(id) {
        Made::Input => Vec::new(),
        Made::Conv { sources, .. } => sources.to_vec(),
        Made::MaxPool(source, _) | Made::AvgPool(source, _) => vec![source],
        Made::Noise { like, .. } => vec![like],
        Made::Gather => {
            let all: BTreeSet<Id> = graph.gathered(id).into_iter().map(|(s, _)| s).collect();
            all.into_iter().collect()
        }
        Made::State { terms, .. } => terms.iter().map(|t| t.source).collect(),
    }
}

/// Fewer pixels for each thread of a dense convolution where there would be too few threads.
fn spread(kernel: Kernel, mut jobs: Vec<Job>) -> (Kernel, Vec<Job>) {
    let Kernel::Dense { side, back, .. } = kernel else {
        return (kernel, jobs);
    };
    let mut pixels = PIXELS;
    while pixels > 2 && jobs.iter().map(|j| j.pieces).sum::<u32>() < GROUPS as u32 {
        pixels /= 2;
        jobs.iter_mut().for_each(|job| job.pieces *= 2);
    }
    (Kernel::Dense { side, back, pixels }, jobs)
}

/// Jobs in lots whose pieces are about as many, since a launch has as many of each job as of its largest.
fn alike(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut lots: BTreeMap<u32, Vec<Job>> = BTreeMap::new();
    let few = jobs.iter().map(|j| j.pieces).sum::<u32>() < GROUPS as u32;
    for job in jobs {
        let lot = if few {
            0
        } else {
            job.pieces.max(1).ilog2() / 3
        };
        lots.entry(lot).or_default().push(job);
    }
    lots.into_values().collect()
}

/// Of a gradient of so many rows and columns: the columns of its tiles, and how many tiles there are.
pub(super) fn tiles(rows: usize, columns: usize) -> (usize, usize) {
    let across = match columns {
        0..=16 => 16,
        17..=32 => 32,
        _ => 64,
    };
    let down = rows.div_ceil(gradient::ROWS as usize);
    (across, columns.div_ceil(across) * down)
}
