//! Owners' conditions: Cedar policies over an Attestation Result and a request, held against a schema that ships with the broker.
//!
//! A text is compiled when it is written, and refused there with the place of the fault: what does not parse, speaks of an attribute that
//! does not exist, or compares things that cannot be equal (strict validation). Texts are named by their digest, so the log says under
//! which conditions each secret left. What no `permit` allows is denied, and a denial names the policy that came nearest and the
//! first clause of it that was not met.
//!
//! Deliberately absent: templates, partial evaluation, extension types, and any input other than the Result and the request, so that
//! the same question has the same answer.

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr as _,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use agreement::documents::{SecretPath, SecretPush};
use attest::Tier;
use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicySet, Request,
    RestrictedExpression, Schema, ValidationError, ValidationMode, Validator,
};
use envelope::{Digest, text::shown};
use miette::Diagnostic;
use serde_json::{Value, json};

use super::evidence::Examined;

/// Conditions that were compiled and found valid.
pub struct Conditions {
    digest: Digest,
    policies: PolicySet,
}

/// Why a text holds no valid conditions. Its words say where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{words}{}", .help.as_ref().map(|help| format!("\nhint: {help}")).unwrap_or_default())]
pub struct ConditionsError {
    place: String,
    words: String,
    help: Option<String>,
}

/// Why conditions were not met. For the owner and the operator, not for the Attester.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}`: {clause}")]
pub struct Denial {
    /// The name of the policy: its `@id`, or `policy` and its place in the text.
    pub policy: String,
    /// What was not met.
    pub clause: String,
}

/// Compiled conditions by digest, so that each text is compiled once.
#[derive(Default)]
pub(crate) struct Compiled {
    known: Mutex<HashMap<Digest, Arc<Conditions>>>,
}

impl Conditions {
    /// Compiles a text.
    ///
    /// # Errors
    /// [`ConditionsError`], with line and column.
    pub fn compile(text: &str) -> Result<Conditions, ConditionsError> {
        let plain = |words: &str| ConditionsError { place: String::new(), words: words.to_owned(), help: None };
        if text.len() > SecretPush::MAX_POLICY {
            return Err(plain("the conditions are too long"));
        }
        if !is_shallow(text) {
            return Err(plain("the conditions are nested too deeply, or one policy has too many operators"));
        }
        // One at a time, so that many texts at once cost no more memory than one.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        roomy(|| Conditions::parse(text)).unwrap_or_else(|| Err(plain("the conditions cannot be compiled")))
    }

    fn parse(text: &str) -> Result<Conditions, ConditionsError> {
        let plain = |words: &str| ConditionsError { place: String::new(), words: words.to_owned(), help: None };
        let policies = PolicySet::from_str(text).map_err(|error| fault(text, &error))?;
        if policies.num_of_templates() > 0 {
            return Err(plain("templates are not served"));
        }
        match policies.num_of_policies() {
            0 => {
                return Err(plain(
                    "there is no policy in the conditions\nhint: `permit(principal, action, resource) when { … };`",
                ));
            }
            1..=MOST_POLICIES => {}
            _ => return Err(plain("there are more policies in the conditions than are served")),
        }
        let result = Validator::new(schema()?.clone()).validate(&policies, ValidationMode::Strict);
        // The library gives them in no order; people read from the top.
        let place =
            |error: &&ValidationError| error.labels().and_then(|mut labels| labels.next()).map(|at| at.offset());
        if let Some(error) = result.validation_errors().min_by_key(place) {
            return Err(fault(text, error));
        }
        Ok(Conditions { digest: Digest::of(text.as_bytes()), policies })
    }

    /// The digest of the text.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether a secret may leave to the holder of a key (by its thumbprint) with this Result.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn decide(&self, holder: &str, examined: &Examined, path: &SecretPath) -> Result<(), Denial> {
        let request =
            request(holder, examined, path).map_err(|clause| Denial { policy: "schema".to_owned(), clause })?;
        let ask = || Authorizer::new().is_authorized(&request, &self.policies, &Entities::empty());
        let mut answer = ask();
        // Many clauses nest deeply once they are compiled; what fails for want of stack alone is asked again where there is more.
        if answer.diagnostics().errors().next().is_some() {
            answer = roomy(ask).unwrap_or(answer);
        }
        if answer.decision() == Decision::Allow && answer.diagnostics().errors().next().is_none() {
            return Ok(());
        }
        if let Some(forbids) = answer.diagnostics().reason().next().filter(|_| answer.decision() == Decision::Deny) {
            let clause = "it forbids this release".to_owned();
            return Err(Denial { policy: self.name(forbids), clause });
        }
        if let Some(error) = answer.diagnostics().errors().next() {
            let clause = shown(&error.to_string(), 300);
            return Err(Denial { policy: "evaluation".to_owned(), clause });
        }
        let nearest = roomy(|| self.nearest(&request));
        Err(nearest.unwrap_or_else(|| Denial { policy: "none".to_owned(), clause: "no policy permits it".to_owned() }))
    }

    /// The policy that came nearest, and its first clause that was not met.
    fn nearest(&self, request: &Request) -> Denial {
        let permits = self.policies.policies().filter(|policy| policy.effect() == Effect::Permit);
        let mut nearest: Option<(usize, Denial)> = None;
        for policy in permits {
            let (met, clause) = first_unmet(policy, request);
            if nearest.as_ref().is_none_or(|(most, _)| met > *most) {
                nearest = Some((met, Denial { policy: self.name(policy.id()), clause }));
            }
        }
        nearest.map_or_else(
            || Denial { policy: "none".to_owned(), clause: "no policy permits anything".to_owned() },
            |(_, denial)| denial,
        )
    }

    fn name(&self, id: &cedar_policy::PolicyId) -> String {
        let name = self.policies.annotation(id, "id").map_or_else(|| id.to_string(), str::to_owned);
        shown(&name, 100)
    }
}

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conditions({})", self.digest)
    }
}

impl Compiled {
    /// The conditions of this text, compiled now or before.
    pub(crate) fn of(&self, digest: &Digest, text: impl FnOnce() -> Option<String>) -> Option<Arc<Conditions>> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Some(Arc::clone(known));
        }
        let conditions = Conditions::compile(&text()?).ok().filter(|conditions| conditions.digest == *digest)?;
        Some(self.keep(conditions))
    }

    /// Keeps what was compiled.
    pub(crate) fn keep(&self, conditions: Conditions) -> Arc<Conditions> {
        let conditions = Arc::new(conditions);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_COMPILED {
            known.clear();
        }
        known.insert(conditions.digest, Arc::clone(&conditions));
        conditions
    }
}

/// How many clauses of a policy are met before the first that is not, and that one's text. Its head counts as the first.
fn first_unmet(policy: &Policy, request: &Request) -> (usize, String) {
    let unknown = || (0, "it does not permit this release".to_owned());
    let Ok(Value::Object(mut written)) = policy.to_json() else { return unknown() };
    let Some(Value::Array(conditions)) = written.remove("conditions") else { return unknown() };
    let mut permits = |conditions: &[Value]| {
        written.insert("conditions".to_owned(), Value::Array(conditions.to_vec()));
        let policy = Policy::from_json(None, Value::Object(written.clone())).ok();
        let met =
            policy.as_ref().and_then(|policy| PolicySet::from_policies([policy.clone()]).ok()).is_some_and(|set| {
                Authorizer::new().is_authorized(request, &set, &Entities::empty()).decision() == Decision::Allow
            });
        (met, policy)
    };
    if !permits(&[]).0 {
        return (0, "its head does not cover this request".to_owned());
    }
    let mut clauses = Vec::new();
    for condition in conditions {
        split(condition, &mut clauses);
    }
    // Each is asked alone: those before it were met, so what it relies on is there, and the cost grows with the text and not its square.
    for (met, clause) in clauses.iter().enumerate() {
        let (is_met, alone) = permits(std::slice::from_ref(clause));
        if is_met {
            continue;
        }
        let text = alone.map(|policy| policy.to_string()).unwrap_or_default();
        let clause = text.find(" when ").or_else(|| text.find(" unless ")).and_then(|at| text.get(at..));
        let clause = clause.unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        let clause = clause.trim_end_matches(';');
        return (met.saturating_add(1), format!("not met: {}", shown(clause, 500)));
    }
    unknown()
}

/// The parts of a condition that must all hold, in their order.
fn split(condition: Value, clauses: &mut Vec<Value>) {
    let whole = condition.clone();
    let Value::Object(mut parts) = condition else { return };
    if parts.get("kind").and_then(Value::as_str) != Some("when") {
        clauses.push(whole);
        return;
    }
    let mut left = vec![parts.remove("body").unwrap_or(Value::Null)];
    while let Some(body) = left.pop() {
        match body {
            Value::Object(mut and) if and.contains_key("&&") => {
                if let Some(Value::Object(mut sides)) = and.remove("&&") {
                    left.extend(sides.remove("right"));
                    left.extend(sides.remove("left"));
                }
            }
            other => clauses.push(json!({ "kind": "when", "body": other })),
        }
    }
}

/// Written as values and not as JSON, of which the library tries every reading in turn: that alone cost more than everything else of a release.
fn request(holder: &str, examined: &Examined, path: &SecretPath) -> Result<Request, String> {
    let schema = schema().map_err(|error| error.to_string())?;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let texts = |set: &BTreeSet<String>| RestrictedExpression::new_set(set.iter().map(|each| text(each)));
    let mut result = vec![
        ("tee", text(examined.tee())),
        ("assurance", text(examined.assurance())),
        ("tier", text(examined.tier().name())),
        ("tier_level", RestrictedExpression::new_long(level(examined.tier()))),
        ("measurements", texts(examined.measurements())),
        ("claims", texts(examined.claims())),
    ];
    result.extend(examined.hardware_id().map(|id| ("hardware_id", text(id))));
    let secret = vec![("repository", text(path.repository())), ("type", text(path.kind())), ("tag", text(path.tag()))];
    let context = Context::from_pairs([("result".to_owned(), record(result)?), ("secret".to_owned(), record(secret)?)]);
    let context = context.map_err(|error| error.to_string())?;
    let names = names()?;
    let name = |kind: &EntityTypeName, id: &str| EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
    let (principal, resource) = (name(&names.attester, holder), name(&names.secret, path.as_str()));
    Request::new(principal, name(&names.action, "release"), resource, context, Some(schema))
        .map_err(|error| error.to_string())
}

fn record(fields: Vec<(&str, RestrictedExpression)>) -> Result<RestrictedExpression, String> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).map_err(|error| error.to_string())
}

/// The types of the schema. The library parses a name as a whole text.
struct Names {
    attester: EntityTypeName,
    secret: EntityTypeName,
    action: EntityTypeName,
}

fn names() -> Result<&'static Names, String> {
    static NAMES: LazyLock<Result<Names, String>> = LazyLock::new(|| {
        let name = |kind: &str| EntityTypeName::from_str(kind).map_err(|error| error.to_string());
        Ok(Names { attester: name("Attester")?, secret: name("Secret")?, action: name("Action")? })
    });
    NAMES.as_ref().map_err(Clone::clone)
}

const fn level(tier: Tier) -> i64 {
    match tier {
        Tier::SoftwareTpm => 0,
        Tier::Tpm => 1,
        Tier::Sgx => 2,
        Tier::ConfidentialVm => 3,
        Tier::AllowListed => 4,
        Tier::SeveralVendors => 5,
    }
}

fn schema() -> Result<&'static Schema, ConditionsError> {
    static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
        Schema::from_cedarschema_str(SCHEMA_TEXT).map(|(schema, _)| schema).map_err(|error| error.to_string())
    });
    SCHEMA.as_ref().map_err(|words| ConditionsError { place: String::new(), words: words.clone(), help: None })
}

/// Whether brackets are nested, and the operators of each policy are chained, no deeper than the library's recursion can follow. Text in
/// quotes and comments does not count.
fn is_shallow(text: &str) -> bool {
    let (mut depth, mut operators) = (0_usize, 0_usize);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                while let Some(inside) = characters.next().filter(|inside| *inside != '"') {
                    if inside == '\\' {
                        characters.next();
                    }
                }
            }
            // The library ends a comment at either sign of a line's end.
            '/' if characters.peek() == Some(&'/') => {
                while characters.next().is_some_and(|inside| !matches!(inside, '\n' | '\r')) {}
            }
            '(' | '[' | '{' => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => (depth, operators) = (0, 0),
            // Each nesting that is not a bracket shows one of these: `&&`, `||`, `!`, `-`, `+`, `*`, `.`, and `if … then`.
            '&' | '|' | '!' | '-' | '+' | '*' | '.' | 'f' => operators = operators.saturating_add(1),
            _ => {}
        }
        if depth > MOST_NESTED || operators > MOST_OPERATORS {
            return false;
        }
    }
    true
}

/// Runs what may recurse on a stack with room for it.
fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(ROOMY_STACK).spawn_scoped(scope, work).ok()?;
        thread.join().ok()
    })
}

/// A fault with its place in the text.
fn fault(text: &str, error: &(impl Diagnostic + ?Sized)) -> ConditionsError {
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = label.map(|label| {
        let before = text.get(..label.offset()).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        format!("line {line}, column {column}: ")
    });
    let help = error.help().map(|help| shown(&help.to_string(), 300));
    ConditionsError { place: place.unwrap_or_default(), words: shown(&error.to_string(), 500), help }
}

/// The schema, as owners may read it.
pub const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");
const MOST_POLICIES: usize = 64;
const MOST_NESTED: usize = 32;
const MOST_OPERATORS: usize = 1_000;
/// Only what is used of it takes memory.
const ROOMY_STACK: usize = 256 << 20;
const MOST_COMPILED: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn path() -> SecretPath {
        "hospital/key/1".parse().unwrap()
    }

    fn decide(text: &str) -> Result<(), Denial> {
        Conditions::compile(text).unwrap().decide("thumb", &Examined::for_tests(), &path())
    }

    #[test]
    fn what_a_permit_allows_leaves() {
        for text in [
            "permit(principal, action, resource);",
            r#"permit(principal == Attester::"thumb", action == Action::"release", resource == Secret::"hospital/key/1");"#,
            r#"permit(principal, action, resource) when { context.result.measurements.contains("pcr7=00ff") };"#,
            r#"permit(principal, action, resource) when { context.result has hardware_id && context.result.hardware_id == "sha256:aa" && context.secret.repository == "hospital" };"#,
        ] {
            assert_eq!(decide(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_denial_names_the_policy_and_the_clause_that_is_not_met() {
        let text = r#"@id("boot") permit(principal, action, resource) when {
            context.result.tee == "tpm" && context.result.measurements.contains("pcr7=01") };
            @id("other") permit(principal, action, resource == Secret::"a/b/c");"#;
        let denial = decide(text).unwrap_err();
        assert_eq!(denial.policy, "boot");
        assert!(denial.clause.starts_with("not met: "), "{denial}");
        assert!(denial.clause.contains(r#"contains("pcr7=01")"#), "{denial}");
        let denial = decide(r#"permit(principal, action, resource == Secret::"a/b/c");"#).unwrap_err();
        assert_eq!(denial.to_string(), "policy `policy0`: its head does not cover this request");
        let text = r#"permit(principal, action, resource); @id("never") forbid(principal, action, resource) unless { context.result.tier_level >= 3 };"#;
        assert_eq!(decide(text).unwrap_err().to_string(), "policy `never`: it forbids this release");
        let text = r#"permit(principal, action, resource) unless { context.result.tee == "tpm" };"#;
        assert!(decide(text).unwrap_err().clause.contains("unless"), "{:?}", decide(text));
    }

    #[test]
    fn a_denial_costs_in_proportion_to_the_text() {
        let clauses = "when { context.result.tee == \"tpm\" } ".repeat(200);
        let text = format!("permit(principal, action, resource) {clauses} when {{ context.result.tee == \"snp\" }};");
        assert!(text.len() < SecretPush::MAX_POLICY);
        let denial = decide(&text).unwrap_err();
        assert!(denial.clause.contains("\"snp\""), "{denial}");
        let guarded = "permit(principal, action, resource) when { context.result has hardware_id } when { context.result.hardware_id == \"x\" };";
        assert!(decide(guarded).unwrap_err().clause.contains("== \"x\""), "{:?}", decide(guarded));
    }

    #[test]
    fn a_misspelled_attribute_is_refused_with_its_place() {
        let text = "permit(principal, action, resource) when {\n  context.result.mesurements.contains(\"x\")\n};";
        let error = Conditions::compile(text).unwrap_err();
        assert!(error.to_string().starts_with("line 2, column "), "{error}");
        assert!(error.to_string().contains("mesurements"), "{error}");
    }

    #[test]
    fn what_is_no_valid_condition_is_refused_when_it_is_written() {
        for text in [
            "",
            "// nothing",
            "permit(principal, action, resource)",
            "permit(principal == ?principal, action, resource);",
            "permit(principal, action, resource) when { context.result.tee == 1 };",
            "permit(principal, action, resource) when { context.result.hardware_id == \"x\" };",
            "permit(principal, action == Action::\"read\", resource);",
            "permit(principal, action, resource) when { context.secret.nothing };",
        ] {
            assert!(Conditions::compile(text).is_err(), "{text}");
        }
        assert!(Conditions::compile(&"permit(principal, action, resource);".repeat(65)).is_err());
        assert!(Conditions::compile(&" ".repeat(SecretPush::MAX_POLICY + 1)).is_err());
    }

    #[test]
    fn a8_conditions_that_cannot_be_evaluated_deny() {
        // Valid, and an overflow once it is asked: Cedar leaves such a policy out, so what it would have forbidden were allowed.
        const OVERFLOW: &str = "context.result.tier_level + 9223372036854775807 + 9223372036854775807 > 0";
        let evaluation = |text: &str| decide(text).unwrap_err().policy == "evaluation";
        assert!(evaluation(&format!("permit(principal, action, resource) when {{ {OVERFLOW} }};")));
        let allowed = "permit(principal, action, resource);";
        assert!(evaluation(&format!("{allowed} forbid(principal, action, resource) when {{ {OVERFLOW} }};")));
        assert!(evaluation(&format!("{allowed} permit(principal, action, resource) when {{ {OVERFLOW} }};")));
        assert!(evaluation(&format!("{allowed} forbid(principal, action, resource) unless {{ {OVERFLOW} }};")));
        // A clause that decides before the fault is met decides.
        let shielded = format!("{allowed} forbid(principal, action, resource) when {{ false && {OVERFLOW} }};");
        assert_eq!(decide(&shielded), Ok(()));
        // What nothing permits, and what a result leaves undefined.
        assert!(decide("forbid(principal, action, resource) when { false };").is_err());
        let text = "permit(principal, action, resource) when { context.result has hardware_id && context.result.hardware_id == \"other\" };";
        assert!(decide(text).is_err());
        // Of conditions that are not there, or are not those that the digest names, there are none.
        let compiled = Compiled::default();
        assert!(compiled.of(&Digest::of(allowed.as_bytes()), || None).is_none());
        assert!(compiled.of(&Digest::of(b"another text"), || Some(allowed.to_owned())).is_none());
        assert!(compiled.of(&Digest::of(b"not Cedar"), || Some("not Cedar".to_owned())).is_none());
        assert!(compiled.of(&Digest::of(allowed.as_bytes()), || Some(allowed.to_owned())).is_some());
    }

    /// There are no loops in Cedar and no clock in the broker's decision: what bounds the time is the size of what is compiled.
    #[test]
    fn a8_the_longest_conditions_are_decided_in_seconds() {
        let clause = "context.result.measurements.contains(\"pcr7=01\")";
        let policy = |clauses: usize| {
            let all = vec![clause; clauses].join(" || ");
            format!("permit(principal, action, resource) when {{ {all} }};")
        };
        let clauses = (1..).take_while(|clauses| policy(*clauses).len() * 64 < SecretPush::MAX_POLICY).last().unwrap();
        let text = policy(clauses).repeat(64);
        let started = std::time::Instant::now();
        assert!(decide(&text).is_err());
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn h3_deep_conditions_do_not_end_the_process() {
        let deep = |open: &str, close: &str, times: usize| {
            format!("permit(principal, action, resource) when {{ {}true{} }};", open.repeat(times), close.repeat(times))
        };
        let forms =
            [("(", ")"), ("!", ""), ("true && ", ""), ("true || ", ""), ("if true then ", " else false"), ("[", "]")];
        for (open, close) in forms {
            for times in [1, 20, 30, 100, 300, 499] {
                if let Ok(conditions) = Conditions::compile(&deep(open, close, times)) {
                    let _ = conditions.decide("thumb", &Examined::for_tests(), &path());
                }
            }
            let far = 15_000 / (open.len() + close.len());
            assert!(Conditions::compile(&deep(open, close, far)).is_err(), "{open}");
        }
        let dots = format!("permit(principal, action, resource) when {{ context{} }};", ".result".repeat(1_500));
        assert!(Conditions::compile(&dots).is_err());
        // A comment ends where the library ends it.
        for (open, close) in forms {
            let hidden = format!("// x\r{}", deep(open, close, 15_000 / (open.len() + close.len())));
            assert!(Conditions::compile(&hidden).is_err(), "{open} after a comment");
        }
        // What stands in quotes and comments is not nested.
        let quoted = format!(
            "// {0}\npermit(principal, action, resource) when {{ \"{0}\" == \"\\\"{0}\" }};",
            "((".repeat(1_000)
        );
        assert!(Conditions::compile(&quoted).is_ok(), "{:?}", Conditions::compile(&quoted));
    }
}
