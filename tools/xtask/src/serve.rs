//! `cargo xtask serve`: the book, in a browser, with only Rust.

use std::{net::TcpListener, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};
use book::workspace::Workspace;
use stage::mdbook;

/// Serves the book until Ctrl-C. Does not return if mdBook could be started: this process becomes
/// mdBook.
///
/// # Errors
///
/// Fails if mdBook cannot be installed, or the port is in use.
pub fn serve(workspace: &Workspace, port: u16, open: bool) -> Result<()> {
    // mdBook would report it only after it has built the book.
    TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("cannot serve on port {port}: choose another with --port"))?;
    let mut serve = Command::new(mdbook::find_or_install(workspace)?);
    serve.current_dir(workspace.root()).args([
        "serve",
        "--hostname",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    if open {
        serve.arg("--open");
    }
    Err(serve.exec()).context("cannot start mdBook")
}
