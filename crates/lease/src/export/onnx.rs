//! ONNX, opset 17: every layer of the network's graph as the operators of the standard, its weights under PyTorch's names.

use std::collections::BTreeMap;

use lease_kernels::graph::{Geometry, Id, Made, Normalise, StageShape, Term, Wholes, Window};
use lease_kernels::norm::EPSILON;
use lease_kernels::plane::Size;
use prost::Message;

use super::messages::{
    Attribute, Dimension, FLOAT, Graph, INT64, Model, Node, OperatorSet, Property, Shape,
    TensorType, Type, Value,
};
use super::{ExportError, Inside, messages};
use crate::data::Framing;
use crate::network::kernels::ZERO;
use crate::network::{Drawing, Slot, Vector};
use crate::training::Trained;

/// The version of the operators.
pub const OPSET: i64 = 17;

/// The version of the file format that came with it.
const IR_VERSION: i64 = 8;

/// The name of the network's input, `[batch, channels, height, width]`.
pub const INPUT: &str = "images";

/// The name of the output, `[batch, classes]`.
pub fn output(inside: Inside) -> &'static str {
    match inside.softmax {
        true => "probabilities",
        false => "logits",
    }
}

/// The bytes of an ONNX file of a trained network, for batches of any size.
///
/// # Errors
/// If the network has noise for an operation.
pub fn onnx(trained: &Trained, inside: Inside) -> Result<Vec<u8>, ExportError> {
    let mut sheet = Sheet::new(trained);
    sheet.network(inside)?;
    Ok(sheet.encoded(inside))
}

/// A network while it is written down.
struct Sheet<'a> {
    trained: &'a Trained,
    drawing: Drawing<'a>,
    sizes: BTreeMap<Id, Size>,
    weights: Vec<f32>,
    running: Vec<f32>,
    operators: Vec<Node>,
    constants: BTreeMap<String, messages::Tensor>,
    /// What each node is called.
    names: BTreeMap<Id, String>,
    /// States joined, rectified or shifted, which several layers may read.
    shared: BTreeMap<(Vec<Id>, &'static str), String>,
}

fn numbers(vector: &Vector) -> Vec<f32> {
    let data = vector.flat().into_data();
    data.iter::<f32>().collect()
}

impl<'a> Sheet<'a> {
    fn new(trained: &'a Trained) -> Self {
        let drawing = trained.network.drawing();
        let [_, h, w] = trained.image();
        Self {
            sizes: drawing.graph.sized(Size { h, w }),
            drawing,
            trained,
            weights: numbers(&trained.weights),
            running: numbers(&trained.running),
            operators: Vec::new(),
            constants: BTreeMap::new(),
            names: BTreeMap::new(),
            shared: BTreeMap::new(),
        }
    }

    /// Adds an operator; the name of what it gives.
    fn add(&mut self, kind: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        let output = format!("{kind}_{}", self.operators.len());
        self.operators.push(Node {
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: kind.into(),
            attribute,
        });
        output
    }

    fn tensor(&mut self, name: &str, dims: Vec<i64>, kind: i32, raw_data: Vec<u8>) -> String {
        let tensor = messages::Tensor {
            dims,
            data_type: Some(kind),
            name: name.into(),
            raw_data,
        };
        self.constants.insert(name.into(), tensor);
        name.into()
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let dims = shape.iter().map(|n| *n as i64).collect();
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, dims, FLOAT, bytes)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, vec![values.len() as i64], INT64, bytes)
    }

    /// The weights that begin at this place; their name and shape.
    fn weight(&mut self, place: usize) -> Result<(String, Vec<usize>), ExportError> {
        let layout = self.trained.network.weights().clone();
        let entries = layout.entries();
        let at = entries.binary_search_by_key(&place, |e| e.range.start);
        let Ok(at) = at else {
            return Err(ExportError::Unknown("some of its weights have no name"));
        };
        let entry = &entries[at];
        let values = self.weights[entry.range.clone()].to_vec();
        let name = self.constant(&entry.name, &entry.shape, &values);
        Ok((name, entry.shape.clone()))
    }

    /// A running mean or variance.
    fn statistic(&mut self, slot: &Slot<1>) -> String {
        let range = slot.place()..slot.place() + slot.shape()[0];
        let entries = self.trained.network.running().entries();
        let at = entries.binary_search_by_key(&range.start, |e| e.range.start);
        let name = at.map_or_else(|_| String::new(), |at| entries[at].name.clone());
        let values = self.running[range].to_vec();
        self.constant(&name, &slot.shape(), &values)
    }

    fn network(&mut self, inside: Inside) -> Result<(), ExportError> {
        let graph = self.drawing.graph;
        for id in graph.nodes() {
            let name = match graph.made(id) {
                Made::Input => self.input(inside),
                Made::Conv {
                    sources,
                    rectify,
                    shape,
                } => self.conv(sources, rectify, shape)?,
                Made::MaxPool(source, window) => self.pool("MaxPool", source, window),
                Made::AvgPool(source, window) => self.pool("AveragePool", source, window),
                Made::State { terms, rectify } => self.state(terms, rectify)?,
                Made::Noise { .. } => return Err(ExportError::Noise),
                Made::Gather => {
                    return Err(ExportError::Unknown("it has layers of supernets"));
                }
            };
            self.names.insert(id, name);
        }
        let Some(Wholes::Means(states)) = graph.results().next() else {
            return Err(ExportError::Unknown("it does not end in means"));
        };
        let states = states.to_vec();
        let joined = self.joined(&states);
        let means = self.add("GlobalAveragePool", &[&joined], Vec::new());
        let means = self.add("Flatten", &[&means], vec![Attribute::int("axis", 1)]);
        let (matrix, bias) = self.drawing.classifier;
        let (matrix, bias) = (matrix.place(), bias.place());
        let ((matrix, _), (bias, _)) = (self.weight(matrix)?, self.weight(bias)?);
        let transposed = vec![Attribute::int("transB", 1)];
        self.add("Gemm", &[&means, &matrix, &bias], transposed);
        if inside.softmax {
            let logits = self.last();
            self.add("Softmax", &[&logits], vec![Attribute::int("axis", -1)]);
        }
        if let Some(last) = self.operators.last_mut() {
            last.output = vec![output(inside).into()];
        }
        Ok(())
    }

    fn last(&self) -> String {
        let last = self.operators.last();
        last.map_or(String::new(), |operator| operator.name.clone())
    }

    fn input(&mut self, inside: Inside) -> String {
        if !inside.normalisation {
            return INPUT.into();
        }
        let (mean, std) = {
            let n = &self.trained.normalisation;
            (n.mean.clone(), n.std.clone())
        };
        let shape = [1, mean.len(), 1, 1];
        let mean = self.constant("normalisation.mean", &shape, &mean);
        let std = self.constant("normalisation.std", &shape, &std);
        let centred = self.add("Sub", &[INPUT, &mean], Vec::new());
        self.add("Div", &[&centred, &std], Vec::new())
    }

    /// States joined along their channels.
    fn joined(&mut self, sources: &[Id]) -> String {
        if let [only] = sources {
            return self.names[only].clone();
        }
        let key = (sources.to_vec(), "joined");
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let all: Vec<String> = sources.iter().map(|s| self.names[s].clone()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let name = self.add("Concat", &all, vec![Attribute::int("axis", 1)]);
        self.shared.insert(key, name.clone());
        name
    }

    /// What a convolution reads.
    fn read(&mut self, sources: &[Id], rectify: bool) -> String {
        let joined = self.joined(sources);
        if !rectify {
            return joined;
        }
        let key = (sources.to_vec(), "rectified");
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.add("Relu", &[&joined], Vec::new());
        self.shared.insert(key, name.clone());
        name
    }

    fn conv(
        &mut self,
        sources: &[Id],
        rectify: bool,
        shape: &StageShape,
    ) -> Result<String, ExportError> {
        let x = self.read(sources, rectify);
        let one = Window {
            size: 1,
            stride: 1,
            pad: 0,
        };
        match shape.geometry {
            Geometry::Dense(kernel) => {
                let window = Window {
                    size: kernel.size,
                    stride: kernel.stride,
                    pad: kernel.pad(),
                };
                self.convolution(&x, shape.matrices[0], window, kernel.dilation, 1)
            }
            Geometry::Separable(kernel) => {
                let window = Window {
                    size: kernel.size,
                    stride: kernel.stride,
                    pad: kernel.pad(),
                };
                let groups = shape.inputs.iter().sum();
                let y = self.convolution(&x, shape.taps, window, kernel.dilation, groups)?;
                self.convolution(&y, shape.matrices[0], one, 1, 1)
            }
            Geometry::Reduce => {
                let shifted = self.shifted(&x, sources);
                let window = Window { stride: 2, ..one };
                let [first, second] = shape.matrices[..] else {
                    return Err(ExportError::Unknown("a reduction has not two matrices"));
                };
                let first = self.convolution(&x, first, window, 1, 1)?;
                let second = self.convolution(&shifted, second, window, 1, 1)?;
                let joined = vec![Attribute::int("axis", 1)];
                Ok(self.add("Concat", &[&first, &second], joined))
            }
        }
    }

    /// What a reduction's second half reads: the pixels from the second row and column on, with zeros past the end where the
    /// image's sides are odd.
    fn shifted(&mut self, x: &str, sources: &[Id]) -> String {
        let key = (sources.to_vec(), "shifted");
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let starts = self.integers("shift.starts", &[1, 1]);
        let ends = self.integers("shift.ends", &[i64::from(i32::MAX); 2]);
        let axes = self.integers("shift.axes", &[2, 3]);
        let mut name = self.add("Slice", &[x, &starts, &ends, &axes], Vec::new());
        let Size { h, w } = self.sizes[&sources[0]];
        if h % 2 + w % 2 > 0 {
            let pads = [0, 0, 0, 0, 0, 0, h as i64 % 2, w as i64 % 2];
            let pads = self.integers(&format!("shift.pads.{}.{}", h % 2, w % 2), &pads);
            name = self.add("Pad", &[&name, &pads], Vec::new());
        }
        self.shared.insert(key, name.clone());
        name
    }

    fn convolution(
        &mut self,
        x: &str,
        place: usize,
        window: Window,
        dilation: usize,
        groups: usize,
    ) -> Result<String, ExportError> {
        let (weight, _) = self.weight(place)?;
        let attributes = vec![
            Attribute::ints("kernel_shape", vec![window.size as i64; 2]),
            Attribute::ints("strides", vec![window.stride as i64; 2]),
            Attribute::ints("pads", vec![window.pad as i64; 4]),
            Attribute::ints("dilations", vec![dilation as i64; 2]),
            Attribute::int("group", groups as i64),
        ];
        Ok(self.add("Conv", &[x, &weight], attributes))
    }

    fn pool(&mut self, kind: &str, source: Id, window: Window) -> String {
        let x = self.names[&source].clone();
        let mut attributes = vec![
            Attribute::ints("kernel_shape", vec![window.size as i64; 2]),
            Attribute::ints("strides", vec![window.stride as i64; 2]),
            Attribute::ints("pads", vec![window.pad as i64; 4]),
        ];
        if kind == "AveragePool" {
            attributes.push(Attribute::int("count_include_pad", 0));
        }
        self.add(kind, &[&x], attributes)
    }

    fn state(&mut self, terms: &[Term], rectify: bool) -> Result<String, ExportError> {
        let mut sum: Option<String> = None;
        for term in terms {
            let y = self.term(term)?;
            sum = Some(match sum {
                Some(sum) => self.add("Add", &[&sum, &y], Vec::new()),
                None => y,
            });
        }
        let sum = sum.ok_or(ExportError::Unknown("a sum has no summands"))?;
        Ok(match rectify {
            true => self.add("Relu", &[&sum], Vec::new()),
            false => sum,
        })
    }

    fn term(&mut self, term: &Term) -> Result<String, ExportError> {
        let x = self.names[&term.source].clone();
        let channels = self.drawing.graph.channels(term.source);
        let affine = match term.normalise {
            Normalise::Not => None,
            Normalise::Plain => {
                let ones = format!("ones.{channels}");
                let ones = self.constant(&ones, &[channels], &vec![1.0; channels]);
                let zeros = format!("zeros.{channels}");
                let zeros = self.constant(&zeros, &[channels], &vec![0.0; channels]);
                Some((ones, zeros))
            }
            Normalise::Affine { scale, shift } => {
                Some((self.weight(scale)?.0, self.weight(shift)?.0))
            }
        };
        let y = match affine {
            None => x,
            Some((scale, shift)) => {
                let Some((mean, variance)) = self.drawing.running.get(&term.source).cloned() else {
                    return Err(ExportError::Unknown(
                        "a batch norm has no running statistics",
                    ));
                };
                let (mean, variance) = (self.statistic(&mean), self.statistic(&variance));
                let inputs = [&x[..], &scale, &shift, &mean, &variance];
                let epsilon = vec![Attribute::float("epsilon", EPSILON as f32)];
                self.add("BatchNormalization", &inputs, epsilon)
            }
        };
        match term.coefficient {
            None => Ok(y),
            Some(ZERO) => {
                let zero = self.constant("zero", &[], &[0.0]);
                Ok(self.add("Mul", &[&y, &zero], Vec::new()))
            }
            Some(_) => Err(ExportError::Unknown("it has mixtures")),
        }
    }

    fn encoded(self, inside: Inside) -> Vec<u8> {
        let trained = self.trained;
        let [channels, h, w] = trained.image().map(|n| n as i64);
        let classes = trained.classes.len() as i64;
        let properties = metadata(trained, inside).into_iter();
        let model = Model {
            ir_version: Some(IR_VERSION),
            producer_name: "lease".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            opset_import: vec![OperatorSet {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            graph: Some(Graph {
                name: "network".into(),
                node: self.operators,
                initializer: self.constants.into_values().collect(),
                input: vec![value(INPUT, &[channels, h, w])],
                output: vec![value(output(inside), &[classes])],
            }),
            metadata_props: properties
                .map(|(key, value)| Property {
                    key: key.into(),
                    value,
                })
                .collect(),
        };
        model.encode_to_vec()
    }
}

/// What is told of the network to who reads the file.
fn metadata(trained: &Trained, inside: Inside) -> Vec<(&'static str, String)> {
    let [channels, h, w] = trained.image();
    let normalisation = &trained.normalisation;
    let range = match inside.normalisation {
        true => "0 to 1, white being 1".to_string(),
        false => format!(
            "0 to 1, white being 1, of which the mean {:?} of each channel is subtracted, and which are then divided by {:?}",
            normalisation.mean, normalisation.std
        ),
    };
    let colours = match channels {
        1 => "grey".to_string(),
        3 => "red, green, blue".to_string(),
        n => format!("{n} channels"),
    };
    vec![
        (
            "classes",
            serde_json::to_string(&trained.classes).unwrap_or_default(),
        ),
        (
            "images",
            format!(
                "{colours}; {h} pixels high, {w} wide; values from {range}{}",
                framing(trained)
            ),
        ),
        ("genotype", trained.genotype.to_string()),
    ]
}

/// How images of other sizes were brought to that of the network, where they were.
fn framing(trained: &Trained) -> &'static str {
    let frame = trained.config.data.images.frame();
    match frame.map(|frame| frame.framing) {
        None => "",
        Some(Framing::Stretch) => {
            "; images of other sizes brought to that size, each side by its own factor"
        }
        Some(Framing::Crop) => {
            "; images brought to 256/224 of that size on the shorter side, and the middle cut out"
        }
    }
}

/// An input or output: for each image of a batch, this shape.
fn value(name: &str, shape: &[i64]) -> Value {
    let batch = Dimension {
        value: None,
        param: Some("batch".into()),
    };
    let each = shape.iter().map(|n| Dimension {
        value: Some(*n),
        param: None,
    });
    let tensor = TensorType {
        elem_type: Some(FLOAT),
        shape: Some(Shape {
            dim: [batch].into_iter().chain(each).collect(),
        }),
    };
    Value {
        name: name.into(),
        kind: Some(Type {
            tensor: Some(tensor),
        }),
    }
}
