//! Locks that outlive the process which acquired them.

use std::time::Duration;

use throttle_client::{Error, LossReason};

use crate::support::{Gateway, Server, soon, until};

const TTL: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_lock_goes_from_one_process_to_another() {
    let server = Server::start();
    let guard = server.client().lock("B").and("C", 2).ttl(MINUTE).acquire().await.unwrap();
    let tokens: Vec<_> = guard.tokens().into_values().collect();
    let peer = guard.hand_over().await.unwrap();
    assert_eq!((server.remainder("B"), server.remainder("C")), (0, 1), "it is left held");
    // Of the minute that it had, a second is left, and it lives on.
    let guard = server.client().adopt(peer, TTL).await.unwrap();
    assert_eq!(guard.peer_id(), peer);
    assert_eq!(guard.tokens().into_values().collect::<Vec<_>>(), tokens, "they are the same grants");
    let deadline = guard.deadline();
    until("it is renewed", || guard.deadline() > deadline + TTL).await;
    assert!(guard.is_held());
    guard.release().await.unwrap();
    assert_eq!((server.remainder("B"), server.remainder("C"), server.peers()), (1, 3, 0));
}

#[tokio::test]
async fn nothing_renews_what_nobody_takes_over() {
    let server = Server::start();
    let guard = server.client().lock("A").ttl(TTL).acquire().await.unwrap();
    guard.hand_over().await.unwrap();
    server.until_no_peers().await;
}

#[tokio::test]
async fn the_loss_of_a_lock_that_was_taken_over_is_told() {
    let server = Server::start();
    let guard = server.client().lock("A").ttl(MINUTE).acquire().await.unwrap();
    let guard = server.client().adopt(guard.hand_over().await.unwrap(), TTL).await.unwrap();
    server.release(guard.peer_id());
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!((loss.reason(), loss.semaphores()), (LossReason::Released, &["A".to_owned()][..]));
}

#[tokio::test]
async fn there_must_be_something_to_take_over() {
    let server = Server::start();
    let client = server.client();
    let unknown = client.adopt(7, TTL).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownPeer { .. }), "{unknown}");
    let peer = client.new_peer(MINUTE).await.unwrap();
    let nothing = client.adopt(peer, TTL).await.unwrap_err();
    assert!(matches!(nothing, Error::NothingHeld { peer_id, .. } if peer_id == peer), "{nothing}");
    let at_once = client.adopt(peer, Duration::ZERO).await.unwrap_err();
    assert!(matches!(at_once, Error::Configuration(_)), "{at_once}");
    let old = throttle_client::Client::new(Gateway::as_0_5(server.port).url()).unwrap();
    let missing = old.adopt(peer, TTL).await.unwrap_err();
    assert!(matches!(missing, Error::Server { status: 404, .. }), "{missing}");
}

#[tokio::test]
async fn whoever_stops_taking_over_has_changed_nothing() {
    let server = Server::start();
    let guard = server.client().lock("A").ttl(MINUTE).acquire().await.unwrap();
    let peer = guard.hand_over().await.unwrap();
    for _ in 0..20 {
        let client = server.client();
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            taken = client.adopt(peer, MINUTE) => drop(taken.unwrap().hand_over().await),
        }
    }
    assert_eq!(server.remainder("A"), 0);
    server.client().adopt(peer, MINUTE).await.unwrap().release().await.unwrap();
    assert_eq!((server.remainder("A"), server.peers()), (1, 0));
}
