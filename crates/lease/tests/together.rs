//! Searches and trainings of several processes, here threads of one, against one process that does all parts by itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lease::collective::{Collective, alone, threads};
use lease::config::Composite;
use lease::data::{Dataset, Unwatched};
use lease::search::SearchConfig;
use lease::space::Genotype;
use lease::study::cell::{search_in, train_together};
use lease::training::TrainConfig;

/// A search of a few steps with all that depends on more than one image, in four parts of each batch.
const SEARCH: &str = r#"
    [data]
    dataset = "digits"
    limit = 96
    [explainer]
    channels = 2
    cells = 3
    [darts]
    nodes = 1
    [audience]
    width = 0.1
    [method]
    validate = "reweighted"
    norms_every = 1
    [regulariser]
    lambda = 0.1
    [perturbation]
    perturb = "adversarial"
    perturb_steps = 1
    sam_radius = 0.1
    [freezing]
    freeze_below = 0.9
    freeze_steps = 1
    [selection]
    selection = "best-epoch"
    [search]
    batch = 16
    ghost_batches = 4
    epochs = 2
    eigenvalue_every = 2
"#;

fn searched(config: &SearchConfig, dataset: &Dataset, folder: &Path, peers: Arc<dyn Collective>) {
    let search = search_in(config.clone(), "", dataset, folder, peers).unwrap();
    search.run(&mut Unwatched, &AtomicBool::new(false)).unwrap();
}

/// The same by so many threads.
fn together(size: usize, work: impl Fn(Arc<dyn Collective>) + Sync) {
    std::thread::scope(|scope| {
        for peer in threads(size) {
            scope.spawn(|| work(Arc::new(peer)));
        }
    });
}

fn same_files(a: &Path, b: &Path, files: &[&str]) {
    for file in files {
        let [a, b] = [a, b].map(|folder| fs::read(folder.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

const LEFT: [&str; 5] = [
    "metrics.jsonl",
    "genotype.json",
    "weights/explainer.safetensors",
    "weights/audience.safetensors",
    "weights/architecture.safetensors",
];

#[test]
fn a_search_of_several_processes_has_the_bits_of_one_with_as_many_parts() {
    let trained = "trained\"\nselection_candidates = 2\nselection_train_epochs = 1 #";
    for settings in [SEARCH, &SEARCH.replace("best-epoch", trained)] {
        let folder = tempfile::tempdir().unwrap();
        let config = SearchConfig::parse(settings, "here", &[]).unwrap();
        let dataset = Dataset::load(&config.data).unwrap();
        let place = |name: &str| folder.path().join(name);
        searched(&config, &dataset, &place("1"), alone());
        together(4, |peers| searched(&config, &dataset, &place("4"), peers));
        same_files(&place("1"), &place("4"), &LEFT);
    }
}

const TRAINING: &str = r#"
    [data]
    dataset = "digits"
    limit = 96
    [train]
    channels = 2
    cells = 1
    batch = 24
    ghost_batches = 6
    epochs = 2
    auxiliary = 0.0
"#;

const CELL: &str =
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|";

#[test]
fn a_training_of_several_processes_has_the_bits_of_one_with_as_many_parts() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig::parse(TRAINING, "here", &[]).unwrap();
    let dataset = Dataset::load(&config.data).unwrap();
    let place = |size: usize| folder.path().join(size.to_string());
    let trained = |peers: Arc<dyn Collective>| {
        let (cell, place) = (Genotype::parse(CELL).unwrap(), place(peers.size()));
        let stop = AtomicBool::new(false);
        let on = (&dataset, &*place);
        train_together(config.clone(), cell, on, peers, &mut Unwatched, &stop).unwrap();
    };
    trained(alone());
    for size in [2, 3] {
        together(size, trained);
        same_files(
            &place(1),
            &place(size),
            &["metrics.jsonl", "weights.safetensors", "result.json"],
        );
    }
}
