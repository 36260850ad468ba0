//! `lease verify`: hold an iteration against the exact reference.

use std::path::PathBuf;

use burn::tensor::DType;
use clap::ValueEnum;
use lease::Error;
use lease::device::DeviceError;
use lease::method::product::MixedProduct;
use lease::method::verify::{Case, Comparison};

use crate::Ended;
use crate::terminal::{self, Level};

/// Compute every quantity of an iteration and compare it with the reference's exact value.
#[derive(clap::Args)]
pub struct Arguments {
    /// Cases made by reference/lease_reference.py
    #[arg(required = true, value_name = "CASE")]
    cases: Vec<PathBuf>,
    /// Floating-point precision [default: f64, or f32 on devices that do not compute in f64]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Largest relative error [default: 1e-8 in f64; in f32 1e-5 for losses, 1e-2 for the audience's term
    /// and the adjoints on its way, 1e-3 for the rest]
    #[arg(long, value_parser = positive)]
    tolerance: Option<f64>,
    /// Compute mixed products by finite differences with this step instead, to see how far off they are
    #[arg(long, value_name = "H0", value_parser = positive)]
    finite_difference: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Precision {
    F64,
    F32,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err("a finite number above 0 is needed".into()),
    }
}

pub fn run(arguments: Arguments) -> Result<Ended, Error> {
    let device = lease::device::device(&arguments.device)?;
    let dtype = arguments.dtype()?;
    let product = match arguments.finite_difference {
        Some(h0) => MixedProduct::FiniteDifference { h0 },
        None => MixedProduct::Exact,
    };
    let mut ended = Ended::Well;
    for path in &arguments.cases {
        let case = Case::load(path)?;
        let table = lease::device::with_threads(0, || case.compare(&device, dtype, product))??;
        terminal::result(path.display());
        terminal::result(format_args!(
            "{:36} {:>12} {:>15} {:>10}  verdict",
            "quantity", "norm", "relative error", "tolerance"
        ));
        for row in &table {
            let tolerance = arguments.tolerance(&row.quantity, dtype);
            let holds = row.relative_error <= tolerance;
            if !holds {
                ended = Ended::Refuted;
            }
            terminal::result(format_args!(
                "{:36} {:>12.4e} {:>15.2e} {:>10.0e}  {}",
                row.quantity,
                row.norm,
                row.relative_error,
                tolerance,
                if holds { "ok" } else { "WRONG" }
            ));
        }
        // A NaN is the worst of all.
        let badness = |row: &&Comparison| {
            let error = row.relative_error;
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let worst = table
            .iter()
            .max_by(|a, b| badness(a).total_cmp(&badness(b)));
        if let Some(worst) = worst {
            terminal::result(format_args!(
                "worst relative error {:.2e} ({})\n",
                worst.relative_error, worst.quantity
            ));
        }
    }
    Ok(ended)
}

impl Arguments {
    /// The precision that is asked for, or the best that the device has.
    fn dtype(&self) -> Result<DType, Error> {
        let best = lease::device::precision(&self.device);
        match self.precision {
            Some(Precision::F32) => Ok(DType::F32),
            Some(Precision::F64) if best != DType::F64 => {
                let name = self.device.clone();
                Err(DeviceError::Precision { name }.into())
            }
            Some(Precision::F64) => Ok(DType::F64),
            None => {
                if best == DType::F32 {
                    terminal::say(
                        Level::Info,
                        format_args!(
                            "in f32, since {} does not compute in f64: the tolerances are those of f32",
                            self.device
                        ),
                    );
                }
                Ok(best)
            }
        }
    }

    fn tolerance(&self, quantity: &str, dtype: DType) -> f64 {
        if let Some(tolerance) = self.tolerance {
            return tolerance;
        }
        if dtype == DType::F64 {
            return 1e-8;
        }
        match quantity {
            "stage4.grad_audience_term" | "adjoint.audience" | "adjoint.delta" => 1e-2,
            q if q.ends_with("loss") || q.ends_with("objective") => 1e-5,
            _ => 1e-3,
        }
    }
}
