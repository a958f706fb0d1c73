//! What a case's verifier expects beyond genuine Evidence, and the one place that holds Evidence against it.
//!
//! A member `expected_NAME` of a case's policy, or `NAME` alone, is about the register or the claim NAME of the Evidence, or about what is bound
//! into it; `min_NAME` is the least that a claim may be. A list is of values of which one must be met, an object of expectations by register or by
//! bank. What is measured, bound or an identity of hardware is held through a policy as owners write it; for claims, which no policy can ask
//! for, values are compared. **No expectation is passed over:** one that names nothing which the kind knows is a fault of the case, and one about
//! something that the kind knows and this Evidence has not is a refusal.

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    HashAlgorithm,
    platform::{Genuine, HardwareIds, PlatformPolicy, Register, Unfit},
};
use serde_json::{Map, Value};

use crate::{
    Case, Outcome, Report,
    names::{Name, is_bound, is_known, others},
};

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expectation {
    /// The member of the policy that it stands in.
    pub(crate) member: String,
    /// What it is about.
    pub(crate) name: Name,
    /// The bank of the register, where it is told.
    pub(crate) bank: Option<HashAlgorithm>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    OneOf(Vec<Value>),
    AtLeast(i128),
}

/// What a policy can ask for.
enum Demand {
    Bound(Vec<u8>),
    Hardware(BTreeSet<String>),
    Measurement(String, BTreeSet<String>),
}

/// Accepted as it is, or refused where the Evidence is not what the case expects.
///
/// # Errors
/// In words, when the case expects something that its kind does not know.
pub(crate) fn hold(case: &Case, report: Report) -> Result<Report, String> {
    if !matches!(report.outcome, Outcome::Accepted(_)) {
        return Ok(report);
    }
    let mut first = None;
    for expectation in Expectation::of(&case.policy, |member| report.has_settled(member))? {
        if report.has_settled(&expectation.name.to_string()) {
            continue;
        }
        // What is debugged can be shown; for a use, nothing that is expected of it helps.
        if report.evidence().is_some_and(Genuine::is_debug) {
            first = first.or_else(|| Some(unfit(&Unfit::Debug)));
        }
        let refusal = expectation.judge(&case.kind, &report)?;
        first = first.or(refusal);
    }
    Ok(first.unwrap_or(report))
}

impl Expectation {
    /// All of a policy, in order, but for the members that are settled.
    ///
    /// # Errors
    /// In words, naming the member that has another form.
    pub(crate) fn of(policy: &Value, is_settled: impl Fn(&str) -> bool) -> Result<Vec<Expectation>, String> {
        let members = match policy {
            Value::Null => return Ok(Vec::new()),
            Value::Object(members) => members,
            _ => return Err("the policy is not an object".to_owned()),
        };
        let mut found = Vec::new();
        for (member, value) in members.iter().filter(|(member, _)| !is_settled(member)) {
            if let Some(name) = member.strip_prefix("min_") {
                found.extend(Expectation::least(member, name, value)?);
            } else {
                let name = member.strip_prefix("expected_").unwrap_or(member);
                Reading { member, found: &mut found }.read(name, None, value)?;
            }
        }
        Ok(found)
    }

    fn least(member: &str, name: &str, value: &Value) -> Result<Option<Expectation>, String> {
        let name = Name::new(name);
        let least = match value {
            Value::Null => return Ok(None),
            Value::Number(_) | Value::String(_) if name.is_number() => numeral(value),
            Value::Number(_) | Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let least = least.ok_or_else(|| format!("`{member}` asks for an order of `{name}`, which is not known"))?;
        let test = Test::AtLeast(least);
        Ok(Some(Expectation { member: member.to_owned(), name, bank: None, test }))
    }

    /// The values as bytes, of which one must be met; those that are none are left out.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        match &self.test {
            Test::OneOf(values) => values.iter().filter_map(bytes).collect(),
            Test::AtLeast(_) => Vec::new(),
        }
    }

    /// `None` where it is met, else the refusal.
    fn judge(&self, kind: &str, report: &Report) -> Result<Option<Report>, String> {
        let exact = self.texts(report, &self.name);
        if is_bound(&self.name) && exact.iter().all(|text| is_what_is_bound(report, text)) {
            return self.judge_bound(kind, report, exact);
        }
        if self.name.is("hardware_id")
            && let Some(genuine) = report.evidence()
        {
            let ids = self.values().iter().map(hex::encode).collect();
            return Ok(refused(genuine, Demand::Hardware(ids)));
        }
        for name in std::iter::once(self.name.clone()).chain(others(&self.name)) {
            let registers = self.registers(report, &name);
            let texts = self.texts(report, &name);
            if !registers.is_empty() || !texts.is_empty() {
                return self.judge_found(report, &registers, &texts);
            }
        }
        if is_known(kind, &self.name) || self.name.is("measurement") && report.evidence().is_some() {
            return Ok(Some(unfit(&Unfit::MeasurementMissing(self.name.to_string()))));
        }
        Err(self.unknown())
    }

    fn unknown(&self) -> String {
        format!("`{}` asks for `{}`, which is not known of this Evidence", self.member, self.name)
    }

    /// About what the Attester put in.
    fn judge_bound(&self, kind: &str, report: &Report, exact: Vec<String>) -> Result<Option<Report>, String> {
        let Test::OneOf(values) = &self.test else {
            return Err(self.unknown());
        };
        if let Some(genuine) = report.evidence() {
            let candidates = self.values();
            let found = candidates.iter().position(|value| value == genuine.bound());
            let expected = candidates.get(found.unwrap_or_default()).cloned().unwrap_or_default();
            return Ok(refused(genuine, Demand::Bound(expected)));
        }
        let others = || Name::bound().flat_map(|name| self.texts(report, &name)).collect();
        let texts: Vec<String> = if exact.is_empty() { others() } else { exact };
        if texts.is_empty() && !is_known(kind, &self.name) {
            return Err(self.unknown());
        }
        let met = values.iter().any(|value| texts.iter().any(|text| is_same(value, text)));
        Ok((!met).then(|| unfit(&Unfit::NotBound)))
    }

    /// About registers that a policy can ask for, and texts that it cannot.
    fn judge_found(
        &self,
        report: &Report,
        registers: &[&Register],
        texts: &[String],
    ) -> Result<Option<Report>, String> {
        let values = match &self.test {
            Test::OneOf(values) => values,
            Test::AtLeast(least) => {
                let actual = texts.iter().find_map(|text| number(text));
                let actual = actual.ok_or_else(|| self.unknown())?;
                let words = || format!("`{}` is {actual}, less than the case's {least}", self.name);
                let code = || format!("{}-below-minimum", self.name.hyphened());
                return Ok((actual < *least).then(|| Report::coded(&code(), words(), false)));
            }
        };
        let met = values.iter().any(|value| texts.iter().any(|text| is_same(value, text)));
        // A version is bytes in its register and a number in its claim, and then a number is held against the claim.
        let in_numbers = texts.iter().any(|text| number(text).is_some());
        let values: Vec<&Value> = values.iter().filter(|value| !in_numbers || numeral(value).is_none()).collect();
        if met && values.is_empty() {
            return Ok(None);
        }
        if let Some((genuine, register)) = report.evidence().zip(chosen(&values, registers)) {
            let accepted = accepted(&values, register.value.len());
            let listed = accepted.contains(&hex::encode(&register.value));
            let demand = || Demand::Measurement(register.name.clone(), accepted.clone());
            return Ok(if met && !listed { None } else { refused(genuine, demand()) });
        }
        if let Some(genuine) = report.evidence()
            && texts.iter().any(|text| genuine.hardware_id() == Some(text))
        {
            return Ok(refused(genuine, Demand::Hardware(self.values().iter().map(hex::encode).collect())));
        }
        let actual = || texts.join(", ");
        let refusal = if is_bound(&self.name) {
            unfit(&Unfit::NotBound)
        } else if self.name.is_register() || report.values().iter().any(|register| self.is_about(register)) {
            unfit(&Unfit::Measurement { register: self.name.to_string(), actual: actual() })
        } else {
            let words = format!("`{}` is `{}`, and the case expects another value", self.name, actual());
            Report::coded(&format!("{}-mismatch", self.name.hyphened()), words, false)
        };
        Ok((!met).then_some(refusal))
    }

    /// The registers of genuine Evidence that go by a name.
    fn registers<'a>(&self, report: &'a Report, name: &Name) -> Vec<&'a Register> {
        let registers = report.evidence().map(Genuine::registers).unwrap_or_default();
        let named = |register: &&Register| name.is_of(&register.name, self.bank, register.value.len());
        registers.iter().filter(named).collect()
    }

    /// What else is said under a name: claims, and values that were not signed as registers.
    fn texts(&self, report: &Report, name: &Name) -> Vec<String> {
        let claims = report.claims.iter().filter(|claim| name.is_of(&claim.name, self.bank, claim.value.len() / 2));
        let own: Vec<String> = claims.map(|claim| claim.value.clone()).collect();
        let others = report.values().iter();
        let others = others.filter(|register| name.is_of(&register.name, self.bank, register.value.len()));
        let own: Vec<String> = own.into_iter().chain(others.map(|register| hex::encode(&register.value))).collect();
        if !own.is_empty() {
            return own;
        }
        // The report of the hardware below a vTPM.
        let hardware = report.claims.iter().filter_map(|claim| Some((claim.name.strip_prefix("hardware:")?, claim)));
        hardware.filter(|(hardware, _)| name.is(hardware)).map(|(_, claim)| claim.value.clone()).collect()
    }

    fn is_about(&self, register: &Register) -> bool {
        self.name.is_of(&register.name, self.bank, register.value.len())
    }
}

/// A member of a policy, as it is taken apart.
struct Reading<'a> {
    member: &'a str,
    found: &'a mut Vec<Expectation>,
}

impl Reading<'_> {
    fn read(&mut self, name: &str, bank: Option<HashAlgorithm>, value: &Value) -> Result<(), String> {
        let values = match value {
            // Absent, as everywhere in a manifest.
            Value::Null => return Ok(()),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![value.clone()],
            Value::Array(values)
                if values.iter().any(|value| value.is_null() || value.is_array() || value.is_object()) =>
            {
                return Err(format!("`{}` lists something that is no value", self.member));
            }
            Value::Array(values) if Name::new(name).is_in_order() => {
                let one = Name::new(name).of_one();
                for (index, value) in values.iter().enumerate() {
                    self.read(&format!("{one}{index}"), bank, value)?;
                }
                return Ok(());
            }
            Value::Array(values) => values.clone(),
            Value::Object(members) => return self.read_members(name, bank, members),
        };
        let test = Test::OneOf(values);
        self.found.push(Expectation { member: self.member.to_owned(), name: Name::new(name).of_one(), bank, test });
        Ok(())
    }

    /// By bank, by number of a register, or by name.
    fn read_members(
        &mut self,
        name: &str,
        bank: Option<HashAlgorithm>,
        members: &Map<String, Value>,
    ) -> Result<(), String> {
        if members.is_empty() {
            return Err(format!("`{}` is empty", self.member));
        }
        for (key, value) in members {
            if let Some(named) = crate::names::bank(key) {
                self.read(name, Some(named), value)?;
            } else if key.bytes().all(|digit| digit.is_ascii_digit()) {
                let one = Name::new(name).of_one();
                self.read(&format!("{one}{key}"), bank, value)?;
            } else {
                self.read(key, bank, value)?;
            }
        }
        Ok(())
    }
}

/// Of registers in several banks the one that the values are of.
fn chosen<'a>(values: &[&Value], registers: &[&'a Register]) -> Option<&'a Register> {
    let meets = |register: &&&Register| accepted(values, register.value.len()).contains(&hex::encode(&register.value));
    let is_as_long = |bytes: &[u8], register: &Register| bytes.len() == register.value.len();
    let fits = |register: &&&Register| {
        values.iter().filter_map(|value| bytes(value)).any(|bytes| is_as_long(&bytes, register))
    };
    let chosen = registers.iter().find(meets).or_else(|| registers.iter().find(fits));
    chosen.or_else(|| registers.first()).copied()
}

fn refused(genuine: &Genuine, demand: Demand) -> Option<Report> {
    appraise(genuine, demand).err().map(|fault| unfit(&fault))
}

/// Holds Evidence against a policy of one demand. What the case says nothing of is what the Evidence has, so that it is never the ground of
/// a refusal.
fn appraise(genuine: &Genuine, demand: Demand) -> Result<(), Unfit> {
    let own = genuine.registers().iter().take(1);
    let mut policy = PlatformPolicy {
        tier_floor: genuine.tier(),
        admits: BTreeSet::from([genuine.assurance().name().to_owned()]),
        hardware: HardwareIds::Any,
        measurements: own.map(|register| (register.name.clone(), [hex::encode(&register.value)].into())).collect(),
    };
    match demand {
        Demand::Bound(bound) if policy.measurements.is_empty() => {
            // Nothing is measured, so that there is no policy.
            if bound.is_empty() || bound != genuine.bound() { Err(Unfit::NotBound) } else { Ok(()) }
        }
        Demand::Bound(bound) => genuine.clone().appraise(&bound, &policy).map(|_| ()),
        Demand::Hardware(ids) if policy.measurements.is_empty() => match genuine.hardware_id() {
            None => Err(Unfit::HardwareIdMasked),
            Some(id) if ids.contains(id) => Ok(()),
            Some(id) => Err(Unfit::HardwareIdNotListed(id.to_owned())),
        },
        Demand::Hardware(ids) => {
            policy.hardware = HardwareIds::Listed(ids);
            genuine.fits(&policy).map(|_| ())
        }
        Demand::Measurement(register, accepted) if accepted.is_empty() => {
            let actual = genuine.register(&register).map(hex::encode).unwrap_or_default();
            Err(Unfit::Measurement { register, actual })
        }
        Demand::Measurement(register, accepted) => {
            policy.measurements = BTreeMap::from([(register, accepted)]);
            genuine.fits(&policy).map(|_| ())
        }
    }
}

fn unfit(fault: &Unfit) -> Report {
    Report::coded(fault.code(), fault.to_string(), false)
}

/// Whether a claim is only what is bound under another name.
fn is_what_is_bound(report: &Report, text: &str) -> bool {
    report.evidence().is_none_or(|genuine| hex::encode(genuine.bound()).eq_ignore_ascii_case(text))
}

/// Values as a policy lists those of a register with this many bytes.
fn accepted(values: &[&Value], size: usize) -> BTreeSet<String> {
    let written = |value: &&Value| match value {
        Value::Number(number) => {
            let digits = format!("{:x}", number.as_u64()?);
            (digits.len() <= 2 * size).then(|| format!("{digits:0>width$}", width = 2 * size))
        }
        other => bytes(other).map(hex::encode),
    };
    values.iter().filter_map(written).collect()
}

/// Hexadecimal is bytes, and any other text is its own.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    Some(hex::decode(digits).unwrap_or_else(|_| text.as_bytes().to_vec()))
}

/// Whether a claim's text is this value: numbers in either base, and bytes in either case.
fn is_same(value: &Value, text: &str) -> bool {
    match (value, number(text)) {
        (Value::Bool(flag), _) => matches!((flag, text), (true, "true" | "1") | (false, "false" | "0")),
        (Value::Number(_), actual) => actual.is_some() && numeral(value) == actual,
        (Value::String(expected), Some(_)) if expected == text => true,
        (Value::String(_), Some(actual)) => numeral(value) == Some(actual),
        (Value::String(expected), None) => {
            let digits = expected.strip_prefix("0x").unwrap_or(expected);
            expected == text || hex::decode(digits).is_ok_and(|bytes| hex::decode(text) == Ok(bytes))
        }
        (Value::Null | Value::Array(_) | Value::Object(_), _) => false,
    }
}

/// A value that is a number.
fn numeral(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => number(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number as claims write them: in digits, or in hexadecimal behind `0x`.
fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
