//! What changes, for those who look on.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Events, Server, until};

fn updates(server: &Server) -> Events {
    let mut updates = server.stream("/v1/updates", "");
    let first = update(&mut updates);
    assert_eq!((&first["changed"], &first["removed"]), (&json!([]), &json!([])));
    updates
}

#[track_caller]
fn update(updates: &mut Events) -> Value {
    let sent = updates.next();
    assert_eq!(sent.event, "update");
    sent.data
}

/// The next update that tells of a change.
fn change(updates: &mut Events) -> Value {
    loop {
        let update = update(updates);
        if update["events"] != json!([]) {
            return update;
        }
    }
}

#[test]
fn the_first_tells_of_the_latest_events() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");
    let peer = server.v1_holder(&json!({ "A": 1 }));
    let mut updates = server.stream("/v1/updates", "");
    let first = update(&mut updates);
    assert_eq!((&first["semaphores"], &first["peers"]), (&json!(2), &json!(1)));
    let events = first["events"].as_array().expect("a list");
    let last = events.last().expect("an event");
    assert_eq!(
        (&last["kind"], &last["peer"], &last["semaphore"]),
        (&json!("granted"), &json!(peer), &json!("A"))
    );
    let numbers: Vec<u64> = events.iter().map(|event| event["number"].as_u64().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
    assert!(numbers.iter().all(|&number| number < 1 << 53));
}

#[test]
fn what_changed_is_told_as_it_is_now() {
    let server = Server::start("[semaphores]\nA = 2\nB = 1");
    let mut updates = updates(&server);
    let peer = server.v1_holder(&json!({ "A": 2 }));
    let waiter = server.v1_peer("10m");
    server.v1_locks(&waiter, &json!({ "A": 1 })).shape(202);
    let mut told = Vec::new();
    let mut kinds = Vec::new();
    let last = loop {
        let update = change(&mut updates);
        assert_eq!((&update["is_partial"], &update["skipped"]), (&json!(false), &json!(0)));
        told.extend(update["changed_peers"].as_array().expect("a list").clone());
        kinds.extend(update["events"].as_array().expect("a list").iter().map(|event| event["kind"].clone()));
        if kinds.contains(&json!("queued")) {
            break update;
        }
    };
    assert!(told.contains(&json!(peer)) && told.contains(&json!(waiter)));
    // The same shape as everywhere.
    let mut shape = server.get("/v1/semaphores").shape(200)["items"][0].clone();
    let mut changed = last["changed"][0].clone();
    for semaphore in [&mut shape, &mut changed] {
        assert_eq!(
            (&semaphore["name"], &semaphore["acquired"], &semaphore["waiting"]),
            (&json!("A"), &json!(2), &json!(1))
        );
        semaphore["longest_wait"] = Value::Null;
    }
    assert_eq!(changed, shape);

    server.delete("/v1/semaphores/B").is_empty();
    assert_eq!(change(&mut updates)["removed"], json!(["B"]));
}

#[test]
fn many_changes_are_few_updates() {
    let server = Server::start("[semaphores]\nA = 1\n'many/*' = 1\n[limits]\nlocks_per_request = 300");
    let mut updates = updates(&server);
    let begin = Instant::now();
    let peer = server.v1_peer("10m");
    let mut cycles = 0;
    while begin.elapsed().as_millis() < 1_000 {
        server.v1_locks(&peer, &json!({ "A": 1 })).shape(200);
        server.delete(&format!("/v1/peers/{peer}/locks/A")).is_empty();
        cycles += 1;
    }
    let (mut told, mut number) = (0, 0);
    while told < 2 * cycles {
        let update = change(&mut updates);
        let events = update["events"].as_array().expect("a list");
        assert!(events.len() <= 20);
        told += events.len() as u64 + update["skipped"].as_u64().expect("a number");
        number += 1;
    }
    // A server that stands still for a while tells less often, never more.
    assert!(number <= begin.elapsed().as_millis() / 250 + 1, "{number}");
    // More than an update tells of.
    let locks: serde_json::Map<_, _> = (0..300).map(|n| (format!("many/{n}"), json!(1))).collect();
    server.v1_locks(&peer, &Value::Object(locks)).shape(200);
    let mut changed = 0;
    loop {
        let update = change(&mut updates);
        changed = changed.max(update["changed"].as_array().expect("a list").len());
        if update["is_partial"] == true {
            break;
        }
    }
    assert!(changed <= 200);
}

#[test]
fn without_a_change_the_server_says_that_it_lives() {
    let server = Server::start("");
    let mut updates = updates(&server);
    let update = update(&mut updates);
    assert_eq!((&update["events"], &update["changed"]), (&json!([]), &json!([])));
}

#[test]
fn readers_are_limited_and_are_no_event_streams() {
    let server = Server::start("[semaphores]\nA = 1\n[limits]\nevent_streams = 1");
    let first = updates(&server);
    let detail = server.get("/v1/updates").problem(429, "limit_reached");
    assert!(detail.contains("the limit of 1 readers of updates"), "{detail}");
    server.until_metric("throttle_event_streams", 0.0);
    let events = server.events("", None);
    server.until_metric("throttle_event_streams", 1.0);
    drop((first, events));
    // Somebody leaves: that is noticed when something is sent, or the connection ends.
    until("there is room again", || {
        let mut client = server.send("GET", "/v1/updates", "");
        client.answer_to_head().status == 200
    });
}

#[cfg(unix)]
#[test]
fn updates_end_when_the_server_does() {
    let server = Server::start("");
    let mut updates = updates(&server);
    server.stop();
    assert!(updates.rest().is_empty());
}
