//! What is measured as a rate: one row per kind of operation.
//!
//! To add a row, write a [`Script`] for what one connection says and add a [`Row`] to [`ROWS`]. It is then
//! measured on every server and at every number of idle peers, against the bare server (which gets the same
//! bytes) and in the report.

use std::rc::Rc;

use crate::http::{self, Answer};
use crate::load::Script;
use crate::process::WIDE;

type Outcome = Result<u64, String>;

/// One kind of operation.
pub(crate) struct Row {
    /// Its name in the report and for `--rows`.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) about: &'static str,
    /// Whether it needs `/v1`, which older servers do not have.
    pub(crate) v1: bool,
    /// Whether it is measured while dashboards are open, too.
    pub(crate) watched: bool,
    /// The script for the connection of that number.
    pub(crate) script: fn(&Rc<Peers>, usize) -> Box<dyn Script>,
}

/// The peers that a server has got before the measurements.
pub(crate) struct Peers {
    /// One for each connection.
    pub(crate) own: Vec<u64>,
    /// Those that just lie there.
    pub(crate) idle: Vec<u64>,
    /// Whether the server answers a constant, so that no id can be had from it.
    pub(crate) constant: bool,
}

impl Peers {
    fn own(&self, connection: usize) -> u64 {
        self.own.get(connection).copied().unwrap_or(u64::MAX)
    }
}

/// All rows, in the order of the report.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "create",
        about: "POST /new_peer; the peers are removed between the measurements",
        v1: false,
        watched: false,
        script: |peers, connection| Box::new(Create::new(peers, connection, usize::MAX)),
    },
    Row {
        name: "heartbeat",
        about: "PUT /peers/{id}, each connection for a peer of its own",
        v1: false,
        watched: true,
        script: |peers, connection| Box::new(Heartbeat { peer: peers.own(connection) }),
    },
    Row {
        name: "heartbeat-any",
        about: "PUT /peers/{id} for any of all peers at random, so that none is in a cache",
        v1: false,
        watched: false,
        script: |peers, connection| {
            Box::new(HeartbeatAny { peers: Rc::clone(peers), random: peers.own(connection) | 1 })
        },
    },
    Row {
        name: "cycle",
        about: "PUT and DELETE /peers/{id}/{semaphore}: a lock acquired and released, free of contention",
        v1: false,
        watched: true,
        script: |peers, connection| {
            Box::new(Cycle { peer: peers.own(connection), v1: false, held: false, asked: false })
        },
    },
    Row {
        name: "session",
        about: "POST /new_peer, PUT /peers/{id}/{semaphore}, DELETE /peers/{id}: all of a short job",
        v1: false,
        watched: true,
        script: |peers, connection| Box::new(Session::new(peers, connection)),
    },
    Row {
        name: "v1-heartbeat",
        about: "POST /v1/peers/{id}/heartbeat, each connection for a peer of its own",
        v1: true,
        watched: false,
        script: |peers, connection| {
            let mut request = Vec::new();
            http::v1_heartbeat(&mut request, peers.own(connection));
            Box::new(Fixed { request, operations: 1 })
        },
    },
    Row {
        name: "v1-cycle",
        about: "PUT /v1/peers/{id}/locks and DELETE /v1/peers/{id}/locks/{semaphore}, free of contention",
        v1: true,
        watched: true,
        script: |peers, connection| {
            Box::new(Cycle { peer: peers.own(connection), v1: true, held: false, asked: false })
        },
    },
    Row {
        name: "heartbeats",
        about: "POST /v1/heartbeats for 1,000 peers at once; counted are peers",
        v1: true,
        watched: false,
        script: |peers, connection| Box::new(batch(peers, connection)),
    },
];

/// How many peers one request of the row `heartbeats` is for.
const BATCH: usize = 1000;

/// The request for the peers of this connection: those that lie idle, if there are any.
fn batch(peers: &Peers, connection: usize) -> Fixed {
    let pick = if peers.idle.is_empty() { &peers.own } else { &peers.idle };
    let skipped = connection * BATCH % pick.len().max(1);
    let mut request = Vec::new();
    http::v1_heartbeats(&mut request, pick.iter().copied().cycle().skip(skipped).take(BATCH));
    Fixed { request, operations: BATCH as u64 }
}

/// The same request again and again.
struct Fixed {
    request: Vec<u8>,
    /// How many operations each answer counts for.
    operations: u64,
}

impl Script for Fixed {
    fn request(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        answer.expect(200).map(|()| self.operations)
    }
}

/// Makes up to `most` peers.
pub(crate) struct Create {
    peers: Rc<Peers>,
    connection: usize,
    left: usize,
    made: Vec<u64>,
}

impl Create {
    pub(crate) fn new(peers: &Rc<Peers>, connection: usize, most: usize) -> Self {
        Self { peers: Rc::clone(peers), connection, left: most, made: Vec::new() }
    }
}

/// The id in an answer to `POST /new_peer`.
fn new_id(answer: &Answer<'_>, peers: &Peers, connection: usize) -> Result<u64, String> {
    answer.expect(200)?;
    if peers.constant {
        return Ok(peers.own(connection));
    }
    answer.peer().ok_or_else(|| format!("not a peer id: {:?}", String::from_utf8_lossy(answer.body)))
}

impl Script for Create {
    fn request(&mut self, out: &mut Vec<u8>) {
        if self.left > 0 {
            self.left -= 1;
            http::new_peer(out);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        let id = new_id(answer, &self.peers, self.connection)?;
        if !self.peers.constant {
            self.made.push(id);
        }
        Ok(1)
    }

    fn left_behind(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.made)
    }
}

/// Removes peers until there are none.
pub(crate) struct Remove {
    pub(crate) peers: Vec<u64>,
}

impl Script for Remove {
    fn request(&mut self, out: &mut Vec<u8>) {
        if let Some(peer) = self.peers.pop() {
            http::delete_peer(out, peer);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        answer.expect(200).map(|()| 1)
    }

    fn may_stop(&self) -> bool {
        self.peers.is_empty()
    }
}

/// Moves the expiry of one peer.
pub(crate) struct Heartbeat {
    pub(crate) peer: u64,
}

impl Script for Heartbeat {
    fn request(&mut self, out: &mut Vec<u8>) {
        http::heartbeat(out, self.peer);
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        answer.expect(200).map(|()| 1)
    }
}

struct HeartbeatAny {
    peers: Rc<Peers>,
    random: u64,
}

impl Script for HeartbeatAny {
    fn request(&mut self, out: &mut Vec<u8>) {
        // xorshift: quick, and far from any order of the table.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let pick = if self.peers.idle.is_empty() { &self.peers.own } else { &self.peers.idle };
        let index = (self.random >> 11) as usize % pick.len().max(1);
        http::heartbeat(out, pick.get(index).copied().unwrap_or(u64::MAX));
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        answer.expect(200).map(|()| 1)
    }
}

struct Cycle {
    peer: u64,
    /// In the words of `/v1`.
    v1: bool,
    /// As of the last answer.
    held: bool,
    /// As of the last request, which runs ahead in a pipeline.
    asked: bool,
}

impl Script for Cycle {
    fn request(&mut self, out: &mut Vec<u8>) {
        match (self.asked, self.v1) {
            (false, false) => http::acquire(out, self.peer, WIDE, ""),
            (true, false) => http::release(out, self.peer, WIDE),
            (false, true) => http::v1_acquire(out, self.peer, WIDE),
            (true, true) => http::v1_release(out, self.peer, WIDE),
        }
        self.asked = !self.asked;
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        // What is released has no content in `/v1`.
        answer.expect(if answer.status == 204 && self.v1 { 204 } else { 200 })?;
        self.held = !self.held;
        Ok(u64::from(!self.held))
    }

    fn may_stop(&self) -> bool {
        !self.asked
    }
}

/// A peer's whole life. Its requests need the id from the first answer, so they cannot be pipelined.
struct Session {
    peers: Rc<Peers>,
    connection: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    None,
    Creating,
    Created(u64),
    Acquiring(u64),
    Acquired(u64),
    Deleting,
}

impl Session {
    fn new(peers: &Rc<Peers>, connection: usize) -> Self {
        Self { peers: Rc::clone(peers), connection, state: State::None }
    }
}

impl Script for Session {
    fn request(&mut self, out: &mut Vec<u8>) {
        self.state = match self.state {
            State::None => {
                http::new_peer(out);
                State::Creating
            }
            State::Created(peer) => {
                http::acquire(out, peer, WIDE, "");
                State::Acquiring(peer)
            }
            State::Acquired(peer) => {
                http::delete_peer(out, peer);
                State::Deleting
            }
            // The answer is still out.
            state @ (State::Creating | State::Acquiring(_) | State::Deleting) => state,
        };
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Outcome {
        answer.expect(200)?;
        match self.state {
            State::Creating => self.state = State::Created(new_id(answer, &self.peers, self.connection)?),
            State::Acquiring(peer) => self.state = State::Acquired(peer),
            State::Deleting => {
                self.state = State::None;
                return Ok(1);
            }
            State::None | State::Created(_) | State::Acquired(_) => {
                return Err("an answer to no request".into());
            }
        }
        Ok(0)
    }

    fn may_stop(&self) -> bool {
        matches!(self.state, State::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Answer<'_> = Answer { status: 200, body: b"Ok" };

    fn requests(script: &mut dyn Script, depth: usize) -> String {
        let mut out = Vec::new();
        for _ in 0..depth {
            script.request(&mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let lines = text.split("\r\n").filter_map(|line| line.strip_suffix(" HTTP/1.1"));
        lines.map(|line| line.trim_start_matches('1')).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_cycle_counts_once_and_stops_released_also_in_a_pipeline() {
        let mut cycle = Cycle { peer: 7, v1: false, held: false, asked: false };
        assert_eq!(requests(&mut cycle, 3), "PUT /peers/7/wide, DELETE /peers/7/wide, PUT /peers/7/wide");
        assert!(!cycle.may_stop());
        assert_eq!([cycle.answer(&OK), cycle.answer(&OK), cycle.answer(&OK)], [Ok(0), Ok(1), Ok(0)]);
        requests(&mut cycle, 1);
        assert!(cycle.may_stop());
    }

    #[test]
    fn a_session_uses_the_id_that_it_was_given() {
        let peers = Rc::new(Peers { own: vec![1], idle: Vec::new(), constant: false });
        let mut session = Session::new(&peers, 0);
        assert_eq!(requests(&mut session, 2), "POST /new_peer", "no request runs ahead of the id");
        assert_eq!(session.answer(&Answer { status: 200, body: b"42" }), Ok(0));
        assert_eq!(requests(&mut session, 1), "PUT /peers/42/wide");
        assert_eq!(session.answer(&OK), Ok(0));
        assert_eq!(requests(&mut session, 1), "DELETE /peers/42");
        assert_eq!(session.answer(&OK), Ok(1));
        assert!(session.may_stop());
    }

    #[test]
    fn a_refusal_ends_the_measurement() {
        let refusal = Answer { status: 400, body: b"Unknown peer" };
        let refused = Heartbeat { peer: 1 }.answer(&refusal).unwrap_err();
        assert!(refused.contains("400") && refused.contains("Unknown peer"), "{refused}");
    }

    #[test]
    fn names_are_unique_and_make_a_filter() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(!row.name.contains([',', ' ']) && !row.about.is_empty());
            assert!(ROWS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }
}
