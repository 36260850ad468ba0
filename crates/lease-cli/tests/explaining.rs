//! `lease explain`.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::*;
use serde_json::Value;

/// A training of a second on digits whose relevant pixels are known.
fn train(out: &Path) {
    let mut command = lease(&["train", "random:5", "--out", out.to_str().unwrap()]);
    command.args("--dataset cluttered-digits --clutter-side 12 --clutter-fragments 0 --limit 120 --test-limit 40".split(' '));
    command.args("--train-channels 2 --train-cells 3 --train-epochs 1 --train-batch 20".split(' '));
    done(command);
}

fn explain(source: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["explain", source.to_str().unwrap()]);
    command.args(["--out", out.to_str().unwrap()]).args(more);
    command
}

const FEW: &[&str] = &[
    "--count",
    "6",
    "--pictures",
    "2",
    "--sensitivity-draws",
    "2",
    "--redraws",
    "1",
];

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_trained_network_is_explained_measured_and_drawn_and_the_same_command_gives_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (trained, out) = (root.path().join("trained"), root.path().join("out"));
    train(&trained);
    let told = done(explain(&trained, &out, FEW));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("ROAD, gap in accuracy ↑"), "{told}");
    let found = read(&out.join("explanations.json"));
    let measures = found["measures"].as_array().unwrap();
    let keys: Vec<&str> = measures.iter().filter_map(|m| m["key"].as_str()).collect();
    assert_eq!((keys[0], keys.len()), ("road", 15));
    assert!(keys.contains(&"mass") && keys.contains(&"sensitivity_anew"));
    let road = &measures[0];
    assert_eq!(road["of"].as_array().unwrap().len(), 5);
    assert_eq!(road["of"][0]["values"].as_array().unwrap().len(), 6);
    assert!(road["differences"][0]["interval"].is_array());
    assert_eq!(found["images"][1]["picture"], "images/0002.png");
    assert!(found["images"][2]["picture"].is_null());
    assert!(out.join("images/0002.png").is_file() && out.join("sheet.png").is_file());
    let files = ["explanations.json", "explanations.safetensors"];
    let before = files.map(|file| fs::read(out.join(file)).unwrap());
    done(explain(&trained, &out, FEW));
    assert!(before == files.map(|file| fs::read(out.join(file)).unwrap()));

    // Images of one's own have no class, no relevant pixels, and any size.
    let mine = root.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::copy(out.join("images/0001.png"), mine.join("a.png")).unwrap();
    let images = ["--images", mine.to_str().unwrap(), "--json"];
    let told = done(explain(
        &trained,
        &root.path().join("o"),
        &[FEW, &images].concat(),
    ));
    let found: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(found["images"][0]["label"].is_null() && found["predictions"]["accuracy"].is_null());
    assert_eq!(found["measures"].as_array().unwrap().len(), 12);
}

#[test]
fn a_supernet_is_explained_as_its_newest_checkpoint_has_it_by_the_runs_own_attack() {
    let root = tempfile::tempdir().unwrap();
    let (run, out) = (root.path().join("run"), root.path().join("out"));
    done(search(&run, &["--epochs", "1", "--attack-steps", "2"]));
    let before = fs::read(run.join("genotype.json")).unwrap();
    done(explain(
        &run,
        &out,
        &[FEW, &["--measures", "false"]].concat(),
    ));
    let found = read(&out.join("explanations.json"));
    assert_eq!(found["network"]["step"], 5);
    assert_eq!(found["attack"]["attack_steps"], 2);
    assert!(found["measures"].is_null());
    assert_eq!(fs::read(run.join("genotype.json")).unwrap(), before);
}

#[test]
fn audiences_are_recorded_one_by_one_and_not_mixed_with_others() {
    let root = tempfile::tempdir().unwrap();
    let (trained, out) = (root.path().join("trained"), root.path().join("out"));
    train(&trained);
    let listen = |more: &[&str]| {
        let few = "--audience --seeds 2 --audience-epochs 1 --audience-width 0.1";
        let mut command = explain(&trained, &out, more);
        command.args(few.split(' '));
        command
    };
    let told = String::from_utf8(done(listen(&[])).stdout).unwrap();
    assert!(
        told.contains("| δ ⊙ x | 2 |") && told.contains("seeds alone"),
        "{told}"
    );
    let written = fs::read_to_string(out.join("audience.md")).unwrap();
    assert!(
        written.contains("| \\|another's δ\\| ⊙ x | 2 |"),
        "{written}"
    );
    let all = read(&out.join("audience.json"));
    assert_eq!(all["heard"].as_array().unwrap().len(), 14);
    let one = out.join("audience/edges-1.json");
    let before = fs::read(&one).unwrap();
    fs::remove_file(&one).unwrap();
    let again = String::from_utf8(done(listen(&[])).stdout).unwrap();
    assert_eq!((again, fs::read(&one).unwrap()), (told, before));
    let refused = refused(listen(&["--epsilon", "0.5"]));
    assert!(refused.contains("method.epsilon is"), "{refused}");
}

#[test]
fn what_cannot_be_explained_is_refused_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let (trained, out) = (root.path().join("trained"), root.path().join("out"));
    let none = refused(explain(&trained, &out, &[]));
    assert!(none.contains("there is no folder"), "{none}");
    fs::create_dir(&trained).unwrap();
    let nothing = refused(explain(&trained, &out, &[]));
    assert!(
        nothing.contains("neither a search nor a training"),
        "{nothing}"
    );
    fs::remove_dir(&trained).unwrap();
    train(&trained);
    let images = root.path().join("images");
    fs::create_dir_all(images.join("tulip")).unwrap();
    let class = refused(explain(
        &trained,
        &out,
        &["--images", images.to_str().unwrap()],
    ));
    assert!(
        class.contains("tulip") && class.contains("no class of the network"),
        "{class}"
    );
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.tex"), "x").unwrap();
    let taken = refused(explain(&trained, &out, &[]));
    assert!(taken.contains("thesis.tex"), "{taken}");
    assert!(fs::read(out.join("thesis.tex")).unwrap() == b"x");
}
