//! Where a genotype comes from: a run folder, a file, the genotype itself, or chance.

use std::path::{Path, PathBuf};

use lease::Error;
use lease::space::Genotype;

/// What an argument names.
pub enum Source {
    /// A run folder.
    Run(PathBuf),
    /// A file, and the name of the genotype in it where that is given.
    File(PathBuf, Option<String>),
    /// The genotype itself.
    Text(String),
    /// One drawn at random: of a space, by a seed.
    Random {
        /// The space.
        space: Option<String>,
        /// The seed.
        seed: u64,
    },
}

impl Source {
    /// What a text names.
    pub fn of(text: &str) -> Result<Self, Error> {
        if let Some(rest) = text.strip_prefix("random:") {
            let (space, seed) = match rest.rsplit_once(':') {
                Some((space, seed)) => (Some(space.to_string()), seed),
                None => (None, rest),
            };
            let seed = seed.parse().map_err(|_| {
                Error::Usage(
                    "random: needs a seed, as in random:7 or random:nas-bench-201:7".into(),
                )
            })?;
            return Ok(Self::Random { space, seed });
        }
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Run(path.into()));
        }
        if path.is_file() {
            return Ok(Self::File(path.into(), None));
        }
        if let Some((file, name)) = text.rsplit_once(':')
            && Path::new(file).is_file()
        {
            return Ok(Self::File(file.into(), Some(name.into())));
        }
        if text.contains(['(', '{', '|', '[']) {
            return Ok(Self::Text(text.into()));
        }
        Err(Error::Usage(format!(
            "there is no folder and no file `{text}`, and it is no genotype in a space's notation"
        )))
    }

    /// A short name for folders.
    pub fn name(&self) -> String {
        match self {
            Self::Run(path) | Self::File(path, None) => {
                let stem = path.file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            }
            Self::File(_, Some(name)) => name.clone(),
            Self::Text(_) => "genotype".into(),
            Self::Random { space: None, seed } => format!("random{seed}"),
            Self::Random {
                space: Some(space),
                seed,
            } => format!("{space}-random{seed}"),
        }
    }

    /// The genotype, where it is not drawn.
    pub fn genotype(&self) -> Result<Genotype, Error> {
        match self {
            Self::Run(path) => {
                let file = path.join("genotype.json");
                if path.join("config.toml").is_file() && !file.is_file() {
                    return Err(Error::Usage(
                        "this run has no genotype.json yet, so its search is not finished; \
                         go on with it by `lease search --resume`"
                            .into(),
                    ));
                }
                from_file(&file, None)
            }
            Self::File(path, name) => from_file(path, name.as_deref()),
            Self::Text(text) => Ok(Genotype::parse(text)?),
            Self::Random { .. } => Err(Error::Usage(
                "random: names no genotype here; `lease train random:SEED` draws one".into(),
            )),
        }
    }
}

/// A genotype from a file.
fn from_file(path: &Path, _name: Option<&str>) -> Result<Genotype, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::GenotypeFile {
        path: path.into(),
        reason: source.to_string(),
    })?;
    Genotype::parse(&text).map_err(|e| Error::GenotypeFile {
        path: path.into(),
        reason: e.to_string(),
    })
}
