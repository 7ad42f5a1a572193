//! Tests that are found at run time, with names that begin with a slug: `cargo test hello-world`
//! runs what is said of that chapter.

use std::{env, process::ExitCode};

use book::Book;
pub use inventory;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Builder;

use crate::{Result, workspace};

/// A test that `#[harness::test]` has registered.
pub struct Test {
    /// The module that it is in: `chapters::hello_world`.
    pub module: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// What it needs beside Rust.
    pub needs: Option<&'static str>,
    /// Whether nothing may run beside it.
    pub is_exclusive: bool,
    /// The test.
    pub run: fn() -> Result,
}

inventory::collect!(Test);

/// What a test may return.
pub trait Outcome {
    /// Its success or its error.
    fn into_result(self) -> Result;
}

impl Outcome for () {
    fn into_result(self) -> Result {
        Ok(())
    }
}

impl<E: Into<anyhow::Error>> Outcome for Result<(), E> {
    fn into_result(self) -> Result {
        self.map_err(Into::into)
    }
}

/// The runtime of an `async` test.
#[derive(Clone, Copy, Debug)]
pub enum Flavor {
    /// On several threads.
    MultiThread,
    /// On the thread of the test. Some outcomes depend on the order in which its tasks run, and a
    /// `CapturedLog` sees only this thread.
    CurrentThread,
    /// The same, and time passes only when nothing else can happen.
    Paused,
}

/// Runs an `async` test.
///
/// # Errors
///
/// Fails if the test does.
pub fn block_on<O: Outcome>(flavor: Flavor, test: impl Future<Output = O>) -> Result {
    let mut builder = match flavor {
        Flavor::MultiThread => Builder::new_multi_thread(),
        Flavor::CurrentThread | Flavor::Paused => Builder::new_current_thread(),
    };
    if matches!(flavor, Flavor::Paused) {
        builder.start_paused(true);
    }
    let runtime = builder.enable_all().build();
    runtime?.block_on(test).into_result()
}

/// A test, and how it is run.
pub struct NamedTest {
    trial: Trial,
    is_exclusive: bool,
}

impl NamedTest {
    /// A test that plain `cargo test` runs.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Result + Send + 'static) -> Self {
        let run = || run().map_err(|error| Failed::from(format!("{error:#}")));
        Self {
            trial: Trial::test(name, run),
            is_exclusive: false,
        }
    }

    /// The same test, ignored because it needs more than Rust. `.ci/run` installs that, and runs
    /// it.
    #[must_use]
    pub fn needs(self, what: &str) -> Self {
        let trial = self.trial.with_kind(format!("needs {what}"));
        Self {
            trial: trial.with_ignored_flag(true),
            ..self
        }
    }

    /// The same test, but nothing runs beside it.
    #[must_use]
    pub fn exclusive(self) -> Self {
        Self {
            is_exclusive: true,
            ..self
        }
    }
}

/// The tests that `#[harness::test]` has registered.
pub fn registered() -> Vec<NamedTest> {
    let tests = inventory::iter::<Test>.into_iter();
    tests
        .map(|test| {
            let module = test.module.split("::").nth(1).unwrap_or_default();
            let inner = test.module.split("::").skip(2);
            let path: Vec<_> = inner.chain([test.name]).collect();
            let name = format!("{}::{}", module.replace('_', "-"), path.join("::"));
            let named = NamedTest::new(name, test.run);
            let named = match test.needs {
                Some(what) => named.needs(what),
                None => named,
            };
            if test.is_exclusive {
                named.exclusive()
            } else {
                named
            }
        })
        .collect()
}

/// Runs the tests that the arguments select: first those that may run side by side, then the
/// exclusive ones. A filter that is a slug selects the tests of that chapter, and no others.
pub fn run(tests: Vec<NamedTest>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        let threads = env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = threads.and_then(|threads| threads.parse().ok());
    }
    if let Some(slug) = arguments.filter.take_if(|filter| is_slug(filter)) {
        arguments.filter = Some(format!("{slug}::"));
    }
    let slug = arguments
        .filter
        .as_deref()
        .and_then(|filter| filter.strip_suffix("::"));
    let is_selected = |test: &NamedTest| {
        slug.is_none_or(|slug| test.trial.name().split("::").next() == Some(slug))
    };
    let tests = tests.into_iter().filter(is_selected);
    let (exclusive, parallel): (Vec<_>, Vec<_>) = tests.partition(|test| test.is_exclusive);

    let trials = |tests: Vec<NamedTest>| tests.into_iter().map(|test| test.trial).collect();
    let mut has_failed = libtest_mimic::run(&arguments, trials(parallel)).has_failed();
    if !exclusive.is_empty() {
        arguments.test_threads = Some(1);
        has_failed |= libtest_mimic::run(&arguments, trials(exclusive)).has_failed();
    }
    if has_failed {
        ExitCode::from(101)
    } else {
        ExitCode::SUCCESS
    }
}

fn is_slug(filter: &str) -> bool {
    Book::load(workspace()).is_ok_and(|book| book.chapters().iter().any(|slug| slug == filter))
}
