//! What the book promises of its pages and listings, one test for each rule, fault, snippet, and
//! proof of a chapter. They are found at run time: a new page or listing needs no entry here.

mod browser;
mod fixture;
mod listings;
mod mdbook;
mod protos;
mod site;
mod snippets;
mod typed;

use std::{
    fmt::Display,
    path::PathBuf,
    process::{ExitCode, Output},
    sync::{Arc, OnceLock},
};

use anyhow::{Context, bail, ensure};
use book::{Book, Problem, rules::Rule, solutions::exercises};
use harness::{
    Result,
    test::{self, NamedTest},
    workspace,
};
use stage::{
    bench::{self, Results},
    session::{self, RunOptions},
    transcripts,
};

fn main() -> ExitCode {
    let wire = PathBuf::from(env!("CARGO_BIN_EXE_session-wire"));
    session::WIRE_PROGRAM.get_or_init(|| wire);
    match all_tests() {
        Ok(tests) => test::run(tests),
        Err(error) => {
            eprintln!("the tests cannot be listed: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn all_tests() -> Result<Vec<NamedTest>> {
    let book = Arc::new(Book::load(workspace())?);
    let checks: Arc<Vec<Check>> = Arc::new(rules().map(Check::new).collect());
    let mut tests = test::registered();
    for (at, rule) in rules().enumerate() {
        let name = rule.name.replace(' ', "-");
        let (checked, checks) = (Arc::clone(&book), Arc::clone(&checks));
        tests.push(NamedTest::new(format!("rules::{name}"), move || {
            report_problems(checks[at].problems(&checked)?)
        }));
        tests.push(NamedTest::new(
            format!("faults::{name}::none-in-the-fixture"),
            move || fixture::is_accepted(rule),
        ));
        for fault in rule.faults {
            let fault_name = fault.name.replace(' ', "-");
            tests.push(NamedTest::new(
                format!("faults::{name}::{fault_name}"),
                move || fixture::is_found(rule, fault),
            ));
        }
    }
    for slug in book.chapters() {
        let (book, checks) = (Arc::clone(&book), Arc::clone(&checks));
        tests.push(NamedTest::new(format!("{slug}::rules"), move || {
            chapter_keeps_rules(&book, &checks, &slug)
        }));
    }
    for (slug, listing) in &book.listings {
        tests.extend(tests_of_listing(slug)?);
        let sources = listing.sources.as_deref().unwrap_or_default();
        if !exercises(sources).is_empty() {
            let (slug, name) = (slug.clone(), format!("{slug}::solutions-pass"));
            tests.push(NamedTest::new(name, move || {
                listings::solutions_pass(&workspace(), &slug)
            }));
        }
    }
    tests.extend(snippets::tests(&book)?);
    tests.extend(typed::tests(&book));
    tests.extend(listings::faults());
    tests.extend(protos::tests());
    Ok(tests)
}

/// All rules.
fn rules() -> impl Iterator<Item = &'static Rule> {
    stage::rules().chain(site::RULES.iter().copied())
}

/// A rule, checked once for the whole book: its own test and those of the chapters share what it
/// finds.
struct Check {
    rule: &'static Rule,
    found: OnceLock<Result<Vec<Problem>, String>>,
}

impl Check {
    fn new(rule: &'static Rule) -> Self {
        Self {
            rule,
            found: OnceLock::new(),
        }
    }

    fn problems(&self, book: &Book) -> Result<&[Problem]> {
        let found = self.found.get_or_init(|| {
            let problems = (self.rule.check)(book);
            problems.map_err(|error| format!("{}: {error:#}", self.rule.name))
        });
        match found {
            Ok(problems) => Ok(problems),
            Err(message) => bail!("{message}"),
        }
    }
}

/// The tests of the listing `slug`.
fn tests_of_listing(slug: &str) -> Result<Vec<NamedTest>> {
    let test = |name: &str, run: fn(&str) -> Result| {
        let slug = slug.to_owned();
        NamedTest::new(format!("{slug}::{name}"), move || run(&slug))
    };
    let mut tests = vec![
        test("builds-standalone", |slug| {
            listings::builds_standalone(&workspace(), slug)
        }),
        test("own-tests-pass", |slug| {
            listings::own_tests_pass(&workspace(), slug)
        }),
        test("can-be-exported", listings::can_be_exported),
        test("transcripts-are-true", |slug| {
            transcripts::compare(&workspace(), slug, RunOptions::RUST_ONLY)
        }),
        test("commands-work-as-typed", |slug| {
            transcripts::compare(&workspace(), slug, RunOptions::LITERAL)
        })
        .needs("the ports of the pages, and the programs that the sessions name")
        .exclusive(),
    ];
    if Results::read(&workspace(), slug)?.is_some() {
        tests.push(test("benchmark-works", |slug| {
            let (now, recorded) = (
                bench::measure(&workspace(), slug, true)?,
                Results::read(&workspace(), slug)?.context("the benchmark was recorded")?,
            );
            let (now, recorded) = (now.columns()?, recorded.columns()?);
            for columns in &now {
                ensure!(
                    recorded.contains(columns),
                    "listings/{slug}/measured/bench.csv:1: the benchmark prints a table `{columns}`, \
                     which was not recorded: cargo xtask bench {slug}"
                );
            }
            ensure!(!now.is_empty(), "the benchmark prints no table");
            Ok(())
        }));
    }
    Ok(tests)
}

/// Whether the files of the chapter `slug` keep all rules.
fn chapter_keeps_rules(book: &Book, checks: &[Check], slug: &str) -> Result {
    let mut problems = Vec::new();
    for check in checks {
        let of_chapter =
            |problem: &&Problem| book.chapter_of(&problem.file).as_deref() == Some(slug);
        problems.extend(check.problems(book)?.iter().filter(of_chapter));
    }
    report_problems(problems)
}

/// Fails with a line for each problem, if there are any.
fn report_problems<P: Display>(problems: impl IntoIterator<Item = P>) -> Result {
    let problems: Vec<_> = problems
        .into_iter()
        .map(|problem| problem.to_string())
        .collect();
    if !problems.is_empty() {
        bail!("\n{}\n", problems.join("\n"));
    }
    Ok(())
}

/// Fails with what a program printed, if it failed.
fn expect_success(what: &str, output: &Output) -> Result {
    ensure!(
        output.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
