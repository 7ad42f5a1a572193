//! Text that a page shows, and that the search does not find: the tree of a listing, and the lines
//! that a figure hides.
//!
//! mdBook indexes every text of a page, but no attribute. So this text stands in `data-text`, and
//! `theme/highlight/source.mjs` makes text of it before mdBook's script looks for hidden lines.

use crate::{markdown::Block, render::ids::escape};

/// Text of its own: without a script, `theme/reader.css` shows it.
pub(super) fn text(text: &str) -> String {
    let text = escape(text);
    format!("<pre><code class=\"language-text\" data-text=\"{text}\"></code></pre>\n")
}

/// A block of the language and tags of `block`, with these lines, each of them shown or hidden. As
/// mdBook would write it, but for the text of the hidden lines.
pub(super) fn code<'a>(block: &Block, lines: impl Iterator<Item = (bool, &'a str)>) -> String {
    let mut classes = vec![format!("language-{}", block.language)];
    classes.extend(block.tags.clone());
    let mut code = String::new();
    let mut lines = lines.peekable();
    while let Some((shown, line)) = lines.next() {
        let end = if lines.peek().is_some() { "\n" } else { "" };
        let line = escape(line) + end;
        if shown {
            code.push_str(&line);
        } else {
            code.push_str(&format!(
                "<span class=\"boring\" data-text=\"{line}\"></span>"
            ));
        }
    }
    let classes = classes.join(" ");
    format!("<pre><code class=\"{classes}\">{code}</code></pre>\n")
}

/// The lines of a Rust block that is written on the page: `# code` is hidden, and `##` is a `#`.
pub(super) fn written_lines(body: &str) -> impl Iterator<Item = (bool, &str)> {
    body.trim_end().lines().map(|line| {
        let code = line.trim_start();
        match code.strip_prefix("# ").or((code == "#").then_some("")) {
            Some(hidden) => (false, hidden),
            None if code.starts_with("##") => (true, &code[1..]),
            None => (true, line),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown;

    #[test]
    fn only_what_is_shown_is_text() {
        let (blocks, _) =
            markdown::code("```rust,no_run\n# use a::B;\n#\n#[b]\nlet c = \"<\";\n```\n");
        assert_eq!(
            code(&blocks[0], written_lines(&blocks[0].body)),
            "<pre><code class=\"language-rust no_run\"><span class=\"boring\" data-text=\"use a::B;\n\"></span>\
             <span class=\"boring\" data-text=\"\n\"></span>#[b]\nlet c = &quot;&lt;&quot;;</code></pre>\n"
        );
    }
}
