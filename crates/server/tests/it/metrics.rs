//! The figures for Prometheus: names of both older generations, and newer ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Server;

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
    server.put("/peers/7", r#"{"expires_in":"10m","active":{"C":2}}"#).is(200, "Ok");
    for (name, value) in [
        ("throttle_count{semaphore=\"A\"}", 1.0),
        ("throttle_pending{semaphore=\"A\"}", 0.0),
        ("throttle_waiting{semaphore=\"A\"}", 0.0),
        ("throttle_longest_pending_sec{semaphore=\"A\"}", 0.0),
        ("throttle_acquired{semaphore=\"C\"}", 2.0),
        ("throttle_peers", 3.0),
        ("throttle_blocked_requests", 0.0),
        ("throttle_grants_total{semaphore=\"A\"}", 3.0),
        ("throttle_releases_total{semaphore=\"A\"}", 1.0),
        ("throttle_expiries_total{semaphore=\"A\"}", 1.0),
        ("throttle_expired_peers_total", 1.0),
        ("throttle_restores_total{semaphore=\"C\"}", 1.0),
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

    let mut kinds = BTreeMap::new();
    let mut described = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a name and a text");
            assert!(!text.is_empty() && described.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert_eq!(kinds.insert(name, kind), None, "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            value.parse::<f64>().expect(line);
            assert!(seen.insert(series), "twice: {line}");
            let name = series.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|family| kinds.get(family) == Some(&"histogram"))
                .unwrap_or(name);
            assert!(kinds.contains_key(family) && described.contains(family), "not described: {line}");
            if let Some(labels) = series.split_once('{').map(|(_, labels)| labels) {
                assert!(labels.starts_with("semaphore=\""), "{line}");
            }
        }
    }
    for name in ["count", "full_count", "pending", "acquired", "max", "longest_pending_sec"] {
        assert_eq!(kinds.get(&*format!("throttle_{name}")), Some(&"gauge"), "{name}");
    }
    assert_eq!(kinds.get("throttle_num_404"), Some(&"counter"));
    assert_eq!(kinds.get("throttle_wait_seconds"), Some(&"histogram"));
    assert!(seen.contains("throttle_num_404"), "it has no labels");
}
