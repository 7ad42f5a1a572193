//! Every exercise has a failing test and a solution, and its page shows the solution.

use std::{collections::BTreeMap, ops::Range, path::Path};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{Edit, Fault, Rule, fault};
use crate::{
    Book, Problem,
    listing::Source,
    markdown::line_at,
    page::Page,
    solutions::{exercises, solutions},
};

/// Tests named `exercise_1_…` and patches `solutions/1-….patch` belong to each other, and each patch
/// is shown once, with the exercise that it solves. `<slug>::solutions-pass` applies the patches.
pub const RULE: Rule = Rule::new(
    "solutions",
    |book| {
        let mut problems = Vec::new();
        for (slug, listing) in &book.listings {
            if let Ok(sources) = &listing.sources {
                check_listing(book, slug, sources, &mut problems);
            }
        }
        problems.extend(book.pages.iter().flat_map(check_page));
        Ok(problems)
    },
    FAULTS,
);

fn check_listing(book: &Book, slug: &str, sources: &[Source], problems: &mut Vec<Problem>) {
    let mut report = |file: &Path, line: usize, message: String| {
        problems.push(Problem::new(file, line, message));
    };
    let exercises = exercises(sources);
    let mut solved: BTreeMap<usize, usize> = BTreeMap::new();
    for solution in solutions(sources) {
        let Some(number) = solution.number else {
            let message = "is not named after an exercise: `1-what-it-does.patch`";
            report(&solution.file, 1, message.to_owned());
            continue;
        };
        *solved.entry(number).or_default() += 1;
        if solved[&number] > 1 {
            let message = format!("exercise {number} has two solutions: remove one");
            report(&solution.file, 1, message);
        } else if exercises.iter().all(|it| it.number != Some(number)) {
            let message = format!("no test is named `exercise_{number}_…`: add it to tests/{slug}");
            report(&solution.file, 1, message);
        }
        let shown = book.pages.iter().flat_map(|page| {
            let shown = page.directives_named("solution").filter(|directive| {
                directive.subject == slug && directive.words == [number.to_string()]
            });
            shown.map(move |directive| (page, directive))
        });
        let shown: Vec<_> = shown.collect();
        if shown.is_empty() {
            let message = format!(
                "no page shows this solution: write `{{{{solution {slug} {number}}}}}` below the exercise"
            );
            report(&solution.file, 1, message);
        }
        for (page, directive) in shown.into_iter().skip(1) {
            let message = "the solution is shown twice: remove one".to_owned();
            report(&page.file, directive.line, message);
        }
    }
    for exercise in exercises {
        let test = &exercise.test;
        let message = match exercise.number {
            None => format!("`{test}` has no number: name the test `exercise_1_…`"),
            Some(number) if !solved.contains_key(&number) => format!(
                "exercise {number} has no solution: add listings/{slug}/solutions/{number}-….patch"
            ),
            Some(_) if !exercise.expects_panic => {
                format!("`{test}` is solved already: add the `should_panic` that readers remove")
            }
            Some(_) => continue,
        };
        report(&exercise.file, exercise.line, message);
    }
}

/// Each exercise of a page shows a solution.
fn check_page(page: &Page) -> Vec<Problem> {
    let without = exercises_of_page(&page.text).into_iter().filter(|range| {
        let mut solutions = page.directives_named("solution");
        !solutions.any(|solution| range.contains(&solution.range.start))
    });
    let message = "the exercise shows no solution: write `{{solution SLUG NUMBER}}` below it";
    without
        .map(|range| Problem::new(&page.file, line_at(&page.text, range.start), message))
        .collect()
}

/// Where the exercises are: the items of the numbered lists below the heading *Exercises*.
fn exercises_of_page(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut in_heading, mut in_exercises, mut depth) = (false, false, 0);
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H2 => {
                (in_heading, in_exercises) = (true, false);
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Text(heading) if in_heading => in_exercises |= *heading == *"Exercises",
            Event::Start(Tag::List(_)) => depth += 1,
            Event::End(TagEnd::List(_)) => depth -= 1,
            Event::Start(Tag::Item) if in_exercises && depth == 1 => found.push(range),
            _ => {}
        }
    }
    found
}

const PAGE: &str = "src/clock/take-home.md";
const TESTS: &str = "listings/clock/tests/clock.rs";

const FAULTS: &[Fault] = &[
    fault!(
        "exercise without a solution",
        append(
            TESTS,
            "\n#[test]\n#[should_panic]\nfn exercise_2_strike() {\n    panic!();\n}\n"
        ),
        "listings/clock/tests/clock.rs:22: exercise 2 has no solution"
    ),
    fault!(
        "exercise without a number",
        append(TESTS, "\n#[test]\nfn exercise_strike() {}\n"),
        "listings/clock/tests/clock.rs:21: `exercise_strike` has no number"
    ),
    fault!(
        "exercise that is solved",
        replace(TESTS, "#[should_panic", "#[cfg_attr(any(), should_panic"),
        "listings/clock/tests/clock.rs:15: `exercise_1_tokyo` is solved already"
    ),
    Fault {
        name: "solution of no exercise",
        edits: &[Edit::Append {
            file: "listings/clock/solutions/2-strike.patch",
            text: "--- a/src/lib.rs\n+++ b/src/lib.rs\n",
        }],
        found: "listings/clock/solutions/2-strike.patch:1: no test is named `exercise_2_…`",
    },
    fault!(
        "second solution",
        append("listings/clock/solutions/1-kyoto.patch", "\n"),
        "listings/clock/solutions/1-tokyo.patch:1: exercise 1 has two solutions"
    ),
    fault!(
        "solution without a number",
        append("listings/clock/solutions/tokyo.patch", "\n"),
        "listings/clock/solutions/tokyo.patch:1: is not named after an exercise"
    ),
    fault!(
        "solution that no page shows",
        replace(PAGE, "{{solution clock 1}}", ""),
        "listings/clock/solutions/1-tokyo.patch:1: no page shows this solution"
    ),
    fault!(
        "solution that is shown twice",
        append(PAGE, "\n{{solution clock 1}}\n"),
        "src/clock/take-home.md:11: the solution is shown twice"
    ),
    fault!(
        "exercise that shows no solution",
        append(PAGE, "\n2. Let the clock strike.\n"),
        "src/clock/take-home.md:11: the exercise shows no solution"
    ),
];
