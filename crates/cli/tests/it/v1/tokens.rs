//! Whether a token is live: the check for semaphores whose `max` is above 1.

use serde_json::{Value, json};

use crate::support::{Server, id, until};

const FILE: &str = "[semaphores]\nA = 2\nB = 1\n[expiry]\nmargin = '0s'";

fn token(peer: &Value) -> String {
    peer["locks"][0]["token"].as_str().expect("a token").to_owned()
}

#[test]
fn live_until_its_lock_ends() {
    let server = Server::start(FILE);
    let hold = |expires_in: &str| {
        let body = json!({"locks": {"A": 1}, "expires_in": expires_in, "labels": {"host": "w1"}});
        server.post("/v1/locks", &body.to_string()).shape(201)
    };
    let check = |token: &str| server.get(&format!("/v1/semaphores/A/tokens/{token}"));
    let first = hold("10m");
    let second = hold("10m");
    let live = check(&token(&first)).shape(200);
    assert_eq!(
        live,
        json!({
            "peer": id(&first), "count": 1, "token": token(&first), "since": first["locks"][0]["since"],
            "expires_at": first["expires_at"], "labels": {"host": "w1"}
        })
    );
    server.delete(&format!("/v1/peers/{}/locks/A", id(&first))).is_empty();
    let detail = check(&token(&first)).problem(410, "token_gone");
    assert!(detail.contains(&token(&first)), "{detail}");
    check(&token(&second)).shape(200);
    let short = hold("200ms");
    until("it expires", || check(&token(&short)).status == 410);
    // A token is that of its own semaphore alone.
    let path = format!("/v1/semaphores/B/tokens/{}", token(&second));
    server.get(&path).problem(410, "token_gone");
    server.get("/v1/semaphores/C/tokens/1").problem(404, "unknown_semaphore");
    for wrong in ["x", "-1", "+1", "1.5", "%00", "111111111111111111111"] {
        check(wrong).problem(400, "invalid_request");
    }
    check("0").problem(410, "token_gone");
    check("99999999999999999999").problem(410, "token_gone");
}

#[test]
fn a_token_that_is_gone_says_why() {
    let server = Server::start(FILE);
    let hold = |name: &str, expires_in: &str| {
        let body = json!({"locks": {name: 1}, "expires_in": expires_in});
        server.post("/v1/locks", &body.to_string()).shape(201)
    };
    let ending = |name: &str, peer: &Value| {
        let gone = server.get(&format!("/v1/semaphores/{name}/tokens/{}", token(peer)));
        let words = gone.problem(410, "token_gone");
        (words, json!([gone.json()["cause"], gone.json()["reason"]]))
    };
    let released = hold("A", "10m");
    server.delete(&format!("/v1/peers/{}/locks/A", id(&released))).is_empty();
    let (words, how) = ending("A", &released);
    assert!(words.contains("was released at 20"), "{words}");
    assert_eq!(how, json!(["released", null]));
    let expired = hold("A", "50ms");
    let path = format!("/v1/semaphores/A/tokens/{}", token(&expired));
    until("it expires", || server.get(&path).status == 410);
    assert_eq!(ending("A", &expired).1, json!(["expired", null]));
    let stuck = hold("A", "10m");
    server.delete(&format!("/v1/peers/{}?reason=stuck", id(&stuck))).is_empty();
    let (words, how) = ending("A", &stuck);
    assert!(words.contains("by an operator at 20") && words.contains(": stuck"), "{words}");
    assert_eq!(how, json!(["operator", "stuck"]));
    let removed = hold("B", "10m");
    server.delete("/v1/semaphores/B?force=true").is_empty();
    server.put("/v1/semaphores/B", r#"{"max": 1}"#).shape(201);
    let (words, how) = ending("B", &removed);
    assert!(words.contains("when an operator removed its semaphore"), "{words}");
    assert_eq!(how, json!(["operator", null]));
    let body = server.get("/v1/semaphores/A/tokens/0").json();
    assert_eq!((&body["cause"], &body["reason"]), (&json!("unknown"), &Value::Null));
}

#[test]
fn a_restored_lock_without_a_token_has_none_that_is_live() {
    let server = Server::start(FILE);
    server.post("/restore", r#"{"expires_in":"5m","peer_id":7,"acquired":{"A":1}}"#).is(200, "Ok");
    let peer = server.get("/v1/peers/7").shape(200);
    assert_eq!((&peer["locks"][0]["token"], &peer["labels"]), (&Value::Null, &serde_json::json!({})));
    let next = token(&server.post("/v1/locks", r#"{"locks":{"A":1},"expires_in":"5m"}"#).shape(201));
    let before = next.parse::<u64>().expect("a number") - 1;
    server.get(&format!("/v1/semaphores/A/tokens/{before}")).problem(410, "token_gone");
}

#[test]
fn a_restored_peer_tells_who_it_is_and_never_loses_a_lock_over_that() {
    let server = Server::start(FILE);
    let restore = |peer: u64, labels: &str| {
        let body =
            format!(r#"{{"expires_in":"5m","peer_id":{peer},"acquired":{{"A":1}},"labels":{labels}}}"#);
        server.post("/restore", &body).is(200, "Ok");
        server.get(&format!("/v1/peers/{peer}")).shape(200)["labels"].clone()
    };
    assert_eq!(restore(7, r#"{"host":"w1"}"#), serde_json::json!({"host": "w1"}));
    let long = "x".repeat(300);
    assert_eq!(restore(8, &format!(r#"{{"host":"{long}"}}"#)), serde_json::json!({}));
}
