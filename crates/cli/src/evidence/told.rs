//! What an appraisal came to, for people and for programs: the verdict first, then what it rests on.
//!
//! People read the verdict with its hint, the steps that passed, who vouches and how far, and what was measured; a claim that only repeats one of
//! these is left out for them. Programs get all of it. Deliberately absent: judgement, which is the platform's examination and the policy's.

use std::fmt::Write as _;

use attest::{
    Tier,
    platform::{Assurance, Claim, Genuine, Platform, PlatformPolicy, Unfit},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    examine::{Examined, Refused},
    gather::Piece,
};
use crate::{exit::Status, output::Report};

/// What the person asked of the Evidence beyond being genuine.
pub(crate) struct Asked<'a> {
    /// What must be bound into it.
    pub(crate) nonce: Option<&'a [u8]>,
    /// Whether the key is one that the person named.
    pub(crate) named: bool,
    /// What an owner asks for.
    pub(crate) policy: Option<&'a PlatformPolicy>,
}

/// The verdict in words and as a document.
pub(crate) fn told(pieces: &[Piece], examined: Examined, asked: &Asked<'_>, now: Timestamp) -> Report {
    let kind = examined.kind.words();
    let files: Vec<String> = pieces.iter().map(|piece| piece.path.display().to_string()).collect();
    let mut document = json!({ "evidence": kind, "files": files, "at": now });
    let at_most = examined.at_most;
    let (shown, outcome) = match examined.outcome {
        Ok(genuine) => (Some(genuine.clone()), judged(genuine, at_most, asked)),
        Err(mut refused) => (refused.shown.take().map(|genuine| *genuine), Err(refused)),
    };
    let mut ground = kind;
    if let Some(genuine) = &shown {
        let _ = write!(ground, "\n{}", described(genuine, at_most));
        merge(&mut document, genuine, at_most);
    }
    match outcome {
        Ok(verdict) => {
            put(&mut document, "verdict", json!(if asked.policy.is_some() { "appraised" } else { "genuine" }));
            Report { words: format!("{verdict}\n\n{}", ground.trim_end()), document, status: Status::Done }
        }
        Err(refused) => refusal(ground.trim_end(), document, &refused),
    }
}

/// Whether genuine Evidence is what was asked for.
fn judged(genuine: Genuine, at_most: Option<Tier>, asked: &Asked<'_>) -> Result<String, Refused> {
    let unfit = |unfit: Unfit| Refused::unfit(unfit.code(), &unfit);
    match (asked.policy, asked.nonce) {
        (Some(policy), nonce) => {
            let tier = counted(genuine.fits(policy).map_err(unfit)?, at_most);
            if tier < policy.tier_floor {
                return Err(unfit(Unfit::Tier { floor: policy.tier_floor, actual: tier }));
            }
            let Some(nonce) = nonce else {
                return Err(Refused::because(
                    "nonce-missing",
                    format!("it is as the policy asks, on the tier {tier}, and {UNBOUND}"),
                ));
            };
            genuine.appraise(nonce, policy).map_err(unfit)?;
            Ok(format!("appraised: admitted by the policy, tier {tier}"))
        }
        // Whether a certificate was revoked is said beside the verdict; a policy decides whether that is enough.
        (None, _) if !matches!(genuine.assurance(), Assurance::Affirmed | Assurance::RevocationUnknown) => {
            let assurance = genuine.assurance();
            let words = format!("{}: {}\n{}", assurance.name(), assurance.words(), remedy(&genuine));
            Err(Refused::because("not-affirmed", words))
        }
        (None, Some(nonce)) if genuine.bound() != nonce => Err(Refused::because(
            "not-bound",
            "what is bound into the Evidence is another\nhint: compare it whole; it was made for another exchange, or is replayed",
        )),
        (None, nonce) => {
            let doubt = match genuine.assurance() {
                _ if asked.named => " under a key that you named",
                Assurance::RevocationUnknown => " as far as can be told without the makers' revocation lists",
                _ => "",
            };
            Ok(match nonce {
                Some(_) => format!("genuine{doubt}, and bound to the nonce; no policy was given"),
                None => {
                    format!("genuine{doubt}; neither a nonce nor a policy was given, so it is bound to nothing here")
                }
            })
        }
    }
}

fn refusal(ground: &str, mut document: Value, refused: &Refused) -> Report {
    let place = refused.step.map(|step| format!(" at step {step}")).unwrap_or_default();
    let mut words = format!("refused{place} ({}): {}", refused.code, refused.words);
    let hint = refused.words.lines().find_map(|line| line.strip_prefix("hint: "));
    if hint.is_none() {
        let _ = write!(words, "\nhint: {}", general_remedy(&refused.code));
    }
    let _ = write!(words, "\n\n{ground}");
    put(&mut document, "verdict", json!("refused"));
    let failed = json!({
        "step": refused.step,
        "code": refused.code,
        "words": refused.words.lines().next(),
        "hint": hint.unwrap_or_else(|| general_remedy(&refused.code)),
    });
    put(&mut document, "failed", failed);
    Report::refused(words, document)
}

/// The tier that counts.
fn counted(tier: Tier, at_most: Option<Tier>) -> Tier {
    at_most.map_or(tier, |most| tier.min(most))
}

/// Its claims, numbers spelt as `glovebox evidence show` and AMD's specification spell them.
fn claims(genuine: &Genuine) -> Vec<Claim> {
    let spelt = |claim: &Claim| Claim { value: spelt(genuine.platform(), claim), ..claim.clone() };
    genuine.claims().iter().map(spelt).collect()
}

/// TCB_VERSION, POLICY and PLATFORM_INFO are numbers of 64 bits (AMD publication 56860); so is the version of a TPM's firmware.
fn spelt(platform: Platform, claim: &Claim) -> String {
    let name = claim.name.strip_prefix("hardware:").unwrap_or(&claim.name);
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let number = match (platform, name) {
        (Platform::SevSnp | Platform::AzureSnp, "current_tcb" | "reported_tcb" | "committed_tcb" | "launch_tcb") => {
            number(&claim.value).map(u64::swap_bytes)
        }
        (Platform::SevSnp | Platform::AzureSnp, "policy" | "platform_info") => {
            number(claim.value.trim_start_matches("0x"))
        }
        (_, "firmware" | "firmware_version") if claim.value.len() == SHORT => number(&claim.value),
        _ => None,
    };
    number.map_or_else(|| claim.value.clone(), |number| format!("{number:#018x}"))
}

fn described(genuine: &Genuine, at_most: Option<Tier>) -> String {
    let mut text = String::new();
    let tier = counted(genuine.tier(), at_most);
    for step in genuine.steps() {
        let _ = writeln!(text, "{:>3}. passed: {}", step.number, step.words);
    }
    let bound = if genuine.bound().is_empty() { "nothing".to_owned() } else { hex::encode(genuine.bound()) };
    let _ = writeln!(text, "platform   {}", genuine.platform());
    let _ = writeln!(text, "assurance  {}: {}", genuine.assurance().name(), genuine.assurance().words());
    let _ = writeln!(text, "tier       {tier}: {}", tier.words());
    let _ = writeln!(text, "hardware   {}", genuine.hardware_id().unwrap_or("not told"));
    let _ = writeln!(text, "bound      {bound}");
    for register in genuine.registers() {
        let _ = writeln!(text, "measured   {} {}", register.name, hex::encode(&register.value));
    }
    for claim in claims(genuine).iter().filter(|claim| !repeats(genuine, claim)) {
        let value = envelope::text::shown(&claim.value, 160);
        let _ = writeln!(text, "claim      {} = {value}  ({})", claim.name, claim.words);
    }
    text
}

/// Whether a line above says the same: a register of its name, or what is bound, or which hardware it is.
fn repeats(genuine: &Genuine, claim: &Claim) -> bool {
    let name = claim.name.rsplit_once("hardware:").map_or(claim.name.as_str(), |(_, name)| name);
    let measured = genuine.register(name).is_some_and(|value| is_same(&claim.value, value));
    let said = is_same(&claim.value, genuine.bound())
        || genuine.hardware_id().is_some_and(|id| id.len() > SHORT && id == claim.value);
    measured || (said && claim.value.len() > SHORT && claim.value.bytes().any(|digit| digit != b'0'))
}

fn is_same(claimed: &str, value: &[u8]) -> bool {
    let digits = hex::encode(value);
    match claimed.strip_prefix("0x") {
        Some(number) => number.trim_start_matches('0') == digits.trim_start_matches('0'),
        None => claimed == digits,
    }
}

fn merge(document: &mut Value, genuine: &Genuine, at_most: Option<Tier>) {
    if let Ok(Value::Object(members)) = serde_json::to_value(genuine) {
        for (name, value) in members {
            put(document, &name, value);
        }
    }
    put(document, "tier", json!(counted(genuine.tier(), at_most)));
    put(document, "claims", json!(claims(genuine)));
}

/// Sets a member of a JSON object.
fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

const fn remedy(genuine: &Genuine) -> &'static str {
    match genuine.assurance() {
        Assurance::SignatureOnly => {
            "hint: give the maker's current Endorsements with `--endorsements DIR`; `glovebox endorsements fetch` takes them"
        }
        Assurance::RevocationUnknown => {
            "hint: give the makers' revocation lists with `--endorsements DIR`; `glovebox endorsements fetch` takes them"
        }
        Assurance::OutOfDate(_) => {
            "hint: the machine's operator updates firmware and microcode; a policy can admit it by name"
        }
        Assurance::Conditional(_) => "hint: do what the maker's advisories say; a policy can admit it by name",
        Assurance::Affirmed | Assurance::ParsedOnly => "hint: ask for Evidence that is signed",
    }
}

/// What to do about a refusal that brings no hint of its own.
fn general_remedy(code: &str) -> &'static str {
    let has = |word: &str| code.contains(word);
    if has("measurement-missing") {
        "name registers that this Evidence has: those under `measured`"
    } else if has("missing") {
        "give what is missing with the Evidence, or with `--endorsements DIR`; `glovebox endorsements fetch` takes it from its maker"
    } else if has("expired") || has("not-valid-at-time") || has("not-yet-valid") {
        "fetch current Endorsements, or appraise as of the time that is meant with `--at`"
    } else if has("debug") {
        "start the machine again without it: what can be looked into proves nothing"
    } else if has("measurement") {
        "compare the code that runs with the code that was agreed; `glovebox evidence reference` states a new value"
    } else if has("bound") || has("nonce") {
        "ask for new Evidence for this very exchange"
    } else if has("assurance") {
        "a policy admits it by name in `admits`, where its owner knows what is missing"
    } else if has("tier") {
        "a policy that shall accept it names the tier in `tier_floor`"
    } else if has("generation") || has("floor") || has("tcb") || has("version") {
        "use a newer machine or firmware, or admit it in a policy by name"
    } else if has("trusted") || has("chain") {
        "ask the machine's operator for certificates that lead to the maker's own root"
    } else if has("malformed") || has("truncated") || has("long") {
        "take the file again from its source; it is not whole"
    } else {
        "do not rely on this machine; ask its operator"
    }
}

const UNBOUND: &str = "is bound to nothing here: it may be replayed\nhint: give what this exchange must have bound into it with `--nonce HEX`";
/// Digits that may be alike by chance.
const SHORT: usize = 16;
