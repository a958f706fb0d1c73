//! Counters for the operator, in the text format of Prometheus (exposition format 0.0.4).
//!
//! A label's value is one of a closed set: the path templates of the API and the codes of its refusals. So no metric can name a
//! party, a run, a dataset or a secret, whatever is sent.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use wire::Code;

use crate::{api, kbs, service::Broker};

/// Counts of answers and their times, per endpoint.
pub struct Metrics {
    endpoints: Vec<Endpoint>,
    other: Endpoint,
}

#[derive(Default)]
struct Endpoint {
    done: AtomicU64,
    refused: Vec<AtomicU64>,
    buckets: Vec<AtomicU64>,
    micros: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics { endpoints: endpoints().map(|_| Endpoint::new()).collect(), other: Endpoint::new() }
    }

    /// Counts one answer: `endpoint` is a template of the API or anything else, `refusal` the code if it was one.
    pub(crate) fn count(&self, endpoint: &str, refusal: Option<Code>, took: Duration) {
        let place = endpoints().position(|path| path == endpoint);
        let endpoint = place.and_then(|place| self.endpoints.get(place)).unwrap_or(&self.other);
        endpoint.count(refusal, took);
    }

    /// Everything, as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let paths = endpoints().chain(["other"]);
        let all: Vec<_> = paths.zip(self.endpoints.iter().chain([&self.other])).collect();
        header(&mut text, "glovebox_broker_answers_total", "counter", "Answers by endpoint and outcome.");
        for (path, endpoint) in &all {
            let done = endpoint.done.load(Ordering::Relaxed);
            let _ = writeln!(text, "glovebox_broker_answers_total{{endpoint=\"{path}\",outcome=\"done\"}} {done}");
            for ((_, code, _), count) in wire::TABLE.iter().zip(&endpoint.refused) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(
                        text,
                        "glovebox_broker_answers_total{{endpoint=\"{path}\",outcome=\"{code}\"}} {count}"
                    );
                }
            }
        }
        header(&mut text, "glovebox_broker_answer_seconds", "histogram", "Time from request to answer.");
        for (path, endpoint) in &all {
            endpoint.render(&mut text, path);
        }
        text
    }
}

/// Serves the counters in plain HTTP, one answer per connection, whatever is asked. At most 16 askers are heard at once.
pub async fn serve(listener: TcpListener, broker: Arc<Broker>) {
    let places = Arc::new(Semaphore::new(16));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(5), answer(stream, &broker)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, broker: &Broker) -> std::io::Result<()> {
    let mut head = [0; 4096];
    // Whoever sends more than this in one go has not asked for metrics.
    let _ = stream.read(&mut head).await?;
    let body = broker.metrics().render();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

impl Endpoint {
    fn new() -> Endpoint {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Endpoint { refused: zeros(wire::TABLE.len()), buckets: zeros(BUCKETS_MS.len() + 1), ..Endpoint::default() }
    }

    fn count(&self, refusal: Option<Code>, took: Duration) {
        let row = refusal.and_then(|code| wire::TABLE.iter().position(|(known, _, _)| *known == code));
        let counter = row.and_then(|row| self.refused.get(row)).unwrap_or(&self.done);
        counter.fetch_add(1, Ordering::Relaxed);
        let millis = took.as_millis();
        let bucket = BUCKETS_MS.iter().position(|bound| millis <= u128::from(*bound)).unwrap_or(BUCKETS_MS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    fn render(&self, text: &mut String, path: &str) {
        const NAME: &str = "glovebox_broker_answer_seconds";
        let mut sum = 0;
        let bounds =
            BUCKETS_MS.iter().map(|bound| format!("{}", f64::from(*bound) / 1_000.0)).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{NAME}_bucket{{endpoint=\"{path}\",le=\"{bound}\"}} {sum}");
        }
        let micros = self.micros.load(Ordering::Relaxed);
        let _ = writeln!(text, "{NAME}_sum{{endpoint=\"{path}\"}} {}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let _ = writeln!(text, "{NAME}_count{{endpoint=\"{path}\"}} {sum}");
    }
}

/// The templates of both listeners.
fn endpoints() -> impl Iterator<Item = &'static str> {
    api::ENDPOINTS.iter().map(|(path, _)| *path).chain(kbs::http::ENDPOINTS.iter().copied())
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

const BUCKETS_MS: &[u32] = &[1, 5, 10, 50, 100, 500, 1_000, 5_000, 25_000];
