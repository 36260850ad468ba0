//! From a server into a file, which a later attempt goes on with.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::{Archive, Fetch, FetchError, Observer, failed, length};

/// The variables that name a proxy, as curl and others read them.
const PROXIES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// A file of certificates to trust instead of those that come along, as OpenSSL's programs read it.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// The longest pause before a connection is made anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Where an archive comes from.
pub(super) struct Source<'a> {
    pub url: String,
    agent: Agent,
    archive: &'a Archive,
    fetch: &'a Fetch,
}

/// Why an attempt ended before all was there.
enum Trouble {
    /// It may go better next time.
    Passing(String),
    /// It will not.
    Lasting(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Lasting(error)
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(fetch: &'a Fetch, archive: &'a Archive) -> Result<Self, FetchError> {
        let url = fetch.url.clone().unwrap_or_else(|| archive.url.into());
        let patience = Some(fetch.patience);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // What is fetched safely is not redirected to where it is not.
            .https_only(url.starts_with("https:"))
            .user_agent(concat!("lease/", env!("CARGO_PKG_VERSION")))
            // The archive itself, which is compressed already.
            .accept_encoding("identity")
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_send_request(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience);
        config = match fetch.proxies {
            true => config.proxy(proxy()?),
            false => config.proxy(None),
        };
        if let Some(roots) = certificates()? {
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self {
            url,
            agent: config.build().into(),
            archive,
            fetch,
        })
    }

    fn error(&self, reason: impl Into<String>) -> FetchError {
        FetchError::Server {
            url: self.url.clone(),
            reason: reason.into(),
        }
    }

    /// Fetches what the file lacks, with as many connections as that takes, or until it is asked to stop.
    pub(super) fn download(
        &self,
        file: &mut File,
        path: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(), FetchError> {
        let mut failures = 0;
        while !stop.load(Ordering::Relaxed) {
            let before = length(file, path)?;
            if before == self.archive.bytes {
                return Ok(());
            }
            if before > self.archive.bytes {
                file.set_len(0).map_err(|source| failed(path, source))?;
                continue;
            }
            match self.attempt(file, path, before, observer, stop) {
                Ok(()) => (),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(reason)) => {
                    let there = length(file, path)?;
                    failures = if there > before { 1 } else { failures + 1 };
                    if failures > self.fetch.attempts {
                        return Err(self.error(self.given_up(&reason, there)));
                    }
                    observer.note(&format!("{reason}; trying again."));
                    self.pause(failures, stop);
                }
            }
        }
        Ok(())
    }

    fn given_up(&self, reason: &str, there: u64) -> String {
        let share = 100.0 * there as f64 / self.archive.bytes as f64;
        format!(
            "{reason}, {} times in a row; {share:.0} % is there, and the same command goes on",
            self.fetch.attempts + 1
        )
    }

    /// One connection.
    fn attempt(
        &self,
        file: &mut File,
        path: &Path,
        from: u64,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(), Trouble> {
        let mut request = self.agent.get(&self.url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| self.unreached(error))?;
        let at = self.begins(&response, from)?;
        if at != from {
            observer.note("The server cannot go on in the middle; it is fetched from the start.");
        }
        file.set_len(at)
            .and_then(|()| file.seek(SeekFrom::Start(at)))
            .map_err(|source| failed(path, source))?;
        let mut body = response.into_body().into_reader();
        let (mut done, mut buffer) = (at, vec![0; 1 << 16]);
        while !stop.load(Ordering::Relaxed) {
            observer.reached(done, self.archive.bytes);
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(self.unreached(error.into())),
            };
            done += read as u64;
            if done > self.archive.bytes {
                return Err(self.other_size("more than that").into());
            }
            file.write_all(&buffer[..read])
                .map_err(|source| failed(path, source))?;
        }
        if done < self.archive.bytes && !stop.load(Ordering::Relaxed) {
            return Err(Trouble::Passing("the connection ended too soon".into()));
        }
        Ok(())
    }

    /// Where in the archive a response begins, if it is one of the archive.
    fn begins(&self, response: &Response<Body>, from: u64) -> Result<u64, Trouble> {
        let status = response.status();
        let number = |name| -> Option<u64> {
            let text = response.headers().get(name)?.to_str().ok()?;
            text.trim().parse().ok()
        };
        match status {
            StatusCode::OK => match number(header::CONTENT_LENGTH) {
                Some(bytes) if bytes != self.archive.bytes => {
                    Err(self.other_size(&bytes.to_string()).into())
                }
                _ => Ok(0),
            },
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(header::CONTENT_RANGE);
                let range = range.and_then(|text| text.to_str().ok()).unwrap_or_default();
                match span(range) {
                    Some((start, all)) if start == from && all.is_none_or(|all| all == self.archive.bytes) => {
                        Ok(from)
                    }
                    Some((_, Some(all))) if all != self.archive.bytes => {
                        Err(self.other_size(&all.to_string()).into())
                    }
                    _ => Err(self
                        .error(format!(
                            "asked for what comes after {from} bytes, the server answered with `{range}`; remove the file that \
                             ends in .partial, or name another address by --url"
                        ))
                        .into()),
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(self.other_size(&format!("no more than {from}")).into())
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(Trouble::Passing(format!("the server answered {status}")))
            }
            _ if status.is_server_error() => {
                Err(Trouble::Passing(format!("the server answered {status}")))
            }
            _ => Err(self
                .error(format!(
                    "the server answered {status}; if the address has changed, name the new one by --url"
                ))
                .into()),
        }
    }

    fn other_size(&self, bytes: &str) -> FetchError {
        self.error(format!(
            "it has {bytes} bytes, but the archive has {}: what answers is not the archive (some networks answer with a page \
             of their own); open the address in a browser, or name another by --url",
            self.archive.bytes
        ))
    }

    /// What to do about no response at all.
    fn unreached(&self, error: ureq::Error) -> Trouble {
        use ureq::Error;
        match error {
            Error::Timeout(_) => Trouble::Passing(self.silence()),
            Error::Io(error) if is_certificate(&error) => self.untrusted(&error.to_string()),
            Error::Io(error) if is_name(&error) => Trouble::Passing(UNKNOWN.into()),
            Error::Io(error) => Trouble::Passing(cut(&error)),
            Error::HostNotFound => Trouble::Passing(UNKNOWN.into()),
            Error::ConnectionFailed => Trouble::Passing("there is no connection".into()),
            error @ (Error::Rustls(_) | Error::Tls(_)) => self.untrusted(&error.to_string()),
            Error::BadUri(_) | Error::Http(_) => self
                .error("it is no address; one such as https://… is needed")
                .into(),
            Error::RequireHttpsOnly(to) => self
                .error(format!("it leads to {to}, which is not safe"))
                .into(),
            error => self.error(error.to_string()).into(),
        }
    }

    /// Waits a little, longer after each failure.
    fn pause(&self, failures: u32, stop: &AtomicBool) {
        const STEP: Duration = Duration::from_millis(50);
        let all = self.fetch.pause.saturating_mul(1 << failures.min(10));
        let until = Instant::now() + all.min(LONGEST_PAUSE);
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(STEP.min(all));
        }
    }

    fn silence(&self) -> String {
        let seconds = self.fetch.patience.as_secs_f64();
        format!("nothing came for {seconds} seconds")
    }

    fn untrusted(&self, reason: &str) -> Trouble {
        self.error(format!(
            "the connection is not safe ({reason}); where a network puts certificates of its own in between, name the file \
             of these in {CERTIFICATES}"
        ))
        .into()
    }
}

/// What is told where a server's name leads nowhere.
const UNKNOWN: &str = "nobody knows the server's name (is there a connection to the internet, and does HTTPS_PROXY name the \
                       proxy, if there is one?)";

/// Whether an error of a connection is about the server's name. There is no kind of it, but the standard library says so.
fn is_name(error: &io::Error) -> bool {
    error.to_string().contains("failed to lookup address")
}

/// Whether an error of a connection is about its safety.
fn is_certificate(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// What an error in the middle of something says.
fn cut(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection ended too soon".into(),
        _ => format!("the connection failed ({error})"),
    }
}

/// Start and size of the whole of a `Content-Range`, `bytes 5-9/10` or `bytes 5-9/*`.
fn span(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, all) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, all.trim().parse().ok()))
}

/// The proxy that the environment names.
fn proxy() -> Result<Option<Proxy>, FetchError> {
    for name in PROXIES {
        let text = std::env::var(name).unwrap_or_default();
        if !text.is_empty() && Proxy::new(&text).is_err() {
            let reason =
                "it is no address of a proxy; one such as http://proxy.example:3128 is needed";
            return Err(FetchError::Environment {
                name,
                reason: reason.into(),
            });
        }
    }
    Ok(Proxy::try_from_env())
}

/// The certificates that the environment names.
fn certificates() -> Result<Option<RootCerts>, FetchError> {
    let Some(file) = std::env::var_os(CERTIFICATES).filter(|file| !file.is_empty()) else {
        return Ok(None);
    };
    let unusable = |reason: String| FetchError::Environment {
        name: CERTIFICATES,
        reason,
    };
    let shown = Path::new(&file).display();
    let text = std::fs::read(&file).map_err(|e| unusable(format!("cannot read {shown}: {e}")))?;
    let roots: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match roots.is_empty() {
        true => Err(unusable(format!("there is no certificate in {shown}"))),
        false => Ok(Some(RootCerts::Specific(Arc::new(roots)))),
    }
}
