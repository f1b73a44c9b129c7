//! Servers up to 0.5, and what stands between: without `/v1` all goes on as it did.

use std::time::Duration;

use throttle_client::{AcquireError, Client, Error, LossReason};

use crate::support::{Gateway, Rules, Server, soon, until};

const TTL: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Only the older routes of a server pass.
const HIDDEN: Rules = Rules {
    below: "",
    hidden: Some(("/v1/", 404)),
    hidden_for: None,
    without_headers: false,
    decodes: false,
    lost_answers: 0,
    leader: None,
    cut: None,
};

#[tokio::test]
async fn v1_is_tried_once_for_each_client() {
    let server = Server::start();
    for status in [404, 405] {
        let gateway = Gateway::new(server.port, Rules { hidden: Some(("/v1/", status)), ..HIDDEN });
        let client = Client::new(gateway.url()).unwrap();
        let guard = client.lock("B").and("C", 2).acquire().await.unwrap();
        client.clone().new_peer(MINUTE).await.unwrap();
        let requests = gateway.requests();
        assert_eq!(requests[..2], ["POST /v1/locks", "POST /new_peer"]);
        let locks = [("B", &requests[2]), ("C", &requests[3])];
        for (name, request) in locks {
            let path = format!("PUT /peers/{}/{name}?", guard.peer_id());
            assert!(request.starts_with(&path), "{request}");
        }
        assert_eq!(requests[4..], ["POST /new_peer"], "also for its clones");
        assert_eq!((server.remainder("B"), server.remainder("C")), (0, 1));
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_is_renewed_and_released() {
    let server = Server::start();
    let gateway = Gateway::as_0_5(server.port);
    let client = Client::builder().url(gateway.url()).label("team", "blue").priority(3).build().unwrap();
    let guard = client.lock("A").ttl(TTL).acquire().await.unwrap();
    assert_eq!(guard.token(), None, "such a server has none");
    tokio::time::sleep(3 * TTL).await;
    assert!(guard.is_held());
    assert_eq!(server.remainder("A"), 0);
    let error = client.lock("A").try_once().acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::NotAcquired { source: None, .. }), "{error}");
    guard.release().await.unwrap();
    assert_eq!(server.peers(), 0);
    assert!(gateway.requests().iter().filter(|request| request.contains("/v1/")).count() == 1);
    let error = client.is_token_live("A", 1).await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn levels_count_in_the_order_of_names() {
    let server = Server::start();
    let gateway = Gateway::as_0_5(server.port);
    let request = Client::new(gateway.url()).unwrap().lock("A").and("B", 1);
    let error = request.acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::Failed(Error::HierarchyViolation(_))), "{error}");
    server.until_no_peers().await;
}

#[tokio::test]
async fn a_wait_for_the_second_keeps_the_first() {
    let server = Server::start();
    let gateway = Gateway::as_0_5(server.port);
    let client = Client::new(gateway.url()).unwrap();
    let held = client.lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(client.lock("B").and("A", 1).ttl(TTL).acquire());
    server.until_pending("A").await;
    tokio::time::sleep(2 * TTL).await;
    assert_eq!(server.remainder("B"), 0);
    held.release().await.unwrap();
    let guard = soon("the grant", waiting).await.unwrap().unwrap();
    assert!(guard.is_held());
}

#[tokio::test]
async fn a_loss_of_the_first_while_waiting_for_the_second_ends_the_wait() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, HIDDEN);
    let client = Client::new(gateway.url()).unwrap();
    let _held = client.lock("A").acquire().await.unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let request = client.lock("B").and("A", 1).ttl(TTL);
    let request = request.on_wait(move |waiting_for| {
        let _ = tell.take().unwrap().send(waiting_for);
    });
    let waiting = tokio::spawn(request.acquire());
    let waiting_for = soon("the wait", told).await.unwrap();
    assert_eq!((&*waiting_for.semaphore, waiting_for.position), ("A", None));
    server.release(waiting_for.peer_id);
    let error = soon("the error", waiting).await.unwrap().unwrap_err();
    assert!(matches!(&error, AcquireError::Failed(Error::Lost(_))), "{error}");
    assert_eq!((server.remainder("B"), server.peers()), (1, 1));
}

#[tokio::test]
async fn a_loss_is_told_without_a_reason() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, HIDDEN);
    let guard = Client::new(gateway.url()).unwrap().lock("A").ttl(TTL).acquire().await.unwrap();
    server.release(guard.peer_id());
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!((loss.reason(), loss.detail()), (LossReason::Released, None));
}

#[tokio::test]
async fn making_a_peer_is_not_repeated_once_it_was_sent() {
    let server = Server::start();
    let gateway = Gateway::as_0_5(server.port);
    let client = Client::new(gateway.url()).unwrap();
    client.new_peer(MINUTE).await.unwrap();
    gateway.set(Rules { lost_answers: 1, ..HIDDEN });
    let error = client.new_peer(MINUTE).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_becomes_an_old_one_keeps_the_lock() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let guard = client.lock("A").ttl(TTL).acquire().await.unwrap();
    gateway.set(HIDDEN);
    let heartbeat = format!("PUT /peers/{}", guard.peer_id());
    until("it is renewed as of old", || gateway.requests().contains(&heartbeat)).await;
    tokio::time::sleep(2 * TTL).await;
    assert!(guard.is_held());
    guard.release().await.unwrap();
    assert_eq!(server.peers(), 0);
}

#[tokio::test]
async fn a_gateway_without_a_server_behind_it_is_no_old_server() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules { hidden: Some(("/", 404)), ..HIDDEN });
    let client = Client::new(gateway.url()).unwrap();
    let error = client.new_peer(MINUTE).await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 404, .. }), "{error}");
    gateway.set(Rules::default());
    client.new_peer(MINUTE).await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/peers", "POST /new_peer", "POST /v1/peers"]);
}
