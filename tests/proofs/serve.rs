//! The book is served: by `cargo xtask serve`, and by mdBook alone.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use harness::{Result, workspace};
use xtask::{program::Program, serve};

#[test]
#[ignore = "needs minutes: it installs mdBook if it is not there"]
fn the_book_is_served() -> Result {
    // What `serve` does first, and what takes longer than a program may.
    let mdbook = serve::mdbook(&workspace())?;
    let port = TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port()
        .to_string();

    let mut xtask = Command::new("cargo");
    xtask
        .args("xtask serve --open=no --port".split(' '))
        .arg(&port);
    serves(xtask, &port).context("cargo xtask serve")?;

    let mut mdbook = Command::new(mdbook);
    mdbook.args(["serve", "--hostname", "127.0.0.1", "--port", &port]);
    serves(mdbook, &port).context("mdbook serve")
}

fn serves(mut command: Command, port: &str) -> Result {
    command.current_dir(workspace().root());
    let mut program = Program::start(command)?;
    program.wait_for(" INFO Serving on:")?;
    for (path, holds) in [
        ("/", "gRPC in Rust, with tonic"),
        ("/hello-world/run.html", "listening on 127.0.0.1:50051"),
    ] {
        let page = get(port, path)?;
        ensure!(
            page.starts_with("HTTP/1.1 200"),
            "{path}: {}",
            page.lines().next().unwrap_or_default()
        );
        ensure!(page.contains(holds), "{path} does not hold `{holds}`");
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
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
