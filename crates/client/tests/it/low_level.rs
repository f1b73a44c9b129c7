//! The routes, one method each.

use std::{collections::HashMap, time::Duration};

use throttle_client::{Client, Error};

use crate::support::Server;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_peer_and_its_locks_from_begin_to_end() {
    let server = Server::start();
    let client = server.client();

    let peer = client.new_peer(MINUTE).await.unwrap();
    let listed: Vec<u64> = client.list_of_peers().await.unwrap().iter().map(|peer| peer.id).collect();
    assert_eq!(listed, [peer]);

    assert!(client.acquire(peer, "C", 2, Some(MINUTE), None).await.unwrap());
    assert_eq!(client.remainder("C").await.unwrap(), 1);
    assert!(client.is_acquired(peer).await.unwrap());

    let other = client.new_peer(MINUTE).await.unwrap();
    let block_for = Some(Duration::from_millis(10));
    assert!(!client.acquire(other, "C", 2, None, block_for).await.unwrap());
    assert!(!client.is_acquired(other).await.unwrap());

    client.release_lock(peer, "C").await.unwrap();
    assert!(client.is_acquired(other).await.unwrap());
    client.heartbeat(other, MINUTE).await.unwrap();
    client.release(other).await.unwrap();
    client.release(peer).await.unwrap();
    assert_eq!(client.remainder("C").await.unwrap(), 3);
    assert!(client.list_of_peers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_blocked_request_is_answered_when_it_is_granted() {
    let server = Server::start();
    let client = server.client();
    let holder = client.new_peer(MINUTE).await.unwrap();
    let waiter = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(holder, "A", 1, None, None).await.unwrap());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(waiter, "A", 1, None, Some(MINUTE)).await }
    });
    server.until_pending("A").await;
    client.release(holder).await.unwrap();
    assert!(waiting.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_forgotten_peer_is_restored() {
    let server = Server::start();
    let client = server.client();
    client.restore(42, &HashMap::from([("A".to_owned(), 1)]), MINUTE).await.unwrap();
    assert_eq!(client.remainder("A").await.unwrap(), 0);
    let conflict = client.restore(42, &HashMap::from([("C".to_owned(), 1)]), MINUTE).await.unwrap_err();
    assert!(matches!(conflict, Error::Refused { status: 409, .. }), "{conflict}");
}

#[tokio::test]
async fn a_name_may_hold_any_character() {
    let server = Server::start();
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(peer, "/& ü", 1, None, None).await.unwrap());
    assert_eq!(client.remainder("/& ü").await.unwrap(), 0);
    client.release_lock(peer, "/& ü").await.unwrap();
    assert_eq!(client.remainder("/& ü").await.unwrap(), 1);
    assert!(matches!(client.acquire(peer, "..", 1, None, None).await, Err(Error::Configuration(_))));
}

#[tokio::test]
async fn refusals_have_types() {
    let server = Server::start();
    let client = server.client();
    let peer = client.new_peer(MINUTE).await.unwrap();
    let acquire = |semaphore, count| client.acquire(peer, semaphore, count, None, None);

    let error = acquire("Z", 1).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownSemaphore { semaphore, .. } if semaphore == "Z"), "{error}");
    assert!(matches!(client.remainder("Z").await, Err(Error::UnknownSemaphore { .. })));
    assert!(matches!(acquire("A", 2).await, Err(Error::CountExceedsMax(_))));
    assert!(matches!(acquire("A", 0).await, Err(Error::Refused { status: 400, .. })));

    assert!(acquire("A", 1).await.unwrap());
    assert!(matches!(acquire("B", 1).await, Err(Error::HierarchyViolation(_))));

    let waiter = client.new_peer(MINUTE).await.unwrap();
    assert!(!client.acquire(waiter, "A", 1, None, None).await.unwrap());
    let second = client.acquire(waiter, "C", 1, None, None).await;
    assert!(matches!(second, Err(Error::AlreadyPending(_))), "{second:?}");

    let instance = match client.heartbeat(4711, MINUTE).await {
        Err(Error::UnknownPeer { instance, .. }) => instance,
        other => panic!("{other:?}"),
    };
    assert!(instance.is_some());
    assert!(matches!(client.is_acquired(4711).await, Err(Error::UnknownPeer { .. })));
    client.release(4711).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let client = Client::builder().url("localhost:1").retry_for(Duration::from_millis(300)).build().unwrap();
    let error = client.new_peer(MINUTE).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: false, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "POST http://localhost:1/v1/peers: no connection to the server: connection refused. Is it running there, and \
         are host and port right?"
    );
}
