//! Programs on a device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn_cubecl::CubeDevice;
use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::server::Handle;
use lease_kernels::graph::Graph;

use super::kernels::{ADDERS, LANES, PLANES, conv, copy, gradient, norm, pool, sweep};
use super::program::{Kernel, Launch, Program, Setting};

/// Bytes of a number.
const BYTES: usize = size_of::<f32>();

/// Threads of a group that copies.
const COPIERS: u32 = 256;

/// The programs of a graph, each made when it is first wanted.
#[derive(Debug, Default)]
pub struct Programs(Mutex<HashMap<Setting, Arc<Compiled>>>);

/// A program with its table on the devices that ran it.
#[derive(Debug)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    tables: Mutex<Vec<(CubeDevice, Handle)>>,
}

impl Programs {
    /// The program of `graph`, which is always the same, in a setting.
    pub fn get(&self, graph: &Graph, setting: &Setting) -> Arc<Compiled> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Compiled {
                program: Program::new(graph, setting),
                tables: Mutex::default(),
            })
        };
        all.entry(setting.clone()).or_insert_with(new).clone()
    }
}

/// A pass on a device: its memory.
pub struct Pass {
    compiled: Arc<Compiled>,
    client: Client,
    table: Handle,
    dual: bool,
    /// Of each part, the fields and their tangents.
    fields: Vec<[Handle; 2]>,
    /// Other numbers and their tangents.
    numbers: [Handle; 2],
}

/// Where numbers go: fields of a part, or numbers that are not images; and whether to the tangents.
#[derive(Clone, Copy)]
pub enum Memory {
    /// A part's fields.
    Fields(usize),
    /// Other numbers.
    Numbers,
}

impl Pass {
    /// Memory for a pass.
    pub fn new(compiled: Arc<Compiled>, dual: bool, client: Client, device: &CubeDevice) -> Self {
        let program = &compiled.program;
        // A buffer is never touched for tangents of values.
        let pair = |n: usize| {
            let tangents = if dual { n } else { 1 };
            [n, tangents].map(|n| client.empty(n.max(1) * BYTES))
        };
        let fields = program.parts.iter().map(|_| pair(program.fields)).collect();
        let numbers = pair(program.params);
        let mut tables = compiled
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let table = tables.iter().find(|(of, _)| of == device);
        let table = table.map(|(_, table)| table.clone()).unwrap_or_else(|| {
            let table = client.create_from_slice(bytemuck::cast_slice(&program.table));
            tables.push((device.clone(), table.clone()));
            table
        });
        drop(tables);
        Self {
            compiled,
            client,
            table,
            dual,
            fields,
            numbers,
        }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.compiled.program
    }

    fn memory(&self, memory: Memory, tangents: bool) -> (&Handle, usize) {
        let program = self.program();
        match memory {
            Memory::Fields(part) => (&self.fields[part][usize::from(tangents)], program.fields),
            Memory::Numbers => (&self.numbers[usize::from(tangents)], program.params),
        }
    }

    /// Copies `length` numbers from the place `first` of a buffer.
    pub fn load(
        &self,
        (from, first): (&Handle, usize),
        (to, tangents, at): (Memory, bool, usize),
        length: usize,
    ) {
        let whole = from.size_in_used() as usize / BYTES;
        let (to, numbers) = self.memory(to, tangents);
        self.copy((from, whole, first), (to, numbers, at), length);
    }

    /// Copies `length` numbers to the place `at` of a buffer.
    pub fn store(
        &self,
        (from, tangents, first): (Memory, bool, usize),
        (to, at): (&Handle, usize),
        length: usize,
    ) {
        let whole = to.size_in_used() as usize / BYTES;
        let (from, numbers) = self.memory(from, tangents);
        self.copy((from, numbers, first), (to, whole, at), length);
    }

    fn copy(
        &self,
        (from, from_length, first): (&Handle, usize, usize),
        (to, to_length, at): (&Handle, usize, usize),
        length: usize,
    ) {
        if length == 0 {
            return;
        }
        let [first, at, length] = [first, at, length].map(|n| n as u32);
        // SAFETY: the program gave out these places within their buffers.
        unsafe {
            copy::copy::launch_unchecked(
                &self.client,
                groups(length),
                CubeDim::new_1d(COPIERS),
                BufferArg::from_raw_parts(from.clone(), from_length),
                BufferArg::from_raw_parts(to.clone(), to_length),
                first,
                at,
                length,
            );
        }
    }

    /// Sets `length` numbers to zero.
    pub fn clear(&self, (to, tangents, at): (Memory, bool, usize), length: usize) {
        let (to, numbers) = self.memory(to, tangents);
        self.clear_in((to, numbers), at, length);
    }

    fn clear_in(&self, (to, numbers): (&Handle, usize), at: usize, length: usize) {
        if length == 0 {
            return;
        }
        let [at, length] = [at, length].map(|n| n as u32);
        // SAFETY: as in `copy`.
        unsafe {
            copy::clear::launch_unchecked(
                &self.client,
                groups(length),
                CubeDim::new_1d(COPIERS),
                BufferArg::from_raw_parts(to.clone(), numbers),
                at,
                length,
            );
        }
    }

    /// Sets `length` numbers of a buffer to zero.
    pub fn zero(&self, to: &Handle, at: usize, length: usize) {
        let whole = to.size_in_used() as usize / BYTES;
        self.clear_in((to, whole), at, length);
    }

    /// Numbers of the host's on the device.
    pub fn send(&self, numbers: &[f32]) -> Handle {
        let bytes = bytemuck::cast_slice(numbers);
        self.client.create_from_slice(bytes)
    }

    /// Numbers that are not images, read back.
    pub fn read(&self, first: usize, length: usize) -> Vec<f32> {
        let copied = self.client.empty(length.max(1) * BYTES);
        self.store((Memory::Numbers, false, first), (&copied, 0), length);
        let bytes = self.client.read_one_unchecked(copied);
        bytemuck::cast_slice(&bytes)[..length].to_vec()
    }

    /// Runs these launches of the program.
    pub fn run(&self, launches: &[Launch]) {
        for launch in launches {
            self.launch(launch);
        }
    }

    fn launch(&self, launch: &Launch) {
        let program = self.program();
        let [x, y] = launch.groups;
        if x == 0 || y == 0 {
            return;
        }
        let count = CubeCount::Static(x, y, 1);
        let fields = &self.fields[launch.part];
        let numbers = &self.numbers;
        let lengths = |n: usize| if self.dual { n } else { 1 };
        let buffer = |handle: &Handle, n: usize| {
            // SAFETY: these are the lengths that `new` gave them.
            unsafe { BufferArg::from_raw_parts(handle.clone(), n.max(1)) }
        };
        let table = self
            .table
            .clone()
            .offset_start((launch.table.start * size_of::<u32>()) as u64)
            .offset_end(((program.table.len() - launch.table.end) * size_of::<u32>()) as u64);
        let dual = self.dual;
        macro_rules! go {
            ($kernel:path, $dim:expr $(, $constant:expr)*) => {{
                use $kernel as kernel;
                // SAFETY: the records keep to the buffers, whose places the program gave out.
                unsafe {
                    kernel::launch_unchecked(
                        &self.client,
                        count,
                        $dim,
                        buffer(&fields[0], program.fields),
                        buffer(&fields[1], lengths(program.fields)),
                        buffer(&numbers[0], program.params),
                        buffer(&numbers[1], lengths(program.params)),
                        buffer(&table, launch.table.len()),
                        $($constant),*
                    );
                }
            }};
        }
        let planes = CubeDim::new_2d(LANES, PLANES);
        let (line, adders) = (CubeDim::new_1d(LANES), CubeDim::new_1d(ADDERS));
        match launch.kernel {
            Kernel::Depthwise { side, back } => go!(conv::depthwise, planes, side, back, dual),
            Kernel::Dense { side, back, pixels } => {
                go!(conv::dense, line, side, back, pixels, dual)
            }
            Kernel::Pool => go!(pool::pool, planes, dual),
            Kernel::PoolBack => go!(pool::pool_back, planes, dual),
            Kernel::Gather => go!(pool::gather, planes, dual),
            Kernel::State => go!(sweep::state, planes, dual),
            Kernel::Sums => go!(norm::sums, adders, dual),
            Kernel::Norms => go!(norm::norms, line, dual),
            Kernel::Adjoint => go!(sweep::adjoint, planes, dual),
            Kernel::Against => go!(norm::against, adders, dual),
            Kernel::Forms => go!(norm::forms, line, dual),
            Kernel::Result { means } => go!(sweep::result, planes, means, dual),
            Kernel::DenseWeights { side, across } => {
                go!(gradient::dense_weights, adders, side, across, dual)
            }
            Kernel::DepthwiseWeights { side } => go!(gradient::depthwise_weights, line, side, dual),
            Kernel::Totals => go!(gradient::totals, line),
        }
    }
}

/// Groups that copy so many numbers, some by each thread.
fn groups(length: u32) -> CubeCount {
    CubeCount::Static(length.div_ceil(4 * COPIERS).clamp(1, 65_535), 1, 1)
}
