//! The honest client: it renews its lease and takes its lock, again and again, and notes how long each answer takes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{Outcome, client};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(2);

/// How long its requests took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) count: usize,
    pub(crate) median: Duration,
    pub(crate) longest: Duration,
}

pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome<Vec<Duration>>>,
}

impl Honest {
    /// Begins on a thread of its own, so that it measures the server and not the attackers.
    pub(crate) fn start(port: u16, header: &'static str) -> Outcome<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (_, made) =
                ask(&mut stream, header, "POST /v1/peers", Some(&json!({ "expires_in": "10s" })))?;
            let peer = made.get("id").and_then(Value::as_str).ok_or("no id")?.to_owned();
            let heartbeat = format!("POST /v1/peers/{peer}/heartbeat");
            let acquire = format!("PUT /v1/peers/{peer}/locks");
            let release = format!("DELETE /v1/peers/{peer}/locks/honest");
            let locks = json!({ "locks": { "honest": 1 } });
            let mut waits = Vec::new();
            while !stopped.load(Relaxed) {
                for (line, body) in [(&heartbeat, None), (&acquire, Some(&locks)), (&release, None)] {
                    let start = now();
                    let (status, answer) = ask(&mut stream, header, line, body)?;
                    waits.push(start.elapsed());
                    if !(200..300).contains(&status) || status == 202 {
                        return Err(format!("the honest client was answered {status}: {answer}").into());
                    }
                }
                thread::sleep(PAUSE);
            }
            Ok(waits)
        });
        Ok(Self { stop, thread })
    }

    pub(crate) fn stop(self) -> Outcome<Waits> {
        self.stop.store(true, Relaxed);
        let mut waits = self.thread.join().map_err(|_| "the honest client failed")??;
        waits.sort_unstable();
        let count = waits.len();
        let at = |index: usize| waits.get(index).copied().unwrap_or_default();
        Ok(Waits { count, median: at(count / 2), longest: at(count.saturating_sub(1)) })
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured here is the time of a client")]
fn now() -> Instant {
    Instant::now()
}

fn ask(stream: &mut TcpStream, header: &str, line: &str, body: Option<&Value>) -> Outcome<(u16, Value)> {
    stream.write_all(client::with_headers(line, header, body).as_bytes())?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some((answer, _)) = client::parse(&bytes) {
            return Ok((answer.status, answer.json().unwrap_or_default()));
        }
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err("the honest client lost its connection".into());
        }
        bytes.extend_from_slice(part.get(..length).unwrap_or_default());
    }
}
