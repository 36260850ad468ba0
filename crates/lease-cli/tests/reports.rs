//! Pages about runs, and what else shows them.

#![cfg(unix)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;

fn report(folder: &Path, more: &[&str]) -> Command {
    let mut command = lease(&["report", folder.to_str().unwrap()]);
    command.args(more);
    command
}

fn stdout(command: Command) -> String {
    String::from_utf8(done(command).stdout).unwrap()
}

/// The event files for TensorBoard in a folder.
fn events(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .filter(|p| p.to_str().unwrap().contains("tfevents"))
        .collect()
}

#[test]
fn a_search_ends_with_a_page_and_finds_the_same_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let [with, without] = ["with", "without"].map(|name| folder.path().join(name));
    let told = stdout(search(&with, &["--tensorboard"]));
    assert!(told.contains("report.html"), "{told}");
    let told = stdout(search(&without, &["--report", "false"]));
    assert!(!told.contains("report.html"), "{told}");
    assert_same_search(&with, &without);
    assert!(
        !without.join("report.html").exists() && !without.join("explanations.safetensors").exists()
    );
    assert_eq!((events(&with).len(), events(&without).len()), (1, 0));
    let page = fs::read_to_string(with.join("report.html")).unwrap();
    for part in [
        "id=\"cells\"",
        "id=\"supernet\"",
        "id=\"explanations\"",
        "id=\"learning\"",
        "data:image/png",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Nothing in it leads anywhere.
    for outside in ["http://", "https://", "src=\"/", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }

    // It is written over pages alone.
    let settings = with.join("config.toml");
    let before = fs::read(&settings).unwrap();
    let told = refused(report(&with, &["--out", settings.to_str().unwrap()]));
    assert!(told.contains("is no page of lease's"), "{told}");
    assert_eq!(fs::read(&settings).unwrap(), before);
    stdout(report(&with, &[]));

    // A page that cannot be written does not fail the run, which has its one event file still.
    fs::remove_file(with.join("report.html")).unwrap();
    fs::create_dir_all(with.join("report.html/taken")).unwrap();
    let output = done(resume(&with));
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warned.contains("warning: no report was written"),
        "{warned}"
    );
    assert_eq!(events(&with).len(), 1);
}

#[test]
fn runs_are_shown_as_far_as_their_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    done(search(&run, &["--space", "nas-bench-201", "--cells", "1"]));
    let told = stdout(lease(&["show", run.to_str().unwrap(), "--width", "50"]));
    assert!(
        told.contains("has ended") && told.contains("▼") && told.contains("explainer, validation"),
        "{told}"
    );
    // As it is while it goes on: a line is half written, and there is no result.
    let log = fs::read(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), &log[..log.len() - 40]).unwrap();
    for file in ["genotype.json", "timing.jsonl", "explanations.safetensors"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    let told = stdout(lease(&["show", run.to_str().unwrap()]));
    assert!(told.contains("has done 2 of 3 epochs"), "{told}");
    done(report(&run, &[]));
    // And at its very start.
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    done(report(&run, &[]));
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("nothing was measured yet"));
    done(lease(&["show", run.to_str().unwrap()]));

    let told = refused(report(folder.path(), &[]));
    assert!(told.contains("is no run, training or comparison"), "{told}");
    let told = refused(report(&folder.path().join("absent"), &[]));
    assert!(told.contains("cannot read the folder"), "{told}");
}

/// The answer to a request, as it comes.
fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_served_page_tells_news_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir_all(&run).unwrap();
    fs::write(
        run.join("run.json"),
        r#"{"kind": "search", "dataset": "digits"}"#,
    )
    .unwrap();
    let mut server = report(&run, &["--serve", "--bind", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_string();
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    let get = |path: &str, host: &str| {
        asked(
            &address,
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        )
    };
    let page = get("/", "localhost:1");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("data-version="),
        "{page}"
    );
    for (path, status) in [
        ("/../../etc/passwd", "404"),
        ("/run.json", "404"),
        ("/%2e%2e/run.json", "404"),
    ] {
        assert!(
            get(path, "127.0.0.1").starts_with(&format!("HTTP/1.1 {status}")),
            "{path}"
        );
    }
    assert!(get("/", "elsewhere.example").starts_with("HTTP/1.1 403"));
    let post = asked(
        &address,
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    let before = get("/version", &address);
    assert_eq!(
        before.lines().last(),
        get("/version", &address).lines().last()
    );
    fs::write(
        run.join("metrics.jsonl"),
        "{\"kind\":\"step\",\"step\":0,\"epoch\":0}\n",
    )
    .unwrap();
    assert_ne!(
        before.lines().last(),
        get("/version", &address).lines().last()
    );
    // SAFETY: the process is our child and not waited for yet. Not SIGINT, which programs in the background may ignore.
    unsafe { libc::kill(server.id() as i32, libc::SIGTERM) };
    assert!(server.wait().unwrap().success());
}
