//! Locks that are lost, and locks that survive: the holder always knows which.

use std::time::{Duration, Instant};

use throttle_client::{Client, Error, Guard, LossReason};

use crate::support::{Network, Server, soon, until};

const TTL: Duration = Duration::from_secs(1);

async fn hold(url: String) -> Guard {
    Client::new(url).unwrap().lock("A").ttl(TTL).acquire().await.unwrap()
}

/// Waits until the lock was renewed from now on.
async fn until_renewed(guard: &Guard) {
    let deadline = guard.deadline() + Duration::from_millis(1);
    until("the lock is renewed", || guard.deadline() > deadline).await;
}

#[tokio::test]
async fn a_lock_is_held_for_much_longer_than_its_expiry() {
    let server = Server::start();
    let guard = hold(server.url()).await;
    tokio::time::sleep(3 * TTL).await;
    assert!(guard.is_held());
    assert_eq!(server.remainder("A"), 0);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_blocked_runtime_loses_nothing() {
    let server = Server::start();
    let guard = hold(server.url()).await;
    // Twice the interval of renewals, and beyond the expiry, too.
    std::thread::sleep(2 * TTL);
    assert!(guard.is_held());
    assert_eq!(server.remainder("A"), 0);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn an_operator_takes_the_lock() {
    let server = Server::start();
    let guard = hold(server.url()).await;
    let token = guard.cancellation_token();
    server.release(guard.peer_id());
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!((loss.reason(), loss.semaphores()), (LossReason::Released, &["A".to_owned()][..]));
    assert!(token.is_cancelled());
    assert!(!guard.is_held());
    assert_eq!(guard.check(), Err(loss.clone()));
    assert_eq!(server.peers(), 0, "it is not restored");
    match guard.release().await {
        Err(Error::Lost(again)) => assert_eq!(again, loss),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_loss_that_no_renewal_found_is_told_by_the_release() {
    let server = Server::start();
    let guard = server.client().lock("A").acquire().await.unwrap();
    server.release(guard.peer_id());
    match guard.release().await {
        Err(Error::Lost(loss)) => assert_eq!(loss.reason(), LossReason::Released),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cut_shorter_than_the_expiry_goes_unnoticed() {
    let server = Server::start();
    let network = Network::to(server.port);
    let guard = hold(network.url()).await;
    until_renewed(&guard).await;
    network.cut();
    tokio::time::sleep(TTL / 2).await;
    network.heal();
    until_renewed(&guard).await;
    assert!(guard.is_held());
    assert_eq!(server.peers(), 1);
    guard.release().await.unwrap();
    assert_eq!(server.peers(), 0);
}

#[tokio::test]
async fn a_cut_longer_than_the_expiry_loses_the_lock_before_another_gets_it() {
    let server = Server::start();
    let network = Network::to(server.port);
    let guard = hold(network.url()).await;
    let other = tokio::spawn(server.client().lock("A").acquire());
    server.until_pending("A").await;
    network.cut();
    let deadline = guard.deadline();
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!(loss.reason(), LossReason::Expired);
    assert!(Instant::now() >= deadline, "an error alone is no loss");
    let other = soon("the grant", other).await.unwrap().unwrap();
    assert!(!guard.is_held());
    assert!(other.token().unwrap() > guard.token().unwrap());
    network.heal();
    drop(guard);
    tokio::time::sleep(TTL).await;
    assert!(other.is_held(), "the late release of the old peer does not touch the new one");
    assert_eq!(server.peers(), 1);
}

#[tokio::test]
async fn is_held_is_false_at_the_deadline_itself() {
    let server = Server::start();
    let network = Network::to(server.port);
    let guard = hold(network.url()).await;
    network.cut();
    loop {
        let (is_held, deadline) = (guard.is_held(), guard.deadline());
        if Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        } else {
            // What was asked before the deadline may have been true then.
            assert!(!guard.is_held(), "held when asked before: {is_held}");
            break;
        }
    }
}

#[tokio::test]
async fn a_server_that_forgot_gets_the_lock_back_with_its_token() {
    let first = Server::start();
    let network = Network::to(first.port);
    let guard = hold(network.url()).await;
    drop(first);
    let second = Server::start();
    network.lead_to(second.port);
    until("the peer is restored", || second.peers() == 1).await;
    until_renewed(&guard).await;
    assert!(guard.is_held());
    assert_eq!(second.remainder("A"), 0);
    assert_eq!(second.ask("GET", "/peers/"), format!(r#"[{{"id":{}}}]"#, guard.peer_id()));
    let peer = second.ask("GET", &format!("/v1/peers/{}", guard.peer_id()));
    assert!(peer.contains(&format!(r#""pid":"{}""#, std::process::id())), "it is known who it is: {peer}");
    guard.release().await.unwrap();
    assert_eq!(second.remainder("A"), 1);
}

#[tokio::test]
async fn a_server_that_does_not_take_the_lock_back_loses_it() {
    let first = Server::start();
    let network = Network::to(first.port);
    let guard = hold(network.url()).await;
    let second = Server::with("[semaphores]\nZ = 1\n");
    network.lead_to(second.port);
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!(loss.reason(), LossReason::NotRestored);
    assert!(loss.to_string().contains("Unknown semaphore"), "{loss}");
    drop(first);
}

#[tokio::test]
async fn a_release_after_a_restart_is_no_loss() {
    let first = Server::start();
    let network = Network::to(first.port);
    let guard = Client::new(network.url()).unwrap().lock("A").acquire().await.unwrap();
    drop(first);
    let second = Server::start();
    network.lead_to(second.port);
    guard.release().await.unwrap();
    assert_eq!(second.peers(), 0);
}

#[tokio::test]
async fn a_waiter_survives_a_restart() {
    let first = Server::start();
    let (of_holder, of_waiter) = (Network::to(first.port), Network::to(first.port));
    let holder = hold(of_holder.url()).await;
    let waiting = tokio::spawn(Client::new(of_waiter.url()).unwrap().lock("A").ttl(TTL).acquire());
    first.until_pending("A").await;
    drop(first);
    let second = Server::start();
    // Whoever is back first has the place.
    of_holder.lead_to(second.port);
    until("the holder is back", || second.remainder("A") == 0).await;
    of_waiter.lead_to(second.port);
    until("the waiter is back", || second.pending("A") > 0.0).await;
    assert!(!waiting.is_finished());
    holder.release().await.unwrap();
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(second.peers(), 0);
}
