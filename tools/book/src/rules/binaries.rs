//! A listing's package and programs are named after it, and its programs hold no tests.

use std::path::Path;

use super::{Fault, Rule, fault, fixture::MANIFEST};
use crate::{Problem, markdown::line_with, workspace::read};

/// Programs of other listings would be overwritten in the target folder if names were not unique;
/// unit tests of programs are not run, because most programs would be compiled once more for none.
pub const RULE: Rule = Rule::new(
    "binaries",
    |book| {
        let mut problems = Vec::new();
        for slug in book.listings.keys() {
            let file = format!("listings/{slug}/Cargo.toml");
            let text = read(&book.workspace.root().join(&file))?;
            let manifest: toml::Table = toml::from_str(&text)?;
            let package = (|| manifest.get("package")?.get("name")?.as_str())();
            if package != Some(slug) {
                let message = format!("the package is not named `{slug}`");
                problems.push(Problem::new(&file, line_with(&text, "name ="), message));
            }
            let bins = manifest.get("bin").and_then(|bins| bins.as_array());
            for bin in bins.into_iter().flatten() {
                let value = |key: &str| bin.get(key).and_then(|value| value.as_str());
                let name = value("name").unwrap_or_default();
                if !name.starts_with(&format!("{slug}-")) {
                    let message = format!(
                        "the program `{name}` is not named `{slug}-…`, and may collide with another"
                    );
                    problems.push(Problem::new(&file, line_with(&text, name), message));
                }
                let source = Path::new("listings")
                    .join(slug)
                    .join(value("path").unwrap_or("src/main.rs"));
                let code = read(&book.workspace.root().join(&source)).unwrap_or_default();
                if code.contains("#[test]") {
                    let message =
                        "the tests of a program are not run: move them to the library or to tests/";
                    problems.push(Problem::new(source, line_with(&code, "#[test]"), message));
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    fault!(
        "program with another name",
        replace(MANIFEST, "\"clock-client\"", "\"client\""),
        "the program `client` is not named `clock-…`"
    ),
    fault!(
        "package with another name",
        replace(MANIFEST, "name = \"clock\"", "name = \"watch\""),
        "listings/clock/Cargo.toml:2: the package is not named `clock`"
    ),
    fault!(
        "test in a program",
        append("listings/clock/src/client.rs", "#[test]\nfn t() {}\n"),
        "the tests of a program are not run"
    ),
];
