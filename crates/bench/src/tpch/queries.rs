//! The 22 queries with the substitutions of TPC-H's query validation, and the answers published for scale 1.
//!
//! Texts and answers are those that `tpchgen` carries. Four things differ from the specification, none in the result: money is a double, as
//! sealed tables have no decimals, so bounds are written out where they would be computed (query 6) and the largest of sums is found to
//! within half a cent (query 15); the view of query 15 is a common table expression; the numbers of rows to return, which the specification
//! states beside the text, are limits; and the precision of an interval is left out.

use tpchgen::q_and_a::{answers_sf1, queries};

use crate::Failure;

/// How many there are.
pub const COUNT: i32 = 22;

/// One query, ready to run.
///
/// # Errors
/// When there is none of that number.
pub fn query(number: i32, scale: f64) -> Result<String, Failure> {
    let mut text = queries::query(number).ok_or("there are 22 queries")?.to_owned();
    let replaced: &[(&str, &str)] = match number {
        1 => &[("day (3)", "day")],
        6 => &[(":2 - 0.01", "0.05"), (":2 + 0.01", "0.07")],
        15 => &[
            ("create view revenue:s (supplier_no, total_revenue) as", "with revenue (supplier_no, total_revenue) as ("),
            ("l_suppkey;", "l_suppkey)"),
            ("drop view revenue:s;", ""),
            ("revenue:s", "revenue"),
            ("total_revenue = (", "total_revenue >= ("),
            ("max(total_revenue)", "max(total_revenue) - 0.005"),
        ],
        _ => &[],
    };
    for (from, to) in replaced {
        text = text.replace(from, to);
    }
    // From the last one, so that `:1` does not meet `:10`.
    for (place, value) in substitutions(number, scale).iter().enumerate().rev() {
        text = text.replace(&format!(":{}", place + 1), value);
    }
    let text = text.trim().trim_end_matches(';');
    Ok(match rows(number) {
        Some(rows) => format!("{text}\nlimit {rows}"),
        None => text.to_owned(),
    })
}

/// The published answer at scale 1: its rows, as trimmed cells.
pub fn answer(number: i32) -> Vec<Vec<&'static str>> {
    let lines = answers_sf1::answer(number).unwrap_or_default().trim().lines().skip(1);
    lines.filter(|line| !line.trim().is_empty()).map(|line| line.split('|').map(str::trim).collect()).collect()
}

/// TPC-H specification, sections 2.4.1.4 to 2.4.22.4.
fn substitutions(number: i32, scale: f64) -> Vec<String> {
    let fixed: &[&str] = match number {
        1 => &["90"],
        2 => &["15", "BRASS", "EUROPE"],
        3 => &["BUILDING", "1995-03-15"],
        4 => &["1993-07-01"],
        5 => &["ASIA", "1994-01-01"],
        6 => &["1994-01-01", "0.06", "24"],
        7 => &["FRANCE", "GERMANY"],
        8 => &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
        9 => &["green"],
        10 => &["1993-10-01"],
        11 => return vec!["GERMANY".to_owned(), format!("{:.10}", 0.0001 / scale)],
        12 => &["MAIL", "SHIP", "1994-01-01"],
        13 => &["special", "requests"],
        14 => &["1995-09-01"],
        15 => &["1996-01-01"],
        16 => &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"],
        17 => &["Brand#23", "MED BOX"],
        18 => &["300"],
        19 => &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
        20 => &["forest", "1994-01-01", "CANADA"],
        21 => &["SAUDI ARABIA"],
        22 => &["13", "31", "23", "29", "30", "18", "17"],
        _ => &[],
    };
    fixed.iter().map(|value| (*value).to_owned()).collect()
}

const fn rows(number: i32) -> Option<u32> {
    match number {
        2 | 18 | 21 => Some(100),
        3 => Some(10),
        10 => Some(20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_keeps_a_place_for_a_substitution() {
        for number in 1..=COUNT {
            let text = query(number, 1.0).unwrap_or_default();
            assert!(text.contains("select") && !text.contains([':', ';']), "{number}: {text}");
        }
        assert!(query(23, 1.0).is_err());
        assert_eq!(answer(6), [["123141078.23"]]);
    }
}
