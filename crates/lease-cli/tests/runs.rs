//! Whole runs of the program: killed, resumed, damaged, repeated.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lease::space::nas_bench_201::Cell;

/// A search that takes seconds, with a checkpoint after every step.
const TINY: &[&str] = &[
    "--limit",
    "200",
    "--channels",
    "2",
    "--nodes",
    "1",
    "--batch",
    "20",
    "--audience-width",
    "0.1",
    "--seed",
    "3",
];

const TINY_TRAINING: &[&str] = &[
    "--limit",
    "200",
    "--train-channels",
    "2",
    "--train-cells",
    "3",
    "--train-epochs",
    "3",
    "--train-batch",
    "20",
    "--train-drop-path",
    "0.2",
    "--checkpoint-seconds",
    "0",
];

fn lease(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lease"));
    command.args(arguments);
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    output
}

/// What the program says when it refuses; it must not panic.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && !stderr.contains("panicked"),
        "{stderr}"
    );
    stderr
}

fn search_saving_every(seconds: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["search", "--out", out.to_str().unwrap()]);
    command
        .args(TINY)
        .args(["--checkpoint-seconds", seconds])
        .args(more);
    if !more.contains(&"--epochs") {
        command.args(["--epochs", "3"]);
    }
    command
}

fn search(out: &Path, more: &[&str]) -> Command {
    search_saving_every("0", out, more)
}

fn resume(run: &Path) -> Command {
    lease(&["search", "--resume", run.to_str().unwrap()])
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = run.join("checkpoints").read_dir() else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths
}

/// Starts a command and kills it (SIGKILL) once the checkpoint of this step is there.
fn kill_after(mut command: Command, run: &Path, step: u64) {
    let mut child: Child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("step-{step:09}.safetensors");
    let started = Instant::now();
    while checkpoints(run)
        .last()
        .is_none_or(|p| p.file_name().unwrap() < name.as_str())
    {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before step {step}"
        );
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What must not depend on interruptions.
fn assert_same_search(a: &Path, b: &Path) {
    for file in [
        "metrics.jsonl",
        "genotype.json",
        "weights/explainer.safetensors",
        "weights/audience.safetensors",
        "weights/architecture.safetensors",
    ] {
        assert!(
            fs::read(a.join(file)).unwrap() == fs::read(b.join(file)).unwrap(),
            "{file}"
        );
    }
}

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
    assert!(refused(resume(&run)).contains("another configuration"));
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

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    done(search_saving_every("1000", &whole, &[]));
    let mut command = search_saving_every("1000", &stopped, &[]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while fs::metadata(stopped.join("metrics.jsonl")).map_or(0, |m| m.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains(&format!("lease search --resume {}", stopped.display())),
        "{told}"
    );
    assert_eq!(checkpoints(&stopped).len(), 1);
    done(resume(&stopped));
    assert_same_search(&whole, &stopped);
}

#[test]
fn bad_arguments_get_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (arguments, expected) in [
        (
            vec!["search", "--batch", "0"],
            "search.batch = 0 (flag --batch) cannot be used",
        ),
        (
            vec!["search", "--batch", "5000"],
            "fewer than one batch of 5000",
        ),
        (
            vec!["search", "--device", "tpu"],
            "`tpu` is no device; this build has cpu",
        ),
        (
            vec!["search", "--dataset", "cifar10"],
            "this data set needs the folder",
        ),
        (
            vec!["search", "--dataset", "cifar10", "--path", "/nowhere"],
            "data_batch_1.bin",
        ),
        (
            vec!["search", "--config", "/nowhere.toml"],
            "cannot read the configuration",
        ),
        (
            vec!["train", "/nowhere"],
            "no folder, no file, and no genotype",
        ),
        (vec!["train", "Genotype(normal=[])"], "has no reduce cell"),
        (
            vec!["train", "random:1", "--train-auxiliary", "0.4"],
            "train without it",
        ),
    ] {
        let mut command = lease(&arguments);
        command.args(["--out", out.to_str().unwrap()]);
        let told = refused(command);
        assert!(
            told.contains(expected) && told.starts_with("error: "),
            "{arguments:?}: {told}"
        );
        assert!(
            !out.join("config.toml").exists(),
            "{arguments:?} left a run behind"
        );
    }
    for (arguments, expected) in [
        (
            vec!["search", "--resume", "/nowhere"],
            "is no run folder: it has no config.toml",
        ),
        (vec!["verify", "/nowhere"], "cannot read the case /nowhere"),
        (vec!["genotype", "{}"], "there is no genotype in the text"),
    ] {
        let told = refused(lease(&arguments));
        assert!(
            told.contains(expected) && told.starts_with("error: "),
            "{arguments:?}: {told}"
        );
    }
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

/// A table in which an architecture's accuracy grows with its number.
fn table(path: &Path) {
    let mut text = String::from(
        "arch,cifar10_valid,cifar10_test,cifar100_valid,cifar100_test,in16_valid,in16_test,params,flops\n",
    );
    for index in 0..Cell::COUNT {
        let accuracy = 100.0 * index as f64 / Cell::COUNT as f64;
        let cell = Cell::numbered(index);
        text += &format!("{cell},1,{accuracy},2,3,4,5,{index},6\n");
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_comparison_goes_on_adds_methods_and_refuses_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.csv");
    table(&file);
    let out = folder.path().join("comparison");
    let compare = |methods: &[&str], more: &[&str]| {
        let mut command = lease(&["compare", "--out", out.to_str().unwrap()]);
        command.args(methods);
        command.args(["--space", "nas-bench-201", "--nb201-table"]);
        command.arg(&file);
        let tiny = ["--limit", "80", "--batch", "20", "--channels", "2"];
        command.args(tiny);
        command.args(["--cells", "1", "--audience-width", "0.1"]);
        command.args(["--epochs", "2", "--seeds", "2"]);
        command.args(["--eigenvalue-every", "1"]).args(more);
        command
    };
    done(compare(&["darts-first", "random"], &[]));
    let found = |method: &str, seed: u64| {
        let path = out.join(method).join(format!("seed{seed}/found.json"));
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    for method in ["darts-first", "random"] {
        let cell = Cell::parse(found(method, 1)["genotype"].as_str().unwrap()).unwrap();
        let accuracy = 100.0 * cell.index() as f64 / Cell::COUNT as f64;
        assert_eq!(found(method, 1)["accuracy"].as_f64(), Some(accuracy));
        let rank = (Cell::COUNT - cell.index()) as u64;
        assert_eq!(found(method, 1)["rank"].as_u64(), Some(rank));
    }
    let metrics = fs::read_to_string(out.join("darts-first/seed0/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"eigenvalue\":") && metrics.contains("\"rank\":"));
    // Random search keeps the draw that is most accurate on validation images.
    done(compare(
        &["brief:method=random-search,random-draws=3,random-epochs=1"],
        &[],
    ));
    let text = fs::read_to_string(out.join("brief/seed1/draws.json")).unwrap();
    let draws: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let accuracy = |d: &serde_json::Value| d["val_accuracy"].as_f64().unwrap();
    let most = draws.iter().map(accuracy).fold(0.0, f64::max);
    let best = draws.iter().find(|d| accuracy(d) == most).unwrap();
    assert_eq!(draws.len(), 3);
    assert_eq!(found("brief", 1)["genotype"], best["genotype"]);
    // The cells that are there are not run again, the new ones are.
    let marked = out.join("random/seed0/found.json");
    let text = fs::read_to_string(&marked).unwrap();
    let marked_text = text.replace("\"steps\": 0", "\"steps\": 77");
    fs::write(&marked, marked_text).unwrap();
    let output = done(compare(&["random", "told:method=lease,gamma=2"], &[]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("told − random") && said.contains("points"),
        "{said}"
    );
    assert_eq!(found("random", 0)["steps"], 77);
    assert_eq!(found("told", 1)["steps"].as_u64(), Some(4));
    let csv = fs::read_to_string(out.join("comparison.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    let told = refused(compare(&["told:method=lease,gamma=3"], &[]));
    assert!(
        told.contains("method.gamma is 2.0 there, 3.0 here"),
        "{told}"
    );
    let told = refused(compare(&["fast:speed=3"], &[]));
    assert!(told.contains("there is no setting `speed`"), "{told}");
}
