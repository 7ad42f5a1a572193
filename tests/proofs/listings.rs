//! Each listing stands alone, and all agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use harness::{Result, workspace};
use serde::Deserialize;
use xtask::{
    Problem, session,
    versions::Versions,
    workspace::{Workspace, files_below, read, slashed},
};

use crate::{assert_none, succeeded};

#[test]
fn the_manifests_spell_out_the_versions_that_were_tested() -> Result {
    assert_none(odd_versions(&workspace())?);
    Ok(())
}

#[test]
fn the_programs_are_named_after_their_listing() -> Result {
    assert_none(odd_programs(&workspace())?);
    Ok(())
}

/// Exports every listing, builds it outside the workspace and runs its tests.
#[test]
fn each_listing_stands_alone() -> Result {
    let workspace = workspace();
    let slugs = workspace.slugs()?;
    ensure!(!slugs.is_empty(), "there is no listing");
    for slug in slugs {
        stands_alone(&workspace, &slug)?;
    }
    Ok(())
}

/// The command of *Take it home*, but for the folder: a temporary one.
#[test]
fn a_listing_can_be_taken_home() -> Result {
    const TYPED: &str = "cargo xtask export SLUG ../SLUG";
    for slug in workspace().slugs()? {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join(&slug);
        let typed = TYPED
            .replace("../SLUG", &home.to_string_lossy())
            .replace("SLUG", &slug);
        let (program, arguments) = typed.split_once(' ').context("a command has words")?;
        let output = Command::new(program)
            .args(arguments.split(' '))
            .current_dir(workspace().root())
            .output()?;
        succeeded(&typed, &output)?;

        let exported: BTreeSet<String> = files_below(&home)?
            .iter()
            .map(|file| slashed(file))
            .collect();
        for wanted in ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs"] {
            ensure!(
                exported.contains(wanted),
                "{slug}: {wanted} was not exported, only {exported:?}"
            );
        }
        for file in &exported {
            let text = read(&home.join(file))?;
            ensure!(
                !text.contains("ANCHOR"),
                "{slug}: there is an anchor left in the exported {file}"
            );
            ensure!(
                !file.starts_with("output/"),
                "{slug}: the transcript {file} was exported"
            );
        }
    }
    Ok(())
}

/// Builds the exported listing, runs its tests, and checks that cargo compiled
/// each of its Rust files.
pub fn stands_alone(workspace: &Workspace, slug: &str) -> Result {
    let built = session::build(workspace, slug)?;
    let cargo = |arguments: &[&str]| -> Result<String> {
        let output = built
            .command("cargo")
            .args(["test", "--quiet"])
            .args(arguments)
            .output()?;
        ensure!(
            output.status.success(),
            "the listing `{slug}` fails its own tests outside the workspace:\n{}{}\
             What it needs must stand in listings/{slug}/Cargo.toml.",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    let passed: usize = cargo(&[])?
        .lines()
        .filter_map(|line| {
            line.strip_prefix("test result: ok. ")?
                .split(' ')
                .next()?
                .parse::<usize>()
                .ok()
        })
        .sum();
    ensure!(
        passed > 0,
        "the listing `{slug}` has no test: listings/{slug}/tests is what a reader takes home"
    );

    let tested = Versions::read(workspace)?;
    let used: Lock = toml::from_str(&read(&built.dir.join("Cargo.lock"))?)?;
    for Locked { name, version } in used.package {
        ensure!(
            tested.has(&name, &version),
            "the exported listing `{slug}` was built with {name} {version}, and Cargo.lock has {}",
            tested.all(&name)
        );
    }

    let mut compiled = BTreeSet::from([PathBuf::from("build.rs")]);
    for line in cargo(&["--no-run", "--message-format=json"])?.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if message["package_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("path+"))
        {
            for file in message["filenames"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|file| file.as_str())
            {
                compiled.extend(sources_of(Path::new(file), &built.dir));
            }
        }
    }
    // A package inside, which the test names that runs it: cargo-fuzz wants one.
    let inside = |file: &Path| {
        let mut folders = file.ancestors().skip(1);
        folders.any(|it| it != Path::new("") && built.dir.join(it).join("Cargo.toml").exists())
    };
    for file in files_below(&built.dir)? {
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        ensure!(
            !is_rust || inside(&file) || compiled.contains(&file),
            "listings/{slug}/{}:1: cargo compiles no such file: name it in a `mod`, or remove it",
            slashed(&file)
        );
    }
    Ok(())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// The source files of something that was built from the project in `dir`, by
/// the `.d` file beside it.
fn sources_of(built: &Path, dir: &Path) -> Vec<PathBuf> {
    let stem = built.file_stem().unwrap_or_default().to_string_lossy();
    ["", "lib"]
        .iter()
        .filter_map(|prefix| {
            let stem = stem.strip_prefix(prefix)?;
            fs::read_to_string(built.with_file_name(format!("{stem}.d"))).ok()
        })
        .flat_map(|text| {
            // rustc gives each source a line `src/lib.rs:` of its own; cargo, for
            // an example, all of them behind the first colon, from the root.
            let words = text.split_whitespace().map(|word| {
                let word = Path::new(word.trim_end_matches(':'));
                word.strip_prefix(dir).unwrap_or(word).to_owned()
            });
            words.collect::<Vec<_>>()
        })
        .collect()
}

/// Dependencies whose version is missing, differs between listings, or is not
/// the one in `Cargo.lock`.
pub fn odd_versions(workspace: &Workspace) -> Result<Vec<Problem>> {
    let versions = Versions::read(workspace)?;
    let mut first: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut problems = Vec::new();
    for slug in workspace.slugs()? {
        let file = format!("listings/{slug}/Cargo.toml");
        let text = read(&workspace.root().join(&file))?;
        let manifest: toml::Table =
            toml::from_str(&text).with_context(|| format!("cannot understand {file}"))?;
        if text.contains("workspace = true") {
            let message = "something is inherited from the workspace: spell it out, a reader copies this file";
            problems.push(Problem::new(
                &file,
                line_of(&text, "workspace = true"),
                message,
            ));
        }
        let rust = manifest
            .get("package")
            .and_then(|package| package.get("rust-version")?.as_str());
        if rust != Some(versions.of("rust")?) {
            let message = format!(
                "rust-version is not {}, as in the workspace's Cargo.toml",
                versions.of("rust")?
            );
            problems.push(Problem::new(&file, line_of(&text, "rust-version"), message));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in manifest
                .get(section)
                .and_then(|section| section.as_table())
                .into_iter()
                .flatten()
            {
                let line = line_of(&text, &format!("{name} = "));
                let Some(version) = dependency
                    .as_str()
                    .or_else(|| dependency.get("version")?.as_str())
                else {
                    problems.push(Problem::new(
                        &file,
                        line,
                        format!("`{name}` has no version: a listing stands alone"),
                    ));
                    continue;
                };
                let (other, elsewhere) = first
                    .entry(name.clone())
                    .or_insert_with(|| (version.to_owned(), file.clone()));
                if !versions.has(name, version) {
                    let message = format!(
                        "`{name}` is {version} here and {} in Cargo.lock: write the version that is tested",
                        versions.all(name)
                    );
                    problems.push(Problem::new(&file, line, message));
                } else if other != version {
                    let message = format!(
                        "`{name}` is {version} here and {other} in {elsewhere}: make them equal"
                    );
                    problems.push(Problem::new(&file, line, message));
                }
            }
        }
    }
    Ok(problems)
}

/// Programs that another listing's could overwrite in the target folder.
pub fn odd_programs(workspace: &Workspace) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for slug in workspace.slugs()? {
        let file = format!("listings/{slug}/Cargo.toml");
        let text = read(&workspace.root().join(&file))?;
        let manifest: toml::Table = toml::from_str(&text)?;
        let package = manifest
            .get("package")
            .and_then(|package| package.get("name")?.as_str());
        if package != Some(&slug) {
            problems.push(Problem::new(
                &file,
                line_of(&text, "name ="),
                format!("the package is not named `{slug}`"),
            ));
        }
        for bin in manifest
            .get("bin")
            .and_then(|bins| bins.as_array())
            .into_iter()
            .flatten()
        {
            let name = bin
                .get("name")
                .and_then(|name| name.as_str())
                .unwrap_or_default();
            if !name.starts_with(&format!("{slug}-")) {
                let message = format!(
                    "the program `{name}` is not named `{slug}-…`, and may collide with another"
                );
                problems.push(Problem::new(&file, line_of(&text, name), message));
            }
        }
    }
    Ok(problems)
}

fn line_of(text: &str, wanted: &str) -> usize {
    text.lines()
        .position(|line| line.contains(wanted))
        .map_or(1, |at| at + 1)
}
