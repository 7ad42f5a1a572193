//! A statement that names the test behind it names one that exists.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::{Problem, markdown::line_at, workspace::read};

static COMMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"<!--\s*asserted:\s*(.*?)\s*-->").expect("the pattern is a constant")
});

/// The lines of such comments in `text`: they are for authors, and left out of the book.
pub fn lines_of_comments(text: &str) -> impl Iterator<Item = Range<usize>> {
    COMMENT.find_iter(text).map(|comment| {
        let start = text[..comment.start()].rfind('\n').map_or(0, |it| it + 1);
        let end = text[comment.end()..].find('\n');
        start..end.map_or(text.len(), |it| comment.end() + it + 1)
    })
}

/// The test in each comment `<!-- asserted: FILE TEST -->` exists.
pub const RULE: Rule = Rule::new(
    "asserted statements",
    |book| {
        let mut problems = Vec::new();
        for page in book.all_pages() {
            for comment in COMMENT.captures_iter(&page.text) {
                let line = line_at(&page.text, comment.get(0).map_or(0, |it| it.start()));
                let mut report = |message: String| {
                    problems.push(Problem::new(&page.file, line, message));
                };
                let Some((file, test)) = comment[1].split_once(' ') else {
                    report(
                        "write the test's file and its name: \
                         `<!-- asserted: listings/hello-world/tests/hello-world/greeting.rs greets_by_name -->`"
                            .to_owned(),
                    );
                    continue;
                };
                match read(&book.workspace.root().join(file)) {
                    Err(_) => report(format!("there is no file {file}, which should assert this")),
                    Ok(text) if !has_test(&text, test.trim()) => {
                        report(format!(
                            "{file} has no test `{test}`, which should assert this"
                        ));
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

/// Whether `text` has a function `name` with an attribute that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let signature = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.contains(&signature)) else {
        return false;
    };
    let above = lines[..at].iter().rev();
    above
        .map(|line| line.trim_start())
        .take_while(|line| !line.is_empty() && *line != "}")
        .any(|line| line.starts_with("#[") && line.contains("test"))
}

const FAULTS: &[Fault] = &[
    fault!(
        "statement whose test does not exist",
        append(
            PAGE,
            "\n<!-- asserted: listings/clock/tests/clock.rs strikes_thirteen -->\n"
        ),
        "src/clock/index.md:46: listings/clock/tests/clock.rs has no test `strikes_thirteen`"
    ),
    fault!(
        "statement that names a function that is no test",
        append(
            PAGE,
            "\n<!-- asserted: listings/clock/src/lib.rs answer -->\n"
        ),
        "src/clock/index.md:46: listings/clock/src/lib.rs has no test `answer`"
    ),
    fault!(
        "statement whose file does not exist",
        append(PAGE, "\n<!-- asserted: tests/gone.rs ticks -->\n"),
        "src/clock/index.md:46: there is no file tests/gone.rs"
    ),
    fault!(
        "statement that names no test",
        append(PAGE, "\n<!-- asserted: tests/gone.rs -->\n"),
        "src/clock/index.md:46: write the test's file and its name"
    ),
];
