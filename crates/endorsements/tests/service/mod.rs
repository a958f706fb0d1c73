//! A local service that plays the makers': answers by path, counted.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

/// One answer.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The service; its answers can be changed while it runs.
#[derive(Clone)]
pub struct Service {
    pub address: Url,
    answers: Arc<Mutex<HashMap<String, Vec<Answer>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Answer {
    pub fn ok(body: Vec<u8>) -> Answer {
        Answer { status: 200, headers: Vec::new(), body }
    }

    /// With a chain of certificates as Intel sends it: percent-encoded.
    pub fn chain(mut self, header: &str, pem: &[u8]) -> Answer {
        self.headers.push((header.to_owned(), encoded(pem)));
        self
    }

    pub fn status(status: u16, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, headers, body: Vec::new() }
    }
}

impl Service {
    /// Starts; each answer takes `delay`.
    pub async fn start(delay: Duration) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let service = Service { address, answers: Arc::default(), asked: Arc::default() };
        let own = service.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let target = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
                    own.asked.lock().unwrap().push(target.clone());
                    tokio::time::sleep(delay).await;
                    let answer = own.next(&target);
                    let mut text = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
                    for (name, value) in &answer.headers {
                        text.push_str(&format!("{name}: {value}\r\n"));
                    }
                    text.push_str("Connection: close\r\n\r\n");
                    let _ = stream.write_all(&[text.into_bytes(), answer.body].concat()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        service
    }

    /// Answers a path and query with these, in order; the last one stays.
    pub fn has(&self, target: &str, answers: Vec<Answer>) {
        self.answers.lock().unwrap().insert(target.to_owned(), answers);
    }

    /// How often a path and query was asked for.
    pub fn count(&self, target: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == target).count()
    }

    fn next(&self, target: &str) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(target) {
            None => Answer::status(404, &[]),
            Some(list) if list.len() > 1 => list.remove(0),
            Some(list) => list[0].clone(),
        }
    }
}

pub fn encoded(pem: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    pem.iter().map(|byte| if plain(byte) { (*byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A file of the vectors; `None`, with words, when they are absent.
pub fn vector(path: &str) -> Option<Vec<u8>> {
    let folder = std::env::var("GLOVEBOX_VECTORS")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    match std::fs::read(folder.join(path)) {
        Ok(bytes) => Some(bytes),
        Err(_) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{path} is not in GLOVEBOX_VECTORS"),
        Err(_) => {
            eprintln!("skipped: `{path}` is not in GLOVEBOX_VECTORS");
            None
        }
    }
}
