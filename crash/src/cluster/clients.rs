//! Clients that know all servers, and move on when one fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::relay::Link;
use crate::{
    clock::now,
    http::{Answer, Call, Connection},
    plan::{self, Planned, What},
    world::Shared,
};

/// The pause once all servers have failed.
const PAUSE: Duration = Duration::from_millis(20);
/// In what a server says that neither leads nor knows who does.
const NOT_DONE: &str = "No server of the cluster leads just now";

/// The changes that were acknowledged in a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) count: u64,
    /// Of those that were sent after this,
    since: Instant,
    pub(super) after: u64,
    /// the last, and the longest time without any.
    last: Instant,
    pub(super) away: Duration,
}

impl Changes {
    pub(super) fn none() -> Self {
        let since = now();
        Self { count: 0, since, after: 0, last: since, away: Duration::ZERO }
    }

    /// Counts those that are sent from now on.
    pub(super) fn begin(&mut self) {
        (self.since, self.after) = (now(), 0);
    }

    /// Measures from now on how long there are none.
    pub(super) fn measure(&mut self) {
        self.begin();
        (self.last, self.away) = (self.since, Duration::ZERO);
    }

    fn acknowledged(&mut self, sent: Instant, received: Instant) {
        self.count += 1;
        if sent >= self.since {
            self.after += 1;
            self.away = self.away.max(received.saturating_duration_since(self.last));
            self.last = self.last.max(received);
        }
    }
}

/// What became of an attempt.
enum Attempt {
    Answered(Answer),
    /// Certainly nothing.
    NotDone,
    /// Perhaps something.
    Unknown,
}

/// A client's way to the servers.
struct Line {
    links: Vec<Link>,
    at: usize,
    open: Option<Connection>,
    patience: Duration,
    /// How many servers failed in a row.
    failures: usize,
}

impl Line {
    async fn attempt(&mut self, call: &Call) -> Attempt {
        let mut is_sent = false;
        let answer = timeout(self.patience, async {
            let mut connection = match self.open.take() {
                Some(connection) => connection,
                None => Connection::over(self.links.get(self.at)?.dial().await.ok()?).await.ok()?,
            };
            if !connection.is_open().await {
                return None;
            }
            is_sent = true;
            Some((connection.ask(call).await.ok()?, connection))
        });
        let answer = answer.await.ok().flatten();
        let attempt = match answer {
            Some((answer, connection)) if answer.status != 503 => {
                (self.open, self.failures) = (Some(connection), 0);
                return Attempt::Answered(answer);
            }
            Some((answer, _)) if answer.text().contains(NOT_DONE) => Attempt::NotDone,
            _ if is_sent => Attempt::Unknown,
            _ => Attempt::NotDone,
        };
        self.at = (self.at + 1) % self.links.len().max(1);
        self.failures += 1;
        if self.failures.is_multiple_of(self.links.len().max(1)) {
            sleep(PAUSE).await;
        }
        attempt
    }
}

/// What the clients of a round share.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) shared: Shared,
    pub(super) links: Vec<Link>,
    pub(super) changes: Arc<watch::Sender<Changes>>,
    pub(super) is_over: watch::Receiver<bool>,
}

impl Work {
    fn is_over(&self) -> bool {
        *self.is_over.borrow() || self.shared.lock().violation.is_some()
    }

    /// One client, until the round is over.
    pub(super) async fn work(self, client: usize, mut rng: Rng) {
        let patience = Duration::from_millis(rng.u64(1000..5000));
        let at = rng.usize(..self.links.len().max(1));
        let mut line = Line { links: self.links.clone(), at, open: None, patience, failures: 0 };
        while !self.is_over() {
            let planned = {
                let mut world = self.shared.lock();
                world.figures.operations += 1;
                plan::next(&mut world, client, &mut rng)
            };
            if let Err(violation) = self.carry_out(&mut line, client, planned).await {
                return self.shared.violated(violation);
            }
        }
    }

    /// Sends a request until it is answered, or must not be sent again.
    async fn carry_out(&self, line: &mut Line, client: usize, mut planned: Planned) -> Result<(), String> {
        let is_look = planned.call.method == "GET";
        let mut was_sent = false;
        loop {
            let sent = now();
            if is_look {
                planned.sent = sent;
            }
            let attempt = line.attempt(&planned.call).await;
            match attempt {
                Attempt::Answered(answer) => {
                    {
                        let mut world = self.shared.lock();
                        world.learn(client, &planned, &answer)?;
                        if was_sent && !is_look {
                            world.may_come_again(client, &planned);
                        }
                    }
                    let is_change = match planned.what {
                        What::Look | What::IsAcquired | What::Beat(_) | What::BeatMany(..) => false,
                        _ => answer.status < 300,
                    };
                    if is_change {
                        self.changes.send_modify(|changes| changes.acknowledged(sent, answer.received));
                    }
                    return Ok(());
                }
                Attempt::NotDone => {}
                Attempt::Unknown => was_sent = true,
            }
            let may_be_sent_again = is_look || planned.call.key.is_some() || !was_sent;
            if self.is_over() || !may_be_sent_again {
                self.shared.lock().lost(client, &planned);
                return self.until_somebody_answers(line).await;
            }
        }
    }

    /// A client that was left without an answer does nothing new before it gets one.
    async fn until_somebody_answers(&self, line: &mut Line) -> Result<(), String> {
        let look = Call::get("/v1/semaphores?limit=1");
        while !self.is_over() {
            if let Attempt::Answered(answer) = line.attempt(&look).await {
                let is_right = answer.status == 200;
                return if is_right { Ok(()) } else { Err(format!("{look:?}: {answer:?}")) };
            }
        }
        Ok(())
    }
}
