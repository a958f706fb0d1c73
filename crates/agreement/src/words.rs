//! What an agreement means, in plain words, for a person who is about to consent.
//!
//! A [`Summary`] is a list of statements made from the document alone: who gets what, from which columns, under which
//! rules, on which tier of machine, held by which broker, witnessed by whom, until when. The document is taken apart without a
//! rest pattern, so that a new field is not left unsaid. Two summaries differ statement by statement, which is how an amendment is shown.
//!
//! Texts of other parties are quoted and escaped: nothing that they wrote can end a line, move the cursor, hide or
//! pass for a sentence of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use attest::{
    AppraisalPolicy, HardwareRule, Tier,
    platform::{HardwareIds, Platform},
    reference::AuditorRule,
};
use envelope::{Digest, PublicKey};
use serde::Serialize;

use crate::{
    documents::{
        Agreement, BrokerTerms, Charge, Column, ColumnRule, Computation, Contents, DatasetSource, DatasetTerms, Engine,
        Manifest, PartyTerms, ReleaseTerms, TableRules, WitnessTerms,
    },
    shape::{SoundAgreement, deceives},
};

/// An agreement in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The agreement's digest: what is signed.
    pub agreement: Digest,
    /// In the order in which they are shown.
    pub statements: Vec<Statement>,
}

/// One thing that an agreement says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Under which heading.
    pub topic: Topic,
    /// What it speaks of; with the topic it is unique within a summary.
    pub about: String,
    /// The sentence, without a full stop. Escaped: one line, except that a program keeps its lines, each indented.
    pub says: String,
}

/// The headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// What it is for.
    Purpose,
    /// Who takes part.
    Parties,
    /// What is brought in.
    Datasets,
    /// Who gets what.
    Results,
    /// Which columns are read, under which rules.
    Reads,
    /// The programs, as written.
    Programs,
    /// Where it runs.
    Machines,
    /// Who holds the keys.
    Broker,
    /// Who watches the log.
    Witnesses,
    /// When results leave and how long keys live.
    Release,
    /// Until when, and in whose place.
    Term,
}

/// One difference between two agreements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Under which heading.
    pub topic: Topic,
    /// What it speaks of.
    pub about: String,
    /// What the older one says; `None` if it says nothing of it.
    pub before: Option<String>,
    /// What the newer one says; `None` if it says nothing of it.
    pub after: Option<String>,
}

impl Summary {
    /// Puts an agreement into words. `manifests` are those at hand, by dataset name, one version of each; the rules of a dataset whose manifest is
    /// missing are said to be unknown. `reader` is the signing key of the person who reads, who is then called "you".
    pub fn of(sound: &SoundAgreement, manifests: &BTreeMap<String, Manifest>, reader: Option<&PublicKey>) -> Summary {
        let reader = reader.and_then(|key| sound.party(key)).map(str::to_owned);
        let mut writer = Writer { statements: Vec::new(), reader };
        let Agreement {
            name,
            purpose,
            parties,
            datasets,
            computations,
            broker,
            workers,
            witnesses,
            release,
            expires,
            predecessor,
        } = sound.agreement();
        writer.add(Topic::Purpose, "purpose", format!("`{name}` is for: {}", quoted(purpose)));
        writer.parties(parties);
        writer.datasets(datasets, manifests);
        for (name, computation) in computations {
            writer.computation(name, computation, datasets, manifests);
        }
        writer.add(Topic::Machines, "workers", format!("computations run on {}", machine(workers)));
        if workers.tier_floor() == Tier::SoftwareTpm {
            writer.add(Topic::Machines, "caution", "whoever runs those machines could read the data".to_owned());
        }
        if let Some(rule) = workers.auditors() {
            writer.auditors(rule, workers, sound);
        }
        writer.broker(broker);
        writer.witnesses(witnesses);
        writer.release(release);
        writer.add(Topic::Term, "expiry", format!("no run starts and no key is renewed after {expires}"));
        let place = match predecessor {
            Some(predecessor) => format!("once every party has consented it takes the place of {predecessor}"),
            None => "it replaces no other agreement".to_owned(),
        };
        writer.add(Topic::Term, "predecessor", place);
        Summary { agreement: *sound.digest(), statements: writer.statements }
    }

    /// What differs from an older agreement, in the order of the headings.
    pub fn changes_from(&self, old: &Summary) -> Vec<Change> {
        let (before, after) = (old.by_subject(), self.by_subject());
        let subjects: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
        let changes = subjects.into_iter().filter_map(|(topic, about)| {
            let says = |side: &BTreeMap<(Topic, &str), &str>| side.get(&(topic, about)).map(|says| (*says).to_owned());
            let (before, after) = (says(&before), says(&after));
            (before != after).then(|| Change { topic, about: about.to_owned(), before, after })
        });
        changes.collect()
    }

    fn by_subject(&self) -> BTreeMap<(Topic, &str), &str> {
        let statements = self.statements.iter();
        statements.map(|statement| ((statement.topic, statement.about.as_str()), statement.says.as_str())).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut topic = None;
        for statement in &self.statements {
            if topic != Some(statement.topic) {
                writeln!(f, "{}", statement.topic.heading())?;
                topic = Some(statement.topic);
            }
            writeln!(f, "  - {}", statement.says)?;
        }
        write!(f, "What is signed is the digest {}", self.agreement)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}:", self.topic.heading(), self.about)?;
        match &self.before {
            Some(before) => write!(f, "\n  before: {before}")?,
            None => write!(f, "\n  before: nothing")?,
        }
        match &self.after {
            Some(after) => write!(f, "\n  now:    {after}"),
            None => write!(f, "\n  now:    nothing"),
        }
    }
}

impl Topic {
    /// The heading, as people see it.
    pub const fn heading(self) -> &'static str {
        match self {
            Topic::Purpose => "Purpose",
            Topic::Parties => "Who takes part",
            Topic::Datasets => "What is brought in",
            Topic::Results => "Who gets what",
            Topic::Reads => "What is read, under which rules",
            Topic::Programs => "What is computed",
            Topic::Machines => "Where it runs",
            Topic::Broker => "Who holds the keys",
            Topic::Witnesses => "Who watches the log",
            Topic::Release => "When results leave",
            Topic::Term => "Until when",
        }
    }
}

/// Somebody's text between backticks, on one line, with everything escaped that would hide, rearrange or end it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('`');
    for (at, c) in text.chars().enumerate() {
        if at >= LONGEST_QUOTE {
            out.push('…');
            break;
        }
        push_escaped(&mut out, c);
    }
    out.push('`');
    out
}

/// What a charge means.
pub(crate) fn charge(charge: &Charge) -> &'static str {
    match charge {
        Charge::Thresholds {} => "protection by thresholds, with no privacy budget",
    }
}

/// Which versions a source stands for.
pub(crate) fn source(source: &DatasetSource) -> String {
    match source {
        DatasetSource::Version(digest) => format!("version {digest}"),
        DatasetSource::Series(series) => format!("series {series}"),
    }
}

struct Writer {
    statements: Vec<Statement>,
    reader: Option<String>,
}

impl Writer {
    fn add(&mut self, topic: Topic, about: impl Into<String>, says: String) {
        self.statements.push(Statement { topic, about: about.into(), says });
    }

    /// A party's local name, and whether it is the reader.
    fn who(&self, name: &str) -> String {
        if self.reader.as_deref() == Some(name) { format!("`{name}` (you)") } else { format!("`{name}`") }
    }

    fn parties(&mut self, parties: &BTreeMap<String, PartyTerms>) {
        for (name, PartyTerms { identity }) in parties {
            let (key, recipient) = (identity.signing(), identity.recipient());
            let says = format!("{} signs with {key} and receives with {recipient}", self.who(name));
            self.add(Topic::Parties, name, says);
        }
    }

    fn datasets(&mut self, datasets: &BTreeMap<String, DatasetTerms>, manifests: &BTreeMap<String, Manifest>) {
        for (name, DatasetTerms { owner, source: of }) in datasets {
            let which = match of {
                DatasetSource::Version(_) => "this version only",
                DatasetSource::Series(_) => "this and every later version with the same columns and rules",
            };
            let says = format!("`{name}` of {}: {which} ({})", self.who(owner), source(of));
            self.add(Topic::Datasets, name, says);
            let says = match manifests.get(name).map(|manifest| &manifest.contents) {
                Some(Contents::Table { columns: _, rules }) => thresholds(name, rules),
                Some(Contents::Blob {}) => format!("`{name}` is a file without columns"),
                None => format!("`{name}`: its manifest is not at hand, so its rules are unknown"),
            };
            self.add(Topic::Datasets, format!("{name}, thresholds"), says);
        }
    }

    fn computation(
        &mut self,
        name: &str,
        computation: &Computation,
        datasets: &BTreeMap<String, DatasetTerms>,
        manifests: &BTreeMap<String, Manifest>,
    ) {
        let Computation { engine, text, columns, recipients, charge: cost } = computation;
        let to = recipients.iter().map(|recipient| self.who(recipient)).collect::<Vec<_>>().join(", ");
        let says = format!(
            "the result of `{name}` can be opened by {to}, and by nobody else, whoever asks for it; {}",
            charge(cost)
        );
        self.add(Topic::Results, name, says);
        for (dataset, columns) in columns {
            let owner = datasets.get(dataset).map(|terms| self.who(&terms.owner)).unwrap_or_default();
            let rules = manifests.get(dataset);
            let read = columns.iter().map(|column| column_words(column, rules)).collect::<Vec<_>>().join("; ");
            let read = if read.is_empty() { "no column, only that rows exist".to_owned() } else { read };
            let says = format!("`{name}` reads of `{dataset}` (owner {owner}): {read}");
            self.add(Topic::Reads, format!("{name}, {dataset}"), says);
        }
        let language = match engine {
            Engine::Sql => "SQL",
        };
        let says = format!("`{name}` is this {language} ({}):{}", computation.digest(), block(text));
        self.add(Topic::Programs, name, says);
    }

    fn broker(&mut self, broker: &BrokerTerms) {
        let BrokerTerms { key, log, address, policy } = broker;
        self.add(Topic::Broker, "key", format!("the broker {key} at {}", quoted(address)));
        self.add(Topic::Broker, "log", format!("its log signs with {}", quoted(log)));
        self.add(Topic::Broker, "machine", format!("it must itself run on {}", machine(policy)));
        if policy.tier_floor() == Tier::SoftwareTpm {
            self.add(Topic::Broker, "caution", "whoever runs the broker's machine could read its keys".to_owned());
        }
    }

    fn auditors(&mut self, rule: &AuditorRule, workers: &AppraisalPolicy, sound: &SoundAgreement) {
        let AuditorRule { keys, required, pcrs } = rule;
        let pcrs = pcrs.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let hardware =
            if workers.hardware().is_empty() { "" } else { " and for what the confidential hardware measured" };
        let says = format!(
            "no key leaves unless {required} of {} auditors vouch for the machine, each in a signed document that has not expired and \
             is logged: for register(s) {pcrs} of its TPM{hardware}",
            keys.len()
        );
        self.add(Topic::Machines, "auditors", says);
        for key in keys {
            let party = sound.party(key).map(|name| format!(", who is {}", self.who(name))).unwrap_or_default();
            self.add(Topic::Machines, format!("auditor {key}"), format!("auditor {key}{party}"));
        }
    }

    fn witnesses(&mut self, witnesses: &WitnessTerms) {
        let WitnessTerms { required, keys } = witnesses;
        let says = match required {
            0 => "nobody: rollback is not witnessed, so the broker's operator could show an older state of the log, with \
                  revocations and counts undone"
                .to_owned(),
            required => {
                format!("{required} of {} witnesses cosign the log before anything takes effect", keys.len())
            }
        };
        self.add(Topic::Witnesses, "required", says);
        for key in keys {
            self.add(Topic::Witnesses, key, format!("witness {}", quoted(key)));
        }
    }

    fn release(&mut self, release: &ReleaseTerms) {
        let ReleaseTerms { tick_ms, lease_seconds, max_result_bytes } = release;
        let says = format!("results leave only at multiples of {tick_ms} ms, so that durations tell little");
        self.add(Topic::Release, "tick", says);
        let says = format!("a worker loses its keys after {lease_seconds} s unless it proves itself again");
        self.add(Topic::Release, "lease", says);
        self.add(Topic::Release, "size", format!("a result has at most {max_result_bytes} bytes"));
    }
}

fn machine(policy: &AppraisalPolicy) -> String {
    let tier = policy.tier_floor();
    let tpm = policy.tpm();
    let binaries = tpm.binaries.iter().map(Digest::to_string).collect::<Vec<_>>().join(" or ");
    let platforms = policy.hardware().iter().map(|(platform, rule)| hardware(*platform, rule)).collect::<Vec<_>>();
    let hardware = if platforms.is_empty() {
        String::new()
    } else {
        format!(" inside hardware that reports on the same exchange ({}),", platforms.join("; or "))
    };
    format!(
        "a machine of the tier `{tier}` or stronger ({}),{hardware} started with the `{}` program {binaries}; the whole policy is {}",
        tier.words(),
        tpm.role,
        policy.digest()
    )
}

/// Who vouches for the hardware, and what of it is fixed.
fn hardware(platform: Platform, rule: &HardwareRule) -> String {
    let roots = if rule.anchors.are_makers(platform) {
        "its maker's own roots".to_owned()
    } else {
        "roots that are NOT its maker's, so that it may all be software".to_owned()
    };
    let chips = match &rule.policy.hardware {
        HardwareIds::Any => "any chip".to_owned(),
        HardwareIds::Listed(chips) => format!("one of {} listed chips", chips.len()),
    };
    let admits = rule.policy.admits.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
    let registers = rule.policy.measurements.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("{platform}: {roots}, {chips}, {admits}, with the listed values of {registers}")
}

fn thresholds(name: &str, rules: &TableRules) -> String {
    let TableRules { min_entities, max_rows_per_entity } = rules;
    format!(
        "`{name}`: at least {min_entities} different entities stand behind each row of a result, and at most \
         {max_rows_per_entity} rows of one entity count"
    )
}

fn column_words(name: &str, manifest: Option<&Manifest>) -> String {
    let known = manifest.and_then(|manifest| match &manifest.contents {
        Contents::Table { columns, rules: _ } => columns.iter().find(|column| column.name == name),
        Contents::Blob {} => None,
    });
    let rule = known.map_or_else(|| "its rule is unknown".to_owned(), rule_words);
    format!("{} ({rule})", quoted(name))
}

fn rule_words(column: &Column) -> String {
    match &column.rule {
        ColumnRule::Entity { domain } => format!("entity of {}: counted and joined on, never shown", quoted(domain)),
        ColumnRule::Join {} => "joined on only".to_owned(),
        ColumnRule::Group {} => "shown for groups that are large enough".to_owned(),
        ColumnRule::Measure { lower, upper } => format!("in totals only, clamped to {lower} to {upper}"),
        ColumnRule::Open {} => "open: shown freely".to_owned(),
        ColumnRule::Hidden {} => "hidden: no key is ever released".to_owned(),
    }
}

/// A program on lines of its own, each behind a mark that no program can write.
fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        out.push_str("\n      | ");
        line.chars().for_each(|c| if c == '\t' { out.push_str("    ") } else { push_code(&mut out, c) });
    }
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '`' => out.push('\''),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        c => push_code(out, c),
    }
}

fn push_code(out: &mut String, c: char) {
    if deceives(c) { out.push_str(&format!("\\u{{{:x}}}", u32::from(c))) } else { out.push(c) }
}

/// Longer texts are cut when quoted; a purpose is shown whole.
const LONGEST_QUOTE: usize = crate::shape::MAX_PURPOSE;
