//! The site in a real browser: every page, theme and width.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use book::rules::fences::LANGUAGES;
use harness::{Result, workspace};
use stage::mdbook;

use crate::expect_success;

/// Console errors, requests to other hosts, what sticks out, pictures, axe-core's
/// rules, the copy buttons, the links into the whole listing, the keyboard, the
/// search and the printed book.
#[harness::test(
    exclusive,
    needs = "Node, Chromium, openssl, and the packages of tests/browser/package.json"
)]
fn every_page_works_in_every_theme_and_width() -> Result {
    in_chromium("site.mjs", &[])
}

/// Full marks, few bytes, no font and no other host: for the first page, which has
/// pictures, for two with much code, one with tables, and a whole listing.
#[harness::test(
    exclusive,
    needs = "Node, Chromium, openssl, and the packages of tests/browser/package.json"
)]
fn lighthouse_gives_full_marks() -> Result {
    let pages = [
        "introduction.html",
        "load-balancing/turns.html",
        "deadlines/chain.html",
        "errors/codes.html",
        "service-discovery/listing.html",
    ];
    in_chromium("lighthouse.mjs", &pages)
}

/// Runs a script of `tests/browser/` on the book, and shows what it prints.
fn in_chromium(script: &str, pages: &[&str]) -> Result {
    let workspace = workspace();
    // mdBook's own build: the library that the other proofs use has no search.
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-site");
    let output = Command::new(mdbook::find_or_install(&workspace)?)
        .args(["build", "--dest-dir"])
        .arg(&site)
        .current_dir(workspace.root())
        .output()
        .context("cannot start mdbook")?;
    expect_success("mdbook build", &output)?;

    let output = Command::new("node")
        .arg(workspace.root().join("tests/browser").join(script))
        .arg(workspace.tools())
        .arg(site)
        .args(pages)
        .output()
        .context("cannot start node")?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    expect_success(script, &output)
}

/// theme/highlight.js is what its source gives, and knows every language that a
/// page may use.
#[harness::test(needs = "the packages of tests/browser/package.json")]
fn highlighter_is_built_from_its_source() -> Result {
    let root = workspace().root().to_owned();
    let packages = workspace().tools().join("node_modules");
    let output = Command::new(packages.join(".bin/esbuild"))
        .args(["theme/highlight/source.mjs", "--bundle", "--minify"])
        .env("NODE_PATH", &packages)
        .current_dir(&root)
        .output()
        .context("cannot start esbuild")?;
    expect_success("esbuild", &output)?;
    let built = fs::read(root.join("theme/highlight.js"))?;
    ensure!(
        built == output.stdout,
        "theme/highlight.js is not what theme/highlight/source.mjs gives: build it as that file says"
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
