//! What the program writes to people, and how signals end it.

#![cfg(unix)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;

fn training(out: &Path) -> Command {
    let mut command = lease(&["train", "random:5", "--out", out.to_str().unwrap()]);
    command.args(TINY_TRAINING);
    command
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// A pipe whose reader is gone.
fn closed() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

#[test]
fn results_to_a_closed_pipe_end_quietly_and_to_a_full_disk_with_an_error() {
    for arguments in [
        vec!["search", "--print-config"],
        vec![
            "genotype",
            "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
        ],
        vec!["search", "--help"],
    ] {
        let output = lease(&arguments).stdout(closed()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), told.as_str()), (Some(0), ""));
    }
    let mut command = lease(&["search", "--print-config"]);
    let told = refused_by(command.stdout(full()));
    assert!(
        told.starts_with("error: cannot write to standard output: No space left"),
        "{told}"
    );
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let result = |name: &str, stderr: Stdio| {
        let out = folder.path().join(name);
        let status = training(&out).stderr(stderr).stdout(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(0), "{name}");
        fs::read(out.join("result.json")).unwrap()
    };
    let whole = result("whole", Stdio::null());
    assert_eq!(result("full", full().into()), whole);
    assert_eq!(result("closed", closed().into()), whole);
}

#[test]
fn files_have_the_modes_that_the_umask_gives() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let line = format!(
        "umask 027; exec {} train random:5 --out {} {}",
        env!("CARGO_BIN_EXE_lease"),
        run.display(),
        TINY_TRAINING.join(" ")
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success());
    for file in [
        "config.toml",
        "result.json",
        "metrics.jsonl",
        "weights.safetensors",
    ] {
        let mode = fs::metadata(run.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{file}");
    }
    let newest = checkpoints(&run).pop().unwrap();
    let mode = fs::metadata(newest).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn quiet_says_results_alone_and_json_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut quiet = training(&folder.path().join("quiet"));
    let output = done_by(quiet.arg("--quiet"));
    assert!(output.stderr.is_empty());
    assert!(String::from_utf8_lossy(&output.stdout).contains("Test accuracy"));

    let mut json = training(&folder.path().join("json"));
    let output = done_by(json.args(["--log-format", "json"]));
    let told = String::from_utf8(output.stderr).unwrap();
    let events: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let epochs = events.iter().filter(|e| e["event"] == "epoch");
    assert_eq!(epochs.count(), 3);
    assert!(
        events
            .iter()
            .all(|e| e["level"] == "info" && e["time"].is_f64())
    );

    let mut wrong = lease(&["train", "/nowhere", "--log-format", "json"]);
    let told = refused_by(&mut wrong);
    let error: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&error["event"], &error["level"]),
        (&"error".into(), &"error".into())
    );
}

/// A search that is under way, its progress in a pipe.
fn under_way(run: &Path, command: &mut Command) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let started = Instant::now();
    while fs::metadata(run.join("metrics.jsonl")).map_or(0, |m| m.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.unwrap()
}

#[test]
fn signals_that_ask_to_stop_leave_a_checkpoint_and_say_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    // Long enough that it is still under way when the signal comes, on a machine that is busy too.
    let epochs = ["--epochs", "20"];
    done(search_saving_every("1000", &whole, &epochs));
    for (name, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        // A name that a shell would take apart.
        let stopped = folder.path().join(format!("stopped by{name}"));
        let child = under_way(
            &stopped,
            &mut search_saving_every("1000", &stopped, &epochs),
        );
        signal(&child.id().to_string(), name);
        let output = child.wait_with_output().unwrap();
        // As a program in the background of a script may be told to, and all that it starts with it.
        let told = format!("{name}, if whoever runs this does not ignore it");
        assert_eq!(output.status.code(), Some(status), "{told}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let again = format!("lease search --resume '{}'", stopped.display());
        assert!(told.contains(&again), "{told}");
        // That of the start, and that of the signal.
        assert_eq!(checkpoints(&stopped).len(), 2);
        done(resume(&stopped));
        assert_same_search(&whole, &stopped);
    }
}

#[test]
fn a_selection_that_asks_the_supernet_says_so_and_stops_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let endless =
        "--epochs 1 --method darts-first --selection perturbation --selection-tune-steps 1000000";
    let endless: Vec<&str> = endless.split(' ').collect();
    let mut search = search_saving_every("1000", &run, &endless);
    let mut child = search
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(told.any(|line| line.starts_with("Selecting by perturbation: ")));
    signal(&child.id().to_string(), "-TERM");
    assert!(told.any(|line| line.starts_with("Stopped with a checkpoint. Go on with: ")));
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!run.join("genotype.json").exists());
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let search = search_saving_every("1000", &run, &["--epochs", "20"]);
    let arguments: Vec<_> = search.get_args().map(|a| a.to_str().unwrap()).collect();
    let line = format!(
        "trap '' HUP; exec {} {}",
        env!("CARGO_BIN_EXE_lease"),
        arguments.join(" ")
    );
    let child = under_way(&run, Command::new("sh").args(["-c", &line]));
    signal(&child.id().to_string(), "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(run.join("genotype.json").is_file());
}
