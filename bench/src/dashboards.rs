//! Dashboards that are open while a row is measured: connections that read `/v1/updates` and do nothing else.
//!
//! One thread reads them all. It shares the processors with the load generator and the server, so that what it
//! takes is part of what dashboards cost.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Result;

const REQUEST: &[u8] = b"GET /v1/updates HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// How an update begins on the wire. It is one chunk, and a chunk is written at once.
const UPDATE: &[u8] = b"event: update";
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Open dashboards, until this is dropped.
pub(crate) struct Dashboards {
    number: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    updates: AtomicU64,
    /// Dashboards whose connection the server ended.
    lost: AtomicU64,
    is_over: AtomicBool,
}

impl Dashboards {
    /// Opens so many.
    pub(crate) fn open(address: SocketAddr, number: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut streams = Vec::new();
        for token in 0..number {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(REQUEST)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            streams.push(stream);
        }
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || read(poll, &mut streams, &shared)
        });
        Ok(Self { number, shared, thread: Some(thread) })
    }

    /// How many updates each has got so far, on average.
    pub(crate) fn updates(&self) -> f64 {
        self.shared.updates.load(Relaxed) as f64 / self.number as f64
    }

    /// An error if one is no longer open: what was measured then is something else.
    pub(crate) fn check(&self) -> Result<()> {
        match self.shared.lost.load(Relaxed) {
            0 => Ok(()),
            lost => Err(format!("the server closed the connection of {lost} dashboards").into()),
        }
    }
}

impl Drop for Dashboards {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn read(mut poll: Poll, streams: &mut [TcpStream], shared: &Shared) {
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    while !shared.is_over.load(Relaxed) {
        if poll.poll(&mut events, Some(LOOK)).is_err() {
            continue;
        }
        for event in &events {
            let Some(stream) = streams.get_mut(event.token().0) else { continue };
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => {
                        shared.lost.fetch_add(1, Relaxed);
                        break;
                    }
                    Ok(count) => {
                        let found = buffer.get(..count).unwrap_or_default();
                        let updates = found.windows(UPDATE.len()).filter(|part| *part == UPDATE).count();
                        shared.updates.fetch_add(updates as u64, Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {
                        shared.lost.fetch_add(1, Relaxed);
                        break;
                    }
                }
            }
        }
    }
}
