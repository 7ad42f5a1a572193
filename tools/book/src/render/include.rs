//! Includes: whether mdBook will find in the file what the page asks for.

use std::path::{Path, PathBuf};

use crate::{
    Book,
    anchors::anchors,
    markdown::Include,
    page::Page,
    workspace::{normalize_path, read, slashed},
};

/// The file of an include, relative to the root of the book.
///
/// # Errors
///
/// Says what mdBook would not find: the file, or the anchor in it.
pub fn resolve(book: &Book, page: &Page, include: &Include) -> Result<PathBuf, String> {
    if include.kind == "playground" || include.kind == "playpen" {
        return Err("a playground asks another host: use rustdoc_include".to_owned());
    }
    let folder = page.file.parent().unwrap_or(Path::new(""));
    let file = normalize_path(&folder.join(&include.path))
        .ok_or_else(|| format!("{} is outside the book", include.path))?;
    let shown = slashed(&file);
    let text = read(&book.workspace.root().join(&file))
        .map_err(|_| format!("there is no file {shown}, which is included here"))?;
    let Some(name) = &include.selector else {
        return Ok(file);
    };
    if name.contains(':') || name.is_empty() || name.parse::<usize>().is_ok() {
        return Err(format!(
            "lines are included by their numbers, `{name}`, which move: put an anchor in {shown}"
        ));
    }
    let anchors = anchors(&text);
    let mut named = anchors
        .iter()
        .filter(|anchor| anchor.name == *name)
        .peekable();
    if named.peek().is_none() {
        let known: Vec<_> = anchors.iter().map(|anchor| anchor.name.as_str()).collect();
        return Err(format!(
            "there is no anchor `{name}` in {shown}, which has: {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        ));
    }
    match named.find_map(|anchor| anchor.fault) {
        Some(fault) => Err(format!(
            "the anchor `{name}` in {shown} {}",
            fault.describe()
        )),
        None => Ok(file),
    }
}

/// Checks an include outside a code block: a picture, or a Markdown table that a run printed.
/// Neither has anchors.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn check_unfenced(book: &Book, page: &Page, include: &Include) -> Result<(), String> {
    let file = resolve(book, page, include)?;
    let name = slashed(&file);
    let is_picture = name.ends_with(".svg");
    let is_recorded = ["listings/", "tests/"]
        .iter()
        .any(|folder| name.starts_with(folder) && name.contains("/output/"));
    let is_table = is_recorded && name.ends_with(".md");
    if include.selector.is_some() || !(is_picture || is_table) {
        return Err(format!(
            "{name} is neither a picture nor a table of a run: include it in a fenced block"
        ));
    }
    if is_table {
        let text = read(&book.workspace.root().join(&file)).map_err(|error| error.to_string())?;
        let mut cells = text.lines().map(|line| line.matches('|').count());
        let columns = cells.next();
        if !cells.all(|cells| Some(cells) == columns) {
            return Err(format!(
                "{name} is no table: its lines differ in their number of cells"
            ));
        }
    }
    Ok(())
}
