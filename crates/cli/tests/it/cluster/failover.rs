//! Leaders come and go, and nothing that was acknowledged is lost.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Cluster, Plan};
use crate::support::{Server, id, until};

/// Semaphore `B`, which has room for one, with a holder, and two who wait in a row. Their ids.
fn queue(server: &Server) -> [String; 3] {
    let body = json!({"expires_in": "10m", "locks": {"B": 1}}).to_string();
    let holder = id(&server.post("/v1/locks", &body).shape(201));
    let waiter = || {
        let waiter = server.v1_peer("10m");
        server.v1_locks(&waiter, &json!({"B": 1})).shape(202);
        waiter
    };
    [holder, waiter(), waiter()]
}

fn seen(server: &Server) -> Value {
    server.get("/v1/semaphores/B").shape(200)
}

#[test]
fn a_leader_is_killed_and_its_successor_knows_everything() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let [holder, first, second] = queue(cluster.server(leader));
    let token = seen(cluster.server(leader))["holders"][0]["token"].clone();
    let key = "idempotency-key: once\r\n";
    let body = json!({"expires_in": "10m", "locks": {"A": 1}}).to_string();
    let made = id(&cluster.server(leader).ask_with("POST", "/v1/locks", key, &body).shape(201));
    drop(cluster.take(leader));
    let next = cluster.leader();
    assert_ne!(next, leader);
    let server = cluster.server(next);
    let after = seen(server);
    assert_eq!((&after["holders"][0]["peer"], &after["holders"][0]["token"]), (&json!(holder), &token));
    let waiters: Vec<_> = after["queue"].as_array().expect("a list").iter().map(|one| &one["peer"]).collect();
    assert_eq!(waiters, [&json!(first), &json!(second)], "queues keep their order");
    // A request under a known key finds its peer.
    assert_eq!(id(&server.ask_with("POST", "/v1/locks", key, &body).shape(201)), made);
    // Every lease began anew in full.
    let peer = server.get(&format!("/v1/peers/{holder}")).shape(200);
    assert_eq!(peer["locks"][0]["token"], token);
    // Tokens go on.
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let granted = seen(server)["holders"][0].clone();
    assert_eq!(granted["peer"], json!(first));
    let number = |token: &Value| token.as_str().expect("digits").parse::<u64>().expect("a number");
    assert!(number(&granted["token"]) > number(&token));
    // The one that was killed comes back, and follows.
    cluster.restart(leader);
    assert_eq!(cluster.leader(), next);
    assert_eq!(seen(cluster.server(leader))["holders"], seen(cluster.server(next))["holders"]);
}

#[test]
fn a_blocked_request_finds_its_place_with_the_next_leader() {
    let mut cluster = Cluster::start();
    let (leader, standby) = (cluster.leader(), cluster.standbys()[0]);
    let [holder, first, _] = queue(cluster.server(leader));
    let path = format!("/v1/peers/{first}/locks");
    let body = json!({"locks": {"B": 1}, "wait": "10m"}).to_string();
    let mut waiting = cluster.server(standby).send("PUT", &path, &body);
    cluster.server(leader).until_metric("throttle_blocked_requests", 1.0);
    drop(cluster.take(leader));
    // It is told to ask again; and while it does, it is still the first.
    assert_eq!(waiting.answer().status, 503);
    let next = cluster.leader();
    let mut waiting = cluster.server(standby).send("PUT", &path, &body);
    cluster.server(next).until_metric("throttle_blocked_requests", 1.0);
    cluster.server(next).delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(waiting.answer().shape(200)["id"], json!(first));
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_at_once() {
    // Nobody could wait for the end of such a lease.
    let plan = Plan { cluster: "lease = \"10m\"", ..Plan::default() };
    let mut cluster = Cluster::plan(&plan);
    let leader = cluster.leader();
    let [holder, ..] = queue(cluster.server(leader));
    cluster.take(leader).stop();
    let next = cluster.leader();
    assert_eq!(seen(cluster.server(next))["holders"][0]["peer"], json!(holder));
    let asked = cluster.server(next).metric("throttle_cluster_changes_total");
    assert_eq!(asked.total_cmp(&1.0), std::cmp::Ordering::Equal);
}

#[test]
fn a_leader_that_stood_still_past_its_lease_tells_nothing_old() {
    let cluster = Cluster::start();
    let (leader, standbys) = (cluster.leader(), cluster.standbys());
    let [holder, first, _] = queue(cluster.server(leader));
    // It is asked while it stands still, so it runs the request when it wakes, before it knows anything.
    cluster.server(leader).process.signal(Signal::STOP);
    let mut late = cluster.server(leader).send("GET", "/v1/semaphores/B", "");
    let mut beat = cluster.server(leader).send("PUT", &format!("/peers/{holder}"), r#"{"expires_in":"10m"}"#);
    let next = cluster.leader_of(&standbys);
    let server = cluster.server(next);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(seen(server)["holders"][0]["peer"], json!(first));
    cluster.server(leader).process.signal(Signal::CONT);
    for answer in [late.answer(), beat.answer()] {
        assert!(matches!(answer.status, 503 | 404), "{}: {}", answer.status, answer.text());
    }
    // From then on it follows.
    cluster.server(leader).process.stderr.line("Another server leads by now.");
    until("it passes requests on", || cluster.server(leader).get("/v1/semaphores/B").status == 200);
    assert_eq!(seen(cluster.server(leader))["holders"][0]["peer"], json!(first));
    assert_eq!(cluster.leader(), next);
}

#[test]
fn leaders_follow_each_other_and_the_log_is_made_short() {
    let plan = Plan {
        sections: "[semaphores]\nA = 2\nB = 1\n[durability]\nsnapshot_bytes = 65536",
        ..Plan::default()
    };
    let mut cluster = Cluster::plan(&plan);
    let held = cluster.server(cluster.leader()).v1_holder(&json!({"B": 1}));
    for _ in 0..3 {
        let leader = cluster.leader();
        let server = cluster.server(leader);
        while server.metric("throttle_journal_bytes_total") < 70_000.0 {
            for _ in 0..20 {
                let peer = server.v1_holder(&json!({"A": 1}));
                server.delete(&format!("/v1/peers/{peer}")).is_empty();
            }
        }
        server.process.stderr.line("The journal was made short");
        drop(cluster.take(leader));
        let next = cluster.leader();
        assert_eq!(seen(cluster.server(next))["holders"][0]["peer"], json!(held));
        cluster.restart(leader);
    }
    let keys = cluster.etcd.ctl(&["get", "--prefix", "--keys-only", "/throttle/log/"]);
    assert!(keys.lines().filter(|line| !line.is_empty()).count() < 3000, "{keys}");
}
