//! A code block that includes a file becomes a figure with a caption; one that hides lines, HTML.

use std::{collections::HashMap, path::Path};

use crate::{
    Book,
    anchors::lines_within,
    markdown::Block,
    page::Page,
    render::{
        ids::{file_id, id_of, with_line_breaks},
        include, unsearched,
    },
    workspace::{read, slashed},
};

/// What is written instead of a block: a figure if it includes a file or is one that the reader
/// types, HTML if it hides lines; none for another block. `ids` counts how often each id was used on
/// the page.
pub fn figure(
    book: &Book,
    page: &Page,
    block: &Block,
    ids: &mut HashMap<String, usize>,
) -> Result<Option<String>, String> {
    let Some(include) = block.include() else {
        return written(book, block);
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
    let code = match &include.selector {
        Some(anchor) if include.kind == "rustdoc_include" => {
            let text = read(&book.workspace.root().join(&file)).map_err(|it| it.to_string())?;
            unsearched::code(block, lines_within(&text, anchor))
        }
        _ => fence(block, &block.body),
    };
    Ok(Some(html(&attributes, &caption, &code)))
}

/// The figure with these attributes.
fn html(attributes: &str, caption: &str, code: &str) -> String {
    format!("<figure {attributes}>\n<figcaption>{caption}</figcaption>\n\n{code}\n</figure>\n")
}

/// The block with `body` instead of its own.
fn fence(block: &Block, body: &str) -> String {
    let mut info = vec![block.language.clone()];
    info.extend(block.tags.clone());
    format!("```{}\n{}\n```\n", info.join(","), body.trim())
}

/// A block that is written on the page: a figure if the note above says that the reader types it as
/// a file, `type: src/lib.rs`.
fn written(book: &Book, block: &Block) -> Result<Option<String>, String> {
    let file = block.typed_file();
    let mut lines = unsearched::written_lines(&block.body);
    let hides = block.language == "rust" && !block.nested && lines.any(|(shown, _)| !shown);
    if !hides && file.is_none() {
        return Ok(None);
    }
    let body = book.versions.fill_in(&block.body);
    let body = body.map_err(|error| format!("{error:#}"))?;
    let code = if hides {
        unsearched::code(block, unsearched::written_lines(&body))
    } else {
        fence(block, &body)
    };
    Ok(Some(match file {
        Some(file) => html("class=\"listing\"", &with_line_breaks(file), &code),
        None => code,
    }))
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
