//! The rules on expressions.
//!
//! Every kind of expression is named here; a kind that is not named is refused. An expression comes back with its label, and
//! changed where a value could make it fail: in a query that has a guard, a cast that may fail yields NULL instead. (Why:
//! the engine may compute an expression for rows that a filter drops later, and a failure there would tell about them.)

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::{DataType, FieldRef, IntervalUnit, Schema},
    },
    common::{Column, DFSchema, DFSchemaRef},
    logical_expr::{
        Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Like, Operator, Subquery, TryCast,
        execution_props::ExecutionProps,
        expr::{InList, InSubquery, ScalarFunction},
        lit,
        physical_planning_context::PhysicalPlanningContext,
        when,
    },
    physical_expr::create_physical_expr,
    scalar::ScalarValue,
};

use super::{
    MAX_DEPTH, functions,
    label::{Class, Label, Linear},
    plan::{Checker, Relation},
    refusal::{Reason, Stop},
};

/// The columns that an expression sees.
pub(crate) struct Scope {
    pub(crate) schema: DFSchemaRef,
    pub(crate) labels: Vec<Label>,
}

/// An expression that passed, and its label.
pub(crate) type Passed = (Expr, Label);

impl Scope {
    pub(crate) fn label(&self, column: &Column) -> Result<&Label, Stop> {
        let index = self.schema.index_of_column(column)?;
        self.labels.get(index).ok_or_else(|| unknown("a column without a label"))
    }
}

impl Relation {
    /// What an expression over this relation sees.
    pub(crate) fn scope(&self) -> Scope {
        Scope { schema: self.schema.clone(), labels: self.labels.clone() }
    }
}

impl Checker<'_> {
    /// An expression over one relation.
    pub(crate) fn expression(&mut self, expr: &Expr, scope: &Scope) -> Result<Passed, Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop::new(
                Reason::TooComplex,
                "an expression is nested too deeply",
                format!("nest at most {MAX_DEPTH} deep; write long chains of `or` as `in (…)`"),
            ));
        }
        let passed = self.expression_inner(expr, scope);
        self.depth -= 1;
        // A constant is computed where a row needs it, so one that fails would tell whether there is such a row.
        if let Ok((_, label)) = &passed
            && self.total
            && !matches!(expr, Expr::Literal(_, _))
            && is_constant(expr)
            && !succeeds(expr)
        {
            return Err(fallible(label, expr, "write a constant that can be computed"));
        }
        passed
    }

    fn expression_inner(&mut self, expr: &Expr, scope: &Scope) -> Result<Passed, Stop> {
        match expr {
            Expr::Column(column) => Ok((expr.clone(), scope.label(column)?.clone())),
            Expr::Literal(_, _) => Ok((expr.clone(), Label::constant())),
            Expr::Alias(alias) => {
                let (inner, label) = self.expression(&alias.expr, scope)?;
                Ok((
                    Expr::Alias(datafusion::logical_expr::expr::Alias { expr: Box::new(inner), ..alias.clone() }),
                    label,
                ))
            }
            Expr::Cast(cast) => self.cast(&cast.expr, &cast.field, scope, expr, false),
            Expr::TryCast(cast) => self.cast(&cast.expr, &cast.field, scope, expr, true),
            Expr::BinaryExpr(binary) => self.binary(binary, scope),
            Expr::Negative(inner) => self.negative(inner, scope),
            Expr::Not(inner) => self.wrapped(inner, scope, Expr::Not),
            Expr::IsNull(inner) => self.wrapped(inner, scope, Expr::IsNull),
            Expr::IsNotNull(inner) => self.wrapped(inner, scope, Expr::IsNotNull),
            Expr::IsTrue(inner) => self.wrapped(inner, scope, Expr::IsTrue),
            Expr::IsFalse(inner) => self.wrapped(inner, scope, Expr::IsFalse),
            Expr::IsUnknown(inner) => self.wrapped(inner, scope, Expr::IsUnknown),
            Expr::IsNotTrue(inner) => self.wrapped(inner, scope, Expr::IsNotTrue),
            Expr::IsNotFalse(inner) => self.wrapped(inner, scope, Expr::IsNotFalse),
            Expr::IsNotUnknown(inner) => self.wrapped(inner, scope, Expr::IsNotUnknown),
            Expr::Like(like) => self.like(like, scope, Expr::Like),
            Expr::SimilarTo(like) => self.like(like, scope, Expr::SimilarTo),
            Expr::Between(between) => self.between(between, scope),
            Expr::InList(list) => self.in_list(list, scope),
            Expr::Case(case) => self.case(case, scope),
            Expr::ScalarFunction(function) => self.scalar_function(function, scope),
            Expr::ScalarSubquery(subquery) => self.scalar_subquery(subquery, scope),
            Expr::Exists(exists) => {
                let (subquery, label) = self.open_subquery(&exists.subquery, scope)?;
                let exists = datafusion::logical_expr::expr::Exists { subquery, negated: exists.negated };
                Ok((Expr::Exists(exists), label))
            }
            Expr::InSubquery(test) => {
                let (inner, tested) = self.expression(&test.expr, scope)?;
                let (subquery, label) = self.open_subquery(&test.subquery, scope)?;
                let label = Label::combined([&tested, &label], "in this test")?;
                Ok((Expr::InSubquery(InSubquery { expr: Box::new(inner), subquery, negated: test.negated }), label))
            }
            Expr::OuterReferenceColumn(_, column) => Ok((expr.clone(), self.outer(column)?)),
            Expr::GroupingSet(_) => Err(grouping_sets()),
            Expr::AggregateFunction(_) => Err(unknown("an aggregate inside another expression")),
            Expr::WindowFunction(_) => Err(unknown("a window function inside another expression")),
            Expr::ScalarVariable(_, _) => Err(unknown("a variable")),
            Expr::Placeholder(_) => Err(unknown("a placeholder for a parameter")),
            Expr::SetComparison(_) => Err(Stop::new(
                Reason::Unknown,
                "a comparison with `any` or `all` of a subquery is not supported",
                "use `in (select …)`, or compare with a minimum or a maximum",
            )),
            Expr::Unnest(_) => Err(unknown("`unnest`")),
            Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
                Err(unknown("a lambda function"))
            }
            #[expect(deprecated, reason = "named so that no kind is left out")]
            Expr::Wildcard { .. } => Err(unknown("a wildcard in this place")),
        }
    }

    fn wrapped(&mut self, inner: &Expr, scope: &Scope, wrap: impl Fn(Box<Expr>) -> Expr) -> Result<Passed, Stop> {
        let (passed, label) = self.expression(inner, scope)?;
        let label = Label::combined([&label], &format!("in `{}`", written(&wrap(Box::new(inner.clone())))))?;
        Ok((wrap(Box::new(passed)), label))
    }

    /// Casts. Between numbers they keep a measure a measure where they only widen.
    fn cast(
        &mut self,
        inner: &Expr,
        field: &FieldRef,
        scope: &Scope,
        whole: &Expr,
        tried: bool,
    ) -> Result<Passed, Stop> {
        let to = field.data_type();
        let (passed, label) = self.expression(inner, scope)?;
        let from = inner.get_type(&scope.schema)?;
        let widens = is_widening(&from, to);
        let label = match &label.class {
            Class::Measure(linear) if widens && linear.numeric => label,
            Class::Entity(_) | Class::Join if widens => label,
            Class::Measure(_) => return Err(arithmetic(&label, whole)),
            _ => Label::combined([&label], &format!("in `{}`", written(whole)))?,
        };
        let constant = is_constant(inner);
        if self.total && !constant && is_decimal(to) {
            return Err(fallible(&label, whole, "cast to double in place of a decimal"));
        }
        let (expr, field) = (Box::new(passed), field.clone());
        let expr = if tried || (self.total && !widens && !constant) {
            Expr::TryCast(TryCast { expr, field })
        } else {
            Expr::Cast(Cast { expr, field })
        };
        Ok((expr, label))
    }

    fn negative(&mut self, inner: &Expr, scope: &Scope) -> Result<Passed, Stop> {
        let (passed, label) = self.expression(inner, scope)?;
        let whole = Expr::Negative(Box::new(inner.clone()));
        let label = match label.class {
            Class::Measure(linear) if linear.numeric => {
                let linear = linear.times(-1.0).ok_or_else(|| arithmetic(&label, &whole))?;
                Label { class: Class::Measure(linear), ..label }
            }
            _ => Label::combined([&label], &format!("in `{}`", written(&whole)))?,
        };
        self.computable(&whole, inner, &label, scope)?;
        Ok((Expr::Negative(Box::new(passed)), label))
    }

    fn binary(&mut self, binary: &BinaryExpr, scope: &Scope) -> Result<Passed, Stop> {
        let whole = Expr::BinaryExpr(binary.clone());
        let ((left, left_label), (right, right_label)) =
            (self.expression(&binary.left, scope)?, self.expression(&binary.right, scope)?);
        let mut label = match (&left_label.class, &right_label.class) {
            (Class::Measure(linear), _) if is_arithmetic(binary.op) => {
                let class = linear_left(*linear, binary, scope)?.ok_or_else(|| arithmetic(&left_label, &whole))?;
                Label { class: Class::Measure(class), ..left_label.clone() }
            }
            (_, Class::Measure(linear)) if is_arithmetic(binary.op) => {
                let class = linear_right(*linear, binary).ok_or_else(|| arithmetic(&right_label, &whole))?;
                Label { class: Class::Measure(class), ..right_label.clone() }
            }
            _ => Label::combined([&left_label, &right_label], &format!("in `{}`", written(&whole)))?,
        };
        if binary.op == Operator::StringConcat {
            label.copies = self.joined(&[&left_label, &right_label])?;
        }
        if is_arithmetic(binary.op) {
            self.computable(&whole, &binary.left, &label, scope)?;
            self.computable(&whole, &binary.right, &label, scope)?;
            self.divisible(binary, &label, scope)?;
        } else if !is_known(binary.op) {
            return Err(unknown(&format!("the operator `{}`", binary.op)));
        } else if self.total && is_pattern(binary.op) && !is_pattern_that_works(&whole, &binary.right) {
            return Err(fallible(&label, &whole, "write the pattern as a literal"));
        }
        Ok((Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op: binary.op, right: Box::new(right) }), label))
    }

    /// How many texts are joined in a text. Doubling again and again would exhaust memory for those rows that have one.
    fn joined(&self, parts: &[&Label]) -> Result<u32, Stop> {
        let copies = parts.iter().fold(0_u32, |sum, label| sum.saturating_add(label.copies));
        if self.total && copies > MAX_COPIES {
            return Err(Stop::new(
                Reason::TooComplex,
                "a text is joined from too many texts",
                format!("join at most {MAX_COPIES}"),
            ));
        }
        Ok(copies)
    }

    /// Arithmetic that cannot fail: on whole numbers it wraps, on floats it follows IEEE 754.
    fn computable(&self, whole: &Expr, operand: &Expr, label: &Label, scope: &Scope) -> Result<(), Stop> {
        if !self.total || is_constant(whole) {
            return Ok(());
        }
        match operand.get_type(&scope.schema)? {
            DataType::Null | DataType::Float64 | DataType::Float32 => Ok(()),
            DataType::Int64 | DataType::Int32 | DataType::Int16 | DataType::Int8 => Ok(()),
            DataType::UInt64 | DataType::UInt32 | DataType::UInt16 | DataType::UInt8 => Ok(()),
            other => Err(fallible(label, whole, &format!("compute with numbers; this is of type {other}"))),
        }
    }

    /// Division of whole numbers fails for a zero, and for the smallest number over minus one.
    fn divisible(&self, binary: &BinaryExpr, label: &Label, scope: &Scope) -> Result<(), Stop> {
        let whole = Expr::BinaryExpr(binary.clone());
        if !self.total
            || !matches!(binary.op, Operator::Divide | Operator::Modulo | Operator::IntegerDivide)
            || is_constant(&whole)
        {
            return Ok(());
        }
        let safe = literal(&binary.right).is_some_and(|value| value != 0.0 && value != -1.0);
        let float = |expr: &Expr| Ok::<bool, Stop>(matches!(expr.get_type(&scope.schema)?, DataType::Float64));
        if safe || float(&binary.left)? || float(&binary.right)? {
            return Ok(());
        }
        Err(fallible(label, &whole, &format!("write `cast({} as double) {} {}`", binary.left, binary.op, binary.right)))
    }

    fn like(&mut self, like: &Like, scope: &Scope, wrap: impl Fn(Like) -> Expr) -> Result<Passed, Stop> {
        let whole = wrap(like.clone());
        let ((expr, a), (pattern, b)) = (self.expression(&like.expr, scope)?, self.expression(&like.pattern, scope)?);
        let label = Label::combined([&a, &b], &format!("in `{}`", written(&whole)))?;
        if self.total && !is_pattern_that_works(&whole, &like.pattern) {
            return Err(fallible(&label, &whole, "write the pattern as a literal"));
        }
        Ok((wrap(Like { expr: Box::new(expr), pattern: Box::new(pattern), ..like.clone() }), label))
    }

    fn between(&mut self, between: &Between, scope: &Scope) -> Result<Passed, Stop> {
        let what = format!("in `{}`", written(&Expr::Between(between.clone())));
        let (expr, a) = self.expression(&between.expr, scope)?;
        let (low, b) = self.expression(&between.low, scope)?;
        let (high, c) = self.expression(&between.high, scope)?;
        let label = Label::combined([&a, &b, &c], &what)?;
        Ok((Expr::Between(Between::new(Box::new(expr), between.negated, Box::new(low), Box::new(high))), label))
    }

    fn in_list(&mut self, list: &InList, scope: &Scope) -> Result<Passed, Stop> {
        let what = format!("in `{}`", written(&Expr::InList(list.clone())));
        let (expr, first) = self.expression(&list.expr, scope)?;
        let mut labels = vec![first];
        let mut items = Vec::new();
        for item in &list.list {
            let (item, label) = self.expression(item, scope)?;
            items.push(item);
            labels.push(label);
        }
        let label = Label::combined(&labels, &what)?;
        Ok((Expr::InList(InList::new(Box::new(expr), items, list.negated)), label))
    }

    fn case(&mut self, case: &Case, scope: &Scope) -> Result<Passed, Stop> {
        let what = format!("in `{}`", written(&Expr::Case(case.clone())));
        let mut labels = Vec::new();
        let mut part = |expr: &Expr| -> Result<Box<Expr>, Stop> {
            let (expr, label) = self.expression(expr, scope)?;
            labels.push(label);
            Ok(Box::new(expr))
        };
        let expr = case.expr.as_deref().map(&mut part).transpose()?;
        let mut branches = Vec::new();
        for (when, then) in &case.when_then_expr {
            branches.push((part(when)?, part(then)?));
        }
        let otherwise = case.else_expr.as_deref().map(&mut part).transpose()?;
        let label = Label::combined(&labels, &what)?;
        Ok((Expr::Case(Case::new(expr, branches, otherwise)), label))
    }

    fn scalar_function(&mut self, function: &ScalarFunction, scope: &Scope) -> Result<Passed, Stop> {
        let whole = Expr::ScalarFunction(function.clone());
        let mut labels = Vec::new();
        let mut args = Vec::new();
        for arg in &function.args {
            let (arg, label) = self.expression(arg, scope)?;
            args.push(arg);
            labels.push(label);
        }
        let mut label = Label::combined(&labels, &format!("in `{}`", written(&whole)))?;
        if function.name() == "concat" {
            label.copies = self.joined(&labels.iter().collect::<Vec<_>>())?;
        }
        if self.total && !is_constant(&whole) && !self.is_total_call(function, scope)? {
            return Err(fallible(
                &label,
                &whole,
                &format!("leave `{}` out; it may be used on open columns alone", function.name()),
            ));
        }
        if self.total && function.name() == "sqrt" {
            args = args.into_iter().map(no_negative).collect::<Result<_, _>>()?;
        }
        Ok((Expr::ScalarFunction(ScalarFunction { func: function.func.clone(), args }), label))
    }

    fn is_total_call(&self, function: &ScalarFunction, scope: &Scope) -> Result<bool, Stop> {
        let rest_constant = function.args.iter().skip(1).all(is_constant);
        let natural = |expr: &Expr| literal(expr).is_some_and(|value| value >= 0.0);
        let float = || {
            Ok::<_, Stop>(match function.args.first() {
                Some(first) => matches!(first.get_type(&scope.schema)?, DataType::Float64),
                None => false,
            })
        };
        Ok(match function.name() {
            "substr" => function.args.iter().skip(1).all(natural),
            "left" | "right" => rest_constant,
            "round" | "trunc" => rest_constant && float()?,
            "abs" => float()?,
            "date_part" => function.args.first().is_some_and(is_constant),
            name => functions::is_total(name),
        })
    }

    /// A subquery in place of a value: its rows must be open, and under a guard it must be one row by construction.
    fn scalar_subquery(&mut self, subquery: &Subquery, scope: &Scope) -> Result<Passed, Stop> {
        let (passed, label) = self.open_subquery(subquery, scope)?;
        if self.total && subquery.subquery.max_rows().is_none_or(|rows| rows > 1) {
            return Err(fallible(&label, &Expr::ScalarSubquery(subquery.clone()), "end the subquery with `limit 1`"));
        }
        Ok((Expr::ScalarSubquery(passed), label))
    }

    /// A subquery whose rows are open. References to the outer query are open too ([`Checker::outer`]).
    fn open_subquery(&mut self, subquery: &Subquery, scope: &Scope) -> Result<(Subquery, Label), Stop> {
        self.outer.push(Scope { schema: scope.schema.clone(), labels: scope.labels.clone() });
        let relation = self.relation(&subquery.subquery);
        self.outer.pop();
        let relation = relation?;
        let plan = relation.open_rows().map_err(|stop| subquery_stop(&stop))?;
        let label = Label::combined(relation.labels.iter().filter(|label| label.is_open()), "in a subquery")?;
        let passed = Subquery { subquery: std::sync::Arc::new(plan), ..subquery.clone() };
        Ok((passed, Label { scans: Default::default(), ..label }))
    }

    /// A column of an enclosing query. Whichever enclosing query has a column of that name, it must be open in all.
    fn outer(&self, column: &Column) -> Result<Label, Stop> {
        let mut found = None;
        for scope in self.outer.iter().rev() {
            if let Ok(label) = scope.label(column) {
                if !label.is_open() {
                    return Err(subquery_stop(&label.misused("inside a subquery")));
                }
                found = found.or_else(|| Some(label.clone()));
            }
        }
        found.ok_or_else(|| unknown("a reference to no enclosing query"))
    }
}

/// A measure on the left of an operator: the other side is a literal.
fn linear_left(linear: Linear, binary: &BinaryExpr, scope: &Scope) -> Result<Option<Linear>, Stop> {
    let Some(value) = literal(&binary.right).filter(|_| linear.numeric) else { return Ok(None) };
    Ok(match binary.op {
        Operator::Plus => linear.plus(value),
        Operator::Minus => linear.plus(-value),
        Operator::Multiply => linear.times(value),
        Operator::Divide if value != 0.0 && matches!(binary.left.get_type(&scope.schema)?, DataType::Float64) => {
            linear.times(1.0 / value)
        }
        _ => None,
    })
}

/// A measure on the right of an operator.
fn linear_right(linear: Linear, binary: &BinaryExpr) -> Option<Linear> {
    let value = literal(&binary.left).filter(|_| linear.numeric)?;
    match binary.op {
        Operator::Plus => linear.plus(value),
        Operator::Minus => linear.times(-1.0)?.plus(value),
        Operator::Multiply => linear.times(value),
        _ => None,
    }
}

/// The value of a numeric literal.
fn literal(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::Float64(value) => *value,
            #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the factor is refused anyway")]
            ScalarValue::Int64(value) => value.map(|value| value as f64),
            _ => None,
        },
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Float64 | DataType::Int64) => {
            literal(&cast.expr)
        }
        Expr::Negative(inner) => literal(inner).map(|value| -value),
        _ => None,
    }
    .filter(|value| value.is_finite())
}

/// A root of a negative number is missing, where the engine would fail.
fn no_negative(value: Expr) -> Result<Expr, Stop> {
    let missing = Expr::Literal(ScalarValue::Float64(None), None);
    Ok(when(value.clone().lt(lit(0.0_f64)), missing).otherwise(value)?)
}

/// Whether a constant can be computed.
fn succeeds(constant: &Expr) -> bool {
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let Ok(row) = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one_row) else { return false };
    create_physical_expr(constant, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .and_then(|expr| expr.evaluate(&row))
        .is_ok()
}

/// Whether a pattern is a constant that some text can be compared with.
fn is_pattern_that_works(whole: &Expr, pattern: &Expr) -> bool {
    let pattern = Box::new(pattern.clone());
    let text = || Box::new(lit("a"));
    let tried = match whole {
        Expr::BinaryExpr(binary) => {
            Expr::BinaryExpr(BinaryExpr { left: text(), op: binary.op, right: pattern.clone() })
        }
        Expr::Like(like) => Expr::Like(Like { expr: text(), pattern: pattern.clone(), ..like.clone() }),
        Expr::SimilarTo(like) => Expr::SimilarTo(Like { expr: text(), pattern: pattern.clone(), ..like.clone() }),
        _ => return false,
    };
    is_constant(&pattern) && succeeds(&with_plain_text(tried))
}

/// The pattern as ordinary text, so that it can be tried on a literal whatever text the column is.
fn with_plain_text(tried: Expr) -> Expr {
    let plain = |expr: Box<Expr>| Box::new(Expr::Cast(Cast::new(expr, DataType::Utf8)));
    match tried {
        Expr::BinaryExpr(binary) => Expr::BinaryExpr(BinaryExpr { right: plain(binary.right), ..binary }),
        Expr::Like(like) => Expr::Like(Like { pattern: plain(like.pattern), ..like }),
        Expr::SimilarTo(like) => Expr::SimilarTo(Like { pattern: plain(like.pattern), ..like }),
        other => other,
    }
}

/// An expression as a person writes it: literals without their types, and no casts that the engine put around them.
pub(crate) fn written(expr: &Expr) -> String {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let plain = |name: String| Transformed::yes(Expr::Column(Column::new_unqualified(name)));
    let told = expr.clone().transform_up(|part| {
        Ok(match part {
            Expr::Literal(value, _) if value.is_null() => plain("null".to_owned()),
            Expr::Literal(value, _) if text(&value.data_type()) => {
                plain(format!("'{}'", value.to_string().replace('\'', "''")))
            }
            Expr::Literal(value, _) => plain(value.to_string()),
            Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
                // By now a literal; columns of tables have a qualifier.
                Expr::Column(Column { relation: None, .. }) => Transformed::yes(*expr),
                _ if text(field.data_type()) || matches!(field.data_type(), DataType::Float64) => {
                    Transformed::yes(*expr)
                }
                _ => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            other => Transformed::no(other),
        })
    });
    told.map_or_else(|_| "this expression".to_owned(), |told| told.data.to_string())
}

/// Whether no column and no subquery is in it.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    !expr
        .exists(|part| {
            Ok(matches!(
                part,
                Expr::Column(_)
                    | Expr::OuterReferenceColumn(_, _)
                    | Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
            ))
        })
        .unwrap_or(true)
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(
        op,
        Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo
            | Operator::IntegerDivide
    )
}

fn is_pattern(op: Operator) -> bool {
    use Operator::{
        ILikeMatch, LikeMatch, NotILikeMatch, NotLikeMatch, RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch,
    };
    matches!(
        op,
        RegexMatch
            | RegexIMatch
            | RegexNotMatch
            | RegexNotIMatch
            | LikeMatch
            | ILikeMatch
            | NotLikeMatch
            | NotILikeMatch
    )
}

fn is_known(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or, StringConcat};
    is_pattern(op)
        || matches!(
            op,
            Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or | IsDistinctFrom | IsNotDistinctFrom | StringConcat
        )
}

/// Casts that succeed for every value and, between numbers, change none that a double can hold.
fn is_widening(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Boolean, Date32, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Null, UInt8, UInt16, UInt32, Utf8,
        Utf8View,
    };
    let text = |kind: &DataType| matches!(kind, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (a, b) if a == b => true,
        (Null, _) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Int64) => true,
        (Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Float32, Float64) => true,
        (Boolean | Int64 | Int32 | Float64 | Date32, to) if text(to) => true,
        (from, to) => text(from) && text(to),
    }
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _)
            | DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano | IntervalUnit::YearMonth)
    )
}

fn arithmetic(label: &Label, whole: &Expr) -> Stop {
    Stop::about(
        Reason::MeasureArithmetic,
        label.origins.clone(),
        format!("`{}` computes with a measure", written(whole)),
        "aggregate first and compute with the results, such as `sum(a) + sum(b)`",
    )
}

fn fallible(label: &Label, whole: &Expr, change: &str) -> Stop {
    Stop::about(
        Reason::Fallible,
        label.origins.clone(),
        format!("`{}` could fail for some values", written(whole)),
        change,
    )
}

fn subquery_stop(stop: &Stop) -> Stop {
    match stop {
        Stop::Refused(refusal) => Stop::about(
            Reason::Subquery,
            refusal.columns.clone(),
            format!("a subquery looks at protected rows: {}", refusal.what),
            "aggregate inside the subquery, join the table instead, or write `entity in (select entity from …)`",
        ),
        Stop::Engine(_) => unknown("this subquery"),
    }
}

pub(crate) fn grouping_sets() -> Stop {
    Stop::new(
        Reason::GroupingSets,
        "ROLLUP, CUBE and GROUPING SETS are not computed",
        "use a plain `group by`, one query for each level",
    )
}

pub(crate) fn unknown(what: &str) -> Stop {
    Stop::new(Reason::Unknown, format!("{what} is not among what the checker knows"), "leave it out")
}

/// The most texts that are joined in one.
const MAX_COPIES: u32 = 100;
