//! The commands of `cargo xtask`, as they are typed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use book::workspace::{Workspace, files_below, read, write};
use stage::export::export_to_target;

/// The commands of CONTRIBUTING.md and ADMIN.md, whose help is tested here.
const COMMANDS: [&str; 9] = [
    "cargo xtask serve",
    "cargo xtask check hello-world",
    "cargo xtask export hello-world ../hello-world",
    "cargo xtask transcripts hello-world",
    "cargo xtask bench one-way-streams",
    "cargo xtask new parcel-tracking",
    "cargo xtask wire",
    "cargo xtask install-tools",
    "cargo xtask preprocess",
];

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("tools/xtask is in the workspace")
}

fn xtask_in(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = stage::process::command(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(dir);
    command
}

fn run(arguments: &[&str]) -> Result<Output> {
    xtask_in(root(), arguments)
        .output()
        .context("cannot start xtask")
}

/// Runs a command that must fail, and returns what it prints to standard error.
fn expect_failure(arguments: &[&str]) -> Result<String> {
    let output = run(arguments)?;
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
fn every_command_has_help() -> Result<()> {
    let help = String::from_utf8(run(&["--help"])?.stdout)?;
    for command in COMMANDS {
        let name = command.split(' ').nth(2).context("its name")?;
        ensure!(help.contains(name), "{help}");
        let output = run(&[name, "--help"])?;
        let help = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success() && help.contains(&format!("Usage: cargo xtask {name}")),
            "{help}"
        );
    }
    Ok(())
}

#[test]
fn unknown_slug_lists_the_known_ones() -> Result<()> {
    for arguments in [
        &["export", "helo", "never-made"][..],
        &["transcripts", "helo"],
        &["bench", "helo"],
        &["check", "helo"],
    ] {
        let message = expect_failure(arguments)?;
        ensure!(
            message.contains("`helo`") && message.contains("hello-world"),
            "{message}"
        );
    }
    ensure!(!root().join("never-made").exists());
    Ok(())
}

#[test]
fn listing_without_a_benchmark_is_reported() -> Result<()> {
    let message = expect_failure(&["bench", "hello-world"])?;
    let expected = "error: the listing `hello-world` has no example `hello-world-bench`";
    ensure!(message.starts_with(expected), "{message}");
    Ok(())
}

#[test]
fn export_keeps_a_folder_that_is_not_empty() -> Result<()> {
    let dir = tempfile::tempdir()?;
    write(&dir.path().join("mine.txt"), "mine")?;
    let message = expect_failure(&["export", "hello-world", &dir.path().to_string_lossy()])?;
    ensure!(message.contains("is not an empty folder"), "{message}");
    ensure!(files_below(dir.path())? == [PathBuf::from("mine.txt")]);
    ensure!(read(&dir.path().join("mine.txt"))? == "mine");
    Ok(())
}

#[test]
fn export_writes_a_project_and_says_what_to_type_next() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let to = dir.path().join("hello-world");
    let output = run(&["export", "hello-world", &to.to_string_lossy()])?;
    let printed = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && to.join("Cargo.toml").is_file());
    ensure!(
        printed.contains("next, type `cargo test` there"),
        "{printed}"
    );
    Ok(())
}

#[test]
fn exported_listing_is_found_inside_another_workspace() -> Result<()> {
    let dir = tempfile::tempdir()?;
    write(
        &dir.path().join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = []\n",
    )?;
    let to = dir.path().join("hello-world");
    run(&["export", "hello-world", &to.to_string_lossy()])?;
    let output = stage::process::command("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(&to)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(())
}

#[test]
fn export_into_the_clone_is_rejected() -> Result<()> {
    for dir in ["listings/mine", "mine", "./mine"] {
        let message = expect_failure(&["export", "hello-world", dir])?;
        ensure!(message.contains("in the book's own workspace"), "{message}");
        ensure!(!root().join(dir).exists());
    }
    Ok(())
}

#[test]
fn new_rejects_invalid_and_known_slugs() -> Result<()> {
    for (slug, expected) in [
        ("Parcel_Tracking", "is not a slug"),
        ("-x", "is not a slug"),
        ("hello-world", "exists already"),
    ] {
        let message = expect_failure(&["new", "--", slug])?;
        ensure!(message.contains(expected), "{message}");
    }
    Ok(())
}

#[test]
fn serve_reports_a_taken_port() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let message = expect_failure(&["serve", "--port", &port])?;
    ensure!(
        message.contains(&format!("cannot serve on port {port}")) && message.contains("--port"),
        "{message}"
    );
    Ok(())
}

/// What the preprocessor prints is shown by mdBook: the page, the line, and what to do.
#[test]
fn preprocessor_names_page_and_line_of_a_problem() -> Result<()> {
    let copy = Copy::new()?;
    let page = copy.workspace.src().join("setup.md");
    let text = read(&page)?;
    let line = text.lines().count() + 2;
    write(&page, text + "\n```rs\nfn main() {}\n```\n")?;
    let problems = copy.problems()?;
    let expected = format!("src/setup.md:{line}: no proof looks at a block in `rs`");
    ensure!(problems.contains(&expected), "{problems}");
    Ok(())
}

/// A program may still need a file that it has written, while a test exports the listing again.
#[test]
fn export_keeps_runtime_output_and_removes_old_sources() -> Result<()> {
    let copy = Copy::new()?;
    let exported = || export_to_target(&copy.workspace, "hello-world");
    let output = exported()?.join("people/jack.person");
    let old = exported()?.join("examples/old.rs");
    write(&output, "")?;
    write(&old, "")?;
    exported()?;
    ensure!(output.exists() && !old.exists());
    Ok(())
}

/// Keys, for instance, which a program has written into the listing itself.
#[test]
fn ignored_files_are_not_exported() -> Result<()> {
    let copy = Copy::new()?;
    let folder = copy.workspace.listing("hello-world").join("pki");
    write(&folder.join("old/server.key"), "secret")?;
    let exported = || export_to_target(&copy.workspace, "hello-world");
    ensure!(exported()?.join("pki/old/server.key").exists());
    fs::remove_dir_all(exported()?.join("pki"))?;
    write(&folder.join(".gitignore"), "*\n")?;
    ensure!(!exported()?.join("pki").exists());
    Ok(())
}

/// A new chapter keeps every rule before its author has typed a word, and its listing builds and
/// passes its tests. Cargo is not asked to prove the whole copy, which would build it from nothing:
/// the tests of a chapter are found at run time, and its test in `tests/chapters` is a copy of
/// `tests/chapters/template.rs`, which is compiled and run with the others.
#[test]
fn new_chapter_keeps_all_rules_and_its_listing_passes() -> Result<()> {
    let copy = Copy::new()?;
    let output = xtask_in(copy.workspace.root(), &["new", "tide-table"])
        // The listing's dependencies are built already; its name is its own.
        .env("CARGO_TARGET_DIR", Workspace::at(root()).target())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for file in [
        "src/tide-table.md",
        "listings/tide-table/src/lib.rs",
        "proto/tide_table/v1/tide_table.proto",
        "tests/chapters/tide_table.rs",
        "listings/tide-table/output/server.txt",
    ] {
        ensure!(
            printed.contains(file) && copy.workspace.root().join(file).is_file(),
            "{file}: {printed}"
        );
    }
    let root = copy.workspace.root();
    ensure!(read(&root.join("src/SUMMARY.md"))?.contains("[Tide table](tide-table.md)"));
    let modules = read(&root.join("tests/chapters/main.rs"))?;
    ensure!(modules.contains("mod tide_table;\nmod transport_security;"));
    ensure!(read(&root.join("tests/chapters/tide_table.rs"))?.contains("\"tide-table\""));
    let problems = copy.problems()?;
    ensure!(problems.is_empty(), "{problems}");

    let tests = stage::build::build(
        &copy
            .workspace
            .clone()
            .with_target(Workspace::at(self::root()).target()),
        "tide-table",
    )?;
    for executable in tests.tests.values() {
        let output = stage::process::command(executable).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{printed}");
        ensure!(printed.contains("test result: ok"), "{printed}");
    }
    Ok(())
}

/// A copy of the book, to be changed.
struct Copy {
    workspace: Workspace,
    _dir: tempfile::TempDir,
}

impl Copy {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for entry in fs::read_dir(root())? {
            let path = entry?.path();
            let name = path.file_name().context("its name")?.to_owned();
            if path.is_file() {
                fs::copy(&path, dir.path().join(name))?;
            } else if !["target", "book", ".git"].iter().any(|it| name == *it) {
                for file in files_below(&path)? {
                    let to = dir.path().join(&name).join(&file);
                    fs::create_dir_all(to.parent().context("its folder")?)?;
                    fs::copy(path.join(file), to)?;
                }
            }
        }
        let workspace = Workspace::at(dir.path()).with_target(dir.path().join("target"));
        Ok(Self {
            workspace,
            _dir: dir,
        })
    }

    /// What is wrong with the pages and listings of the copy.
    fn problems(&self) -> Result<String> {
        let book = book::Book::load(self.workspace.clone())?;
        let mut problems = String::new();
        for rule in stage::rules() {
            for problem in (rule.check)(&book)? {
                problems += &format!("{problem}\n");
            }
        }
        Ok(problems)
    }
}
