//! Where the log goes. Asks the process to stop by a signal, so that all it wrote is known.

use std::{
    io::Read as _,
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use crate::support::{Launch, Server, free_port, shown, until};

#[test]
fn what_is_logged() {
    let run = |file: &str, filter: Option<&str>| {
        let port = free_port();
        let mut launch = Launch::new(&["--port", &port.to_string()]).file(file);
        if let Some(filter) = filter {
            launch = launch.env("THROTTLE_LOG", filter);
        }
        let process = launch.start();
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Server { process, port }.stop()
    };
    let listens = |lines: &[String]| lines.iter().any(|line| line.contains("INFO  throttle] Listening on"));
    let semaphore = "[semaphores]\nA = 1\n";
    let info = "[semaphores]\nA = 1\n[logging.stderr]\nlevel = 'info'";
    assert_eq!(run(semaphore, None), Vec::<String>::new(), "nothing to warn of");
    assert!(listens(&run(info, None)));
    assert!(listens(&run(semaphore, Some("info"))));
    assert!(listens(&run(semaphore, Some("warn,throttle=info"))));
    assert!(listens(&run(semaphore, Some("DEBUG"))));
    assert_eq!(run("", Some("off")), Vec::<String>::new());
    assert_eq!(run(info, Some("error")), Vec::<String>::new());
    assert!(listens(&run(info, Some(" "))));
    for wrong in ["throttle=loud", "loud"] {
        let lines = run(semaphore, Some(wrong));
        assert!(lines.iter().any(|line| line.contains("WARN") && line.contains(wrong)), "{lines:?}");
    }
}

fn gelf_message(socket: &UdpSocket) -> serde_json::Value {
    let mut datagram = vec![0; 65_536];
    let length = socket.recv(&mut datagram).expect("a message");
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(&datagram[..length]).read_to_string(&mut text).expect("compressed");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn graylog_gets_the_messages_and_stderr_none() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("settable");
    let port = socket.local_addr().expect("bound").port();
    let gelf = format!(
        "[semaphores]\nA = 1\n[logging.gelf]\nname = 'MyThrottleServer'\nhost = '127.0.0.1'\nport = {port}\n\
         level = 'INFO'\n"
    );
    let listening = |socket: &UdpSocket| loop {
        let message = gelf_message(socket);
        assert_eq!((&message["version"], &message["host"]), (&"1.1".into(), &"MyThrottleServer".into()));
        let text = message["short_message"].as_str().expect("a message").to_owned();
        if let Some(port) = text.strip_prefix("Listening on http://127.0.0.1:") {
            assert_eq!(message["level"], 6);
            assert_eq!(gelf_message(socket)["short_message"], "Ready");
            break port.parse().expect("a port");
        }
    };
    let process = Launch::new(&["--port", "0"]).file(&gelf).env("THROTTLE_LOG", "info").start();
    let server = Server { port: listening(&socket), process };
    server.get("/health").is(200, "Ok");
    let peer = server.holder("A", 1, "10m");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let headers = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    server.ask_with("DELETE", &format!("/v1/peers/{peer}?reason=stuck"), &headers, "").is_empty();
    let message = gelf_message(&socket);
    assert_eq!(message["short_message"], "Lock taken away.");
    for (key, value) in
        [("_peer", &*shown(peer)), ("_semaphore", "A"), ("_reason", "stuck"), ("_trace_id", trace)]
    {
        assert_eq!(message[key], value, "{key} in {message}");
    }
    assert_eq!(gelf_message(&socket)["short_message"], "Peer released by an operator.");
    assert_eq!(server.stop(), Vec::<String>::new());
    for message in ["Shutdown signal received", "Shutdown complete"] {
        assert_eq!(gelf_message(&socket)["short_message"], message);
    }

    // Unless the file asks for both.
    let both = format!("{gelf}[logging.stderr]\nlevel = 'INFO'\n");
    let server = Server::launch(Launch::new(&["--port", "0"]).file(&both));
    assert_eq!(server.port, listening(&socket));
}

/// A line of the log that is JSON and has this message.
fn json_line(server: &Server, message: &str) -> serde_json::Value {
    let line = server.process.stderr.line(&format!("\"message\":\"{message}"));
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn what_an_operator_needs_at_night() {
    let file = "[semaphores]\nA = 1\nB = 1\n[expiry]\nmargin = '0s'\n[logging.stderr]\nlevel = 'DEBUG'\nformat = 'json'\n";
    let server = Server::launch(Launch::new(&["--port", "0"]).file(file));
    let listens = json_line(&server, "Listening on http://");
    assert_eq!((&listens["level"], &listens["target"]), (&"INFO".into(), &"throttle".into()));
    let is = |line: &serde_json::Value, fields: &[(&str, &str)]| {
        for (key, value) in fields {
            assert_eq!(line[*key], *value, "{key} in {line}");
        }
    };

    // A wait and a grant; the trace is that of whoever waits.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let holder = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let mut waits = server.connect();
    waits.send(format!(
        "PUT /peers/{waiter}/A?block_for=10m HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         traceparent: 00-{trace}-b7ad6b7169203331-01\r\ncontent-length: 1\r\n\r\n1"
    ));
    server.until_metric("throttle_blocked_requests", 1.0);
    let id = shown(waiter);
    is(&json_line(&server, "Request waits."), &[("level", "DEBUG"), ("peer", &id), ("trace_id", trace)]);
    let released = format!("/v1/peers/{holder}?reason=stuck+since+noon");
    assert_eq!(server.delete(&released).status, 204);
    let token = waits.answer().token().to_string();
    let granted = json_line(&server, "Lock granted after a wait.");
    is(
        &granted,
        &[("level", "DEBUG"), ("peer", &id), ("semaphore", "A"), ("token", &token), ("trace_id", trace)],
    );
    is(&granted, &[("span_id", "b7ad6b7169203331")]);
    assert!(granted["waited"].is_string() && granted["count"] == 1, "{granted}");

    // An operator, and a lease that ended with what it held.
    let holder = shown(holder);
    let ended = json_line(&server, "Peer released by an operator.");
    is(&ended, &[("level", "INFO"), ("peer", &holder), ("reason", "stuck since noon")]);
    let taken = json_line(&server, "Lock taken away.");
    is(&taken, &[("level", "INFO"), ("peer", &holder), ("semaphore", "A"), ("cause", "operator")]);
    assert_eq!(taken["trace_id"], serde_json::Value::Null);
    server.heartbeat(waiter, "0s");
    let expired = json_line(&server, "Lock expired with the lease of its peer.");
    is(&expired, &[("level", "INFO"), ("peer", &id), ("semaphore", "A"), ("token", &token)]);
    is(&json_line(&server, "Peer ended."), &[("level", "DEBUG"), ("peer", &id), ("cause", "expired")]);

    // More than there is, by a restore.
    let restore = |peer: u64| format!(r#"{{"expires_in":"10m","peer_id":{peer},"acquired":{{"B":1}}}}"#);
    assert_eq!(server.post("/restore", &restore(7)).status, 200);
    assert_eq!(server.post("/restore", &restore(8)).status, 200);
    is(
        &json_line(&server, "Lock restored by its client."),
        &[("level", "DEBUG"), ("peer", "..000007"), ("semaphore", "B")],
    );
    let over = json_line(&server, "More is acquired than max.");
    is(&over, &[("level", "INFO"), ("semaphore", "B")]);
    assert_eq!((&over["acquired"], &over["max"]), (&2.into(), &1.into()));

    // Semaphores, and the file.
    server.put("/v1/semaphores/C", r#"{"max":3}"#).shape(201);
    is(&json_line(&server, "Semaphore made by a request."), &[("level", "INFO"), ("semaphore", "C")]);
    let changed = [("PUT", r#"{"max":5,"level":1}"#), ("PATCH", r#"{"max":8}"#), ("PATCH", r#"{"level":1}"#)];
    for ((method, body), (max, change)) in
        changed.into_iter().zip([(5, "max 3 -> 5, level 0 -> 1"), (8, "max 5 -> 8"), (8, "nothing")])
    {
        server.ask(method, "/v1/semaphores/C", body).shape(200);
        let line = server.process.stderr.line(&format!("\"change\":\"{change}\""));
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let message = ("message", "Semaphore changed by a request.");
        is(&line, &[("level", "INFO"), message, ("semaphore", "C")]);
        assert_eq!(line["max"], max);
    }
    assert_eq!(server.delete("/v1/semaphores/C").status, 204);
    is(&json_line(&server, "Semaphore removed by a request."), &[("semaphore", "C")]);
    server.post("/v1/reload", "").shape(200);
    is(&json_line(&server, "The configuration was reloaded."), &[("level", "INFO")]);
    for line in server.stop() {
        serde_json::from_str::<serde_json::Value>(&line).expect(&line);
        // Whoever knows it can end the peer.
        assert!(!line.contains(&waiter.to_string()), "the id of a peer: {line}");
    }
}

#[test]
fn at_info_requests_leave_no_line() {
    let server = Server::start("[semaphores]\nA = 1");
    let peer = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    server.release(peer, "A");
    server.heartbeat(peer, "10m");
    let lines = server.stop();
    let own = ["Starting", "Listening on", "Ready", "Shutdown signal received", "Shutdown complete"];
    let told = lines.iter().filter(|line| !own.iter().any(|own| line.contains(own)));
    assert_eq!(told.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Those that earlier releases wrote too.
#[test]
fn what_alerts_rely_on() {
    let file = "[semaphores]\nA = 1\n[expiry]\nmargin = '0s'\n[logging.stderr]\nlevel = 'INFO'\n";
    let server = Server::launch(Launch::new(&["--port", "0"]).file(file));
    let has = |line: &str| server.process.stderr.line(line);
    for line in [" INFO  throttle] Starting", " INFO  throttle] Ready"] {
        has(line);
    }
    let peer = server.peer("10m");
    // There is one line for the three of them.
    for _ in 0..3 {
        server.lock(peer, "B", 1).is(400, "Unknown semaphore");
        server.delete("/peers/42").is(200, "\"Peer not found\"");
    }
    let unknown = has(" WARN  throttle] Unknown semaphore");
    assert!(unknown.ends_with("semaphore=B"), "{unknown}");
    let unknown = has(" WARN  throttle] Deletion of unknown peer");
    assert!(unknown.ends_with("peer=..000042"), "{unknown}");
    server.peer("1ms");
    has(" WARN  throttle] Removed 1 peers due to expiration");
    let lines = server.stop();
    let last: Vec<_> =
        lines.iter().rev().take(2).rev().map(|line| line.split_once("] ").expect(line).1).collect();
    assert_eq!(last, ["Shutdown signal received", "Shutdown complete"]);
    for line in ["Unknown semaphore", "Deletion of unknown peer"] {
        assert!(lines.iter().filter(|other| other.contains(line)).count() < 3, "{lines:?}");
    }
}
