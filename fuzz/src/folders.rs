//! Run folders: their files as they come, and checkpoints that are whole but say anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use burn::tensor::{DType, Device, TensorData};
use burn_pack::Scalar;
use lease::config::{Composite, Layers};
use lease::data::{Dataset, Unwatched};
use lease::network::{Layout, Vector};
use lease::run::checkpoint::{Checkpoint, hex};
use lease::run::{Found, Identity, Kind, RunFolder};
use lease::search::{Search, SearchConfig};
use lease::space::{Genotype, StageReached};
use lease::study::StudyConfig;
use lease::training::Training;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tensors::now_and_then;
use super::{Outcome, told};

/// Runs `work` with this thread's folder for files.
pub fn in_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
    }
    FOLDER.with(|folder| work(&folder.path().join("it")))
}

/// Removes what is in a folder, and makes it.
pub fn emptied(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("a folder of ours");
    }
    fs::create_dir_all(folder).expect("a folder of ours");
}

/// The smallest search in two stages and training that there are, on four images.
struct Tiny {
    config: StudyConfig,
    toml: String,
    dataset: Dataset,
    genotype: Genotype,
    search: Identity,
    training: Identity,
}

static TINY: LazyLock<Tiny> = LazyLock::new(|| {
    let text = "\
        [explainer]\nspace = \"p-darts\"\nchannels = 1\n[darts]\nnodes = 1\n\
        [p_darts]\nstage_cells = \"1,1\"\nstage_candidates = \"8,2\"\nstage_skip_dropout = \"0,0.5\"\n\
        [audience]\nwidth = 0.01\n[search]\nepochs = 2\nbatch = 1\n\
        [train]\nchannels = 1\ncells = 1\nepochs = 2\nbatch = 2\nauxiliary = 0.0\n[run]\nseed = 7\n";
    let layers = Layers::parse(text, "lease.toml", &StudyConfig::scope(), &[]).expect("settings");
    let config = StudyConfig::resolve(&[], &layers).expect("settings");
    let dataset = Dataset::random([1, 4, 4], 2, 4, 7);
    let edges = r#"[[["skip_connect", 0], ["sep_conv_3x3", 1]]]"#;
    let cell = format!(r#"{{"nodes": {edges}, "concat": [2]}}"#);
    let genotype = format!(r#"{{"normal": {cell}, "reduce": {cell}}}"#);
    let genotype = Genotype::parse(&genotype).expect("a genotype");
    let images = [("the training images", dataset.digest())];
    let of_training = [
        ("the genotype", genotype.to_string()),
        ("the images", dataset.whole_digest()),
    ];
    Tiny {
        search: Identity::new(&config.search, &images),
        training: Identity::new(&config.train, &of_training),
        toml: config.to_toml(),
        config,
        dataset,
        genotype,
    }
});

/// The files that a run folder's bytes can be of.
const FILES: [&str; 8] = [
    "run.json",
    "config.toml",
    "genotype.json",
    "metrics.jsonl",
    "timing.jsonl",
    "result.json",
    "checkpoints/step-000000001.safetensors",
    "checkpoints/step-000000002.safetensors",
];

/// A run folder. Its files begin at `@@` with their number and a line's end.
pub fn run(bytes: &[u8]) -> Outcome {
    in_folder(|folder| {
        let fill = || {
            emptied(folder);
            fs::create_dir(folder.join("checkpoints")).expect("a folder of ours");
            for (name, content) in files(bytes) {
                fs::write(folder.join(name), content).expect("a file of ours");
            }
        };
        fill();
        let configuration = RunFolder::configuration(folder).map_err(told);
        let configuration = configuration.and_then(|(text, file)| {
            SearchConfig::parse(&text, &file.display().to_string(), &StudyConfig::scope())
                .map_err(told)
        });
        if let Err(error) = Genotype::from_file(&folder.join("genotype.json"), None) {
            assert!(error.to_string().contains("genotype.json"), "{error}");
        }
        let tiny = &*TINY;
        let searched = match RunFolder::look(folder, Kind::Search).map_err(told) {
            Ok(Found::Run) => resumed_search(folder),
            Ok(Found::Nothing) => Ok(()),
            Err(error) => Err(error),
        };
        // What a search has put there is no part of the bytes.
        if searched.is_ok() {
            fill();
        }
        let (train, genotype) = (&tiny.config.train, &tiny.genotype);
        let finished = Training::finished(train, genotype, &tiny.dataset, folder);
        let trained = match (finished, RunFolder::look(folder, Kind::Training)) {
            (Ok(_), Ok(Found::Run)) => resumed_training(folder),
            (Ok(_), Ok(Found::Nothing)) => Ok(()),
            (Err(error), _) => Err(told(error)),
            (_, Err(error)) => Err(told(error)),
        };
        for error in [&searched, &trained]
            .into_iter()
            .filter_map(|o| o.as_ref().err())
        {
            assert!(!error.is_empty());
        }
        configuration.and(searched.or(trained))
    })
}

/// The files in some bytes, with their names.
fn files(bytes: &[u8]) -> BTreeMap<&'static str, &[u8]> {
    let begins = |at: usize| match &bytes[at..] {
        [b'@', b'@', n @ b'0'..=b'7', b'\n', ..] => Some(FILES[usize::from(n - b'0')]),
        _ => None,
    };
    let starts: Vec<_> = (0..bytes.len())
        .filter_map(|at| Some((at, begins(at)?)))
        .collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at);
    let ends = ends.chain([bytes.len()]);
    let files = starts.iter().zip(ends);
    files
        .map(|((at, name), end)| (*name, &bytes[at + 4..end]))
        .collect()
}

fn resumed_search(folder: &Path) -> Outcome {
    let tiny = &*TINY;
    let (config, dataset) = (tiny.config.search.clone(), tiny.dataset.clone());
    let resumed = Search::resume(
        config,
        &tiny.toml,
        dataset,
        folder,
        lease::collective::alone(),
    );
    resumed.map(|_| ()).map_err(told)
}

fn resumed_training(folder: &Path) -> Outcome {
    let tiny = &*TINY;
    let (config, genotype) = (tiny.config.train.clone(), tiny.genotype.clone());
    let resumed = Training::new(config, genotype, tiny.dataset.clone(), folder);
    resumed.map(|_| ()).map_err(told)
}

/// A checkpoint of this very search or training, with the digest that fits, that says anything: an object with the
/// `kind` of run, the `state`, `scalars`, shapes of `tensors`, the text of `metrics` and that of a `result`. Tensors
/// that are not named are as they must be in the stage; one of shape null is left out. A shape can be the name of a
/// vector, meaning one as long. A digest of `right` is made right. One in 16 of those that are read goes on for a
/// step.
pub fn resume(bytes: &[u8]) -> Outcome {
    let said: Value = serde_json::from_slice(bytes).map_err(told)?;
    let training = said["kind"] == "training";
    let (kind, identity) = match training {
        true => (Kind::Training, &TINY.training),
        false => (Kind::Search, &TINY.search),
    };
    let metrics = said["metrics"].as_str().unwrap_or_default();
    let mut state = said["state"].clone();
    if let Some(position) = state.get_mut("metrics").and_then(Value::as_object_mut)
        && position.get("digest").is_some_and(|d| d == "right")
    {
        let bytes = position.get("bytes").and_then(Value::as_u64).unwrap_or(0);
        let end = metrics.len().min(bytes as usize);
        let digest = hex(&Sha256::digest(&metrics.as_bytes()[..end]));
        position.insert("digest".into(), digest.into());
    }
    in_folder(|folder| {
        emptied(folder);
        let about = json!({ "identity": identity });
        let (run, log) = RunFolder::create(folder, kind, about).expect("a folder of ours");
        // The folder belongs to whoever resumes it.
        drop(log);
        let write = |name, text: &str| {
            fs::write(folder.join(name), text).expect("a file of ours");
        };
        write("metrics.jsonl", metrics);
        write("timing.jsonl", "");
        if let Some(result) = said["result"].as_str() {
            write("result.json", result);
        }
        let mut checkpoint = Checkpoint::new(kind.name(), identity, state.clone());
        fill(&mut checkpoint, &said, &vectors(training, &state));
        checkpoint
            .save(&run.checkpoints(), 1)
            .expect("a file of ours");
        let resumed = match training {
            true => go_on_training(folder, bytes),
            false => go_on_searching(folder, bytes),
        };
        resumed.map_err(told)
    })
}

fn go_on_searching(folder: &Path, bytes: &[u8]) -> Result<(), lease::Error> {
    let tiny = &*TINY;
    let (config, dataset) = (tiny.config.search.clone(), tiny.dataset.clone());
    let search = Search::resume(
        config,
        &tiny.toml,
        dataset,
        folder,
        lease::collective::alone(),
    )?;
    if now_and_then(bytes, 16) {
        search.run(&mut Unwatched, &AtomicBool::new(true))?;
    }
    Ok(())
}

fn go_on_training(folder: &Path, bytes: &[u8]) -> Result<(), lease::Error> {
    let tiny = &*TINY;
    let (config, genotype) = (&tiny.config.train, &tiny.genotype);
    if let Some(result) = Training::finished(config, genotype, &tiny.dataset, folder)? {
        assert!(!serde_json::to_string(&result).expect("numbers").is_empty());
        return Ok(());
    }
    let dataset = tiny.dataset.clone();
    let training = Training::new(config.clone(), genotype.clone(), dataset, folder)?;
    if now_and_then(bytes, 16) {
        training.run(&mut Unwatched, &AtomicBool::new(true))?;
    }
    Ok(())
}

/// The vectors that a checkpoint needs, by their names in it.
type Vectors = Vec<(&'static str, Arc<Layout>)>;

/// What a run's checkpoints have in the stage that a state says, of a search in stages; in the first if it is none.
fn vectors(training: bool, state: &Value) -> Vectors {
    let tiny = &*TINY;
    let (classes, image) = (tiny.dataset.classes.len(), tiny.dataset.train.shape);
    if training {
        let shape = tiny.config.train.shape(classes, image);
        let network = tiny.genotype.network(&shape).expect("a network");
        return vec![
            ("network", network.weights().clone()),
            ("running", network.running().clone()),
        ];
    }
    let config = &tiny.config.search;
    let reached = serde_json::from_value(state["stage"].clone()).unwrap_or_default();
    let first = || config.supernet(classes, image, &StageReached::default());
    let explainer = config
        .supernet(classes, image, &reached)
        .or_else(|_| first())
        .expect("a supernet");
    let audience = config.audience(classes, image).expect("an audience");
    vec![
        ("explainer", explainer.weights().clone()),
        ("audience", audience.weights().clone()),
        ("architecture", explainer.architecture().clone()),
    ]
}

/// No tensor gets more numbers.
const MOST_NUMBERS: u64 = 1 << 12;

fn fill(checkpoint: &mut Checkpoint, said: &Value, vectors: &Vectors) {
    let shapes = said["tensors"].as_object();
    let length = |name: &str| {
        let found = vectors.iter().find(|(known, _)| *known == name);
        found.map(|(_, layout)| layout.len())
    };
    for (name, layout) in vectors {
        let zeros = Vector::zeros(layout.clone(), &Device::flex(), DType::F32);
        for (tensor, data) in lease::run::checkpoint::named(&zeros) {
            let name = format!("{name}.{tensor}");
            if shapes.is_none_or(|shapes| !shapes.contains_key(&name)) {
                checkpoint.insert(&name, data);
            }
        }
    }
    for (name, shape) in shapes.into_iter().flatten() {
        let shape: Option<Vec<usize>> = match shape {
            Value::String(vector) => length(vector).map(|n| vec![n]),
            Value::Array(sizes) => sizes.iter().map(|n| Some(n.as_u64()? as usize)).collect(),
            _ => None,
        };
        let Some(shape) = shape else {
            continue;
        };
        let numbers = shape
            .iter()
            .try_fold(1u64, |n, size| n.checked_mul(*size as u64));
        if let Some(numbers) = numbers.filter(|n| *n <= MOST_NUMBERS) {
            let zeros = vec![0.0f32; numbers as usize];
            checkpoint.insert(name, TensorData::new(zeros, shape));
        }
    }
    for (name, value) in said["scalars"].as_object().into_iter().flatten() {
        let number = value.as_number();
        let scalar = match (value, number) {
            (Value::Bool(b), _) => Scalar::Bool(*b),
            (_, Some(n)) if n.is_u64() => Scalar::UInt(n.as_u64().unwrap_or(0)),
            (_, Some(n)) if n.is_i64() => Scalar::Int(n.as_i64().unwrap_or(0)),
            (_, Some(n)) => Scalar::Float(n.as_f64().unwrap_or(0.0)),
            _ => continue,
        };
        checkpoint.insert_scalar(name, scalar);
    }
}
