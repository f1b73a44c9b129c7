//! Locks from `lock(…)`: acquired, waited for, released.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use throttle_client::{AcquireError, Error, WaitingFor};

use crate::support::{Server, soon};

const MINUTE: Duration = Duration::from_mins(1);

fn assert_send_and_sync<T: Send + Sync>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_guard_holds_until_it_is_released() {
    let server = Server::start();
    let before = SystemTime::now();
    let guard = assert_send_and_sync(server.client().lock("C").count(2).ttl(MINUTE).acquire().await.unwrap());
    assert_eq!(server.remainder("C"), 1);
    assert!(guard.is_held());
    guard.check().unwrap();
    assert!(guard.held_since() >= before);
    assert!(guard.deadline() > Instant::now());
    assert!(guard.token().is_some());
    assert_eq!(guard.tokens().into_iter().collect::<Vec<_>>(), [("C", guard.token())]);
    assert_eq!(server.ask("GET", "/peers/"), format!(r#"[{{"id":{}}}]"#, guard.peer_id()));
    guard.release().await.unwrap();
    assert_eq!((server.remainder("C"), server.peers()), (3, 0));
}

#[tokio::test]
async fn later_grants_have_larger_tokens() {
    let server = Server::start();
    let client = server.client();
    let first = client.lock("C").acquire().await.unwrap();
    let second = client.lock("C").acquire().await.unwrap();
    assert!(second.token().unwrap() > first.token().unwrap());
}

#[tokio::test]
async fn a_dropped_guard_is_released() {
    let server = Server::start();
    drop(server.client().lock("A").acquire().await.unwrap());
    server.until_no_peers().await;
}

#[test]
fn a_guard_may_be_dropped_outside_of_any_runtime() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = runtime.block_on(server.client().lock("A").acquire()).unwrap();
    drop(runtime);
    assert!(guard.is_held());
    drop(guard);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(server.until_no_peers());
}

#[tokio::test]
async fn try_once_does_not_wait() {
    let server = Server::start();
    let client = server.client();
    let held = client.lock("A").acquire().await.unwrap();
    let error = client.lock("A").try_once().acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::NotAcquired { semaphore, source: None, .. } if semaphore == "A"));
    assert_eq!(server.peers(), 1, "the request is withdrawn");
    held.release().await.unwrap();
    client.lock("A").try_once().acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    let server = Server::start();
    let client = server.client();
    let _held = client.lock("A").acquire().await.unwrap();
    let patience = Duration::from_millis(300);
    let start = Instant::now();
    let error = client.lock("A").wait(patience).acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::NotAcquired { .. }), "{error}");
    assert!(start.elapsed() >= patience);
    assert_eq!((server.pending("A"), server.peers()), (0.0, 1));
}

#[tokio::test]
async fn a_wait_is_told_once_and_ends_with_the_grant() {
    let server = Server::start();
    let client = server.client();
    let held = client.lock("A").acquire().await.unwrap();
    let told = Arc::new(Mutex::new(Vec::<WaitingFor>::new()));
    let waiting = tokio::spawn({
        let told = Arc::clone(&told);
        // A short ttl, so that the request is sent more than once.
        let request = client.lock("A").ttl(Duration::from_millis(600));
        request.on_wait(move |waiting_for| told.lock().unwrap().push(waiting_for)).acquire()
    });
    server.until_pending("A").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    held.release().await.unwrap();
    let guard = soon("the grant", waiting).await.unwrap().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].semaphore.as_str(), told[0].count, told[0].peer_id), ("A", 1, guard.peer_id()));
}

#[tokio::test]
async fn nothing_is_told_without_a_wait() {
    let server = Server::start();
    let request = server.client().lock("A").on_wait(|waiting_for| panic!("{waiting_for:?}"));
    request.acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn several_semaphores_are_all_or_nothing() {
    let server = Server::start();
    let client = server.client();
    let both = client.lock("B").and("C", 2).acquire().await.unwrap();
    assert_eq!((server.remainder("B"), server.remainder("C")), (0, 1));
    let tokens = both.tokens();
    assert_eq!(tokens.keys().copied().collect::<Vec<_>>(), ["B", "C"]);
    assert_eq!(both.token(), tokens["B"]);
    both.release().await.unwrap();

    let held = client.lock("A").acquire().await.unwrap();
    let error = client.lock("B").and("A", 1).wait(Duration::from_millis(100)).acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::NotAcquired { semaphore, .. } if semaphore == "A"), "{error}");
    assert_eq!((server.remainder("B"), server.peers()), (1, 1));
    held.release().await.unwrap();
}

#[tokio::test]
async fn refusals_reach_the_caller_and_leave_nothing() {
    let server = Server::start();
    let client = server.client();
    let failure = |error: AcquireError| match error {
        AcquireError::Failed(error) => error,
        other => panic!("{other}"),
    };
    let error = failure(client.lock("Z").acquire().await.unwrap_err());
    assert!(matches!(error, Error::UnknownSemaphore { .. }));
    let error = failure(client.lock("A").count(2).acquire().await.unwrap_err());
    assert!(matches!(error, Error::CountExceedsMax(_)));
    for request in [
        client.lock("A").ttl(Duration::ZERO),
        client.lock("A").count(0),
        client.lock("A").and("A", 1),
        client.lock(""),
    ] {
        let error = failure(request.acquire().await.unwrap_err());
        assert!(matches!(error, Error::Configuration(_)), "{error}");
    }
    server.until_no_peers().await;
}
