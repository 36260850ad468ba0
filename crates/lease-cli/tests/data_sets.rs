//! `lease data`: data sets made, fetched and looked at.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use common::{done, lease, refused, refused_by};

#[test]
fn shapes_are_written_to_a_folder_that_a_search_reads() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shapes");
    let path = folder.to_str().unwrap();
    let sizes = [
        "--side",
        "16",
        "--classes",
        "2",
        "--count",
        "40",
        "--test-count",
        "4",
    ];
    let mut made = lease(&["data", "shapes", path]);
    made.args(sizes);
    let told = String::from_utf8(done(made).stdout).unwrap();
    assert!(
        told.starts_with("40 training and 4 test images of 2 classes, 16 × 16 pixels"),
        "{told}"
    );
    let sheet = root.path().join("sheet.png");
    let looked = lease(&[
        "data",
        "check",
        path,
        "--image-size",
        "16",
        "--json",
        "--sheet",
        sheet.to_str().unwrap(),
    ]);
    let looked: serde_json::Value = serde_json::from_slice(&done(looked).stdout).unwrap();
    assert_eq!(looked["dataset"], "folder");
    assert_eq!(looked["masks"], true);
    assert_eq!(looked["classes"][1]["train"], 20);
    assert!(std::fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    // A sheet is not written over a photo.
    let photo = folder.join("train/disc/000000.png");
    let before = std::fs::read(&photo).unwrap();
    let mut over = lease(&["data", "check", path, "--sheet"]);
    let told = refused_by(over.arg(&photo));
    assert!(told.contains("is there already and is another"), "{told}");
    assert_eq!(std::fs::read(&photo).unwrap(), before);
    let run = root.path().join("run");
    let mut search = lease(&[
        "search",
        "--out",
        run.to_str().unwrap(),
        "--dataset",
        "folder",
        "--path",
        path,
    ]);
    search.args([
        "--image-size",
        "16",
        "--epochs",
        "1",
        "--batch",
        "10",
        "--channels",
        "2",
        "--cells",
        "3",
    ]);
    search.args([
        "--nodes",
        "1",
        "--audience-width",
        "0.1",
        "--method",
        "darts-first",
    ]);
    done(search);
    std::fs::write(folder.join("train/disc/000000.png"), b"no image").unwrap();
    let broken = lease(&["data", "check", path]).output().unwrap();
    let told = String::from_utf8_lossy(&broken.stdout);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        told.contains("Broken: 1") && told.contains("It cannot be used"),
        "{told}"
    );
    let mut again = lease(&["data", "shapes", path]);
    again.args(["--count", "3"]);
    assert!(refused(again).contains("each of the 6 classes needs an image"));
}

#[test]
fn the_official_address_is_asked_through_the_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        // The rest of the head.
        lines.find(|line| line.as_ref().unwrap().is_empty());
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        first
    });
    let out = tempfile::tempdir().unwrap();
    let fetch = |proxy: &str| {
        let mut command = lease(&[
            "data",
            "fetch",
            "cifar10",
            "--out",
            out.path().to_str().unwrap(),
        ]);
        for name in [
            "ALL_PROXY",
            "all_proxy",
            "https_proxy",
            "NO_PROXY",
            "no_proxy",
            "SSL_CERT_FILE",
        ] {
            command.env_remove(name);
        }
        command.env("HTTPS_PROXY", proxy);
        refused(command)
    };
    let told = fetch(&address);
    let wanted = "cannot fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
    assert!(told.contains(wanted), "{told}");
    assert_eq!(
        asked.join().unwrap(),
        "CONNECT www.cs.toronto.edu:443 HTTP/1.1"
    );
    let told = fetch("no proxy");
    assert!(told.contains("HTTPS_PROXY cannot be used"), "{told}");
}
