//! Requests that are too large, end too early, or are no HTTP.

use super::{FILE, JSON, ROUTES, ask, goes_on, raw, refused};
use crate::support::{Client, Server, request};

#[test]
fn oversized_bodies() {
    let server = Server::start(FILE);
    for size in [17 << 10, 1 << 20] {
        let body = vec![b' '; size];
        for (method, path, body_of_row) in ROUTES {
            let what = format!("{method} {path} with {size} bytes");
            let mut chunked = format!("{size:x}\r\n").into_bytes();
            chunked.extend_from_slice(&body);
            chunked.extend_from_slice(b"\r\n0\r\n\r\n");
            let announced = raw(method, path, JSON, &body);
            let unannounced = raw(method, path, &format!("{JSON}transfer-encoding: chunked\r\n"), &chunked);
            let undeclared = raw(method, path, "", &body);
            for bytes in [announced, unannounced, undeclared] {
                // All of it is written before anything is read, as simple clients do.
                let answer = ask(&server, &bytes);
                if body_of_row.is_empty() {
                    // Routes without a body do not look at one.
                    assert!(answer.status < 500, "{what}: {}", answer.status);
                } else {
                    refused(&answer, &what);
                    answer.says(413, "16384 bytes");
                }
            }
        }
    }
    // A body that is only said to be large is refused before it is sent.
    let head = "POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for more in [
        "content-length: 9223372036854775807\r\n\r\n",
        "expect: 100-continue\r\ncontent-length: 17000\r\n\r\n",
    ] {
        ask(&server, format!("{head}{more}").as_bytes()).says(413, "16384 bytes");
    }
    goes_on(&server);
}

#[test]
fn truncated_requests() {
    let server = Server::start(FILE);
    for (method, path, body) in ROUTES {
        let json = if body.is_empty() { "{}" } else { body };
        let whole = request(method, path, json);
        let chunked = raw(
            method,
            path,
            &format!("{JSON}transfer-encoding: chunked\r\n"),
            format!("{:x}\r\n{json}", json.len() + 1).as_bytes(),
        );
        let broken =
            raw(method, path, &format!("{JSON}transfer-encoding: chunked\r\n"), b"zz\r\n1\r\n0\r\n\r\n");
        for bytes in [&whole.as_bytes()[..whole.len() - 1], &chunked, &broken] {
            let what = format!("{method} {path} after {} bytes", bytes.len());
            let mut client = server.connect();
            client.send(bytes).finish();
            let answer = client.answer();
            if body.is_empty() {
                assert!(answer.status < 500, "{what}: {}", answer.status);
            } else {
                refused(&answer, &what);
            }
        }
        // In the middle of the head.
        let mut client = server.connect();
        client.send(&whole[..20]).finish();
        refused(&client.answer(), "half a head");
        // Who is gone altogether gets no answer, and does no harm.
        server.connect().send(&whole[..whole.len() - 1]);
    }
    server.get("/peers/").is(200, "[]");
    goes_on(&server);
}

#[test]
fn what_is_not_http() {
    let server = Server::start(FILE);
    let long = "x".repeat(70_000);
    let many: String = std::iter::repeat_n("x: 1\r\n", 200).collect();
    for bytes in [
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\r\n\r\n".as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET nope HTTP/1.1\r\nhost: x\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nb\xfcd: 1\r\n\r\n",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551615\r\n\r\n",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n1",
        b"POST /new_peer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: x\r\n\r\n",
        b"POST /new_peer HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n").as_bytes(),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes(),
    ] {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = ask(&server, bytes);
        refused(&answer, &what);
        // The same behind a good request, which gets its answer first.
        let mut client: Client = server.connect();
        client.send([request("GET", "/health", "").as_bytes(), bytes].concat());
        client.answer().is(200, "Ok");
        let second = client.answer();
        refused(&second, &what);
        assert_eq!((second.status, &second.body), (answer.status, &answer.body), "{what}");
    }
    goes_on(&server);
}

#[test]
fn what_http_forbids() {
    let server = Server::start(FILE);
    let rows = [
        ("GET /v1/peers HTTP/1.1\r\n\r\n", 400, "no Host"),
        ("GET /v1/peers HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, "more than one Host"),
        ("GET /v1/peers HTTP/1.1\r\nhost: a\r\nexpect: magic\r\n\r\n", 417, "Expect: 100-continue"),
    ];
    for (bytes, status, words) in rows {
        let mut client = server.connect();
        let answer = client.send(bytes).answer();
        answer.says(status, words);
        assert_eq!(answer.header("connection"), Some("close"), "{bytes}");
        assert_eq!(client.rest(), "");
    }
    // HTTP/1.0 knows requests without a host.
    let old = server.connect().send("GET /health HTTP/1.0\r\n\r\n").rest();
    assert!(old.starts_with("HTTP/1.0 200 OK") && old.ends_with("Ok"), "{old}");
    ask(&server, b"GET /health HTTP/1.1\r\nhost:\r\n\r\n").is(200, "Ok");
    goes_on(&server);
}

/// Such as `nc -N`.
#[test]
fn a_client_that_closes_its_side_reads_its_answer() {
    let server = Server::start(FILE);
    let peer = server.v1_peer("5m");
    let mut client = server.connect();
    let answer = client.send(request("POST", &format!("/v1/peers/{peer}/heartbeat"), "")).finish().answer();
    answer.shape(200);
}
