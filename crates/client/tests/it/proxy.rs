//! Proxies between client and server: what they do to paths, and releases that they do not let through.

use std::time::Duration;

use throttle_client::{Client, Error};

use crate::support::{Gateway, Rules, Server, soon};

const CONFIGURATION: &str = "[semaphores]\n't/in' = 2\n't/out' = { max = 1, level = 1 }";
const DECODING: Rules = Rules {
    below: "",
    hidden: None,
    hidden_for: None,
    without_headers: false,
    decodes: true,
    lost_answers: 0,
    leader: None,
    cut: None,
};
const TTL: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn names_with_slashes_pass_a_proxy_that_decodes_paths() {
    let server = Server::with(CONFIGURATION);
    let gateway = Gateway::new(server.port, DECODING);
    let client = Client::new(gateway.url()).unwrap();
    let guard = client.lock("t/out").and("t/in", 1).acquire().await.unwrap();
    assert!(client.is_token_live("t/out", guard.token().unwrap()).await.unwrap());
    guard.release().await.unwrap();

    let peer = client.new_peer(MINUTE).await.unwrap();
    let acquire = |semaphore, count| client.acquire(peer, semaphore, count, Some(MINUTE), Some(TTL));
    assert!(acquire("t/out", 1).await.unwrap());
    assert!(acquire("t/in", 2).await.unwrap());
    assert_eq!(client.remainder("t/in").await.unwrap(), 0);
    client.release_lock(peer, "t/in").await.unwrap();
    assert_eq!((server.remainder("t/in"), server.remainder("t/out")), (2, 0));
    assert!(
        gateway.requests().iter().all(|what| !what.to_uppercase().contains("/T%2F")),
        "{:?}",
        gateway.requests()
    );
}

#[tokio::test]
async fn requests_for_one_lock_are_also_those_of_an_old_server() {
    let server = Server::with(CONFIGURATION);
    let gateway = Gateway::as_0_5(server.port);
    let client = Client::new(gateway.url()).unwrap();
    let peer = server.client().new_peer(MINUTE).await.unwrap();
    assert!(client.acquire(peer, "t/in", 1, None, None).await.unwrap());
    client.release_lock(peer, "t/in").await.unwrap();
    assert_eq!(server.remainder("t/in"), 2);
    let [of_v1, acquire, release] = &gateway.requests()[..] else { panic!("{:?}", gateway.requests()) };
    assert_eq!(of_v1, &format!("PUT /v1/peers/{peer}/locks"));
    assert_eq!(acquire, &format!("PUT /peers/{peer}/t%2Fin"));
    assert_eq!(release, &format!("DELETE /peers/{peer}/t%2Fin"), "it is known to be old by now");
}

#[tokio::test]
async fn a_release_that_is_refused_for_a_moment_is_repeated() {
    let server = Server::with(CONFIGURATION);
    for status in [403, 404, 405] {
        let gateway = Gateway::new(server.port, DECODING);
        let guard = Client::new(gateway.url()).unwrap().lock("t/in").acquire().await.unwrap();
        gateway.set(Rules { hidden: Some(("/peers/", status)), hidden_for: Some(2), ..DECODING });
        soon("the release", guard.release()).await.unwrap();
        let releases =
            gateway.requests().into_iter().filter(|what| what.starts_with("DELETE /peers/")).count();
        assert_eq!((releases, server.remainder("t/in")), (3, 2));
    }
}

#[tokio::test]
async fn a_release_that_is_refused_is_an_error_that_says_what_is_held() {
    let server = Server::with(CONFIGURATION);
    let gateway = Gateway::new(server.port, DECODING);
    let guard = Client::new(gateway.url()).unwrap().lock("t/in").acquire().await.unwrap();
    let peer = guard.peer_id();
    gateway.set(Rules { hidden: Some(("/peers/", 404)), ..DECODING });
    let error = soon("the end of the release", guard.release()).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("\"t/in\"") && message.contains(&format!("peer {peer}")), "{message}");
    assert!(message.contains("stays held until its lease ends in 4m"), "{message}");
    match error {
        Error::NotReleased { semaphores, source, .. } => {
            assert_eq!(semaphores, ["t/in"]);
            assert!(matches!(*source, Error::Server { status: 404, .. }), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.remainder("t/in"), 1);
    // It goes on in the background.
    gateway.set(DECODING);
    server.until_no_peers().await;
}
