//! A log-log plot of a table, as SVG in the colours of the theme.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::table::Table;

/// Plots a table: one panel for each column after the second, whose x axis is the second column.
/// `slug` makes the ids unique, since the printed book has all pictures on one page.
///
/// # Errors
///
/// Fails if a value is not a positive number.
pub fn plot(table: &Table, slug: &str) -> Result<String> {
    const COLUMNS: usize = 2;
    let panels: Vec<Panel> = (2..table.columns.len())
        .map(|column| Panel::new(table, column))
        .collect::<Result<_>>()?;
    let curves = table.curves();
    let x_axis = table.columns[1];
    let rows = panels.len().div_ceil(COLUMNS);
    let height = 30 + rows * usize::try_from(Panel::HEIGHT as i64)?;
    let title = format!("{} as {x_axis} grow", table.columns[2..].join(", "));
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
        // The stroke, the name, and a margin.
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
        panel.draw(&mut svg, x_axis)?;
        svg += "</g>\n";
    }
    svg += "</svg>\n";
    Ok(svg)
}

/// One column: both axes are logarithmic.
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

    fn new(table: &Table<'a>, column: usize) -> Result<Self> {
        let number = |text: &str| -> Result<f64> {
            let number: f64 = text
                .parse()
                .with_context(|| format!("`{text}` is not a number"))?;
            ensure!(
                number > 0.0,
                "`{text}` is not positive, and the axis is logarithmic"
            );
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

    fn draw(&self, svg: &mut String, x_axis: &str) -> Result<()> {
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
                axis_label(power)
            )?;
        }
        svg.push_str("</g>\n<g text-anchor=\"middle\">\n");
        for power in powers_between(left, right) {
            writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                x(power),
                Self::BOTTOM + 18.0,
                axis_label(power)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\">{x_axis}</text>\n</g>",
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

/// The stroke of a curve. Curves differ in more than their colour.
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

/// A power of ten, shortened: `10 k`.
fn axis_label(power: f64) -> String {
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
