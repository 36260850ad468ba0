//! Running the program in tests.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A search that takes seconds, with a checkpoint after every step.
pub const TINY: &[&str] = &[
    "--dataset",
    "digits",
    "--limit",
    "200",
    "--channels",
    "2",
    "--batch",
    "20",
    "--audience-width",
    "0.1",
    "--seed",
    "3",
];

pub const TINY_TRAINING: &[&str] = &[
    "--dataset",
    "digits",
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

pub fn lease(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lease"));
    command.args(arguments);
    command
}

pub fn done(mut command: Command) -> Output {
    done_by(&mut command)
}

pub fn done_by(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    output
}

/// What the program says when it refuses; it must not panic.
pub fn refused(mut command: Command) -> String {
    refused_by(&mut command)
}

pub fn refused_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && !stderr.contains("panicked"),
        "{stderr}"
    );
    stderr
}

pub fn search_saving_every(seconds: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["search", "--out", out.to_str().unwrap()]);
    command
        .args(TINY)
        .args(["--checkpoint-seconds", seconds])
        .args(more);
    if !more.contains(&"--space") {
        command.args(["--nodes", "1"]);
    }
    if !more.contains(&"--epochs") {
        command.args(["--epochs", "3"]);
    }
    command
}

pub fn search(out: &Path, more: &[&str]) -> Command {
    search_saving_every("0", out, more)
}

pub fn resume(run: &Path) -> Command {
    lease(&["search", "--resume", run.to_str().unwrap()])
}

pub fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = run.join("checkpoints").read_dir() else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths
}

/// Waits until something holds while a process is at work.
pub fn wait_until(child: &mut Child, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until there is a checkpoint of this step, or a later one, while a process is at work.
pub fn wait_for_checkpoint(child: &mut Child, run: &Path, step: u64) {
    let name = format!("step-{step:09}.safetensors");
    wait_until(child, || {
        let newest = checkpoints(run).pop();
        newest.is_some_and(|p| p.file_name().unwrap() >= name.as_str())
    });
}

/// Sends a signal, as in `-TERM`, to the process of this number.
pub fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args([name, pid]).status();
    assert!(sent.unwrap().success());
}

/// Starts a command and kills it (SIGKILL) once the checkpoint of this step is there.
pub fn kill_after(mut command: Command, run: &Path, step: u64) {
    let mut child: Child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_checkpoint(&mut child, run, step);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What must not depend on interruptions.
pub fn assert_same_search(a: &Path, b: &Path) {
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
