//! Code stands in fenced blocks only.

use super::{Fault, Rule, fault, fixture::PAGE};
use crate::Problem;

/// Code typed as HTML, or by indenting, would be tested by nothing.
pub const RULE: Rule = Rule::new(
    "unfenced code",
    |book| {
        let mut problems = Vec::new();
        for page in book.all_pages() {
            for code in &page.unfenced {
                let message = if code.is_html {
                    "no proof looks at code that is typed as HTML: write a fenced block"
                } else {
                    "no proof looks at an indented block: write a fenced one, with its language"
                };
                problems.push(Problem::new(&page.file, code.line, message));
            }
        }
        Ok(problems)
    },
    FAULTS,
);

const FAULTS: &[Fault] = &[
    fault!(
        "HTML",
        append(
            PAGE,
            "\n<pre><code class=\"language-rust\">fn main() {}</code></pre>\n"
        ),
        "src/clock/index.md:46: no proof looks at code that is typed as HTML"
    ),
    fault!(
        "indented block",
        append(PAGE, "\n    let indented = 1;\n"),
        "src/clock/index.md:46: no proof looks at an indented block"
    ),
];
