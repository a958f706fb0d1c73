//! The table that `make bench` prints: one row per measurement, its limit, and whether it is kept.

use std::fmt::Write as _;

use serde::Serialize;

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
        let mut text = format!("{}\n\n", self.machine);
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..4).map(width).collect();
        for line in &lines {
            let mut cells = line.iter().zip(&widths).fold(String::new(), |mut cells, (cell, width)| {
                // Writing to a string never fails.
                let _ = write!(cells, "{cell:<width$}  ");
                cells
            });
            cells.push_str(line.last().map_or("", String::as_str));
            text.push_str(cells.trim_end());
            text.push('\n');
        }
        text
    }
}

fn figure_text(figure: f64, unit: &str) -> String {
    let number = match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

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
