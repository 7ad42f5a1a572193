//! Tables of comma-separated values.

use anyhow::{Context, Result, ensure};

/// A table of the results, as text.
pub struct Table<'a> {
    /// What follows `# ` in the line above it.
    pub name: Option<&'a str>,
    pub columns: Vec<&'a str>,
    pub rows: Vec<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    pub fn parse(text: &'a str) -> Result<Self> {
        let (name, text) = match text.strip_prefix("# ").and_then(|it| it.split_once('\n')) {
            Some((name, text)) => (Some(name), text),
            None => (None, text),
        };
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let columns = lines.next().context("a table has no columns")?;
        let rows: Vec<_> = lines.collect();
        ensure!(
            !rows.is_empty() && rows.iter().all(|row| row.len() == columns.len()),
            "a table is empty, or has rows of another length than `{}`",
            columns.join(",")
        );
        Ok(Self {
            name,
            columns,
            rows,
        })
    }

    /// The table in aligned columns.
    pub fn text(&self) -> String {
        let all: Vec<&Vec<&str>> = [&self.columns].into_iter().chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = all.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in all {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:>width$}"))
                .collect();
            text += cells.join("  ").trim_end();
            text += "\n";
        }
        text
    }

    /// Whether it can be drawn: its second column has numbers, the x axis.
    pub fn can_be_drawn(&self) -> bool {
        let has_number =
            |row: &Vec<&str>| row.get(1).is_some_and(|cell| cell.parse::<f64>().is_ok());
        self.columns.len() > 2 && self.rows.iter().all(has_number)
    }

    /// The names in the first column, in order: one curve each.
    pub fn curves(&self) -> Vec<&'a str> {
        let mut curves: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !curves.contains(&row[0]) {
                curves.push(row[0]);
            }
        }
        curves
    }
}
