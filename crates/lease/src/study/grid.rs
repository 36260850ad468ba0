//! Methods by every combination of some settings' values.

use std::path::Path;

use super::ComparisonConfig;
use super::variant::Variant;
use crate::Error;
use crate::config::{Composite, Setting, nearest};

/// No grid makes more methods.
const MOST: usize = 1_000;

/// No name of a method is longer, in bytes, since file systems have limits.
const LONGEST_NAME: usize = 200;

/// A setting and its values.
#[derive(Clone, Debug)]
struct Axis {
    setting: &'static Setting,
    flag: String,
    values: Vec<String>,
}

/// Settings, each with the values that it is to have.
#[derive(Clone, Debug)]
pub struct Grid {
    axes: Vec<Axis>,
}

/// What a grid makes of methods.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Every method with every combination of the values of those settings that it reads.
    pub variants: Vec<Variant>,
    /// What a person should know.
    pub notes: Vec<String>,
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::Grid {
        reason: reason.into(),
    }
}

impl Grid {
    /// Reads `SETTING=VALUE,VALUE,…;SETTING=VALUE,…`.
    ///
    /// # Errors
    /// If a setting is unknown, there twice or none to be compared by; if a value is missing, there twice or not allowed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut axes: Vec<Axis> = Vec::new();
        for piece in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let axis = Axis::parse(piece)?;
            if axes.iter().any(|a| a.flag == axis.flag) {
                return Err(wrong(format!("`{}` is there twice", axis.flag)));
            }
            axes.push(axis);
        }
        if axes.is_empty() {
            return Err(wrong("it has no setting; write SETTING=VALUE,VALUE;…"));
        }
        Ok(Self { axes })
    }

    /// The methods that it makes of these, where `file` and `common` are the settings of all. A setting that a method does
    /// not read is left out there, so that none is there twice.
    ///
    /// # Errors
    /// If a setting of the grid is given otherwise too, or no method reads it; if a combination cannot be used, or there
    /// are too many.
    pub fn expand(
        &self,
        methods: &[Variant],
        file: Option<&Path>,
        common: &[(String, String)],
    ) -> Result<Expanded, Error> {
        self.check(methods, common)?;
        let (mut variants, mut notes) = (Vec::new(), Vec::new());
        let mut read = vec![false; self.axes.len()];
        for method in methods {
            let made = self.of(method, file, common)?;
            let reads = |axis: usize| made.iter().any(|chosen| chosen[axis].is_some());
            let mut unread = Vec::new();
            for (number, axis) in self.axes.iter().enumerate() {
                if reads(number) {
                    read[number] = true;
                } else {
                    unread.push(axis.flag.as_str());
                }
            }
            if !unread.is_empty() {
                let unread = unread.join(" or ");
                notes.push(format!("{} does not depend on {unread}.", method.name));
            }
            for chosen in made {
                let settings = self.axes.iter().zip(chosen);
                let settings = settings.filter_map(|(axis, value)| Some(axis.at(value?)));
                variants.push(named(method.with(&settings.collect::<Vec<_>>()))?);
            }
        }
        if let Some((axis, _)) = self.axes.iter().zip(read).find(|(_, read)| !read) {
            let told = format!("none of these methods depends on `{}`", axis.flag);
            return Err(wrong(told));
        }
        Ok(Expanded {
            variants: Variant::distinct(variants)?,
            notes,
        })
    }

    /// The combinations that differ for a method: a value's number for each setting, none where the method does not read
    /// it with the others.
    fn of(
        &self,
        method: &Variant,
        file: Option<&Path>,
        common: &[(String, String)],
    ) -> Result<Vec<Vec<Option<usize>>>, Error> {
        let mut made: Vec<Vec<Option<usize>>> = Vec::new();
        for combination in self.combinations() {
            let chosen = || self.axes.iter().zip(&combination);
            let mut flags = common.to_vec();
            flags.extend(chosen().map(|(axis, value)| {
                let (flag, value) = axis.at(*value);
                (flag.into(), value.into())
            }));
            // They are settings of all methods as yet, which none need read.
            let config = method.config(file, &flags, 0)?;
            let read = |(axis, value): (&Axis, &usize)| {
                let read = method.reads(&config, axis.setting);
                read.then_some(*value)
            };
            let read = chosen().map(read).collect();
            if !made.contains(&read) {
                made.push(read);
            }
        }
        Ok(made)
    }

    /// What can be told without trying.
    fn check(&self, methods: &[Variant], common: &[(String, String)]) -> Result<(), Error> {
        let lengths = self.axes.iter().map(|axis| axis.values.len());
        let count = lengths.fold(methods.len(), usize::saturating_mul);
        if count > MOST {
            return Err(wrong(format!(
                "it makes {count} methods, more than {MOST}; leave out values"
            )));
        }
        for axis in &self.axes {
            let flag = &axis.flag;
            if common.iter().any(|(given, _)| given == flag) {
                return Err(wrong(format!("--{flag} is given too; leave out one")));
            }
            if let Some(method) = methods.iter().find(|m| m.sets(flag)) {
                let told = format!("the method {} sets {flag} itself", method.name);
                return Err(wrong(told));
            }
        }
        Ok(())
    }

    /// All combinations, as a value's number for each setting; the last changes fastest.
    fn combinations(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for axis in &self.axes {
            let longer = |begun: &Vec<usize>| {
                let begun = begun.clone();
                (0..axis.values.len()).map(move |value| [&begun[..], &[value]].concat())
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }
}

/// A method whose name is no longer than folders' are.
fn named(variant: Variant) -> Result<Variant, Error> {
    if variant.name.len() > LONGEST_NAME {
        return Err(wrong(format!(
            "the name {} is longer than {LONGEST_NAME} letters; leave out settings",
            variant.name
        )));
    }
    Ok(variant)
}

impl Axis {
    fn parse(text: &str) -> Result<Self, Error> {
        let Some((flag, values)) = text.split_once('=') else {
            return Err(wrong(format!("`{text}` is not SETTING=VALUE,VALUE,…")));
        };
        let flag = flag.trim();
        let scope = ComparisonConfig::scope();
        let all = || {
            let settings = scope.iter();
            settings.flat_map(|s| s.settings.iter().map(move |x| (s, x)))
        };
        let Some((section, setting)) = all().find(|(_, s)| s.flag() == flag) else {
            let flags: Vec<String> = all().map(|(_, s)| s.flag()).collect();
            let near = nearest(flag, flags.iter().map(String::as_str));
            return Err(wrong(format!("there is no setting `{flag}`{near}")));
        };
        match flag {
            "seed" => return Err(wrong("seeds are given by --seeds")),
            "method" => return Err(wrong("methods are named before it")),
            _ if setting.rule.is_free() => {
                return Err(wrong(format!("no result depends on `{flag}`")));
            }
            _ => {}
        }
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_string()).collect();
        if values.iter().any(String::is_empty) {
            return Err(wrong(format!("`{flag}` lacks a value in `{text}`")));
        }
        let mut read = Vec::new();
        for value in &values {
            let new = setting.value(value, &section.default_of(setting))?;
            if read.contains(&new) {
                return Err(wrong(format!("`{flag}` has the value {value} twice")));
            }
            read.push(new);
        }
        Ok(Self {
            setting,
            flag: flag.into(),
            values,
        })
    }

    /// Flag and text of a value.
    fn at(&self, value: usize) -> (&str, &str) {
        (&self.flag, &self.values[value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(methods: &[&str], grid: &str) -> Result<Expanded, String> {
        let methods: Vec<String> = methods.iter().map(ToString::to_string).collect();
        let methods = Variant::parse_all(&methods).unwrap();
        let grid = Grid::parse(grid).map_err(|e| e.to_string())?;
        let common = [("limit".to_string(), "100".to_string())];
        let made = grid.expand(&methods, None, &common);
        made.map_err(|e| e.to_string())
    }

    fn names(methods: &[&str], grid: &str) -> Vec<String> {
        let all = made(methods, grid).unwrap().variants;
        all.into_iter().map(|v| v.name).collect()
    }

    #[test]
    fn methods_are_there_once_for_each_combination_of_what_they_read() {
        let grid = "gamma=0.3,1 ; hypergradient=exact,finite-difference;h0=0.1,0.01";
        let all = made(&["lease", "darts", "random"], "gamma=0.3,1;epsilon=8/255").unwrap();
        let found: Vec<&str> = all.variants.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(
            found,
            [
                "lease-gamma-0.3-epsilon-8-255",
                "lease-gamma-1-epsilon-8-255",
                "darts",
                "random"
            ]
        );
        assert_eq!(all.notes[0], "darts does not depend on gamma or epsilon.");
        let config = all.variants[1].config(None, &[], 0).unwrap();
        assert_eq!(config.study.search.method.epsilon, 8.0 / 255.0);
        // What one setting chooses decides whether another is read.
        assert_eq!(names(&["lease"], grid).len(), 2 * (1 + 2));
        assert_eq!(
            names(&["darts-first", "lease"], grid)[0..2],
            ["darts-first", "lease-gamma-0.3-hypergradient-exact"]
        );
        let parts = "sampler=softmax,gumbel;gumbel-temperature=5,10;perturb-steps=1,2;perturb=none,adversarial";
        assert_eq!(names(&["lease"], parts).len(), (1 + 2) * (1 + 2));
        let spaces = "space=darts,nas-bench-201;nodes=2,3";
        assert_eq!(
            names(&["random"], spaces),
            [
                "random-space-darts-nodes-2",
                "random-space-darts-nodes-3",
                "random-space-nas-bench-201"
            ]
        );
        // Images and bounds are also those of architectures that are drawn, and stems those of their trainings.
        for grid in [
            "clutter-fragments=4,8",
            "stem=cifar,imagenet",
            "max-parameters=40000,60000",
        ] {
            assert_eq!(names(&["random"], grid).len(), 2, "{grid}");
        }
        let strengths = "max-parameters=40000;budget-strength=0.5,1";
        assert_eq!(names(&["random", "lease"], strengths).len(), 1 + 2);
    }

    #[test]
    fn what_is_wrong_with_a_grid_is_said() {
        let ones: Vec<String> = (1..=1_001).map(|n| n.to_string()).collect();
        for (grid, told) in [
            ("", "it has no setting"),
            ("gamma", "`gamma` is not SETTING="),
            ("gama=1", "no setting `gama`; did you mean `gamma`?"),
            ("gamma=", "`gamma` lacks a value"),
            ("gamma=1,,2", "`gamma` lacks a value"),
            ("gamma=1,1.0", "`gamma` has the value 1.0 twice"),
            ("gamma=1;gamma=2", "`gamma` is there twice"),
            ("gamma=x", "`x` is no value for --gamma"),
            ("seed=1,2", "--seeds"),
            ("method=lease,darts", "methods are named before it"),
            ("threads=1,2", "no result depends on `threads`"),
            ("limit=1,2", "--limit is given too"),
            ("cells=1,2", "the method small sets cells itself"),
            ("random-draws=1,2", "none of these methods depends on"),
            (
                &format!("epochs={}", ones.join(",")),
                "it makes 1001 methods",
            ),
        ] {
            let refused = made(&["small:method=lease,cells=3"], grid).unwrap_err();
            assert!(refused.contains(told), "{grid}: {refused}");
        }
        let twice = made(&["lease", "lease-gamma-1:method=darts"], "gamma=1").unwrap_err();
        assert!(twice.contains("`lease-gamma-1`"), "{twice}");
    }
}
