//! The exercises of a listing, which are tests that fail, and their solutions, which are patches.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use crate::{listing::Source, markdown::line_at, workspace::slashed};

/// The folder of the solutions in a listing, and in the exported project.
pub const FOLDER: &str = "solutions";

/// The attribute that lets the test of an unsolved exercise pass. A solution removes it.
const EXPECTS_PANIC: &str = "#[should_panic";

/// The test of an exercise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exercise {
    /// Its number; none if its test is not named `exercise_1_…`.
    pub number: Option<usize>,
    /// The name of the test.
    pub test: String,
    /// The file of the test, in the book.
    pub file: PathBuf,
    /// The line of the test in the exported file, counted from one.
    pub line: usize,
    /// Whether the test passes because it panics: the exercise is not solved.
    pub expects_panic: bool,
}

/// The tests in `sources` whose names begin with `exercise`.
pub fn exercises(sources: &[Source]) -> Vec<Exercise> {
    static TEST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^[ \t]*(?:async )?fn (exercise(?:_(\d+)_)?\w*)\(")
            .expect("the pattern is a constant")
    });
    let tests = sources
        .iter()
        .filter(|source| source.project.starts_with("tests"));
    tests
        .flat_map(|source| {
            TEST.captures_iter(&source.text).map(|test| {
                let start = test.get(0).map_or(0, |it| it.start());
                let above = source.text[..start].lines().rev();
                Exercise {
                    number: test.get(2).and_then(|number| number.as_str().parse().ok()),
                    test: test[1].to_owned(),
                    file: source.book.clone(),
                    line: line_at(&source.text, start),
                    expects_panic: above
                        .map(str::trim)
                        .take_while(|line| line.starts_with("#["))
                        .any(|line| line.starts_with(EXPECTS_PANIC)),
                }
            })
        })
        .collect()
}

/// A patch that solves an exercise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The number of the exercise; none if the file is not named `1-….patch`.
    pub number: Option<usize>,
    /// The file in the book.
    pub file: PathBuf,
    /// The file in the exported project.
    pub project: PathBuf,
    /// A unified diff of the exported project, with the solutions before this one applied.
    pub patch: String,
}

/// The solutions in `sources`, in the order of their exercises.
pub fn solutions(sources: &[Source]) -> Vec<Solution> {
    let mut solutions: Vec<_> = sources
        .iter()
        .filter(|source| is_solution(&source.project))
        .map(|source| Solution {
            number: number_of(&source.project),
            file: source.book.clone(),
            project: source.project.clone(),
            patch: source.text.clone(),
        })
        .collect();
    solutions.sort_by_key(|solution| solution.number);
    solutions
}

/// Whether a file of the exported project is a solution. Pages show each with its exercise
/// instead of with the whole listing.
pub fn is_solution(project: &Path) -> bool {
    project.starts_with(FOLDER)
}

fn number_of(project: &Path) -> Option<usize> {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^solutions/(\d+)-[a-z0-9-]+\.patch$").expect("the pattern is a constant")
    });
    NAME.captures(&slashed(project))?[1].parse().ok()
}

/// What a patch does to one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePatch {
    /// The two lines that name the file.
    pub header: String,
    /// The hunks, each with its line `@@ … @@`.
    pub hunks: Vec<String>,
}

impl Solution {
    /// The patch, file by file, without git's own lines.
    pub fn files(&self) -> Vec<FilePatch> {
        let mut files: Vec<FilePatch> = Vec::new();
        let mut lines = self.patch.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().copied().unwrap_or_default();
            if line.starts_with("--- ") && next.starts_with("+++ ") {
                files.push(FilePatch {
                    header: format!("{line}{next}"),
                    hunks: Vec::new(),
                });
                lines.next();
            } else if let Some(file) = files.last_mut() {
                if line.starts_with("@@ ") {
                    file.hunks.push(line.to_owned());
                } else if let Some(hunk) = file.hunks.last_mut()
                    && line.starts_with([' ', '+', '-', '\\'])
                {
                    hunk.push_str(line);
                }
            }
        }
        files
    }

    /// The patch as a page shows it: without the hunks that do no more than remove the
    /// `should_panic` of a test.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for FilePatch { header, hunks } in self.files() {
            let mut hunks = hunks.into_iter().filter(|hunk| !only_opens_test(hunk));
            if let Some(first) = hunks.next() {
                shown.extend([header, first]);
                shown.extend(hunks);
            }
        }
        shown
    }
}

fn only_opens_test(hunk: &str) -> bool {
    let mut changes = hunk.lines().filter(|line| line.starts_with(['+', '-']));
    changes.all(|line| {
        let removed = line.strip_prefix('-').map(str::trim_start);
        removed.is_some_and(|removed| removed.starts_with(EXPECTS_PANIC))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(project: &str, text: &str) -> Source {
        Source {
            book: Path::new("listings/x").join(project),
            project: project.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn finds_exercises() {
        let text = "#[should_panic]\n#[test]\nfn exercise_1_solve() {}\n\n#[test]\nasync fn exercise_2() {}\n";
        let found = exercises(&[source("src/lib.rs", text), source("tests/x.rs", text)]);
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.number, it.test.as_str(), it.line, it.expects_panic))
            .collect();
        assert_eq!(
            found,
            [
                (Some(1), "exercise_1_solve", 3, true),
                (None, "exercise_2", 6, false)
            ]
        );
    }

    #[test]
    fn orders_solutions() {
        let names = ["10-last", "2-second", "hint"];
        let sources = names.map(|name| source(&format!("solutions/{name}.patch"), ""));
        let numbers: Vec<_> = solutions(&sources).iter().map(|it| it.number).collect();
        assert_eq!(numbers, [None, Some(2), Some(10)]);
    }

    #[test]
    fn shows_what_solves_the_exercise() {
        let patch = "\
diff --git a/src/lib.rs b/src/lib.rs
index 1..2 100644
--- a/src/lib.rs
+++ b/src/lib.rs
@@ -1,2 +1,2 @@
-let a = 1;
+let a = 2;
 
diff --git a/tests/x.rs b/tests/x.rs
--- a/tests/x.rs
+++ b/tests/x.rs
@@ -8,3 +8,2 @@
 #[test]
-#[should_panic(expected = \"no\")]
 fn exercise_1_solve() {
";
        let solution = &solutions(&[source("solutions/1-two.patch", patch)])[0];
        assert_eq!(
            solution.shown(),
            "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,2 +1,2 @@\n-let a = 1;\n+let a = 2;\n \n"
        );
    }
}
