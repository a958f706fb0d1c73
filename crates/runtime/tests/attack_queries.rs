//! Queries that tried to get around the guards, each with what it must say: a refusal, or the same bytes with or without the one
//! person whom it is about.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use agreement::documents::{Column, ColumnType};
use room::{GROUP, Table, answer, check, column, doubles, entity, integers, measure, refusal, table, texts};
use runtime::sql::{Limits, Reason, RunError, SourceTable, Sources, execute};

/// Twelve people of teams `a` and `b`, and perhaps one more who is alone in team `z`.
fn people(with_target: bool) -> Vec<Table> {
    let people = move || 1..=if with_target { 13_i64 } else { 12 };
    let required = |name: &str, kind| Column { nullable: false, ..column(name, kind, GROUP) };
    vec![table(
        "people",
        "owner",
        (5, 2),
        vec![
            (column("id", ColumnType::Bigint, entity("person")), integers(people().map(Some))),
            (
                required("team", ColumnType::Text),
                texts(people().map(|p| Some(["a", "b", "z"][usize::from(p > 6) + usize::from(p > 12)]))),
            ),
            (required("code", ColumnType::Text), texts(people().map(|p| Some(if p == 6 { "x" } else { "1" })))),
            (required("height", ColumnType::Double), doubles(people().map(|p| Some(if p == 6 { -1.0 } else { 1.0 })))),
            (column("age", ColumnType::Bigint, measure(0.0, 99.0)), integers(people().map(|p| Some(p + 20)))),
            (
                column("dose", ColumnType::Double, measure(0.0, 99.0)),
                doubles(people().map(|p| (p >= 6).then_some(p as f64))),
            ),
            (column("salt", ColumnType::Bigint, measure(0.0, 9e15)), integers(people().map(|p| Some(p * 1000)))),
        ],
    )]
}

async fn outcome(sql: &str, tables: &[Table]) -> Result<String, RunError> {
    let plan = match check(sql, tables).await {
        Ok(plan) => plan,
        Err(error) => return Ok(error.to_string()),
    };
    let sources = Sources::new().with("people", SourceTable::Memory(vec![tables[0].batch.clone()]));
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let answer = execute(&plan, &sources, &limits).await?;
    runtime::release::encode(&answer, 1 << 20)
}

#[tokio::test]
async fn q1_a_constant_that_fails_where_one_person_is_does_not_tell() {
    for bad in [
        "1 / 0 = 1",
        "1 % 0 = 1",
        "cast('x' as bigint) = 1",
        "cast('x' as date) is null",
        "to_date('x') is null",
        "cast(999999 as decimal(3, 0)) is null",
        "code ~ '('",
        "code similar to '('",
        "regexp_like('a', '(')",
        "substr('abc', 1, -1) = ''",
        "abs(-9223372036854775807 - 1) = 1",
        "cast('9223372036854775807' as bigint) + cast('1' as bigint) = 1",
        "sqrt(-1.0) = 1",
        "power(10, 400) = 1",
    ] {
        for query in [
            format!(
                "select count(*) as n from people where (case when team = 'z' then {bad} else true end) and team <> 'z'"
            ),
            format!(
                "select team, count(*) as n from people where not (team = 'z' and {bad}) and team <> 'z' group by team"
            ),
            format!("select case when team = 'z' then {bad} else false end as k, count(*) as n from people group by 1"),
            format!("select count(*) as n from people where team = 'z' group by {bad}"),
        ] {
            let (with, without) = (outcome(&query, &people(true)).await, outcome(&query, &people(false)).await);
            assert_eq!(with.is_err(), without.is_err(), "{query}\n{with:?}\n{without:?}");
        }
    }
}

#[tokio::test]
async fn q2_part_of_a_group_is_not_counted_by_what_a_cast_makes_missing() {
    for query in [
        "select team, count(*) as n, count(cast(code as bigint)) as m from people group by team",
        "select team, count(*) as n, count(sqrt(height)) as m from people group by team",
        "select team, count(*) as n, count(nullif(code, 'x')) as m from people group by team",
        "select team, count(*) as n, count(case when code = 'x' then 1 end) as m from people group by team",
    ] {
        assert_eq!(refusal(query, &people(true)).await, Reason::AggregateArgument, "{query}");
    }
    assert_eq!(answer("select count(code) as n, count(1) as m from people", &people(true)).await, "n,m\n13,13\n");
}

#[tokio::test]
async fn q2_a_union_does_not_subtract() {
    for query in [
        "select sum(x) as s from (select age as x from people union all select -age from people where team <> 'z') u",
        "select sum(x) as s from (select age + 90000 as x from people union all select age - 90000 from people where team <> 'z') u",
        "select sum(x) as s from (select age * 2 as x from people union all select age * -2 from people where team <> 'z') u",
    ] {
        assert_eq!(refusal(query, &people(true)).await, Reason::Union, "{query}");
    }
}

#[tokio::test]
async fn q2_a_measure_that_few_have_is_not_aggregated() {
    let tables = people(true);
    assert_eq!(
        answer("select team, count(*) as n, sum(dose) as s, count(dose) as c, avg(dose * 2 + 1) as a, sum(age) as g from people where team <> 'z' group by team", &tables).await,
        "team,n,s,c,a,g\na,6,,,,141\nb,6,57,6,20,177\n"
    );
    assert_eq!(
        answer("select team from people where team <> 'z' group by team having sum(dose) < 7", &tables).await,
        "team\n"
    );
}

#[tokio::test]
async fn q4_whole_numbers_do_not_wrap_before_they_are_averaged() {
    for query in [
        "select avg(salt + 9223372036854770000) as s from people",
        "select avg(salt * 1000000) as s from people",
        "select avg(-salt * 900000) as s from people",
    ] {
        assert_eq!(refusal(query, &people(true)).await, Reason::MeasureArithmetic, "{query}");
    }
}

#[tokio::test]
async fn q1_text_that_doubles_does_not_exhaust_memory_for_one_person() {
    let mut query = "with c0 as (select case when team = 'z' then code else '' end as x from people)".to_owned();
    for level in 1..12 {
        query += &format!(", c{level} as (select x || x as x from c{0})", level - 1);
    }
    let query = format!("{query} select count(*) as n from c11 where x <> 'q'");
    assert_eq!(refusal(&query, &people(true)).await, Reason::TooComplex);
    assert!(
        check("select team || '-' || code as k, count(*) as n from people group by 1", &people(true)).await.is_ok()
    );
}

#[tokio::test]
async fn q2_who_has_no_partner_is_a_group_too() {
    let tables = people(true);
    for query in [
        "select sum(a.age) - sum(b.age) as s from people a left join people b on a.id = b.id and b.team <> 'z'",
        "select count(distinct a.id) - count(distinct b.id) as n from people a left join people b on a.id = b.id and a.team <> 'z'",
        "select count(distinct a.id) - count(distinct b.id) as n from people b right join people a on a.id = b.id and a.team <> 'z'",
        "select sum(a.age) - sum(b.age) as s from people a full join people b on a.id = b.id and b.team <> 'z'",
    ] {
        let shown = answer(query, &tables).await;
        assert_eq!(shown.lines().count(), 1, "{query}\n{shown}");
    }
}

#[tokio::test]
async fn q6_groups_that_are_withheld_are_together_as_many_as_one_that_is_not() {
    let tables = |small: i64| {
        let people = || 1..=22_i64;
        vec![table(
            "people",
            "owner",
            (5, 1),
            vec![
                (column("id", ColumnType::Bigint, entity("person")), integers(people().map(Some))),
                (
                    column("team", ColumnType::Bigint, GROUP),
                    integers(people().map(|p| {
                        Some(if p <= 12 {
                            0
                        } else if p <= 20 {
                            1
                        } else {
                            100 + p / small
                        })
                    })),
                ),
            ],
        )]
    };
    for small in [1, 100] {
        assert_eq!(
            answer("select team, count(*) as n from people group by team", &tables(small)).await,
            "team,n\n0,12\n"
        );
    }
}

#[tokio::test]
async fn q7_many_rows_of_one_person_are_not_many_who_have_a_value() {
    let rows = || 0..20_i64;
    let visits = vec![table(
        "visits",
        "owner",
        (5, 10),
        vec![
            // Ten people with one visit each, and one person with ten, who alone has a cost.
            (column("id", ColumnType::Bigint, entity("person")), integers(rows().map(|r| Some(r.min(10))))),
            (column("cost", ColumnType::Double, measure(0.0, 10.0)), doubles(rows().map(|r| (r >= 10).then_some(7.0)))),
        ],
    )];
    assert_eq!(answer("select count(*) as n, sum(cost) as cost from visits", &visits).await, "n,cost\n20,\n");
}
