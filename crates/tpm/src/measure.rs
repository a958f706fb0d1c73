//! Extends registers and writes the event log in one step, so that the log always replays.
//!
//! The event goes into *every* active bank: a bank left out could be filled later with whatever an attacker likes. The
//! register comes first and the log after, and a caller that fails between the two must stop attesting (see
//! [`crate::Attester`]), since whether the TPM took the event is then unknown.

use attest::event_log::EventLog;
use attest::events::{Event, RoleName};
use envelope::Digest;

use crate::error::TpmError;
use crate::tpm::Tpm;

/// What a launcher does before it starts a role on a machine whose firmware keeps no log: opens a log for the active banks,
/// measures the role's binary, and closes with `system-ready`. The TPM must have been reset since the last launch.
///
/// # Errors
/// What the connection or the TPM meets.
pub fn launch(tpm: &mut Tpm, role: &RoleName, binary: &Digest) -> Result<EventLog, TpmError> {
    let mut log = EventLog::new(&tpm.banks()?);
    extend(tpm, &mut log, &Event::role(role, binary))?;
    extend(tpm, &mut log, &Event::system_ready())?;
    Ok(log)
}

/// Extends one event into its registers, in every active bank, and appends it to the log.
///
/// # Errors
/// What the connection or the TPM meets; the log is then without the event, and the registers may have it.
pub fn extend(tpm: &mut Tpm, log: &mut EventLog, event: &Event) -> Result<(), TpmError> {
    let digests: Vec<_> = tpm.banks()?.into_iter().map(|bank| (bank, event.digest(bank))).collect();
    let borrowed: Vec<_> = digests.iter().map(|(bank, digest)| (*bank, digest.as_slice())).collect();
    for pcr in event.pcrs() {
        tpm.extend(*pcr, &borrowed)?;
    }
    log.append(event);
    Ok(())
}
