//! What a network may cost.

use super::{COSTS, Cost, Costs, Entry, Latencies, least, milliseconds, several};
use crate::Error;
use crate::space::mixing::Choice;
use crate::space::{DerivedShape, Explainer, GenotypeError};

/// What a network may cost, and must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Parameters, multiply-adds and nanoseconds at most; none is any number.
    pub costs: [Option<u64>; 3],
    /// Convolutions on the edges of the (normal) cell at least.
    pub convolutions: usize,
}

impl Bounds {
    /// Whether anything is bounded.
    pub fn any(self) -> bool {
        self.on_costs() || self.convolutions > 0
    }

    /// Whether a cost is bounded.
    pub fn on_costs(self) -> bool {
        self.costs.iter().any(Option::is_some)
    }

    /// Whether the time is bounded.
    pub fn times(self) -> bool {
        self.costs[2].is_some()
    }

    /// Whether a network of this cost with so many convolutions on the edges of its (normal) cell keeps to them.
    pub fn allow(self, cost: Cost, convolutions: usize) -> bool {
        let mut each = cost.each().into_iter().zip(self.costs);
        let cheap = each.all(|(cost, bound)| bound.is_none_or(|bound| cost <= bound));
        cheap && convolutions >= self.convolutions
    }

    /// The same but for the time, which may be as long as it likes.
    pub fn without_time(self) -> Self {
        let [parameters, multiply_adds, _] = self.costs;
        Self {
            costs: [parameters, multiply_adds, None],
            ..self
        }
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
    /// As [`Costs::of`], or if there are to be convolutions where there can be none.
    pub fn new(
        explainer: &dyn Explainer,
        shape: &DerivedShape,
        bounds: Bounds,
        latencies: Option<&Latencies>,
    ) -> Result<Self, Error> {
        let costs = Costs::of(explainer, shape, latencies)?;
        if bounds.convolutions > 0 && !costs.has_convolutions() {
            let (least, cells) = (bounds.convolutions, shape.cells);
            return Err(Error::from(GenotypeError::Budget {
                reason: format!(
                    "--min-convolutions is {least}, and networks of {cells} cells have no convolution in a cell that keeps \
                     the resolution"
                ),
            }));
        }
        Ok(Self {
            bounds,
            costs,
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

    /// Whether a network with these operations costs no more than it may, and has what it must.
    pub fn allows(&self, choice: &Choice) -> bool {
        let convolutions = self.costs.convolutions(choice);
        self.bounds
            .allow(self.costs.of_choice(choice), convolutions)
    }

    /// So many of the best choices of one entry of each group within the budget, where the (normal) cell has so many edges, and
    /// within the bound on a cost of the space's own; see [`several`].
    ///
    /// # Errors
    /// If there is none, with what the cheapest costs.
    pub fn best(
        &self,
        groups: &[Vec<Entry>],
        edges: usize,
        own: Option<u64>,
        count: usize,
    ) -> Result<Vec<Vec<usize>>, GenotypeError> {
        let start = entry(0.0, self.costs.rest, [0, 0]).costs;
        let [parameters, multiply_adds, nanoseconds] = self.bounds.costs;
        let others = self.others(edges);
        let bounds = [parameters, multiply_adds, nanoseconds, others, own];
        let bounds = bounds.map(|bound| bound.unwrap_or(u64::MAX));
        let found = match edges >= self.bounds.convolutions {
            true => several(groups, start, bounds, count),
            false => Vec::new(),
        };
        match found.is_empty() {
            true => Err(self.problem(least(groups, start), edges)),
            false => Ok(found),
        }
    }

    /// The operations other than convolutions on a (normal) cell's edges at most.
    fn others(&self, edges: usize) -> Option<u64> {
        let convolutions = self.bounds.convolutions;
        (convolutions > 0).then(|| edges.saturating_sub(convolutions) as u64)
    }

    /// The error of architectures none of which fits, each cost of which is at least this, and whose (normal) cells have so many
    /// edges.
    pub fn problem(&self, least: [u64; COSTS], edges: usize) -> GenotypeError {
        let (channels, cells, [image, height, width]) = self.size;
        let names = ["--max-parameters", "--max-flops"];
        let counted = names.iter().zip(["parameters", "multiply-adds"]);
        let mut told: Vec<String> = Vec::new();
        for (d, (flag, what)) in counted.enumerate() {
            if let Some(bound) = self.bounds.costs[d].filter(|bound| least[d] > *bound) {
                told.push(format!(
                    "{flag} is {bound}, and the smallest has {} {what}",
                    least[d]
                ));
            }
        }
        if let Some(bound) = self.bounds.costs[2].filter(|bound| least[2] > *bound) {
            let [bound, least] = [bound, least[2]].map(milliseconds);
            told.push(format!(
                "--max-latency-ms is {bound}, and the fastest takes {least:.3} ms by the table of latencies"
            ));
        }
        let most = edges.saturating_sub(least[3] as usize);
        if self.bounds.convolutions > most {
            told.push(format!(
                "--min-convolutions is {}, and a cell has {most} at most",
                self.bounds.convolutions
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

/// An entry of this score and cost, with its operations on a (normal) cell's edges that are no convolutions, and a cost of the
/// space's own.
pub(crate) fn entry(score: f64, cost: Cost, [others, own]: [u64; 2]) -> Entry {
    let [parameters, multiply_adds, nanoseconds] = cost.each();
    Entry {
        score,
        costs: [parameters, multiply_adds, nanoseconds, others, own],
    }
}
