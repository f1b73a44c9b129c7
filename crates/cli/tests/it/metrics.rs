//! The figures for Prometheus: names of both older generations, and newer ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

#[cfg(unix)]
use crate::support::Etcd;
use crate::support::{Launch, Server, until};

#[test]
fn figures_after_a_scenario() {
    let server = Server::start("[semaphores]\nA = 3\n\"B \\\"b\\\" \\\\\" = 1\nC = 1");
    let holder = server.holder("A", 2, "10m");
    let waiter = server.peer("10m");
    assert_eq!(server.lock(waiter, "A", 2).status, 202);
    let blocked = server.peer("10m");
    let mut waits = server.wait_for(blocked, "A", "block_for=10m");

    for (name, value) in [
        ("throttle_count{semaphore=\"A\"}", 2.0),
        ("throttle_full_count{semaphore=\"A\"}", 3.0),
        ("throttle_pending{semaphore=\"A\"}", 3.0),
        ("throttle_acquired{semaphore=\"A\"}", 2.0),
        ("throttle_max{semaphore=\"A\"}", 3.0),
        ("throttle_waiting{semaphore=\"A\"}", 2.0),
        ("throttle_max{semaphore=\"B \\\"b\\\" \\\\\"}", 1.0),
        ("throttle_count{semaphore=\"C\"}", 0.0),
        ("throttle_pending{semaphore=\"C\"}", 0.0),
        ("throttle_longest_pending_sec{semaphore=\"C\"}", 0.0),
        ("throttle_peers", 3.0),
        ("throttle_blocked_requests", 1.0),
        ("throttle_num_404", 0.0),
        ("throttle_grants_total{semaphore=\"A\"}", 1.0),
        ("throttle_releases_total{semaphore=\"A\"}", 0.0),
        ("throttle_expiries_total{semaphore=\"C\"}", 0.0),
        ("throttle_hold_seconds_count{semaphore=\"A\"}", 0.0),
    ] {
        assert_eq!(server.figure(name), Some(value), "{name}");
    }
    let longest = server.metric("throttle_longest_pending_sec{semaphore=\"A\"}");
    assert!(longest > 0.0);
    assert!(server.metric("throttle_longest_pending_sec{semaphore=\"A\"}") > longest);

    server.release(holder, "A");
    assert_eq!(waits.answer().status, 200);
    server.heartbeat(waiter, "0s");
    for peer in [7, 8] {
        let body = r#"{"expires_in":"10m","active":{"C":1}}"#;
        server.put(&format!("/peers/{peer}"), body).is(200, "Ok");
    }
    for (name, value) in [
        ("throttle_count{semaphore=\"A\"}", 1.0),
        ("throttle_pending{semaphore=\"A\"}", 0.0),
        ("throttle_waiting{semaphore=\"A\"}", 0.0),
        ("throttle_longest_pending_sec{semaphore=\"A\"}", 0.0),
        ("throttle_acquired{semaphore=\"C\"}", 2.0),
        ("throttle_peers", 4.0),
        ("throttle_blocked_requests", 0.0),
        ("throttle_grants_total{semaphore=\"A\"}", 3.0),
        ("throttle_releases_total{semaphore=\"A\"}", 1.0),
        ("throttle_expiries_total{semaphore=\"A\"}", 1.0),
        ("throttle_expired_peers_total", 1.0),
        ("throttle_restores_total{semaphore=\"C\"}", 2.0),
        ("throttle_overcommits_total{semaphore=\"C\"}", 1.0),
        ("throttle_wait_seconds_count{semaphore=\"A\"}", 3.0),
        ("throttle_wait_seconds_bucket{semaphore=\"A\",le=\"+Inf\"}", 3.0),
        ("throttle_hold_seconds_count{semaphore=\"A\"}", 2.0),
        ("throttle_hold_seconds_bucket{semaphore=\"A\",le=\"86400\"}", 2.0),
    ] {
        assert_eq!(server.figure(name), Some(value), "{name}");
    }
    assert!(server.metric("throttle_wait_seconds_sum{semaphore=\"A\"}") >= longest);
    assert!(server.metric("throttle_hold_seconds_sum{semaphore=\"A\"}") >= longest);
}

#[test]
fn figures_around_the_engine() {
    let server = Server::start("[semaphores]\nA = 1\nB = { max = 2, per = '1h' }\n\"P*\" = 1");
    server.get("/nope");
    assert_eq!(server.lock(server.peer("10m"), "P1", 1).status, 200);
    let waiter = server.peer("10m");
    server.holder("A", 1, "10m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    server.release(waiter, "A");
    let quick = server.holder("B", 2, "10m");
    server.release(quick, "B");
    server.post("/v1/peers", "{}").problem(400, "invalid_request");
    server.post("/acquire", r#"{"pending":{"P2":1},"expires_in":"10m"}"#);
    server.connect().send("no HTTP\r\n\r\n").answer().says(400, "valid HTTP");
    for (name, value) in [
        ("throttle_semaphores", 4.0),
        ("throttle_cooling{semaphore=\"B\"}", 2.0),
        ("throttle_withdrawals_total{semaphore=\"A\"}", 1.0),
        ("throttle_http_requests_total{code=\"404\",dialect=\"site\"}", 1.0),
        ("throttle_http_requests_total{code=\"202\",dialect=\"classic\"}", 1.0),
        ("throttle_http_requests_total{code=\"201\",dialect=\"first\"}", 1.0),
        ("throttle_http_requests_total{code=\"400\",dialect=\"v1\"}", 1.0),
        ("throttle_connections_refused_total", 0.0),
        ("throttle_connection_errors_total{error=\"head_timeout\"}", 0.0),
        (concat!("throttle_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(server.figure(name), Some(value), "{name}");
    }
    server.until_metric("throttle_connection_errors_total{error=\"malformed\"}", 1.0);
    // The one that asks is open.
    assert!(server.metric("throttle_connections") >= 1.0);
    let accepted = server.metric("throttle_connections_accepted_total");
    assert!(server.metric("throttle_connections_accepted_total") > accepted);
    let uptime = server.metric("throttle_uptime_seconds");
    assert!(uptime > 0.0 && server.metric("throttle_uptime_seconds") > uptime);
}

#[test]
fn semaphores_made_by_requests_share_series_beyond_a_limit() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1\n\"P*\" = 1\n[limits]\nmetric_series = 1");
    for name in ["C", "D", "E"] {
        server.put(&format!("/v1/semaphores/{name}"), r#"{"max": 2}"#).shape(201);
        server.holder(name, 1, "10m");
    }
    server.holder("A", 1, "10m");
    server.holder("P1", 1, "10m");
    let page = server.get("/metrics").text().to_owned();
    for (name, acquired) in [("A", 1), ("B", 0), ("C", 1), ("other", 2), ("P*", 1)] {
        for family in ["throttle_acquired", "throttle_grants_total"] {
            let line = format!("{family}{{semaphore=\"{name}\"}} {acquired}\n");
            assert!(page.contains(&line), "{line} in {page}");
        }
    }
    assert!(!page.contains("\"D\"") && !page.contains("\"E\""), "{page}");
    // There is room again when one goes.
    server.delete("/v1/semaphores/C?force=true").is_empty();
    server.put("/v1/semaphores/D", r#"{"max": 3}"#).shape(200);
    assert_eq!(server.figure("throttle_acquired{semaphore=\"C\"}"), None);
    assert_eq!(server.figure("throttle_acquired{semaphore=\"D\"}"), Some(1.0));
    assert_eq!(server.figure("throttle_acquired{semaphore=\"other\"}"), Some(1.0));
}

#[test]
fn a_large_page_is_shared_for_a_second() {
    let mut file = String::from("[semaphores]\n");
    for number in 0..200 {
        // Writing to a string cannot fail.
        let _ = writeln!(file, "semaphore-{number:03} = 1");
    }
    let server = Server::start(&file);
    let uptime = || server.metric("throttle_uptime_seconds").to_bits();
    let start = Instant::now();
    let first = uptime();
    let is_shared = uptime() == first;
    assert!(is_shared || start.elapsed() > Duration::from_secs(1));
    until("another page is made", || uptime() != first);
}

#[test]
fn the_page_can_be_parsed_and_names_no_peer() {
    let server = Server::start("[semaphores]\nA = 3\nB = 1");
    let holder = server.holder("A", 2, "10m");
    let waiter = server.peer("10m");
    server.lock(waiter, "A", 2);
    server.get("/nope");
    let page = server.get("/metrics");
    let page = page.text();
    for peer in [holder, waiter] {
        assert!(!page.contains(&peer.to_string()), "{page}");
    }

    let families = families(page);
    for name in ["count", "full_count", "pending", "acquired", "max", "longest_pending_sec"] {
        let family = Family { kind: "gauge".to_owned(), labels: vec!["semaphore".to_owned()] };
        assert_eq!(families.get(&format!("throttle_{name}")), Some(&family), "{name}");
    }
    assert_eq!(families["throttle_num_404"], Family { kind: "counter".to_owned(), labels: Vec::new() });
    assert_eq!(families["throttle_wait_seconds"].kind, "histogram");
}

/// What is known of a metric.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: Vec<String>,
}

/// All metrics of a page, which has to be one.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut described = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a name and a text");
            assert!(!text.is_empty() && described.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            let family = Family { kind: kind.to_owned(), labels: Vec::new() };
            assert_eq!(families.insert(name.to_owned(), family), None, "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            value.parse::<f64>().expect(line);
            assert!(seen.insert(series), "twice: {line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|family| families.get(*family).is_some_and(|family| family.kind == "histogram"))
                .unwrap_or(name);
            assert!(described.contains(family), "not described: {line}");
            let family = families.get_mut(family).unwrap_or_else(|| panic!("not described: {line}"));
            family.labels = names(labels);
        }
    }
    families
}

/// The names of the labels of a series, without that of buckets.
fn names(labels: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = labels;
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut is_escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        rest = &value[end.expect("a closing quote") + 1..];
    }
    names.retain(|name| name != "le");
    names.sort();
    names
}

/// The sections of `docs/metrics.md` for metrics that not every server has, each with the configuration that makes
/// a server show them.
const SECTIONS: &[(&str, &str)] = &[
    ("With a data directory", "[durability]\ndata_dir = 'data'\n"),
    (
        "With `[logging.gelf]`",
        "[logging.gelf]\nname = 'it'\nhost = '127.0.0.1'\nport = 9\n[logging.stderr]\n",
    ),
    ("With `[audit]`", "[audit]\nfile = 'audit.jsonl'\n"),
    ("With `[telemetry.otlp]`", "[telemetry.otlp]\nendpoint = 'http://127.0.0.1:9'\n"),
];

/// The tables of the document, by the section that they are in.
fn documented() -> BTreeMap<String, BTreeMap<String, Family>> {
    let mut sections = BTreeMap::<_, BTreeMap<_, _>>::new();
    let mut section = String::new();
    for line in include_str!("../../../../docs/metrics.md").lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, _, ""] = cells[..] else { panic!("five columns: {line}") };
        assert!(!meaning.is_empty(), "{line}");
        let mut labels: Vec<_> = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        labels.sort();
        let name = name.trim_end_matches('`').to_owned();
        let family = Family { kind: kind.to_owned(), labels };
        let before = sections.entry(section.clone()).or_default().insert(name, family);
        assert_eq!(before, None, "twice: {line}");
    }
    sections
}

#[test]
fn the_document_knows_every_metric_and_no_other() {
    let mut documented = documented();
    let mut always = documented.remove("Always").expect("a section");
    let linux = documented.remove("On Linux").expect("a section");
    if cfg!(target_os = "linux") {
        always.extend(linux);
    }
    let mut modes = vec![(String::new(), BTreeMap::new())];
    for (section, configuration) in SECTIONS {
        let metrics = documented.remove(*section).unwrap_or_else(|| panic!("a section {section:?}"));
        modes.push(((*configuration).to_owned(), metrics));
    }
    let metrics = documented.remove("With `[cluster]`").expect("a section");
    #[cfg(unix)]
    let etcd = Etcd::start(1, 1 << 30);
    #[cfg(unix)]
    modes.push((
        format!("[cluster]\nendpoints = {}\nadvertise = 'http://127.0.0.1:9'\n", etcd.endpoints()),
        metrics,
    ));
    #[cfg(not(unix))]
    drop(metrics);
    assert!(documented.is_empty(), "sections that nobody looks at: {documented:?}");

    for (configuration, metrics) in modes {
        let file = format!("{configuration}[semaphores]\nA = 1\n");
        let server = Server::launch(Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "info"));
        // One of several servers leads after a while.
        until("it is ready", || server.get("/v1/semaphores").status == 200);
        // Traffic, as some series begin with it.
        let holder = server.holder("A", 1, "10m");
        server.release(holder, "A");
        let mut shown = families(server.get("/metrics").text());
        for (name, family) in always.iter().chain(&metrics) {
            assert_eq!(
                shown.remove(name).as_ref(),
                Some(family),
                "{name}, documented, with {configuration:?}"
            );
        }
        assert!(shown.is_empty(), "not documented, with {configuration:?}: {shown:?}");
    }
}
