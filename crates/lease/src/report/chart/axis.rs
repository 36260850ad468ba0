//! Axes: what is where on a chart, and the numbers beside it.

/// How numbers on an axis are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// As they are.
    #[default]
    Plain,
    /// Whole numbers of things.
    Count,
    /// Shares of 1, in percent.
    Percent,
    /// As they are, on a scale of powers of ten.
    Log,
}

impl Unit {
    /// A number for a table or a tooltip.
    pub fn told(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{:.1} %", 100.0 * value),
            Self::Plain | Self::Count | Self::Log => short(value),
        }
    }

    fn scaled(self, value: f64) -> f64 {
        match self {
            Self::Log => value.log10(),
            _ => value,
        }
    }
}

/// A number in as few characters as it needs.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.1e}")
    } else if size >= 100.0 {
        grouped(value.round() as i64)
    } else if size >= 10.0 {
        trimmed(format!("{value:.1}"))
    } else {
        trimmed(format!("{value:.3}"))
    }
}

fn trimmed(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A whole number with its thousands apart.
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    match value < 0 {
        true => format!("−{out}"),
        false => out,
    }
}

/// So many things, of which one is called by its name and several by that with an s.
pub fn counted(number: usize, name: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {name}{s}", grouped(number as i64))
}

/// An axis from one number to another over a range of a picture.
#[derive(Clone, Debug)]
pub struct Axis {
    unit: Unit,
    /// Where the numbers are, after the scale.
    numbers: [f64; 2],
    /// Where the picture is.
    picture: [f64; 2],
    /// Numbers to be written, and their places.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis on which these numbers are, with about so many ticks; `grow` widens it to the ticks around.
    pub fn over(
        numbers: impl IntoIterator<Item = f64>,
        unit: Unit,
        (picture, ticks, grow): ([f64; 2], usize, bool),
    ) -> Self {
        let finite = numbers.into_iter().filter(|n| n.is_finite());
        let usable = finite.filter(|n| unit != Unit::Log || *n > 0.0);
        let [mut low, mut high] = usable.fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], n| {
            [l.min(unit.scaled(n)), h.max(unit.scaled(n))]
        });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 {
            let around = (0.1 * low.abs()).max(1e-3);
            (low, high) = (low - around, high + around);
        }
        let step = match unit {
            Unit::Log => ((high - low) / ticks as f64).ceil().max(1.0),
            Unit::Count => nice((high - low) / ticks.max(1) as f64).max(1.0),
            _ => nice((high - low) / ticks.max(1) as f64),
        };
        if grow {
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        let mut axis = Self {
            unit,
            numbers: [low, high],
            picture,
            ticks: Vec::new(),
        };
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        axis.ticks = (first..=last)
            .map(|i| {
                let at = i as f64 * step;
                (axis.place_scaled(at), label(unit, at, step))
            })
            .collect();
        axis
    }

    /// Where a number is.
    pub fn place(&self, number: f64) -> f64 {
        self.place_scaled(self.unit.scaled(number))
    }

    fn place_scaled(&self, scaled: f64) -> f64 {
        let [low, high] = self.numbers;
        let [from, to] = self.picture;
        let share = ((scaled - low) / (high - low)).clamp(-0.02, 1.02);
        from + share * (to - from)
    }

    /// Whether a number can be shown.
    pub fn shows(&self, number: f64) -> bool {
        number.is_finite() && (self.unit != Unit::Log || number > 0.0)
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let share = step / power;
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| share <= f * 1.0001);
    factor.unwrap_or(10.0) * power
}

/// Digits behind the point by which numbers differ that are a step apart.
fn digits(step: f64) -> usize {
    (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize
}

fn label(unit: Unit, at: f64, step: f64) -> String {
    match unit {
        Unit::Log => match at as i64 {
            exponent @ -3..=3 => trimmed_power(exponent),
            exponent => format!("1e{exponent}"),
        },
        Unit::Percent => {
            let digits = digits(100.0 * step);
            format!("{:.digits$} %", 100.0 * at).replace('-', "−")
        }
        Unit::Count => grouped(at.round() as i64),
        Unit::Plain if step >= 1.0 => grouped(at.round() as i64),
        Unit::Plain if step < 1e-3 && at.abs() < 1e-2 => short(at),
        Unit::Plain => {
            let digits = digits(step);
            format!("{at:.digits$}").replace('-', "−")
        }
    }
}

fn trimmed_power(exponent: i64) -> String {
    match exponent {
        0.. => grouped(10i64.pow(exponent as u32)),
        _ => format!(
            "{:.*}",
            exponent.unsigned_abs() as usize,
            10f64.powi(exponent as i32)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_picture() {
        let axis = Axis::over([0.12, 0.97], Unit::Percent, ([100.0, 0.0], 4, true));
        assert_eq!(ticks(&axis), ["0 %", "50 %", "100 %"]);
        assert_eq!((axis.place(0.0), axis.place(1.0)), (100.0, 0.0));
        let axis = Axis::over([0.004, 3.0], Unit::Log, ([0.0, 1.0], 4, true));
        assert_eq!(
            ticks(&axis),
            ["0.001", "0.01", "0.10", "1", "10"].map(|t| if t == "0.10" { "0.1" } else { t })
        );
        // No two ticks have the same words.
        let close = [Unit::Plain, Unit::Percent]
            .map(|unit| Axis::over([2.07900, 2.07916], unit, ([0.0, 1.0], 4, true)));
        for axis in &close {
            let mut all = ticks(axis);
            let number = all.len();
            all.dedup();
            assert_eq!(all.len(), number, "{all:?}");
        }
        // One number, or none, is no reason to fail.
        assert!(
            !Axis::over([5.0], Unit::Plain, ([0.0, 1.0], 4, true))
                .ticks
                .is_empty()
        );
        assert!(
            !Axis::over([f64::NAN], Unit::Log, ([0.0, 1.0], 4, false))
                .ticks
                .is_empty()
        );
    }

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 12345.6, 0.12345, 3.2e-7, 45.67, -1234.0].map(short);
        assert_eq!(told, ["0", "12,346", "0.123", "3.2e-7", "45.7", "−1,234"]);
    }
}
