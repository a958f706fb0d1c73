//! What a run on tiny data costs beside its TPMs and its release tick.
//!
//! A party submits runs to a real broker with a real worker behind it, one after another, and asks for the run's phase until the result is
//! out. From that time, the tick (one millisecond here) and what the TPMs need for the same commands are taken off: for the worker an
//! extended event and a quote, for the broker, which the worker appraises first, an activated credential and a quote.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use attest::binding::{BindingParts, ChannelKeys, Purpose};
use envelope::{Digest, text::Bytes32};
use wire::messages::Phase;
use zeroize::Zeroizing;

use crate::{
    Failure,
    measure::{median, milliseconds},
    report::{Limit, Row},
    room::{Room, TICK_MS},
};

/// Measures some runs after a first one. The room's first machine becomes the worker's, its second one tells the TPM's own time.
///
/// # Errors
/// When a run does not end with a result.
pub async fn measure(room: Room, programs: &Path, folder: &Path, runs: usize) -> Result<Vec<Row>, Failure> {
    let [machine, spare] = room.workers.as_slice() else { return Err("two machines are needed".into()) };
    let tpm = tpm_time(spare, &room)?;
    let _worker = room.start_worker(programs, machine, folder)?;
    let mut connection = room.connect().await?;
    let mut times = Vec::new();
    for number in 0..=runs {
        eprintln!("run: {number} of {runs}");
        let began = Instant::now();
        let run = room.submit(&mut connection).await?;
        loop {
            let status = room.status(&mut connection, &run).await?;
            match status.phase {
                Phase::Released => break,
                Phase::Refused => {
                    let refusal = status.refusal.map(|refusal| format!("{}: {}", refusal.code, refusal.words));
                    return Err(format!("the run was refused: {}", refusal.unwrap_or_default()).into());
                }
                Phase::Approved | Phase::Running if began.elapsed() > PATIENCE => {
                    return Err("the run takes too long".into());
                }
                Phase::Approved | Phase::Running => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        if number > 0 {
            times.push(milliseconds(began.elapsed()));
        }
    }
    let whole = median(&times);
    let over = whole - tpm - f64::from(TICK_MS);
    let note = format!("median of {runs}; {whole:.0} ms in all, {tpm:.0} ms of it the TPMs', {TICK_MS} ms the tick");
    Ok(vec![Row::new("a run over TPM and tick", over, "ms", Limit::AtMost(300.0), note)])
}

/// What the TPMs' commands of one run take, in milliseconds.
fn tpm_time(machine: &crate::room::Machine, room: &Room) -> Result<f64, Failure> {
    let attester = machine.attester()?;
    let claim = attester.key_claim(&[std::fs::read(&room.issuer)?]);
    let ak = attest::tpm::AkPublic::new(attest::tpm::TpmPublic::parse(&claim.ak_public.0)?)
        .map_err(|_| "the attestation key is none")?;
    let ek = attest::tpm::TpmPublic::parse(&claim.ek_public.0).ok().and_then(attest::tpm::EkPublic::new);
    let ek = ek.ok_or("the endorsement key is none")?;
    let mut times = Vec::new();
    for _ in 0..9 {
        let run = Digest::of(&Bytes32::random().0);
        let bind = |purpose| {
            let keys = ChannelKeys { channel: vec![], encapsulation: vec![], signing: [0; 32] };
            BindingParts { purpose, keys, exporter: [0; 32], nonce: Bytes32::random().0 }.bind()
        };
        let (secret, randomness) = (Zeroizing::new(Bytes32::random().0), Zeroizing::new([7; 48]));
        let made = attest::credential::make(&ek, &ak.public().name(), secret.as_slice(), &randomness)
            .map_err(|_| "a credential cannot be made")?;
        let began = Instant::now();
        attester.activate(&made)?;
        attester.evidence(&bind(Purpose::BrokerDeposit { party: [0; 32] }))?;
        attester.extend_run(&run)?;
        attester.evidence(&bind(Purpose::WorkerRelease { agreement: run, run }))?;
        times.push(milliseconds(began.elapsed()));
    }
    Ok(median(&times))
}

const PATIENCE: Duration = Duration::from_secs(60);
