//! What stands between cuts requests that are idle for too long: a wait lasts as long as it has to all the same.

use std::time::Duration;

use throttle_client::{AcquireError, Client, Error};

use crate::support::{Cut, Gateway, Network, Rules, Server, soon, until};

/// The client asks the server to wait for a third of this.
const TTL: Duration = Duration::from_millis(1500);
/// Sooner than that.
const IDLE: Duration = Duration::from_millis(100);
/// Beyond what one wait may last and be repeated for.
const MANY: usize = 6;

fn impatient(url: String) -> Client {
    Client::builder().url(url).retry_for(Duration::from_millis(100)).build().unwrap()
}

/// A wait in either dialect ends with the grant, not with the time for which an outage is borne.
async fn outlasts(cut: Cut) {
    for hidden in [None, Some(("/v1/", 404))] {
        let server = Server::start();
        let gateway = Gateway::new(server.port, Rules { hidden, cut: Some((IDLE, cut)), ..Rules::default() });
        let held = server.client().lock("A").acquire().await.unwrap();
        let waiting = tokio::spawn(impatient(gateway.url()).lock("A").ttl(TTL).acquire());
        until("many waits are cut, or all is over", || gateway.cuts() >= MANY || waiting.is_finished()).await;
        held.release().await.unwrap();
        let guard = soon("the grant", waiting).await.unwrap().unwrap();
        assert!(guard.is_held());
        assert_eq!(server.peers(), 1, "it waited as one peer");
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_timeout_is_no_outage() {
    outlasts(Cut::Status(504)).await;
}

#[tokio::test]
async fn a_bad_gateway_is_no_outage_while_the_server_answers() {
    outlasts(Cut::Status(502)).await;
}

#[tokio::test]
async fn a_reset_is_no_outage() {
    outlasts(Cut::Reset).await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_no_outage() {
    outlasts(Cut::Fin).await;
}

#[tokio::test]
async fn a_wait_that_is_over_was_not_granted_in_time() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules { cut: Some((IDLE, Cut::Fin)), ..Rules::default() });
    let held = server.client().lock("A").acquire().await.unwrap();
    let request = impatient(gateway.url()).lock("A").ttl(TTL).wait(Duration::from_secs(2));
    let error = request.acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::NotAcquired { source: None, .. }), "{error:?}");
    assert_eq!(server.peers(), 1);
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_single_request_waits_for_its_whole_time() {
    let server = Server::start();
    let gateway =
        Gateway::new(server.port, Rules { cut: Some((IDLE, Cut::Status(504))), ..Rules::default() });
    let held = server.client().lock("A").acquire().await.unwrap();
    let client = impatient(gateway.url());
    let peer = client.new_peer(Duration::from_mins(1)).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(peer, "A", 1, None, Some(Duration::from_mins(1))).await }
    });
    until("many waits are cut, or all is over", || gateway.cuts() >= MANY || waiting.is_finished()).await;
    held.release().await.unwrap();
    assert!(soon("the grant", waiting).await.unwrap().unwrap());
    client.release(peer).await.unwrap();
}

#[tokio::test]
async fn an_outage_while_waiting_is_borne_for_as_long_as_was_said() {
    let server = Server::start();
    let network = Network::to(server.port);
    let _held = server.client().lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(impatient(network.url()).lock("A").ttl(TTL).acquire());
    server.until_pending("A").await;
    network.lead_to(1);
    let error = soon("the end of the wait", waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::Failed(Error::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn an_outage_longer_than_the_lease_costs_no_more_than_the_place_in_the_queue() {
    let server = Server::start();
    let network = Network::to(server.port);
    let held = server.client().lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(Client::new(network.url()).unwrap().lock("A").ttl(TTL).acquire());
    server.until_pending("A").await;
    network.lead_to(1);
    until("the waiting peer has expired", || server.peers() == 1).await;
    network.lead_to(server.port);
    server.until_pending("A").await;
    held.release().await.unwrap();
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}
