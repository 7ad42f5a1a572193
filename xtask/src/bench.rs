//! `cargo xtask bench`: measures a listing, and draws what was measured.
//!
//! A listing's example `<slug>-bench` prints tables of comma-separated values, with an
//! empty line between two. One that begins with a line `# name` is also a file of that
//! name, for a page that shows it alone. The first is also drawn, if its second column
//! has numbers: then its first column names a curve, its second is what grows, and each
//! other one is a picture.

use std::{fmt::Write, fs, process::Stdio, thread};

use anyhow::{Context, Result, ensure};

use crate::{
    session,
    workspace::{Workspace, read, write},
};

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// As the example printed it, below a line on the machine.
    csv: String,
}

/// A table of the data, as text.
struct Table<'a> {
    name: Option<&'a str>,
    columns: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

/// Runs the example `<slug>-bench` of the listing `slug`. (Listings are built in one
/// folder, where two programs of one name would take each other's place.)
///
/// # Errors
///
/// Fails if there is none, or it fails.
pub fn measure(workspace: &Workspace, slug: &str, quick: bool) -> Result<Measured> {
    workspace.check_slug(slug)?;
    let name = format!("{slug}-bench");
    let example = workspace.listing(slug).join("examples").join(&name);
    ensure!(
        example.exists() || example.with_extension("rs").exists(),
        "the listing `{slug}` has no example `{name}`: there is nothing to measure"
    );
    let mut command = session::build(workspace, slug)?.example(&name);
    if quick {
        command.args(["--", "quick"]);
    } else {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "the example `{name}` fails: see above"
    );
    let cores = thread::available_parallelism()?;
    let csv = String::from_utf8(output.stdout)?;
    let measured = Measured {
        csv: format!("# on {cores} cores\n{csv}"),
    };
    measured.tables()?;
    Ok(measured)
}

/// The files that show what was measured, from the root: the data, the table
/// and the picture.
fn files(slug: &str) -> [String; 3] {
    [
        format!("listings/{slug}/measured/bench.csv"),
        format!("listings/{slug}/measured/bench.txt"),
        format!("src/{slug}/bench.svg"),
    ]
}

impl Measured {
    /// What was measured last; none if the listing was never measured.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or understood.
    pub fn read(workspace: &Workspace, slug: &str) -> Result<Option<Self>> {
        let [data, ..] = files(slug);
        let path = workspace.root().join(&data);
        if !path.exists() {
            return Ok(None);
        }
        let measured = Self { csv: read(&path)? };
        measured
            .tables()
            .with_context(|| format!("cannot understand {data}"))?;
        Ok(Some(measured))
    }

    /// The files and what they hold.
    ///
    /// # Errors
    ///
    /// Fails if what is to be drawn is no number.
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
        if tables.first().is_some_and(Table::grows) {
            files.push((picture, self.picture(slug)?));
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
            let path = workspace.root().join(&file);
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            write(&path, text)?;
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
        anyhow::bail!("nothing was measured of {row:?} in `{column}`")
    }

    fn tables(&self) -> Result<Vec<Table<'_>>> {
        let text = self.csv.trim_end();
        let text = match text.strip_prefix("# ") {
            Some(rest) => rest.split_once('\n').map_or("", |(_, text)| text),
            None => text,
        };
        text.split("\n\n").map(Table::read).collect()
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

    /// A picture for each column of the first table. Its ids have the listing's name, since all
    /// pictures are on one page of the printed book.
    fn picture(&self, slug: &str) -> Result<String> {
        const COLUMNS: usize = 2;
        let tables = self.tables()?;
        let table = tables.first().context("there is no table")?;
        let panels: Vec<Panel> = (2..table.columns.len())
            .map(|column| Panel::of(table, column))
            .collect::<Result<_>>()?;
        let curves = table.curves();
        let growing = table.columns[1];
        let rows = panels.len().div_ceil(COLUMNS);
        let height = 30 + rows * usize::try_from(Panel::HEIGHT as i64)?;
        let title = format!("{} as {growing} grow", table.columns[2..].join(", "));
        let description = format!(
            "The curves: {}. The table has the figures.",
            curves.join(", ")
        );
        let mut svg = format!(
            "<svg role=\"img\" class=\"wide\" aria-labelledby=\"{slug}-bench-title {slug}-bench-desc\" viewBox=\"0 0 660 {height}\" width=\"660\" xmlns=\"http://www.w3.org/2000/svg\" fill=\"var(--fg)\" font-size=\"13\">\n\
             <title id=\"{slug}-bench-title\">{title}</title>\n<desc id=\"{slug}-bench-desc\">{description}</desc>\n"
        );
        let mut next = 50;
        for (at, curve) in curves.iter().enumerate() {
            let x = next;
            // The stroke, the name, and some air.
            next += 110.max(54 + 7 * curve.chars().count());
            writeln!(
                svg,
                "<path d=\"M{x} 12h28\" fill=\"none\" {}/>\n<text x=\"{}\" y=\"17\">{curve}</text>",
                stroke(at),
                x + 34
            )?;
        }
        for (at, panel) in panels.iter().enumerate() {
            let x = if at % COLUMNS == 0 { 0 } else { 330 };
            let y = 30.0 + Panel::HEIGHT * f64::from(u32::try_from(at / COLUMNS)?);
            writeln!(svg, "<g transform=\"translate({x} {y:.0})\">")?;
            panel.draw(&mut svg, growing)?;
            svg += "</g>\n";
        }
        svg += "</svg>\n";
        Ok(svg)
    }
}

impl<'a> Table<'a> {
    fn read(text: &'a str) -> Result<Self> {
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

    /// As a terminal shows it.
    fn text(&self) -> String {
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

    /// Whether its second column is something that grows, and so it can be drawn.
    fn grows(&self) -> bool {
        let grows = |row: &Vec<&str>| row.get(1).is_some_and(|cell| cell.parse::<f64>().is_ok());
        self.columns.len() > 2 && self.rows.iter().all(grows)
    }

    /// The names in the first column, in their order.
    fn curves(&self) -> Vec<&'a str> {
        let mut curves: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !curves.contains(&row[0]) {
                curves.push(row[0]);
            }
        }
        curves
    }
}

/// One column, drawn: both axes by powers of ten.
struct Panel<'a> {
    title: &'a str,
    /// The points of each curve.
    curves: Vec<Vec<(f64, f64)>>,
}

impl<'a> Panel<'a> {
    const HEIGHT: f64 = 190.0;
    const LEFT: f64 = 58.0;
    const RIGHT: f64 = 310.0;
    const TOP: f64 = 26.0;
    const BOTTOM: f64 = 140.0;

    fn of(table: &Table<'a>, column: usize) -> Result<Self> {
        let number = |text: &str| -> Result<f64> {
            let number: f64 = text
                .parse()
                .with_context(|| format!("`{text}` is no number"))?;
            ensure!(number > 0.0, "`{text}` has no place between powers of ten");
            Ok(number)
        };
        let mut curves = Vec::new();
        for curve in table.curves() {
            let rows = table.rows.iter().filter(|row| row[0] == curve);
            let points = rows.map(|row| Ok((number(row[1])?, number(row[column])?)));
            curves.push(points.collect::<Result<_>>()?);
        }
        Ok(Self {
            title: table.columns[column],
            curves,
        })
    }

    fn draw(&self, svg: &mut String, growing: &str) -> Result<()> {
        let all = || self.curves.iter().flatten();
        let powers = |numbers: Vec<f64>| {
            let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let high = numbers.iter().copied().fold(0.0, f64::max);
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            (low, high.max(low + 1.0))
        };
        let (left, right) = powers(all().map(|point| point.0).collect());
        let (bottom, top) = powers(all().map(|point| point.1).collect());
        let x = |value: f64| {
            Self::LEFT + (value.log10() - left) / (right - left) * (Self::RIGHT - Self::LEFT)
        };
        let y = |value: f64| {
            Self::BOTTOM - (value.log10() - bottom) / (top - bottom) * (Self::BOTTOM - Self::TOP)
        };

        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"14\" font-weight=\"bold\">{}</text>",
            Self::LEFT - 8.0,
            self.title
        )?;
        svg.push_str("<g stroke=\"var(--icons)\" stroke-width=\"0.5\" fill=\"none\">\n");
        for power in powers_between(bottom, top) {
            let at = y(power);
            writeln!(
                svg,
                "<path d=\"M{:.0} {at:.1}H{:.0}\"/>",
                Self::LEFT,
                Self::RIGHT
            )?;
        }
        svg.push_str("</g>\n<g text-anchor=\"end\">\n");
        for power in powers_between(bottom, top) {
            writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.1}\">{}</text>",
                Self::LEFT - 6.0,
                y(power) + 4.0,
                shown(power)
            )?;
        }
        svg.push_str("</g>\n<g text-anchor=\"middle\">\n");
        for power in powers_between(left, right) {
            writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                x(power),
                Self::BOTTOM + 18.0,
                shown(power)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\">{growing}</text>\n</g>",
            f64::midpoint(Self::LEFT, Self::RIGHT),
            Self::BOTTOM + 34.0
        )?;
        for (at, curve) in self.curves.iter().enumerate() {
            let points: Vec<_> = curve
                .iter()
                .map(|&(along, up)| format!("{:.1} {:.1}", x(along), y(up)))
                .collect();
            writeln!(
                svg,
                "<path d=\"M{}\" fill=\"none\" {}/>",
                points.join("L"),
                stroke(at)
            )?;
        }
        Ok(())
    }
}

/// How the curve with this number is drawn: not by its colour alone.
fn stroke(curve: usize) -> String {
    let (colour, dashes) = [
        ("var(--links)", "none"),
        ("var(--fg)", "2 4"),
        ("var(--fg)", "8 4"),
        ("var(--links)", "2 4"),
    ][curve % 4];
    format!("stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dashes}\"")
}

/// The powers of ten from one exponent to another.
fn powers_between(low: f64, high: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(low), |exponent| Some(exponent + 1.0))
        .take_while(move |exponent| *exponent <= high)
        .map(|exponent| 10_f64.powf(exponent))
}

/// A power of ten, short.
fn shown(power: f64) -> String {
    let (number, unit) = match power {
        p if p >= 1e6 => (p / 1e6, " M"),
        p if p >= 1e3 => (p / 1e3, " k"),
        p => (p, ""),
    };
    // The nearest decimal: 10 to the power of -2 is not exactly 0.01.
    let number = format!("{number:.3}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            csv: "# on 2 cores\nscheme,senders,speed\na,1,0.5\na,10,2000\nb,1,3\n\nidle,memory\n5,8.1\n"
                .to_owned(),
        }
    }

    #[test]
    fn draws_what_grows_alone() {
        let csv = "what,how,often\na,well,1\n".to_owned();
        let told = Measured { csv };
        let files = told.files("slug").unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        let files = measured().files("slug").unwrap();
        assert!(files[2].0.ends_with(".svg"), "{files:?}");
        assert!(files[2].1.starts_with("<svg"), "{files:?}");
    }

    #[test]
    fn a_table_with_a_name_is_a_file_of_its_own() {
        let csv = "# on 2 cores\n# first\na,b\n1,2\n\nc,d\n3,4\n".to_owned();
        let named = Measured { csv };
        assert_eq!(named.table(), "on 2 cores\n\na  b\n1  2\n\nc  d\n3  4\n");
        let files = named.files("slug").unwrap();
        let file = (
            "listings/slug/measured/first.txt".to_owned(),
            "a  b\n1  2\n".to_owned(),
        );
        assert_eq!(files[2..], [file]);
    }

    #[test]
    fn lays_the_tables_out() {
        assert_eq!(
            measured().table(),
            "on 2 cores\n\nscheme  senders  speed\n     a        1    0.5\n     a       10   2000\n     b        1      3\n\nidle  memory\n   5     8.1\n"
        );
    }

    #[test]
    fn finds_a_number() -> Result<()> {
        let measured = measured();
        assert_eq!(measured.number(&["a", "10"], "speed")?.to_string(), "2000");
        assert_eq!(measured.number(&["5"], "memory")?.to_string(), "8.1");
        assert!(measured.number(&["c"], "speed").is_err());
        Ok(())
    }

    #[test]
    fn draws_each_curve_between_powers_of_ten() -> Result<()> {
        let svg = measured().picture("slug")?;
        assert_eq!(svg.matches("<path d=\"M58.0").count(), 2, "{svg}");
        for label in [">0.1<", ">1<", ">10 k<"] {
            assert!(svg.contains(label), "{label} is missing in {svg}");
        }
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_table() {
        for csv in ["", "a,b\n", "a,b,c\nx,1\n"] {
            let measured = Measured {
                csv: csv.to_owned(),
            };
            assert!(measured.tables().is_err(), "{csv:?}");
        }
    }
}
