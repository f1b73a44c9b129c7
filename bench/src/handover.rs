//! The hand-over of a mutex: from one release to the next grant, with many waiting.
//!
//! # What is measured
//! There are `waiters + 1` peers, each with a connection of its own. One holds the mutex; each of the others
//! has `PUT /peers/{id}/mutex?block_for=60s` open, which the server answers when it grants the lock. The
//! holder sends its release and, in the same packet, its next blocking request: it joins the queue again,
//! behind all others, so that the number of waiters stays the same. The server answers the first waiter,
//! which does the same at once. It is one chain: at no time is more than one hand-over under way, and the
//! mutex goes around all peers in turn.
//!
//! * *Rate* is the number of grants per second.
//! * *Latency* is the time from before the release is written to after the next grant is read. It holds two
//!   trips over the loopback interface, and the waking of the server and of this process, which is most of
//!   it.
//!
//! With one waiter two connections stay warm in every cache. With ten thousand, each connection was last used
//! ten thousand grants ago, on the side of the server and on this one; the ratio of the two includes that, as
//! it does in practice. It is not the cost of a queue alone.
//!
//! The same setup shows what a blocked request takes: resident memory with the peers, then with a connection
//! for each on which one request was answered, then with a blocked request on each.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use serde::Serialize;

use crate::load::Connection;
use crate::process::{self, MUTEX, Running, Server};
use crate::rows::Peers;
use crate::stats::{Spread, percentile};
use crate::throughput::{create, in_turns};
use crate::{Options, Result, http, note, now};

/// The figures for one server and number of waiters.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) server: &'static str,
    pub(crate) waiters: usize,
    /// Grants per second.
    pub(crate) rate: Spread,
    /// Median time from the release to the next grant, in microseconds.
    pub(crate) latency_us: Spread,
    /// The time that one in a hundred exceeds.
    pub(crate) p99_us: Spread,
    /// Rate against that with the fewest waiters.
    pub(crate) rate_vs_first: Option<Spread>,
    /// Latency against that with the fewest waiters.
    pub(crate) latency_vs_first: Option<Spread>,
    /// Processor time of the server per grant, in microseconds.
    pub(crate) server_us: Option<Spread>,
}

/// What connections and blocked requests take, in bytes of resident memory.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    pub(crate) server: &'static str,
    pub(crate) connections: usize,
    /// With the peers, before there were connections for them.
    pub(crate) before: u64,
    /// With a connection for each, on which a request was answered.
    pub(crate) connected: u64,
    /// With a blocked request on each but one.
    pub(crate) blocked: u64,
}

/// Measures one server with each number of waiters.
pub(crate) fn measure(options: &Options, server: &Server) -> Result<(Vec<Line>, Vec<Memory>)> {
    let mut chains = Vec::new();
    for &waiters in &options.waiters {
        note(&format!("hand-over on {} with {waiters} waiters", server.name));
        chains.push(Chain::start(options, server, waiters)?);
    }
    // Pages are no measure for a few requests.
    let memory =
        chains.iter().filter(|chain| chain.waiters >= 100).filter_map(|chain| chain.memory.clone()).collect();
    if !options.wants("handover") {
        return Ok((Vec::new(), memory));
    }
    let mut samples: Vec<Vec<Sample>> = chains.iter().map(|_| Vec::new()).collect();
    for chain in &mut chains {
        // Once around, so that every connection has done all that it will do again.
        chain.run(options.slice * 4, chain.peers.len() as u64)?;
    }
    in_turns(options.rounds, &mut chains, &mut samples, |chain| chain.run(options.slice, u64::MAX))?;
    let column = |samples: &[Sample], pick: fn(&Sample) -> f64| samples.iter().map(pick).collect::<Vec<_>>();
    let first = samples.first().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for (index, (chain, samples)) in chains.iter().zip(&samples).enumerate() {
        let against = |pick: fn(&Sample) -> f64| {
            (index > 0).then(|| Spread::of_ratios(&column(samples, pick), &column(&first, pick))).flatten()
        };
        let spread = |pick| Spread::of(&column(samples, pick)).ok_or("no rounds");
        lines.push(Line {
            server: server.name,
            waiters: chain.waiters,
            rate: spread(|sample| sample.rate)?,
            latency_us: spread(|sample| sample.median)?,
            p99_us: spread(|sample| sample.p99)?,
            rate_vs_first: against(|sample| sample.rate),
            latency_vs_first: against(|sample| sample.median),
            server_us: Spread::of(&samples.iter().filter_map(|sample| sample.server_us).collect::<Vec<_>>()),
        });
        if chain.timed_out > 0 {
            note(&format!("{} of the waits on {} ended without a grant", chain.timed_out, server.name));
        }
    }
    Ok((lines, memory))
}

#[derive(Clone, Copy)]
struct Sample {
    rate: f64,
    median: f64,
    p99: f64,
    server_us: Option<f64>,
}

/// What the next answer on a connection is to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Release,
    Lock,
}

struct Waiter {
    connection: Connection,
    expected: VecDeque<Expected>,
}

struct Chain {
    waiters: usize,
    running: Running,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    peers: Vec<u64>,
    connections: Vec<Waiter>,
    holder: usize,
    timed_out: u64,
    memory: Option<Memory>,
}

const BLOCK: &str = "?block_for=60s";
/// A hand-over that takes longer than this is given up on.
const PATIENCE: Duration = Duration::from_secs(30);

impl Chain {
    fn start(options: &Options, server: &Server, waiters: usize) -> Result<Self> {
        let running = process::start(server, options.pin)?;
        let none = Rc::new(Peers { own: Vec::new(), idle: Vec::new(), constant: false });
        let peers = create(&mut running.connect(8)?, &none, waiters + 1, options.fill)?;
        if peers.len() <= waiters {
            return Err(format!("{} did not make {waiters} peers in time", server.name).into());
        }
        let before = running.memory();
        let poll = Poll::new()?;
        let connections = (0..=waiters)
            .map(|index| {
                let connection = Connection::open(running.address, &poll, index, &running.tls)?;
                Ok(Waiter { connection, expected: VecDeque::with_capacity(2) })
            })
            .collect::<Result<_>>()?;
        let mut chain = Self {
            waiters,
            running,
            poll,
            events: Events::with_capacity(1024),
            scratch: vec![0; 16 * 1024],
            peers,
            connections,
            holder: 0,
            timed_out: 0,
            memory: None,
        };

        // Every connection is used once, so that the server has for it whatever it has for one in use.
        chain.send_all(http::heartbeat)?;
        let connected = chain.running.memory();
        let mut lock = Vec::new();
        http::acquire(&mut lock, chain.peers.first().copied().unwrap_or_default(), MUTEX, "");
        chain.running.exchange(&lock)?;
        for index in 1..=waiters {
            chain.send(index, |out, peer| http::acquire(out, peer, MUTEX, BLOCK), &[Expected::Lock])?;
        }
        chain.wait_until_queued()?;
        let blocked = chain.running.memory();
        if let (Some(before), Some(connected), Some(blocked)) = (before, connected, blocked) {
            chain.memory =
                Some(Memory { server: server.name, connections: waiters + 1, before, connected, blocked });
        }
        Ok(chain)
    }

    fn send(
        &mut self,
        index: usize,
        request: impl Fn(&mut Vec<u8>, u64),
        expected: &[Expected],
    ) -> Result<()> {
        let (Some(waiter), Some(&peer)) = (self.connections.get_mut(index), self.peers.get(index)) else {
            return Ok(());
        };
        let mut out = Vec::with_capacity(512);
        request(&mut out, peer);
        waiter.expected.extend(expected);
        waiter.connection.send(&out)
    }

    /// Sends one request on each connection and waits for all answers, a few at a time.
    fn send_all(&mut self, request: fn(&mut Vec<u8>, u64)) -> Result<()> {
        for begin in (0..self.connections.len()).step_by(256) {
            let end = (begin + 256).min(self.connections.len());
            for index in begin..end {
                self.send(index, request, &[Expected::Release])?;
            }
            while self.connections.iter().take(end).skip(begin).any(|waiter| !waiter.expected.is_empty()) {
                self.step(PATIENCE)?;
            }
        }
        Ok(())
    }

    /// Blocking requests are not answered, so that they have arrived is seen in the metrics.
    fn wait_until_queued(&mut self) -> Result<()> {
        let mut request = Vec::new();
        http::get(&mut request, "/metrics");
        let deadline = now() + PATIENCE;
        let mut pending = None;
        while now() < deadline {
            self.step(Duration::from_millis(1))
                .or_else(|error| if error.is::<Stalled>() { Ok(None) } else { Err(error) })?;
            let body = self.running.exchange(&request)?;
            pending = gauge(&String::from_utf8_lossy(&body), "throttle_pending", MUTEX);
            if pending == Some(self.waiters as f64) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{} requests wait and not {} after {PATIENCE:?}", pending.unwrap_or(0.0), self.waiters)
            .into())
    }

    /// Waits for answers and takes them; gives back who was granted the lock, if anybody was.
    fn step(&mut self, patience: Duration) -> Result<Option<usize>> {
        let Self { poll, events, connections, scratch, .. } = self;
        if let Err(error) = poll.poll(events, Some(patience)) {
            return if error.kind() == std::io::ErrorKind::Interrupted {
                Ok(None)
            } else {
                Err(error.into())
            };
        }
        if events.is_empty() {
            return Err(Box::new(Stalled));
        }
        let mut granted = None;
        let mut again = Vec::new();
        for event in events.iter() {
            let index = event.token().0;
            let Some(waiter) = connections.get_mut(index) else { continue };
            if event.is_writable() {
                waiter.connection.flush()?;
            }
            if !event.is_readable() {
                continue;
            }
            let expected = &mut waiter.expected;
            waiter.connection.receive(scratch, |answer| {
                match expected.pop_front().ok_or("an answer to no request")? {
                    Expected::Lock if answer.status == 202 => again.push(index),
                    Expected::Lock => {
                        answer.expect(200)?;
                        if granted.replace(index).is_some() {
                            return Err("the mutex was granted to two peers".into());
                        }
                    }
                    Expected::Release => answer.expect(200)?,
                }
                Ok(())
            })?;
        }
        for index in again {
            self.timed_out += 1;
            self.send(index, |out, peer| http::acquire(out, peer, MUTEX, BLOCK), &[Expected::Lock])?;
        }
        Ok(granted)
    }

    /// Hands the mutex on until `time` is over or it was granted `most` times. The last holder keeps it.
    fn run(&mut self, time: Duration, most: u64) -> Result<Sample> {
        let mut latencies = Vec::with_capacity(1 << 16);
        let used = self.running.processor_time();
        let begin = now();
        let mut end = begin;
        while end - begin < time && (latencies.len() as u64) < most {
            let released = now();
            let hand_on = |out: &mut Vec<u8>, peer| {
                http::release(out, peer, MUTEX);
                http::acquire(out, peer, MUTEX, BLOCK);
            };
            self.send(self.holder, hand_on, &[Expected::Release, Expected::Lock])?;
            self.holder = loop {
                if let Some(next) = self.step(PATIENCE)? {
                    break next;
                }
                if released.elapsed() > PATIENCE {
                    return Err(Box::new(Stalled));
                }
            };
            end = now();
            latencies.push(nanoseconds(released, end));
        }
        let grants = latencies.len() as f64;
        let used =
            used.zip(self.running.processor_time()).map(|(before, after)| after.saturating_sub(before));
        let microseconds = |value: Option<u64>| value.unwrap_or_default() as f64 / 1e3;
        Ok(Sample {
            rate: grants / (end - begin).as_secs_f64(),
            median: microseconds(percentile(&mut latencies, 0.5)),
            p99: microseconds(percentile(&mut latencies, 0.99)),
            server_us: used.map(|used| used.as_secs_f64() * 1e6 / grants),
        })
    }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX)
}

/// Nothing was heard for too long.
#[derive(Debug)]
struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the mutex was released and nobody was granted it within {PATIENCE:?}")
    }
}

impl std::error::Error for Stalled {}

/// The value of a gauge for one semaphore in the text of `/metrics`.
fn gauge(metrics: &str, name: &str, semaphore: &str) -> Option<f64> {
    let label = format!("semaphore=\"{semaphore}\"");
    metrics.lines().find_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.split_once('}')?;
        if labels.contains(&label) { value.trim().parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::gauge;

    #[test]
    fn a_gauge_is_found_by_name_and_label() {
        let metrics = "# TYPE throttle_pending gauge\nthrottle_pending_peers{semaphore=\"mutex\"} 9\n\
                       throttle_pending{semaphore=\"wide\"} 3\nthrottle_pending{semaphore=\"mutex\"} 7\n";
        assert_eq!(gauge(metrics, "throttle_pending", "mutex"), Some(7.0));
        assert_eq!(gauge(metrics, "throttle_pending", "none"), None);
    }
}
