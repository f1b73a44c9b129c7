//! Patterns: members made on first use.

use serde_json::json;

use crate::support::{Server, id};

const FILE: &str = "[semaphores]\n'tenant/*' = 1\n'tenant/own' = 5\n[expiry]\nmargin = '0s'";

#[test]
fn members_are_made_on_first_use_and_vanish_when_idle() {
    let server = Server::start(FILE);
    server.get("/v1/semaphores/tenant%2Fa").problem(404, "unknown_semaphore");
    assert_eq!(server.remainder("tenant/a"), 1);
    let body = json!({"locks": {"tenant/a": 1, "tenant/b": 1}, "expires_in": "5m"});
    let holder = server.post("/v1/locks", &body.to_string()).shape(201);
    let seen = server.get("/v1/semaphores/tenant%2Fa").shape(200);
    assert_eq!((&seen["max"], &seen["origin"], &seen["acquired"]), (&json!(1), &json!("pattern"), &json!(1)));
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "tenant%2Fa", 1).status, 202, "each member has a count of its own");
    assert_eq!(server.lock(peer, "tenant%2Fc", 2).status, 409);
    server.delete(&format!("/v1/peers/{}", id(&holder))).is(204, "");
    server.get("/v1/semaphores/tenant%2Fb").problem(404, "unknown_semaphore");
    server.delete(&format!("/peers/{peer}"));
    server.get("/v1/semaphores/tenant%2Fa").problem(404, "unknown_semaphore");
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
