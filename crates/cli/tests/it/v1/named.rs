//! Routes with the name of a semaphore in the query or the body: what their twins do that have it in the path.

use serde_json::{Value, json};

use crate::support::{Server, id};

const FILE: &str = "[semaphores]\n't/in' = 1\n't/out' = { max = 1, level = 1 }\nfree = { max = 3, level = 2 }\nmore = 1\n'job/*' = 2";

/// A name in all its glory, and how a query and a path write it.
const NAME: &str = "a b/ü&c=d+e%2F?";
const QUERY: &str = "a+b/%C3%BC%26c%3Dd%2Be%252F?";
const PATH: &str = "a%20b%2F%C3%BC%26c=d+e%252F%3F";

fn held(server: &Server, peer: &str) -> Vec<String> {
    let seen = server.get(&format!("/v1/peers/{peer}")).shape(200);
    let locks = seen["locks"].as_array().expect("a list").iter();
    locks.map(|lock| lock["semaphore"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_semaphore_from_beginning_to_end() {
    let server = Server::start(FILE);
    let route = format!("/v1/semaphore?name={QUERY}");
    server.get(&route).problem(404, "unknown_semaphore");
    server.ask("PATCH", &route, r#"{"max":2}"#).problem(404, "unknown_semaphore");
    let made = server.put(&route, r#"{"max":3}"#).shape(201);
    assert_eq!((&made["name"], &made["max"]), (&json!(NAME), &json!(3)));
    assert_eq!(server.put(&route, r#"{"max":4}"#).shape(200)["max"], 4);
    let holder = server.v1_holder(&json!({ NAME: 1 }));
    assert_eq!(server.ask("PATCH", &route, r#"{"max":5}"#).shape(200)["max"], 5);
    let seen = server.get(&format!("{route}&limit=1")).shape(200);
    assert_eq!(seen, server.get(&format!("/v1/semaphores/{PATH}?limit=1")).shape(200));
    assert_eq!(seen["holders"][0]["peer"], json!(holder));
    let detail = server.delete(&route).problem(409, "in_use");
    assert!(detail.contains("force=true"), "{detail}");
    server.delete(&format!("{route}&force=true")).is_empty();
    server.get(&route).problem(404, "unknown_semaphore");
    assert!(held(&server, &holder).is_empty());
    // Neither is it more than its twin.
    server.put("/v1/semaphore?name=x*", r#"{"max":1}"#).problem(400, "invalid_request");
    server
        .put(&format!("/v1/semaphore?name={}", "x".repeat(256)), r#"{"max":1}"#)
        .problem(400, "invalid_request");
    assert_eq!(server.get("/v1/semaphore?name=job/1").shape(200)["origin"], "pattern");
}

#[test]
fn a_token() {
    let server = Server::start(FILE);
    let body = json!({"locks": {"t/in": 1}, "expires_in": "10m"}).to_string();
    let holder = server.post("/v1/locks", &body).shape(201);
    let token = holder["locks"][0]["token"].as_str().expect("a token");
    let route = format!("/v1/token?semaphore=t/in&token={token}");
    assert_eq!(server.get(&route).shape(200)["peer"], json!(id(&holder)));
    assert_eq!(
        server.get(&route).text(),
        server.get(&format!("/v1/semaphores/t%2Fin/tokens/{token}")).text()
    );
    server.get(&format!("/v1/token?semaphore=free&token={token}")).problem(410, "token_gone");
    server.get("/v1/token?semaphore=t&token=1").problem(404, "unknown_semaphore");
    server.post(&format!("/v1/peers/{}/release", id(&holder)), r#"{"locks":["t/in"]}"#).is_empty();
    server.get(&route).problem(410, "token_gone");
}

#[test]
fn locks_are_released_and_the_rest_stays() {
    let server = Server::start(FILE);
    let peer = server.v1_holder(&json!({"t/out": 1, "t/in": 1, "free": 2}));
    let release = |peer: &str, locks: Value| {
        server.post(&format!("/v1/peers/{peer}/release"), &json!({ "locks": locks }).to_string())
    };
    // All or nothing.
    release(&peer, json!(["t/in", "nope"])).problem(404, "unknown_semaphore");
    assert_eq!(held(&server, &peer).len(), 3);
    let waiter = server.v1_peer("10m");
    let waits = server.blocked(
        "PUT",
        &format!("/v1/peers/{waiter}/locks"),
        &json!({"locks": {"t/in": 1, "free": 1}, "wait": "10m"}),
    );
    release(&peer, json!(["t/in", "free"])).is_empty();
    assert_eq!(held(&server, &peer), ["t/out"]);
    let mut waits = waits;
    waits.answer().shape(200);
    // What is not held, also of a pattern without such a member, is a success; so is to say it twice, though the member
    // of a pattern is gone the second time.
    server.v1_locks(&peer, &json!({"t/out": 1, "job/1": 1})).shape(200);
    release(&peer, json!(["t/in", "job/7", "job/1", "job/1", "t/out"])).is_empty();
    assert!(held(&server, &peer).is_empty());
    server.get(&format!("/v1/peers/{peer}")).shape(200);
    server.delete(&format!("/v1/peers/{peer}")).is_empty();
    release(&peer, json!(["t/in"])).problem(410, "peer_gone");
}

#[test]
fn of_a_request_over_several_all_of_it_goes() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"t/in": 1}));
    let peer = server.v1_holder(&json!({"free": 1}));
    let mut waits = server.blocked(
        "PUT",
        &format!("/v1/peers/{peer}/locks"),
        &json!({"locks": {"free": 1, "t/in": 1, "more": 1}, "wait": "10m"}),
    );
    server.post(&format!("/v1/peers/{peer}/release"), r#"{"locks":["more"]}"#).is_empty();
    waits.answer().problem(409, "not_acquired");
    assert_eq!(server.get("/v1/semaphore?name=t/in").shape(200)["waiting"], 0);
    assert_eq!(held(&server, &peer), ["free"]);
}
