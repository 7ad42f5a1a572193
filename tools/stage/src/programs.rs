//! Every program of a session is shown on a page, so that readers can type what the transcripts
//! need.

use std::collections::BTreeSet;

use anyhow::Result;
use book::{
    Book, Problem,
    markdown::line_with,
    rules::{Edit, Fault, Rule},
    workspace::read,
};

use crate::session::format;

/// A page shows the command of every program that a session starts: by including its transcript,
/// or in a sentence, in code font.
pub const RULE: Rule = Rule::new("documented programs", check, FAULTS);

fn check(book: &Book) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for slug in book.listings.keys() {
        let file = format!("listings/{slug}/session.toml");
        if !book.workspace.root().join(&file).exists() {
            continue;
        }
        let text = read(&book.workspace.root().join(&file))?;
        let pages = || book.pages.iter().filter(|page| page.chapter() == slug);
        let included: BTreeSet<_> = pages()
            .flat_map(|page| &page.includes)
            .map(|include| include.file().to_owned())
            .collect();
        let transcripts: Vec<String> = included
            .iter()
            .filter(|file| file.contains("/output/"))
            .filter_map(|file| read(&book.workspace.root().join(file)).ok())
            .collect();
        let sessions = format::load(&book.workspace, slug)?;
        for step in sessions.session.iter().flat_map(|session| &session.program) {
            let in_code = format!("`{}`", step.command);
            let first_line = format!("$ {}\n", step.command);
            let is_shown = transcripts.iter().any(|text| text.starts_with(&first_line))
                || step.table.is_some()
                || step.kills.is_some()
                || pages().any(|page| page.text.contains(&in_code));
            if !is_shown {
                let message = format!(
                    "no page shows the command `{}`, which others on its pages need: include its transcript, or write it in a sentence",
                    step.command
                );
                let line = line_with(&text, &step.command);
                problems.push(Problem::new(&file, line, message));
            }
            for name in step.files() {
                let output = format!("listings/{slug}/output/{name}");
                if !included.contains(&output) {
                    let message =
                        format!("no page includes {output}: include it, or do not record it");
                    let wanted = format!("\"{}\"", name.rsplit_once('.').map_or("", |it| it.0));
                    problems.push(Problem::new(&file, line_with(&text, &wanted), message));
                }
            }
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

const SESSION: &str = "listings/clock/session.toml";

const FAULTS: &[Fault] = &[
    Fault {
        name: "program that no page shows",
        edits: &[Edit::Append {
            file: SESSION,
            text: "\n[[session.program]]\ncommand = \"cargo run --bin clock-client -- tomorrow\"\n",
        }],
        found: "no page shows the command `cargo run --bin clock-client -- tomorrow`",
    },
    Fault {
        name: "server that no page shows",
        edits: &[Edit::Replace {
            file: "src/clock/index.md",
            old: "{{#include ../../listings/clock/output/server.txt}}",
            new: "{{#include ../../listings/clock/output/client.txt}}",
        }],
        found: "listings/clock/session.toml:6: no page shows the command `cargo run --bin clock-server`",
    },
    Fault {
        name: "transcript that no page shows",
        edits: &[Edit::Append {
            file: SESSION,
            text: "\n[[session.program]]\ntranscript = \"again\"\ncommand = \"cargo run --bin clock-client\"\n",
        }],
        found: "no page includes listings/clock/output/again.txt",
    },
];
