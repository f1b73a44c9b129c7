//! etcd's own trouble.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, Plan};
use crate::{
    support::{Etcd, Launch, Server, free_port, until},
    tls::Authority,
};

#[test]
fn a_member_of_etcd_is_killed_and_comes_back() {
    let mut cluster = Cluster::plan(&Plan { members: 3, servers: 2, ..Plan::default() });
    let held = cluster.server(cluster.leader()).v1_holder(&json!({"B": 1}));
    for at in 0..3 {
        cluster.etcd.members[at].kill();
        // A request may meet the moment in which etcd has no leader.
        until("requests are answered", || {
            let server = cluster.server(0);
            server.post("/v1/peers", r#"{"expires_in":"1m"}"#).status == 201
        });
        assert_eq!(
            cluster.server(cluster.leader()).get("/v1/semaphores/B").shape(200)["holders"][0]["peer"],
            json!(held)
        );
        cluster.etcd.members[at].start();
        until("the member is back", || {
            let status = cluster.server(1).get("/v1/cluster").shape(200);
            status["etcd"].as_array().expect("a list").iter().all(|member| member["errors"] == json!([]))
        });
    }
}

#[test]
fn members_of_etcd_come_and_go() {
    let mut cluster = Cluster::plan(&Plan { members: 3, servers: 2, ..Plan::default() });
    let held = cluster.server(cluster.leader()).v1_holder(&json!({"B": 1}));
    cluster.etcd.remove(2);
    cluster.etcd.add();
    let removed = || cluster.server(0).get("/v1/cluster").shape(200)["etcd"].clone();
    until("the removed member is told of", || removed()[2]["errors"] != json!([]));
    // Of the three that the servers know there is one left, and it is enough: the new member makes a majority with it.
    cluster.etcd.members[0].kill();
    for server in [0, 1] {
        until("requests are answered", || {
            cluster.server(server).post("/v1/peers", r#"{"expires_in":"1m"}"#).status == 201
        });
        assert_eq!(
            cluster.server(server).get("/v1/semaphores/B").shape(200)["holders"][0]["peer"],
            json!(held)
        );
    }
}

#[test]
fn etcd_asks_for_a_certificate() {
    let authority = Authority::new();
    let etcd = Etcd::encrypted(&authority);
    let launch = |more: &str| {
        let port = free_port();
        let text = format!(
            "[semaphores]\nA = 2\n[cluster]\nendpoints = {}\nadvertise = \"http://127.0.0.1:{port}\"\nlease = \"2s\"\n\
             {more}",
            etcd.endpoints()
        );
        let launch = Launch::new(&["--port", &port.to_string()]).file(text).env("THROTTLE_LOG", "info");
        let (certificate, key) = authority.issue("throttle");
        for (name, text) in [("ca.pem", &authority.pem), ("own.pem", &certificate), ("own.key", &key)] {
            fs::write(launch.path(name), text).expect("written");
        }
        launch
    };
    for (more, said) in [
        ("", "Check cluster.ca and the certificates of etcd"),
        ("ca = \"ca.pem\"\n", "set cluster.cert and cluster.key"),
    ] {
        let refused = launch(more).start();
        let line = refused.stderr.line("The server waits for etcd");
        assert!(line.contains(said), "{line}");
    }
    let server = Server::launch(launch("ca = \"ca.pem\"\ncert = \"own.pem\"\nkey = \"own.key\"\n"));
    until("it leads", || server.metric("throttle_cluster_is_leader").total_cmp(&1.0).is_eq());
    server.v1_holder(&json!({"A": 1}));
    assert_eq!(server.get("/v1/cluster").shape(200)["etcd"][0]["errors"], json!([]));
}

#[test]
fn while_etcd_is_silent_nothing_is_promised_and_no_lease_ends() {
    let cluster = Cluster::start();
    let server = cluster.server(cluster.leader());
    let peer = server.v1_peer("3s");
    server.v1_locks(&peer, &json!({"B": 1})).shape(200);
    cluster.etcd.members[0].signal(Signal::STOP);
    // A process may go on for a moment.
    until("nothing is promised", || server.get("/v1/semaphores/B").status == 503);
    // Longer than the lease of the peer, and than that of the leader: each answer takes as long as the latter.
    for _ in 0..3 {
        let refused = server.get("/v1/semaphores/B").problem(503, "unavailable");
        assert!(refused.contains("cannot promise"), "{refused}");
    }
    server.get("/livez").is(200, "Ok");
    cluster.etcd.members[0].signal(Signal::CONT);
    until("it answers", || server.get("/v1/semaphores/B").status == 200);
    let leader = cluster.server(cluster.leader());
    assert_eq!(leader.get("/v1/semaphores/B").shape(200)["holders"][0]["peer"], json!(peer));
    // And then it goes on as ever: without heartbeats the lease ends.
    until("the lease ends", || leader.remainder("B") == 1);
}

#[test]
fn what_held_a_leader_up_is_over_once_it_follows() {
    let cluster = Cluster::start();
    let (leader, standbys) = (cluster.leader(), cluster.standbys());
    let server = cluster.server(leader);
    cluster.etcd.members[0].signal(Signal::STOP);
    let body = json!({"expires_in": "10m", "locks": {"B": 1}}).to_string();
    let mut waiting = server.send("POST", "/v1/locks", &body);
    server.until_metric("throttle_cluster_trouble", 1.0);
    // Its lease ends while it stands still.
    server.process.signal(Signal::STOP);
    cluster.etcd.members[0].signal(Signal::CONT);
    cluster.leader_of(&standbys);
    server.process.signal(Signal::CONT);
    // What it sent to etcd may have been taken before another server led, and then it counts there too.
    let held = match waiting.answer() {
        answer if answer.status == 201 => answer.shape(201)["locks"].as_array().map_or(0, Vec::len),
        answer => {
            answer.problem(503, "unavailable");
            0
        }
    };
    let semaphore = cluster.server(cluster.leader()).get("/v1/semaphores/B").shape(200);
    assert!(semaphore["holders"].as_array().is_some_and(|all| all.len() >= held), "{semaphore}");
    server.process.stderr.line("Another server leads by now.");
    server.until_metric("throttle_cluster_trouble", 0.0);
    for at in cluster.running() {
        let status = cluster.server(at).get("/v1/cluster").shape(200);
        assert_eq!(status["trouble"], json!(null), "{status}");
        let held: Vec<_> =
            status["servers"].as_array().expect("a list").iter().map(|one| &one["trouble"]).collect();
        assert_eq!(held, [&json!(null); 3], "{status}");
    }
}

#[test]
fn an_etcd_that_is_full_lets_leases_live_and_says_what_to_do() {
    let cluster = Cluster::plan(&Plan { servers: 1, quota_bytes: 16 << 20, ..Plan::default() });
    let server = cluster.server(0);
    let peer = server.v1_holder(&json!({"B": 1}));
    cluster.etcd.fill();
    let acquire = || server.post("/v1/locks", &json!({"expires_in": "1m", "locks": {"A": 1}}).to_string());
    until("changes are refused", || acquire().status == 503);
    let trouble = server.get("/v1/cluster").shape(200)["trouble"].as_str().expect("trouble").to_owned();
    assert!(trouble.contains("NOSPACE") && trouble.contains("etcdctl alarm disarm"), "{trouble}");
    server.process.stderr.line("etcd is full");
    for _ in 0..3 {
        assert_eq!(
            server.heartbeat(peer.parse().expect("an id"), "10m").status,
            200,
            "a heartbeat changes nothing"
        );
        let shown = server.post(&format!("/v1/peers/{peer}/heartbeat"), "{}").shape(200);
        assert_eq!(shown["locks"][0]["semaphore"], "B", "what it has did not change either");
    }
    assert_eq!(server.metric("throttle_cluster_is_leader").total_cmp(&1.0), std::cmp::Ordering::Equal);
    cluster.etcd.free();
    until("changes are taken again", || acquire().status == 201);
}

#[test]
fn etcd_asks_who_a_server_is() {
    let cluster = Cluster::plan(&Plan { servers: 1, ..Plan::default() });
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "add", "throttle:pass word"],
        &["role", "add", "throttle"],
        &["role", "grant-permission", "throttle", "--prefix=true", "readwrite", "/throttle/"],
        &["user", "grant-role", "throttle", "throttle"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        cluster.etcd.ctl(arguments);
    }
    let launch = |more: &str| {
        let port = free_port();
        let text = format!(
            "[semaphores]\nA = 2\n[cluster]\nendpoints = {}\nadvertise = \"http://127.0.0.1:{port}\"\nlease = \"2s\"\n\
             {more}",
            cluster.etcd.endpoints()
        );
        Launch::new(&["--port", &port.to_string()]).file(text).env("THROTTLE_LOG", "info")
    };
    let stranger = launch("").start();
    let line = stranger.stderr.line("The server waits for etcd");
    assert!(line.contains("Set cluster.username and cluster.password_file"), "{line}");
    drop(stranger);
    let known = launch("username = \"throttle\"\npassword_file = \"password\"\n");
    fs::write(known.path("password"), "wrong\n").expect("written");
    let wrong = known.start();
    let line = wrong.stderr.line("The server waits for etcd");
    assert!(line.contains("Check cluster.username and cluster.password_file"), "{line}");
    drop(wrong);
    let known = launch("username = \"throttle\"\npassword_file = \"password\"\n");
    fs::write(known.path("password"), "pass word\n").expect("written");
    let server = Server::launch(known);
    assert_eq!(server.get("/livez").status, 200);
    // The first one was never told who it is, so its lease ends.
    until("it leads", || server.metric("throttle_cluster_is_leader").total_cmp(&1.0).is_eq());
    server.v1_holder(&json!({"A": 1}));
}
