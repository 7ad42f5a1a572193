//! The tools of `cargo xtask`, as they are typed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, ensure};
use harness::{Result, workspace};
use xtask::{
    chapter,
    export::export_to_target,
    session::{self, Ports, Which},
    workspace::{Workspace, files_below, read, write},
};

use crate::{assert_none, listings, pages, site::Site, succeeded, transcripts};

/// Runs a tool.
pub fn xtask(arguments: &[&str]) -> Result<Output> {
    Command::new("cargo")
        .arg("xtask")
        .args(arguments)
        .current_dir(workspace().root())
        .output()
        .context("cargo")
}

/// Runs a tool that must fail, and returns what it says.
pub fn refused(arguments: &[&str]) -> Result<String> {
    let output = xtask(arguments)?;
    let message = String::from_utf8(output.stderr)?;
    ensure!(
        !output.status.success(),
        "`cargo xtask {}` does not fail",
        arguments.join(" ")
    );
    ensure!(message.starts_with("error: "), "{message}");
    Ok(message)
}

#[test]
fn each_tool_has_its_help() -> Result {
    let help = String::from_utf8(xtask(&["--help"])?.stdout)?;
    for tool in [
        "serve",
        "export",
        "transcripts",
        "bench",
        "new",
        "wire",
        "preprocess",
    ] {
        ensure!(help.contains(tool), "{help}");
        let output = xtask(&[tool, "--help"])?;
        let help = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success() && help.contains(&format!("Usage: cargo xtask {tool}")),
            "{help}"
        );
    }
    Ok(())
}

#[test]
fn an_unknown_slug_lists_the_known_ones() -> Result {
    for arguments in [
        &["export", "helo", "never-made"][..],
        &["transcripts", "helo"],
    ] {
        let message = refused(arguments)?;
        ensure!(
            message.contains("no listing `helo`") && message.contains("hello-world"),
            "{message}"
        );
    }
    ensure!(!workspace().root().join("never-made").exists());
    Ok(())
}

#[test]
fn export_leaves_a_folder_alone_that_is_not_empty() -> Result {
    let dir = tempfile::tempdir()?;
    write(&dir.path().join("mine.txt"), "mine")?;
    let message = refused(&["export", "hello-world", &dir.path().to_string_lossy()])?;
    ensure!(message.contains("is not an empty folder"), "{message}");
    ensure!(files_below(dir.path())? == [PathBuf::from("mine.txt")]);
    ensure!(fs::read_to_string(dir.path().join("mine.txt"))? == "mine");
    Ok(())
}

#[test]
fn export_refuses_a_folder_that_cargo_would_not_build() -> Result {
    for dir in ["listings/mine", "mine", "./mine"] {
        let message = refused(&["export", "hello-world", dir])?;
        ensure!(message.contains("in the book's own workspace"), "{message}");
        ensure!(!workspace().root().join(dir).exists());
    }
    Ok(())
}

#[test]
fn new_refuses_what_is_no_slug_and_what_is_taken() -> Result {
    for (slug, says) in [
        ("Parcel_Tracking", "is no slug"),
        ("-x", "is no slug"),
        ("hello-world", "is there already"),
    ] {
        let message = refused(&["new", "--", slug])?;
        ensure!(message.contains(says), "{message}");
    }
    Ok(())
}

#[test]
fn serve_says_that_its_port_is_taken() -> Result {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    // mdBook comes first: a stand-in of the right version spares its installation.
    let message = with_stand_in(&["serve", "--port", &port])?;
    ensure!(
        message.contains(&format!("cannot serve on port {port}")) && message.contains("--port"),
        "{message}"
    );
    Ok(())
}

/// Runs a tool with a program on the PATH that says it is mdBook.
fn with_stand_in(arguments: &[&str]) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let stand_in = dir.path().join("mdbook");
    write(
        &stand_in,
        format!("#!/bin/sh\necho mdbook v{}\n", xtask::serve::MDBOOK_VERSION),
    )?;
    #[cfg(unix)]
    fs::set_permissions(
        &stand_in,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(dir.path().to_owned()).chain(std::env::split_paths(&path)),
    )?;
    let output = Command::new("cargo")
        .arg("xtask")
        .args(arguments)
        .env("PATH", path)
        .current_dir(workspace().root())
        .output()?;
    ensure!(!output.status.success());
    Ok(String::from_utf8(output.stderr)?)
}

/// A session that fails shows what the program printed, and leaves the
/// transcripts as they are.
#[test]
fn a_failing_session_shows_what_the_program_printed() -> Result {
    let copy = Copy::new("failing-session")?;
    copy.edit(
        "listings/hello-world/session.toml",
        "-- 127.0.0.1:50051",
        "-- nonsense",
    )?;
    let before = read(&copy.path("listings/hello-world/output/server.txt"))?;
    let message = match session::rewrite(&copy.workspace, "hello-world") {
        Ok(_) => anyhow::bail!("the session does not fail"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        message.contains("the session `the first call` of the listing `hello-world` fails"),
        "{message}"
    );
    ensure!(
        message.contains("Error: cannot listen on nonsense"),
        "{message}"
    );
    ensure!(read(&copy.path("listings/hello-world/output/server.txt"))? == before);
    Ok(())
}

/// A new chapter keeps every rule before its author has typed a word.
#[test]
fn a_new_chapter_is_green() -> Result {
    let copy = Copy::new("new-chapter")?;
    let written = chapter::create(&copy.workspace, "tide-table")?;
    for file in [
        "src/tide-table.md",
        "listings/tide-table/src/lib.rs",
        "proto/tide_table/v1/tide_table.proto",
        "tests/chapters/tide_table.rs",
        "listings/tide-table/output/server.txt",
    ] {
        ensure!(
            written.iter().any(|written| written == file) && copy.path(file).is_file(),
            "{file}: {written:?}"
        );
    }
    ensure!(read(&copy.path("src/SUMMARY.md"))?.contains("[Tide table](tide-table.md)"));
    ensure!(read(&copy.path("tests/chapters/main.rs"))?.contains("mod tide_table;"));
    assert_none(pages::refused(&copy.workspace)?);
    assert_none(pages::orphans(&copy.workspace)?);
    assert_none(pages::unused_anchors(&copy.workspace)?);
    assert_none(listings::odd_versions(&copy.workspace)?);
    assert_none(listings::odd_programs(&copy.workspace)?);
    assert_none(Site::build(&copy.workspace, "new-chapter-site")?.broken_links()?);
    listings::stands_alone(&copy.workspace, "tide-table")?;
    let which = Which::RustAlone;
    transcripts::matches(&copy.workspace, "tide-table", Ports::Free, which)
}

/// Another test may export a listing anew while its programs run.
#[test]
fn what_a_program_has_written_outlives_an_export_and_an_old_source_does_not() -> Result {
    let copy = Copy::new("exported-anew")?;
    let exported = || export_to_target(&copy.workspace, "hello-world");
    let written = exported()?.join("people/jack.person");
    let old = exported()?.join("examples/old.rs");
    write(&written, "")?;
    write(&old, "")?;
    exported()?;
    ensure!(written.exists() && !old.exists());
    fs::remove_dir_all(written.parent().context("its folder")?)?;
    Ok(())
}

/// Keys, for instance, which a program has written into the listing itself.
#[test]
fn what_is_not_to_be_committed_is_not_exported() -> Result {
    let copy = Copy::new("with-keys")?;
    let folder = copy.workspace.listing("hello-world").join("pki");
    write(&folder.join("old/server.key"), "secret")?;
    let exported = || export_to_target(&copy.workspace, "hello-world");
    ensure!(exported()?.join("pki/old/server.key").exists());
    fs::remove_dir_all(exported()?.join("pki"))?;
    write(&folder.join(".gitignore"), "*\n")?;
    ensure!(!exported()?.join("pki").exists());
    Ok(())
}

/// And so do its tests in the clone of a reader who has typed the command, and those
/// that look at every page. What else there is knows nothing of a new chapter.
#[test]
#[ignore = "needs minutes: it builds a second workspace"]
fn a_new_chapter_is_tested_like_the_others() -> Result {
    let copy = Copy::new("new-chapter-tested")?;
    for typed in [
        "cargo xtask new parcel-tracking",
        "cargo xtask transcripts hello-world",
        "cargo test --package parcel-tracking",
        "cargo test --package tests --test snippets",
        "cargo test --package tests --test chapters parcel_tracking",
        "cargo test --package tests --test proofs pages",
    ] {
        let output = harness::typed(typed)
            .current_dir(copy.workspace.root())
            .env("CARGO_TARGET_DIR", copy.workspace.root().join("target"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .output()?;
        succeeded(typed, &output)?;
        let nothing_ran = !String::from_utf8_lossy(&output.stdout).contains(" passed");
        ensure!(!typed.contains(" test ") || !nothing_ran, "{typed}");
    }
    // Gigabytes that nobody else wants.
    Ok(fs::remove_dir_all(copy.path("target"))?)
}

/// A copy of the book, to be changed. There is one at a time: listings of all
/// copies are built in one folder, so that what they need is built once.
pub struct Copy {
    pub workspace: Workspace,
    _alone: MutexGuard<'static, ()>,
}

impl Copy {
    /// Copies all but what is built.
    pub fn new(name: &str) -> Result<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("copies")
            .join(name);
        if root.exists() {
            // But for what was built in it.
            for entry in fs::read_dir(&root)? {
                let path = entry?.path();
                if path.is_dir() && !path.ends_with("target") {
                    fs::remove_dir_all(&path)?;
                } else if path.is_file() {
                    fs::remove_file(&path)?;
                }
            }
        }
        let from = workspace();
        for entry in fs::read_dir(from.root())? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_file() {
                fs::create_dir_all(&root)?;
                fs::copy(&path, root.join(&name))?;
            } else if ![".git", "target", "book"].contains(&name.as_str()) {
                let installed = |file: &Path| {
                    let folders = ["node_modules", ".venv", "gen"];
                    file.iter()
                        .any(|it| folders.iter().any(|folder| it == *folder))
                };
                for file in files_below(&path)?.iter().filter(|it| !installed(it)) {
                    let to = root.join(&name).join(file);
                    fs::create_dir_all(to.parent().unwrap_or(&root))?;
                    fs::copy(path.join(file), to)?;
                }
            }
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("copies-target");
        Ok(Self {
            workspace: Workspace::at(root).building_in(target),
            _alone: alone,
        })
    }

    /// A file of the copy.
    pub fn path(&self, file: &str) -> PathBuf {
        self.workspace.root().join(file)
    }

    /// Replaces `old`, which must be there, in a file.
    pub fn edit(&self, file: &str, old: &str, new: &str) -> Result {
        let text = read(&self.path(file))?;
        ensure!(text.contains(old), "{file} has no `{old}` to change");
        write(&self.path(file), text.replacen(old, new, 1))
    }
}
