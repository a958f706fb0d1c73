//! The table that `make bench` prints: one row per measurement, its limit, and whether it is kept.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Failure;

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The figure; nothing if it could not be measured.
    pub measured: Option<f64>,
    /// Its unit; empty for ratios and counts.
    pub unit: &'static str,
    /// What it must keep.
    pub limit: Limit,
    /// Whether it does.
    pub verdict: Verdict,
    /// More about it, or why it could not be measured.
    pub note: String,
}

/// What a figure must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Nothing: it stands there for scale.
    None,
}

/// Whether a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Kept.
    Met,
    /// Not kept.
    Missed,
    /// There is a limit and no figure.
    NotMeasured,
    /// There is no limit.
    ForScale,
}

/// All rows of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: String,
    /// The measurements.
    pub rows: Vec<Row>,
}

impl Row {
    /// A figure with its verdict.
    pub fn new(
        name: impl Into<String>,
        measured: f64,
        unit: &'static str,
        limit: Limit,
        note: impl Into<String>,
    ) -> Row {
        let verdict = match limit {
            Limit::AtMost(most) if measured <= most => Verdict::Met,
            Limit::AtLeast(least) if measured >= least => Verdict::Met,
            // What is not a number keeps no limit.
            Limit::AtMost(_) | Limit::AtLeast(_) => Verdict::Missed,
            Limit::None => Verdict::ForScale,
        };
        Row { name: name.into(), measured: Some(measured), unit, limit, verdict, note: note.into() }
    }

    /// A measurement that could not be made.
    pub fn missing(name: impl Into<String>, limit: Limit, reason: impl Into<String>) -> Row {
        let verdict = if limit == Limit::None { Verdict::ForScale } else { Verdict::NotMeasured };
        Row { name: name.into(), measured: None, unit: "", limit, verdict, note: reason.into() }
    }
}

impl Report {
    /// Whether every limit is kept.
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| matches!(row.verdict, Verdict::Met | Verdict::ForScale))
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().map(|line| cell(line, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..4).map(width).collect();
        let mut text = format!("{}\n\n", self.machine);
        for line in &lines {
            let mut row = String::new();
            for (column, width) in widths.iter().enumerate() {
                // Writing to a string never fails.
                let _ = write!(row, "{:<width$}  ", cell(line, column));
            }
            row.push_str(cell(line, 4));
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }

    /// The table as a document has it (Markdown).
    pub fn markdown(&self) -> String {
        let mut text = format!("Measured on {}.\n\n", self.machine);
        for (place, line) in self.lines().iter().enumerate() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if place == 0 {
                text.push_str("|---|---|---|---|---|\n");
            }
        }
        text
    }

    /// The heading and the rows, in cells.
    fn lines(&self) -> Vec<[String; 5]> {
        let mut lines = vec![["measurement", "measured", "limit", "verdict", "remarks"].map(str::to_owned)];
        for row in &self.rows {
            let measured = row.measured.map_or_else(|| "-".to_owned(), |figure| figure_text(figure, row.unit));
            let limit = match row.limit {
                Limit::AtMost(most) => format!("≤ {}", figure_text(most, row.unit)),
                Limit::AtLeast(least) => format!("≥ {}", figure_text(least, row.unit)),
                Limit::None => String::new(),
            };
            let verdict = match row.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "MISSED",
                Verdict::NotMeasured => "NOT MEASURED",
                Verdict::ForScale => "for scale",
            };
            lines.push([row.name.clone(), measured, limit, verdict.to_owned(), row.note.clone()]);
        }
        lines
    }
}

/// Puts a table in the place of the one that a document has between its two marks.
///
/// # Errors
/// When a mark is missing.
pub fn replace(document: &str, table: &str) -> Result<String, Failure> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("the document lacks `{BEGIN}` or `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

fn cell(line: &[String; 5], column: usize) -> &str {
    line.get(column).map_or("", String::as_str)
}

fn figure_text(figure: f64, unit: &str) -> String {
    let number = match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

const BEGIN: &str = "<!-- measured by make bench -->";
const END: &str = "<!-- end -->";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_table_takes_the_place_between_the_marks_and_nothing_else() {
        let report =
            Report { machine: "a machine".into(), rows: vec![Row::new("a", 2.0, "s", Limit::AtMost(3.0), "b")] };
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let written = replace(&document, &report.markdown()).unwrap();
        assert!(written.contains("| a | 2.000 s | ≤ 3.000 s | met | b |"), "{written}");
        assert!(written.starts_with("before\n") && written.ends_with("\nafter\n") && !written.contains("old"));
        assert_eq!(replace(&written, &report.markdown()).unwrap(), written);
        assert!(replace("no marks", "").is_err());
    }

    #[test]
    fn a_report_is_met_only_if_every_limit_is() {
        let report = |row| Report { machine: String::new(), rows: vec![row] };
        assert!(report(Row::new("a", 1.04, "", Limit::AtMost(1.05), "")).is_met());
        assert!(!report(Row::new("a", 1.06, "", Limit::AtMost(1.05), "")).is_met());
        assert!(!report(Row::new("a", f64::NAN, "", Limit::AtMost(1.05), "")).is_met());
        assert!(!report(Row::new("a", 299.0, "/s", Limit::AtLeast(300.0), "")).is_met());
        assert!(!report(Row::missing("a", Limit::AtMost(1.05), "no TPM")).is_met());
        assert!(report(Row::missing("a", Limit::None, "no DuckDB")).is_met());
    }
}
