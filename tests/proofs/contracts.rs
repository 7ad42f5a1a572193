//! The contracts are clean: `buf` finds nothing, and no client that was built
//! from `published.binpb` breaks.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use harness::{Result, workspace};
use xtask::workspace::Workspace;

use crate::succeeded;

/// The contracts as they were last published.
const PUBLISHED: &str = "tests/proofs/published.binpb";

/// How to publish them; add `-o` and a file.
const BUILD: [&str; 3] = ["build", "--as-file-descriptor-set", "--exclude-source-info"];

#[test]
#[ignore = "needs buf"]
fn lint_finds_nothing() -> Result {
    lint(&workspace())
}

#[test]
#[ignore = "needs buf"]
fn they_are_formatted() -> Result {
    format(&workspace())
}

#[test]
#[ignore = "needs buf"]
fn no_published_client_breaks() -> Result {
    breaking(&workspace())
}

#[test]
#[ignore = "needs buf"]
fn all_that_is_there_is_published() -> Result {
    published(&workspace())
}

/// Names, packages and folders after buf's standard rules.
pub fn lint(workspace: &Workspace) -> Result {
    buf(workspace, &["lint"])
}

/// The layout that `buf format` gives.
pub fn format(workspace: &Workspace) -> Result {
    buf(workspace, &["format", "--diff", "--exit-code"])
}

/// What a client that was built from the published contracts depends on.
pub fn breaking(workspace: &Workspace) -> Result {
    buf(workspace, &["breaking", "--against", PUBLISHED])
}

/// Whether the published contracts are these: one that was added and not
/// published would be free to break.
pub fn published(workspace: &Workspace) -> Result {
    let dir = tempfile::tempdir()?;
    let now = dir.path().join("now.binpb");
    buf(
        workspace,
        &[&BUILD[..], &["-o", &now.to_string_lossy()]].concat(),
    )?;
    ensure!(
        fs::read(now)? == fs::read(workspace.root().join(PUBLISHED))?,
        "proto/ has what {PUBLISHED} has not. Publish it: buf {} -o {PUBLISHED}",
        BUILD.join(" ")
    );
    Ok(())
}

fn buf(workspace: &Workspace, arguments: &[&str]) -> Result {
    let output = Command::new("buf")
        .args(arguments)
        .current_dir(workspace.root())
        .output()
        .context("cannot start buf: install the npm package @bufbuild/buf")?;
    succeeded(&format!("buf {} finds", arguments.join(" ")), &output)
}
