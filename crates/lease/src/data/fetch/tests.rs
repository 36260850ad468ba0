use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

const IMAGES: usize = 300_000;

/// An archive that has, beside what is wanted, a file that would go elsewhere.
fn packed() -> (Archive, Vec<u8>) {
    let mut state = 1u32;
    let noise: Vec<u8> = (0..IMAGES)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in [
        ("set/images.bin", noise.as_slice()),
        ("set/readme.html", b"<p>"),
        ("set/names.txt", b"cat\ndog\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    let hash = Sha256::digest(&bytes);
    let archive = Archive {
        name: "set",
        url: "",
        file: "set.tar.gz",
        bytes: bytes.len() as u64,
        sha256: hash.iter().map(|b| format!("{b:02x}")).collect(),
        folder: "set",
        files: &[("images.bin", Some(IMAGES as u64)), ("names.txt", None)],
    };
    (archive, bytes)
}

/// What a server does with one connection.
#[derive(Clone, Copy)]
enum Does {
    /// Sends what is asked for.
    Sends,
    /// Sends all, whatever part is asked for.
    SendsAll,
    /// Says that it sends what is asked for, and hangs up after so many bytes.
    HangsUp(usize),
    /// The same, and says nothing more after so many bytes.
    Stalls(usize),
    /// Sends other bytes.
    SendsWrong,
    /// Answers so.
    Answers(&'static str),
    /// Accepts the connection and says nothing.
    IsSilent,
}

struct Server {
    url: String,
    /// The `Range` of each request.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that does one thing with each connection, in turn, and the last with all later ones.
    fn new(bytes: Vec<u8>, does: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
        let ranges: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = ranges.clone();
        // It ends with the tests.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let does = does[number.min(does.len() - 1)];
                // A client that is gone ends the connection alone.
                let _ = answer(stream.unwrap(), &bytes, does, &seen);
            }
        });
        Self { url, ranges }
    }

    fn asked(&self) -> Vec<String> {
        self.ranges.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    bytes: &[u8],
    does: Does,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut range = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(wanted) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = wanted.trim().trim_end_matches('-').into();
        }
    }
    seen.lock().unwrap().push(range.clone());
    let from: usize = match does {
        Does::SendsAll | Does::SendsWrong => 0,
        _ => range.parse().unwrap_or(0),
    };
    let (rest, all) = (&bytes[from.min(bytes.len())..], bytes.len());
    let head = match from {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {all}\r\n\r\n"),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{all}\r\n\r\n",
            rest.len(),
            all - 1
        ),
    };
    let send = |stream: &mut TcpStream, body: &[u8]| {
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    };
    match does {
        Does::Sends | Does::SendsAll => send(&mut stream, rest),
        Does::HangsUp(after) => send(&mut stream, &rest[..after]),
        Does::Stalls(after) => {
            send(&mut stream, &rest[..after])?;
            until_gone(&mut stream)
        }
        Does::SendsWrong => send(&mut stream, &vec![7; all]),
        Does::Answers(status) => {
            let text =
                format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<p>no");
            stream.write_all(text.as_bytes())
        }
        Does::IsSilent => until_gone(&mut stream),
    }
}

fn until_gone(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

/// Remembers what it hears, and stops after so many bytes.
struct Heard<'a> {
    notes: Vec<String>,
    stop_at: u64,
    stop: &'a AtomicBool,
}

impl Observer for Heard<'_> {
    fn reached(&mut self, done: u64, _: u64) {
        if done >= self.stop_at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn note(&mut self, message: &str) {
        self.notes.push(message.into());
    }
}

fn fetched(server: &Server, into: &Path, stop_at: u64) -> (Result<Fetched, FetchError>, String) {
    let fetch = Fetch {
        url: Some(server.url.clone()),
        patience: Duration::from_millis(300),
        attempts: 2,
        pause: Duration::from_millis(1),
        proxies: false,
        keep: false,
    };
    let stop = AtomicBool::new(false);
    let mut heard = Heard {
        notes: Vec::new(),
        stop_at,
        stop: &stop,
    };
    let fetched = fetch.run(&packed().0, into, &mut heard, &stop);
    (fetched, heard.notes.join("\n"))
}

/// What is in a folder, by name.
fn left(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn assert_there(into: &TempDir) {
    assert_eq!(left(into.path()), ["set"]);
    assert_eq!(left(&into.path().join("set")), ["images.bin", "names.txt"]);
    let names = fs::read_to_string(into.path().join("set/names.txt")).unwrap();
    assert_eq!(names, "cat\ndog\n");
}

fn refused(does: &'static [Does], into: &TempDir) -> (String, usize) {
    let server = Server::new(packed().1, does);
    let told = fetched(&server, into.path(), u64::MAX).0.unwrap_err();
    (told.to_string(), server.asked().len())
}

#[test]
fn a_server_that_hangs_up_and_stalls_is_asked_for_the_rest() {
    let into = tempfile::tempdir().unwrap();
    let does = &[
        Does::HangsUp(100_000),
        Does::Answers("503 Service Unavailable"),
        Does::Stalls(50_000),
        Does::Sends,
    ];
    let server = Server::new(packed().1, does);
    let (done, notes) = fetched(&server, into.path(), u64::MAX);
    assert_eq!(done.unwrap(), Fetched::There(into.path().join("set")));
    assert_eq!(server.asked(), ["", "100000", "100000", "150000"]);
    assert!(
        notes.contains("ended too soon") && notes.contains("nothing came for 0.3 seconds"),
        "{notes}"
    );
    assert_there(&into);
    let (again, _) = fetched(&server, into.path(), u64::MAX);
    assert_eq!(
        again.unwrap(),
        Fetched::AlreadyThere(into.path().join("set"))
    );
    assert_eq!(server.asked().len(), 4);
    fs::remove_file(into.path().join("set/names.txt")).unwrap();
    let (broken, _) = fetched(&server, into.path(), u64::MAX);
    let broken = broken.unwrap_err().to_string();
    assert!(broken.contains("names.txt in it is missing"), "{broken}");
}

#[test]
fn a_stopped_fetch_is_gone_on_with_or_started_anew_where_the_server_knows_no_ranges() {
    for (does, note) in [
        (&[Does::Sends][..], "Going on at"),
        (&[Does::SendsAll][..], "from the start"),
    ] {
        let into = tempfile::tempdir().unwrap();
        let server = Server::new(packed().1, does);
        let (stopped, _) = fetched(&server, into.path(), 1);
        assert_eq!(stopped.unwrap(), Fetched::Stopped);
        assert_eq!(left(into.path()), ["set.tar.gz.partial"]);
        let (done, notes) = fetched(&server, into.path(), u64::MAX);
        done.unwrap();
        assert!(notes.contains(note), "{notes}");
        assert!(server.asked()[1].parse::<u64>().unwrap() > 0);
        assert_there(&into);
    }
}

#[test]
fn wrong_bytes_are_refused_and_an_old_part_that_does_not_fit_is_fetched_anew() {
    let into = tempfile::tempdir().unwrap();
    let (told, asked) = refused(&[Does::SendsWrong], &into);
    assert!(
        told.contains("is not the archive: its SHA-256 is"),
        "{told}"
    );
    assert_eq!((asked, left(into.path()).len()), (1, 0));
    let part = into.path().join("set.tar.gz.partial");
    fs::write(&part, [9; 1000]).unwrap();
    let server = Server::new(packed().1, &[Does::Sends]);
    let (done, notes) = fetched(&server, into.path(), u64::MAX);
    done.unwrap();
    assert!(notes.contains("fetched anew"), "{notes}");
    assert_eq!(server.asked(), ["1000", ""]);
    assert_there(&into);
}

#[test]
fn what_will_not_get_better_is_told_at_once_and_the_rest_after_some_attempts() {
    let into = tempfile::tempdir().unwrap();
    let (told, asked) = refused(&[Does::Answers("404 Not Found")], &into);
    assert!(
        told.contains("404 Not Found; if the address has changed"),
        "{told}"
    );
    assert_eq!(asked, 1);
    let (told, asked) = refused(&[Does::Answers("200 OK")], &into);
    assert!(
        told.contains("it has 5 bytes, but the archive has"),
        "{told}"
    );
    assert_eq!(asked, 1);
    let (told, asked) = refused(&[Does::Answers("503 Service Unavailable")], &into);
    assert!(
        told.contains("503 Service Unavailable, 3 times in a row; 0 % is there"),
        "{told}"
    );
    assert_eq!(asked, 3);
    let (told, asked) = refused(&[Does::IsSilent], &into);
    assert!(
        told.contains("nothing came for 0.3 seconds, 3 times in a row"),
        "{told}"
    );
    assert_eq!(asked, 3);
}
