//! The site in a real browser: every page, theme and width.

use std::process::Command;

use anyhow::{Context, ensure};
use harness::{Result, workspace};

use crate::site::Site;

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
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
