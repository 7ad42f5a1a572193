//! `cargo xtask serve`: the book, in a browser, from Rust alone.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The mdBook that the book is tested with: that of the library in `Cargo.lock`.
pub use mdbook_preprocessor::MDBOOK_VERSION;

use crate::workspace::Workspace;

/// Serves the book until Ctrl-C. Does not return if mdBook could be started.
///
/// # Errors
///
/// Fails if mdBook cannot be installed, or the port is in use.
pub fn serve(workspace: &Workspace, port: u16, open: bool) -> Result<()> {
    let mdbook = mdbook(workspace)?;
    // mdBook would say so only after it has built the book.
    TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("cannot serve on port {port}: choose another with --port"))?;
    let mut serve = Command::new(mdbook);
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
    run(serve)
}

/// Becomes mdBook: what ends this process, ends it.
#[cfg(unix)]
fn run(mut mdbook: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(mdbook.exec()).context("cannot start mdBook")
}

#[cfg(not(unix))]
fn run(mut mdbook: Command) -> Result<()> {
    let status = mdbook.status().context("cannot start mdBook")?;
    ensure!(status.success(), "mdBook ended with {status}");
    Ok(())
}

/// mdBook of the version that the book is tested with: one on the PATH, or one
/// that is installed below `target/`, once.
///
/// # Errors
///
/// Fails if it can be neither found nor installed.
pub fn mdbook(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.target().join(format!("mdbook-{MDBOOK_VERSION}"));
    let own = root
        .join("bin")
        .join(format!("mdbook{}", std::env::consts::EXE_SUFFIX));
    for mdbook in [PathBuf::from("mdbook"), own.clone()] {
        let version = Command::new(&mdbook)
            .arg("--version")
            .stderr(Stdio::null())
            .output();
        let right = format!("mdbook v{MDBOOK_VERSION}");
        if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == right) {
            return Ok(mdbook);
        }
    }
    eprintln!(
        "Installing mdBook {MDBOOK_VERSION} below {}, once: this takes a few minutes.",
        workspace.target().display()
    );
    let status = Command::new("cargo")
        .args([
            "install",
            "mdbook",
            "--locked",
            "--version",
            MDBOOK_VERSION,
            "--root",
        ])
        .arg(&root)
        // The workspace's own folder would keep what is needed once only.
        .env_remove("CARGO_TARGET_DIR")
        // Asked for by path: that its folder is not on the PATH is no news.
        .current_dir(workspace.root())
        .status()
        .context("cannot start cargo")?;
    ensure!(
        status.success(),
        "cargo could not install mdBook: see above"
    );
    Ok(own)
}
