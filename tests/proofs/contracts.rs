//! The contracts are clean: `buf` finds nothing, and no client that was built
//! from `published.binpb` breaks.

use std::process::Command;

use anyhow::{Context, ensure};
use harness::{Result, workspace};

/// The contracts as they were last published, by `buf build -o`.
const PUBLISHED: &str = "tests/proofs/published.binpb";

fn buf(arguments: &[&str]) -> Result {
    let output = Command::new("buf")
        .args(arguments)
        .current_dir(workspace().root())
        .output()
        .context("cannot start buf: install the npm package @bufbuild/buf")?;
    ensure!(
        output.status.success(),
        "buf {} finds:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
#[ignore = "needs buf"]
fn lint_finds_nothing() -> Result {
    buf(&["lint"])
}

#[test]
#[ignore = "needs buf"]
fn they_are_formatted() -> Result {
    buf(&["format", "--diff", "--exit-code"])
}

#[test]
#[ignore = "needs buf"]
fn nothing_breaks_a_published_client() -> Result {
    buf(&["breaking", "--against", PUBLISHED])
}

/// Or a contract that was added later would be free to break.
#[test]
#[ignore = "needs buf"]
fn all_that_is_there_is_published() -> Result {
    let dir = tempfile::tempdir()?;
    let now = dir.path().join("now.binpb");
    buf(&[
        "build",
        "--as-file-descriptor-set",
        "--exclude-source-info",
        "-o",
        &now.to_string_lossy(),
    ])?;
    ensure!(
        std::fs::read(now)? == std::fs::read(workspace().root().join(PUBLISHED))?,
        "a contract was added or changed compatibly: publish it with \
         buf build --as-file-descriptor-set --exclude-source-info -o {PUBLISHED}"
    );
    Ok(())
}
