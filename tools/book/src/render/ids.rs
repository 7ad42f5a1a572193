//! Ids, paths and text in HTML.

use std::path::Path;

use crate::workspace::slashed;

/// `text` as an id: lower case, with a hyphen for whatever is neither letter nor digit.
pub fn id_of(text: &str) -> String {
    let id: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    id.split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// The id of a file in the whole listing.
pub fn file_id(slug: &str, file: &Path) -> String {
    let file = slashed(file);
    let file = file
        .strip_prefix(&format!("listings/{slug}/"))
        .unwrap_or(&file);
    id_of(&format!("{slug}-file-{file}"))
}

/// `text` as HTML, also in an attribute.
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('"', "&quot;")
}

/// A path that may wrap after each slash, for narrow screens.
pub fn with_line_breaks(path: &str) -> String {
    path.replace('/', "/<wbr>")
}
