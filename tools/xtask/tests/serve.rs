//! The book is served: by `cargo xtask serve`, and by mdBook itself.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use book::workspace::Workspace;
use stage::{mdbook, process::Process};

#[test]
#[ignore = "needs minutes: it installs mdBook, unless that is installed already"]
fn book_is_served() -> Result<()> {
    // What `serve` does first, and what takes longer than a program may.
    let mdbook = mdbook::find_or_install(&Workspace::at(root()))?;
    let port = TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port()
        .to_string();

    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["serve", "--open=no", "--port", &port]);
    serves(xtask, &port).context("cargo xtask serve")?;

    let mut mdbook = Command::new(mdbook);
    mdbook.args(["serve", "--hostname", "127.0.0.1", "--port", &port]);
    serves(mdbook, &port).context("mdbook serve")
}

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("tools/xtask is in the workspace")
}

fn serves(mut command: Command, port: &str) -> Result<()> {
    command.current_dir(root());
    let mut program = Process::start(command)?;
    program.wait_for(" INFO Serving on:")?;
    for (path, expected) in [
        ("/", "gRPC in Rust, with tonic"),
        ("/hello-world/run.html", "listening on 127.0.0.1:50051"),
    ] {
        let page = get(port, path)?;
        ensure!(
            page.starts_with("HTTP/1.1 200"),
            "{path}: {}",
            page.lines().next().unwrap_or_default()
        );
        ensure!(
            page.contains(expected),
            "{path} does not contain `{expected}`"
        );
    }
    Ok(())
}

fn get(port: &str, path: &str) -> Result<String> {
    // mdBook prints its line just before it listens.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut socket = loop {
        match TcpStream::connect(format!("127.0.0.1:{port}")) {
            Ok(socket) => break socket,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::yield_now(),
        }
    };
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    Ok(response)
}
