//! A command above 1.5 MiB, which is the most that etcd takes at once, so it is written in parts: one change lets
//! hundreds of requests through, each of which waits for many semaphores with long names.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use throttle_api as api;
use tokio::task::{JoinHandle, JoinSet};

use super::{
    late::{ask, wrong},
    relay::Link,
};
use crate::{
    http::{Answer, Call, Connection},
    run::Outcome,
};

/// How many requests wait.
const WAITERS: usize = 240;
/// For how many semaphores each does.
const SEMAPHORES: usize = 32;
/// How long the names of these are, so that the grants together are 2 MB.
const NAME_LENGTH: usize = 250;
/// How many requests are under way at the same time.
const AT_ONCE: usize = 16;
/// When everything is open.
const MAX: i64 = 1_000_000;

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// It was acknowledged.
    acknowledged: u64,
    /// It was not, but it was done.
    done: u64,
    /// It was not done.
    dropped: u64,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, done, dropped } = self;
        write!(f, "{acknowledged} acknowledged, {done} done without an answer, {dropped} not done")
    }
}

/// Everything that waits for one change.
pub(super) struct Large {
    peers: Vec<u64>,
    sent: Option<JoinHandle<Option<Answer>>>,
}

fn name(number: usize) -> String {
    format!("large-{number:02}-{}", "x".repeat(NAME_LENGTH - 9))
}

fn path(number: usize) -> String {
    format!("/v1/semaphores/{}", name(number))
}

/// Sends requests, some at the same time, until each has an answer of this status.
async fn all(link: &Link, calls: Vec<Call>, status: u16) -> Outcome<Vec<Answer>> {
    let (mut calls, mut tasks, mut answers) = (calls.into_iter(), JoinSet::new(), Vec::new());
    loop {
        if tasks.len() < AT_ONCE
            && let Some(call) = calls.next()
        {
            let link = link.clone();
            tasks.spawn(async move { ask(&link, &call).await.map(|answer| (call, answer)) });
            continue;
        }
        let Some(done) = tasks.join_next().await else { return Ok(answers) };
        let (call, answer) = done??;
        if answer.status != status {
            return Err(wrong(&call.path, &answer));
        }
        answers.push(answer);
    }
}

impl Large {
    /// Lets all of them wait. `round` tells them from those of others.
    pub(super) async fn prepare(link: &Link, round: u64) -> Outcome<Self> {
        let create = |number: usize| {
            let max = if number == 0 { 0 } else { MAX };
            Call::new("PUT", path(number), json!({ "max": max }).to_string())
        };
        all(link, (0..SEMAPHORES).map(create).collect(), 201).await?;
        let locks: BTreeMap<String, i64> = (0..SEMAPHORES).map(|number| (name(number), 1)).collect();
        let body = json!({ "expires_in": "10m", "locks": locks, "wait": "0s" }).to_string();
        let wait = |number: usize| {
            let mut call = Call::new("POST", "/v1/locks", body.clone());
            call.key = Some(format!("large-{round}-{number}"));
            call
        };
        let answers = all(link, (0..WAITERS).map(wait).collect(), 202).await?;
        let id = |answer: &Answer| answer.json::<api::Peer>().map(|peer| peer.id.0);
        Ok(Self { peers: answers.iter().map(id).collect::<Result<_, _>>()?, sent: None })
    }

    /// Sends the change that lets all of them through.
    pub(super) async fn send(&mut self, link: &Link) -> Outcome<()> {
        let mut connection = Connection::over(link.dial().await?).await?;
        let call = Call::new("PATCH", path(0), json!({ "max": MAX }).to_string());
        self.sent = Some(tokio::spawn(async move { connection.ask(&call).await.ok() }));
        Ok(())
    }

    /// Looks whether it was done as a whole, or not at all, and ends everything.
    pub(super) async fn check(self, link: &Link, counted: &mut Counted) -> Outcome<()> {
        let answer = self.sent.ok_or("it was not sent")?.await?;
        if let Some(answer) = answer.as_ref().filter(|answer| !matches!(answer.status, 200 | 503)) {
            return Err(wrong("a large command", answer));
        }
        let is_acknowledged = answer.is_some_and(|answer| answer.status == 200);
        let looks = self.peers.iter().map(|id| Call::get(format!("/v1/peers/{id}"))).collect();
        let mut granted = 0;
        for answer in all(link, looks, 200).await? {
            let peer: api::Peer = answer.json()?;
            match (peer.locks.len(), peer.pending) {
                (SEMAPHORES, None) => granted += 1,
                (0, Some(_)) => {}
                (locks, _) => return Err(format!("{locks} of {SEMAPHORES} locks are granted").into()),
            }
        }
        match granted {
            WAITERS if is_acknowledged => counted.acknowledged += 1,
            WAITERS => counted.done += 1,
            0 if !is_acknowledged => counted.dropped += 1,
            _ => {
                let what = if is_acknowledged { "acknowledged" } else { "not acknowledged" };
                return Err(
                    format!("a large command was {what}, and {granted} of {WAITERS} wait no more").into()
                );
            }
        }
        let ends = self.peers.iter().map(|id| Call::new("DELETE", format!("/v1/peers/{id}"), "")).collect();
        all(link, ends, 204).await?;
        all(link, (0..SEMAPHORES).map(|number| Call::new("DELETE", path(number), "")).collect(), 204).await?;
        Ok(())
    }
}

/// How long it takes at most until a command is written.
pub(super) const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
