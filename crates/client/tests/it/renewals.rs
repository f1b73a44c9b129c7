//! Many locks of one process, which are renewed together.

use std::time::Duration;

use throttle_client::{Client, Guard, LossReason};
use tokio::task::JoinSet;

use crate::support::{Gateway, Network, Rules, Server, soon, until};

/// With these, more renewals are due in a second than requests for one peer are sent.
const COUNT: usize = 90;
const TTL: Duration = Duration::from_secs(3);

const FILE: &str = "[semaphores]\nmany = 1000\n[expiry]\nmargin = '0s'";

async fn hold(client: &Client) -> Vec<Guard> {
    let mut acquiring = JoinSet::new();
    for _ in 0..COUNT {
        acquiring.spawn(client.lock("many").ttl(TTL).acquire());
    }
    let mut guards = Vec::new();
    while let Some(guard) = soon("a grant", acquiring.join_next()).await {
        guards.push(guard.unwrap().unwrap());
    }
    guards
}

/// Waits until each of them was renewed so often that it would be lost otherwise.
async fn until_renewed(guards: &[Guard]) {
    let deadlines: Vec<_> = guards.iter().map(|guard| guard.deadline() + TTL).collect();
    until("all are renewed", || {
        assert!(guards.iter().all(Guard::is_held), "none is lost");
        guards.iter().zip(&deadlines).all(|(guard, deadline)| guard.deadline() > *deadline)
    })
    .await;
}

/// How many requests were for one peer, and for many.
fn heartbeats(gateway: &Gateway) -> (usize, usize) {
    let requests = gateway.requests();
    let count = |is_it: &dyn Fn(&str) -> bool| requests.iter().filter(|request| is_it(request)).count();
    (count(&|request| request.ends_with("/heartbeat")), count(&|request| request == "POST /v1/heartbeats"))
}

#[tokio::test]
async fn they_share_requests() {
    let server = Server::with(FILE);
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let guards = hold(&client).await;
    let before = heartbeats(&gateway);
    until_renewed(&guards).await;
    let (alone, together) = heartbeats(&gateway);
    // More than the length of a lease has passed, so each was renewed three times and more.
    let sent = alone - before.0 + together - before.1;
    assert!(together > before.1 && sent < 2 * COUNT, "{alone} alone, {together} together");
    assert_eq!(server.remainder("many"), 1000 - i64::try_from(COUNT).unwrap());
}

#[tokio::test]
async fn the_loss_of_each_is_told() {
    let server = Server::with(FILE);
    let client = server.client();
    let mut guards = hold(&client).await;
    until_renewed(&guards).await;
    let lost: Vec<Guard> = guards.drain(..COUNT / 2).collect();
    for guard in &lost {
        server.release(guard.peer_id());
    }
    for guard in &lost {
        let loss = soon("the loss", guard.lost()).await;
        assert_eq!(loss.reason(), LossReason::Released, "{loss}");
    }
    until_renewed(&guards).await;
    // A lock that is taken from a peer which lives on is missed when it is the peer's turn for a request of its own.
    let robbed = guards.pop().unwrap();
    server.ask("DELETE", &format!("/peers/{}/many", robbed.peer_id()));
    let loss = soon("the loss", robbed.lost()).await;
    assert!(loss.to_string().contains("took the lock on \"many\""), "{loss}");
    until_renewed(&guards).await;
}

#[tokio::test]
async fn none_is_lost_to_a_failure_that_passes_nor_to_a_refusal() {
    let server = Server::with(FILE);
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let guards = hold(&client).await;
    let mut before = heartbeats(&gateway).1;
    for (status, times) in [(503, Some(3)), (404, None)] {
        gateway.set(Rules {
            hidden: Some(("/v1/heartbeats", status)),
            hidden_for: times,
            ..Rules::default()
        });
        until_renewed(&guards).await;
        let now = heartbeats(&gateway).1;
        assert!(now > before, "it was tried");
        before = now;
    }
}

#[tokio::test]
async fn all_survive_a_server_that_forgot_them() {
    let (first, second) = (Server::with(FILE), Server::with(FILE));
    let network = Network::to(first.port);
    let client = Client::new(network.url()).unwrap();
    let guards = hold(&client).await;
    network.lead_to(second.port);
    until_renewed(&guards).await;
    assert_eq!(second.peers(), COUNT);
    assert_eq!(second.remainder("many"), 1000 - i64::try_from(COUNT).unwrap());
}
