//! The rules on plans.
//!
//! The checker walks a plan from the scans up and builds, beside each part, two plans: the *plain* one, which is the query's
//! own and exists as long as only open columns decide which rows there are; and the *traced* one, in which tables are
//! limited and clamped and every row carries the entities behind it. An aggregate over anything but open columns is built
//! on the traced plan with a guard above it ([`super::guard`]); what leaves the guard is released and open. At the top only
//! open rows pass. So there is no path from a protected scan to the output but through a guard.
//!
//! Every kind of plan is named here; one that is not named is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    common::{Column, DFSchema, DFSchemaRef},
    logical_expr::{
        Aggregate, BinaryExpr, Distinct, Expr, Filter, Join, JoinType, Limit, LogicalPlan, Operator, Projection, Sort,
        Subquery, SubqueryAlias, Union, Window, expr::InSubquery, utils::conjunction, utils::split_conjunction,
    },
};

use super::{
    MAX_DEPTH, MAX_NODES, RESERVED,
    expression::{Passed, Scope, is_constant, unknown, written},
    label::{Class, Label},
    refusal::{Reason, Stop, list},
    scan::Instance,
    terms::Catalogue,
};

/// The state of one walk.
pub(crate) struct Checker<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// The columns that the query reads, by table.
    pub(crate) used: &'a BTreeMap<String, BTreeSet<String>>,
    /// Whether nothing may fail for some values: so in every query that has a guard.
    pub(crate) total: bool,
    pub(crate) scans: usize,
    pub(crate) guards: Vec<super::guard::Threshold>,
    pub(crate) depth: usize,
    pub(crate) nodes: usize,
    pub(crate) outer: Vec<Scope>,
}

/// Part of a query that passed so far.
pub(crate) struct Relation {
    /// The columns that the query sees, as it sees them.
    pub(crate) schema: DFSchemaRef,
    pub(crate) labels: Vec<Label>,
    /// The query's own plan, unless protected columns decided which rows there are.
    pub(crate) plain: Option<LogicalPlan>,
    /// The same columns, of limited and clamped tables, and the hidden ones.
    pub(crate) traced: LogicalPlan,
    /// The protected scans whose rows are still rows.
    pub(crate) instances: Vec<Instance>,
    /// Pairs of scans that an equality of entity, join or open columns links.
    pub(crate) links: Vec<(usize, usize)>,
    /// Scans of which an open column decided which rows there are.
    pub(crate) referenced: BTreeSet<usize>,
    /// Scans that rows may lack, since an outer join keeps those without a partner.
    pub(crate) optional: BTreeSet<usize>,
}

impl Relation {
    /// Rows that depend on nothing but open columns.
    pub(crate) fn released(schema: DFSchemaRef, labels: Vec<Label>, plan: LogicalPlan) -> Relation {
        let labels = labels.into_iter().map(|label| Label { scans: BTreeSet::new(), ..label }).collect();
        Relation {
            schema,
            labels,
            plain: Some(plan.clone()),
            traced: plan,
            instances: vec![],
            links: vec![],
            referenced: BTreeSet::new(),
            optional: BTreeSet::new(),
        }
    }

    /// The plain plan, if its rows and all its columns are open.
    pub(crate) fn open_rows(&self) -> Result<LogicalPlan, Stop> {
        // What no grouping would help is said first.
        let never = self.labels.iter().find(|label| !label.is_groupable());
        if let Some(label) = never.or_else(|| self.labels.iter().find(|label| !label.is_open())) {
            return Err(label.misused("in the output"));
        }
        self.open_presence(&self.labels)
    }

    /// The plain plan, if its rows are open and each table is looked at through an open column of it.
    pub(crate) fn open_presence(&self, labels: &[Label]) -> Result<LogicalPlan, Stop> {
        let row_level = |what: String| {
            Stop::about(
                Reason::RowLevel,
                self.labels.iter().flat_map(|label| label.origins.iter().cloned()).collect(),
                what,
                "aggregate: `select …, count(*) … group by …`",
            )
        };
        let plan = self.plain.clone().ok_or_else(|| {
            row_level("the output would be rows of single entities, chosen by protected columns".to_owned())
        })?;
        let seen = |number: &usize| {
            self.referenced.contains(number)
                || labels.iter().any(|label| label.is_open() && label.scans.contains(number))
        };
        match self.instances.iter().find(|instance| !seen(&instance.number)) {
            Some(instance) => Err(row_level(format!("the output would show how many rows `{}` has", instance.table))),
            None => Ok(plan),
        }
    }

    /// Forgets the protected columns: what is left is open.
    fn open_part(self, reason: Reason, what: &str) -> Result<Relation, Stop> {
        if self.instances.is_empty() && self.plain.is_some() {
            return Ok(self);
        }
        let plan = self.open_presence(&self.labels).map_err(|_| {
            let columns = self.labels.iter().flat_map(|label| label.origins.iter().cloned()).collect();
            Stop::about(
                reason,
                columns,
                format!("{what} over rows of single entities"),
                "aggregate in a subquery first and apply it to the result",
            )
        })?;
        let close =
            |label: Label| if label.is_open() { label } else { Label { class: Class::Closed(reason), ..label } };
        Ok(Relation::released(self.schema, self.labels.into_iter().map(close).collect(), plan))
    }
}

impl Checker<'_> {
    /// One part of a plan.
    pub(crate) fn relation(&mut self, plan: &LogicalPlan) -> Result<Relation, Stop> {
        self.depth += 1;
        self.nodes += 1;
        if self.depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(Stop::new(Reason::TooComplex, "the query is too large", "split it into several computations"));
        }
        if let Some(field) = plan.schema().fields().iter().find(|field| field.name().starts_with(RESERVED)) {
            return Err(Stop::new(
                Reason::Reserved,
                format!("`{}` is a reserved name", field.name()),
                "choose another name",
            ));
        }
        let relation = self.relation_inner(plan);
        self.depth -= 1;
        relation
    }

    fn relation_inner(&mut self, plan: &LogicalPlan) -> Result<Relation, Stop> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(_)) => {
                Err(Stop::new(Reason::Limit, "`distinct on` picks single rows", "use `group by` with aggregates"))
            }
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Values(values) => {
                if values.values.iter().flatten().all(is_constant) {
                    let labels = vec![Label::constant(); values.schema.fields().len()];
                    Ok(Relation::released(values.schema.clone(), labels, plan.clone()))
                } else {
                    Err(unknown("a list of values that are not literals"))
                }
            }
            LogicalPlan::EmptyRelation(empty) => {
                let labels = vec![Label::constant(); empty.schema.fields().len()];
                Ok(Relation::released(empty.schema.clone(), labels, plan.clone()))
            }
            LogicalPlan::Subquery(_) => Err(unknown("a lateral subquery")),
            LogicalPlan::RecursiveQuery(_) => Err(unknown("a recursive query")),
            LogicalPlan::Repartition(_) => Err(unknown("a repartition")),
            LogicalPlan::Unnest(_) => Err(unknown("`unnest`")),
            LogicalPlan::Extension(_) => Err(unknown("an extension of the engine")),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Err(unknown("`explain`")),
            LogicalPlan::Statement(_) | LogicalPlan::DescribeTable(_) => Err(unknown("a statement other than a query")),
            LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
                Err(unknown("a statement that changes data"))
            }
        }
    }

    fn projection(&mut self, projection: &Projection) -> Result<Relation, Stop> {
        let input = self.relation(&projection.input)?;
        let scope = input.scope();
        let (mut expressions, mut labels) = (Vec::new(), Vec::new());
        for original in &projection.expr {
            let (passed, label) = self.expression(original, &scope)?;
            expressions.push(named(original, passed));
            labels.push(label);
        }
        // Protected columns that are computed with decide nothing about which rows there are, so both plans go on; a label
        // that is not open keeps the column from being shown.
        let plain = match input.plain {
            Some(plain) => Some(LogicalPlan::Projection(Projection::try_new(expressions.clone(), Arc::new(plain))?)),
            None => None,
        };
        expressions.extend(hidden(&input.traced));
        let traced = LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(input.traced))?);
        Ok(Relation { schema: projection.schema.clone(), labels, plain, traced, ..input })
    }

    fn filter(&mut self, filter: &Filter) -> Result<Relation, Stop> {
        let mut input = self.relation(&filter.input)?;
        let scope = input.scope();
        let mut parts = Vec::new();
        let mut open = true;
        for part in split_conjunction(&filter.predicate) {
            open &= self.condition(part, &scope, &mut input, &mut parts).map_err(Stop::choosing_rows)?;
        }
        let Some(predicate) = conjunction(parts) else { return Ok(input) };
        let over =
            |plan: LogicalPlan| Ok::<_, Stop>(LogicalPlan::Filter(Filter::try_new(predicate.clone(), Arc::new(plan))?));
        input.plain = if open { input.plain.map(&over).transpose()? } else { None };
        input.traced = over(input.traced)?;
        Ok(input)
    }

    /// One condition on rows. Adds it to `parts`, and says whether it is open.
    fn condition(
        &mut self,
        part: &Expr,
        scope: &Scope,
        relation: &mut Relation,
        parts: &mut Vec<Expr>,
    ) -> Result<bool, Stop> {
        if let Expr::InSubquery(test) = part
            && let Some(passed) = self.entity_in(test, scope, relation)?
        {
            parts.push(passed);
            return Ok(false);
        }
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part {
            let ((a, left_label), (b, right_label)) = (self.expression(left, scope)?, self.expression(right, scope)?);
            if !(left_label.is_groupable() && right_label.is_groupable()) {
                keys(&left_label, &right_label, part)?;
                link(relation, &left_label, &right_label);
                parts.push(a.eq(b));
                return Ok(false);
            }
            let label = Label::combined([&left_label, &right_label], "to choose rows")?;
            if label.is_open() {
                link(relation, &left_label, &right_label);
            }
            relation.referenced.extend(&label.scans);
            parts.push(a.eq(b));
            return Ok(label.is_open());
        }
        let (passed, label) = self.expression(part, scope)?;
        if !label.is_groupable() {
            return Err(label.misused("to choose rows"));
        }
        relation.referenced.extend(&label.scans);
        parts.push(passed);
        Ok(label.is_open())
    }

    /// `entity in (select entity …)`: the entities of the other table behind a row are those of this one.
    fn entity_in(&mut self, test: &InSubquery, scope: &Scope, relation: &mut Relation) -> Result<Option<Expr>, Stop> {
        let (tested, label) = self.expression(&test.expr, scope)?;
        let Class::Entity(entity) = &label.class else { return Ok(None) };
        self.outer.push(Scope { schema: scope.schema.clone(), labels: scope.labels.clone() });
        let other = self.relation(&test.subquery.subquery);
        self.outer.pop();
        let other = other?;
        let whole = Expr::InSubquery(test.clone());
        if test.negated {
            return Err(Stop::about(
                Reason::AntiJoin,
                label.origins.clone(),
                format!("`{}` looks for those that are absent", written(&whole)),
                "leave the condition out, or count those that are present",
            ));
        }
        let [their] = other.labels.as_slice() else { return Err(unknown("a subquery of several columns")) };
        keys(&label, their, &whole)?;
        let hidden_name = entity.hidden.clone();
        let instances = semi(&other, their, &hidden_name)?;
        link_semi(relation, &label, instances);
        let columns = columns(&other.schema);
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(other.traced))?);
        let subquery = Subquery { subquery: Arc::new(plan), ..test.subquery.clone() };
        Ok(Some(Expr::InSubquery(InSubquery { expr: Box::new(tested), subquery, negated: false })))
    }

    fn join(&mut self, join: &Join) -> Result<Relation, Stop> {
        let (left, right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => self.row_join(join, left, right),
            JoinType::LeftSemi | JoinType::LeftAnti => self.half_join(join, left, right, true),
            JoinType::RightSemi | JoinType::RightAnti => self.half_join(join, left, right, false),
            JoinType::LeftMark | JoinType::RightMark => Err(unknown("a mark join")),
        }
    }

    /// Joins whose rows have the columns of both sides.
    fn row_join(&mut self, join: &Join, left: Relation, right: Relation) -> Result<Relation, Stop> {
        let (left_scope, right_scope) = (left.scope(), right.scope());
        let mut joined = Relation {
            schema: join.schema.clone(),
            labels: left.labels.iter().chain(&right.labels).cloned().collect(),
            plain: None,
            traced: left.traced.clone(),
            instances: left.instances.iter().chain(&right.instances).cloned().collect(),
            links: left.links.iter().chain(&right.links).copied().collect(),
            referenced: left.referenced.union(&right.referenced).copied().collect(),
            optional: left.optional.union(&right.optional).copied().collect(),
        };
        let numbers = |side: &Relation| side.instances.iter().map(|instance| instance.number).collect::<Vec<_>>();
        if matches!(join.join_type, JoinType::Left | JoinType::Full) {
            joined.optional.extend(numbers(&right));
        }
        if matches!(join.join_type, JoinType::Right | JoinType::Full) {
            joined.optional.extend(numbers(&left));
        }
        let mut open = true;
        let mut on = Vec::new();
        for (a, b) in &join.on {
            let ((a, a_label), (b, b_label)) = (self.expression(a, &left_scope)?, self.expression(b, &right_scope)?);
            let whole = a.clone().eq(b.clone());
            if !(a_label.is_groupable() && b_label.is_groupable()) {
                keys(&a_label, &b_label, &whole)?;
                link(&mut joined, &a_label, &b_label);
                open = false;
            } else if a_label.is_open() && b_label.is_open() {
                link(&mut joined, &a_label, &b_label);
                joined.referenced.extend(a_label.scans.iter().chain(&b_label.scans));
            } else {
                open = false;
            }
            on.push((a, b));
        }
        let mut parts = Vec::new();
        let scope = joined.scope();
        for part in join.filter.as_ref().map(split_conjunction).unwrap_or_default() {
            if join.join_type != JoinType::Inner && matches!(part, Expr::InSubquery(_)) {
                // An outer join keeps rows for which the test is false: it would tell who is absent.
                let test = self.expression(part, &scope)?.1;
                open &= test.is_open();
            }
            open &= self.condition(part, &scope, &mut joined, &mut parts)?;
        }
        let filter = conjunction(parts);
        joined.plain = match (left.plain, right.plain) {
            (Some(left), Some(right)) if open => Some(rebuilt(join, left, right, &on, filter.clone())?),
            _ => None,
        };
        joined.traced = rebuilt(join, left.traced, right.traced, &on, filter)?;
        Ok(joined)
    }

    /// Joins that keep the rows of one side, by whether the other side has a match.
    fn half_join(&mut self, join: &Join, left: Relation, right: Relation, keeps_left: bool) -> Result<Relation, Stop> {
        let anti = matches!(join.join_type, JoinType::LeftAnti | JoinType::RightAnti);
        let (left_scope, right_scope) = (left.scope(), right.scope());
        let mut labels = Vec::new();
        let mut on = Vec::new();
        for (a, b) in &join.on {
            let ((a, a_label), (b, b_label)) = (self.expression(a, &left_scope)?, self.expression(b, &right_scope)?);
            labels.push((a_label, b_label));
            on.push((a, b));
        }
        let scope = Scope {
            schema: Arc::new(left.schema.join(&right.schema)?),
            labels: left.labels.iter().chain(&right.labels).cloned().collect(),
        };
        let (mut parts, mut filter_open) = (Vec::new(), true);
        for part in join.filter.as_ref().map(split_conjunction).unwrap_or_default() {
            if let Some(((a, a_label), (b, b_label))) = self.key_in_filter(part, &left, &right)? {
                parts.push(a.eq(b));
                labels.push((a_label, b_label));
            } else {
                let (passed, label) = self.expression(part, &scope)?;
                filter_open &= label.is_open();
                parts.push(passed);
            }
        }
        let filter = conjunction(parts);
        let all_open = filter_open && labels.iter().all(|(a, b)| a.is_open() && b.is_open());
        let (kept, other) = if keeps_left { (left, right) } else { (right, left) };
        let sides = |kept: LogicalPlan, other: LogicalPlan| if keeps_left { (kept, other) } else { (other, kept) };
        let build = |kept: LogicalPlan, other: LogicalPlan, filter: Option<Expr>| {
            let (left, right) = sides(kept, other);
            rebuilt(join, left, right, &on, filter)
        };
        if all_open {
            let theirs: Vec<Label> =
                labels.iter().map(|(a, b)| if keeps_left { b.clone() } else { a.clone() }).collect();
            let other_plan = other.open_presence(&theirs)?;
            let mine = labels.iter().flat_map(|(a, b)| if keeps_left { &a.scans } else { &b.scans });
            let referenced = kept.referenced.iter().chain(mine).copied().collect();
            let plain = kept.plain.clone().map(|kept| build(kept, other_plan.clone(), filter.clone())).transpose()?;
            let traced = build(kept.traced.clone(), other_plan, filter)?;
            return Ok(Relation { plain, traced, referenced, ..kept });
        }
        let columns: BTreeSet<_> = labels.iter().flat_map(|(a, b)| a.origins.union(&b.origins).cloned()).collect();
        if anti {
            let what = format!("{} would tell who is absent", list(&columns));
            return Err(Stop::about(
                Reason::AntiJoin,
                columns,
                what,
                "leave the condition out, or count those that are present",
            ));
        }
        let ([(a, b)], true) = (labels.as_slice(), filter_open) else {
            let what = format!("{} cannot be matched this way", list(&columns));
            return Err(Stop::about(Reason::JoinKeys, columns, what, "match on the entity column alone"));
        };
        let (mine, theirs) = if keeps_left { (a, b) } else { (b, a) };
        let Class::Entity(entity) = &mine.class else { return Err(mine.misused("to find matches")) };
        keys(mine, theirs, &Expr::Column(Column::new_unqualified("a semi join")))?;
        let instances = semi(&other, theirs, &entity.hidden)?;
        let traced = build(kept.traced.clone(), other.traced.clone(), filter)?;
        let mut relation = Relation { plain: None, traced, ..kept };
        link_semi(&mut relation, mine, instances);
        Ok(relation)
    }

    /// An equality of a column of one side with a column of the other, the left one first.
    fn key_in_filter(
        &mut self,
        part: &Expr,
        left: &Relation,
        right: &Relation,
    ) -> Result<Option<(Passed, Passed)>, Stop> {
        let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = part else { return Ok(None) };
        let (Expr::Column(a), Expr::Column(b)) = (a.as_ref(), b.as_ref()) else { return Ok(None) };
        let (a, b) = if left.schema.has_column(a) { (a, b) } else { (b, a) };
        if !(left.schema.has_column(a) && right.schema.has_column(b)) {
            return Ok(None);
        }
        let mine = self.expression(&Expr::Column(a.clone()), &left.scope())?;
        Ok(Some((mine, self.expression(&Expr::Column(b.clone()), &right.scope())?)))
    }

    fn distinct(&mut self, input: &LogicalPlan) -> Result<Relation, Stop> {
        let input = self.relation(input)?;
        if let Ok(plan) = input.open_rows() {
            let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(plan)));
            return Ok(Relation::released(input.schema, input.labels, plan));
        }
        let groups = columns(&input.schema);
        let (schema, labels) = (input.schema.clone(), input.labels.clone());
        self.guarded(input, groups, &labels, vec![], &schema, vec![])
    }

    fn sort(&mut self, sort: &Sort) -> Result<Relation, Stop> {
        let mut input = self.relation(&sort.input)?;
        if sort.fetch.is_some() {
            input = input.open_part(Reason::Limit, "`limit`")?;
        }
        let scope = input.scope();
        let mut order = Vec::new();
        for by in &sort.expr {
            let (expr, label) = self.expression(&by.expr, &scope)?;
            if !label.is_groupable() {
                return Err(label.misused("to order by"));
            }
            order.push(datafusion::logical_expr::SortExpr { expr, ..by.clone() });
            input.plain = input.plain.filter(|_| label.is_open());
        }
        let over = |plan: LogicalPlan| {
            LogicalPlan::Sort(Sort { expr: order.clone(), input: Arc::new(plan), fetch: sort.fetch })
        };
        // The order of rows means nothing to an aggregate.
        input.traced = if input.instances.is_empty() { over(input.traced) } else { input.traced };
        input.plain = input.plain.map(over);
        Ok(input)
    }

    fn limit(&mut self, limit: &Limit) -> Result<Relation, Stop> {
        if !limit.skip.iter().chain(&limit.fetch).all(|expr| is_constant(expr)) {
            return Err(unknown("a limit that is not a literal"));
        }
        let input = self.relation(&limit.input)?.open_part(Reason::Limit, "`limit`")?;
        let over = |plan: LogicalPlan| LogicalPlan::Limit(Limit { input: Arc::new(plan), ..limit.clone() });
        let plan = over(input.traced);
        Ok(Relation::released(input.schema, input.labels, plan))
    }

    fn window(&mut self, window: &Window) -> Result<Relation, Stop> {
        let input = self.relation(&window.input)?.open_part(Reason::Window, "a window function")?;
        let scope = input.scope();
        let mut labels = input.labels.clone();
        let mut expressions = Vec::new();
        for original in &window.window_expr {
            let (passed, label) = self.window_function(original, &scope)?;
            expressions.push(named(original, passed));
            labels.push(label);
        }
        let plan = LogicalPlan::Window(Window::try_new(expressions, Arc::new(input.traced))?);
        Ok(Relation::released(window.schema.clone(), labels, plan))
    }

    fn union(&mut self, union: &Union) -> Result<Relation, Stop> {
        let inputs = union.inputs.iter().map(|input| self.relation(input)).collect::<Result<Vec<_>, _>>()?;
        let mut labels: Vec<Label> = Vec::new();
        for place in 0..union.schema.fields().len() {
            let column: Vec<&Label> = inputs.iter().filter_map(|input| input.labels.get(place)).collect();
            labels.push(super::guard::union_label(&column)?);
        }
        let all_hidden: Vec<(String, datafusion::arrow::datatypes::DataType)> = inputs
            .iter()
            .flat_map(|input| input.traced.schema().fields().iter())
            .filter(|field| field.name().starts_with(RESERVED))
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect();
        let plain = inputs.iter().map(|input| input.plain.clone()).collect::<Option<Vec<_>>>();
        let plain = plain.map(|plans| stacked(union, plans, &inputs, &[])).transpose()?;
        let traced = stacked(union, inputs.iter().map(|input| input.traced.clone()).collect(), &inputs, &all_hidden)?;
        // The branches are about the same groups, so they count as linked.
        let mut links: Vec<(usize, usize)> = inputs.iter().flat_map(|input| input.links.iter().copied()).collect();
        let firsts: Vec<usize> =
            inputs.iter().filter_map(|input| input.instances.first()).map(|instance| instance.number).collect();
        links.extend(firsts.iter().zip(firsts.iter().skip(1)).map(|(a, b)| (*a, *b)));
        Ok(Relation {
            schema: union.schema.clone(),
            labels,
            plain,
            traced,
            links,
            referenced: inputs.iter().flat_map(|input| input.referenced.iter().copied()).collect(),
            optional: inputs.iter().flat_map(|input| input.optional.iter().copied()).collect(),
            instances: inputs.into_iter().flat_map(|input| input.instances).collect(),
        })
    }

    fn alias(&mut self, alias: &SubqueryAlias) -> Result<Relation, Stop> {
        let input = self.relation(&alias.input)?;
        let over = |plan: LogicalPlan| {
            Ok::<_, Stop>(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?))
        };
        let plain = input.plain.map(&over).transpose()?;
        let traced = over(input.traced)?;
        Ok(Relation { schema: alias.schema.clone(), plain, traced, ..input })
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Relation, Stop> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(super::expression::grouping_sets());
        }
        let input = self.relation(&aggregate.input)?;
        self.aggregated(aggregate, input)
    }
}

/// The expression under the name that the query knows it by.
pub(crate) fn named(original: &Expr, passed: Expr) -> Expr {
    let (relation, name) = original.qualified_name();
    if passed.qualified_name() == (relation.clone(), name.clone()) {
        passed
    } else {
        passed.alias_qualified(relation, name)
    }
}

/// All columns of a schema.
pub(crate) fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field)))).collect()
}

/// The hidden columns of a plan.
pub(crate) fn hidden(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema()
        .iter()
        .filter(|(_, field)| field.name().starts_with(RESERVED))
        .map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
        .collect()
}

/// R11: which keys may be equated. Both are columns: labels that were computed are never entities or join keys.
fn keys(a: &Label, b: &Label, whole: &Expr) -> Result<(), Stop> {
    match (&a.class, &b.class) {
        (Class::Entity(a), Class::Entity(b)) if a.domain == b.domain => Ok(()),
        (Class::Join, Class::Join) => Ok(()),
        (Class::Measure(_) | Class::Closed(_), _) => Err(a.misused(&format!("in `{}`", written(whole)))),
        (_, Class::Measure(_) | Class::Closed(_)) => Err(b.misused(&format!("in `{}`", written(whole)))),
        (_, Class::Open) if b.origins.is_empty() => Err(a.misused(&format!("in `{}`", written(whole)))),
        (Class::Open, _) if a.origins.is_empty() => Err(b.misused(&format!("in `{}`", written(whole)))),
        _ => Err(Stop::about(
            Reason::JoinKeys,
            a.origins.union(&b.origins).cloned().collect(),
            format!("{} and {} have rules that do not fit", list(&a.origins), list(&b.origins)),
            "join entity columns of one domain, or join columns with join columns",
        )),
    }
}

fn link(relation: &mut Relation, a: &Label, b: &Label) {
    relation.links.extend(a.scans.iter().flat_map(|a| b.scans.iter().map(|b| (*a, *b))));
}

/// The scans behind a semi join, counted by the entity column of the side that is kept.
fn semi(other: &Relation, key: &Label, kept_hidden: &str) -> Result<Vec<Instance>, Stop> {
    let too_much = |what: &str| {
        Stop::about(
            Reason::Subquery,
            key.origins.clone(),
            format!("{what}, so its entities cannot be counted"),
            "join the tables in `from` instead",
        )
    };
    if kept_hidden.is_empty() {
        return Err(too_much("the column comes from a union"));
    }
    let [instance] = other.instances.as_slice() else {
        return Err(too_much("the subquery reads several protected tables"));
    };
    let [unit] = instance.units.as_slice() else {
        return Err(too_much("the subquery's table has several entity columns"));
    };
    let unit = super::scan::Unit { hidden: kept_hidden.to_owned(), ..unit.clone() };
    Ok(vec![Instance { units: vec![unit], ..instance.clone() }])
}

fn link_semi(relation: &mut Relation, mine: &Label, instances: Vec<Instance>) {
    for instance in instances {
        relation.links.extend(mine.scans.iter().map(|scan| (*scan, instance.number)));
        relation.instances.push(instance);
    }
}

fn rebuilt(
    join: &Join,
    left: LogicalPlan,
    right: LogicalPlan,
    on: &[(Expr, Expr)],
    filter: Option<Expr>,
) -> Result<LogicalPlan, Stop> {
    let rebuilt = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on.to_vec(),
        filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(LogicalPlan::Join(rebuilt))
}

/// A UNION ALL with the hidden columns of all branches, each NULL in the branches that lack it.
fn stacked(
    union: &Union,
    plans: Vec<LogicalPlan>,
    inputs: &[Relation],
    all_hidden: &[(String, datafusion::arrow::datatypes::DataType)],
) -> Result<LogicalPlan, Stop> {
    let mut branches = Vec::new();
    for (plan, input) in plans.into_iter().zip(inputs) {
        let mut output: Vec<Expr> = Vec::new();
        for (expr, field) in columns(&input.schema).into_iter().zip(union.schema.fields()) {
            output.push(expr.alias(field.name()));
        }
        for (name, kind) in all_hidden {
            let own = hidden(&plan).into_iter().find(|expr| expr.qualified_name().1 == *name);
            let missing = || Ok::<_, Stop>(Expr::Literal(datafusion::scalar::ScalarValue::try_from(kind)?, None));
            output.push(own.map_or_else(missing, Ok)?.alias(name));
        }
        branches.push(Arc::new(LogicalPlan::Projection(Projection::try_new(output, Arc::new(plan))?)));
    }
    let stacked = LogicalPlan::Union(Union::try_new_with_loose_types(branches)?);
    let mut output: Vec<Expr> = Vec::new();
    for (expr, (qualifier, field)) in columns(stacked.schema()).into_iter().zip(union.schema.iter()) {
        output.push(named(&Expr::Column(Column::from((qualifier, field))), expr));
    }
    output.extend(hidden(&stacked));
    Ok(LogicalPlan::Projection(Projection::try_new(output, Arc::new(stacked))?))
}
