//! Listings depend on the same versions and features, so that readers can copy the lines and cargo
//! compiles what stands below only once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::{Fault, Rule, fault, fixture::MANIFEST};
use crate::{Problem, markdown::line_with, workspace::read};

/// Dependencies that may differ between listings, with the reason. An entry that is no longer
/// needed is a problem.
const MAY_DIFFER: &[(&str, &str)] = &[
    ("rcgen", "only transport-security reads certificates back"),
    ("reqwest", "only authentication calls a server with TLS"),
    (
        "tonic",
        "TLS and compression are for the chapters about them",
    ),
    ("tower", "the balancer is for the chapter about it"),
];

/// Every dependency has the version in `Cargo.lock`, and the same value in every listing.
pub const RULE: Rule = Rule::new(
    "dependencies",
    |book| {
        let versions = &book.versions;
        // By section and crate: the value, and where it stands first.
        let mut first: BTreeMap<(&str, String), (toml::Value, String)> = BTreeMap::new();
        let mut differing = BTreeSet::new();
        let mut problems = Vec::new();
        for slug in book.listings.keys() {
            let file = format!("listings/{slug}/Cargo.toml");
            let text = read(&book.workspace.root().join(&file))?;
            let manifest: toml::Table =
                toml::from_str(&text).with_context(|| format!("cannot parse {file}"))?;
            let mut report = |line: usize, message: String| {
                problems.push(Problem::new(&file, line, message));
            };
            if text.contains("workspace = true") {
                report(
                    line_with(&text, "workspace = true"),
                    "something is inherited from the workspace: spell it out, a reader copies this file".to_owned(),
                );
            }
            let rust = (|| manifest.get("package")?.get("rust-version")?.as_str())();
            if rust != Some(versions.rust()) {
                report(
                    line_with(&text, "rust-version"),
                    format!(
                        "rust-version is not {}, as in the workspace's Cargo.toml",
                        versions.rust()
                    ),
                );
            }
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let dependencies = manifest.get(section).and_then(|it| it.as_table());
                for (name, dependency) in dependencies.into_iter().flatten() {
                    let line = dependency_line(&text, section, name);
                    let version = dependency
                        .as_str()
                        .or_else(|| dependency.get("version")?.as_str());
                    let Some(version) = version else {
                        report(
                            line,
                            format!("`{name}` has no version: a listing stands alone"),
                        );
                        continue;
                    };
                    let (other, elsewhere) = first
                        .entry((section, name.clone()))
                        .or_insert_with(|| (dependency.clone(), file.clone()));
                    if !versions.has(name, version) {
                        let locked = versions.all(name);
                        report(
                            line,
                            format!(
                                "`{name}` is {version} here and {locked} in Cargo.lock: write the version that is tested"
                            ),
                        );
                    } else if other != dependency {
                        differing.insert(name.clone());
                        if !MAY_DIFFER.iter().any(|(may, _)| may == name) {
                            report(
                                line,
                                format!(
                                    "`{name}` is {dependency} here and {other} in {elsewhere}: make them equal"
                                ),
                            );
                        }
                    }
                }
            }
        }
        // In the whole book, not in the fixture: that has one listing.
        for (name, _) in MAY_DIFFER {
            if book.listings.len() > 1 && !differing.contains(*name) {
                let message = format!(
                    "`{name}` no longer differs between listings: remove it from MAY_DIFFER"
                );
                problems.push(Problem::new(
                    "tools/book/src/rules/dependencies.rs",
                    1,
                    message,
                ));
            }
        }
        Ok(problems)
    },
    FAULTS,
);

/// The line of `name` below the heading of `section`.
fn dependency_line(text: &str, section: &str, name: &str) -> usize {
    let heading = format!("[{section}]");
    let start = text.lines().position(|line| line.trim() == heading);
    let start = start.unwrap_or_default();
    let below = text.lines().skip(start);
    let offset = below.take_while(|line| {
        !line.starts_with(&format!("{name} =")) && !line.starts_with(&format!("{name}."))
    });
    start + offset.count() + 1
}

const FAULTS: &[Fault] = &[
    fault!(
        "version that was not tested",
        replace(
            MANIFEST,
            "bytes = { version = \"",
            "bytes = { version = \"9"
        ),
        "listings/clock/Cargo.toml:20: `bytes` is 9"
    ),
    fault!(
        "version that differs",
        append(
            "listings/second/Cargo.toml",
            "[package]\nname = \"second\"\nrust-version = \"1.88\"\n\n[dependencies]\nbytes = \"0.1.0\"\n"
        ),
        "listings/second/Cargo.toml:6: `bytes` is 0.1.0 here and"
    ),
    fault!(
        "features that differ",
        append(
            "listings/second/Cargo.toml",
            "[package]\nname = \"second\"\nrust-version = \"1.88\"\n\n[dependencies]\nbytes = \"BYTES\"\n"
        ),
        "listings/second/Cargo.toml:6: `bytes` is"
    ),
    fault!(
        "inherited dependency",
        append(
            "listings/second/Cargo.toml",
            "[package]\nname = \"second\"\nrust-version = \"1.88\"\n\n[dependencies]\nbytes.workspace = true\n"
        ),
        "listings/second/Cargo.toml:6: something is inherited from the workspace"
    ),
    fault!(
        "another Rust",
        replace(
            MANIFEST,
            "rust-version = \"1.88\"",
            "rust-version = \"1.70\""
        ),
        "rust-version is not 1.88"
    ),
];
