//! A version stands in `Cargo.lock` and nowhere else.

use std::sync::LazyLock;

use regex::Regex;

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::{Problem, versions::Versions};

/// No page types a version: `{{version NAME}}` fills it in.
pub const RULE: Rule = Rule::new(
    "typed versions",
    |book| {
        // The one version that is typed: the README is shown as it is.
        let in_readme = super::readme::rust_sentence(&book.versions);
        let mut problems = Vec::new();
        for page in book.all_pages() {
            let text = if page.file.ends_with("README.md") {
                page.text.replace(&in_readme, "")
            } else {
                page.text.clone()
            };
            check(&book.versions, &text, &mut |line, message| {
                problems.push(Problem::new(&page.file, line, message));
            });
        }
        Ok(problems)
    },
    FAULTS,
);

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

fn check(versions: &Versions, text: &str, report: &mut dyn FnMut(usize, String)) {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"\d+(?:\.\d+)+"));
    static NAMED: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"([A-Za-z][\w-]*)(?:[`"']*\s*(=|@)\s*[\{\s]*(?:version\s*=\s*)?["'^~=]*(\d[\d.]*|\*|latest)|[`*_]*\s+v?(\d+\.\d+))"#,
        )
    });
    static INSTALL: LazyLock<Regex> =
        LazyLock::new(|| regex(r"cargo (?:add|install)(?: -\S+)* [^`\n]*"));

    for (line, content) in (1..).zip(text.lines()) {
        for number in NUMBER.find_iter(content) {
            if number.as_str().split('.').count() == 3 {
                let number = number.as_str();
                report(
                    line,
                    format!("a version is typed here, {number}: write {{{{version NAME}}}}"),
                );
            }
        }
        for found in NAMED.captures_iter(content) {
            let name = &found[1];
            let number = found
                .get(3)
                .or(found.get(4))
                .map_or("", |number| number.as_str());
            let known = versions.knows(name) || ["Rust", "mdBook", "protoc", "buf"].contains(&name);
            if known && number.split('.').count() != 3 {
                let message = format!(
                    "a version is typed here, `{name}` {number}: write {{{{version {name}}}}}"
                );
                report(line, message);
            }
        }
        for command in INSTALL.find_iter(content) {
            let command = command.as_str().trim();
            if !command.contains("{{version ") && command.split(' ').count() > 2 {
                report(
                    line,
                    format!("`{command}` pins no version: add {{{{version NAME}}}}"),
                );
            }
        }
    }
}

const FAULTS: &[Fault] = &[
    fault!(
        "version in a sentence",
        append(PAGE, "\nThis book uses bytes 1.13.\n"),
        "src/clock/index.md:46: a version is typed here, `bytes` 1.13"
    ),
    fault!(
        "full version",
        append(PAGE, "\nSince 1.13.2 it works.\n"),
        "a version is typed here, 1.13.2"
    ),
    fault!(
        "any version",
        append(PAGE, "\n```toml\nbytes = \"*\"\n```\n"),
        "a version is typed here, `bytes` *"
    ),
    fault!(
        "install without a version",
        append(PAGE, "\nType `cargo add bytes` to add it.\n"),
        "pins no version"
    ),
    fault!(
        "version in the README",
        append("README.md", "\nIt uses bytes 1.13.\n"),
        "README.md:5: a version is typed here"
    ),
];
