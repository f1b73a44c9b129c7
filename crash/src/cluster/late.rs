//! Requests to a leader that stands still. It runs them when it wakes, before it knows that another server leads.

use std::{collections::BTreeMap, error::Error, time::Duration};

use serde_json::json;
use throttle_api as api;
use tokio::task::JoinHandle;

use super::relay::Link;
use crate::{
    clock::now,
    http::{Answer, Call, Connection},
    run::Outcome,
    view::Labels,
    world::{Creation, Semaphore, Shared, Spec},
};

const NAME: &str = "marker";
const PATH: &str = "/v1/semaphores/marker";
/// Before the first change.
const FIRST: i64 = 1000;

/// A semaphore that nobody else changes.
pub(super) struct Marker(i64);

impl Default for Marker {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Marker {
    /// Adds it to a file, and to what that declares.
    pub(super) fn declare(file: &str, semaphores: &mut BTreeMap<String, Semaphore>) -> String {
        let spec = Spec { max: FIRST, level: 0 };
        let marker = Semaphore {
            specs: vec![Some(spec)],
            cap: i64::MAX,
            per: None,
            detects_deadlocks: false,
            is_member: false,
            // No client.
            owner: Some(usize::MAX),
            is_private: false,
            cooling: Vec::new(),
        };
        semaphores.insert(NAME.to_owned(), marker);
        format!("{file}\n{NAME} = {FIRST}")
    }
}

/// How many answers a leader gave that had stood still.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// 503.
    pub(super) refused: u64,
    /// What is so by now, as this server passed the request on.
    pub(super) new: u64,
}

/// What is sent late, to a leader that is deposed by then.
pub(super) struct Late {
    /// A peer that is ended meanwhile.
    ended: u64,
    look: Sending,
    beat: Sending,
    create: Sending,
    creation: Creation,
}

enum Sending {
    Ready(Connection, Call),
    Sent(JoinHandle<Option<Answer>>),
    Taken,
}

impl Sending {
    async fn new(link: &Link, call: Call) -> Outcome<Self> {
        Ok(Self::Ready(Connection::over(link.dial().await?).await?, call))
    }

    fn send(&mut self) {
        *self = match std::mem::replace(self, Self::Taken) {
            Self::Ready(mut connection, call) => {
                Self::Sent(tokio::spawn(async move { connection.ask(&call).await.ok() }))
            }
            other => other,
        };
    }

    async fn answer(&mut self) -> Outcome<Option<Answer>> {
        match std::mem::replace(self, Self::Taken) {
            Self::Sent(sent) => Ok(sent.await?),
            _ => Err("it was not sent".into()),
        }
    }
}

/// Asks until there is an answer that is none of 503: only what may be repeated.
pub(super) async fn ask(link: &Link, call: &Call) -> Outcome<Answer> {
    loop {
        let mut connection = Connection::over(link.dial().await?).await?;
        let answer = connection.ask(call).await?;
        if answer.status != 503 {
            return Ok(answer);
        }
    }
}

/// How it went with an answer that is not what it should be.
pub(super) fn wrong(call: &str, answer: &Answer) -> Box<dyn Error + Send + Sync> {
    format!("{call} was answered {} {}", answer.status, answer.text()).into()
}

impl Late {
    /// Connects while the leader at the end of `link` is still awake.
    pub(super) async fn prepare(marker: &Marker, link: &Link) -> Outcome<Self> {
        let body = json!({ "expires_in": "10m" }).to_string();
        let mut call = Call::new("POST", "/v1/peers", body);
        call.key = Some(format!("late-{}", marker.0));
        let answer = ask(link, &call).await?;
        let ended = answer.json::<api::Peer>()?.id.0;
        let creation = Creation {
            labels: Labels(BTreeMap::from([("request".to_owned(), format!("late-{}", marker.0))])),
            key: None,
            ask: None,
            expires_in: Duration::from_mins(10),
            sent: now(),
        };
        let beat = Call::new("POST", format!("/v1/peers/{ended}/heartbeat"), "{}");
        let create = json!({ "expires_in": "10m", "labels": creation.labels }).to_string();
        Ok(Self {
            ended,
            look: Sending::new(link, Call::get(PATH)).await?,
            beat: Sending::new(link, beat).await?,
            create: Sending::new(link, Call::new("POST", "/v1/peers", create)).await?,
            creation,
        })
    }

    pub(super) fn send(&mut self) {
        self.look.send();
        self.beat.send();
        self.create.send();
    }

    /// Changes by way of another server what the requests are about.
    pub(super) async fn change(&self, shared: &Shared, marker: &mut Marker, other: &Link) -> Outcome<()> {
        let become_one_of = |specs: &[i64]| {
            if let Some(semaphore) = shared.lock().semaphores.get_mut(NAME) {
                semaphore.specs = specs.iter().map(|&max| Some(Spec { max, level: 0 })).collect();
            }
        };
        let before = marker.0;
        marker.0 += 1;
        become_one_of(&[before, marker.0]);
        let answer = ask(other, &Call::new("PATCH", PATH, json!({ "max": marker.0 }).to_string())).await?;
        if answer.status != 200 {
            return Err(wrong("a change", &answer));
        }
        become_one_of(&[marker.0]);
        let answer = ask(other, &Call::new("DELETE", format!("/v1/peers/{}", self.ended), "")).await?;
        if answer.status == 204 { Ok(()) } else { Err(wrong("the end of a peer", &answer)) }
    }

    /// Compares the answers with what was acknowledged before they came.
    pub(super) async fn check(
        &mut self,
        shared: &Shared,
        marker: &Marker,
        other: &Link,
        told: &mut Told,
    ) -> Outcome<()> {
        let (look, beat, create) =
            (self.look.answer().await?, self.beat.answer().await?, self.create.answer().await?);
        for answer in [&look, &beat, &create].into_iter().flatten() {
            *(if answer.status == 503 { &mut told.refused } else { &mut told.new }) += 1;
        }
        if let Some(answer) = look.filter(|answer| answer.status != 503) {
            let is_new = |seen: api::SemaphoreDetail| seen.semaphore.max == marker.0;
            if answer.status != 200 || !answer.json().is_ok_and(is_new) {
                return Err(wrong("a look from before", &answer));
            }
        }
        if let Some(answer) = beat
            && !matches!(answer.status, 410 | 503)
        {
            return Err(wrong("the heartbeat of a peer that was ended", &answer));
        }
        match create {
            Some(answer) if answer.status == 201 => {
                let path = format!("/v1/peers/{}", answer.json::<api::Peer>()?.id.0);
                let seen = ask(other, &Call::get(&path)).await?;
                if seen.status != 200 {
                    return Err(wrong("a look at a peer whose making was acknowledged", &seen));
                }
                ask(other, &Call::new("DELETE", path, "")).await?;
            }
            Some(answer) if answer.status != 503 => return Err(wrong("the making of a peer", &answer)),
            _ => {
                if let Some(client) = shared.lock().clients.first_mut() {
                    client.creations.push(self.creation.clone());
                }
            }
        }
        Ok(())
    }
}
