//! `{{solution SLUG NUMBER}}`: what solves an exercise, folded.

use anyhow::{Context, Result, bail};

use crate::{
    Book, markdown::Directive, page::Page, render::listing::sources, solutions::solutions,
    workspace::slashed,
};

/// The solution of the exercise that the directive names.
pub(super) fn solution(book: &Book, page: &Page, directive: &Directive) -> Result<String> {
    let slug = &directive.subject;
    let number: usize = directive
        .words
        .join(" ")
        .parse()
        .context("write the number of the exercise: `{{solution hello-world 1}}`")?;
    let all = solutions(sources(book, slug)?);
    let Some(solution) = all.iter().find(|it| it.number == Some(number)) else {
        bail!("the listing {slug} has no solution {number}: add solutions/{number}-….patch");
    };
    // Longer than any fence in the patch.
    let fence = "`".repeat(8);
    let path = slashed(&solution.project);
    let shown = solution.shown();
    let html = format!(
        "<details class=\"solution\">\n<summary>Solution</summary>\n\n{fence}diff\n{}\n{fence}\n\n\
         <p>In the exported project, <code>patch -p1 &lt; {path}</code> makes this change, and deletes the \
         <code>should_panic</code> line.</p>\n\n</details>\n",
        shown.trim_end()
    );
    // In a list, every line stands below the first.
    let line = &page.text[..directive.range.start];
    let line = &line[line.rfind('\n').map_or(0, |end| end + 1)..];
    let indent: String = line.chars().map(|_| ' ').collect();
    Ok(html
        .replace('\n', &format!("\n{indent}"))
        .trim_end()
        .to_owned()
        + "\n")
}
