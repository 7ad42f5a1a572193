//! Generated code on a page: what a listing's build script wrote, with anchors
//! around the items that the page shows.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use book::workspace::read;

use crate::build::BuiltListing;

/// A generated file that is kept in `output/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// Its name in `OUT_DIR`.
    file: String,
    /// The items that a page shows: the name of the anchor, and how the line
    /// starts in which the item does.
    show: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    anchor: String,
    starts: String,
    /// How the last line starts, if the page shows lines and not one item.
    ends: Option<String>,
}

impl Excerpt {
    /// The file with its anchors, and its name.
    ///
    /// # Errors
    ///
    /// Fails if the listing generated no such file, or the file has no such item.
    pub fn read(&self, built: &BuiltListing) -> Result<(String, String)> {
        let out = built
            .out_dir
            .as_ref()
            .ok_or_else(|| anyhow!("the listing has no build script"))?;
        let text = read(&out.join(&self.file))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for item in &self.show {
            item.mark(&mut lines).with_context(|| {
                format!("no item of {} starts with `{}`", self.file, item.starts)
            })?;
        }
        Ok((self.file.clone(), lines.join("\n") + "\n"))
    }
}

impl Item {
    /// Puts the anchor around the item: from its comments and attributes to the
    /// next line that ends at its depth. (The code was laid out by prettyplease.)
    fn mark(&self, lines: &mut Vec<String>) -> Option<()> {
        let at = lines
            .iter()
            .position(|line| line.trim_start().starts_with(&self.starts))?;
        let indent = lines[at].len() - lines[at].trim_start().len();
        let deeper = |line: &str| line.starts_with(&" ".repeat(indent + 1));
        let is_last = |line: &String| match &self.ends {
            Some(ends) => line.trim_start().starts_with(ends),
            None => !deeper(line) && (line.ends_with('}') || line.ends_with(';')),
        };
        let end = at + lines[at..].iter().position(is_last)?;
        let above = lines[..at].iter().rev().take_while(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("#[")
        });
        let start = at - above.count();
        let margin = " ".repeat(indent);
        lines.insert(end + 1, format!("{margin}// ANCHOR_END: {}", self.anchor));
        lines.insert(start, format!("{margin}// ANCHOR: {}", self.anchor));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_an_anchor_around_an_item() {
        let text = "mod m {\n    use x;\n    /// Docs.\n    #[a]\n    pub fn f(\n        x: u8,\n    ) {\n        g();\n    }\n    fn h() {}\n}";
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let item = Item {
            anchor: "f".into(),
            starts: "pub fn f".into(),
            ends: None,
        };
        item.mark(&mut lines).expect("the item exists");
        assert_eq!(lines[2], "    // ANCHOR: f");
        assert_eq!(lines[3], "    /// Docs.");
        assert_eq!(lines[10], "    // ANCHOR_END: f");
    }

    #[test]
    fn puts_an_anchor_around_lines() {
        let mut lines: Vec<_> = ["{", "  a;", "  b();", "  c", "}"]
            .map(str::to_owned)
            .to_vec();
        let item = Item {
            anchor: "f".into(),
            starts: "a".into(),
            ends: Some("c".into()),
        };
        item.mark(&mut lines).expect("the lines exist");
        assert_eq!(
            lines,
            [
                "{",
                "  // ANCHOR: f",
                "  a;",
                "  b();",
                "  c",
                "  // ANCHOR_END: f",
                "}"
            ]
        );
    }
}
