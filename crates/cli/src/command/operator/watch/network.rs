//! Asks the server, beside the drawing.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use throttle_client::{Client, Error};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    super::ask::{self, encoded, list},
    data::{Detail, Peer},
    dialog::Act,
    state::{News, Page, Sight},
};
use crate::command::{advice::told, connection::located};

/// How often the server is asked even if it tells of nothing: leases are renewed without an event.
const EVERY: Duration = Duration::from_secs(1);
/// Events follow each other faster than anyone can read.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than a look it takes is the pause after it, so that a long list is no burden to the server.
const PAUSES_PER_LOOK: u32 = 4;
/// How long a server that tells of no events is left alone.
const WITHOUT_EVENTS: Duration = Duration::from_secs(10);
/// How many holders and waiters are asked for.
const DETAILS: usize = 1000;

/// What is to be looked at, and whom to ask.
pub(super) struct Network {
    pub(super) client: Client,
    /// The semaphores to be listed; all if there are none.
    pub(super) names: Vec<String>,
    /// How many are listed at most.
    pub(super) limit: usize,
}

impl Network {
    /// Looks at the open page again and again, until nobody reads the news.
    pub(super) async fn keep_looking(
        self: Arc<Self>,
        mut page: watch::Receiver<Page>,
        bell: Arc<Notify>,
        news: mpsc::Sender<News>,
    ) {
        loop {
            let start = Instant::now();
            let wanted = page.borrow_and_update().clone();
            let seen = tokio::select! {
                seen = self.look(&wanted) => seen,
                // What was left is of no interest.
                Ok(()) = page.changed() => continue,
            };
            let seen =
                seen.map_or_else(|error| News::Failed(told(&error)), |sight| News::Seen(wanted, sight));
            if news.send(seen).await.is_err() {
                return;
            }
            let took = start.elapsed();
            let (soonest, latest) = (
                Instant::now() + SHORTEST_PAUSE.max(took * PAUSES_PER_LOOK),
                Instant::now() + EVERY.max(took * PAUSES_PER_LOOK),
            );
            tokio::select! {
                changed = page.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(latest) => {}
                () = async {
                    bell.notified().await;
                    sleep_until(soonest).await;
                } => {}
            }
        }
    }

    /// Rings whenever something happens on the open page. Servers that do not tell of events are looked at without.
    pub(super) async fn listen(self: Arc<Self>, mut page: watch::Receiver<Page>, bell: Arc<Notify>) {
        loop {
            let query = match &*page.borrow_and_update() {
                Page::Semaphore(name) => format!("?semaphore={}", encoded(name)),
                // What others do moves a peer in its queue.
                Page::List | Page::Peer(_) => String::new(),
            };
            let listening = async {
                let Ok(mut events) = self.client.events(&format!("/v1/events{query}")).await else {
                    return sleep(WITHOUT_EVENTS).await;
                };
                while let Ok(Some(_)) = events.next().await {
                    bell.notify_one();
                }
                sleep(EVERY).await;
            };
            tokio::select! {
                () = listening => {}
                changed = page.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Does what the operator wants.
    pub(super) async fn act(&self, act: Act) -> News {
        let (method, path, body, done) = match act {
            Act::Release { peer, reason } => {
                let path = format!("/v1/peers/{}?reason={}", encoded(&peer), encoded(&reason));
                ("DELETE", path, None, format!("Peer {peer} is released."))
            }
            Act::Resize { semaphore, max } => {
                let done = match max {
                    0 => format!("{semaphore:?} is paused."),
                    max => format!("The full count of {semaphore:?} is {max}."),
                };
                ("PATCH", ask::semaphore(&semaphore), Some(json!({ "max": max })), done)
            }
        };
        let outcome = self.client.send(method, &path, body).await;
        News::Done(outcome.map(|_| done).map_err(|error| told(&error)))
    }

    /// What a page shows now.
    pub(super) async fn look(&self, page: &Page) -> Result<Sight, Error> {
        let seen = match page {
            Page::List => return self.list().await,
            Page::Semaphore(name) => match self.semaphore(name, DETAILS).await {
                Ok(detail) => {
                    let first = self.first(&detail).await;
                    Ok(Sight::Semaphore(detail, first))
                }
                Err(error) => Err(error),
            },
            Page::Peer(id) => self.get(&format!("/v1/peers/{}", encoded(id))).await.map(Sight::Peer),
        };
        match seen {
            Err(Error::Problem { status: 400 | 404 | 410, detail, .. }) => Ok(Sight::Missing(detail)),
            seen => seen,
        }
    }

    /// The list as it is at first. A name that was given and is unknown is an error, as it may be mistyped.
    pub(super) async fn first_list(&self) -> Result<Sight, Error> {
        for name in &self.names {
            self.semaphore(name, 1).await?;
        }
        self.list().await
    }

    async fn list(&self) -> Result<Sight, Error> {
        if self.names.is_empty() {
            let (items, has_more) = list(&self.client, "/v1/semaphores", "", self.limit).await?;
            let semaphores =
                items.into_iter().map(|item| read("/v1/semaphores", item)).collect::<Result<_, _>>()?;
            return Ok(Sight::List(semaphores, has_more));
        }
        let mut semaphores = Vec::new();
        for name in &self.names {
            match self.semaphore(name, 1).await {
                Ok(detail) => semaphores.push(detail.semaphore),
                // One that was removed is missing in the list, too.
                Err(Error::Problem { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sight::List(semaphores, false))
    }

    async fn semaphore(&self, name: &str, limit: usize) -> Result<Box<Detail>, Error> {
        self.get(&format!("{}&limit={limit}", ask::semaphore(name))).await
    }

    /// Who waits first, as it is seen there what else that peer waits for. Not everybody may see that.
    async fn first(&self, detail: &Detail) -> Option<Box<Peer>> {
        let first = detail.queue.first()?;
        self.get(&format!("/v1/peers/{}", first.peer)).await.ok()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.client.send("GET", path, None).await;
        read(path, answer.map_err(|error| located(&self.client, error))?)
    }
}

fn read<T: DeserializeOwned>(path: &str, answer: Value) -> Result<T, Error> {
    serde_json::from_value(answer).map_err(|error| Error::Server {
        what: format!("GET {path}"),
        status: 200,
        message: format!("the answer was not expected ({error}); is this a Throttle server of this version?"),
    })
}
