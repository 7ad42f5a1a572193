//! `cargo xtask bench`: measures a listing, and draws the results.
//!
//! A listing's example `<slug>-bench` prints tables of comma-separated values, with an empty line
//! between two. A table below a line `# name` is also written to a file of that name, for a page
//! that shows only that one. The first table is drawn if its second column has numbers: its first column
//! names the curve, its second is the x axis, and each other one is a panel of the picture.

mod plot;
mod table;

use std::{process::Stdio, thread};

use anyhow::{Context, Result, bail, ensure};
use book::{
    Problem,
    lines::first_difference,
    rules::{Edit, Fault, Rule},
    workspace::{Workspace, read, write},
};
use table::Table;

use crate::build::build;

/// The results of a benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// As the example printed them, below a line on the machine.
    csv: String,
}

/// Runs the example `<slug>-bench` of the listing `slug`; if `quick`, only to see that it works:
/// short and not optimised.
///
/// # Errors
///
/// Fails if there is no such example, or it fails.
pub fn measure(workspace: &Workspace, slug: &str, quick: bool) -> Result<Results> {
    workspace.check_slug(slug)?;
    let name = format!("{slug}-bench");
    let example = workspace.listing(slug).join("examples").join(&name);
    ensure!(
        example.exists() || example.with_extension("rs").exists(),
        "the listing `{slug}` has no example `{name}`: there is nothing to measure"
    );
    let built = build(workspace, slug)?;
    let mut command = if quick {
        let mut command = built.example(&name)?;
        command.arg("quick");
        command
    } else {
        let mut command = built.cargo();
        command.args(["run", "--quiet", "--release", "--example", &name]);
        command
    };
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "the example `{name}` fails: see above"
    );
    let cores = thread::available_parallelism()?;
    let csv = String::from_utf8(output.stdout)?;
    let results = Results {
        csv: format!("# on {cores} cores\n{csv}"),
    };
    results.tables()?;
    Ok(results)
}

/// The files that show the results, from the root: the data, the table and the picture.
fn files(slug: &str) -> [String; 3] {
    [
        format!("listings/{slug}/measured/bench.csv"),
        format!("listings/{slug}/measured/bench.txt"),
        format!("src/{slug}/bench.svg"),
    ]
}

impl Results {
    /// The recorded results; none if the listing was never measured.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or parsed.
    pub fn read(workspace: &Workspace, slug: &str) -> Result<Option<Self>> {
        let [data, ..] = files(slug);
        let path = workspace.root().join(&data);
        if !path.exists() {
            return Ok(None);
        }
        let results = Self { csv: read(&path)? };
        results
            .tables()
            .with_context(|| format!("cannot parse {data}"))?;
        Ok(Some(results))
    }

    /// The files and what they hold.
    ///
    /// # Errors
    ///
    /// Fails if a value that is to be drawn is not a positive number.
    pub fn files(&self, slug: &str) -> Result<Vec<(String, String)>> {
        let [data, table, picture] = files(slug);
        let shown = format!("$ cargo xtask bench {slug}\n{}", self.table());
        let mut files = vec![(data, self.csv.clone()), (table, shown)];
        let tables = self.tables()?;
        for table in &tables {
            if let Some(name) = table.name {
                let file = format!("listings/{slug}/measured/{name}.txt");
                files.push((file, table.text()));
            }
        }
        if tables.first().is_some_and(Table::can_be_drawn) {
            files.push((picture, plot::plot(&tables[0], slug)?));
        }
        Ok(files)
    }

    /// Writes the files, and returns their names.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be written.
    pub fn write(&self, workspace: &Workspace, slug: &str) -> Result<Vec<String>> {
        let mut written = Vec::new();
        for (file, text) in self.files(slug)? {
            write(&workspace.root().join(&file), text)?;
            written.push(file);
        }
        Ok(written)
    }

    /// The number in `column` of the first row whose cells start with `row`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such row or column.
    pub fn number(&self, row: &[&str], column: &str) -> Result<f64> {
        for table in self.tables()? {
            let Some(at) = table.columns.iter().position(|name| *name == column) else {
                continue;
            };
            if let Some(found) = table.rows.iter().find(|cells| cells.starts_with(row)) {
                return Ok(found[at].parse()?);
            }
        }
        bail!("nothing was measured of {row:?} in `{column}`")
    }

    /// The tables without their values: the name and the columns of each.
    ///
    /// # Errors
    ///
    /// Fails if the data cannot be parsed.
    pub fn columns(&self) -> Result<Vec<String>> {
        let tables = self.tables()?;
        let heading = |table: &Table| {
            let name = table.name.unwrap_or_default();
            format!("{name}: {}", table.columns.join(","))
        };
        Ok(tables.iter().map(heading).collect())
    }

    fn tables(&self) -> Result<Vec<Table<'_>>> {
        let text = self.csv.trim_end();
        let text = match text.strip_prefix("# ") {
            Some(rest) => rest.split_once('\n').map_or("", |(_, text)| text),
            None => text,
        };
        text.split("\n\n").map(Table::parse).collect()
    }

    /// The tables as a terminal shows them.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if let Some(machine) = self.csv.lines().next().and_then(|l| l.strip_prefix("# ")) {
            text += &format!("{machine}\n");
        }
        for table in self.tables().unwrap_or_default() {
            text += "\n";
            text += &table.text();
        }
        text
    }
}

/// The tables and pictures on the pages are made from the data beside them.
pub const RULE: Rule = Rule::new(
    "benchmarks",
    |book| {
        let mut problems = Vec::new();
        for slug in book.listings.keys() {
            let Some(results) = Results::read(&book.workspace, slug)? else {
                continue;
            };
            for (file, text) in results.files(slug)? {
                let recorded = read(&book.workspace.root().join(&file)).unwrap_or_default();
                if let Some(line) = first_difference(&recorded, &text) {
                    let message = format!(
                        "this is not what was measured: rewrite it with cargo xtask bench {slug}"
                    );
                    problems.push(Problem::new(file, line, message));
                }
            }
        }
        Ok(problems)
    },
    &[
        Fault {
            name: "edited table",
            edits: &[Edit::Replace {
                file: "listings/clock/measured/bench.txt",
                old: "200",
                new: "100",
            }],
            found: "listings/clock/measured/bench.txt:6: this is not what was measured",
        },
        Fault {
            name: "edited picture",
            edits: &[Edit::Replace {
                file: "src/clock/bench.svg",
                old: "stroke-dasharray",
                new: "dasharray",
            }],
            found: "src/clock/bench.svg:4: this is not what was measured",
        },
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results {
            csv: "# on 2 cores\nscheme,senders,speed\na,1,0.5\na,10,2000\nb,1,3\n\nidle,memory\n5,8.1\n"
                .to_owned(),
        }
    }

    #[test]
    fn draws_only_a_table_with_an_x_axis() {
        let csv = "what,how,often\na,well,1\n".to_owned();
        let unnumbered = Results { csv };
        let files = unnumbered.files("slug").unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        let files = results().files("slug").unwrap();
        assert!(files[2].0.ends_with(".svg"), "{files:?}");
        assert!(files[2].1.starts_with("<svg"), "{files:?}");
    }

    #[test]
    fn a_table_with_a_name_is_a_file_of_its_own() {
        let csv = "# on 2 cores\n# first\na,b\n1,2\n\nc,d\n3,4\n".to_owned();
        let named = Results { csv };
        assert_eq!(named.table(), "on 2 cores\n\na  b\n1  2\n\nc  d\n3  4\n");
        let files = named.files("slug").unwrap();
        let file = (
            "listings/slug/measured/first.txt".to_owned(),
            "a  b\n1  2\n".to_owned(),
        );
        assert_eq!(files[2..], [file]);
    }

    #[test]
    fn aligns_the_columns() {
        assert_eq!(
            results().table(),
            "on 2 cores\n\nscheme  senders  speed\n     a        1    0.5\n     a       10   2000\n     b        1      3\n\nidle  memory\n   5     8.1\n"
        );
    }

    #[test]
    fn finds_a_number() -> Result<()> {
        let results = results();
        assert_eq!(results.number(&["a", "10"], "speed")?.to_string(), "2000");
        assert_eq!(results.number(&["5"], "memory")?.to_string(), "8.1");
        assert!(results.number(&["c"], "speed").is_err());
        Ok(())
    }

    #[test]
    fn draws_each_curve_on_logarithmic_axes() -> Result<()> {
        let results = results();
        let svg = plot::plot(&results.tables()?[0], "slug")?;
        assert_eq!(svg.matches("<path d=\"M58.0").count(), 2, "{svg}");
        for label in [">0.1<", ">1<", ">10 k<"] {
            assert!(svg.contains(label), "{label} is missing in {svg}");
        }
        Ok(())
    }

    #[test]
    fn rejects_malformed_tables() {
        for csv in ["", "a,b\n", "a,b,c\nx,1\n"] {
            let results = Results {
                csv: csv.to_owned(),
            };
            assert!(results.tables().is_err(), "{csv:?}");
        }
    }
}
