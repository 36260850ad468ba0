//! The parts that a search is put together from: each with every method, on every space.

mod common;

use std::fs;
use std::path::Path;

use common::*;

/// Each part alone, and many together.
const PARTS: &[&[&str]] = &[
    &["--beta", "5", "--zero-one", "1", "--sampler", "sigmoid"],
    &["--sampler", "dirichlet", "--dirichlet-prior", "0.001"],
    &["--sampler", "gumbel", "--auxiliary-skip", "1"],
    &["--perturb", "random", "--sam-radius", "0.1"],
    &["--perturb", "adversarial", "--perturb-steps", "2"],
    &["--lambda", "0.125"],
    &["--freeze-below", "0.9", "--freeze-steps", "2"],
    &[
        "--selection",
        "best-epoch",
        "--selection-epochs",
        "2",
        "--min-convolutions",
        "2",
    ],
    &["--selection", "perturbation", "--selection-tune-steps", "1"],
    TRAINED,
    &[
        "--selection",
        "trained",
        "--selection-candidates",
        "2",
        "--selection-train-epochs",
        "1",
        "--min-convolutions",
        "2",
    ],
    &[
        "--sampler",
        "dirichlet",
        "--beta",
        "1",
        "--perturb",
        "random",
        "--sam-radius",
        "0.1",
        "--freeze-below",
        "0.9",
        "--freeze-steps",
        "2",
        "--selection",
        "perturbation",
    ],
];

/// A selection by short trainings.
const TRAINED: &[&str] = &[
    "--selection",
    "trained",
    "--selection-candidates",
    "5",
    "--selection-train-epochs",
    "1",
];

/// Tiny spaces of each kind.
const SPACES: &[&[&str]] = &[
    &["--space", "darts", "--nodes", "1", "--cells", "1"],
    &[
        "--space",
        "pc-darts",
        "--nodes",
        "1",
        "--cells",
        "1",
        "--partial",
        "2",
    ],
    &["--space", "s3", "--cells", "1"],
    &["--space", "nas-bench-201", "--cells", "1"],
    &["--space", "nas-bench-201", "--cells", "1", "--partial", "2"],
    &["--space", "s4", "--cells", "1"],
    &["--space", "wide-all-skip", "--cells", "1"],
    &[
        "--space",
        "p-darts",
        "--nodes",
        "1",
        "--stage-cells",
        "3,3",
        "--stage-candidates",
        "8,3",
        "--stage-skip-dropout",
        "0,0.4",
    ],
];

fn tiny(out: &Path, parts: &[&[&str]]) -> std::process::Command {
    let all: Vec<&str> = parts.iter().copied().flatten().copied().collect();
    let common: &[&str] = &["--epochs", "2"];
    search(out, &[common, &all].concat())
}

fn last_line(run: &Path) -> serde_json::Value {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    serde_json::from_str(lines.lines().last().unwrap()).unwrap()
}

#[test]
fn every_part_goes_with_every_space_the_methods_taking_turns() {
    let folder = tempfile::tempdir().unwrap();
    let methods = ["lease", "darts", "darts-first"];
    for (i, part) in PARTS.iter().enumerate() {
        for (j, space) in SPACES.iter().enumerate() {
            // Every pair of parts and spaces, the methods in turn.
            let method = methods[(i + j) % methods.len()];
            let out = folder.path().join(format!("{i}-{j}"));
            let search = tiny(&out, &[part, space, &["--method", method]]);
            if part.contains(&"perturbation") && space.contains(&"p-darts") {
                let told = refused(search);
                assert!(told.contains("how many skip-connects"), "{told}");
                continue;
            }
            done(search);
            assert!(out.join("genotype.json").exists());
        }
    }
}

#[test]
fn what_a_space_of_the_bench_suite_found_is_trained_as_the_suite_does() {
    let folder = tempfile::tempdir().unwrap();
    let spaces = ["deep-no-skip", "single-cell-all-skip"];
    for (space, beside) in spaces.into_iter().zip([false, true]) {
        let out = folder.path().join(space);
        let small = ["--space", space, "--method", "darts-first", "--cells", "1"];
        done(tiny(&out, &[&small]));
        let run = out.to_str().unwrap();
        let printed = done(lease(&["train", run, "--print-config"]));
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        assert!(
            printed.contains(&format!("edge_skips = {beside}")),
            "{printed}"
        );
        let once = ["--train-epochs", "1", "--train-channels", "2"];
        done(lease(
            &[&["train", run, "--train-cells", "2"], &once[..]].concat(),
        ));
    }
}

#[test]
fn a_search_of_many_parts_killed_and_resumed_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let parts = [PARTS[PARTS.len() - 1], SPACES[3]];
    done(tiny(&whole, &parts));
    kill_after(tiny(&broken, &parts), &broken, 3);
    done(resume(&broken));
    assert_same_search(&whole, &broken);
    let frozen = last_line(&whole)["frozen_operations"].as_u64();
    assert!(frozen > Some(0), "{frozen:?} operations froze");
}

#[test]
fn an_untrained_architecture_needs_a_selection_that_asks_the_supernet() {
    let folder = tempfile::tempdir().unwrap();
    let never = ["--warmup-epochs", "2"];
    let told = refused(tiny(&folder.path().join("a"), &[&never]));
    assert!(told.contains("the architecture never changes"), "{told}");
    let asked = ["--selection", "perturbation", "--method", "darts-first"];
    done(tiny(&folder.path().join("b"), &[&never, &asked, SPACES[3]]));
}

#[test]
fn the_most_accurate_candidate_is_selected_and_what_was_trained_is_kept_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let parts = [TRAINED, SPACES[3], &["--method", "darts-first"]];
    let told = done(tiny(&whole, &parts));
    let mut killed = tiny(&broken, &parts).spawn().unwrap();
    let first = broken.join("candidates/0/trial.json");
    while !first.exists() && killed.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!broken.join("candidates.json").exists(), "killed too late");
    let kept = fs::read(&first).unwrap();
    done(resume(&broken));
    assert_eq!(fs::read(&first).unwrap(), kept);
    let candidates = |run: &Path| -> Vec<(String, f64)> {
        let text = fs::read_to_string(run.join("candidates.json")).unwrap();
        let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let of = |c: &serde_json::Value| {
            let genotype = c["genotype"].as_str().unwrap();
            (genotype.into(), c["val_accuracy"].as_f64().unwrap())
        };
        all.iter().map(of).collect()
    };
    let all = candidates(&whole);
    assert_eq!(all, candidates(&broken));
    let best = all.iter().map(|c| c.1).fold(0.0, f64::max);
    let found = fs::read_to_string(whole.join("genotype.json")).unwrap();
    let selected = all.iter().find(|c| c.1 == best).unwrap();
    assert!(all.len() == 5 && found.contains(&selected.0), "{found}");
    assert_same_search(&whole, &broken);
    let supernet = last_line(&whole)["explainer_val_accuracy"].as_f64();
    let warned = String::from_utf8_lossy(&told.stderr).contains("raise --selection-train-epochs");
    assert_eq!(warned, best < supernet.unwrap(), "{best}, {supernet:?}");
    let page = fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(page.contains("The candidates") && page.contains(&selected.0));
}

#[test]
fn trainings_that_no_benchmark_knows_are_refused_before_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let none = ["--selection", "trained", "--selection-train-epochs", "0"];
    let told = refused(tiny(&folder.path().join("a"), &[&none, SPACES[3]]));
    assert!(
        told.contains("known of NAS-Bench-201 on CIFAR-10 alone"),
        "{told}"
    );
}
