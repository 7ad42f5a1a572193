//! Every command that a reader is told to type is run by something.

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::{Book, Problem, markdown::Block, workspace::read};

/// A `console` block is a transcript, or the note above it names the file that runs its commands.
pub const RULE: Rule = Rule::new(
    "commands",
    |book| {
        let mut problems = Vec::new();
        for page in book.all_pages() {
            for block in &page.blocks {
                if block.language == "console" && block.include().is_none() {
                    check(book, block, &mut |message| {
                        problems.push(Problem::new(&page.file, block.line, message));
                    });
                }
            }
        }
        Ok(problems)
    },
    FAULTS,
);

fn check(book: &Book, block: &Block, report: &mut dyn FnMut(String)) {
    if block.terminal().is_some() {
        // tests/proofs/typed.rs types all such blocks.
        return;
    }
    let Some(proof) = block.note("proof") else {
        return report(
            "say what runs these commands: include a transcript, or name the file of the test in the line above, \
             `<!-- proof: tests/chapters/hello_world.rs -->`"
                .to_owned(),
        );
    };
    let Ok(test) = read(&book.workspace.root().join(proof)) else {
        return report(format!(
            "there is no file {proof}, which should prove these commands"
        ));
    };
    let (test, body) = (joined_lines(&test), joined_lines(&block.body));
    for command in body.lines().filter_map(|line| line.strip_prefix("$ ")) {
        // A version is filled in on the page, and by the test.
        let command = command.split("{{").next().unwrap_or_default().trim();
        // A test may run a command for every listing: it calls them SLUG.
        let for_all = book
            .listings
            .keys()
            .any(|slug| test.contains(&command.replace(slug, "SLUG")));
        if !for_all && !test.contains(command) {
            report(format!(
                "{proof} does not run `{command}`: change the one or the other"
            ));
        }
    }
}

/// `text` with each command that goes on after a backslash in one line.
fn joined_lines(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

const FAULTS: &[Fault] = &[
    fault!(
        "command without a proof",
        append(
            PAGE,
            "\n```console\n$ cargo run --bin nothing-like-it\n```\n"
        ),
        "src/clock/index.md:46: say what runs these commands"
    ),
    fault!(
        "command that is typed as a file",
        append(
            PAGE,
            "\n<!-- type: notes.txt -->\n```console\n$ cargo run --bin nothing-like-it\n```\n"
        ),
        "src/clock/index.md:47: say what runs these commands"
    ),
    fault!(
        "missing proof",
        append(
            PAGE,
            "\n<!-- proof: tests/gone.rs -->\n```console\n$ true\n```\n"
        ),
        "there is no file tests/gone.rs"
    ),
    fault!(
        "command that its proof does not run",
        append(
            PAGE,
            "\n<!-- proof: tests/commands.txt -->\n```console\n$ rm -r target\n```\n"
        ),
        "tests/commands.txt does not run `rm -r target`"
    ),
    fault!(
        "long command that its proof does not run",
        append(
            PAGE,
            "\n<!-- proof: tests/commands.txt -->\n```console\n$ cargo test \\\n    --no-run\n```\n"
        ),
        "tests/commands.txt does not run `cargo test --no-run`"
    ),
    fault!(
        "command in the README",
        append("README.md", "\n```console\n$ make\n```\n"),
        "README.md:5: say what runs these commands"
    ),
];
