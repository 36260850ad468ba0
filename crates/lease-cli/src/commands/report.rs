//! `lease report`: a page about a run, a training or a comparison.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use lease::Error;
use lease::report::{self, Server};

use crate::Ended;
use crate::terminal::{self, Level, signals};

/// Write a page about a run, a training or a comparison: one HTML file that needs nothing else, made from the folder's
/// files as far as they go.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of a run, a search, a training or a comparison, finished or not
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Where the page goes [default: report.html in the folder]
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    out: Option<PathBuf>,
    /// Keep the page up to date for a browser instead, until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Where to listen: a port on this machine alone, or ADDRESS:PORT, such as 0.0.0.0:6007 for the network, which then can
    /// read the page
    #[arg(long, value_name = "[ADDRESS:]PORT", default_value = "6007", requires = "serve", value_parser = listening)]
    bind: SocketAddr,
}

/// An address to listen on; of a port alone that of this machine.
fn listening(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let address = text.replace("localhost", "127.0.0.1");
    port.ok()
        .or_else(|| address.parse().ok())
        .ok_or_else(|| "a port or ADDRESS:PORT is needed, such as 6007 or 127.0.0.1:6007".into())
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    if arguments.serve {
        return serve(arguments);
    }
    let page = report::write(&arguments.folder, arguments.out.as_deref())?;
    terminal::result(format_args!("Report: {}", page.display()));
    Ok(Ended::Well)
}

fn serve(arguments: &Arguments) -> Result<Ended, Error> {
    let server = Server::new(&arguments.folder, arguments.bind)?;
    terminal::result(format_args!("http://{}/", server.address()));
    if !arguments.bind.ip().is_loopback() {
        let told =
            "The page can be read from the network: leave --bind out to keep it to this machine.";
        terminal::say(Level::Warning, told);
    }
    terminal::say(
        Level::Info,
        "Ctrl-C ends it; a run that is going on is not touched.",
    );
    server.run(&signals::stop_flag_saying("Ending."));
    Ok(Ended::Well)
}

/// Writes the page at the end of a run, where that is wanted. A page that cannot be written is no reason for the run to fail.
pub fn after(folder: &Path, wanted: bool) {
    if !wanted {
        return;
    }
    match report::write(folder, None) {
        Ok(page) => terminal::result(format_args!("Report: {}", page.display())),
        Err(error) => terminal::say(
            Level::Warning,
            format_args!("no report was written: {error}"),
        ),
    }
}
