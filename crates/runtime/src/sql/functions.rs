//! The functions that exist inside: only those listed here are registered, so no other name can even be planned.
//!
//! Two lists. *Total* functions return a value for every input of their types and may touch protected rows and values that
//! were released from them. The others can fail for some values, so they serve queries over open columns alone. Absent by
//! design: everything that reads a clock, randomness, files, networks, versions or settings, every table function, and
//! aggregates that return lists.

use std::sync::Arc;

use datafusion::{
    execution::SessionStateDefaults,
    logical_expr::{AggregateUDF, ScalarUDF, WindowUDF},
};

pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| is_total(function.name()) || OPEN_ONLY.contains(&function.name()))
        .collect()
}

pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let known = |name: &str| {
        PROTECTED_AGGREGATES.contains(&name)
            || RELEASED_AGGREGATES.contains(&name)
            || REFUSED_AGGREGATES.contains(&name)
    };
    SessionStateDefaults::default_aggregate_functions().into_iter().filter(|function| known(function.name())).collect()
}

pub(crate) fn window_functions() -> Vec<Arc<WindowUDF>> {
    SessionStateDefaults::default_window_functions()
        .into_iter()
        .filter(|function| WINDOW.contains(&function.name()))
        .collect()
}

/// Whether the function returns for every input.
pub(crate) fn is_total(name: &str) -> bool {
    TOTAL.contains(&name)
}

/// Whether the aggregate may be computed over protected rows.
pub(crate) fn is_protected_aggregate(name: &str) -> bool {
    PROTECTED_AGGREGATES.contains(&name)
}

/// Whether the aggregate may be computed over open rows.
pub(crate) fn is_released_aggregate(name: &str) -> bool {
    PROTECTED_AGGREGATES.contains(&name) || RELEASED_AGGREGATES.contains(&name)
}

/// Whether the aggregate returns values as they stand in single rows.
pub(crate) fn shows_single_values(name: &str) -> bool {
    SINGLE_VALUES.contains(&name)
}

pub(crate) fn is_window(name: &str) -> bool {
    WINDOW.contains(&name)
}

const TOTAL: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "concat",
    "contains",
    "date_part",
    "ends_with",
    "exp",
    "floor",
    "greatest",
    "initcap",
    "isnan",
    "least",
    "left",
    "ln",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "nullif",
    "nvl",
    "octet_length",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "sqrt",
    "starts_with",
    "strpos",
    "trunc",
    "upper",
];

const OPEN_ONLY: &[&str] = &[
    "abs",
    "cbrt",
    "concat_ws",
    "cos",
    "date_bin",
    "date_trunc",
    "degrees",
    "iszero",
    "levenshtein",
    "log",
    "lpad",
    "md5",
    "nanvl",
    "nvl2",
    "overlay",
    "pi",
    "power",
    "radians",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "replace",
    "rpad",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sin",
    "split_part",
    "substr",
    "substr_index",
    "tan",
    "to_char",
    "to_date",
    "to_hex",
    "to_timestamp",
    "to_unixtime",
    "translate",
];

const PROTECTED_AGGREGATES: &[&str] = &["avg", "count", "stddev", "stddev_pop", "sum", "var", "var_pop"];

const RELEASED_AGGREGATES: &[&str] =
    &["bool_and", "bool_or", "corr", "covar_pop", "covar_samp", "max", "median", "min"];

/// Registered so that a query with one of them is told why it is refused, and not that the function is missing.
const REFUSED_AGGREGATES: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "first_value",
    "last_value",
    "percentile_cont",
    "string_agg",
    "grouping",
    "nth_value",
];

const SINGLE_VALUES: &[&str] = &[
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "first_value",
    "last_value",
    "max",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "string_agg",
];

const WINDOW: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];
