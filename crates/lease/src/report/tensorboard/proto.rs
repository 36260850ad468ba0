//! What TensorBoard reads, as far as it is written here: `tensorboard/compat/proto/event.proto` and `summary.proto`, whose
//! field numbers these are.

/// One thing that happened.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// The step.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// What it was.
    #[prost(oneof = "What", tags = "3, 5")]
    pub what: Option<What>,
}

/// What happened.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// The file began: `brain.Event:2`.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Something was measured.
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// What was measured.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    /// Each quantity.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A quantity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// Its name.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// What it is.
    #[prost(oneof = "Kind", tags = "2, 4, 5")]
    pub kind: Option<Kind>,
}

/// The kinds of quantities.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// A number.
    #[prost(float, tag = "2")]
    Simple(f32),
    /// A picture.
    #[prost(message, tag = "4")]
    Image(Image),
    /// Many numbers.
    #[prost(message, tag = "5")]
    Histogram(Histogram),
}

/// A picture.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    /// Pixels.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Pixels.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 3: red, green and blue.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// PNG.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// How many numbers are in which range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// The least.
    #[prost(double, tag = "1")]
    pub min: f64,
    /// The largest.
    #[prost(double, tag = "2")]
    pub max: f64,
    /// How many.
    #[prost(double, tag = "3")]
    pub num: f64,
    /// Their sum.
    #[prost(double, tag = "4")]
    pub sum: f64,
    /// The sum of their squares.
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    /// The upper end of each range.
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    /// How many are in each.
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

impl Histogram {
    /// That of shares of 1, in ranges of this width.
    pub fn of_shares(values: &[f64], width: f64) -> Self {
        let count = (1.0 / width).round() as usize;
        let mut bucket = vec![0.0; count];
        for value in values {
            bucket[((value / width) as usize).min(count - 1)] += 1.0;
        }
        Self {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            num: values.len() as f64,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|v| v * v).sum(),
            bucket_limit: (1..=count).map(|i| i as f64 * width).collect(),
            bucket,
        }
    }
}
