//! Whole runs of the program: killed, resumed, damaged, repeated.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;

#[test]
fn a_search_killed_twice_and_resumed_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    done(search(&whole, &[]));
    // In the middle of an epoch, and again after resuming.
    kill_after(search(&broken, &[]), &broken, 2);
    kill_after(resume(&broken), &broken, 7);
    done(resume(&broken));
    assert_same_search(&whole, &broken);
    let lines = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 15 + 3, "15 steps and 3 epochs");
}

/// A search and trainings that take seconds, with a checkpoint after every step.
fn whole_run(out: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["run", "--out", out.to_str().unwrap()]);
    let tiny = "--limit 200 --test-limit 50 --channels 2 --nodes 1 --epochs 1 --batch 20 --audience-width 0.1 \
        --train-channels 2 --train-cells 3 --train-epochs 1 --train-batch 20 --checkpoint-seconds 0 \
        --clutter-side 17 --seed 3";
    command.args(tiny.split(' ')).args(more);
    command
}

#[test]
fn a_run_trains_random_architectures_beside_what_it_found_and_says_where_that_stands() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let output = done(whole_run(&whole, &[]));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut genotypes: Vec<String> = [
        "train",
        "train-random-1",
        "train-random-2",
        "train-random-3",
    ]
    .map(|name| {
        let text = fs::read_to_string(whole.join(name).join("result.json")).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["test_images"], 50);
        result["genotype"].as_str().unwrap().into()
    })
    .into();
    genotypes.sort();
    genotypes.dedup();
    assert_eq!(genotypes.len(), 4);
    for told in ["random 3 ", "Found is place ", " of 4", "standard error of"] {
        assert!(said.contains(told), "{said}");
    }
    // It is a configuration of the comparison that is told to go on with.
    let mut compare = lease(&["compare", "random", "--seeds", "1", "--config"]);
    compare.arg(whole.join("config.toml")).arg("--out");
    done_by(compare.arg(folder.path().join("comparison")));
    // The pixels that matter are known, and the share of the explanations on them is recorded.
    let metrics = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let step: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    let share = |key: &str| step[key].as_f64().unwrap();
    assert!((share("relevant_pixels") - 64.0 / 289.0).abs() < 1e-6);
    assert!(share("delta_on_relevant") > 0.1 && share("delta_on_relevant") < 0.9);

    // Killed while a random architecture is trained, it goes on there, and can be given more of them.
    kill_after(whole_run(&broken, &[]), &broken.join("train-random-2"), 5);
    let mut again = lease(&["run", "--resume", broken.to_str().unwrap()]);
    let output = done_by(again.args(["--random-architectures", "4"]));
    let more = String::from_utf8(output.stdout).unwrap();
    let row = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap().to_string()
    };
    for name in ["found ", "random 1", "random 2", "random 3"] {
        assert_eq!(row(&more, name), row(&said, name));
    }
    assert!(
        more.contains("random 4") && more.contains(" of 5"),
        "{more}"
    );
    assert_same_search(&whole, &broken);

    // Its search alone is gone on with, and its trainings keep their settings.
    let settings = fs::read_to_string(whole.join("config.toml")).unwrap();
    done(resume(&whole));
    let kept = fs::read_to_string(whole.join("config.toml")).unwrap();
    assert_eq!(kept, settings);
    // Where a search has none, they are those of a new run.
    let search = &settings[..settings.find("[train]").unwrap()];
    fs::write(whole.join("config.toml"), search).unwrap();
    let mut shown = lease(&["run", "--print-config", "--resume"]);
    let shown = String::from_utf8(done_by(shown.arg(&whole)).stdout).unwrap();
    assert!(
        shown.contains("[train]") && shown.contains("\nauxiliary = 0.0\n"),
        "{shown}"
    );
}

#[test]
fn a_run_that_another_process_is_at_work_on_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = search(&run, &["--epochs", "1000"]);
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = silent.spawn().unwrap();
    while checkpoints(&run).is_empty() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = refused(resume(&run));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.contains("another process is at work"), "{told}");
}

#[test]
fn a_search_in_stages_killed_in_two_of_them_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let stages = [
        "--space",
        "p-darts",
        "--nodes",
        "1",
        "--epochs",
        "2",
        "--warmup-epochs",
        "1",
        "--stage-cells",
        "1,2",
        "--stage-candidates",
        "8,3",
        "--stage-skip-dropout",
        "0,0.5",
    ];
    done(search(&whole, &stages));
    // In the first stage, and in the second, whose supernet comes from the checkpoint.
    kill_after(search(&broken, &stages), &broken, 7);
    kill_after(resume(&broken), &broken, 13);
    done(resume(&broken));
    assert_same_search(&whole, &broken);
    let metrics = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let epochs = metrics.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let edge = line["mixtures"]["normal"][0].as_array()?;
        Some(edge.iter().filter(|p| p.as_f64() > Some(0.0)).count())
    });
    assert_eq!(
        epochs.collect::<Vec<_>>(),
        [8, 8, 3, 3],
        "candidates by epoch"
    );
}

#[test]
fn a_search_that_a_safeguard_ends_keeps_the_earlier_choice_when_resumed_too() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    // The architecture runs away at once, so that some epoch has enough skip-connects.
    let settings = [
        "--space",
        "nas-bench-201",
        "--cells",
        "1",
        "--method",
        "darts-first",
        "--stop-skip-connects",
        "1",
        "--architecture-learning-rate",
        "1",
        "--epochs",
        "12",
    ];
    let output = done(search(&whole, &settings));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("STOPPED EARLY"), "{said}");
    let text = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|l| serde_json::from_str(l).unwrap());
    let epochs: Vec<serde_json::Value> = lines
        .filter(|l: &serde_json::Value| l["kind"] == "epoch")
        .collect();
    let last = epochs.len() - 1;
    assert!(epochs[last]["skip_connects"].as_u64() >= Some(1));
    assert!(last < 11, "it was not early");
    let chosen = epochs[last.saturating_sub(1)]["genotype"].as_str().unwrap();
    let genotype = |run: &Path| fs::read_to_string(run.join("genotype.json")).unwrap();
    assert!(genotype(&whole).contains(chosen));
    // Resumed after it has fired, it does not go on.
    kill_after(search(&broken, &settings), &broken, 5);
    done(resume(&broken));
    done(resume(&broken));
    assert_same_search(&whole, &broken);
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    done(search(&whole, &["--method", "darts"]));
    kill_after(search(&broken, &["--method", "darts"]), &broken, 4);
    let newest = checkpoints(&broken).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let near_the_end = bytes.len() - 100;
    bytes[near_the_end] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let output = done(resume(&broken));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("digest") && told.contains("Using the checkpoint before"),
        "{told}"
    );
    assert_same_search(&whole, &broken);

    // With none left to fall back on, it says so.
    for path in checkpoints(&broken) {
        fs::write(path, b"broken").unwrap();
    }
    let told = refused(resume(&broken));
    assert!(
        told.contains("no checkpoint in") && told.contains("damaged"),
        "{told}"
    );
}

#[test]
fn a_run_whose_configuration_was_changed_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    kill_after(search(&run, &["--method", "darts-first"]), &run, 2);
    let config = run.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("gamma = 1.0", "gamma = 2.0")).unwrap();
    let told = refused(resume(&run));
    assert!(
        told.contains("method.gamma is 1.0 there, 2.0 here"),
        "{told}"
    );
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let run = |threads: &str| {
        let path = folder.path().join(threads);
        done(search(&path, &["--threads", threads, "--epochs", "1"]));
        path
    };
    assert_same_search(&run("1"), &run("2"));
}

#[test]
fn a_training_killed_and_started_again_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str| {
        let out = folder.path().join(name);
        let mut command = lease(&["train", "random:5", "--out", out.to_str().unwrap()]);
        command.args(TINY_TRAINING);
        (command, out)
    };
    let (command, whole) = train("whole");
    done(command);
    let (command, broken) = train("broken");
    kill_after(command, &broken, 13);
    done(train("broken").0);
    for file in ["metrics.jsonl", "result.json", "weights.safetensors"] {
        let (a, b) = (
            fs::read(whole.join(file)).unwrap(),
            fs::read(broken.join(file)).unwrap(),
        );
        assert!(a == b, "{file}");
    }
    let result = fs::read_to_string(whole.join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["test_images"], 355);
}

#[test]
fn a_diverging_search_stops_with_step_quantity_and_advice() {
    let folder = tempfile::tempdir().unwrap();
    let rates = ["--learning-rate", "1e30", "--clip", "1e30"];
    let told = refused(search(&folder.path().join("run"), &rates));
    assert!(
        told.contains("step ") && told.contains("has diverged"),
        "{told}"
    );
    assert!(told.contains("hint: lower --learning-rate"), "{told}");
}

#[test]
fn an_attack_too_weak_to_move_explanations_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let tells = |step: &str| {
        let settings = ["--epochs", "1", "--attack-step", step];
        let output = done(search(&folder.path().join(step), &settings));
        String::from_utf8_lossy(&output.stderr).contains("their random start")
    };
    assert!(tells("0.001"));
    assert!(!tells("1e6"));
}

#[test]
fn norms_of_the_terms_are_recorded_as_often_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    done(search(&run, &["--epochs", "1", "--norms-every", "2"]));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let steps = metrics.lines().filter(|line| line.contains("\"step\":"));
    let known: Vec<bool> = steps
        .map(|line| {
            assert!(line.contains("architecture_gradient_norm"), "{line}");
            let terms = ["explainer_term_norm", "audience_term_norm"];
            let known = terms.map(|term| line.contains(term));
            assert_eq!(known[0], known[1], "{line}");
            known[0]
        })
        .collect();
    assert!(known.len() > 3);
    let asked = (0..known.len()).map(|step| step % 2 == 0);
    assert!(known.iter().copied().eq(asked), "{known:?}");
}

#[test]
fn every_printed_setting_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let output = done(lease(&["search", "--print-config", "--seed", "9"]));
    let file = folder.path().join("config.toml");
    fs::write(&file, &output.stdout).unwrap();
    let again = done(lease(&[
        "search",
        "--print-config",
        "--config",
        file.to_str().unwrap(),
    ]));
    assert_eq!(output.stdout, again.stdout);
    assert!(String::from_utf8_lossy(&again.stdout).contains("seed = 9"));
}

#[test]
fn verify_tells_right_from_wrong() {
    let case = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lease/tests/data/cases/odd_size.safetensors"
    );
    let output = done(lease(&["verify", case]));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("stage4.grad_total") && table.contains("worst relative error"));
    // Finite differences at the usual h0 are far off, and the exit code says so.
    let output = lease(&["verify", case, "--finite-difference", "0.01"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("WRONG"));
}

#[test]
fn what_is_found_keeps_to_a_budget_that_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let sizes = ["--budget-channels", "8", "--budget-cells", "3"];
    let bounded = |most: &str| {
        let bounds = ["--max-parameters", most, "--max-latency-ms", "1e5"];
        search(&run, &[&sizes[..], &bounds].concat())
    };
    let told = refused(bounded("10"));
    assert!(
        told.contains("no architecture of the space meets the budget"),
        "{told}"
    );
    assert!(!run.exists());
    let (_, rest) = told.split_once("the smallest has ").unwrap();
    let (least, _) = rest.split_once(" parameters").unwrap();
    done(bounded(least));
    let cost = fs::read_to_string(run.join("cost.json")).unwrap();
    let cost: serde_json::Value = serde_json::from_str(&cost).unwrap();
    assert_eq!(cost["parameters"].to_string(), least);
    assert!(cost["table_latency_ms"].as_f64().unwrap() > 0.0);
    // The latencies that were measured at the start stay those of the run.
    assert!(run.join("latency.json").is_file());
    done(resume(&run));
}

#[test]
fn a_training_that_validates_keeps_its_best_weights_and_ends_with_the_same_bits_when_killed() {
    let folder = tempfile::tempdir().unwrap();
    let train = |out: &Path| {
        let mut command = lease(&["train", "random:1", "--out", out.to_str().unwrap()]);
        command.args(TINY_TRAINING);
        let more = "--train-validation 0.25 --train-balance sampling --train-auxiliary 0";
        command.args(more.split(' '));
        command
    };
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    done(train(&whole));
    // 150 images are left, 7 steps an epoch.
    kill_after(train(&broken), &broken, 10);
    done(train(&broken));
    for file in [
        "metrics.jsonl",
        "result.json",
        "weights.safetensors",
        "model.json",
    ] {
        let [a, b] = [&whole, &broken].map(|run| fs::read(run.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
    let read = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let result = read(&fs::read_to_string(whole.join("result.json")).unwrap());
    let epochs = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let best = epochs
        .lines()
        .map(|line| read(line)["validation_balanced_accuracy"].as_f64().unwrap());
    let best = best.fold(0.0, f64::max);
    assert_eq!(result["validation"]["balanced_accuracy"], best);
    let rows = result["confusion"].as_array().unwrap().iter();
    let counts = rows.flat_map(|row| row.as_array().unwrap());
    let all: u64 = counts.map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(result["test_images"], all);
}
