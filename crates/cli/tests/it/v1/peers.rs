//! Peers: made, looked at, kept, released; and what is said when one is gone.

use serde_json::{Value, json};

use crate::support::{Server, id, until};

const FILE: &str = "[semaphores]\nA = 1\nB = { max = 2, level = 1 }\n[expiry]\nmargin = '0s'";

/// Whether a time in an answer is one as RFC 3339 writes it, in UTC.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.ends_with('Z') && text.len() == "2026-03-03T19:02:42.000000Z".len() && humantime_of(text).is_some()
}

fn humantime_of(text: &str) -> Option<std::time::SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

fn lease(peer: &Value) -> std::time::Duration {
    let time = |name: &str| humantime_of(peer[name].as_str().expect("a time")).expect("a time");
    time("expires_at").duration_since(time("created_at")).expect("later")
}

#[test]
fn a_peer_is_made_and_looked_at() {
    let server = Server::start(FILE);
    let body = r#"{"expires_in":"5m","labels":{"host":"w1","pid":"7"}}"#;
    let answer = server.post("/v1/peers", body);
    let peer = answer.shape(201);
    assert_eq!(answer.header("location"), Some(&*format!("peers/{}", id(&peer))));
    let fields: Vec<_> = peer.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["created_at", "expires_at", "id", "labels", "locks", "pending"]);
    assert_eq!(peer["labels"], json!({"host": "w1", "pid": "7"}));
    assert_eq!((&peer["locks"], &peer["pending"]), (&json!([]), &Value::Null));
    assert!(is_time(&peer["created_at"]) && is_time(&peer["expires_at"]), "{peer}");
    assert_eq!(lease(&peer).as_secs(), 300);
    assert_eq!(server.get(&format!("/v1/peers/{}", id(&peer))).shape(200), peer);
    let without = server.post("/v1/peers", r#"{"expires_in":"5m"}"#).shape(201);
    assert_eq!(without["labels"], json!({}));
}

#[test]
fn a_lease_of_no_length_is_over_after_the_answer() {
    let server = Server::start(FILE);
    let peer = id(&server.post("/v1/peers", r#"{"expires_in":"0s"}"#).shape(201));
    assert!(server.get(&format!("/v1/peers/{peer}")).problem(410, "peer_gone").contains("expired at 20"));
    let peer = server.v1_peer("5m");
    let path = format!("/v1/peers/{peer}/locks");
    server.put(&path, r#"{"locks":{"A":1},"expires_in":"0s","wait":"10m"}"#).shape(200);
    assert_eq!(server.remainder("A"), 1);
    server.put(&path, r#"{"locks":{"A":1}}"#).problem(410, "peer_gone");
}

#[test]
fn a_heartbeat_moves_the_end() {
    let server = Server::start(FILE);
    let peer = server.v1_peer("5m");
    let path = format!("/v1/peers/{peer}/heartbeat");
    let longer = server.post(&path, r#"{"expires_in":"1h"}"#).shape(200);
    assert!((3600..3700).contains(&lease(&longer).as_secs()));
    // Without a length the last one counts, with a body or without.
    for body in ["", "{}"] {
        let kept = server.post(&path, body).shape(200);
        assert!(lease(&kept) > lease(&longer));
    }
    server.post(&path, r#"{"expires_in":"0s"}"#).shape(200);
    server.post(&path, "").problem(410, "peer_gone");
}

#[test]
fn a_loss_is_never_hidden() {
    let server = Server::start(FILE);
    let heartbeat =
        |peer: &str| server.post(&format!("/v1/peers/{peer}/heartbeat"), "").problem(410, "peer_gone");
    let ending = |peer: &str| {
        let body = server.get(&format!("/v1/peers/{peer}")).json();
        json!([body["cause"], body["reason"]])
    };
    assert!(heartbeat("7").contains("Peer 7 is unknown"));
    assert_eq!(ending("7"), json!(["unknown", null]));
    let expired = server.v1_peer("50ms");
    until("it expires", || server.get(&format!("/v1/peers/{expired}")).status == 410);
    assert!(heartbeat(&expired).contains("expired at 20"));
    assert_eq!(ending(&expired), json!(["expired", null]));
    let released = server.v1_peer("5m");
    server.delete(&format!("/v1/peers/{released}")).is_empty();
    assert!(heartbeat(&released).contains("was released at 20"));
    assert_eq!(ending(&released), json!(["released", null]));
    let stuck = server.v1_holder(&json!({"A": 1}));
    server.delete(&format!("/v1/peers/{stuck}?reason=stuck+since%20noon")).is_empty();
    let detail = heartbeat(&stuck);
    assert!(
        detail.contains("released by an operator at 20") && detail.contains(": stuck since noon"),
        "{detail}"
    );
    assert_eq!(ending(&stuck), json!(["operator", "stuck since noon"]));
    assert_eq!(server.remainder("A"), 1);
    // Every other route says the same.
    for (method, path, body) in
        [("GET", "", ""), ("PUT", "/locks", r#"{"locks":{"A":1}}"#), ("DELETE", "/locks/A", "")]
    {
        let answer = server.ask(method, &format!("/v1/peers/{stuck}{path}"), body);
        assert!(answer.problem(410, "peer_gone").contains("stuck since noon"), "{method} {path}");
    }
    server.delete(&format!("/v1/peers/{stuck}?reason=again")).is_empty();
    server.delete("/v1/peers/7").is_empty();
    // A reason for a peer that was gone belongs to no other one.
    let other = server.v1_peer("5m");
    server.delete(&format!("/v1/peers/{other}")).is_empty();
    assert!(heartbeat(&other).contains("was released at 20"));
}

#[test]
fn a_forgotten_end_is_unknown() {
    let server = Server::start(&format!("{FILE}\n[limits]\nremembered_peers = 1"));
    let ended: Vec<_> = (0..2)
        .map(|_| {
            let peer = server.v1_peer("5m");
            server.delete(&format!("/v1/peers/{peer}")).is_empty();
            peer
        })
        .collect();
    for (peer, words) in ended.iter().zip(["is unknown", "was released at 20"]) {
        assert!(server.get(&format!("/v1/peers/{peer}")).problem(410, "peer_gone").contains(words));
    }
}

#[test]
fn bounds_of_labels_and_reasons() {
    let server =
        Server::start(&format!("{FILE}\n[limits]\nlabels_per_peer = 2\nlabel_length = 5\nlabel_bytes = 66"));
    let with =
        |labels: &str| server.post("/v1/peers", &format!(r#"{{"expires_in":"5m","labels":{labels}}}"#));
    with(r#"{"a":"12345","b":""}"#).shape(201);
    with(&format!(r#"{{"{}":"x"}}"#, "k".repeat(63))).shape(201);
    for (labels, words) in [
        (r#"{"a":"1","b":"2","c":"3"}"#.to_owned(), "3 labels; a peer has at most 2"),
        (r#"{"a":"123456"}"#.to_owned(), "6 characters; at most 5"),
        (format!(r#"{{"{}":"1234"}}"#, "k".repeat(63)), "67 bytes, names and values together"),
        (r#"{"":"1"}"#.to_owned(), "1 to 63 characters"),
        (r#"{"a:b":"1"}"#.to_owned(), "no colon"),
        (format!(r#"{{"{}":"x"}}"#, "k".repeat(64)), "1 to 63 characters"),
        (r#"{"a":"1","a":"2"}"#.to_owned(), "comes twice"),
        (r#"{"a":1}"#.to_owned(), "a string"),
        ("[]".to_owned(), "an object"),
    ] {
        let detail = with(&labels).problem(400, "invalid_request");
        assert!(detail.contains(words), "{detail}");
    }
    server.until_metric("throttle_peers", 2.0);
    let peer = server.v1_peer("5m");
    let detail = server
        .delete(&format!("/v1/peers/{peer}?reason={}", "x".repeat(1025)))
        .problem(400, "invalid_request");
    assert!(detail.contains("1025 characters; at most 1024"), "{detail}");
    server.delete(&format!("/v1/peers/{peer}?reason={}", "x".repeat(1024))).is_empty();
}

#[test]
fn the_limit_of_peers() {
    let server = Server::start(&format!("{FILE}\n[limits]\npeers = 1"));
    server.v1_peer("5m");
    let detail = server.post("/v1/peers", r#"{"expires_in":"5m"}"#).problem(429, "limit_reached");
    assert!(detail.contains("limit of 1 live peers"), "{detail}");
    server.post("/v1/locks", r#"{"expires_in":"5m","locks":{"A":1}}"#).problem(429, "limit_reached");
}

#[test]
fn a_list_in_pages() {
    let server = Server::start(FILE);
    let made: Vec<_> = (0..5).map(|_| server.v1_peer("5m")).collect();
    let page = |query: &str| server.get(&format!("/v1/peers{query}")).shape(200);
    let ids =
        |page: &Value| -> Vec<String> { page["items"].as_array().expect("a list").iter().map(id).collect() };
    let all = page("");
    assert_eq!((ids(&all), &all["next"]), (made.clone(), &Value::Null));
    let mut found = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = page(&query);
        found.extend(ids(&page));
        assert!(ids(&page).len() <= 2);
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(found, made);
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=x",
        "?cursor=x",
        "?cursor=",
        "?label=host",
        "?limits=1",
        "?limit=1&limit=2",
    ] {
        server.get(&format!("/v1/peers{query}")).problem(400, "invalid_request");
    }
    assert_eq!(page("?cursor=ffffffffffffffff")["items"], json!([]));
}

#[test]
fn a_list_by_label_and_semaphore() {
    let server = Server::start(FILE);
    let with = |labels: Value| {
        id(&server.post("/v1/peers", &json!({"expires_in": "5m", "labels": labels}).to_string()).shape(201))
    };
    let first = with(json!({"host": "w1", "user": "a:b c"}));
    let second = with(json!({"host": "w2"}));
    let third = with(json!({"host": "w1"}));
    server.v1_locks(&first, &json!({"A": 1})).shape(200);
    server.v1_locks(&second, &json!({"A": 1})).shape(202);
    let list = |query: &str| -> Vec<String> {
        let page = server.get(&format!("/v1/peers?{query}")).shape(200);
        assert_eq!(page["next"], Value::Null);
        page["items"].as_array().expect("a list").iter().map(id).collect()
    };
    assert_eq!(list("label=host:w1"), [first.clone(), third]);
    assert_eq!(list("label=user:a:b%20c"), std::slice::from_ref(&first));
    assert_eq!(list("label=host:"), Vec::<String>::new());
    assert_eq!(list("semaphore=A"), [first.clone(), second], "holders and waiters");
    assert_eq!(list("semaphore=A&label=host:w1"), [first]);
    assert_eq!(list("semaphore=B"), Vec::<String>::new());
    server.get("/v1/peers?semaphore=C").problem(404, "unknown_semaphore");
}

#[test]
fn ids_are_strings_of_digits() {
    let server = Server::start(FILE);
    for wrong in ["x", "-1", "+1", "1.0", "%20", "0x1", "111111111111111111111"] {
        server.get(&format!("/v1/peers/{wrong}")).problem(400, "invalid_request");
        server.delete(&format!("/v1/peers/{wrong}")).problem(400, "invalid_request");
    }
    server.get("/v1/peers/99999999999999999999").problem(410, "peer_gone");
    server.delete("/v1/peers/99999999999999999999").is_empty();
}
