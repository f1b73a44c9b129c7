//! The dialect of the clients 0.2.0 to 0.5.13.

use serde_json::json;

use crate::support::{Server, request};

const FILE: &str = "
[semaphores]
A = 1
B = { max = 5, level = 1 }
C = { max = 2, level = 2 }
'/&' = 1
'ü b' = 3
is_acquired = 1
paused = 0
big = 9223372036854775807
";

#[test]
fn a_session_from_its_first_to_its_last_request() {
    let server = Server::start(FILE);
    let peer = server.post("/new_peer", r#"{"expires_in":"5m"}"#);
    assert_eq!(peer.status, 200);
    let peer: u64 = peer.number();
    server.heartbeat(peer, "5m").is(200, "Ok");

    let granted = server.lock(peer, "A", 1);
    granted.is(200, &peer.to_string());
    assert_eq!(granted.number::<u64>(), peer);
    assert!(granted.token() < 1 << 53);
    server.get(&format!("/peers/{peer}/is_acquired")).is(200, "true");
    server.get("/remainder?semaphore=A").is(200, "0");
    let list = server.get("/peers/");
    assert_eq!((list.status, list.header("content-type")), (200, Some("application/json")));
    assert_eq!(list.json(), json!([{"id": peer}]));

    server.delete(&format!("/peers/{peer}/A")).is(200, "Ok");
    server.get("/remainder?semaphore=A").is(200, "1");
    server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
    server.delete(&format!("/peers/{peer}")).is(200, "\"Peer not found\"");
    server.post("/remove_expired", "").is(200, "0");
    server.get("/peers/").is(200, "[]");
}

#[test]
fn what_is_not_known() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    server.heartbeat(42, "5m").is(400, "Unknown peer");
    server.lock(42, "A", 1).is(400, "Unknown peer");
    server.delete("/peers/42/A").is(400, "Unknown peer");
    server.get("/peers/42/is_acquired").is(400, "Unknown peer");
    server.lock(peer, "nope", 1).is(400, "Unknown semaphore");
    server.delete(&format!("/peers/{peer}/nope")).is(400, "Unknown semaphore");
    server.get("/remainder?semaphore=nope").is(400, "Unknown semaphore");
    let restore = r#"{"expires_in":"5m","peer_id":7,"acquired":{"nope":1}}"#;
    server.post("/restore", restore).is(400, "Unknown semaphore");
    // In this order: the semaphore, the count above max, the peer, the count below 1.
    server.lock(42, "nope", 9).is(400, "Unknown semaphore");
    server.lock(42, "A", 2).says(409, "Lock can never be acquired.");
    server.lock(42, "A", 0).is(400, "Unknown peer");
    server.lock(peer, "A", 0).says(400, "at least 1");
    server.lock(peer, "A", -3).says(400, "not -3");
}

#[test]
fn a_second_request_waits_until_the_first_is_released() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "5m");
    let waiter = server.peer("5m");
    let pending = server.lock(waiter, "A", 1);
    pending.is(202, &waiter.to_string());
    assert_eq!(pending.header("throttle-fencing-token"), None);
    server.get(&format!("/peers/{waiter}/is_acquired")).is(200, "false");
    server.release(holder, "A");
    server.get(&format!("/peers/{waiter}/is_acquired")).is(200, "true");
    server.lock(waiter, "A", 1).is(200, &waiter.to_string());
    // With its peer goes all that it holds.
    server.delete(&format!("/peers/{waiter}"));
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn asking_again_is_a_question() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    let token = server.lock(peer, "B", 3).token();
    assert_eq!(server.lock(peer, "B", 3).token(), token);
    assert_eq!(server.remainder("B"), 2);
    // A smaller count shrinks the lock, which keeps its token and wakes who waits.
    let waiter = server.peer("5m");
    server.lock(waiter, "B", 4).is(202, &waiter.to_string());
    assert_eq!(server.lock(peer, "B", 1).token(), token);
    server.get(&format!("/peers/{waiter}/is_acquired")).is(200, "true");
    assert_eq!(server.remainder("B"), 0);
    // To want more while holding some would be a way into a deadlock.
    server.lock(peer, "B", 2).says(409, "Lock hierarchy violation");
    assert_eq!(server.lock(peer, "B", 1).token(), token);
}

#[test]
fn a_pending_request_can_be_asked_for_again_and_shrunk() {
    let server = Server::start(FILE);
    server.holder("B", 4, "5m");
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "B", 3).status, 202);
    assert_eq!(server.lock(peer, "B", 3).status, 202);
    server.until_waiting("B", 1);
    server.lock(peer, "B", 4).says(409, "Lock hierarchy violation");
    assert_eq!(server.lock(peer, "B", 1).status, 200);
    assert_eq!(server.remainder("B"), 0);
}

#[test]
fn a_count_above_max_can_never_be_granted() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    let refused = server.lock(peer, "B", 6);
    assert_eq!(refused.status, 409);
    assert!(refused.text().starts_with("Lock can never be acquired."), "{}", refused.text());
    for part in ["block forever", "6", "5"] {
        refused.says(409, part);
    }
    server.get(&format!("/peers/{peer}/is_acquired")).is(200, "true");
    server.lock(peer, "B", i64::MAX).says(409, &i64::MAX.to_string());
    assert_eq!(server.lock(peer, "big", i64::MAX).status, 200);
    assert_eq!(server.remainder("big"), 0);
    // A paused semaphore has no count that is too large: all wait.
    let patient = server.peer("5m");
    assert_eq!(server.lock(patient, "paused", 1_000).status, 202);
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let server = Server::start(FILE);
    let holder = server.holder("B", 1, "5m");
    let large = server.peer("5m");
    assert_eq!(server.lock(large, "B", 5).status, 202);
    let small = server.peer("5m");
    assert_eq!(server.lock(small, "B", 1).status, 202, "it would fit, but somebody waits ahead of it");
    server.release(holder, "B");
    server.get(&format!("/peers/{large}/is_acquired")).is(200, "true");
    server.get(&format!("/peers/{small}/is_acquired")).is(200, "false");
    server.release(large, "B");
    server.get(&format!("/peers/{small}/is_acquired")).is(200, "true");
}

#[test]
fn levels_go_down() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    for semaphore in ["C", "B", "A"] {
        assert_eq!(server.lock(peer, semaphore, 1).status, 200, "{semaphore}");
    }
    let other = server.peer("5m");
    assert_eq!(server.lock(other, "B", 1).status, 200);
    let refused = server.lock(other, "C", 1);
    for part in ["Lock hierarchy violation", "level 1", "level 2"] {
        refused.says(409, part);
    }
    let equal = server.peer("5m");
    assert_eq!(server.lock(equal, "is_acquired", 1).status, 200);
    server.lock(equal, "paused", 1).says(409, "Lock hierarchy violation");
}

#[test]
fn only_one_request_can_be_pending() {
    let server = Server::start(FILE);
    server.holder("B", 5, "5m");
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "B", 1).status, 202);
    server.lock(peer, "A", 1).says(409, "already waits");
    server.release(peer, "B");
    assert_eq!(server.lock(peer, "A", 1).status, 200);
    server.until_waiting("B", 0);
}

#[test]
fn one_lock_is_released_and_the_others_stay() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    server.lock(peer, "B", 2);
    server.lock(peer, "A", 1);
    server.release(peer, "B");
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 5));
    // What is not held can be released too.
    server.release(peer, "B");
    server.release(peer, "C");
    assert_eq!((server.remainder("A"), server.remainder("C")), (0, 2));
}

#[test]
fn names_are_decoded_after_the_path_is_split() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "%2F%26", 1).status, 200);
    server.get("/remainder?semaphore=%2F%26").is(200, "0");
    server.delete(&format!("/peers/{peer}/%2f%26")).is(200, "Ok");
    assert_eq!(server.lock(peer, "%C3%BC%20b", 1).status, 200);
    server.get("/remainder?semaphore=%C3%BC+b").is(200, "2");
    server.release(peer, "%C3%BC%20b");
    // In a path a plus is a plus.
    server.lock(peer, "%C3%BC+b", 1).is(400, "Unknown semaphore");
    // A semaphore may be called like a route.
    assert_eq!(server.lock(peer, "is_acquired", 1).status, 200);
    server.get(&format!("/peers/{peer}/is_acquired")).is(200, "true");
    server.release(peer, "is_acquired");
    assert_eq!(server.remainder("is_acquired"), 1);
}

#[test]
fn every_grant_has_a_larger_token() {
    let server = Server::start(FILE);
    let mut last = 1_000_000_000_000_000;
    for _ in 0..5 {
        let peer = server.peer("5m");
        let token = server.lock(peer, "A", 1).token();
        assert!(token > last, "{token} after {last}");
        last = token;
        server.delete(&format!("/peers/{peer}"));
    }
}

#[test]
fn durations_are_read_as_people_and_forms_write_them() {
    let server = Server::start(FILE);
    server.holder("A", 1, "5m");
    for expires_in in ["250ms 10s", "1h 30m", "2days", "315576000s", "1 month", "10years", "1m40s"] {
        server.peer(expires_in);
    }
    let peer = server.peer("5m");
    // The form of `1m 40s`. Of the three only the last one waits for less than minutes.
    for query in ["expires_in=1m+40s", "expires_in=1m%2040s&block_for=0s", "block_for=1ms&expires_in=1m+40s"]
    {
        server.put(&format!("/peers/{peer}/A?{query}"), "1").is(202, &peer.to_string());
    }
    // Other content types than the bare one say JSON as well.
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
        let mut client = server.connect();
        let request = request("POST", "/new_peer", r#"{"expires_in":"5m","more":[1]}"#);
        client.send(request.replace("application/json", content_type));
        assert_eq!(client.answer().status, 200, "{content_type}");
    }
}

#[test]
fn a_lease_of_no_length_is_over_after_its_operation() {
    let server = Server::start(FILE);
    let peer = server.peer("0s");
    server.heartbeat(peer, "5m").is(400, "Unknown peer");
    let peer = server.holder("A", 1, "5m");
    server.heartbeat(peer, "0s").is(200, "Ok");
    server.heartbeat(peer, "5m").is(400, "Unknown peer");
    assert_eq!(server.remainder("A"), 1);
    let peer = server.peer("5m");
    server.put(&format!("/peers/{peer}/A?expires_in=0s"), "1").is(200, &peer.to_string());
    assert_eq!(server.remainder("A"), 1);
    server.holder("A", 1, "5m");
    let peer = server.peer("5m");
    server.put(&format!("/peers/{peer}/A?expires_in=0s&block_for=10m"), "1").is(202, &peer.to_string());
    server.lock(peer, "A", 1).is(400, "Unknown peer");
}

#[test]
fn asking_for_a_lock_moves_the_expiry() {
    let server = Server::start(FILE);
    let short = server.peer("2s");
    let long = server.peer("2s");
    server.put(&format!("/peers/{long}/A?expires_in=10m"), "1").is(200, &long.to_string());
    server.until_metric("throttle_peers", 1.0);
    server.heartbeat(short, "5m").is(400, "Unknown peer");
    server.heartbeat(long, "5m").is(200, "Ok");
}

#[test]
fn a_forgotten_peer_comes_back_with_its_locks() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "5m");
    let restore = r#"{"expires_in":"5m","peer_id":18446744073709551615,"acquired":{"A":1,"B":3}}"#;
    server.post("/restore", restore).is(200, "Ok");
    assert_eq!((server.remainder("A"), server.remainder("B")), (-1, 2));
    server.post("/restore", restore).is(200, "Ok");
    assert_eq!((server.remainder("A"), server.remainder("B")), (-1, 2));
    server.post("/restore", &restore.replace("\"B\":3", "\"B\":2")).says(409, "holds other locks");
    server.post("/restore", &restore.replace(r#""A":1,"B":3"#, "")).is(200, "Ok");
    // What came back has no token, since that of a zombie would outrank the holder's.
    let peer = u64::MAX;
    let again = server.lock(peer, "B", 3);
    again.is(200, &peer.to_string());
    assert_eq!(again.header("throttle-fencing-token"), None);
    server.release(holder, "A");
    assert_eq!(server.remainder("A"), 0);
    let none = r#"{"expires_in":"5m","peer_id":7,"acquired":{}}"#;
    server.post("/restore", none).is(200, "Ok");
    server.heartbeat(7, "5m").is(200, "Ok");
}

#[test]
fn a_restore_keeps_the_token_that_it_names() {
    let server = Server::start(FILE);
    let first = server.peer("5m");
    let token = server.lock(first, "A", 1).token();
    let restore = |peer: u64, token: &str| {
        let body = format!(
            r#"{{"expires_in":"5m","peer_id":{peer},"acquired":{{"A":1}},"tokens":{{"A":"{token}"}}}}"#
        );
        server.post("/restore", &body)
    };
    // It is live elsewhere.
    restore(7, &token.to_string()).is(200, "Ok");
    assert_eq!(server.lock(7, "A", 1).header("throttle-fencing-token"), None);
    server.delete("/peers/7");
    server.delete(&format!("/peers/{first}"));
    restore(first, &token.to_string()).is(200, "Ok");
    assert_eq!(server.lock(first, "A", 1).token(), token);
    // It was never given.
    restore(8, &(token + 1_000_000).to_string()).is(200, "Ok");
    assert_eq!(server.lock(8, "A", 1).header("throttle-fencing-token"), None);
    restore(9, "x").says(400, "not a fencing token");
}

#[test]
fn requests_share_a_connection() {
    let server = Server::start(FILE);
    let mut client = server.connect();
    let new_peer = request("POST", "/new_peer", r#"{"expires_in":"5m"}"#);
    client.send([new_peer.as_str(), &new_peer, &request("GET", "/health", "")].concat());
    let (first, second): (u64, u64) = (client.answer().number(), client.answer().number());
    assert_ne!(first, second);
    client.answer().is(200, "Ok");
}

#[test]
fn a_long_list_of_peers_is_whole() {
    let server = Server::start(FILE);
    let mut client = server.connect();
    let new_peer = request("POST", "/new_peer", r#"{"expires_in":"5m"}"#);
    let mut made = Vec::new();
    for _ in 0..25 {
        client.send(new_peer.repeat(100));
        made.extend((0..100).map(|_| client.answer().number::<u64>()));
    }
    let list = server.get("/peers/").json();
    let mut listed: Vec<u64> =
        list.as_array().expect("a list").iter().map(|peer| peer["id"].as_u64().expect("an id")).collect();
    made.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, made);
}
