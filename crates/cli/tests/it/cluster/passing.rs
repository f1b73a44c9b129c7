//! Any server takes any request.

use serde_json::json;

use super::{Cluster, Plan};
use crate::support::{Launch, id};

#[test]
fn any_server_takes_any_request() {
    let cluster = Cluster::start();
    let (leader, standbys) = (cluster.leader(), cluster.standbys());
    let [one, other] = [standbys[0], standbys[1]].map(|at| cluster.server(at));
    let held = one.post("/v1/locks", &json!({"expires_in": "10m", "locks": {"B": 1}}).to_string()).shape(201);
    let holder = id(&held);
    assert_eq!(held["locks"][0]["count"], 1);
    // All tell the same, in each dialect.
    for at in cluster.running() {
        let server = cluster.server(at);
        assert_eq!(server.get("/v1/semaphores/B").shape(200)["holders"][0]["peer"], json!(holder));
        assert_eq!(server.remainder("B"), 0);
        server.get("/livez").is(200, "Ok");
        assert_eq!(server.get("/readyz").status, 200);
        assert_eq!(server.get("/").status, 200);
        server.until_metric("throttle_cluster_is_leader", if at == leader { 1.0 } else { 0.0 });
        crate::support::until("it has taken in what happened", || {
            server.metric("throttle_cluster_position") >= 2.0
        });
        assert_eq!(
            server.get("/livez").header("throttle-instance"),
            cluster.server(leader).get("/livez").header("throttle-instance")
        );
    }
    // One waits at a standby for what is released at another one.
    let waits = json!({"expires_in": "10m", "locks": {"B": 1}, "wait": "1m"}).to_string();
    let mut waiting = one.send("POST", "/v1/locks", &waits);
    cluster.server(leader).until_metric("throttle_blocked_requests", 1.0);
    other.delete(&format!("/v1/peers/{holder}")).is_empty();
    let granted = id(&waiting.answer().shape(201));
    // Whoever hangs up at a standby waits no longer at the leader.
    let gone = other.send("POST", "/v1/locks", &waits);
    cluster.server(leader).until_metric("throttle_blocked_requests", 1.0);
    drop(gone);
    cluster.server(leader).until_metric("throttle_blocked_requests", 0.0);
    // What is refused is refused in the same words.
    let refused = one.put(&format!("/v1/peers/{granted}/locks"), &json!({"locks": {"C": 1}}).to_string());
    refused.problem(404, "unknown_semaphore");
    let unknown = one.get("/nothing/here");
    assert_eq!((unknown.status, unknown.body), (404, cluster.server(leader).get("/nothing/here").body));
}

#[test]
fn a_stream_of_events_is_passed_on() {
    let cluster = Cluster::start();
    let standby = cluster.server(cluster.standbys()[0]);
    let mut events = standby.events("", None);
    let peer = standby.v1_holder(&json!({"A": 1}));
    let granted = std::iter::from_fn(|| events.try_next()).find(|event| event.event == "granted");
    assert_eq!(granted.expect("it is told").data["peer"], json!(peer));
}

#[test]
fn a_server_that_does_not_pass_on_names_the_leader() {
    let plan = Plan { servers: 2, cluster: "lease = \"2s\"\nforward = false", ..Plan::default() };
    let cluster = Cluster::plan(&plan);
    let (leader, standby) = (cluster.leader(), cluster.standbys()[0]);
    let answer = cluster.server(standby).get("/v1/semaphores?limit=1");
    assert_eq!(answer.status, 307);
    let port = cluster.server(leader).port;
    let expected = format!("http://127.0.0.1:{port}/v1/semaphores?limit=1");
    assert_eq!(answer.header("location"), Some(&*expected));
    assert_eq!(cluster.server(standby).get("/livez").status, 200);
    let ready = "Ok. This server follows; it redirects requests to the leader";
    cluster.server(standby).get("/readyz").is(200, ready);
}

#[test]
fn all_servers_are_shown() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let status = cluster.server(cluster.standbys()[0]).get("/v1/cluster").shape(200);
    let port = cluster.server(leader).port;
    assert_eq!(status["leader"]["url"], json!(format!("http://127.0.0.1:{port}")));
    let roles: Vec<_> =
        status["servers"].as_array().expect("a list").iter().map(|server| &server["role"]).collect();
    assert_eq!(roles.iter().filter(|role| **role == "leader").count(), 1, "{status}");
    assert_eq!(roles.iter().filter(|role| **role == "standby").count(), 2, "{status}");
    // Only the leader knows these; whoever is asked tells them.
    for key in ["since", "unconfirmed"] {
        assert!(status["leader"][key].is_string(), "{status}");
    }
    assert_eq!(status["etcd"][0]["is_leader"], true);
    assert_eq!(status["trouble"], json!(null));
    // So it is by the command.
    let url = format!("http://127.0.0.1:{}", cluster.server(leader).port);
    let (code, table, _) = Launch::new(&["cluster", "status", "--url", &url]).run();
    assert_eq!(code, 0);
    assert!(table.starts_with(&format!("{url} leads, in epoch ")), "{table}");
    assert_eq!(table.matches("standby").count(), 2, "{table}");
    // One that is gone is shown as such, for a while.
    let gone = cluster.standbys()[0];
    drop(cluster.take(gone));
    let status = cluster.server(leader).get("/v1/cluster").shape(200);
    let servers = status["servers"].as_array().expect("a list");
    let errors: Vec<_> = servers.iter().filter(|server| server["error"].is_string()).collect();
    assert_eq!((servers.len(), errors.len()), (3, 1), "{status}");
    assert_eq!(errors[0]["role"], json!(null));
}

#[test]
fn what_a_client_says_in_the_name_of_a_server_counts_for_nothing() {
    let cluster = Cluster::start();
    for at in cluster.running() {
        let server = cluster.server(at);
        let head =
            "throttle-cluster: 00\r\nthrottle-client-address: 1.2.3.4\r\nthrottle-client-name: admin\r\n";
        let answer = server.ask_with("GET", "/v1/permissions", head, "").shape(200);
        assert_eq!(answer["identity"], json!(null));
    }
}
