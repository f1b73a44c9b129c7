//! The same for `/v1`, where every refusal is a problem with a code.

use super::{JSON, METHODS, NO_COUNTS, NO_DURATIONS, NO_JSON, ask, goes_on, raw};
use crate::support::{Answer, Server};

const FILE: &str = "[semaphores]\nA = 1\nB = 5";

/// The routes, each with a body that is right if it takes one. `7` is a peer.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/livez", ""),
    ("GET", "/readyz", ""),
    ("GET", "/openapi.json", ""),
    ("GET", "/v1/peers", ""),
    ("GET", "/v1/peers/7", ""),
    ("DELETE", "/v1/peers/7", ""),
    ("DELETE", "/v1/peers/7/locks/A", ""),
    ("POST", "/v1/peers/7/release", r#"{"locks":["A"]}"#),
    ("GET", "/v1/semaphore?name=A", ""),
    ("DELETE", "/v1/semaphore?name=A", ""),
    ("PUT", "/v1/semaphore?name=A", r#"{"max":1,"level":0,"per":"5m"}"#),
    ("PATCH", "/v1/semaphore?name=A", r#"{"max":1,"level":0,"per":"5m"}"#),
    ("GET", "/v1/semaphores", ""),
    ("GET", "/v1/semaphores/A", ""),
    ("GET", "/v1/history", ""),
    ("GET", "/v1/cluster", ""),
    ("GET", "/v1/permissions", ""),
    ("DELETE", "/v1/semaphores/A", ""),
    ("POST", "/v1/resume", ""),
    ("DELETE", "/v1/session", ""),
    ("POST", "/v1/session", r#"{"token":"thr_"}"#),
    ("POST", "/v1/peers", r#"{"expires_in":"5m","labels":{"host":"w1"}}"#),
    ("POST", "/v1/peers/7/heartbeat", r#"{"expires_in":"5m"}"#),
    ("PUT", "/v1/peers/7/locks", r#"{"locks":{"B":1},"priority":0,"expires_in":"5m"}"#),
    ("POST", "/v1/locks", r#"{"locks":{"B":1},"priority":0,"expires_in":"5m","wait":"5m"}"#),
    ("PUT", "/v1/semaphores/A", r#"{"max":1,"level":0,"per":"5m"}"#),
    ("PATCH", "/v1/semaphores/A", r#"{"max":1,"level":0,"per":"5m"}"#),
];

fn start() -> Server {
    let server = Server::start(FILE);
    server.post("/restore", r#"{"expires_in":"10m","peer_id":7,"acquired":{}}"#).is(200, "Ok");
    server
}

fn rows_with_body() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    ROUTES.iter().filter(|(_, _, body)| !body.is_empty())
}

/// A problem of the client's that says what would be right.
#[track_caller]
fn refused(answer: &Answer, what: &str) {
    let code = answer.json()["code"].as_str().unwrap_or_else(|| panic!("{what}: no code")).to_owned();
    assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
    let detail = answer.problem(answer.status, &code);
    assert!(
        detail.contains(' ') && detail.ends_with('.') || detail.contains("Expected: "),
        "{what}: {detail}"
    );
    assert!(answer.header("throttle-instance").is_some(), "{what}");
}

#[test]
fn the_rows_are_right() {
    for (method, path, body) in ROUTES {
        let server = start();
        let answer = server.ask(method, path, body);
        // Only a server of several has a cluster.
        let is_right = (200..300).contains(&answer.status) || (*path, answer.status) == ("/v1/cluster", 404);
        assert!(is_right, "{method} {path}: {}", answer.text());
    }
}

#[test]
fn methods() {
    let server = start();
    for (_, path, _) in ROUTES.iter().filter(|(_, path, _)| path.starts_with("/v1/")) {
        for method in METHODS {
            let is_served = |(other, same, _): &(&str, &str, &str)| {
                same == path && (other == method || (*method == "HEAD" && *other == "GET"))
            };
            if ROUTES.iter().any(is_served) {
                continue;
            }
            let mut client = server.send(method, path, "");
            if *method == "HEAD" {
                assert_eq!(client.answer_to_head().status, 405, "{method} {path}");
                continue;
            }
            let answer = client.answer();
            answer.problem(405, "method_not_allowed");
            let allowed = answer.header("allow").expect("Allow").to_owned();
            assert!(!allowed.is_empty() && !allowed.split(',').any(|one| one == *method), "{method} {path}");
        }
    }
    goes_on(&server);
}

#[test]
fn bodies_that_are_no_json() {
    let server = start();
    for (method, path, body) in rows_with_body() {
        for wrong in NO_JSON {
            let is_right = match *wrong {
                b"" | b"null" => path.ends_with("heartbeat"),
                b"{}" => path.ends_with("heartbeat") || *method == "PATCH",
                _ => false,
            };
            if is_right {
                continue;
            }
            let what = format!("{method} {path} {}", String::from_utf8_lossy(wrong));
            let answer = ask(&server, &raw(method, path, JSON, wrong));
            refused(&answer, &what);
            assert!(answer.problem(400, "invalid_request").contains("Expected: "), "{what}");
        }
        refused(&ask(&server, &raw(method, path, JSON, "[".repeat(16_000).as_bytes())), "nested");
        for header in ["", "content-type: text/plain\r\n", "content-type: application/jsonp\r\n"] {
            ask(&server, &raw(method, path, header, body.as_bytes())).problem(415, "unsupported_media_type");
        }
        let unknown = body.replacen('{', r#"{"nope":1,"#, 1);
        let detail = server.ask(method, path, &unknown).problem(400, "invalid_request");
        assert!(detail.contains("unknown field `nope`, expected"), "{detail}");
        let twice = body.replacen('{', &format!("{{{},", body.trim_matches(['{', '}'])), 1);
        refused(&server.ask(method, path, &twice), &twice);
        let large = format!("{body:17000}");
        server.ask(method, path, &large).problem(413, "too_large");
    }
    server.until_metric("throttle_peers", 1.0);
    goes_on(&server);
}

#[test]
fn durations() {
    let server = start();
    for (method, path, body) in rows_with_body() {
        for (field, _) in body.match_indices(":\"5m\"") {
            for wrong in NO_DURATIONS.iter().filter(|wrong| **wrong != "null") {
                let (before, after) = body.split_at(field);
                let body = format!("{before}:{wrong}{}", after.strip_prefix(":\"5m\"").expect("a match"));
                server.ask(method, path, &body).problem(400, "invalid_request");
            }
        }
    }
    for path in ["/v1/peers", "/v1/locks"] {
        for body in [r#"{"locks":{"B":1},"expires_in":null}"#, r#"{"locks":{"B":1}}"#] {
            let body =
                if path == "/v1/peers" { body.replace(r#""locks":{"B":1},"#, "") } else { body.to_owned() };
            refused(&server.post(path, &body), &body);
        }
    }
    server.until_metric("throttle_peers", 1.0);
    goes_on(&server);
}

#[test]
fn numbers() {
    let server = start();
    for (method, path, body) in rows_with_body() {
        for wrong in NO_COUNTS.iter().filter(|wrong| !matches!(**wrong, "1.0" | "1e0")) {
            if body.contains("\"B\":1") {
                let answer = server.ask(method, path, &body.replace("\"B\":1", &format!("\"B\":{wrong}")));
                refused(&answer, &format!("{method} {path} {wrong}"));
                assert!(matches!(answer.status, 400 | 409), "{wrong}");
            }
            let is_a_max = matches!(*wrong, "0" | "-0" | "9223372036854775807");
            let is_nothing = *method == "PATCH" && *wrong == "null";
            if body.contains("\"max\":1") && !is_a_max && !is_nothing {
                let body = body.replace("\"max\":1", &format!("\"max\":{wrong}"));
                server.ask(method, path, &body).problem(400, "invalid_request");
            }
        }
        for field in ["\"priority\":0", "\"level\":0"].iter().filter(|field| body.contains(**field)) {
            for wrong in ["2147483648", "-2147483649", "0.5", "\"0\"", "[]", "true", "1e999", "-"] {
                let body = body.replace(field, &format!("{}:{wrong}", field.trim_end_matches(":0")));
                server.ask(method, path, &body).problem(400, "invalid_request");
            }
        }
    }
    assert_eq!(server.remainder("B"), 5);
    // To JSON these are whole numbers.
    server.put("/v1/peers/7/locks", r#"{"locks":{"B":2e0},"priority":0.0}"#).shape(200);
    assert_eq!(server.remainder("B"), 3);
    goes_on(&server);
}

#[test]
fn names_in_paths_and_queries() {
    let server = start();
    let long = "x".repeat(15_000);
    for id in ["x", "-1", "1.5", "0x7", "%", "%zz", "%ff", "%00", "%20", "7%2FA", "null", "+7", &*long] {
        for (method, path, body) in ROUTES.iter().filter(|(_, path, _)| path.contains("/7")) {
            let path = path.replace("/7", &format!("/{id}"));
            refused(&server.ask(method, &path, body), &format!("{method} {id:.20}"));
        }
    }
    for name in ["nope", "%", "%zz", "%ff", "%00", "A%00", "a", &long] {
        let with_a_name = ROUTES.iter().filter(|(_, path, _)| path.ends_with("/A") || path.ends_with("=A"));
        for (method, path, body) in with_a_name {
            // Any text is a name for a new one.
            if *method == "PUT" && !matches!(name, "%ff") && name.len() < 256 {
                continue;
            }
            let path = format!("{}{name}", path.strip_suffix('A').expect("it ends so"));
            refused(&server.ask(method, &path, body), &format!("{method} {name:.20}"));
        }
    }
    goes_on(&server);
}

#[test]
fn queries_without_a_right_name() {
    let server = start();
    let paths =
        ["/v1/semaphore", "/v1/semaphore?name=", "/v1/semaphore?name=A&name=A", "/v1/semaphore?name=A&x=1"];
    let rows = ROUTES.iter().filter(|(_, path, _)| path.starts_with("/v1/semaphore?"));
    for ((method, _, body), path) in rows.flat_map(|row| paths.map(|path| (row, path))) {
        let detail = server.ask(method, path, body).problem(400, "invalid_request");
        assert!(detail.contains("Expected") && detail.contains("name=t/in"), "{method} {path}: {detail}");
    }
    for query in
        ["", "?semaphore=A", "?token=1", "?semaphore=&token=1", "?semaphore=A&token=x", "?semaphore=A&token="]
    {
        server.get(&format!("/v1/token{query}")).problem(400, "invalid_request");
    }
    server.get("/v1/token?semaphore=A&token=1").problem(410, "token_gone");
    for (limit, force) in [("0", "1"), ("1001", "yes"), ("x", "")] {
        server.get(&format!("/v1/semaphore?name=A&limit={limit}")).problem(400, "invalid_request");
        server.delete(&format!("/v1/semaphore?name=A&force={force}")).problem(400, "invalid_request");
    }
    goes_on(&server);
}

#[test]
fn lists_of_locks() {
    let server = start();
    for locks in ["[]", "null", "\"A\"", "{\"A\":1}", "[1]", "[null]", "[[\"A\"]]"] {
        let body = format!(r#"{{"locks":{locks}}}"#);
        let detail = server.post("/v1/peers/7/release", &body).problem(400, "invalid_request");
        assert!(detail.contains("Expected: "), "{detail}");
    }
    let detail =
        server.post("/v1/peers/7/release", r#"{"locks":["B","nope"]}"#).problem(404, "unknown_semaphore");
    assert!(detail.contains("\"nope\""), "{detail}");
    server.post("/v1/peers/8/release", r#"{"locks":["nope"]}"#).problem(410, "peer_gone");
    goes_on(&server);
}
