//! An event file: records of TensorFlow's format, each a length, its checksum, the bytes and theirs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;

use super::now;
use super::pictures::{examples, mixture};
use super::proto::{Event, Histogram, Kind, Summary, Value, What};
use crate::report::read::Examples;
use crate::run::files::contents;

/// What the names of these files begin with, and those of this program end with.
const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".lease";

/// How long events of steps wait for each other.
const BETWEEN_FLUSHES: Duration = Duration::from_secs(5);

/// An event file being written.
pub struct Events {
    file: BufWriter<File>,
    folder: PathBuf,
    flushed: Instant,
}

impl Events {
    /// Begins the file of a folder; an earlier one goes.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        for file in contents(folder)? {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                std::fs::remove_file(file)?;
            }
        }
        // TensorBoard takes the number for when it began.
        let name = format!("{PREFIX}{}.{}{SUFFIX}", now() as u64, std::process::id());
        let mut events = Self {
            file: BufWriter::new(File::create(folder.join(name))?),
            folder: folder.into(),
            flushed: Instant::now(),
        };
        events.write(&Event {
            wall_time: now(),
            step: 0,
            what: Some(What::FileVersion("brain.Event:2".into())),
        })?;
        Ok(events)
    }

    /// Writes all that a line of `metrics.jsonl` says. Steps count steps, from 0; epochs count epochs, from 1.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn line(&mut self, line: &serde_json::Value, wall_time: f64) -> io::Result<()> {
        let of_step = line["kind"] == "step";
        let (place, prefix) = match of_step {
            true => (line["step"].as_i64(), "step"),
            false => (line["epoch"].as_i64().map(|epoch| epoch + 1), "epoch"),
        };
        let (Some(step), Some(fields)) = (place, line.as_object()) else {
            return Ok(());
        };
        let mut values = Vec::new();
        for (key, value) in fields
            .iter()
            .filter(|(key, _)| !["step", "epoch"].contains(&key.as_str()))
        {
            scalars(&format!("{prefix}/{key}"), value, &mut values);
        }
        for (kind, rows) in line["mixtures"].as_object().into_iter().flatten() {
            let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).unwrap_or_default();
            let all: Vec<f64> = rows.iter().flatten().copied().collect();
            if all.is_empty() {
                continue;
            }
            let histogram = Kind::Histogram(Histogram::of_shares(&all, 0.02));
            values.push(named(format!("mixture/{kind}"), histogram));
            values.extend(
                mixture(&rows)
                    .map(|image| named(format!("mixture_picture/{kind}"), Kind::Image(image))),
            );
        }
        self.summary(values, step, wall_time)
    }

    /// Writes the examples of explanations that the folder has after the epoch of this line.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn examples(&mut self, line: &serde_json::Value, wall_time: f64) -> io::Result<()> {
        let Some(epoch) = line["epoch"].as_u64() else {
            return Ok(());
        };
        let there = Examples::read(&self.folder).filter(|there| there.epoch == epoch + 1);
        let images = there.as_ref().and_then(examples);
        let values = images.map(|image| named("explanations".into(), Kind::Image(image)));
        self.summary(values.into_iter().collect(), epoch as i64 + 1, wall_time)
    }

    fn summary(&mut self, value: Vec<Value>, step: i64, wall_time: f64) -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        self.write(&Event {
            wall_time,
            step,
            what: Some(What::Summary(Summary { value })),
        })
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.file.write_all(&record(&event.encode_to_vec()))
    }

    /// Gives all to the file system.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.file.flush()
    }

    /// The same, if it is some time since it was done.
    ///
    /// # Errors
    /// As the file system reports.
    pub fn flush_at_times(&mut self) -> io::Result<()> {
        match self.flushed.elapsed() > BETWEEN_FLUSHES {
            true => self.flush(),
            false => Ok(()),
        }
    }
}

fn named(tag: String, kind: Kind) -> Value {
    Value {
        tag,
        kind: Some(kind),
    }
}

/// The numbers of a field, of an object those in it; mixtures are told otherwise.
fn scalars(tag: &str, value: &serde_json::Value, values: &mut Vec<Value>) {
    if let Some(number) = value.as_f64() {
        values.push(named(tag.into(), Kind::Simple(number as f32)));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        if !value.is_array() {
            scalars(&format!("{tag}/{key}"), value, values);
        }
    }
}

/// Bytes as a record.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let parts = [&length[..], &masked(&length), bytes, &masked(bytes)];
    parts.concat()
}

/// The checksum of a record's part: CRC-32C, rotated and moved so that checksums of checksums are none.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
