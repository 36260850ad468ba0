//! What a measurement leaves: numbers of maps beside those of controls.

use serde::Serialize;

use super::maps::Source;
use crate::statistics::{interval, mean};

/// Which numbers of a measure speak for a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
    /// Neither: it describes.
    Neither,
}

/// A measure of the maps of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The source.
    pub source: Source,
    /// The mean over the images.
    pub mean: f64,
    /// A 95 % interval of it.
    pub interval: Option<[f64; 2]>,
    /// That of each image.
    pub values: Vec<f64>,
}

impl Measured {
    pub(super) fn new(source: Source, values: Vec<f64>) -> Self {
        Self {
            source,
            mean: mean(&values),
            interval: interval(&values),
            values,
        }
    }
}

/// What the explanation has more than a control, image by image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The control.
    pub control: Source,
    /// The mean.
    pub mean: f64,
    /// A 95 % interval of it.
    pub interval: Option<[f64; 2]>,
}

/// One measure of all maps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Its name in files.
    pub key: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Which numbers speak for a map.
    pub better: Better,
    /// Of each source, the explanation first.
    pub of: Vec<Measured>,
    /// The explanation less each control.
    pub differences: Vec<Difference>,
}

impl Measure {
    pub(super) fn new(
        (key, name): (&'static str, &'static str),
        better: Better,
        values: Vec<(Source, Vec<f64>)>,
    ) -> Self {
        let own = values.iter().find(|(s, _)| *s == Source::Explanation);
        let own = own.map(|(_, values)| values.clone()).unwrap_or_default();
        let controls = values.iter().filter(|(s, _)| *s != Source::Explanation);
        let differences = controls.map(|(control, theirs)| {
            let pairs: Vec<f64> = own.iter().zip(theirs).map(|(a, b)| a - b).collect();
            Difference {
                control: *control,
                mean: mean(&pairs),
                interval: interval(&pairs),
            }
        });
        Self {
            key,
            name,
            better,
            differences: differences.collect(),
            of: values
                .into_iter()
                .map(|(source, values)| Measured::new(source, values))
                .collect(),
        }
    }
}

/// The mean curves of a source by one fill: at each share removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curves {
    /// The source.
    pub source: Source,
    /// The fill.
    pub fill: &'static str,
    /// The shares of pixels that are removed.
    pub removed: Vec<f64>,
    /// The share of images of which the class that counts is still predicted; the most relevant first.
    pub accuracy_most_first: Vec<f64>,
    /// The same; the least relevant first.
    pub accuracy_least_first: Vec<f64>,
    /// The mean probability of the class predicted for the whole image; the most relevant first.
    pub probability_most_first: Vec<f64>,
    /// The same; the least relevant first.
    pub probability_least_first: Vec<f64>,
}

/// A randomisation check of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The source.
    pub source: Source,
    /// The correlation of smoothed maps before and after all weights were drawn anew.
    pub likeness: Measured,
    /// That of two maps by the network as it is, from two starts of the attack.
    pub likeness_of_starts: Measured,
    /// Whether the upper end of the first is below half of the second's mean.
    pub likeness_passed: bool,
    /// The relative rise of the entropy of the map's histogram.
    pub rise: Measured,
    /// Whether its lower end is above 0.
    pub rise_passed: bool,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// The measures, ROAD's gap first.
    pub measures: Vec<Measure>,
    /// Randomisation, of what depends on the network or should.
    pub checks: Vec<Check>,
    /// What the first measures are made of.
    pub curves: Vec<Curves>,
}
