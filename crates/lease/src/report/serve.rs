//! The page about a folder, kept up to date for a browser.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response};

use super::page::page;
use super::read::Subject;
use crate::Error;

/// How long the server waits for a request before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// Files that say where a run stands, in its folder and the folders in it.
const WATCHED: [&str; 10] = [
    "metrics.jsonl",
    "timing.jsonl",
    "genotype.json",
    "result.json",
    "found.json",
    "comparison.json",
    "run.json",
    "config.toml",
    "metrics.jsonl.gz",
    "explanations.safetensors",
];

/// A server of one page. It knows two addresses, the page and its version; no request names a file.
pub struct Server {
    http: tiny_http::Server,
    folder: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// A server for the page about this folder. With port 0 the system chooses one.
    ///
    /// # Errors
    /// If the folder is no run, training or comparison, or nothing can listen there.
    pub fn new(folder: &Path, address: SocketAddr) -> Result<Self, Error> {
        Subject::read(folder)?;
        let refused = |e: &dyn std::fmt::Display| {
            Error::Usage(format!(
                "cannot listen on {address} ({e}); choose another address or port with --bind ADDRESS:PORT, or port 0 for a free one"
            ))
        };
        let http = tiny_http::Server::http(address).map_err(|e| refused(&e))?;
        let address = http.server_addr().to_ip().unwrap_or(address);
        Ok(Self {
            http,
            folder: folder.into(),
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is set. What goes wrong with one request ends with that request.
    pub fn run(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if let Ok(Some(request)) = self.http.recv_timeout(PATIENCE) {
                self.answer(request);
            }
        }
    }

    fn answer(&self, request: Request) {
        let (status, kind, body) = self.reply(&request);
        let headers = [
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ];
        let mut response = Response::from_data(body).with_status_code(status);
        for (name, value) in headers {
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        }
        // A browser that has gone needs no answer.
        let _ = request.respond(response);
    }

    fn reply(&self, request: &Request) -> (u16, &'static str, Vec<u8>) {
        const TEXT: &str = "text/plain; charset=utf-8";
        if !matches!(request.method(), Method::Get | Method::Head) {
            return (405, TEXT, b"only GET is answered\n".into());
        }
        if !self.is_for_us(request) {
            return (
                403,
                TEXT,
                b"this server answers only to its own address\n".into(),
            );
        }
        match request.url().split('?').next() {
            Some("/") => {
                let version = version(&self.folder);
                match Subject::read(&self.folder) {
                    Ok(subject) => (
                        200,
                        "text/html; charset=utf-8",
                        page(&subject, Some(&version)).into_bytes(),
                    ),
                    Err(error) => (503, TEXT, format!("{error}\n").into_bytes()),
                }
            }
            Some("/version") => (200, TEXT, version(&self.folder).into_bytes()),
            _ => (404, TEXT, b"there is only /\n".into()),
        }
    }

    /// Whether the name by which the browser came is one of this machine's own, so that no other page can read this one by
    /// having its name lead here. Who has it listen to the network takes what comes.
    fn is_for_us(&self, request: &Request) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let mut headers = request.headers().iter();
        let Some(host) = headers.find(|header| header.field.equiv("Host")) else {
            return false;
        };
        let host = host.value.as_str();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        name.eq_ignore_ascii_case("localhost") || address.is_some_and(|a| a.is_loopback())
    }
}

/// A mark that changes whenever one of the files does that say where the run stands.
fn version(folder: &Path) -> String {
    let mut hash = DefaultHasher::new();
    note(folder, 0, &mut hash);
    format!("{:016x}", hash.finish())
}

/// Comparisons have their logs two folders down.
const DEPTH: usize = 2;

fn note(folder: &Path, depth: usize, hash: &mut DefaultHasher) {
    for name in WATCHED {
        if let Ok(about) = fs::metadata(folder.join(name)) {
            (name, about.len(), about.modified().ok()).hash(hash);
        }
    }
    if depth == DEPTH {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut inside: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    inside.sort();
    for path in inside {
        note(&path, depth + 1, hash);
    }
}
