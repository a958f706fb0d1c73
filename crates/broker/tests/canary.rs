//! H7: what is sent never stands in a log line or a metric.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use agreement::documents::Consent;
use envelope::{Digest, SigningKey, text};
use room::{Room, address, anyone, call};
use wire::messages::path;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const CANARY: &str = "canary-5f1e8a";

#[tokio::test(flavor = "multi_thread")]
async fn h7_canaries_sent_to_every_endpoint_stand_in_no_log_and_no_metric() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).with_max_level(tracing::Level::TRACE).init();
    let Some(room) = Room::open().await else { return };
    let (mut connection, run, enrolment) = room.running().await;
    let (released, keys) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    let finished = room.worker.finished(room.broker.key(), &run, released.lease.id, CANARY.as_bytes());
    let _: wire::messages::Accepted = connection.post(path::WORKER_RESULT, &finished).await.unwrap();

    let stranger = SigningKey::from_seed(&[0x5f; 32]);
    let consent = Consent { agreement: Digest::of(CANARY.as_bytes()), broker_ak: Digest::of(b"ak") };
    let statement = serde_json::to_string(address(consent, room.broker.key(), &stranger).envelope()).unwrap();
    let bodies = [format!("{{\"{CANARY}\":\"{CANARY}\"}}"), CANARY.to_owned(), statement];
    let paths = [
        path::BROKER,
        path::CHALLENGE,
        path::BROKER_EVIDENCE,
        path::BROKER_ACTIVATE,
        path::PROPOSALS,
        path::CONSENTS,
        path::DEPOSITS,
        path::OFFERS,
        path::REFERENCE_VALUES,
        path::REVOCATIONS,
        path::ROTATIONS,
        path::AGREEMENTS,
        path::AGREEMENT,
        path::RUNS,
        path::RUN,
        path::RESULT,
        path::RECEIPT,
        path::RECORDS,
        path::WORKER_ENROL,
        path::WORKER_PROVE,
        path::WORKER_NEXT,
        path::WORKER_RELEASE,
        path::WORKER_RENEW,
        path::WORKER_RESULT,
        path::WORKER_FAILED,
        path::LOG_CHECKPOINT,
        path::LOG_CONSISTENCY,
        "/log/tile/{run}",
        "/openapi.json",
        "/{run}",
    ];
    for template in paths {
        let uri = template.replace("{run}", CANARY).replace("{digest}", CANARY);
        for uri in [uri.clone(), format!("{uri}?{CANARY}={CANARY}"), format!("{uri}/%63{CANARY}")] {
            for method in ["GET", "POST"] {
                for body in &bodies {
                    call(&room.broker, &anyone(), method, &uri, body.clone()).await;
                }
            }
        }
    }

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let metrics = room.broker.metrics().render();
    assert!(log.contains("\"answered\"") && metrics.contains("glovebox_broker_answers_total"));
    let file_key = keys.tables.values().next().unwrap()[0].footer.0;
    let secrets = [room.trial.key.as_bytes(), room.outcomes.key.as_bytes(), &file_key];
    let mut words =
        vec![CANARY.to_owned(), stranger.public().to_string(), run.to_string(), run.hex(), room.digest().to_string()];
    words.extend(secrets.iter().flat_map(|secret| [text::encode(*secret), Digest::from_bytes(**secret).hex()]));
    words.extend(room.parties.values().map(|party| party.key.public().to_string()));
    for word in words {
        assert!(!log.contains(&word), "{word} stands in the log");
        assert!(!metrics.contains(&word), "{word} stands in the metrics");
    }
}
