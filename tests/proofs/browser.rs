//! The site in a real browser: every page, theme and width.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use harness::{Result, workspace};
use xtask::page::LANGUAGES;

use crate::{site::Site, succeeded};

/// Console errors, requests to other hosts, what sticks out, axe-core's rules,
/// the copy buttons and the links into the whole listing.
#[test]
#[ignore = "needs Node, Chromium, and the packages of tests/browser/package.json in target/ci"]
fn every_page_is_well_in_every_theme_and_width() -> Result {
    let site = Site::build(&workspace(), "browser-site")?;
    let output = Command::new("node")
        .arg(workspace().root().join("tests/browser/site.mjs"))
        .arg(workspace().target().join("ci"))
        .arg(site.dir())
        .output()
        .context("cannot start node")?;
    succeeded("a page in the browser", &output)
}

/// theme/highlight.js is what its source gives, and knows every language that a
/// page may use.
#[test]
#[ignore = "needs the packages of tests/browser/package.json in target/ci"]
fn the_highlighter_is_built_from_its_source() -> Result {
    let root = workspace().root().to_owned();
    let packages = workspace().target().join("ci/node_modules");
    let output = Command::new(packages.join(".bin/esbuild"))
        .args(["tests/browser/highlight.mjs", "--bundle", "--minify"])
        .env("NODE_PATH", &packages)
        .current_dir(&root)
        .output()
        .context("cannot start esbuild")?;
    succeeded("esbuild", &output)?;
    let built = fs::read(root.join("theme/highlight.js"))?;
    ensure!(
        built == output.stdout,
        "theme/highlight.js is not what tests/browser/highlight.mjs gives: build it as that file says"
    );
    let built = String::from_utf8(built)?;
    for language in LANGUAGES {
        ensure!(
            built.contains(&format!("{language}:")),
            "theme/highlight.js does not know {language}"
        );
    }
    Ok(())
}
