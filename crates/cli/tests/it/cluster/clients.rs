//! Clients with a list of servers, and what a server tells of them to the leader.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use super::{Cluster, Plan};
use crate::support::{Launch, until};

#[test]
fn a_command_keeps_its_lock_while_leaders_come_and_go() {
    let mut cluster = Cluster::start();
    let urls = cluster.urls();
    let arguments =
        ["run", "-s", "B", "--ttl", "10s", "--url", &urls, "--", "sh", "-c", "echo in; read x; exit 7"];
    let mut process = Launch::new(&arguments).stdin(Stdio::piped()).start();
    process.stdout.line("in");
    // Another one waits for it.
    let waiting = ["run", "-s", "B", "--url", &urls, "--", "echo", "next"];
    let mut next = Launch::new(&waiting).start();
    cluster.server(cluster.leader()).until_waiting("B", 1);
    for _ in 0..2 {
        let leader = cluster.leader();
        drop(cluster.take(leader));
        let successor = cluster.leader();
        // Its client came back, and renews with the successor.
        let beats = || cluster.server(successor).get("/v1/semaphores/B").shape(200);
        let first = beats()["holders"][0]["expires_at"].clone();
        until("its lease is renewed", || beats()["holders"][0]["expires_at"] != first);
        assert_eq!(beats()["queue_total"], 1);
        cluster.restart(leader);
    }
    process.write_line();
    assert_eq!(process.wait().code(), Some(7), "{:?}", process.stderr.all());
    next.stdout.line("next");
    assert_eq!(next.wait().code(), Some(0));
}

#[test]
fn the_leader_knows_who_asks_whichever_server_he_asks() {
    let place = Launch::new(&[]);
    let file = |name: &str| place.path(name).display().to_string();
    let tokens = file("tokens.toml");
    let new = |identity: &str, right: &str| {
        let made = Launch::new(&["token", "new", identity, "--allow", right, "--file", &tokens]).run();
        assert_eq!(made.0, 0, "{}", made.2);
        made.1.trim().to_owned()
    };
    let (etl, ops) = (new("etl", "acquire"), new("ops", "read"));
    let audit = file("audit.jsonl");
    let sections = format!(
        "[semaphores]\nB = 1\n[security]\ntokens = {tokens:?}\n[audit]\nfile = {audit:?}\nlog = [\"acquire\", \
         \"refused\"]"
    );
    let cluster = Cluster::secured(&Plan { servers: 2, sections: &sections, ..Plan::default() }, &ops);
    let ask = |at: usize, method: &str, path: &str, token: &str, body: &str| {
        let head = format!("authorization: Bearer {token}\r\n");
        cluster.server(at).ask_with(method, path, &head, body)
    };
    let leads = |at: usize| ask(at, "GET", "/v1/cluster", &ops, "").shape(200)["servers"].clone();
    let role = |at: usize| {
        let port = cluster.server(at).port;
        let servers = leads(at);
        let own = servers
            .as_array()
            .expect("a list")
            .iter()
            .find(|server| server["url"].as_str().is_some_and(|url| url.ends_with(&format!(":{port}"))));
        own.expect("listed")["role"].as_str().expect("a role").to_owned()
    };
    let standby = usize::from(role(0) != "standby");
    let body = json!({"expires_in": "1m", "locks": {"B": 1}}).to_string();
    let peer = ask(standby, "POST", "/v1/locks", &etl, &body).shape(201)["id"].clone();
    ask(standby, "POST", "/v1/locks", &ops, &body).problem(403, "forbidden");
    ask(standby, "POST", "/v1/locks", "thr_unknown", &body).problem(401, "unauthenticated");
    // What a server answers itself needs a right, too.
    for path in ["/metrics", "/v1/cluster"] {
        assert_eq!(ask(standby, "GET", path, "thr_unknown", "").status, 401);
        assert_eq!(ask(standby, "GET", path, &etl, "").status, 403);
        assert_eq!(ask(standby, "GET", path, &ops, "").status, 200);
    }
    // The log of the leader has the identity and the address of the client.
    let line = || -> Option<Value> {
        let text = fs::read_to_string(&audit).ok()?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["peer"] == peer)
    };
    until("it is written", || line().is_some());
    let line = line().expect("written");
    assert_eq!((&line["identity"], &line["address"]), (&json!("etl"), &json!("127.0.0.1")), "{line}");
}
