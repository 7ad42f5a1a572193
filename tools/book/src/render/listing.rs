//! `{{listing SLUG}}`: the whole listing, file by file.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::{
    Book, listing::Source, markdown::Directive, render::ids::file_id, solutions::is_solution,
    workspace::slashed,
};

/// The files of the listing `slug`.
pub(super) fn sources<'a>(book: &'a Book, slug: &str) -> Result<&'a [Source]> {
    book.workspace.check_slug(slug)?;
    match &book.listings[slug].sources {
        Ok(sources) => Ok(sources),
        Err(error) => bail!("{error}"),
    }
}

/// The whole listing, but for the folders that other pages show; or the folder that the directive
/// names.
pub(super) fn listing(book: &Book, directive: &Directive) -> Result<String> {
    let slug = &directive.subject;
    let folder = directive.words.join(" ");
    let mut all = String::new();
    for source in sources(book, slug)? {
        let page = book.listings[slug].page_showing(&source.project);
        if page.is_none_or(|page| page.folder != Path::new(&folder)) || is_solution(&source.project)
        {
            continue;
        }
        let id = file_id(slug, &source.book);
        let path = slashed(&source.project);
        let (language, text) = (language_of(&source.project), source.text.trim_end());
        // Unfolded, it shows what the others are.
        let open = if all.is_empty() { " open" } else { "" };
        // Longer than any fence in the file.
        let fence = "`".repeat(8);
        all.push_str(&format!(
            "<details class=\"file\"{open}>\n<summary>{path}</summary>\n\n<div id=\"{id}\">\n\n{fence}{language}\n{text}\n{fence}\n\n</div>\n\n</details>\n\n"
        ));
    }
    ensure!(
        !all.is_empty(),
        "the listing {slug} has no file below {folder}"
    );
    Ok(format!(
        "<div class=\"files\" role=\"group\" aria-label=\"The files of {slug}\">\n\n{all}</div>\n"
    ))
}

fn language_of(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        // Cargo compiles it with the listing; a proof checks that it did.
        Some("rs") => "rust,ignore",
        Some("toml" | "lock") => "toml",
        Some("proto") => "protobuf",
        Some("yaml" | "yml") => "yaml",
        Some("json") => "json",
        _ => "text",
    }
}
