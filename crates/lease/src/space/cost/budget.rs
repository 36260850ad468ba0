//! What a network may cost.

use super::{COSTS, Cost, Costs, Entry, Latencies, best, least, milliseconds};
use crate::Error;
use crate::space::mixing::Choice;
use crate::space::{DerivedShape, Explainer, GenotypeError};

/// Parameters, multiply-adds and nanoseconds at most; none is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds(pub [Option<u64>; 3]);

impl Bounds {
    /// Whether anything is bounded.
    pub fn any(self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Whether the time is bounded.
    pub fn times(self) -> bool {
        self.0[2].is_some()
    }

    /// Whether a network of this cost keeps to them.
    pub fn allow(self, cost: Cost) -> bool {
        let mut each = cost.each().into_iter().zip(self.0);
        each.all(|(cost, bound)| bound.is_none_or(|bound| cost <= bound))
    }

    /// The same but for the time, which may be as long as it likes.
    pub fn without_time(self) -> Self {
        let [parameters, multiply_adds, _] = self.0;
        Self([parameters, multiply_adds, None])
    }
}

/// What networks that are derived from a supernet cost, and may cost.
#[derive(Clone, Debug)]
pub struct Budget {
    bounds: Bounds,
    costs: Costs,
    /// The networks' channels, cells and images.
    size: (usize, usize, [usize; 3]),
}

impl Budget {
    /// The budget of networks of this size that are derived from a supernet.
    ///
    /// # Errors
    /// As [`Costs::of`].
    pub fn new(
        explainer: &dyn Explainer,
        shape: &DerivedShape,
        bounds: Bounds,
        latencies: Option<&Latencies>,
    ) -> Result<Self, Error> {
        Ok(Self {
            bounds,
            costs: Costs::of(explainer, shape, latencies)?,
            size: (shape.channels, shape.cells, shape.image),
        })
    }

    /// What networks cost.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// What they may cost.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether a network with these operations costs no more than it may.
    pub fn allows(&self, choice: &Choice) -> bool {
        self.bounds.allow(self.costs.of_choice(choice))
    }

    /// The best choice of one entry of each group within the budget and the bound on a cost of the space's own; see [`best`].
    ///
    /// # Errors
    /// If there is none, with what the cheapest costs.
    pub fn best(
        &self,
        groups: &[Vec<Entry>],
        own: Option<u64>,
    ) -> Result<Vec<usize>, GenotypeError> {
        let start = entry(0.0, self.costs.rest, 0).costs;
        let [parameters, multiply_adds, nanoseconds] = self.bounds.0;
        let bounds = [parameters, multiply_adds, nanoseconds, own];
        let bounds = bounds.map(|bound| bound.unwrap_or(u64::MAX));
        best(groups, start, bounds).ok_or_else(|| self.problem(least(groups, start)))
    }

    /// The error of architectures none of which fits, each cost of which is at least this.
    pub fn problem(&self, least: [u64; COSTS]) -> GenotypeError {
        let (channels, cells, [image, height, width]) = self.size;
        let names = ["--max-parameters", "--max-flops"];
        let counted = names.iter().zip(["parameters", "multiply-adds"]);
        let mut told: Vec<String> = Vec::new();
        for (d, (flag, what)) in counted.enumerate() {
            if let Some(bound) = self.bounds.0[d].filter(|bound| least[d] > *bound) {
                told.push(format!(
                    "{flag} is {bound}, and the smallest has {} {what}",
                    least[d]
                ));
            }
        }
        if let Some(bound) = self.bounds.0[2].filter(|bound| least[2] > *bound) {
            let [bound, least] = [bound, least[2]].map(milliseconds);
            told.push(format!(
                "--max-latency-ms is {bound}, and the fastest takes {least:.3} ms by the table of latencies"
            ));
        }
        let told = match told.is_empty() {
            true => "each bound can be met, but not all together".into(),
            false => told.join("; "),
        };
        GenotypeError::Budget {
            reason: format!(
                "of networks of {channels} channels and {cells} cells for images of {image}×{height}×{width}: {told}"
            ),
        }
    }
}

/// An entry of this score and cost, with a cost of the space's own.
pub(crate) fn entry(score: f64, cost: Cost, own: u64) -> Entry {
    let [parameters, multiply_adds, nanoseconds] = cost.each();
    Entry {
        score,
        costs: [parameters, multiply_adds, nanoseconds, own],
    }
}
