//! The program as several processes of an MPI job, by Open MPI's `mpirun`.
#![cfg(feature = "mpi")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::*;

/// So many processes of `lease` with these arguments, on the cores that there are.
fn processes(number: usize, command: &Command) -> Command {
    let mut all = Command::new("mpirun");
    all.args(["--oversubscribe", "-n", &number.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        // What containers forbid, and would only be warned of.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    all
}

const PARTS: [&str; 4] = ["--ghost-batches", "4", "--threads", "1"];

/// The process of this rank among the children of `mpirun`.
fn process(mpirun: &Child, rank: usize) -> String {
    let children = format!("/proc/{0}/task/{0}/children", mpirun.id());
    let all = fs::read_to_string(children).unwrap();
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let found = all.split_whitespace().find(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|b| *b == 0)
            .any(|v| v == wanted.as_bytes())
    });
    found.unwrap().into()
}

/// Starts a job, sends a signal to the process of this rank once there is a checkpoint of this step, and waits; what was said.
fn signalled(mut job: Command, run: &Path, step: u64, (name, rank): (&str, usize)) -> String {
    let mut child = job
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_checkpoint(&mut child, run, step);
    signal(&process(&child, rank), name);
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn jobs_of_two_and_four_processes_killed_and_stopped_have_the_bits_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let more = [&PARTS[..], &["--epochs", "6"]].concat();
    done(search(&place("alone"), &more));
    let run = place("together");
    let four = processes(4, &search(&run, &more));
    let told = signalled(four, &run, 2, ("-KILL", 2));
    assert_eq!(told.matches("error").count(), 0, "{told}");
    assert!(told.contains("exited on signal 9"), "{told}");
    let mut again = resume(&run);
    again.args(["--threads", "1"]);
    let told = signalled(processes(2, &again), &run, 12, ("-TERM", 1));
    assert!(told.contains("Resuming after step"), "{told}");
    assert_eq!(
        told.matches("Stopped with a checkpoint").count(),
        1,
        "{told}"
    );
    done(processes(4, &again));
    assert_same_search(&place("alone"), &run);
}

#[test]
fn a_training_of_two_processes_has_the_bits_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let train = |out: &Path| {
        let mut command = lease(&["train", "random:1", "--out", out.to_str().unwrap()]);
        command.args(TINY_TRAINING);
        command.args(["--train-ghost-batches", "2", "--threads", "1"]);
        command
    };
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    done(train(&one));
    done(processes(2, &train(&two)));
    for file in ["metrics.jsonl", "weights.safetensors", "result.json"] {
        let [one, two] = [&one, &two].map(|run| fs::read(run.join(file)).unwrap());
        assert!(one == two, "{file}");
    }
}

#[test]
fn processes_that_cannot_share_a_batch_are_refused_once() {
    let folder = tempfile::tempdir().unwrap();
    let told = refused(processes(2, &search(&folder.path().join("run"), &[])));
    assert_eq!(told.matches("error:").count(), 1, "{told}");
    assert!(told.contains("give --ghost-batches 2"), "{told}");
}
