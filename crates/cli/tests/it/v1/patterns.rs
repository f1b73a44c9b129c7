//! Patterns: members made on first use.

use serde_json::json;

use crate::support::{Server, id};

const FILE: &str = "[semaphores]\n'tenant/*' = 1\n'tenant/own' = 5\n[expiry]\nmargin = '0s'";

#[test]
fn members_are_made_on_first_use_and_vanish_when_idle() {
    let server = Server::start(FILE);
    let names = || {
        let items = server.get("/v1/semaphores").shape(200)["items"].clone();
        let items = items.as_array().expect("a list").iter();
        items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["tenant/own"]);
    let body = json!({"locks": {"tenant/a": 1, "tenant/b": 1}, "expires_in": "5m"});
    let holder = server.post("/v1/locks", &body.to_string()).shape(201);
    let seen = server.get("/v1/semaphores/tenant%2Fa").shape(200);
    assert_eq!((&seen["max"], &seen["origin"], &seen["acquired"]), (&json!(1), &json!("pattern"), &json!(1)));
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "tenant%2Fa", 1).status, 202, "each member has a count of its own");
    assert_eq!(server.lock(peer, "tenant%2Fc", 2).status, 409);
    assert_eq!(names(), ["tenant/a", "tenant/b", "tenant/own"]);
    server.delete(&format!("/v1/peers/{}", id(&holder))).is(204, "");
    assert_eq!(names(), ["tenant/a", "tenant/own"]);
    server.delete(&format!("/peers/{peer}"));
    assert_eq!(names(), ["tenant/own"]);
}

#[test]
fn a_member_that_nobody_uses_is_shown_as_what_it_would_be() {
    let server = Server::start("[semaphores]\n'tenant/*' = { max = 3, level = 2, per = '1h' }");
    let unused = json!({
        "name": "tenant/a", "max": 3, "level": 2, "acquired": 0, "pending": 0, "remainder": 3, "waiting": 0,
        "cooling": 0, "longest_wait": "0s", "origin": "pattern", "per": "1h", "deadlock": "hierarchy", "order": "strict",
        "holders": [], "holders_total": 0, "holders_next": null, "queue": [], "queue_total": 0, "queue_next": null
    });
    assert_eq!(server.get("/v1/semaphores/tenant%2Fa").shape(200), unused);
    assert_eq!(server.remainder("tenant/a"), 3);
    assert_eq!(server.get("/v1/peers?semaphore=tenant%2Fa").shape(200)["items"], json!([]));
    server.get("/v1/semaphores/tenant%2Fa/tokens/1").problem(410, "token_gone");
    assert_eq!(server.get("/v1/semaphores").shape(200)["items"], json!([]), "to look does not make it");
    server.get("/v1/semaphores/tenants").problem(404, "unknown_semaphore");
    server.get("/v1/semaphores/tenants/tokens/1").problem(404, "unknown_semaphore");
    server.get("/v1/peers?semaphore=tenants").problem(404, "unknown_semaphore");
    let too_long = "x".repeat(600);
    server.get(&format!("/v1/semaphores/tenant%2F{too_long}")).problem(404, "unknown_semaphore");
}

#[test]
fn members_share_the_series_of_their_pattern() {
    let server = Server::start(FILE);
    for name in ["tenant%2Fa", "tenant%2Fb"] {
        server.holder(name, 1, "5m");
    }
    server.until_metric("throttle_acquired{semaphore=\"tenant/*\"}", 2.0);
    server.until_metric("throttle_grants_total{semaphore=\"tenant/*\"}", 2.0);
    assert_eq!(server.figure("throttle_acquired{semaphore=\"tenant/a\"}"), None);
}

#[test]
fn a_member_that_is_resized_is_a_runtime_semaphore() {
    let server = Server::start(FILE);
    let seen = server.ask("PATCH", "/v1/semaphores/tenant%2Fa", r#"{"max": 2}"#).shape(200);
    assert_eq!((&seen["max"], &seen["origin"]), (&json!(2), &json!("runtime")));
    let holder = server.holder("tenant%2Fa", 2, "5m");
    server.delete(&format!("/peers/{holder}"));
    server.get("/v1/semaphores/tenant%2Fa").shape(200);
}
