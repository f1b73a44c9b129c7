//! Whatever a client sends: an answer of 4xx with a sentence that helps, and a server that goes on.
//!
//! Each route has its row in [`ROUTES`]. Mistakes that any request can have are tried on every row, mistakes in one
//! value on every row that has such a value.

mod framing;
mod v1;

use crate::support::{Answer, Server};

const FILE: &str = "[semaphores]\nA = 1\nB = { max = 5, level = 1 }";

/// The routes of both older dialects, each with a body that is right if it takes one.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/", ""),
    ("GET", "/health", ""),
    ("GET", "/version", ""),
    ("GET", "/favicon.ico", ""),
    ("GET", "/metrics", ""),
    ("GET", "/peers", ""),
    ("GET", "/peers/", ""),
    ("GET", "/remainder?semaphore=A", ""),
    ("GET", "/peers/7/is_acquired", ""),
    ("DELETE", "/peers/7", ""),
    ("DELETE", "/peers/7/A", ""),
    ("POST", "/remove_expired", ""),
    ("POST", "/new_peer", r#"{"expires_in":"5m"}"#),
    ("PUT", "/peers/7", r#"{"expires_in":"5m","active":{"A":1}}"#),
    ("PUT", "/peers/7/A", "1"),
    ("POST", "/restore", r#"{"expires_in":"5m","peer_id":7,"acquired":{"A":1},"tokens":{"A":"5"}}"#),
    ("POST", "/acquire", r#"{"pending":{"A":1},"expires_in":"5m"}"#),
    (
        "POST",
        "/peers/7/block_until_acquired?timeout_ms=1",
        r#"{"expires_in":"5m","active":{},"pending":{"A":1}}"#,
    ),
];

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", "get", "PROPFIND"];

/// What is no duration, or none that a lease may have, as JSON.
const NO_DURATIONS: &[&str] = &[
    r#""""#,
    r#"" ""#,
    r#""5""#,
    r#""-5m""#,
    r#""5 parsecs""#,
    r#""m""#,
    r#""1m5""#,
    r#""1e3s""#,
    r#""1.5.5s""#,
    r#""0x5s""#,
    r#""5m\u0000""#,
    r#""٥m""#,
    r#""∞""#,
    r#""11years""#,
    r#""300years""#,
    r#""18446744073709551615s""#,
    r#""18446744073709551616s""#,
    r#""18446744073709551615years""#,
    r#""99999999999999999999999999999999ns""#,
    "5",
    "0",
    "-1",
    "1e999",
    "null",
    "true",
    "[]",
    r#"{"secs":5,"nanos":0}"#,
];

/// What is no count that can be asked for, as JSON.
const NO_COUNTS: &[&str] = &[
    "0",
    "-1",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999999999999999",
    "1e999",
    "1e0",
    "1.0",
    "0.5",
    "-0",
    "01",
    "+1",
    "0x1",
    "\"1\"",
    "\"\"",
    "null",
    "true",
    "[]",
    "[1,2]",
    "{}",
    "NaN",
];

/// What is no JSON that any route takes.
const NO_JSON: &[&[u8]] = &[
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"{}",
    b"[]",
    b"null",
    b"nul",
    b"1 2",
    b"1,",
    b"{\"expires_in\"",
    b"{\"expires_in\":\"5m",
    b"{\"expires_in\":\"5m\"} x",
    b"{expires_in:\"5m\"}",
    b"{\"expires_in\":\"\\ud800\"}",
    b"{\"\xff\":1}",
    b"\xff\xfe",
    b"\x001",
    b"\xef\xbb\xbf1",
    b"expires_in=5m",
    b"<expires_in>5m</expires_in>",
];

fn rows_with_body() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    ROUTES.iter().filter(|(_, _, body)| !body.is_empty())
}

/// An answer that a client, and the person behind it, can do something with.
fn refused(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!((400..500).contains(&answer.status), "{what}: {} {text}", answer.status);
    assert!(text.trim().contains(' '), "{what}: no sentence, but {text:?}");
    assert!(answer.header("throttle-instance").is_some(), "{what}");
    assert!(text.len() < 100_000, "{what}: all of it comes back");
}

fn goes_on(server: &Server) {
    server.get("/health").is(200, "Ok");
    let peer = server.holder("A", 1, "5m");
    server.release(peer, "A");
    server.delete(&format!("/peers/{peer}"));
    server.until_metric("throttle_blocked_requests", 0.0);
}

/// A request with these headers, and the length of its body unless a header tells of it.
fn raw(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if headers.contains("content-length") || headers.contains("transfer-encoding") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: throttle\r\n{length}{headers}\r\n");
    [head.as_bytes(), body].concat()
}

const JSON: &str = "content-type: application/json\r\n";

fn ask(server: &Server, bytes: &[u8]) -> Answer {
    let mut client = server.connect();
    client.send(bytes);
    client.answer()
}

#[test]
fn the_rows_are_right() {
    for (method, path, body) in ROUTES {
        // Each has a server for itself, so that no row depends on another.
        let server = Server::start(FILE);
        if path.contains("/7") && *method != "POST" {
            let peer = r#"{"expires_in":"5m","peer_id":7,"acquired":{}}"#;
            server.post("/restore", peer).is(200, "Ok");
        }
        let body = body.replace(r#","active":{"A":1}"#, "");
        let answer = server.ask(method, path, &body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.status);
    }
}

#[test]
fn methods() {
    let server = Server::start(FILE);
    for (_, path, _) in ROUTES {
        for method in METHODS {
            let is_served = |(other, same, _): &(&str, &str, &str)| {
                same == path && (other == method || (*method == "HEAD" && *other == "GET"))
            };
            if ROUTES.iter().any(is_served) {
                continue;
            }
            // Every path below a peer may be a semaphore.
            if path.starts_with("/peers/7/") && matches!(*method, "PUT" | "DELETE") {
                continue;
            }
            let what = format!("{method} {path}");
            let mut client = server.send(method, path, "");
            if *method == "HEAD" {
                assert!((400..500).contains(&client.answer_to_head().status), "{what}");
                continue;
            }
            let answer = client.answer();
            refused(&answer, &what);
            if answer.status == 405 {
                let allowed = answer.header("allow").expect("Allow").to_owned();
                assert!(!allowed.is_empty() && !allowed.split(',').any(|one| one == *method), "{what}");
            }
        }
    }
    for target in ["*", "throttle:80", "http://throttle/nope"] {
        refused(&server.ask("OPTIONS", target, ""), target);
    }
    refused(&server.ask("CONNECT", "throttle:80", ""), "CONNECT");
    refused(&server.ask(&"X".repeat(10_000), "/new_peer", ""), "a long method");
    goes_on(&server);
}

#[test]
fn bodies_that_are_no_json() {
    let server = Server::start(FILE);
    for (method, path, body) in rows_with_body() {
        for wrong in NO_JSON {
            let what = format!("{method} {path} {}", String::from_utf8_lossy(wrong));
            let answer = ask(&server, &raw(method, path, JSON, wrong));
            refused(&answer, &what);
            assert_eq!(answer.status, 400, "{what}");
            if !path.contains("/7") || *path == "/peers/7/A" {
                answer.says(400, "Expected: ");
            }
        }
        let nested = "[".repeat(16_000);
        refused(&ask(&server, &raw(method, path, JSON, nested.as_bytes())), "nested");
        let encoded = ask(
            &server,
            &raw(method, path, "content-type: application/json; charset=utf-16\r\n", b"\xfe\xff\x00{"),
        );
        refused(&encoded, "another encoding");
        // No body at all, not even a length of one.
        let none = format!("{method} {path} HTTP/1.1\r\nhost: throttle\r\n{JSON}\r\n");
        refused(&ask(&server, none.as_bytes()), "no body");
        for content_type in
            ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "+json", "ü"]
        {
            let header = match content_type {
                "" => String::new(),
                other => format!("content-type: {other}\r\n"),
            };
            let what = format!("{method} {path} {header}");
            let answer = ask(&server, &raw(method, path, &header, body.as_bytes()));
            refused(&answer, &what);
            answer.says(415, "application/json");
        }
    }
    server.get("/peers/").is(200, "[]");
    goes_on(&server);
}

#[test]
fn durations() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    for (method, path, body) in ROUTES.iter().filter(|(_, _, body)| body.contains("\"5m\"")) {
        let path = path.replace("/7", &format!("/{peer}"));
        for wrong in NO_DURATIONS {
            let answer = server.ask(method, &path, &body.replace("\"5m\"", wrong));
            refused(&answer, &format!("{method} {path} with {wrong}"));
            assert_eq!(answer.status, 400, "{wrong}");
        }
        let without = body.replace("expires_in", "expires");
        server.ask(method, &path, &without).says(400, "missing field `expires_in`");
        let twice = body.replace(r#""expires_in":"5m""#, r#""expires_in":"5m","expires_in":"5m""#);
        server.ask(method, &path, &twice).says(400, "duplicate field `expires_in`");
    }
    for parameter in ["block_for", "expires_in"] {
        for wrong in NO_DURATIONS.iter().filter_map(|text| text.strip_prefix('"')?.strip_suffix('"')) {
            let value = percent_encoding::percent_encode(
                wrong.replace("\\u0000", "\0").as_bytes(),
                percent_encoding::NON_ALPHANUMERIC,
            )
            .to_string();
            let answer = server.put(&format!("/peers/{peer}/A?{parameter}={value}"), "1");
            refused(&answer, &format!("{parameter}={wrong}"));
            answer.says(400, parameter);
        }
        for query in ["P", "P=", "P=%", "P=%f", "P=%zz", "P=%ff", "P=5m&P=5m", "P=5m%00", "P=+", "P=5m;x"] {
            let query = query.replace('P', parameter);
            let answer = server.put(&format!("/peers/{peer}/A?{query}"), "1");
            refused(&answer, &query);
            assert_eq!(answer.status, 400, "{query}");
        }
    }
    assert_eq!(server.remainder("A"), 1);
    goes_on(&server);
}

#[test]
fn counts() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    for (method, path, body) in [
        ("PUT", &*format!("/peers/{peer}/B"), "1"),
        ("PUT", "/peers/99", r#"{"expires_in":"5m","active":{"B":1}}"#),
        ("POST", "/restore", r#"{"expires_in":"5m","peer_id":99,"acquired":{"B":1}}"#),
        ("POST", "/acquire", r#"{"pending":{"B":1},"expires_in":"5m"}"#),
        ("POST", "/peers/99/block_until_acquired", r#"{"expires_in":"5m","pending":{"B":1}}"#),
        ("POST", "/peers/99/block_until_acquired", r#"{"expires_in":"5m","active":{"B":1}}"#),
    ] {
        for wrong in NO_COUNTS {
            let body = if body == "1" {
                (*wrong).to_owned()
            } else {
                body.replace("\"B\":1", &format!("\"B\":{wrong}"))
            };
            let answer = server.ask(method, path, &body);
            refused(&answer, &format!("{method} {path} with {body}"));
            assert!(matches!(answer.status, 400 | 409), "{body}");
        }
    }
    assert_eq!(server.remainder("B"), 5);
    // Sums of what is restored go beyond 64 bits, and back.
    server.put("/v1/semaphores/Z", &format!(r#"{{"max":{}}}"#, i64::MAX)).shape(201);
    for other in 100..103 {
        let body = format!(r#"{{"expires_in":"5m","peer_id":{other},"acquired":{{"Z":{}}}}}"#, i64::MAX);
        server.post("/restore", &body).is(200, "Ok");
    }
    assert_eq!(server.get("/remainder?semaphore=Z").status, 200);
    assert_eq!(server.get("/metrics").status, 200);
    for other in 100..103 {
        server.delete(&format!("/peers/{other}"));
    }
    assert_eq!(server.remainder("Z"), i64::MAX);
    goes_on(&server);
}

#[test]
fn other_values_in_bodies() {
    let server = Server::start(FILE);
    let restore = ROUTES.iter().find(|(_, path, _)| *path == "/restore").expect("a row").2;
    let acquire = ROUTES.iter().find(|(_, path, _)| *path == "/acquire").expect("a row").2;
    for wrong in ["-1", "1.5", "\"7\"", "18446744073709551616", "null", "[]", "1e3", "true"] {
        let body = restore.replace("\"peer_id\":7", &format!("\"peer_id\":{wrong}"));
        refused(&server.post("/restore", &body), &body);
    }
    for wrong in ["5", "null", "\"\"", "\"-5\"", "\"x\"", "\"18446744073709551616\"", "[]"] {
        let body = restore.replace("\"A\":\"5\"", &format!("\"A\":{wrong}"));
        refused(&server.post("/restore", &body), &body);
    }
    for wrong in ["null", "1", "\"A\"", "[\"A\"]", "[]", "{\"nope\":1}", "{\"\":1}", "{1:1}", "{\"A\":{}}"] {
        let body = restore.replace(r#"{"A":1}"#, wrong);
        refused(&server.post("/restore", &body), &body);
        let body = acquire.replace(r#"{"A":1}"#, wrong);
        refused(&server.post("/acquire", &body), &body);
    }
    server.get("/peers/").is(200, "[]");
    goes_on(&server);
}

#[test]
fn paths_and_queries() {
    let server = Server::start(FILE);
    let peer = server.peer("5m");
    let ids = [
        "x",
        "-1",
        "1.5",
        "0x7",
        "18446744073709551616",
        "99999999999999999999999",
        "%",
        "%f",
        "%zz",
        "%ff",
        "%00",
        "%20",
        "%C3%28",
        "7%2FA",
        "null",
        "\u{fc}",
    ];
    let long = "x".repeat(20_000);
    for id in ids.iter().copied().chain([&*long, "42"]) {
        for (method, path, body) in ROUTES.iter().filter(|(_, path, _)| path.contains("/7")) {
            let body = body
                .replace(r#","active":{"A":1}"#, "")
                .replace("5m\",\"active\":{},\"pending", "x\",\"pending");
            let path = path.replace("/7", &format!("/{id}"));
            let what = format!("{method} {}", path.get(..60).unwrap_or(&path));
            if *method == "DELETE" && !path.contains("/A") && id == "42" {
                server.delete(&path).is(200, "\"Peer not found\"");
                continue;
            }
            refused(&server.ask(method, &path, &body), &what);
        }
    }
    for name in
        ["", "nope", "%", "%f", "%zz", "%ff", "%C3%28", "%00", "A%00", "A/", "a", "+A", "\u{fc}", &long]
    {
        for (method, body) in [("PUT", "1"), ("DELETE", "")] {
            let what = format!("{method} semaphore {}", name.get(..20).unwrap_or(name));
            refused(&server.ask(method, &format!("/peers/{peer}/{name}"), body), &what);
        }
        refused(&server.get(&format!("/remainder?semaphore={name}")), "remainder");
    }
    for query in
        ["", "?", "?semaphore", "?semaphor=A", "?semaphore=A&semaphore=A", "?A", "?&&&", "?=A", "?%ff=%ff"]
    {
        refused(&server.get(&format!("/remainder{query}")), query);
    }
    let body = r#"{"expires_in":"5m","pending":{"A":1}}"#;
    for query in ["", "-1", "x", "1.5", "18446744073709551616", "5s", "%ff", "%31%zz", "1&timeout_ms=1"] {
        let path = format!("/peers/7/block_until_acquired?timeout_ms={query}");
        let answer = server.post(&path, body);
        refused(&answer, &path);
        answer.says(400, "?timeout_ms=5000");
    }
    goes_on(&server);
}
