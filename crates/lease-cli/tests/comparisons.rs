//! Comparisons of methods over seeds.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::*;
use lease::space::nas_bench_201::Cell;

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
        command.args(["--dataset", "digits", "--limit", "80"]);
        command.args(["--batch", "20", "--channels", "2"]);
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
    let last = csv.lines().last().unwrap();
    let in16 = format!(
        ",{},{}",
        found("told", 1)["in16_test"].as_f64().unwrap(),
        found("told", 1)["in16_rank"]
    );
    assert!(
        last.starts_with("told,1,") && last.ends_with(&in16),
        "{last}"
    );
    assert!(said.contains("ImageNet16-120, %"), "{said}");
    // What is done is kept where a setting changes that it does not read.
    done(compare(
        &["random", "darts-first", "louder:method=lease"],
        &["--gamma", "4"],
    ));
    assert_eq!(found("random", 0)["steps"], 77);
    let told = refused(compare(&["told:method=lease,gamma=3"], &[]));
    assert!(
        told.contains("method.gamma is 2.0 there, 3.0 here"),
        "{told}"
    );
    let told = refused(compare(&["fast:speed=3"], &[]));
    assert!(told.contains("there is no setting `speed`"), "{told}");
}

#[test]
fn settings_of_the_training_can_change_as_long_as_none_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let compare = |epochs: &str, more: &[&str]| {
        let mut command = lease(&["compare", "darts-first", "--seeds", "1", "--out"]);
        command
            .arg(&out)
            .args(["--dataset", "digits", "--limit", "200"]);
        command.args(["--channels", "2", "--nodes", "1"]);
        command.args(["--batch", "20", "--epochs", "1", "--train-batch", "20"]);
        command.args(["--train-channels", "2", "--train-cells", "3"]);
        command.args(["--train-epochs", epochs]).args(more);
        command
    };
    done(compare("1", &[]));
    let cell = out.join("darts-first/seed0");
    let told = refused(compare("2", &[]));
    assert!(told.contains("train.epochs is 1 there, 2 here"), "{told}");
    fs::remove_file(cell.join("found.json")).unwrap();
    fs::remove_dir_all(cell.join("train")).unwrap();
    let told = refused(compare("2", &["--gamma", "9"]));
    assert!(
        told.contains("method.gamma is 1.0 there, 9.0 here"),
        "{told}"
    );
    done(compare("2", &[]));
    let result = fs::read_to_string(cell.join("train/result.json")).unwrap();
    assert!(result.contains("\"epochs\": 2"), "{result}");
}

/// A comparison of four cells that saves after every step, in a folder.
fn four_cells(out: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["compare", "darts-first", "random", "--out"]);
    command
        .arg(out)
        .args(["--limit", "200", "--nodes", "1", "--batch", "20"]);
    for default in [["--seeds", "2"], ["--channels", "2"], ["--epochs", "3"]] {
        if !more.contains(&default[0]) {
            command.args(default);
        }
    }
    command.args(["--train-batch", "20", "--train-channels", "2"]);
    command.args(["--train-cells", "3", "--train-epochs", "2"]);
    command.args(["--checkpoint-seconds", "0"]).args(more);
    command
}

/// A file of a comparison without what was measured with a clock.
fn timeless(path: &Path) -> String {
    const CLOCK: [&str; 2] = ["search_seconds", "latency_ms"];
    let text = fs::read_to_string(path).unwrap();
    if path.extension().is_some_and(|e| e == "csv") {
        let mut lines = csv::Reader::from_reader(text.as_bytes());
        let headers = lines.headers().unwrap().clone();
        let rest = lines.records().map(|line| {
            let line = line.unwrap();
            let fields = headers.iter().zip(line.iter());
            let kept = fields.filter(|(header, _)| !CLOCK.contains(header));
            kept.map(|(_, field)| field).collect::<Vec<_>>().join(",")
        });
        return rest.collect::<Vec<_>>().join("\n");
    }
    let kept = text
        .lines()
        .filter(|line| !CLOCK.iter().any(|clock| line.contains(clock)));
    kept.collect::<Vec<_>>().join("\n")
}

/// The same cells with the same bits, the same tables, and nothing of processes that were.
fn assert_same_comparison(a: &Path, b: &Path) {
    let mut files = vec!["comparison.csv".to_string(), "comparison.json".into()];
    for seed in 0..2 {
        let cell = |method: &str| format!("{method}/seed{seed}");
        assert_same_search(&a.join(cell("darts-first")), &b.join(cell("darts-first")));
        for cell in [cell("darts-first"), cell("random")] {
            files.push(format!("{cell}/found.json"));
            let weights = format!("{cell}/train/weights.safetensors");
            assert!(fs::read(a.join(&weights)).unwrap() == fs::read(b.join(&weights)).unwrap());
        }
    }
    for file in files {
        assert_eq!(timeless(&a.join(&file)), timeless(&b.join(&file)), "{file}");
    }
    assert_eq!(b.join(".locks").read_dir().unwrap().count(), 1);
}

#[test]
fn cells_at_a_time_killed_and_stopped_end_with_the_bits_of_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    done(four_cells(&whole, &["--jobs", "1", "--threads", "1"]));
    let jobs = || four_cells(&broken, &["--jobs", "2"]);
    kill_after(jobs(), &broken.join("darts-first/seed0"), 7);
    #[cfg(unix)]
    {
        let mut child = jobs().stderr(Stdio::piped()).spawn().unwrap();
        let training = broken.join("darts-first/seed0/train");
        wait_until(&mut child, || !checkpoints(&training).is_empty());
        // SAFETY: the child has not been waited for, so the process is still ours.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        let output = child.wait_with_output().unwrap();
        // Every line tells its cell.
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(143), "{told}");
        assert!(
            told.contains("\ndarts-first seed 0: Resuming after step"),
            "{told}"
        );
    }
    done(jobs());
    assert_same_comparison(&whole, &broken);
}

#[test]
fn shares_of_a_comparison_make_the_tables_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, shared) = (folder.path().join("whole"), folder.path().join("shared"));
    done(four_cells(&whole, &["--threads", "1"]));
    let share = |which| {
        let mut command = four_cells(&shared, &["--threads", "1", "--share", which]);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = share("1/2").wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(
        told.contains("2 of 4 cells are done. Once all are"),
        "{told}"
    );
    let collect = || four_cells(&shared, &["--collect"]);
    let told = String::from_utf8(done(collect()).stderr).unwrap();
    let missing = "missing are darts-first with seed 1, random with seed 1";
    assert!(told.contains(missing), "{told}");
    let both = [share("2/2"), share("1/2")];
    for process in both {
        assert!(process.wait_with_output().unwrap().status.success());
    }
    assert_same_comparison(&whole, &shared);
    fs::remove_file(shared.join("comparison.json")).unwrap();
    done(collect());
    assert_same_comparison(&whole, &shared);
    // Every step was done once.
    let timing = fs::read_to_string(shared.join("darts-first/seed1/timing.jsonl")).unwrap();
    assert_eq!(timing.lines().count(), 3);
}

#[test]
fn a_cell_that_another_process_is_at_work_on_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let long = || four_cells(&out, &["--epochs", "1000", "--seeds", "1"]);
    let mut first = long().stderr(Stdio::null()).spawn().unwrap();
    wait_until(&mut first, || {
        !checkpoints(&out.join("darts-first/seed0")).is_empty()
    });
    let told = refused(long());
    first.kill().unwrap();
    first.wait().unwrap();
    let busy = "another process is at work on darts-first with seed 0";
    assert!(told.contains(busy), "{told}");
    assert!(out.join("random/seed0/found.json").exists(), "{told}");
}

#[test]
fn a_cell_that_fails_keeps_no_other_from_being_done() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let told = refused(four_cells(
        &out,
        &["--jobs", "2", "--learning-rate", "1e30", "--clip", "1e30"],
    ));
    let error = "darts-first with seed 1: step";
    assert!(
        told.contains(error) && told.contains("has diverged"),
        "{told}"
    );
    for seed in 0..2 {
        assert!(out.join(format!("random/seed{seed}/found.json")).exists());
    }
}

#[test]
fn what_cannot_be_done_at_a_time_or_by_shares_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    for (more, told) in [
        (&["--share", "3/2"][..], "I/N is needed"),
        (&["--share", "1/2", "--collect"], "cannot be used with"),
        (
            &["--grid", "gamma=1,2"],
            "none of these methods depends on `gamma`",
        ),
        (
            &["--against", "lease"],
            "none of the methods darts-first, random",
        ),
        (&["--collect"], "no cell of this comparison is done"),
        #[cfg(target_os = "linux")]
        (
            &["--seeds", "1000", "--jobs", "1000", "--channels", "64"],
            "doing 1000 cells at a time needs about",
        ),
    ] {
        let refused = refused(four_cells(&out, more));
        assert!(refused.contains(told), "{refused}");
        assert!(!out.join("random").exists(), "{refused}");
    }
    for (method, told) in [
        ("drnas", "say drnas:preset=drnas"),
        (
            "evolution",
            "it is none of lease, darts, darts-first, random and random-search",
        ),
    ] {
        let mut command = lease(&["compare", method, "--out"]);
        let refused = refused_by(command.arg(&out));
        assert!(refused.contains(told), "{refused}");
    }
}
