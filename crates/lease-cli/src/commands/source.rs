//! Where a genotype comes from: a run folder, a file, the genotype itself, or chance.

use std::path::{Path, PathBuf};

use lease::Error;
use lease::space::{self, Genotype, GenotypeError, Read};

use crate::terminal::{self, Level};

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
            if let Some(name) = space.as_ref().filter(|name| space::named(name).is_none()) {
                let names = space::names().join(", ");
                let told = format!("{text}: there is no space `{name}`; there are {names}");
                return Err(Error::Usage(told));
            }
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
        // What is short and has none of the brackets of a notation was meant as a path.
        if text.contains(['(', '{', '|', '[']) {
            return Ok(Self::Text(text.into()));
        }
        match Genotype::read(text, None) {
            Err(GenotypeError::NoGenotype { .. }) | Ok(_) => Err(Error::Usage(format!(
                "there is no folder and no file `{text}`, and it is no genotype in a space's notation"
            ))),
            Err(error) => Err(error.into()),
        }
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

    /// The genotype, where it is not drawn; what there is to say about it is said.
    pub fn genotype(&self) -> Result<Genotype, Error> {
        let read = self.read()?;
        for note in &read.notes {
            terminal::say(Level::Info, note);
        }
        Ok(read.value)
    }

    fn read(&self) -> Result<Read<Genotype>, Error> {
        match self {
            Self::Run(path) => {
                let file = path.join("genotype.json");
                if path.join("config.toml").is_file() && !file.is_file() {
                    let run = terminal::quoted(path);
                    return Err(Error::Usage(format!(
                        "this run has no genotype.json yet, so its search is not finished; go on with it by \
                         `lease search --resume {run}`"
                    )));
                }
                Genotype::from_file(&file, None)
            }
            Self::File(path, name) => Genotype::from_file(path, name.as_deref()),
            Self::Text(text) => Ok(Genotype::read(text, None)?),
            Self::Random { .. } => Err(Error::Usage(
                "random: names no genotype here; `lease train random:SEED` draws one".into(),
            )),
        }
    }
}
