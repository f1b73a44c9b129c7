//! What only servers with `/v1` have.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use throttle_client::{AcquireError, Client, Error, Guard, LossReason, WaitingFor};

use crate::support::{Gateway, Network, Rules, Server, soon, until};

const TTL: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A peer as the server shows it.
fn peer(server: &Server, id: u64) -> Value {
    serde_json::from_str(&server.ask("GET", &format!("/v1/peers/{id}"))).unwrap()
}

fn labels(server: &Server, id: u64) -> BTreeMap<String, String> {
    serde_json::from_value(peer(server, id)["labels"].clone()).unwrap()
}

#[tokio::test]
async fn several_semaphores_are_one_request_in_any_order() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    // By their levels they could not be had one after the other, and two are of one level.
    let guard = client.lock("A").and("C", 2).and("B", 1).acquire().await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/locks"], "and the peer comes with it");
    let seen = peer(&server, guard.peer_id());
    let of_server: BTreeMap<_, _> = seen["locks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| {
            (lock["semaphore"].as_str().unwrap(), Some(lock["token"].as_str().unwrap().parse().unwrap()))
        })
        .collect();
    assert_eq!(guard.tokens(), of_server);
    assert_eq!(guard.token(), of_server["A"], "that of the first");
    assert_eq!((server.remainder("A"), server.remainder("B"), server.remainder("C")), (0, 0, 1));
    guard.release().await.unwrap();
    assert_eq!(server.peers(), 0);
}

#[tokio::test]
async fn nothing_is_held_while_all_is_waited_for() {
    let server = Server::start();
    let client = server.client();
    let held = client.lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(client.lock("B").and("A", 1).ttl(TTL).acquire());
    server.until_pending("B").await;
    assert_eq!(server.remainder("B"), 1);
    held.release().await.unwrap();
    let guard = soon("the grant", waiting).await.unwrap().unwrap();
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 0));
    tokio::time::sleep(2 * TTL).await;
    assert!(guard.is_held(), "and both are renewed");
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 0));
}

#[tokio::test]
async fn a_lock_is_taken_and_given_back_with_a_request_each() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let guard = client.lock("A").acquire().await.unwrap();
    let release = format!("DELETE /peers/{}", guard.peer_id());
    guard.release().await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/locks", &*release]);
    assert_eq!((server.remainder("A"), server.peers()), (1, 0));
}

#[tokio::test]
async fn a_grant_whose_answer_got_lost_is_asked_for_again() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules { lost_answers: 2, ..Rules::default() });
    let client = Client::new(gateway.url()).unwrap();
    let guard = client.lock("A").ttl(MINUTE).acquire().await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/locks"; 3]);
    assert_eq!((server.remainder("A"), server.peers()), (0, 1), "and no peer is left behind");
    assert!(guard.is_held() && guard.token().is_some());
    guard.release().await.unwrap();
    assert_eq!((server.remainder("A"), server.peers()), (1, 0));
}

#[tokio::test]
async fn whoever_waits_learns_for_whom() {
    let server = Server::start();
    let holder = Client::builder().url(server.url()).label("host", "w1").build().unwrap();
    let held = holder.lock("A").acquire().await.unwrap();
    let told = Arc::new(Mutex::new(Vec::<WaitingFor>::new()));
    let request = server.client().lock("B").and("A", 1);
    let waiting = tokio::spawn({
        let told = Arc::clone(&told);
        request.on_wait(move |waiting_for| told.lock().unwrap().push(waiting_for)).acquire()
    });
    until("the wait is told", || !told.lock().unwrap().is_empty()).await;
    held.release().await.unwrap();
    let guard: Guard = soon("the grant", waiting).await.unwrap().unwrap();
    let told = told.lock().unwrap();
    let [WaitingFor { semaphore, count, peer_id, position, blocked_by, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&**semaphore, *count, *peer_id, *position), ("A", 1, guard.peer_id(), Some(1)));
    assert_eq!(blocked_by.len(), 1);
    assert_eq!((&*blocked_by[0].semaphore, blocked_by[0].count), ("A", 1));
    assert_eq!(blocked_by[0].labels["host"], "w1");
}

#[tokio::test]
async fn whoever_waits_learns_of_another_place() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    // A short ttl, so that the request is sent more than once.
    let first = tokio::spawn(server.client().lock("A").ttl(TTL).acquire());
    server.until_pending("A").await;
    let told = Arc::new(Mutex::new(Vec::<WaitingFor>::new()));
    let second = tokio::spawn({
        let (told, request) = (Arc::clone(&told), server.client().lock("A").ttl(TTL));
        request.on_wait(move |waiting_for| told.lock().unwrap().push(waiting_for)).acquire()
    });
    until("the wait is told", || !told.lock().unwrap().is_empty()).await;
    held.release().await.unwrap();
    let guard = soon("the grant", first).await.unwrap().unwrap();
    until("another place is told", || told.lock().unwrap().len() == 2).await;
    guard.release().await.unwrap();
    let _last = soon("the grant", second).await.unwrap().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.iter().map(|told| told.position).collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert_eq!(told[0].since, told[1].since, "of the same wait");
}

#[tokio::test]
async fn whoever_is_too_late_learns_who_was_in_the_way() {
    let server = Server::start();
    let holder = Client::builder().url(server.url()).label("host", "w1").build().unwrap();
    let held = holder.lock("A").acquire().await.unwrap();
    let error = server.client().lock("B").and("A", 1).try_once().acquire().await.unwrap_err();
    let said = error.to_string();
    let AcquireError::NotAcquired { semaphore, position, blocked_by, .. } = error else { panic!("{said}") };
    assert_eq!((&*semaphore, position, blocked_by.len()), ("A", Some(1), 1));
    assert_eq!(blocked_by[0].peer_id, Some(held.peer_id()));
    assert!(said.contains(&format!(": its place in the queue was 1; {}", blocked_by[0])), "{said}");
}

#[tokio::test]
async fn whoever_is_too_late_learns_all_that_was_missing() {
    let server = Server::start();
    let client = server.client();
    let [a, b] = [client.lock("A").acquire().await.unwrap(), client.lock("B").acquire().await.unwrap()];
    let error = client.lock("C").and("A", 1).and("B", 1).try_once().acquire().await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("\"A\" (count 1) and \"B\" (count 1) were not granted in time by "), "{said}");
    for (name, held) in [("A", &a), ("B", &b)] {
        let holder = format!("{name:?} is held by ");
        let rest = said.split_once(&holder).unwrap_or_else(|| panic!("{said}")).1;
        assert!(rest.contains(&format!("(peer {})", held.peer_id())), "{said}");
    }
    let AcquireError::NotAcquired { semaphore, others, .. } = error else { panic!("{said}") };
    assert_eq!((&*semaphore, &others[..]), ("A", &[("B".to_owned(), 1)][..]));
}

#[tokio::test]
async fn a_semaphore_that_is_removed_meanwhile_was_no_wrong_name() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let waiting = tokio::spawn(server.client().lock("A").acquire());
    server.until_pending("A").await;
    server.ask("DELETE", "/v1/semaphores/A?force=true");
    let error = soon("the end of the wait", waiting).await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the semaphore \"A\" was removed from the server while a lock on it was waited for"
    );
    assert!(matches!(error, AcquireError::Failed(Error::Withdrawn { is_removed: true, .. })), "{error:?}");
    drop(held);
}

#[tokio::test]
async fn a_peer_has_labels() {
    let server = Server::start();
    let guard = server.client().lock("A").acquire().await.unwrap();
    let found = labels(&server, guard.peer_id());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["host", "pid", "program", "user"]);
    assert_eq!(found["pid"], std::process::id().to_string());
    assert!(found["program"].starts_with("it-"), "{found:?}");

    let builder = || Client::builder().url(server.url()).label("team", "blue").label("host", "mine");
    let id = builder().build().unwrap().new_peer(MINUTE).await.unwrap();
    let found = labels(&server, id);
    assert_eq!((&*found["team"], &*found["host"], found.len()), ("blue", "mine", 5));

    let id = builder().without_usual_labels().build().unwrap().new_peer(MINUTE).await.unwrap();
    let own = [("host", "mine"), ("team", "blue")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(labels(&server, id), BTreeMap::from(own));

    let wrong = builder().label("a:b", "").build();
    assert!(matches!(wrong, Err(Error::Configuration(_))));
}

#[tokio::test]
async fn usual_labels_that_the_server_does_not_allow_are_left_out() {
    let server = Server::with("[semaphores]\nA = 1\n[limits]\nlabels_per_peer = 1\n");
    let client = Client::builder().url(server.url()).label("team", "blue").build().unwrap();
    let guard = client.lock("A").acquire().await.unwrap();
    assert_eq!(labels(&server, guard.peer_id()), BTreeMap::from([("team".to_owned(), "blue".to_owned())]));
    let many = Client::builder().url(server.url()).label("a", "").label("b", "").build().unwrap();
    let error = many.new_peer(MINUTE).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
}

#[tokio::test]
async fn a_restore_does_not_fail_for_labels() {
    let first = Server::start();
    let network = Network::to(first.port);
    let guard = Client::new(network.url()).unwrap().lock("A").ttl(TTL).acquire().await.unwrap();
    drop(first);
    let second = Server::with("[semaphores]\nA = 1\n[limits]\nlabels_per_peer = 1\n");
    network.lead_to(second.port);
    until("the peer is restored", || second.peers() == 1).await;
    assert!(guard.is_held());
    assert_eq!(labels(&second, guard.peer_id()), BTreeMap::new());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn the_higher_priority_goes_first() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let urgent = Client::builder().url(server.url()).priority(5).build().unwrap();
    let ranks = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    let requests = [
        (0, server.client().lock("A")),
        (7, server.client().lock("A").priority(7)),
        (5, urgent.lock("A")),
        (-1, urgent.lock("A").priority(-1)),
    ];
    for (number, (rank, request)) in (1..).zip(requests) {
        let ranks = Arc::clone(&ranks);
        waiting.push(tokio::spawn(async move {
            let guard = request.acquire().await.unwrap();
            ranks.lock().unwrap().push(rank);
            guard.release().await.unwrap();
        }));
        until("it waits", || server.pending("A") > f64::from(number) - 0.5).await;
    }
    held.release().await.unwrap();
    for task in waiting {
        soon("the grant", task).await.unwrap();
    }
    assert_eq!(*ranks.lock().unwrap(), [7, 5, 0, -1]);
}

#[tokio::test]
async fn a_wait_that_an_operator_ends_is_over() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let (told, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let client = server.client();
    let waiting = tokio::spawn(async move {
        client.lock("A").ttl(TTL).on_wait(move |waiting| _ = told.send(waiting.peer_id)).acquire().await
    });
    let peer = soon("the wait", peers.recv()).await.unwrap();
    server.ask("DELETE", &format!("/v1/peers/{peer}?reason=not+today"));
    match soon("the end of the wait", waiting).await.unwrap() {
        Err(AcquireError::Failed(Error::Lost(loss))) => {
            let message = loss.to_string();
            assert!(
                message.starts_with("the wait for a lock was ended") && message.contains("not today"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(server.ask("GET", "/v1/semaphores/A").contains("\"waiting\":0"));
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_withdrawn_while_nobody_listens_is_not_made_anew() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let gateway = Gateway::new(server.port, Rules { hidden: Some(("/v1/peers/", 503)), ..Rules::default() });
    let client = Client::new(gateway.url()).unwrap();
    let waiting = tokio::spawn(client.lock("A").acquire());
    let second = || gateway.requests().into_iter().find(|request| request.starts_with("PUT /v1/peers/"));
    until("it goes on waiting", || second().is_some()).await;
    let path = second().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    server.ask("DELETE", &format!("{path}/A"));
    gateway.set(Rules::default());
    match soon("the end of the wait", waiting).await.unwrap() {
        Err(AcquireError::Failed(error @ Error::Withdrawn { is_removed: false, .. })) => {
            assert!(error.to_string().contains("somebody withdrew the request"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(server.ask("GET", "/v1/semaphores/A").contains("\"waiting\":0"));
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_expired_while_it_waited_asks_anew() {
    let server = Server::start();
    let held = server.client().lock("A").acquire().await.unwrap();
    let hidden = Rules { hidden: Some(("/v1/", 503)), ..Rules::default() };
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let waiting = tokio::spawn(client.lock("A").ttl(Duration::from_secs(1)).acquire());
    until("it waits", || server.pending("A") > 0.5).await;
    gateway.set(hidden);
    until("its peer expires", || server.pending("A") < 0.5).await;
    gateway.set(Rules::default());
    until("it waits again", || server.pending("A") > 0.5).await;
    held.release().await.unwrap();
    soon("the grant", waiting).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_loss_tells_the_reason_of_the_operator() {
    let server = Server::start();
    let guard = server.client().lock("A").ttl(TTL).acquire().await.unwrap();
    server.ask("DELETE", &format!("/v1/peers/{}?reason=stuck+since+noon", guard.peer_id()));
    let loss = soon("the loss", guard.lost()).await;
    assert_eq!(loss.reason(), LossReason::Released);
    assert!(loss.detail().is_some_and(|detail| detail.contains("stuck since noon")), "{:?}", loss.detail());
    let message = loss.to_string();
    assert!(message.contains("): it was released by an operator at 2"), "{message}");
    assert!(message.ends_with(": stuck since noon. Someone else may hold it by now."), "{message}");

    // Nothing renews before the end of this one, so the release finds it.
    let guard = server.client().lock("A").acquire().await.unwrap();
    server.ask("DELETE", &format!("/v1/peers/{}?reason=needed+elsewhere", guard.peer_id()));
    match guard.release().await {
        Err(Error::Lost(loss)) => assert!(loss.to_string().contains("needed elsewhere"), "{loss}"),
        other => panic!("{other:?}"),
    }

    let peer = server.client().new_peer(MINUTE).await.unwrap();
    server.ask("DELETE", &format!("/v1/peers/{peer}?reason=enough"));
    let error = server.client().heartbeat(peer, MINUTE).await.unwrap_err();
    assert!(error.to_string().contains("enough"), "{error}");
}

#[tokio::test]
async fn a_lock_that_is_taken_from_a_live_peer_is_lost() {
    let server = Server::start();
    for taken in ["/v1/peers/{}/locks/C", "/v1/semaphores/C?force=true"] {
        let guard = server.client().lock("A").and("C", 2).ttl(TTL).acquire().await.unwrap();
        server.ask("DELETE", &taken.replace("{}", &guard.peer_id().to_string()));
        let loss = soon("the loss", guard.lost()).await;
        assert_eq!(loss.reason(), LossReason::Released);
        assert!(loss.to_string().contains("took the lock on \"C\""), "{loss}");
        assert!(matches!(guard.release().await, Err(Error::Lost(_))));
        server.until_no_peers().await;
        assert_eq!(server.remainder("A"), 1, "the other one is released");
    }
}

#[tokio::test]
async fn making_a_peer_is_repeated_and_makes_one() {
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules { lost_answers: 2, ..Rules::default() });
    let client = Client::new(gateway.url()).unwrap();
    client.new_peer(MINUTE).await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/peers"; 3]);
    assert_eq!(server.peers(), 1);

    // A repeat comes no sooner than after 50 ms. What the first request made has ended by then, so there is a third.
    gateway.set(Rules { lost_answers: 1, ..Rules::default() });
    client.new_peer(Duration::from_millis(20)).await.unwrap();
    assert_eq!(gateway.requests(), ["POST /v1/peers"; 6]);
}

#[tokio::test]
async fn a_token_is_live_as_long_as_its_grant() {
    let server = Server::start();
    let client = server.client();
    let guard = client.lock("/& ü").acquire().await.unwrap();
    let token = guard.token().unwrap();
    assert!(client.is_token_live("/& ü", token).await.unwrap());
    assert!(!client.is_token_live("A", token).await.unwrap());
    guard.release().await.unwrap();
    assert!(!client.is_token_live("/& ü", token).await.unwrap());
    let error = client.is_token_live("Z", token).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownSemaphore { semaphore, .. } if semaphore == "Z"), "{error}");
}

#[tokio::test]
async fn what_happens_is_told() {
    let server = Server::start();
    let client = server.client();
    let mut events = client.events("/v1/events?semaphore=A").await.unwrap();
    let guard = client.lock("A").and("C", 1).acquire().await.unwrap();
    let event = soon("an event", events.next()).await.unwrap().unwrap();
    assert_eq!((&*event.kind, &event.data["peer"]), ("granted", &Value::from(guard.peer_id().to_string())));
    assert!(event.id.is_some());
    guard.release().await.unwrap();
    assert_eq!(soon("an event", events.next()).await.unwrap().unwrap().kind, "released");
    let error = client.events("/v1/events?kind=x").await.unwrap_err();
    assert!(matches!(&error, Error::Problem { code, .. } if code == "invalid_request"), "{error}");
    drop(server);
    let end = soon("the end", events.next()).await;
    assert!(matches!(end, Ok(None) | Err(Error::Unreachable { .. })), "{end:?}");
}

#[tokio::test]
async fn refusals_of_one_request_for_several() {
    let server = Server::start();
    let error = server.client().lock("A").and("a", 1).acquire().await.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("Unknown semaphore \"a\". Known names that are near: \"A\""), "{message}");
    let error = server.client().lock("A").and("C", 4).acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::Failed(Error::CountExceedsMax(_))), "{error}");
    server.until_no_peers().await;
}

#[tokio::test]
async fn the_span_of_the_caller_goes_with_what_it_asks_for() {
    const SPAN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let server = Server::start();
    let gateway = Gateway::new(server.port, Rules::default());
    let client = Client::new(gateway.url()).unwrap();
    let guard = client.lock("A").ttl(TTL).trace_parent(SPAN).acquire().await.unwrap();
    until("it is renewed", || gateway.trace_parents().len() > 1).await;
    assert_eq!(gateway.trace_parents()[..2], [Some(SPAN.to_owned()), None], "a renewal is nobody's");
    guard.release().await.unwrap();
    let before = gateway.trace_parents().len();
    client.lock("A").trace_parent("no\r\nspan").acquire().await.unwrap().release().await.unwrap();
    assert!(gateway.trace_parents()[before..].iter().all(Option::is_none));
}
