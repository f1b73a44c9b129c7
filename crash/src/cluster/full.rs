//! An etcd that says that it is full: looks and heartbeats go on, changes are refused.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use throttle_api as api;

use super::{late, relay::Link};
use crate::{
    clock::now,
    http::{Answer, Call, Connection},
    run::Outcome,
    view::Labels,
    world::{Creation, Shared},
};

/// The lease of the peer: it would be over soon.
const LEASE: Duration = Duration::from_secs(2);

/// A peer with a short lease.
pub(super) struct Witness {
    id: u64,
    number: u64,
}

impl Witness {
    pub(super) async fn new(link: &Link, number: u64) -> Outcome<Self> {
        let body = json!({ "expires_in": "2s", "labels": { "request": format!("witness-{number}") } });
        let mut call = Call::new("POST", "/v1/peers", body.to_string());
        call.key = Some(format!("witness-{number}"));
        Ok(Self { id: late::ask(link, &call).await?.json::<api::Peer>()?.id.0, number })
    }

    /// How often it is renewed.
    pub(super) const EVERY: Duration = Duration::from_millis(200);

    /// Renews it in each of the three ways, which must succeed whatever others wait for.
    pub(super) async fn renew(&self, link: &Link) -> Outcome<()> {
        let (id, lease) = (self.id, humantime::format_duration(LEASE).to_string());
        let body = json!({ "expires_in": lease }).to_string();
        let own = Call::new("POST", format!("/v1/peers/{id}/heartbeat"), body.clone());
        let old = Call::new("PUT", format!("/peers/{id}"), body);
        for call in [own, old] {
            let answer = once(link, &call).await?;
            if answer.status != 200 {
                return Err(late::wrong("a heartbeat", &answer));
            }
        }
        let body = json!({ "expires_in": lease, "peers": [id.to_string()] }).to_string();
        let answer = once(link, &Call::new("POST", "/v1/heartbeats", body)).await?;
        if answer.status != 200 || !answer.json::<api::Renewed>()?.gone.is_empty() {
            return Err(late::wrong("a heartbeat for many", &answer));
        }
        Ok(())
    }

    /// Asks for a change, which must be refused; it may be done later.
    pub(super) async fn is_refused(&self, shared: &Shared, link: &Link) -> Outcome<()> {
        let labels = BTreeMap::from([("request".to_owned(), format!("refused-{}", self.number))]);
        let (labels, expires_in) = (Labels(labels), Duration::from_mins(10));
        let body = json!({ "expires_in": "10m", "labels": labels }).to_string();
        let creation = Creation { labels, key: None, ask: None, expires_in, sent: now() };
        let answer = once(link, &Call::new("POST", "/v1/peers", body)).await?;
        if answer.status != 503 {
            return Err(late::wrong("a change that etcd has no room for", &answer));
        }
        shared.lock().clients.first_mut().ok_or("no client")?.creations.push(creation);
        Ok(())
    }

    /// Ends it, which tells that it was there.
    pub(super) async fn end(self, link: &Link) -> Outcome<()> {
        let path = format!("/v1/peers/{}", self.id);
        let seen = late::ask(link, &Call::get(&path)).await?;
        if seen.status != 200 {
            return Err(late::wrong("a look at a peer that was renewed", &seen));
        }
        late::ask(link, &Call::new("DELETE", path, "")).await?;
        Ok(())
    }
}

async fn once(link: &Link, call: &Call) -> Outcome<Answer> {
    Ok(Connection::over(link.dial().await?).await?.ask(call).await?)
}
