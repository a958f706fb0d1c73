//! Attacks on SQL under rules, each named after its number in the adversarial suite.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{sync::Arc, time::Duration};

use agreement::documents::ColumnType;
use datafusion::arrow::array::BooleanArray;
use room::{
    GROUP, HIDDEN, OPEN, Table, answer, check, column, doubles, entity, integers, measure, refusal, table, tables,
    texts,
};
use runtime::{
    release,
    sql::{self, CheckError, Limits, Reason, RunError, SourceTable, Sources, TermsError},
};

/// Seven people in one group, five in another, and one more in a group of their own with the values that are given.
fn with_target(text: Option<&'static str>, whole: i64, double: f64) -> Vec<Table> {
    let people = || 1..=13_i64;
    let last = |p: i64| p == 13;
    vec![table(
        "people",
        "owner",
        (5, 2),
        vec![
            (column("id", ColumnType::Bigint, entity("person")), integers(people().map(Some))),
            (
                column("team", ColumnType::Text, GROUP),
                texts(people().map(|p| {
                    Some(if last(p) {
                        "z"
                    } else if p > 7 {
                        "y"
                    } else {
                        "a"
                    })
                })),
            ),
            (column("code", ColumnType::Text, GROUP), texts(people().map(|p| if last(p) { text } else { Some("1") }))),
            (
                column("level", ColumnType::Bigint, GROUP),
                integers(people().map(|p| Some(if last(p) { whole } else { 1 }))),
            ),
            (
                column("height", ColumnType::Double, GROUP),
                doubles(people().map(|p| Some(if last(p) { double } else { 1.0 }))),
            ),
            (
                column("pay", ColumnType::Double, measure(0.0, 100.0)),
                doubles(people().map(|p| Some(if last(p) { double } else { 10.0 }))),
            ),
            (
                column("age", ColumnType::Bigint, measure(0.5, 99.5)),
                integers(people().map(|p| Some(if last(p) { whole } else { 10 }))),
            ),
        ],
    )]
}

#[tokio::test]
async fn q1_values_of_one_row_cannot_make_a_query_fail() {
    let ordinary = with_target(Some("1"), 1, 1.0);
    let targets = [
        with_target(Some("no number"), 0, 0.0),
        with_target(None, i64::MIN, f64::NAN),
        with_target(Some("99999999999999999999999"), i64::MAX, f64::INFINITY),
        with_target(Some(""), -1, f64::NEG_INFINITY),
    ];
    // Queries whose released rows are about others: the target's row must change nothing at all.
    let queries = [
        "select team, count(*) as n from people where (cast(code as bigint) = 1 or team = 'a') and team <> 'z' group by team",
        "select team, count(*) as n from people where (1.0 / height > 0 or team = 'a') and team <> 'z' group by team",
        "select team, count(*) as n from people where (level * 4611686018427387904 + level <> 3 or team = 'a') and team <> 'z' group by team",
        "select team, count(*) as n from people where (-level < 5 or team = 'a') and team <> 'z' group by team",
        "select team, count(*) as n, sum(pay * 3 - 1) as pay, stddev(age) as age from people group by team",
        "select team, sum(pay) as pay from people where (cast(level as double) / height is not null or team = 'a') and team <> 'z' group by team",
        "select team, n / nullif(m, 0.0) as ratio from (select team, cast(count(*) as double) as n, avg(pay - 10) as m from people group by team)",
        "select team, count(*) as n from people where (round(height, 2) >= 0 or sqrt(height) > 0 or substr(code, 1, 3) = '1' or team = 'a') and team <> 'z' group by team",
    ];
    for query in queries {
        let expected = answer(query, &ordinary).await;
        assert!(expected.contains("\na,"), "{query}\n{expected}");
        for tables in &targets {
            assert_eq!(answer(query, tables).await, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn q1_steps_that_can_fail_are_refused() {
    let tables = with_target(None, 0, 0.0);
    for query in [
        "select team, count(*) from people where 1 / level = 1 group by team",
        "select team, count(*) from people where level % level = 0 group by team",
        "select team, count(*) from people where cast(level as decimal(5, 2)) = 1 group by team",
        "select team, count(*) from people where code like team group by team",
        "select team, count(*) from people where substr(code, 1, level) = '1' group by team",
        "select team, count(*) from people where to_timestamp(code) is null group by team",
        "select team, count(*) from people where abs(level) = 1 group by team",
        "select team, count(*) from people where round(level, -18) = 1 group by team",
        "select team, count(*) / count(*) from people group by team",
    ] {
        assert_eq!(refusal(query, &tables).await, Reason::Fallible, "{query}");
    }
}

#[tokio::test]
async fn q4_values_that_are_no_numbers_saturate() {
    for (value, pay) in
        [(f64::NAN, 120.0), (-f64::NAN, 120.0), (f64::INFINITY, 220.0), (f64::NEG_INFINITY, 120.0), (1e300, 220.0)]
    {
        let tables = with_target(None, 1, value);
        assert_eq!(answer("select sum(pay) as pay from people", &tables).await, format!("pay\n{pay}\n"), "{value}");
    }
    for (value, age) in [(i64::MAX, 219), (i64::MIN, 121), (50, 170)] {
        let tables = with_target(None, value, 0.0);
        assert_eq!(answer("select sum(age) as age from people", &tables).await, format!("age\n{age}\n"), "{value}");
    }
}

#[tokio::test]
async fn q6_a_group_that_only_the_target_is_in_does_not_show() {
    let tables = with_target(Some("1"), 7, 1.0);
    assert_eq!(answer("select level, count(*) as n from people group by level", &tables).await, "level,n\n");
    assert_eq!(answer("select distinct level from people", &tables).await, "level\n");
    assert_eq!(answer("select count(*) as n from people where level = 7", &tables).await, "n\n");
    assert_eq!(answer("select count(*) as n from people where level in (7, 8)", &tables).await, "n\n");
    assert_eq!(refusal("select max(level) from people", &tables).await, Reason::AggregateFunction);
}

#[tokio::test]
async fn q6_nothing_tells_how_many_groups_were_withheld() {
    let people = || 1..=30_i64;
    let crowd = |small: i64| {
        vec![table(
            "people",
            "owner",
            (5, 1),
            vec![
                (column("id", ColumnType::Bigint, entity("person")), integers(people().map(Some))),
                // Two groups of ten; the other ten people in groups of one, or of two.
                (
                    column("team", ColumnType::Bigint, GROUP),
                    integers(people().map(|p| Some(if p <= 20 { p % 2 } else { 100 + p / small }))),
                ),
            ],
        )]
    };
    let query = "select team, count(*) as n from people group by team order by n, team";
    assert_eq!(answer(query, &crowd(1)).await, answer(query, &crowd(2)).await);
    assert_eq!(answer(query, &crowd(1)).await, "team,n\n0,10\n1,10\n");
}

#[tokio::test]
async fn q7_many_rows_of_one_entity_count_as_few() {
    let rows = || 0..2_000_i64;
    let busy = vec![table(
        "visits",
        "owner",
        (3, 2),
        vec![
            // One person has nearly all rows, nine have one each, and some rows belong to nobody.
            (
                column("id", ColumnType::Bigint, entity("person")),
                integers(rows().map(|r| if r < 9 { Some(r) } else { (r % 10 != 0).then_some(99) })),
            ),
            (
                column("team", ColumnType::Text, GROUP),
                texts(rows().map(|r| Some(if r % 2 == 0 { "even" } else { "odd" }))),
            ),
            (column("cost", ColumnType::Double, measure(0.0, 10.0)), doubles(rows().map(|_| Some(10.0)))),
        ],
    )];
    assert_eq!(
        answer("select count(*) as n, sum(cost) as cost, count(distinct id) as people from visits", &busy).await,
        "n,cost,people\n11,110,10\n"
    );
    // 1,991 rows of one person are no group of three.
    assert_eq!(answer("select count(*) as n from visits where cost is null", &busy_null()).await, "n\n");
    // The first two rows in the order of what is read: both are even.
    assert_eq!(answer("select team, count(*) as n from visits group by team", &busy).await, "team,n\neven,7\nodd,4\n");
}

fn busy_null() -> Vec<Table> {
    let rows = || 0..50_i64;
    vec![table(
        "visits",
        "owner",
        (3, 100),
        vec![
            (column("id", ColumnType::Bigint, entity("person")), integers(rows().map(|_| Some(1)))),
            (column("cost", ColumnType::Double, GROUP), doubles(rows().map(|_| None))),
        ],
    )]
}

#[tokio::test]
async fn q7_max_rows_of_one_person_in_a_join_are_those_of_the_table() {
    let tables = tables();
    let inflated = "select a.arm, count(*) as n, count(distinct a.patient_id) as people from trial a join staff s on a.ward = s.ward join staff z on a.ward = z.ward where a.arm = 'A' group by a.arm";
    assert_eq!(answer(inflated, &tables).await, "arm,n,people\nA,32,8\n");
    let small = "select a.arm, count(*) as n from trial a join staff s on a.ward = s.ward join staff z on a.ward = z.ward where a.arm = 'C' group by a.arm";
    assert_eq!(answer(small, &tables).await, "arm,n\n", "eight rows of two people");
}

#[tokio::test]
async fn q11_oversized_questions_are_refused_before_they_cost_anything() {
    let tables = tables();
    let long = format!("select count(*) from trial where arm in ({})", vec!["'A'"; 20_000].join(","));
    assert!(matches!(check(&long, &tables).await, Err(CheckError::TooLong { .. })));
    let wordy = format!("select {}1", "1+".repeat(20_000));
    assert!(matches!(check(&wordy, &tables).await, Err(CheckError::TooManyWords { .. })));
    let parentheses = format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(check(&parentheses, &tables).await, Err(CheckError::TooManyWords { .. } | CheckError::Syntax(_))));
    let nested = format!("select {}1{}", "(".repeat(2_000), ")".repeat(2_000));
    assert!(matches!(check(&nested, &tables).await, Err(CheckError::Syntax(_))));
    let chain = format!("select count(*) from trial where {}", vec!["arm = 'A'"; 2_000].join(" or "));
    assert_eq!(refusal(&chain, &tables).await, Reason::TooComplex);
    let mut doubling = "with c0 as (select site from trial)".to_owned();
    for i in 1..30 {
        doubling += &format!(", c{i} as (select site from c{0} union all select site from c{0})", i - 1);
    }
    doubling += " select site from c29";
    assert_eq!(check(&doubling, &tables).await.err(), Some(CheckError::TooLarge));
}

#[tokio::test]
async fn q12_nothing_but_one_query_exists() {
    let tables = tables();
    for (statement, found) in [
        ("copy trial to 'file.csv'", "COPY"),
        ("copy (select 1) to '/tmp/x' stored as csv", "COPY"),
        ("create external table x stored as parquet location '/etc/'", "CREATE"),
        ("create table x as select * from trial", "CREATE"),
        ("create view x as select * from trial", "CREATE"),
        ("drop table trial", "DROP"),
        ("insert into trial select * from trial", "INSERT"),
        ("delete from trial", "DELETE"),
        ("explain select count(*) from trial", "EXPLAIN"),
        ("explain analyze select count(*) from trial", "EXPLAIN"),
        ("set datafusion.execution.batch_size = 1", "SET"),
        ("show tables", "SHOW"),
        ("select 1; select 2", "several"),
        ("", "nothing"),
    ] {
        match check(statement, &tables).await {
            Err(CheckError::NotOneQuery { found: word }) => assert!(word.starts_with(found), "{statement}: {word}"),
            other => panic!("{statement}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn q12_no_files_no_clock_no_chance() {
    let tables = tables();
    for query in [
        "select * from '/etc/passwd'",
        "select * from 'https://example.org/x.parquet'",
        "select * from read_parquet('/tmp/x')",
        "select * from generate_series(1, 10000000000)",
        "select * from range(1, 10)",
        "select * from information_schema.tables",
        "select now()",
        "select current_date",
        "select random()",
        "select uuid()",
        "select version()",
        "select input_file_name() from trial",
        "select arrow_typeof(site) from trial",
        "select count(*) from trial where random() < 0.5",
    ] {
        assert!(matches!(check(query, &tables).await, Err(CheckError::Plan(_) | CheckError::Syntax(_))), "{query}");
    }
}

#[tokio::test]
async fn q12_errors_are_codes_and_nothing_else() {
    let tables = tables();
    let plan = check("select arm, count(*) as n from trial group by arm", &tables).await.unwrap();
    let none = sql::execute(&plan, &Sources::new(), &Limits::default()).await;
    assert_eq!(none.err(), Some(RunError::Inputs));
    let sources = || Sources::new().with("trial", SourceTable::Memory(vec![tables[0].batch.clone()]));
    let late = Limits { time: Duration::ZERO, ..Limits::default() };
    assert_eq!(sql::execute(&plan, &sources(), &late).await.err(), Some(RunError::Execution));
    let poor = Limits { memory_bytes: 10, ..Limits::default() };
    assert_eq!(sql::execute(&plan, &sources(), &poor).await.err(), Some(RunError::Execution));
    let answer = sql::execute(&plan, &sources(), &Limits::default()).await.unwrap();
    assert_eq!(release::encode(&answer, 10), Err(RunError::TooLarge));
    assert_eq!(format!("{answer:?}"), "Answer");
    let open = check("select 10 / beds as x from regions", &tables).await.unwrap();
    let sources = Sources::new().with("regions", SourceTable::Memory(vec![tables[3].batch.clone()]));
    assert_eq!(sql::execute(&open, &sources, &Limits::default()).await.err(), Some(RunError::Execution));
}

#[tokio::test]
async fn the_keys_that_a_query_needs_are_those_it_reads() {
    let tables = tables();
    let columns = |sql: &'static str| {
        let tables = &tables;
        async move {
            let plan = check(sql, tables).await.unwrap();
            let one = |(name, columns): (&String, &std::collections::BTreeSet<String>)| {
                format!("{name}({})", columns.iter().cloned().collect::<Vec<_>>().join(" "))
            };
            plan.columns().iter().map(one).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(columns("select count(*) from trial").await, "trial(patient_id)");
    assert_eq!(columns("select arm, count(*) from trial group by arm").await, "trial(arm patient_id)");
    assert_eq!(
        columns("select avg(cd4) from (select * from trial) where sex = 'f'").await,
        "trial(cd4 patient_id sex)"
    );
    assert_eq!(columns("select site from trial").await, "trial(site)");
    assert_eq!(columns("select count(beds) from regions").await, "regions(beds)");
    let joined = "select t.arm, avg(r.days) from trial t join registry r using (patient_id) group by t.arm";
    assert_eq!(columns(joined).await, "registry(days patient_id) trial(arm patient_id)");
}

#[tokio::test]
async fn a_plan_is_named_by_what_it_does() {
    let tables = tables();
    let digest = |sql: &'static str| {
        let tables = &tables;
        async move { check(sql, tables).await.unwrap().digest() }
    };
    let one = digest("select arm, count(*) as n from trial group by arm").await;
    assert_eq!(one, digest("SELECT arm,\n COUNT(*) AS n -- all of them\nFROM trial GROUP BY 1").await);
    assert_ne!(one, digest("select arm, count(*) as m from trial group by arm").await);
    let mut stricter = room::tables();
    stricter[0].rules.min_entities = 4;
    let other = check("select arm, count(*) as n from trial group by arm", &stricter).await.unwrap().digest();
    assert_ne!(one, other, "the thresholds are part of the plan");
}

#[tokio::test]
async fn terms_that_mean_nothing_are_refused() {
    let ids = || (column("id", ColumnType::Bigint, entity("p")), integers([Some(1)]));
    let with = |rules, extra: Vec<_>| vec![table("t", "o", rules, extra.into_iter().chain([ids()]).collect())];
    let query = "select count(*) from t";
    let error = |tables: Vec<Table>| async move { check(query, &tables).await.err() };
    assert_eq!(error(with((0, 1), vec![])).await, Some(CheckError::Terms(TermsError::Threshold("t".into()))));
    assert_eq!(error(with((1, 0), vec![])).await, Some(CheckError::Terms(TermsError::Threshold("t".into()))));
    for bounds in [measure(2.0, 1.0), measure(f64::NAN, 1.0), measure(0.0, f64::INFINITY), measure(0.0, 1e300)] {
        let tables = with((1, 1), vec![(column("m", ColumnType::Double, bounds), doubles([Some(1.0)]))]);
        assert_eq!(error(tables).await, Some(CheckError::Terms(TermsError::Bounds("t".into(), "m".into()))));
    }
    let reserved = with((1, 1), vec![(column("glovebox:x", ColumnType::Double, OPEN), doubles([Some(1.0)]))]);
    assert_eq!(error(reserved).await, Some(CheckError::Terms(TermsError::Reserved("glovebox:x".into()))));
    let twice = vec![table("t", "o", (1, 1), vec![ids()]), table("t", "o", (1, 1), vec![ids()])];
    assert_eq!(error(twice).await, Some(CheckError::Terms(TermsError::TableTwice("t".into()))));
}

#[tokio::test]
async fn a_measure_without_numbers_is_only_counted() {
    let people = || 1..=6_i64;
    let tables = vec![table(
        "people",
        "owner",
        (2, 1),
        vec![
            (column("id", ColumnType::Bigint, entity("person")), integers(people().map(Some))),
            (
                column("smokes", ColumnType::Boolean, measure(0.0, 1.0)),
                Arc::new(people().map(|p| (p > 2).then_some(true)).collect::<BooleanArray>()),
            ),
            (column("memo", ColumnType::Text, HIDDEN), texts(people().map(|_| Some("x")))),
        ],
    )];
    assert_eq!(answer("select count(smokes) as n from people", &tables).await, "n\n4\n");
    assert_eq!(refusal("select count(*) from people where smokes", &tables).await, Reason::Measure);
    assert_eq!(refusal("select count(memo) from people", &tables).await, Reason::Hidden);
}
