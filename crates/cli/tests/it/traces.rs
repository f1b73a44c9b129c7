//! Traces: what a collector that speaks the protocol gets of them.

#[cfg(unix)]
use std::net::TcpListener;

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{Answer, Collector, Launch, Server, attribute, event, shown};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "11111111111111111111111111111111";
const PARENT: &str = "b7ad6b7169203331";
const SEMAPHORES: &str = "[semaphores]\nA = 1\nB = 1\n";

fn traceparent(trace: &str, is_sampled: bool) -> String {
    format!("traceparent: 00-{trace}-{PARENT}-0{}\r\n", u8::from(is_sampled))
}

fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string");
        text
    })
}

/// A server that sends what it traces soon.
fn traced(endpoint: &str, more: &str) -> Server {
    let file = format!("{SEMAPHORES}[telemetry.otlp]\nendpoint = '{endpoint}'\n{more}");
    let launch = Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "debug");
    Server::launch(launch.env("OTEL_BSP_SCHEDULE_DELAY", "20"))
}

fn send(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    server.ask_with(method, path, headers, body)
}

#[test]
fn a_request_is_a_span_of_the_trace_of_its_client() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    let headers = format!("{}tracestate: vendor=1\r\n", traceparent(TRACE, true));
    let peer: u64 = send(&server, "POST", "/new_peer", &headers, r#"{"expires_in":"10m"}"#).number();
    assert_eq!(send(&server, "PUT", &format!("/peers/{peer}/A"), &headers, "1").status, 200);
    let span = collector.span("PUT /peers/{peer}/{semaphore}");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((span.kind, span.trace_state.as_str()), (2, "vendor=1"));
    for (key, value) in [
        ("http.request.method", "PUT"),
        ("http.route", "/peers/{peer}/{semaphore}"),
        ("http.response.status_code", "200"),
        ("url.path", &*format!("/peers/{}/A", shown(peer))),
        ("throttle.dialect", "classic"),
        ("throttle.peer", &*shown(peer)),
        ("throttle.semaphore", "A"),
        ("throttle.count", "1"),
    ] {
        assert_eq!(attribute(&span.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&collector.span("POST /new_peer").attributes, "throttle.peer"), Some(shown(peer)));
    assert_eq!(attribute(&collector.resource(), "service.name").as_deref(), Some("throttle"));
    assert_eq!(
        attribute(&collector.resource(), "service.version").as_deref(),
        Some(env!("CARGO_PKG_VERSION"))
    );

    // Of several locks there is a list, and what is not there has no route.
    let both = r#"{"locks":{"A":1,"B":1},"expires_in":"10m"}"#;
    assert_eq!(send(&server, "POST", "/v1/locks", &headers, both).status, 202);
    let span = collector.span("POST /v1/locks");
    assert_eq!(attribute(&span.attributes, "throttle.locks").as_deref(), Some("A=1,B=1"));
    assert_eq!(attribute(&span.attributes, "throttle.dialect").as_deref(), Some("v1"));
    send(&server, "GET", "/nope", &headers, "");
    let span = collector.span("GET");
    assert_eq!(attribute(&span.attributes, "http.route"), None);
    assert_eq!(attribute(&span.attributes, "http.response.status_code").as_deref(), Some("404"));

    // Without a trace of the client, one begins here.
    server.get("/health");
    let span = collector.span("GET /health");
    assert_eq!((hex(&span.trace_id) == TRACE, span.parent_span_id.len()), (false, 0));
}

#[cfg(unix)]
#[test]
fn a_command_under_a_lock_is_a_part_of_the_trace_that_it_was_started_in() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    let url = format!("http://127.0.0.1:{}", server.port);
    let launch = Launch::new(&["run", "--url", &url, "--semaphore", "A", "--", "true"]);
    assert_eq!(launch.env("TRACEPARENT", &format!("00-{TRACE}-{PARENT}-01")).run().0, 0);
    let span = collector.span("POST /v1/locks");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
}

#[test]
fn every_route_has_its_template() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    let description = server.get("/openapi.json").json();
    for (template, methods) in description["paths"].as_object().expect("paths") {
        let (method, operation) = methods.as_object().expect("methods").iter().next().expect("a method");
        // A stream has no end.
        if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
            continue;
        }
        let path = template.replace("{peer}", "7").replace("{semaphore}", "A").replace("{token}", "7");
        server.ask(&method.to_uppercase(), &path, "");
        collector.span(&format!("{} {template}", method.to_uppercase()));
    }
}

#[test]
fn a_wait_is_a_span_that_ends_with_the_grant() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    let holder = server.holder("A", 1, "10m");
    let first = server.peer("10m");
    assert_eq!(server.lock(first, "A", 1).status, 202);
    let waiter = server.peer("10m");
    let before = server.metric("throttle_blocked_requests");
    let mut blocked = server.connect();
    blocked.send(format!(
        "PUT /peers/{waiter}/A?block_for=10m HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{}\
         content-length: 1\r\n\r\n1",
        traceparent(TRACE, true)
    ));
    server.until_metric("throttle_blocked_requests", before + 1.0);
    // The first in line leaves without a grant; whoever releases is traced, too.
    server.delete(&format!("/peers/{first}"));
    let released = format!("/peers/{holder}/A");
    send(&server, "DELETE", &released, &traceparent(OTHER, true), "").is(200, "Ok");
    let token = blocked.answer().token();

    let wait = collector.span("throttle.wait");
    let request = collector.span("PUT /peers/{peer}/{semaphore}");
    let request = collector
        .spans()
        .into_iter()
        .find(|span| span.span_id == wait.parent_span_id)
        .unwrap_or_else(|| panic!("no parent: {request:?}"));
    assert_eq!((hex(&wait.trace_id), hex(&request.trace_id)), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(attribute(&wait.attributes, "throttle.peer"), Some(shown(waiter)));
    assert_eq!(attribute(&wait.attributes, "throttle.outcome").as_deref(), Some("granted"));
    let (queued, granted) = (event(&wait, "queued"), event(&wait, "granted"));
    assert_eq!(attribute(&queued.attributes, "throttle.position").as_deref(), Some("2"));
    assert_eq!(attribute(&granted.attributes, "throttle.token"), Some(token.to_string()));
    assert_eq!(attribute(&granted.attributes, "throttle.semaphore").as_deref(), Some("A"));
    let release = collector.span("DELETE /peers/{peer}/{semaphore}");
    // The request covers the wait, the wait the release, and its end is the grant.
    assert!(request.start_time_unix_nano <= wait.start_time_unix_nano);
    assert!(wait.start_time_unix_nano < release.start_time_unix_nano);
    assert!(release.start_time_unix_nano < granted.time_unix_nano);
    assert!(granted.time_unix_nano <= wait.end_time_unix_nano);
    assert!(wait.end_time_unix_nano <= request.end_time_unix_nano);
    let waited: u64 = attribute(&granted.attributes, "throttle.waited_ms").expect("it").parse().expect("ms");
    assert!(
        u128::from(waited)
            <= u128::from(wait.end_time_unix_nano - request.start_time_unix_nano) / 1_000_000 + 1
    );
    let link = wait.links.first().expect("a link");
    assert_eq!((&link.trace_id, &link.span_id), (&release.trace_id, &release.span_id));
    assert_eq!((hex(&release.trace_id), wait.links.len()), (OTHER.to_owned(), 1));

    // The log tells the same trace, though it was the release that wrote it.
    let line = server.process.stderr.line("Lock granted after a wait.");
    for part in [
        format!("peer={}", shown(waiter)),
        "semaphore=A".to_owned(),
        format!("trace_id={TRACE}"),
        format!("token={token}"),
    ] {
        assert!(line.contains(&part), "{part} is not in {line}");
    }
}

#[test]
fn a_wait_tells_how_else_it_ended() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    server.holder("A", 1, "10m");
    let outcome = |name: &str| {
        let ended = || {
            let spans = collector.spans();
            let outcomes = spans.iter().filter_map(|span| attribute(&span.attributes, "throttle.outcome"));
            outcomes.filter(|outcome| outcome == name).count() == 1
        };
        crate::support::until(name, ended);
    };
    let peer = server.peer("10m");
    assert_eq!(server.put(&format!("/peers/{peer}/A?block_for=10ms"), "1").status, 202);
    outcome("timeout");
    let mut waits = server.wait_for(peer, "A", "block_for=10m");
    server.release(peer, "A");
    assert_eq!(waits.answer().status, 202);
    outcome("withdrawn");
    let mut waits = server.wait_for(peer, "A", "block_for=10m");
    server.delete(&format!("/peers/{peer}"));
    waits.answer().is(400, "Unknown peer");
    outcome("peer_gone");
}

#[test]
fn a_client_that_hangs_up_ends_its_spans() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    drop(server.wait_for(waiter, "A", "block_for=10m"));
    let wait = collector.span("throttle.wait");
    assert_eq!(attribute(&wait.attributes, "throttle.outcome"), None);
    let is_its_request = |span: &Span| span.span_id == wait.parent_span_id;
    crate::support::until("the request ends", || collector.spans().iter().any(is_its_request));
    let request = collector.spans().into_iter().find(is_its_request).expect("it");
    assert_eq!(attribute(&request.attributes, "http.response.status_code"), None);
}

#[test]
fn what_the_client_does_not_sample_is_not_exported() {
    let collector = Collector::start();
    let server = traced(&collector.endpoint(), "");
    assert_eq!(send(&server, "GET", "/version", &traceparent(TRACE, false), "").status, 200);
    // Nor is a header that is none a trace.
    assert_eq!(send(&server, "GET", "/readyz", "traceparent: 00-zz\r\n", "").status, 200);
    collector.span("GET /readyz");
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != TRACE));

    // With a ratio of 0, only clients begin traces.
    let other = Collector::start();
    let file = format!("[telemetry.otlp]\nendpoint = '{}'\nsample_ratio = 0.0\n", other.endpoint());
    let launch = Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "info");
    let server = Server::launch(launch.env("OTEL_BSP_SCHEDULE_DELAY", "20"));
    server.get("/version");
    send(&server, "GET", "/health", &traceparent(TRACE, true), "");
    other.span("GET /health");
    assert_eq!(other.spans().len(), 1);
}

#[cfg(unix)]
#[test]
fn what_waits_to_be_sent_is_sent_at_shutdown() {
    let collector = Collector::start();
    // The environment names the collector; a flag would come before it, the file behind it.
    let file = "[telemetry.otlp]\nendpoint = 'http://127.0.0.1:9'\n";
    let launch = Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "info");
    let launch = launch.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let server = Server::launch(launch.env("OTEL_BSP_SCHEDULE_DELAY", "3600000"));
    server.get("/health").is(200, "Ok");
    assert_eq!(collector.spans().len(), 0);
    server.stop();
    assert_eq!(collector.spans().iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["GET /health"]);
}

#[cfg(unix)]
#[test]
fn a_collector_that_is_not_there_does_no_harm() {
    // Nobody listens on one; on the other nobody answers, and connections end up in the backlog.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (address.port(), silent)).expect("bound");
    for port in [crate::support::free_port(), silent.0] {
        let server = traced(&format!("http://127.0.0.1:{port}"), "timeout = '1h'\nqueue_size = 10\n");
        for _ in 0..100 {
            server.get("/health").is(200, "Ok");
        }
        let spans = |outcome| server.metric(&format!("throttle_otlp_spans_total{{outcome={outcome:?}}}"));
        assert_eq!(spans("exported").total_cmp(&0.0), std::cmp::Ordering::Equal);
        if port == silent.0 {
            crate::support::until("the queue is full", || spans("dropped") > 0.0);
        } else {
            let line = server.process.stderr.line("Traces do not reach the collector at http://127.0.0.1:");
            assert!(line.contains("Connection refused"), "{line}");
            crate::support::until("some were sent in vain", || spans("failed") > 0.0);
        }
        // Which does not wait for the hour.
        let lines = server.stop();
        let told = lines.iter().filter(|line| line.contains("Traces do not reach")).count();
        assert!(told <= 1, "once: {lines:#?}");
    }
}

#[test]
fn an_endpoint_that_is_none_stops_the_start() {
    let launch = Launch::new(&["--port", "0", "--otlp-endpoint", "collector:4318"]).file(SEMAPHORES);
    let error = launch.fails();
    assert!(error.starts_with("Traces cannot be sent to \"collector:4318\": "), "{error}");
    let file = format!("{SEMAPHORES}[telemetry.otlp]\nendpoint = 'collector:4318'\n");
    assert_eq!(Launch::new(&["check"]).file(&file).fails(), error);
}
