//! `GET /v1/events`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Events, Sent, Server, request};

const FILE: &str = "[semaphores]\nA = 1\nB = { max = 5, level = 1 }\n\"a,b\" = 1";

/// What an event says, with what a test cannot foresee checked and taken out.
#[track_caller]
fn said(sent: &Sent) -> Value {
    let mut data = sent.data.clone();
    let fields = data.as_object_mut().expect("an object");
    let mut take = |name: &str| fields.remove(name).map(|value| value.as_str().expect("a string").to_owned());
    let at = take("at").expect("when");
    assert!(at.ends_with('Z') && humantime::parse_rfc3339(&at).is_ok(), "{at}");
    for duration in ["waited", "held"].into_iter().filter_map(take) {
        assert!(humantime::parse_duration(&duration).is_ok(), "{duration}");
    }
    if let Some(token) = fields.remove("token") {
        assert!(token.as_str().is_some_and(|token| token.parse::<u64>().is_ok()), "{token}");
    }
    assert_eq!(fields["kind"], sent.event);
    data
}

/// The names of those fields of an event that `said` takes out.
fn unforeseen(sent: &Sent) -> Vec<&str> {
    let names = ["token", "waited", "held"];
    names.into_iter().filter(|name| sent.data.get(name).is_some()).collect()
}

/// Acquires and releases a lock many times, in one go.
fn cycles(server: &Server, peer: &str, semaphore: &str, count: usize) {
    let locks = json!({"locks": {semaphore: 1}}).to_string();
    let cycle = request("PUT", &format!("/v1/peers/{peer}/locks"), &locks)
        + &request("DELETE", &format!("/v1/peers/{peer}/locks/{semaphore}"), "");
    let mut client = server.connect();
    for _ in 0..count {
        client.send(&cycle);
        client.answer().shape(200);
        client.answer().is_empty();
    }
}

#[test]
fn every_kind_has_its_fields() {
    let server = Server::start(FILE);
    let mut events = server.events("", None);
    let holder = server.v1_holder(&json!({"A": 1}));
    let granted = events.next();
    assert_eq!(said(&granted), json!({"kind": "granted", "peer": holder, "semaphore": "A", "count": 1}));
    assert_eq!(unforeseen(&granted), ["token", "waited"]);
    assert_eq!(granted.data["waited"], "0s");
    let token = server.get(&format!("/v1/peers/{holder}")).shape(200)["locks"][0]["token"].clone();
    assert_eq!(granted.data["token"], token);

    let waiter = server.v1_peer("10m");
    let path = format!("/v1/peers/{waiter}/locks");
    server.put(&path, r#"{"locks":{"A":1},"priority":3}"#).shape(202);
    assert_eq!(
        said(&events.next()),
        json!({"kind": "queued", "peer": waiter, "semaphore": "A", "count": 1, "priority": 3})
    );
    server.delete(&format!("/v1/peers/{holder}/locks/A")).is_empty();
    let released = events.next();
    assert_eq!(
        said(&released),
        json!({"kind": "released", "peer": holder, "semaphore": "A", "count": 1, "cause": "released"})
    );
    assert_eq!((unforeseen(&released), &released.data["token"]), (vec!["token", "held"], &token));
    assert_eq!(
        said(&events.next()),
        json!({"kind": "granted", "peer": waiter, "semaphore": "A", "count": 1})
    );
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(said(&events.next()), json!({"kind": "peer_ended", "peer": holder, "cause": "released"}));

    let gone = server.v1_peer("10m");
    server.v1_locks(&gone, &json!({"A": 1})).shape(202);
    server.delete(&format!("/v1/peers/{gone}/locks/A")).is_empty();
    assert_eq!(events.next().event, "queued");
    assert_eq!(
        said(&events.next()),
        json!({"kind": "withdrawn", "peer": gone, "semaphore": "A", "count": 1, "cause": "released"})
    );

    server.v1_locks(&gone, &json!({"B": 3})).shape(200);
    server.v1_locks(&gone, &json!({"B": 2})).shape(200);
    assert_eq!(events.next().event, "granted");
    assert_eq!(said(&events.next()), json!({"kind": "shrunk", "peer": gone, "semaphore": "B", "count": 2}));

    server.delete(&format!("/v1/peers/{gone}?reason=stuck+since+noon")).is_empty();
    let by_operator = json!({"peer": gone, "cause": "operator", "reason": "stuck since noon"});
    for (kind, more) in [("released", json!({"semaphore": "B", "count": 2})), ("peer_ended", json!({}))] {
        let mut expected = by_operator.clone();
        let fields = expected.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        fields.insert("kind".to_owned(), kind.into());
        assert_eq!(said(&events.next()), expected);
    }

    server.post("/restore", r#"{"expires_in":"1s","peer_id":7,"acquired":{"A":1}}"#).is(200, "Ok");
    let restored = events.next();
    assert_eq!(said(&restored), json!({"kind": "restored", "peer": "7", "semaphore": "A", "count": 1}));
    assert_eq!(unforeseen(&restored), Vec::<&str>::new(), "a restore mints no token");
    assert_eq!(
        said(&events.next()),
        json!({"kind": "overcommitted", "semaphore": "A", "count": 2, "max": 1})
    );
    let expired = events.next();
    assert_eq!(
        said(&expired),
        json!({"kind": "expired", "peer": "7", "semaphore": "A", "count": 1, "cause": "expired"})
    );
    assert_eq!(unforeseen(&expired), ["held"]);
    assert_eq!(said(&events.next()), json!({"kind": "peer_ended", "peer": "7", "cause": "expired"}));
}

#[test]
fn a_stream_resumes_without_loss_or_repeat() {
    let server = Server::start(FILE);
    let mut first = server.events("", None);
    let peer = server.v1_peer("10m");
    // More than two pages of the ring, and a part of one.
    cycles(&server, &peer, "A", 300);
    let all = first.take(600);
    for pair in all.windows(2) {
        assert_eq!(pair[0].number() + 1, pair[1].number());
        assert_ne!(pair[0].event, pair[1].event, "granted and released in turn");
    }
    let instance = server.get("/health").header("throttle-instance").expect("an instance").to_owned();
    let id = |sent: &Sent| sent.id.clone().expect("an id");
    assert!(all.iter().all(|sent| id(sent).starts_with(&format!("{instance}-"))));
    for last in [0, 1, 254, 255, 256, 257, 300, 511, 512, 598] {
        let mut resumed = server.events("", Some(&id(&all[last])));
        assert_eq!(resumed.take(599 - last), all[last + 1..], "after {last}");
    }
    // At the very end it waits for what happens next, and so does the stream that was open all the while.
    let mut resumed = server.events("", Some(&id(&all[599])));
    server.delete(&format!("/v1/peers/{peer}")).is_empty();
    let last = resumed.next();
    assert_eq!((last.event.as_str(), last.number()), ("peer_ended", all[599].number() + 1));
    assert_eq!(first.next(), last);
}

#[test]
fn a_stream_without_an_event_yet_can_be_resumed() {
    let server = Server::start(FILE);
    let mut events = server.events("?semaphore=B", None);
    // Only the place of the stream comes, by which it can be resumed.
    server.v1_holder(&json!({"B": 1}));
    events.next();
    let mut silent = server.events("?semaphore=B", None);
    let holder = server.v1_holder(&json!({"B": 1}));
    let first = silent.next();
    let instance = server.get("/health").header("throttle-instance").expect("an instance").to_owned();
    let place = format!("{instance}-{}", first.number() - 1);
    assert_eq!(first.data["peer"], *holder);
    assert_eq!(server.events("", Some(&place)).next(), first);
}

#[test]
fn what_is_no_longer_kept_is_told() {
    let server = Server::start(&format!("{FILE}\n[limits]\nevents = 10"));
    let mut events = server.events("", None);
    let peer = server.v1_peer("10m");
    cycles(&server, &peer, "A", 500);
    let all = events.take(1000);
    let mut late = server.events("", all[0].id.as_deref());
    let missed = late.next();
    assert_eq!((missed.event.as_str(), &missed.data["reason"]), ("missed", &json!("too_old")));
    let oldest = late.next();
    assert_eq!(missed.data["missed"], oldest.number() - all[1].number());
    assert_eq!(missed.number() + 1, oldest.number(), "and the notice itself can be resumed after");
    assert!(all[999].number() - oldest.number() >= 9, "as many are kept as the setting says");
    let rest = late.take(usize::try_from(all[999].number() - oldest.number()).expect("few"));
    assert_eq!(rest.last(), all.last());
    assert!(server.events("", missed.id.as_deref()).next() == oldest);
}

#[test]
fn as_many_are_kept_as_the_file_says() {
    for events in [10, 600] {
        let server = Server::start(&format!("{FILE}\n[limits]\nevents = {events}"));
        let mut open = server.events("", None);
        let peer = server.v1_peer("10m");
        cycles(&server, &peer, "A", 700);
        let all = open.take(1400);
        let missed = server.events("", all[0].id.as_deref()).next();
        let kept = all[1399].number() - missed.number();
        // They are forgotten by the page, which has 256.
        assert!((events..events + 512).contains(&kept), "{kept} are kept");
    }
}

#[test]
fn a_silent_stream_is_kept_alive_and_tells_its_place() {
    let server = Server::start(&format!("{FILE}\n[limits]\nevent_keep_alive = '50ms'"));
    let mut all = server.events("", None);
    let mut silent = server.events("?semaphore=B", None);
    // The first block is the greeting.
    let greeting = silent.block();
    assert!(greeting.starts_with("retry: 1000\nid: "), "{greeting}");
    let peer = server.v1_holder(&json!({"A": 1}));
    let granted = all.next().id.expect("an id");
    let expected = format!(": nothing new\nid: {granted}");
    // One that was on its way already has an earlier place.
    let comments = std::iter::repeat_with(|| silent.block());
    let reached =
        comments.take(1000).inspect(|block| assert!(block.starts_with(": nothing new\nid: "), "{block}"));
    assert!(reached.into_iter().any(|block| block == expected), "it tells the place behind what it left out");
    server.delete(&format!("/v1/peers/{peer}/locks/A")).is_empty();
    let resumed = server.events("", Some(&granted)).next();
    assert_eq!(resumed.event, "released");
}

#[test]
fn an_id_of_another_server_is_told() {
    let server = Server::start(FILE);
    let instance = server.get("/health").header("throttle-instance").expect("an instance").to_owned();
    let foreign = ["other-1", "1", "-", "x", "\u{fc}", &format!("{instance}-1"), &format!("{instance}-x")];
    for id in foreign.into_iter().chain([&*format!("{instance}-{}", u64::MAX)]) {
        let mut events = server.events("", Some(id));
        let missed = events.next();
        assert_eq!((missed.event.as_str(), &missed.data["reason"]), ("missed", &json!("unknown_id")), "{id}");
        assert_eq!(missed.data["missed"], Value::Null);
        // All that this server has done so far: it made its semaphores.
        let made: Vec<_> = events.take(3).iter().map(said).collect();
        let expected = [("A", 1), ("B", 5), ("a,b", 1)]
            .map(|(a, max)| json!({"kind": "resized", "semaphore": a, "max": max, "by": "configuration"}));
        assert_eq!(made, expected);
    }
}

/// Makes so many events, of such a size, that no reader's buffers hold them.
fn flood(server: &Server, peer: &str, semaphore: &str) {
    cycles(server, peer, semaphore, 2500);
}

#[test]
fn a_slow_reader_is_dropped_with_a_notice_while_grants_go_on() {
    let long = "x".repeat(8 * 1024);
    let server = Server::start(&format!("[semaphores]\n{long} = 1\n[limits]\nevents = 10"));
    let mut slow = server.events("", None);
    let mut lost = server.events("", None);
    let peer = server.v1_peer("10m");
    cycles(&server, &peer, &long, 1);
    let first = slow.take(2);
    lost.take(2);
    // Each of these is granted, although two readers do not read.
    flood(&server, &peer, &long);
    let mut read = slow.rest();
    let notice = read.pop().expect("a notice");
    assert_eq!((notice.event.as_str(), &notice.data["reason"]), ("dropped", &json!("too_slow")));
    assert_eq!(notice.id, None, "so that the client resumes after what it has read");
    for (sent, number) in read.iter().zip(first[1].number() + 1..) {
        assert_eq!(sent.number(), number, "nothing is left out before the notice");
    }
    let missed = server.events("", Some(&slow.last_id)).next();
    assert_eq!(missed.event, "missed");
    assert!(missed.data["missed"].as_u64() >= notice.data["missed"].as_u64());
    // One that never reads again is counted when it is gone; or earlier, if its notice found room on the way.
    drop(lost);
    server.until_metric("throttle_event_streams_dropped_total", 2.0);
    server.until_metric("throttle_event_streams", 0.0);
}

#[test]
fn filters() {
    let server = Server::start(FILE);
    let mut of_a = server.events("?semaphore=A", None);
    let mut of_two = server.events("?semaphore=B&semaphore=a,b", None);
    let mut granted = server.events("?kind=granted", None);
    let mut several = server.events("?kind=queued,released&kind=peer_ended", None);
    let mut both = server.events("?semaphore=B&kind=released", None);
    let mut later = server.events("?semaphore=not+yet", None);
    let peer = server.v1_holder(&json!({"A": 1, "B": 1, "a,b": 1}));
    server.delete(&format!("/v1/peers/{peer}")).is_empty();
    let names = |events: &mut Events, count: usize| {
        let mut found: Vec<_> = events
            .take(count)
            .into_iter()
            .map(|sent| format!("{} {}", sent.event, sent.data["semaphore"].as_str().unwrap_or("-")))
            .collect();
        found.sort_unstable();
        found
    };
    assert_eq!(names(&mut of_a, 2), ["granted A", "released A"]);
    assert_eq!(names(&mut of_two, 4), ["granted B", "granted a,b", "released B", "released a,b"]);
    assert_eq!(names(&mut granted, 3), ["granted A", "granted B", "granted a,b"]);
    assert_eq!(names(&mut several, 4), ["peer_ended -", "released A", "released B", "released a,b"]);
    assert_eq!(names(&mut both, 1), ["released B"]);
    // Nothing else was on its way to any of them.
    let open = [of_a, of_two, granted, several, both];
    #[cfg(unix)]
    {
        server.stop();
        for mut events in open {
            assert_eq!(events.rest(), []);
        }
        assert_eq!(later.rest(), []);
    }
    #[cfg(not(unix))]
    drop((open, &mut later));
}

#[test]
fn wrong_queries() {
    let server = Server::start(FILE);
    for (query, part) in [
        ("?kind=nope", "\"nope\" is no kind of event. Known kinds: granted, queued"),
        ("?kind=granted,", "\"\" is no kind"),
        ("?kind=", "\"\" is no kind"),
        ("?kind=Granted", "\"Granted\""),
        ("?kind=granted&kind=x", "\"x\""),
        ("?semaphor=A", "no query parameter \"semaphor\""),
        ("?A", "no query parameter \"A\""),
    ] {
        let detail = server.get(&format!("/v1/events{query}")).problem(400, "invalid_request");
        assert!(detail.contains(part), "{detail}");
    }
    server.post("/v1/events", "").problem(405, "method_not_allowed");
    server.until_metric("throttle_event_streams", 0.0);
}

#[test]
fn the_number_of_streams_is_bounded() {
    let server = Server::start(&format!("{FILE}\n[limits]\nevent_streams = 2"));
    let mut first = server.events("", None);
    let second = server.events("", None);
    server.until_metric("throttle_event_streams", 2.0);
    let detail = server.get("/v1/events").problem(429, "limit_reached");
    assert!(detail.contains("limit of 2 event streams"), "{detail}");
    drop(second);
    server.until_metric("throttle_event_streams", 1.0);
    let mut third = server.events("", None);
    server.v1_holder(&json!({"A": 1}));
    assert_eq!(first.next(), third.next());
    server.until_metric("throttle_event_streams_dropped_total", 0.0);
}

#[cfg(unix)]
#[test]
fn shutdown_ends_streams() {
    use rustix::process::Signal;

    let mut server = Server::start(FILE);
    let mut streams: Vec<_> = (0..20).map(|_| server.events("", None)).collect();
    server.v1_holder(&json!({"A": 1}));
    let start = Instant::now();
    server.process.signal(Signal::TERM);
    for events in &mut streams {
        // What happened before is still sent.
        let rest = events.rest();
        assert_eq!(rest.iter().map(|sent| sent.event.as_str()).collect::<Vec<_>>(), ["granted"]);
    }
    assert_eq!(server.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[cfg(unix)]
#[test]
fn a_reader_that_does_not_read_holds_up_no_shutdown() {
    let long = "x".repeat(8 * 1024);
    let server = Server::start(&format!("[semaphores]\n{long} = 1"));
    let slow = server.events("", None);
    let peer = server.v1_peer("10m");
    flood(&server, &peer, &long);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(slow);
}

#[test]
fn semaphores_that_requests_change_are_told() {
    let server = Server::start("");
    let mut events = server.events("", None);
    server.put("/v1/semaphores/A", r#"{"max": 2}"#).shape(201);
    assert_eq!(said(&events.next()), json!({"kind": "resized", "semaphore": "A", "max": 2}));
    server.v1_holder(&json!({"A": 1}));
    assert_eq!(events.next().event, "granted");
    server.delete("/v1/semaphores/A?force=true").is_empty();
    let released = said(&events.next());
    assert_eq!((&released["kind"], &released["cause"]), (&json!("released"), &json!("removed")));
    assert_eq!(said(&events.next()), json!({"kind": "removed", "semaphore": "A"}));
}
