//! `POST /v1/heartbeats`.

use serde_json::{Value, json};

use crate::support::{Server, request};

const FILE: &str = "[semaphores]\nA = 1";
const PATH: &str = "/v1/heartbeats";
/// The largest body.
const LIMIT: usize = 1 << 20;

fn beat(server: &Server, peers: &Value) -> Value {
    server.post(PATH, &json!({"expires_in": "10m", "peers": peers}).to_string()).shape(200)
}

#[test]
fn renewed_and_gone() {
    let server = Server::start(FILE);
    let live = [server.v1_peer("5m"), server.v1_peer("5m")];
    let ended = server.v1_peer("5m");
    server.delete(&format!("/v1/peers/{ended}")).is_empty();
    let expires_at = |peer: &str| {
        let at = server.get(&format!("/v1/peers/{peer}")).shape(200)["expires_at"].clone();
        humantime::parse_rfc3339(at.as_str().expect("a string")).expect("a time")
    };
    let before = live.each_ref().map(|peer| expires_at(peer));
    assert_eq!(
        beat(&server, &json!([live[0], ended, live[1], "18446744073709551615"])),
        json!({"renewed": 2, "gone": [ended, "18446744073709551615"]})
    );
    for (peer, before) in live.iter().zip(before) {
        let later = expires_at(peer).duration_since(before).expect("later");
        assert!(later.as_secs() >= 299, "{later:?}");
    }
    assert_eq!(beat(&server, &json!([])), json!({"renewed": 0, "gone": []}));
    assert_eq!(
        beat(&server, &json!([live[0], live[0], ended, ended])),
        json!({"renewed": 2, "gone": [ended, ended]})
    );
    // However JSON may write a string.
    let escaped: String = live[0]
        .chars()
        .flat_map(|digit| format!("\\u{:04x}", u32::from(digit)).into_bytes())
        .map(char::from)
        .collect();
    let body = format!(r#"{{"peers":["{escaped}"],"expires_in":"1m"}}"#);
    assert_eq!(server.post(PATH, &body).shape(200), json!({"renewed": 1, "gone": []}));
}

#[test]
fn a_short_lease_ends_after_the_answer() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = json!({"expires_in": "0s", "peers": [holder]}).to_string();
    assert_eq!(server.post(PATH, &body).shape(200), json!({"renewed": 1, "gone": []}));
    assert_eq!(beat(&server, &json!([holder])), json!({"renewed": 0, "gone": [holder]}));
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn thousands_at_once_and_a_megabyte_of_them() {
    let server = Server::start(FILE);
    let ids: Vec<u64> = {
        let mut client = server.connect();
        (0..3000)
            .map(|_| {
                client.send(request("POST", "/new_peer", r#"{"expires_in":"5m"}"#));
                client.answer().number()
            })
            .collect()
    };
    let mut peers: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(beat(&server, &json!(peers)), json!({"renewed": 3000, "gone": []}));
    server.delete(&format!("/peers/{}", ids[777])).is(200, "\"Peer released\"");
    assert_eq!(beat(&server, &json!(peers)), json!({"renewed": 2999, "gone": [peers[777]]}));

    // A body of just the limit is read, one of a byte more is not. Both are above the limit of other routes.
    peers.truncate(700);
    let many: Vec<_> = peers.iter().cycle().take(42_000).collect();
    let body = json!({"expires_in": "5m", "peers": many}).to_string();
    let padded = |bytes: usize| body.clone() + &" ".repeat(bytes - body.len());
    assert!(body.len() < LIMIT && body.len() > LIMIT / 2, "{}", body.len());
    let seen = server.post(PATH, &padded(LIMIT)).shape(200);
    assert_eq!(seen, json!({"renewed": 42_000, "gone": []}));
    assert!(server.post(PATH, &padded(LIMIT + 1)).problem(413, "too_large").contains("1048576"));
    let other = server.post("/v1/peers", &format!("{:<20000}", r#"{"expires_in":"5m"}"#));
    other.problem(413, "too_large");
}

#[test]
fn wrong_bodies() {
    let server = Server::start(FILE);
    let peer = server.v1_peer("5m");
    for (peers, part) in [
        (r#"["x"]"#, "\"x\", expected the id of a peer: a string of digits"),
        (r#"[""]"#, "\"\""),
        (r#"["-1"]"#, "\"-1\""),
        (r#"["1.5"]"#, "\"1.5\""),
        (r#"[" 7"]"#, "\" 7\""),
        (r#"["184467440737095516160"]"#, "\"184467440737095516160\""),
        ("[7]", "integer `7`, expected the id of a peer: a string of digits"),
        ("[null]", "null"),
        (r#"[["7"]]"#, "sequence"),
        (r#""7""#, "expected a sequence"),
        ("null", "expected a sequence"),
        ("{}", "expected a sequence"),
    ] {
        let body = format!(r#"{{"expires_in":"10m","peers":{peers}}}"#);
        let detail = server.post(PATH, &body).problem(400, "invalid_request");
        assert!(detail.contains(part) && detail.contains("Expected: {\"expires_in\""), "{detail}");
    }
    for (body, part) in [
        ("", "EOF"),
        ("{}", "missing field `expires_in`"),
        (r#"{"expires_in":"5m"}"#, "missing field `peers`"),
        (r#"{"peers":[]}"#, "missing field `expires_in`"),
        (r#"{"peers":[],"expires_in":"5m","x":1}"#, "unknown field `x`, expected `expires_in` or `peers`"),
        (r#"{"peers":[],"expires_in":"5"}"#, "expires_in is \"5\""),
        (r#"{"peers":[],"expires_in":"11years"}"#, "too long"),
        (r#"{"peers":[],"expires_in":5}"#, "integer `5`"),
    ] {
        let detail = server.ask_with("POST", PATH, "", body).problem(400, "invalid_request");
        assert!(detail.contains(part), "{detail}");
    }
    // One wrong id, and none is renewed.
    let body = format!(r#"{{"expires_in":"0s","peers":["{peer}","x"]}}"#);
    server.post(PATH, &body).problem(400, "invalid_request");
    assert_eq!(beat(&server, &json!([peer])), json!({"renewed": 1, "gone": []}));
    let mut client = server.connect();
    client.send(format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}"));
    client.answer().problem(415, "unsupported_media_type");
    server.get(PATH).problem(405, "method_not_allowed");
}

#[test]
fn a_number_that_no_peer_can_have_is_gone() {
    let server = Server::start("");
    let body = r#"{"expires_in": "5m", "peers": ["18446744073709551616"]}"#;
    assert_eq!(server.post(PATH, body).shape(200), json!({"renewed": 0, "gone": ["18446744073709551616"]}));
}
