//! Random queries on random tables, against an evaluation that shares nothing with the engine.
//!
//! The grammar has what decides who stands behind a row: filters, joins, groups, and tables in which a few people have many rows. The
//! naive evaluation applies the rules as `docs/spec/rules.md` words them.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use agreement::documents::ColumnType;
use proptest::prelude::*;
use room::{GROUP, Table, column, entity, integers, measure, table};

/// A row: entity, two group columns, a measure.
type Row = (Option<i64>, i64, i64, i64);

#[derive(Debug, Clone)]
struct Query {
    join: Join,
    filter: Option<(usize, i64)>,
    groups: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Join {
    None,
    Inner,
    Left,
    Membership,
}

const LEFT: (u64, u64) = (3, 2);
const RIGHT: (u64, u64) = (2, 3);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let entity = prop_oneof![8 => (0..12_i64).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((entity, 0..4_i64, 0..3_i64, -5..25_i64), 1..60)
}

fn queries() -> impl Strategy<Value = Query> {
    let join = prop_oneof![Just(Join::None), Just(Join::Inner), Just(Join::Left), Just(Join::Membership)];
    (join, prop::option::of((0..2_usize, 0..4_i64)), prop::sample::subsequence(vec![0, 1], 0..=2))
        .prop_map(|(join, filter, groups)| Query { join, filter, groups })
}

fn made(left: &[Row], right: &[Row]) -> Vec<Table> {
    let one = |name, rules, rows: &[Row]| {
        table(
            name,
            "owner",
            rules,
            vec![
                (column("id", ColumnType::Bigint, entity("p")), integers(rows.iter().map(|r| r.0))),
                (column("g", ColumnType::Bigint, GROUP), integers(rows.iter().map(|r| Some(r.1)))),
                (column("h", ColumnType::Bigint, GROUP), integers(rows.iter().map(|r| Some(r.2)))),
                (column("m", ColumnType::Bigint, measure(0.0, 20.0)), integers(rows.iter().map(|r| Some(r.3)))),
            ],
        )
    };
    vec![one("l", LEFT, left), one("r", RIGHT, right)]
}

impl Query {
    fn sql(&self) -> String {
        let keys: Vec<&str> = self.groups.iter().map(|place| ["l.g", "l.h"][*place]).collect();
        let mut sql = "select ".to_owned();
        for key in &keys {
            write!(sql, "{key}, ").unwrap();
        }
        sql += "count(*) as n, sum(l.m) as s, count(distinct l.id) as e from l";
        sql += match self.join {
            Join::None | Join::Membership => "",
            Join::Inner => " join r on l.id = r.id",
            Join::Left => " left join r on l.id = r.id",
        };
        let mut conditions = Vec::new();
        if let Some((place, value)) = self.filter {
            conditions.push(format!("{} <> {value}", ["l.g", "l.h"][place]));
        }
        if self.join == Join::Membership {
            conditions.push("l.id in (select id from r where r.g < 3)".to_owned());
        }
        if !conditions.is_empty() {
            write!(sql, " where {}", conditions.join(" and ")).unwrap();
        }
        if !keys.is_empty() {
            write!(sql, " group by {}", keys.join(", ")).unwrap();
        }
        sql
    }

    /// The columns of `l` that the query reads, besides the entity, as places of a row.
    fn reads(&self, place: usize) -> bool {
        self.groups.contains(&place) || self.filter.is_some_and(|(filtered, _)| filtered == place)
    }

    fn naive(&self, left: &[Row], right: &[Row]) -> String {
        // R10: which rows count. The order is that of the columns that are read: id, then g, h, m.
        let order = |row: &Row| (if self.reads(0) { row.1 } else { 0 }, if self.reads(1) { row.2 } else { 0 }, row.3);
        let left = limited(left, LEFT.1, order);
        let right = limited(right, RIGHT.1, |row| (if self.join == Join::Membership { row.1 } else { 0 }, 0, 0));
        let mut joined: Vec<(Row, Option<i64>)> = Vec::new();
        for row in left {
            let partners: Vec<&Row> = right.iter().filter(|other| other.0 == row.0).collect();
            match self.join {
                Join::None => joined.push((row, None)),
                Join::Membership => joined.extend(partners.iter().any(|other| other.1 < 3).then_some((row, row.0))),
                Join::Inner => joined.extend(partners.iter().map(|other| (row, other.0))),
                Join::Left if partners.is_empty() => joined.push((row, None)),
                Join::Left => joined.extend(partners.iter().map(|other| (row, other.0))),
            }
        }
        joined.retain(|(row, _)| self.filter.is_none_or(|(place, value)| [row.1, row.2][place] != value));
        let mut groups: BTreeMap<Vec<i64>, Vec<(Row, Option<i64>)>> = BTreeMap::new();
        for (row, partner) in joined {
            let key = self.groups.iter().map(|place| [row.1, row.2][*place]).collect();
            groups.entry(key).or_default().push((row, partner));
        }
        self.released(&groups)
    }

    fn released(&self, groups: &BTreeMap<Vec<i64>, Vec<(Row, Option<i64>)>>) -> String {
        let strictest = LEFT.0.max(RIGHT.0);
        let (mut passed, mut failed, mut few) = (Vec::new(), 0, 0);
        for (key, rows) in groups {
            let own = rows.iter().filter_map(|(row, _)| row.0).collect::<BTreeSet<_>>().len() as u64;
            let theirs = rows.iter().filter_map(|(_, partner)| *partner).collect::<BTreeSet<_>>().len() as u64;
            // R12: those without a partner are nobody, or as many as a group needs.
            let alone = rows.iter().filter(|(_, partner)| partner.is_none()).filter_map(|(row, _)| row.0);
            let alone = alone.collect::<BTreeSet<_>>().len() as u64;
            let whole = self.join != Join::Left || alone == 0 || alone >= strictest;
            let enough =
                if self.join == Join::None { own >= LEFT.0 } else { own >= strictest && theirs >= strictest && whole };
            let size = if self.join == Join::None { own } else { own.min(theirs) };
            let (n, s) = (rows.len() as i64, rows.iter().map(|(row, _)| row.3.clamp(0, 20)).sum::<i64>());
            if enough {
                passed.push((size, key.clone(), [n, s, own as i64]))
            } else {
                failed += 1;
                few += size;
            }
        }
        passed.sort();
        let needed = if self.join == Join::None { LEFT.0 } else { strictest };
        if (failed == 1 || failed > 0 && few < needed) && !self.groups.is_empty() && !passed.is_empty() {
            passed.remove(0);
        }
        passed.sort_by(|a, b| (&a.1, a.2).cmp(&(&b.1, b.2)));
        let mut csv = String::new();
        for place in &self.groups {
            write!(csv, "{},", ["g", "h"][*place]).unwrap();
        }
        csv += "n,s,e\n";
        for (_, key, values) in passed {
            let fields: Vec<String> = key.iter().chain(&values).map(ToString::to_string).collect();
            writeln!(csv, "{}", fields.join(",")).unwrap();
        }
        csv
    }
}

fn limited<K: Ord>(rows: &[Row], limit: u64, order: impl Fn(&Row) -> K) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().filter(|row| row.0.is_some()).copied().collect();
    rows.sort_by_key(|row| (row.0, order(row)));
    let mut counts: BTreeMap<Option<i64>, u64> = BTreeMap::new();
    rows.retain(|row| {
        let count = counts.entry(row.0).or_default();
        *count += 1;
        *count <= limit
    });
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_row_leaves_without_enough_entities_behind_it(left in rows(), right in rows(), query in queries()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tables = made(&left, &right);
        let sql = query.sql();
        let found = runtime.block_on(async {
            let plan = room::check(&sql, &tables).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
            assert!(room::every_scan_is_guarded(&plan, &tables), "{}", plan.guarded_text());
            room::run(&plan, &tables).await
        });
        prop_assert_eq!(found, query.naive(&left, &right), "{}", sql);
    }
}
