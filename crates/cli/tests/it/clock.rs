//! The wall clock is set while the server runs, or the machine stands still: what is shown is right all the same, and
//! no lease is longer or shorter for it.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Launch, Server, WallClock, id};

const FILE: &str = "[semaphores]\nA = 1\nB = 1";
const HOUR: i64 = 3_600;

fn start(clock: &WallClock, file: &str) -> Server {
    Server::launch(clock.under(Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "info")))
}

#[test]
fn what_is_shown_follows_a_clock_that_is_set() {
    let mut clock = WallClock::new();
    let server = start(&clock, FILE);
    let session = json!({ "locks": { "A": 1 }, "expires_in": "10m" }).to_string();
    let (holder, held) = clock.during(|| id(&server.post("/v1/locks", &session).shape(201)));
    let (waiter, waits) = clock.during(|| id(&server.post("/v1/locks", &session).shape(202)));
    // Forward, back to where it was, and to before the start of the server.
    for ahead_s in [HOUR, 0, -24 * HOUR, -23 * HOUR, 1_000 * HOUR] {
        clock.set(ahead_s);
        let (held, waits) = (held.and(ahead_s), waits.and(ahead_s));
        let (peer, now) = clock.during(|| server.get(&format!("/v1/peers/{holder}")));
        now.has_date(peer.header("date").expect("a date"));
        let peer = peer.shape(200);
        held.has(&peer["created_at"]);
        held.has(&peer["locks"][0]["since"]);
        held.and(600).has(&peer["expires_at"]);
        let pending = &server.get(&format!("/v1/peers/{waiter}")).shape(200)["pending"];
        waits.has(&pending["since"]);
        held.has(&pending["blocked_by"][0]["since"]);
        let semaphore = server.get("/v1/semaphores/A").shape(200);
        held.has(&semaphore["holders"][0]["since"]);
        held.and(600).has(&semaphore["holders"][0]["expires_at"]);
        waits.has(&semaphore["queue"][0]["since"]);
        let token = peer["locks"][0]["token"].as_str().expect("a token");
        held.has(&server.get(&format!("/v1/semaphores/A/tokens/{token}")).shape(200)["since"]);
        for peer in server.get("/v1/peers").shape(200)["items"].as_array().expect("a list") {
            if peer["id"] == *holder { &held } else { &waits }.has(&peer["created_at"]);
        }
        let (first, now) = clock.during(|| server.stream("/v1/updates", "").next());
        now.has(&first.data["at"]);
        // The history was begun at the start; a step of it is a minute.
        let history = server.get("/v1/history?semaphore=A").shape(200);
        let at = humantime::parse_rfc3339(history["at"].as_str().expect("a time")).expect("a time");
        assert!(at <= clock.now() + Duration::from_secs(1), "{history}");
        assert!(at + Duration::from_mins(2) > clock.now(), "{history}");
        // A lease that begins now ends by the clock of now.
        let (peer, now) = clock.during(|| server.post("/v1/peers", r#"{"expires_in":"5m"}"#).shape(201));
        now.and(300).has(&peer["expires_at"]);
        let path = format!("/v1/peers/{}", id(&peer));
        let ((), now) = clock.during(|| server.delete(&path).is_empty());
        let detail = server.get(&path).problem(410, "peer_gone");
        let at =
            detail.split_once("was released at ").and_then(|(_, rest)| rest.split_once('Z')).expect("when").0;
        now.has(&json!(format!("{at}Z")));
    }
    // Nobody lost anything by it, and what was a wait of a moment still is.
    assert_eq!(server.remainder("A"), 0);
    server.post(&format!("/v1/peers/{holder}/heartbeat"), "").shape(200);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(server.get(&format!("/peers/{waiter}/is_acquired")).text(), "true");
    assert!(server.metric("throttle_wait_seconds_sum{semaphore=\"A\"}") < 600.0);
}

#[test]
fn an_event_keeps_the_time_at_which_it_happened() {
    let mut clock = WallClock::new();
    let server = start(&clock, FILE);
    let mut events = server.events("?kind=granted", None);
    let mut seen = Vec::new();
    for ahead_s in [0, HOUR, -HOUR] {
        clock.set(ahead_s);
        let (peer, now) = clock.during(|| server.v1_holder(&json!({ "A": 1 })));
        let event = events.next();
        now.has(&event.data["at"]);
        // It is the time that is shown of the lock, to the microsecond.
        let lock = &server.get(&format!("/v1/peers/{peer}")).shape(200)["locks"][0];
        assert_eq!(event.data["at"], lock["since"]);
        server.delete(&format!("/v1/peers/{peer}")).is_empty();
        seen.push(event);
    }
    clock.set(5 * HOUR);
    let mut resumed = server.events("?kind=granted", seen[0].id.as_deref());
    assert_eq!(resumed.take(2), seen[1..], "whoever reads them later reads the same");
}

#[test]
fn until_when_grants_are_held_back_goes_by_the_clock_of_now() {
    let mut clock = WallClock::new();
    let until = |server: &Server| {
        let answer = server.get("/readyz");
        let at =
            answer.text().split_once("Until ").and_then(|(_, rest)| rest.split_once(' ')).expect("when").0;
        json!(at)
    };
    let (server, begun) = clock.during(|| start(&clock, &format!("{FILE}\n[recovery]\nhold_grants = '1h'")));
    begun.and(HOUR).has(&until(&server));
    clock.set(-HOUR);
    begun.has(&until(&server));
}

#[test]
fn what_is_shown_is_right_after_the_server_stood_still() {
    let clock = WallClock::new();
    let server = start(&clock, FILE);
    let mut events = server.events("?kind=granted", None);
    let sleeper = server.v1_peer("1h");
    let (kept, begun) = clock.during(|| server.v1_holder(&json!({ "B": 1 })));
    events.next();
    let mut stood_still = 0;
    for _ in 0..2 {
        server.process.signal(Signal::STOP);
        thread::sleep(Duration::from_secs(2));
        server.process.signal(Signal::CONT);
        // More than that, but the signal takes a moment.
        stood_still += 1;
        let path = format!("/v1/peers/{sleeper}");
        let (peer, now) = clock.during(|| server.post(&format!("{path}/heartbeat"), "").shape(200));
        now.and(HOUR).has(&peer["expires_at"]);
        let (peer, now) = clock.during(|| server.v1_holder(&json!({ "A": 1 })));
        let lock = &server.get(&format!("/v1/peers/{peer}")).shape(200)["locks"][0];
        now.has(&lock["since"]);
        let event = events.next();
        assert_eq!(event.data["at"], lock["since"]);
        let ((), now) = clock.during(|| server.delete(&format!("/v1/peers/{peer}")).is_empty());
        assert!(
            server.get(&format!("/v1/peers/{peer}")).problem(410, "peer_gone").contains("was released at")
        );
        let first = server.stream("/v1/updates", "").next();
        let last = first.data["events"].as_array().and_then(|events| events.last()).expect("an event");
        now.has(&last["at"]);
    }
    // A lease that was running has moved by the pauses, and what is shown of it has as well.
    let shown = server.get(&format!("/v1/peers/{kept}")).shape(200);
    let at = |field: &str| humantime::parse_rfc3339(shown[field].as_str().expect("a time")).expect("a time");
    assert_eq!(at("expires_at").duration_since(at("created_at")).expect("later"), Duration::from_mins(10));
    let moved = begun.and(stood_still);
    assert!(moved.begins_before(at("created_at")), "{shown}");
}
