//! Several servers of one cluster: whichever is of no use is passed over. The servers of these tests are ways to one.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use throttle_client::{AcquireError, Client, Error};

use crate::support::{Gateway, Network, Rules, Server, soon, until};

const MINUTE: Duration = Duration::from_mins(1);
/// A server without a leader, or one that stops.
const NOT_READY: (&str, u16) = ("/", 503);

/// Where nobody listens, nor ever will while the tests run.
fn dead() -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    format!("http://{address}")
}

fn standby_of(leader: u16, server: &Server) -> Gateway {
    Gateway::new(server.port, Rules { leader: Some(leader), ..Rules::default() })
}

fn way_to(server: &Server) -> Gateway {
    Gateway::new(server.port, Rules::default())
}

/// A client that repeats nothing.
fn once(urls: &[String]) -> Client {
    Client::builder().urls(urls).retry_for(Duration::ZERO).build().unwrap()
}

fn heartbeats(gateway: &Gateway) -> usize {
    gateway.requests().iter().filter(|what| what.ends_with("/heartbeat")).count()
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let server = Server::start();
    for urls in [[dead(), server.url()], [server.url(), dead()]] {
        let client = Client::new(urls.join(",")).unwrap();
        assert_eq!(client.url(), urls.join(","));
        let guard = client.lock("A").try_once().acquire().await.unwrap();
        assert_eq!(client.remainder("A").await.unwrap(), 0);
        guard.release().await.unwrap();
    }
    // Also where nothing is repeated.
    assert_eq!(once(&[dead(), server.url()]).remainder("A").await.unwrap(), 1);
    once(&[dead(), server.url()]).send("POST", "/v1/peers", Some(json!({"expires_in": "1m"}))).await.unwrap();
    assert_eq!(server.peers(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_passed_over() {
    let server = Server::start();
    let secure = server.url().replace("http:", "https:");
    assert_eq!(once(&[secure, server.url()]).remainder("A").await.unwrap(), 1);
}

#[tokio::test]
async fn whoever_answered_last_is_asked_and_the_next_one_if_it_is_not_ready() {
    let server = Server::start();
    let (first, second) = (way_to(&server), way_to(&server));
    let client = once(&[first.url(), second.url()]);
    client.remainder("A").await.unwrap();
    first.set(Rules { hidden: Some(NOT_READY), ..Rules::default() });
    let peer = client.new_peer(MINUTE).await.unwrap();
    client.clone().release(peer).await.unwrap();
    assert_eq!(first.requests(), ["GET /remainder?semaphore=A", "POST /v1/peers"]);
    assert_eq!(second.requests(), ["POST /v1/peers", &format!("DELETE /peers/{peer}")]);
    // Back to the first one when it is needed.
    first.set(Rules::default());
    second.set(Rules { hidden: Some(NOT_READY), ..Rules::default() });
    client.remainder("A").await.unwrap();
    assert_eq!(first.requests().len(), 3);
}

#[tokio::test]
async fn once_all_were_asked_in_vain_they_are_asked_again() {
    let server = Server::start();
    let (first, second) = (way_to(&server), way_to(&server));
    for gateway in [&first, &second] {
        gateway.set(Rules { hidden: Some(NOT_READY), ..Rules::default() });
    }
    let urls = [first.url(), second.url()];
    let error = once(&urls).remainder("A").await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 503, .. }), "{error:?}");
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1), "each of them once");
    let waiting = tokio::spawn(Client::builder().urls(&urls).build().unwrap().lock("A").acquire());
    until("each was asked again", || first.requests().len() > 2 && second.requests().len() > 2).await;
    second.set(Rules::default());
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn an_act_that_may_have_been_done_is_not_done_twice() {
    let server = Server::start();
    let body = Some(json!({"expires_in": "1m"}));
    let (first, second) = (Gateway::as_0_5(server.port), Gateway::as_0_5(server.port));
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    let peer = client.new_peer(MINUTE).await.unwrap();
    client.release(peer).await.unwrap();
    first.set(Rules { hidden: Some(("/v1/", 404)), lost_answers: 1, ..Rules::default() });
    let error = client.new_peer(MINUTE).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: true, .. }), "{error:?}");
    assert_eq!((server.peers(), second.requests().len()), (1, 0));
    client.new_peer(MINUTE).await.unwrap();
    assert_eq!(second.requests(), ["POST /new_peer"], "others need not find out");

    let (first, second) = (way_to(&server), way_to(&server));
    first.set(Rules { lost_answers: 1, ..Rules::default() });
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    client.send("POST", "/v1/peers", body).await.unwrap_err();
    assert_eq!((server.peers(), second.requests().len()), (3, 0));
    client.send("GET", "/v1/semaphores", None).await.unwrap();
    assert_eq!(second.requests(), ["GET /v1/semaphores"]);
}

#[tokio::test]
async fn a_repeat_at_another_server_finds_the_peer_that_was_made() {
    let server = Server::start();
    let (first, second) = (way_to(&server), way_to(&server));
    first.set(Rules { lost_answers: 1, ..Rules::default() });
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    client.new_peer(MINUTE).await.unwrap();
    assert_eq!((server.peers(), second.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_lock_outlives_the_server_that_granted_it() {
    let server = Server::start();
    let (first, second) = (Network::to(server.port), way_to(&server));
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    let guard = client.lock("A").ttl(Duration::from_secs(2)).acquire().await.unwrap();
    assert_eq!(second.requests().len(), 0);
    first.lead_to(1);
    until("the other one renews it", || heartbeats(&second) > 2).await;
    assert!(guard.is_held());
    assert_eq!(server.remainder("A"), 0);
    guard.release().await.unwrap();
    assert_eq!(server.remainder("A"), 1);
    assert!(second.requests().iter().all(|what| what != "POST /restore"), "it is one cluster");
}

#[tokio::test]
async fn servers_that_hang_do_not_cost_the_lease() {
    let server = Server::start();
    let hanging: Vec<_> = (0..6).map(|_| Network::to(server.port)).collect();
    let last = way_to(&server);
    let urls = hanging.iter().map(Network::url).chain([last.url()]);
    let client = Client::builder().urls(urls).build().unwrap();
    let guard = client.lock("A").ttl(Duration::from_secs(6)).acquire().await.unwrap();
    assert_eq!(last.requests().len(), 0);
    hanging.iter().for_each(Network::cut);
    until("the last one renews it", || heartbeats(&last) > 1 || !guard.is_held()).await;
    assert!(guard.is_held());
    assert_eq!(server.remainder("A"), 0);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_release_finds_the_server_that_answers() {
    let server = Server::start();
    let first = Network::to(server.port);
    let client = Client::builder().urls([first.url(), server.url()]).build().unwrap();
    let guard = client.lock("A").acquire().await.unwrap();
    first.cut();
    guard.release().await.unwrap();
    assert_eq!(server.remainder("A"), 1);
}

#[tokio::test]
async fn a_wait_goes_on_at_the_next_server() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let (first, second) = (Network::to(server.port), way_to(&server));
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    let waiting = tokio::spawn(client.lock("A").acquire());
    server.until_pending("A").await;
    first.lead_to(1);
    until("the second one is asked", || !second.requests().is_empty()).await;
    assert_eq!(server.peers(), 2, "as the same peer");
    held.release().await.unwrap();
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn servers_that_hang_do_not_cost_the_place_in_the_queue() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let hanging: Vec<_> = (0..3).map(|_| Network::to(server.port)).collect();
    let last = way_to(&server);
    let urls = hanging.iter().map(Network::url).chain([last.url()]);
    let client = Client::builder().urls(urls).build().unwrap();
    let waiting = tokio::spawn(client.lock("A").ttl(Duration::from_secs(9)).acquire());
    server.until_pending("A").await;
    hanging.iter().for_each(Network::cut);
    until("the last one is asked twice", || last.requests().len() > 1).await;
    assert!(last.requests().iter().all(|what| what.ends_with("/locks")), "{:?}", last.requests());
    assert_eq!(server.peers(), 2);
    held.release().await.unwrap();
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn the_next_stream_of_events_is_that_of_the_next_server() {
    let server = Server::start();
    let (first, second) = (Network::to(server.port), way_to(&server));
    let client = Client::builder().urls([first.url(), second.url()]).build().unwrap();
    let mut events = client.events("/v1/events").await.unwrap();
    assert!(second.requests().is_empty());
    first.lead_to(1);
    // It ends, in order or not.
    while let Ok(Some(_)) = soon("the end of the stream", events.next()).await {}
    let mut events = client.events("/v1/events").await.unwrap();
    assert_eq!(second.requests(), ["GET /v1/events"]);
    let guard = server.client().lock("A").acquire().await.unwrap();
    assert!(soon("an event", events.next()).await.unwrap().is_some());
    guard.release().await.unwrap();
    second.set(Rules { hidden: Some(NOT_READY), ..Rules::default() });
    let error = client.events("/v1/events").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. } | Error::Server { status: 503, .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_to_a_server_of_the_list_with_the_token() {
    let server = Server::start();
    let leader = way_to(&server);
    let standby = standby_of(leader.port, &server);
    let client = Client::builder().urls([standby.url(), leader.url()]).token("secret").build().unwrap();
    let guard = client.lock("C").count(2).acquire().await.unwrap();
    assert_eq!(server.remainder("C"), 1);
    assert_eq!(standby.requests(), ["POST /v1/locks"], "the leader is asked from then on");
    assert!(leader.authorizations().iter().all(|sent| sent.as_deref() == Some("Bearer secret")));
    guard.release().await.unwrap();
    let again = Client::builder().urls([standby.url(), leader.url()]).build().unwrap();
    again.events("/v1/events?semaphore=A").await.unwrap();
    assert_eq!(leader.requests().last().unwrap(), "GET /v1/events?semaphore=A");
}

#[tokio::test]
async fn a_redirect_to_anybody_else_is_not_followed() {
    let server = Server::start();
    let stranger = way_to(&server);
    let standby = standby_of(stranger.port, &server);
    for urls in [vec![standby.url()], vec![standby.url(), dead()], vec![dead(), standby.url()]] {
        let client = Client::builder().urls(&urls).token("secret").retry_for(Duration::ZERO).build().unwrap();
        for error in [
            client.remainder("A").await.unwrap_err(),
            client.send("GET", "/v1/semaphores", None).await.unwrap_err(),
        ] {
            if urls.last() == Some(&standby.url()) {
                let told = error.to_string();
                assert!(matches!(error, Error::Server { status: 307, .. }), "{error:?}");
                assert!(told.contains(&stranger.url()) && told.contains(&standby.url()), "{told}");
                assert!(told.contains("not in the list"), "{told}");
            }
        }
    }
    assert_eq!(stranger.requests(), [""; 0]);
    // One that serves is found all the same.
    let guard = once(&[standby.url(), server.url()]).lock("A").acquire().await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test]
async fn standbys_whose_leader_is_gone_are_asked_until_one_leads() {
    let server = Server::start();
    let leader = Network::to(1);
    let port = leader.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let standby = standby_of(port, &server);
    let urls = [standby.url(), leader.url()];
    let error = once(&urls).lock("A").try_once().acquire().await.unwrap_err();
    assert!(
        matches!(error, AcquireError::NotAcquired { .. } | AcquireError::Failed(Error::Unreachable { .. })),
        "{error:?}"
    );
    let waiting = tokio::spawn(Client::builder().urls(&urls).build().unwrap().lock("A").acquire());
    let before = standby.requests().len();
    until("it was asked again", || standby.requests().len() > before + 2).await;
    standby.set(Rules::default());
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn an_error_names_the_server_that_was_asked() {
    let (first, second) = (dead(), dead());
    let with_password = second.replace("http://", "http://etl:secret@");
    let told = once(&[first.clone(), with_password]).remainder("A").await.unwrap_err().to_string();
    assert!(told.contains(&second.replace("http://", "http://etl@")), "{told}");
    assert!(!told.contains(&first) && !told.contains("secret"), "{told}");
}
