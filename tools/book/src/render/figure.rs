//! A code block that includes a file becomes a figure with a caption.

use std::{collections::HashMap, path::Path};

use crate::{
    Book,
    markdown::Block,
    page::Page,
    render::{
        ids::{file_id, id_of, with_line_breaks},
        include,
    },
    workspace::slashed,
};

/// The figure for a block that includes a file; none for another block. `ids` counts how often
/// each id was used on the page.
pub fn figure(
    book: &Book,
    page: &Page,
    block: &Block,
    ids: &mut HashMap<String, usize>,
) -> Result<Option<String>, String> {
    let Some(include) = block.include() else {
        return typed_file(book, block);
    };
    if block.body.trim() != &block.body[include.range.clone()] {
        return Err("a block that includes a file holds the include and nothing else".to_owned());
    }
    if block.nested {
        return Err(
            "an include stands in a list or a quotation: move it out, it becomes a figure"
                .to_owned(),
        );
    }
    let file = include::resolve(book, page, &include)?;
    let shown = slashed(&file);

    let mut id = shown.trim_start_matches("listings/").to_owned();
    if let Some(anchor) = &include.selector {
        id = format!("{id}-{anchor}");
    }
    let mut id = id_of(&id);
    let count = ids.entry(id.clone()).or_insert(0);
    *count += 1;
    if *count > 1 {
        id = format!("{id}-{count}");
    }

    let is_transcript = block.language == "console";
    let caption = if is_transcript {
        // `client-no-name.txt` is the client's terminal, without a name.
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match name.split_once('-') {
            Some((program, what)) => format!("{program}: {}", what.replace('-', " ")),
            None => name.into_owned(),
        }
    } else {
        let path = caption_path(page, &shown);
        match link_to(book, page, &file) {
            Some(link) => format!("<a href=\"{link}\">{path}</a>"),
            None => path,
        }
    };
    let class = if is_transcript {
        "listing transcript"
    } else {
        "listing"
    };
    let attributes = format!("class=\"{class}\" id=\"{id}\"");
    Ok(Some(html(&attributes, &caption, block, &block.body)))
}

/// The figure with these attributes, and `body` instead of the block's own.
fn html(attributes: &str, caption: &str, block: &Block, body: &str) -> String {
    let mut fence = vec![block.language.clone()];
    fence.extend(block.tags.clone());
    format!(
        "<figure {attributes}>\n<figcaption>{caption}</figcaption>\n\n```{}\n{}\n```\n\n</figure>\n",
        fence.join(","),
        body.trim()
    )
}

/// The figure for a file that the reader types, as the note above says: `type: src/lib.rs`.
fn typed_file(book: &Book, block: &Block) -> Result<Option<String>, String> {
    let Some(file) = block.typed_file() else {
        return Ok(None);
    };
    let body = book.versions.fill_in(&block.body);
    let body = body.map_err(|error| format!("{error:#}"))?;
    let caption = with_line_breaks(file);
    Ok(Some(html("class=\"listing\"", &caption, block, &body)))
}

/// The place of a file in its chapter's whole listing, seen from `page`.
fn link_to(book: &Book, page: &Page, file: &Path) -> Option<String> {
    let (slug, target) = book.listings.iter().find_map(|(slug, listing)| {
        let sources = listing.sources.as_ref().ok()?;
        let source = sources.iter().find(|source| source.book == file)?;
        Some((slug, listing.page_showing(&source.project)?))
    })?;
    let up = "../".repeat(page.path().components().count() - 1);
    Some(format!(
        "{up}{}#{}",
        slashed(&target.page),
        file_id(slug, file)
    ))
}

/// A file's path for its caption. The theme hides the listing of the page's own chapter on narrow
/// screens.
fn caption_path(page: &Page, file: &str) -> String {
    let own = format!("listings/{}/", page.chapter());
    match file.strip_prefix(&own) {
        Some(rest) => format!(
            "<span class=\"room\">{}</span>{}",
            with_line_breaks(&own),
            with_line_breaks(rest)
        ),
        None => with_line_breaks(file),
    }
}
