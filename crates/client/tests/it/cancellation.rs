//! Futures that are dropped, and servers that cannot be reached: nothing is left behind.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use throttle_client::{AcquireError, Client, Error, Trouble};

use crate::support::{Network, Server, soon, until};

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing() {
    let server = Server::start();
    let client = server.client();
    let held = client.lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(client.lock("A").acquire());
    server.until_pending("A").await;
    waiting.abort();
    until("the request is withdrawn", || server.peers() == 1).await;
    assert!(server.pending("A") < 1.0);
    held.release().await.unwrap();
    client.lock("A").try_once().acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn an_acquire_may_be_given_up_at_any_moment() {
    let server = Server::start();
    let client = server.client();
    for step in 0..40 {
        let request = client.lock("C").and("D", 1).acquire();
        let patience = Duration::from_micros(100 * step);
        drop(tokio::time::timeout(patience, request).await);
    }
    server.until_no_peers().await;
    assert_eq!((server.remainder("C"), server.remainder("D")), (3, 5));
}

#[tokio::test]
async fn a_task_that_is_aborted_while_holding_releases() {
    let server = Server::start();
    let client = server.client();
    let (tell, told) = tokio::sync::oneshot::channel();
    let holding = tokio::spawn(async move {
        let _guard = client.lock("A").acquire().await.unwrap();
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    soon("the lock", told).await.unwrap();
    holding.abort();
    server.until_no_peers().await;
}

#[test]
fn a_runtime_that_ends_releases() {
    let server = Server::start();
    let client = server.client();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let held = runtime.block_on(client.lock("A").acquire()).unwrap();
    runtime.spawn(client.lock("A").acquire());
    runtime.block_on(server.until_pending("A"));
    runtime.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    drop(runtime);
    tokio::runtime::Runtime::new().unwrap().block_on(server.until_no_peers());
}

#[tokio::test]
async fn a_peer_whose_creation_was_given_up_is_removed() {
    let server = Server::start();
    let network = Network::to(server.port);
    let client = Client::new(network.url()).unwrap();
    // The answer is on its way when the caller goes.
    for _ in 0..10 {
        let request = client.lock("A").acquire();
        drop(tokio::time::timeout(Duration::from_micros(300), request).await);
    }
    server.until_no_peers().await;
}

#[tokio::test]
async fn no_server_within_the_wait() {
    let client = Client::new("localhost:1").unwrap();
    let error = client.lock("A").wait(Duration::from_millis(300)).acquire().await.unwrap_err();
    match error {
        AcquireError::NotAcquired { source: Some(source), .. } => {
            assert!(matches!(*source, Error::Unreachable { sent: false, .. }));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_server_for_as_long_as_is_tried() {
    let client = Client::builder().url("localhost:1").retry_for(Duration::from_millis(300)).build().unwrap();
    let error = client.lock("A").acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::Failed(Error::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn trouble_is_told_until_it_is_over() {
    let server = Server::start();
    let network = Network::to(1);
    let told = Arc::new(Mutex::new(Vec::<Option<Trouble>>::new()));
    let waiting = tokio::spawn({
        let told = Arc::clone(&told);
        let request = Client::new(network.url()).unwrap().lock("A");
        request.on_trouble(move |trouble| told.lock().unwrap().push(trouble)).acquire()
    });
    until("trouble is told", || !told.lock().unwrap().is_empty()).await;
    network.lead_to(server.port);
    let guard = soon("the grant", waiting).await.unwrap().unwrap();
    let told = told.lock().unwrap();
    let first = told[0].as_ref().unwrap();
    assert_eq!(first.url, network.url());
    assert!(first.why.starts_with(&format!("no answer from the server at {}: ", network.url())), "{first}");
    assert!(first.left > Duration::from_secs(100) && first.left <= Duration::from_mins(2), "{first:?}");
    assert_eq!(told.last().unwrap(), &None, "{told:?}");
    drop(guard);
}

#[tokio::test]
async fn a_release_out_of_reach_goes_on_in_the_background() {
    let server = Server::start();
    let network = Network::to(server.port);
    let guard = Client::new(network.url()).unwrap().lock("A").acquire().await.unwrap();
    network.lead_to(1);
    let error = soon("the end of the release", guard.release()).await.unwrap_err();
    match error {
        Error::NotReleased { semaphores, held_for, source, .. } => {
            assert!(matches!(*source, Error::Unreachable { .. }), "{source:?}");
            assert_eq!(semaphores, ["A"]);
            assert!(held_for <= Duration::from_mins(5), "{held_for:?}");
        }
        other => panic!("{other:?}"),
    }
    network.lead_to(server.port);
    server.until_no_peers().await;
}
