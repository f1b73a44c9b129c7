//! Locks of a peer: one request for several, in line with everybody else's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, id, request};

const FILE: &str = "[semaphores]\nA = 1\nB = 2\nH = { max = 1, level = 1 }";

fn locks_of(peer: &Value) -> Vec<(&str, i64)> {
    let locks = peer["locks"].as_array().expect("a list").iter();
    locks
        .map(|lock| (lock["semaphore"].as_str().expect("a name"), lock["count"].as_i64().expect("a count")))
        .collect()
}

fn path(peer: &str) -> String {
    format!("/v1/peers/{peer}/locks")
}

#[test]
fn granted_at_once() {
    let server = Server::start(FILE);
    let peer = server.v1_peer("5m");
    let seen = server.put(&path(&peer), r#"{"locks":{"B":2,"A":1}}"#).shape(200);
    assert_eq!(id(&seen), peer);
    assert_eq!(locks_of(&seen), [("B", 2), ("A", 1)], "in the order of the request");
    let tokens: Vec<u64> = seen["locks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|lock| lock["token"].as_str().expect("a string").parse().expect("a number"))
        .collect();
    assert!(tokens[0] < tokens[1] && tokens[1] < 1 << 53, "{tokens:?}");
    // Asking again changes nothing, a smaller count shrinks, and a release keeps the rest.
    assert_eq!(server.v1_locks(&peer, &json!({"A": 1})).shape(200)["locks"], seen["locks"]);
    let less = server.v1_locks(&peer, &json!({"B": 1})).shape(200);
    assert_eq!(locks_of(&less), [("B", 1), ("A", 1)]);
    assert_eq!(less["locks"][0]["token"], seen["locks"][0]["token"]);
    server.delete(&format!("{}/B", path(&peer))).is_empty();
    server.delete(&format!("{}/B", path(&peer))).is_empty();
    assert_eq!(locks_of(&server.get(&format!("/v1/peers/{peer}")).shape(200)), [("A", 1)]);
    assert_eq!(server.remainder("B"), 2);
}

#[test]
fn a_pending_request_says_why_it_waits() {
    let server = Server::start(FILE);
    let body = r#"{"expires_in":"5m","labels":{"host":"w1"},"locks":{"A":1}}"#;
    let holder = server.post("/v1/locks", body).shape(201);
    let first = server.v1_peer("5m");
    server.v1_locks(&first, &json!({"A": 1})).shape(202);
    let second = server.v1_peer("5m");
    let seen = server.put(&path(&second), r#"{"locks":{"A":1,"B":1},"priority":-3}"#).shape(202);
    assert_eq!(seen["locks"], json!([]));
    let pending = &seen["pending"];
    let fields: Vec<_> = pending.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["blocked_by", "estimated_wait", "locks", "position", "priority", "since"]);
    assert_eq!(pending["locks"], json!({"A": 1, "B": 1}));
    assert_eq!((&pending["priority"], &pending["position"]), (&json!(-3), &json!(2)));
    assert_eq!(
        pending["blocked_by"],
        json!([{
            "kind": "holder", "semaphore": "A", "peer": id(&holder), "count": 1,
            "since": holder["locks"][0]["since"], "labels": {"host": "w1"}
        }])
    );
    assert_eq!(server.get(&format!("/v1/peers/{second}")).shape(200), seen);
    // Of a request over several all goes.
    server.delete(&format!("{}/B", path(&second))).is_empty();
    assert_eq!(server.get(&format!("/v1/peers/{second}")).shape(200)["pending"], Value::Null);
    server.until_waiting("A", 1);
}

#[test]
fn who_waits_behind_a_request_for_something_else_is_told_of_that() {
    let server = Server::start("[semaphores]\ngpu = 8\ngpu-host = 1");
    server.v1_holder(&json!({"gpu": 1, "gpu-host": 1}));
    let body = r#"{"expires_in":"5m","labels":{"host":"w2"},"locks":{"gpu":1,"gpu-host":1}}"#;
    let ahead = server.post("/v1/locks", body).shape(202);
    let waiter = server.v1_peer("5m");
    let seen = server.v1_locks(&waiter, &json!({"gpu": 1})).shape(202);
    assert_eq!(
        seen["pending"]["blocked_by"],
        json!([{
            "kind": "ahead", "semaphore": "gpu", "peer": id(&ahead), "count": 1,
            "since": ahead["pending"]["since"], "labels": {"host": "w2"}, "waits_for": ["gpu-host"]
        }])
    );
}

#[test]
fn who_waits_for_what_is_paused_or_has_a_rate_is_told_of_that() {
    let server = Server::start("[semaphores]\nA = 0\nB = { max = 2, per = '1h' }");
    let holder = server.v1_peer("5m");
    let granted = server.v1_locks(&holder, &json!({"B": 2})).shape(200);
    let waiter = server.v1_peer("5m");
    let blocked_by = |seen: Value| seen["pending"]["blocked_by"].as_array().expect("a list").clone();
    let closed = |kind, name, count| json!({"kind": kind, "semaphore": name, "peer": null, "count": count, "since": null, "labels": {}});
    let seen = blocked_by(server.v1_locks(&waiter, &json!({"A": 3, "B": 1})).shape(202));
    assert_eq!(seen[0], closed("paused", "A", 3));
    assert_eq!((seen.len(), &seen[1]["kind"], &seen[1]["peer"]), (2, &json!("holder"), &json!(holder)));
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let mut seen = blocked_by(server.get(&format!("/v1/peers/{waiter}")).shape(200));
    // An hour after the grant.
    let until = seen[1].as_object_mut().and_then(|rate| rate.remove("until")).expect("it is known");
    let time = |at: &Value| humantime::parse_rfc3339(at.as_str().expect("a string")).expect("a time");
    let after = time(&until).duration_since(time(&granted["locks"][0]["since"])).expect("later");
    assert_eq!((after + Duration::from_millis(500)).as_secs(), 3600);
    assert_eq!(seen, [closed("paused", "A", 3), closed("rate", "B", 1)]);
}

#[test]
fn where_order_is_pass_who_fits_passes_who_waits_for_another_semaphore() {
    let server = Server::start("[semaphores]\ngpu = { max = 8, order = 'pass' }\ngpu-host = 1");
    assert_eq!(server.get("/v1/semaphores/gpu").shape(200)["order"], "pass");
    server.v1_holder(&json!({"gpu": 1, "gpu-host": 1}));
    let ahead = server.v1_peer("5m");
    server.v1_locks(&ahead, &json!({"gpu": 1, "gpu-host": 1})).shape(202);
    let next = server.v1_peer("5m");
    assert_eq!(locks_of(&server.v1_locks(&next, &json!({"gpu": 6})).shape(200)), [("gpu", 6)]);
    // From now on it holds up others, until somebody changes his mind.
    server.ask("PATCH", "/v1/semaphores/gpu", r#"{"order":"strict"}"#).shape(200);
    let mut waits =
        server.blocked("POST", "/v1/locks", &json!({"expires_in": "5m", "locks": {"gpu": 1}, "wait": "5m"}));
    server.until_waiting("gpu", 2);
    server.ask("PATCH", "/v1/semaphores/gpu", r#"{"order":"pass"}"#).shape(200);
    assert_eq!(locks_of(&waits.answer().shape(201)), [("gpu", 1)]);
}

#[test]
fn the_first_ten_holders_are_named() {
    let server = Server::start("[semaphores]\nA = 12");
    let holders: Vec<_> = (0..12).map(|_| server.v1_holder(&json!({"A": 1}))).collect();
    let waiter = server.v1_peer("5m");
    let seen = server.v1_locks(&waiter, &json!({"A": 1})).shape(202);
    let named = seen["pending"]["blocked_by"].as_array().expect("a list").iter();
    let named: Vec<_> = named.map(|holder| holder["peer"].as_str().expect("an id")).collect();
    assert_eq!(named, holders[..10].iter().collect::<Vec<_>>());
}

#[test]
fn several_at_once_in_one_step() {
    let server = Server::start(FILE);
    let on_a = server.v1_holder(&json!({"A": 1}));
    let on_b = server.v1_holder(&json!({"B": 2}));
    let joint = server.v1_peer("5m");
    let mut blocked =
        server.blocked("PUT", &path(&joint), &json!({"locks": {"A": 1, "B": 1}, "wait": "10m"}));
    // Whoever comes later stands behind it, even where there is room.
    let single = server.v1_peer("5m");
    let mut behind = server.blocked("PUT", &path(&single), &json!({"locks": {"A": 1}, "wait": "10m"}));
    server.delete(&format!("/v1/peers/{on_a}")).is_empty();
    assert!(blocked.is_silent() && behind.is_silent(), "not half of it, and nobody passes it");
    server.delete(&format!("/v1/peers/{on_b}")).is_empty();
    assert_eq!(locks_of(&blocked.answer().shape(200)), [("A", 1), ("B", 1)]);
    assert!(behind.is_silent());
    server.delete(&format!("/v1/peers/{joint}")).is_empty();
    assert_eq!(locks_of(&behind.answer().shape(200)), [("A", 1)]);
}

#[test]
fn what_is_held_stays() {
    let server = Server::start(FILE);
    let other = server.v1_holder(&json!({"B": 2}));
    let peer = server.v1_holder(&json!({"H": 1}));
    let seen = server.v1_locks(&peer, &json!({"H": 1, "A": 1, "B": 1})).shape(202);
    assert_eq!(locks_of(&seen), [("H", 1)]);
    assert_eq!(seen["pending"]["locks"], json!({"A": 1, "B": 1}));
    assert_eq!(server.remainder("A"), 1, "all or nothing");
    server.delete(&format!("/v1/peers/{other}")).is_empty();
    assert_eq!(
        locks_of(&server.v1_locks(&peer, &json!({"A": 1})).shape(200)),
        [("H", 1), ("A", 1), ("B", 1)]
    );
}

#[test]
fn priorities() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let mut waiters: Vec<_> = [0, 5, 5, -1, i32::MAX]
        .iter()
        .map(|priority| {
            let body = json!({"locks": {"A": 1}, "wait": "10m", "priority": priority, "expires_in": "10m"});
            let peer = server.v1_peer("10m");
            let client = server.blocked("PUT", &path(&peer), &body);
            (peer, client)
        })
        .collect();
    let mut last = holder;
    for next in [4, 1, 2, 0, 3] {
        server.delete(&format!("/v1/peers/{last}")).is_empty();
        let (peer, client) = &mut waiters[next];
        assert_eq!(id(&client.answer().shape(200)), *peer);
        last.clone_from(peer);
    }
}

#[test]
fn a_wait_ends_with_its_time() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("5m");
    let seen = server.put(&path(&waiter), r#"{"locks":{"A":1},"wait":"200ms"}"#).shape(202);
    assert_eq!(seen["pending"]["position"], 1);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let held = server.put(&path(&waiter), r#"{"locks":{"A":1},"wait":"10m"}"#).shape(200);
    assert_eq!(locks_of(&held), [("A", 1)]);
}

#[test]
fn an_operator_wakes_a_blocked_request() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("5m");
    let mut blocked = server.blocked("PUT", &path(&waiter), &json!({"locks": {"A": 1}, "wait": "10m"}));
    server.delete(&format!("/v1/peers/{waiter}?reason=not%20today")).is_empty();
    assert!(blocked.answer().problem(410, "peer_gone").contains("not today"));
}

#[test]
fn a_request_that_is_withdrawn_while_it_waits() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("5m");
    let mut blocked = server.blocked("PUT", &path(&waiter), &json!({"locks": {"A": 1}, "wait": "10m"}));
    server.delete(&format!("{}/A", path(&waiter))).is_empty();
    assert!(blocked.answer().problem(409, "not_acquired").contains("withdrew"));
}

#[test]
fn who_goes_on_waiting_does_not_ask_anew() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("5m");
    let instance = server.v1_locks(&waiter, &json!({"A": 1})).header("throttle-instance").unwrap().to_owned();
    let go_on = |instance: &str| {
        server.put(&path(&waiter), &json!({"locks": {"A": 1}, "if_pending": instance}).to_string())
    };
    go_on(&instance).shape(202);
    server.delete(&format!("{}/A", path(&waiter))).is_empty();
    assert!(go_on(&instance).problem(409, "not_acquired").contains("withdrew"));
    assert_eq!(server.get("/v1/semaphores/A").json()["waiting"], 0);
    // Where it was pending in another state of the server, nobody withdrew it from this one.
    go_on("another").shape(202);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    go_on(&instance).shape(200);
}

#[test]
fn refusals() {
    let server = Server::start(FILE);
    let peer = server.v1_holder(&json!({"A": 1}));
    let ask = |locks: Value| server.v1_locks(&peer, &locks);
    assert!(ask(json!({"B": 3})).problem(409, "count_exceeds_max").contains("its max is 2"));
    let detail = ask(json!({"H": 1})).problem(409, "hierarchy_violation");
    assert!(detail.contains("\"H\" has level 1") && detail.contains("level 0 is held"), "{detail}");
    assert!(ask(json!({"B": 0})).problem(400, "invalid_request").contains("must be at least 1, not 0"));
    assert!(ask(json!({})).problem(400, "invalid_request").contains("locks is empty"));
    let twice = server.put(&path(&peer), r#"{"locks":{"B":1,"B":1}}"#);
    assert!(twice.problem(400, "invalid_request").contains("twice"));
    let unknown = server.put(&path(&peer), r#"{"locks":{"B":1},"prority":1}"#);
    let detail = unknown.problem(400, "invalid_request");
    assert!(detail.contains("`prority`") && detail.contains("`priority`"), "{detail}");
    server.v1_holder(&json!({"H": 1}));
    let waiter = server.v1_peer("5m");
    server.v1_locks(&waiter, &json!({"H": 1})).shape(202);
    server.v1_locks(&waiter, &json!({"B": 1})).problem(409, "already_pending");
}

#[test]
fn unknown_semaphores() {
    let server = Server::start("[semaphores]\ndatabase = 1\ndatabases = 1\nlicence = 1\nA = 1");
    let peer = server.v1_peer("5m");
    for (name, words) in [
        (
            "databse",
            r#"No semaphore is called "databse". Known names that are near: "database", "databases"."#,
        ),
        ("DATABASE", r#"near: "database"."#),
        ("license", r#"near: "licence"."#),
        ("B", r#"near: "A"."#),
        ("something else", "GET /v1/semaphores lists"),
        (&"é".repeat(3000), "GET /v1/semaphores lists"),
    ] {
        let detail = server.v1_locks(&peer, &json!({ name: 1 })).problem(404, "unknown_semaphore");
        assert!(detail.ends_with(words) || detail.contains(words), "{detail}");
    }
    server.delete(&format!("{}/databas", path(&peer))).problem(404, "unknown_semaphore");
}

#[test]
fn bounds() {
    let limits = "[limits]\nwaiters_per_semaphore = 1\nlocks_per_peer = 2\nblocked_requests = 1\nexpires_in_max = '1h'";
    let server = Server::start(&format!("{FILE}\n{limits}"));
    let holder = server.v1_holder(&json!({"A": 1}));
    server.v1_locks(&holder, &json!({"A": 1, "B": 1})).problem(409, "hierarchy_violation");
    let many = server.v1_peer("10m");
    server.v1_locks(&many, &json!({"A": 1, "B": 1, "H": 1})).problem(429, "limit_reached");
    let mut first =
        server.blocked("PUT", &path(&server.v1_peer("10m")), &json!({"locks": {"A": 1}, "wait": "10m"}));
    let full = server.v1_locks(&server.v1_peer("10m"), &json!({"A": 1}));
    assert!(full.problem(429, "limit_reached").contains("wait for one semaphore"));
    let on_h = server.v1_holder(&json!({"H": 1}));
    let waiter = server.v1_peer("10m");
    let blocked = server.put(&path(&waiter), r#"{"locks":{"H":1},"wait":"10m"}"#);
    assert!(blocked.problem(429, "limit_reached").contains("limit of 1 requests that wait"));
    server.delete(&format!("/v1/peers/{on_h}")).is_empty();
    server.v1_locks(&waiter, &json!({"H": 1})).shape(200);
    let long = server.put(&path(&waiter), r#"{"locks":{"H":1},"wait":"61m"}"#);
    assert!(long.problem(400, "invalid_request").contains("wait is \"61m\""));
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    first.answer().shape(200);
}

#[test]
fn a_hang_up_leaves_the_request_in_the_queue() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("10m");
    drop(server.blocked("PUT", &path(&waiter), &json!({"locks": {"A": 1}, "wait": "10m"})));
    server.until_metric("throttle_blocked_requests", 0.0);
    assert_eq!(server.get(&format!("/v1/peers/{waiter}")).shape(200)["pending"]["position"], 1);
}

#[test]
fn names_are_percent_decoded() {
    let server = Server::start("[semaphores]\n'a/b' = 1\n'/&' = 1\n'ü %' = 1");
    for (name, encoded) in [("a/b", "a%2Fb"), ("/&", "%2F&"), ("ü %", "%C3%BC%20%25")] {
        let peer = server.v1_holder(&json!({ name: 1 }));
        server.delete(&format!("{}/{encoded}", path(&peer))).is_empty();
        assert_eq!(server.get(&format!("/v1/peers/{peer}")).shape(200)["locks"], json!([]));
    }
}

#[test]
fn a_stop_answers_those_who_wait() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"A": 1}));
    let waiter = server.v1_peer("10m");
    let mut blocked = server.connect();
    let body = json!({"locks": {"A": 1}, "wait": "10m"}).to_string();
    blocked.send(request("PUT", &path(&waiter), &body));
    server.until_metric("throttle_blocked_requests", 1.0);
    #[cfg(unix)]
    {
        server.process.signal(rustix::process::Signal::TERM);
        assert_eq!(blocked.answer().shape(202)["pending"]["position"], 1);
    }
}

#[test]
fn a_wait_is_estimated_from_how_long_locks_were_held() {
    let server = Server::start("[semaphores]\nA = 1");
    let ask = |status| server.post("/v1/locks", r#"{"locks": {"A": 1}, "expires_in": "5m"}"#).shape(status);
    let first = ask(201);
    assert_eq!(ask(202)["pending"]["estimated_wait"], Value::Null, "nothing to go by yet");
    server.delete(&format!("/v1/peers/{}", id(&first))).is(204, "");
    let pending = ask(202)["pending"].clone();
    let estimate = pending["estimated_wait"].as_str().expect("an estimate");
    assert!(humantime::parse_duration(estimate).is_ok(), "{estimate}");
    let queue = server.get("/v1/semaphores/A").shape(200)["queue"].clone();
    assert_eq!(queue[0]["estimated_wait"], pending["estimated_wait"]);
}
