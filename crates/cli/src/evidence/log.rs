//! What is in an event log: its registers, and what it tells of a machine's start, with how far its digests vouch for that.

use attest::{
    HashAlgorithm,
    boot::{Description, SecureBoot},
    ccel::CcEventLog,
    event_log::EventLog,
};

use super::fields::{Field, field};

/// A TPM's log, or that of a confidential machine, whose registers are others.
pub(super) fn fields(bytes: &[u8]) -> Vec<Field> {
    // A TPM's log speaks of registers that a confidential machine does not have.
    let of_machine = CcEventLog::parse(bytes).ok().filter(|log| !log.events().is_empty());
    match (of_machine, EventLog::parse(bytes)) {
        (Some(log), _) => machine_log(&log),
        (None, Ok(log)) => tpm_log(&log),
        (None, Err(_)) => vec![field("log", "cannot be read", "its form is not that of the TCG's specification")],
    }
}

fn tpm_log(log: &EventLog) -> Vec<Field> {
    let banks: Vec<&str> = log.banks().into_iter().map(HashAlgorithm::name).collect();
    let mut found = vec![
        field("entries", log.entries().len().to_string(), "events that were measured"),
        field("banks", banks.join(" "), "hash functions of its digests"),
    ];
    for bank in log.banks() {
        for (register, value) in log.replay(bank).into_iter().flatten() {
            let name = format!("{}.pcr{register}", bank.name());
            found.push(field(name, hex::encode(value), AFTER));
        }
    }
    if let Some(bank) = log.banks().last() {
        found.extend(told(&log.describe(*bank)));
    }
    found
}

fn machine_log(log: &CcEventLog) -> Vec<Field> {
    let mut found = vec![
        field("entries", log.events().len().to_string(), "events that were measured"),
        field("banks", log.bank().name(), "hash function of its digests"),
    ];
    for (register, value) in log.replay() {
        found.push(field(format!("rtmr{register}"), hex::encode(value), AFTER));
    }
    found.extend(told(&log.describe()));
    found
}

/// What a log tells of the start, with how far its digests vouch for that.
fn told(description: &Description) -> Vec<Field> {
    let state = match description.secure_boot {
        SecureBoot::On => "on",
        SecureBoot::Off => "off",
        SecureBoot::NotTold(_) => "not told",
    };
    let words = description.secure_boot.words().split_once(": ").map_or("", |(_, words)| words);
    let mut found = vec![field("secure_boot", state, words)];
    found.extend(description.programs.iter().map(|program| {
        let path = program.path.as_deref().unwrap_or("no file is named");
        let words = format!("a program that was started; said to be {}", envelope::text::shown(path, 120));
        field(format!("{}.program", program.register), &program.digest, words)
    }));
    found.extend(description.sections.iter().map(|section| {
        field(format!("{}{}", section.register, section.name), &section.digest, "a section of a unified kernel image")
    }));
    found.extend(description.command_lines.iter().map(|line| {
        field(format!("{}.command_line", line.register), &line.text, "measured; that it is a kernel's is a label")
    }));
    found.extend(description.events.iter().map(|event| {
        let name = format!("{}.{}.{}", event.index, event.register, event.kind);
        field(name, &event.words, event.vouched.words())
    }));
    found
}

const AFTER: &str = "what the register holds after these events";
