//! Paths, methods and probes.

use crate::support::{Server, request};

const FILE: &str = "[semaphores]\nA = 1";

#[test]
fn what_is_no_route_is_a_problem_too() {
    let server = Server::start(FILE);
    for path in ["/v1", "/v1/", "/v1/nope", "/v1/peers/", "/v1/peers/1/locks/A/B", "/v1/semaphores/"] {
        for method in ["GET", "POST", "DELETE"] {
            let detail = server.ask(method, path, "").problem(404, "not_found");
            assert!(detail.contains(&format!("{path:?}")) && detail.contains("/openapi.json"), "{detail}");
        }
    }
    // Of no other dialect.
    server.get("/v10").says(404, "<html");
    for (method, path, allowed) in [
        ("PATCH", "/v1/peers", "GET,HEAD,POST"),
        ("GET", "/v1/peers/1/heartbeat", "POST"),
        ("POST", "/v1/semaphores/A", "DELETE,GET,HEAD,PATCH,PUT"),
    ] {
        let answer = server.ask(method, path, "");
        assert!(answer.problem(405, "method_not_allowed").contains(method));
        let mut found: Vec<_> = answer.header("allow").expect("Allow").split(',').collect();
        found.sort_unstable();
        assert_eq!(found.join(","), allowed);
    }
}

#[test]
fn problems_of_bodies() {
    let server = Server::start("[limits]\nbody_bytes = 1024");
    let mut client = server.connect();
    client.send("POST /v1/peers HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    client.answer().problem(415, "unsupported_media_type");
    server.post("/v1/peers", "{").problem(400, "invalid_request");
    server.post("/v1/peers", &format!("{:2000}", "{}")).problem(413, "too_large");
    let heartbeat = "POST /v1/peers/1/heartbeat HTTP/1.1\r\nhost: x\r\n";
    let mut client = server.connect();
    client.send(format!("{heartbeat}content-length: 2\r\n\r\n{{}}"));
    client.answer().problem(415, "unsupported_media_type");
    let mut client = server.connect();
    client.send(format!("{heartbeat}content-length: 0\r\n\r\n"));
    client.answer().problem(410, "peer_gone");
}

#[test]
fn a_body_that_is_late() {
    let server = Server::start("[limits]\nbody_timeout = '200ms'");
    let mut client = server.connect();
    let whole = request("POST", "/v1/peers", r#"{"expires_in":"5m"}"#);
    client.send(&whole[..whole.len() - 1]);
    client.answer().problem(408, "request_timeout");
}

#[test]
fn a_server_that_lives_is_ready() {
    let server = Server::start(FILE);
    server.get("/livez").is(200, "Ok");
    server.get("/readyz").is(200, "Ok");
}
