//! Semaphores: looked at, made, changed, removed.

use serde_json::{Value, json};

use crate::support::{Server, id};

const FILE: &str = "[semaphores]\nA = 2\nB = { max = 1, level = 1, per = '1s' }\n[expiry]\nmargin = '0s'";

#[test]
fn figures() {
    let server = Server::start(FILE);
    let seen = server.get("/v1/semaphores/B").shape(200);
    assert_eq!(
        seen,
        json!({
            "name": "B", "max": 1, "level": 1, "acquired": 0, "pending": 0, "remainder": 1, "waiting": 0,
            "cooling": 0, "longest_wait": "0s", "origin": "file", "per": "1s", "deadlock": "hierarchy", "order": "strict",
            "holders": [], "holders_total": 0, "holders_next": null, "queue": [], "queue_total": 0, "queue_next": null
        })
    );
    let labels = json!({"host": "w1"});
    let body = json!({"locks": {"A": 2}, "expires_in": "5m", "labels": labels});
    let holder = server.post("/v1/locks", &body.to_string()).shape(201);
    let waiters: Vec<_> = [0, 7]
        .iter()
        .map(|priority| {
            let body = json!({"locks": {"A": 1}, "expires_in": "5m", "priority": priority, "labels": labels});
            server.post("/v1/locks", &body.to_string()).shape(202)
        })
        .collect();
    let seen = server.get("/v1/semaphores/A").shape(200);
    assert_eq!((&seen["acquired"], &seen["remainder"]), (&json!(2), &json!(0)));
    assert_eq!((&seen["pending"], &seen["waiting"]), (&json!(2), &json!(2)));
    assert_ne!(seen["longest_wait"], "");
    assert_eq!(
        seen["holders"],
        json!([{
            "peer": holder["id"], "count": 2, "token": holder["locks"][0]["token"],
            "since": holder["locks"][0]["since"], "expires_at": holder["expires_at"], "labels": labels
        }])
    );
    let waiter = |peer: &Value, priority: i32, position: usize| {
        json!({
            "peer": peer["id"], "count": 1, "priority": priority, "position": position,
            "since": peer["pending"]["since"], "estimated_wait": null, "labels": labels
        })
    };
    assert_eq!(seen["queue"], json!([waiter(&waiters[1], 7, 1), waiter(&waiters[0], 0, 2)]));
    let short = server.get("/v1/semaphores/A?limit=1").shape(200);
    assert_eq!(short["queue"].as_array().expect("a list").len(), 1);
    assert_eq!((&short["holders_total"], &short["queue_total"]), (&json!(1), &json!(2)));
    for query in ["?limit=0", "?limit=1001", "?x=1", "?holders_cursor=x", "?queue_cursor="] {
        server.get(&format!("/v1/semaphores/A{query}")).problem(400, "invalid_request");
    }
    server.get("/v1/semaphores/a").problem(404, "unknown_semaphore");
}

#[test]
fn holders_and_waiters_have_pages() {
    let server = Server::start("[semaphores]\nA = 25");
    let peer = |status| {
        let body = json!({"locks": {"A": 1}, "expires_in": "5m"});
        server.post("/v1/locks", &body.to_string()).shape(status)["id"].clone()
    };
    let holders: Vec<_> = (0..25).map(|_| peer(201)).collect();
    let waiters: Vec<_> = (0..12).map(|_| peer(202)).collect();
    let walk = |list: &str| {
        let (mut found, mut lengths, mut query) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/semaphore?name=A&limit=10{query}")).shape(200);
            let items = page[list].as_array().expect("a list");
            lengths.push(items.len());
            found.extend(items.iter().map(|item| item["peer"].clone()));
            let Some(next) = page[format!("{list}_next")].as_str() else { return (found, lengths) };
            query = format!("&{list}_cursor={next}");
        }
    };
    assert_eq!(walk("holders"), (holders, vec![10, 10, 5]));
    assert_eq!(walk("queue"), (waiters.clone(), vec![10, 2]));
    // Beyond the end there is nothing; the path and the query take the same.
    let beyond = server.get("/v1/semaphores/A?holders_cursor=ffffffffffffffff&queue_cursor=c").shape(200);
    assert_eq!((&beyond["holders"], &beyond["queue"]), (&json!([]), &json!([])));
    assert_eq!((&beyond["holders_next"], &beyond["queue_next"]), (&Value::Null, &Value::Null));
    let last = server.get("/v1/semaphores/A?queue_cursor=b").shape(200);
    assert_eq!((&last["queue"][0]["peer"], &last["queue"][0]["position"]), (&waiters[11], &json!(12)));
}

#[test]
fn a_rate_keeps_count_back() {
    let server = Server::start("[semaphores]\nA = { max = 1, per = '1h' }");
    let peer = server.v1_holder(&json!({"A": 1}));
    server.delete(&format!("/v1/peers/{peer}")).is_empty();
    let seen = server.get("/v1/semaphores/A").shape(200);
    assert_eq!((&seen["cooling"], &seen["acquired"], &seen["per"]), (&json!(1), &json!(0), &json!("1h")));
    let waiter = server.v1_peer("10m");
    server.v1_locks(&waiter, &json!({"A": 1})).shape(202);
    // Without the rate what was kept back is not due any earlier, but what is released from now on is.
    assert_eq!(server.ask("PATCH", "/v1/semaphores/A", r#"{"per":null}"#).shape(200)["per"], Value::Null);
}

#[test]
fn a_list_in_pages() {
    let server = Server::start("[semaphores]\n'a b' = 1\nc = 2\n'ü' = 3");
    let page = |query: &str| server.get(&format!("/v1/semaphores{query}")).shape(200);
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a list").iter();
        items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    let all = page("");
    assert_eq!((names(&all), &all["next"]), (vec!["a b".into(), "c".into(), "ü".into()], &Value::Null));
    assert_eq!(all["items"][0].get("holders"), None);
    let first = page("?limit=2");
    assert_eq!(names(&first), ["a b", "c"]);
    let second = page(&format!("?limit=2&cursor={}", first["next"].as_str().expect("there is more")));
    assert_eq!((names(&second), &second["next"]), (vec!["ü".into()], &Value::Null));
    assert_eq!(page("?limit=3")["next"], Value::Null);
    for query in ["?limit=0", "?limit=1001", "?limit=-1", "?cursor=x", "?curser=61"] {
        server.get(&format!("/v1/semaphores{query}")).problem(400, "invalid_request");
    }
}

#[test]
fn made_and_replaced() {
    let server = Server::start(FILE);
    let put = |name: &str, body: &str| server.put(&format!("/v1/semaphores/{name}"), body);
    let made = put("new%2Fone", r#"{"max":3,"level":-2,"per":"2s","deadlock":"hierarchy"}"#).shape(201);
    assert_eq!((&made["name"], &made["max"], &made["level"]), (&json!("new/one"), &json!(3), &json!(-2)));
    assert_eq!((&made["per"], &made["origin"]), (&json!("2s"), &json!("runtime")));
    server.v1_holder(&json!({"new/one": 3}));
    // What a replacement does not name has its default again.
    let replaced = put("new%2Fone", r#"{"max":4}"#).shape(200);
    assert_eq!(
        (&replaced["level"], &replaced["per"], &replaced["acquired"]),
        (&json!(0), &Value::Null, &json!(3))
    );
    assert_eq!(put("A", r#"{"max":2}"#).shape(200)["origin"], "runtime");
    for body in [
        "{}",
        r#"{"max":-1}"#,
        r#"{"max":"1"}"#,
        r#"{"max":1.5}"#,
        r#"{"max":9223372036854775808}"#,
        r#"{"max":1,"level":2147483648}"#,
        r#"{"max":1,"per":"0s"}"#,
        r#"{"max":1,"per":"2years"}"#,
        r#"{"max":1,"per":1}"#,
        r#"{"max":1,"deadlock":"never"}"#,
        r#"{"max":1,"name":"x"}"#,
    ] {
        put("C", body).problem(400, "invalid_request");
    }
    assert!(put("C%2A", r#"{"max":1}"#).problem(400, "invalid_request").contains("pattern"));
    let long = put(&"x".repeat(256), r#"{"max":1}"#).problem(400, "invalid_request");
    assert!(long.contains("256 characters"), "{long}");
    server.get("/v1/semaphores/C").problem(404, "unknown_semaphore");
    put(&"x".repeat(255), r#"{"max":9223372036854775807}"#).shape(201);
}

#[test]
fn growing_wakes_and_shrinking_lets_finish() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 2}));
    let waiter = server.v1_peer("10m");
    let path = format!("/v1/peers/{waiter}/locks");
    let mut blocked = server.blocked("PUT", &path, &json!({"locks": {"A": 1}, "wait": "10m"}));
    let patch = |body: &str| server.ask("PATCH", "/v1/semaphores/A", body);
    let paused = patch(r#"{"max":0}"#).shape(200);
    assert_eq!(
        (&paused["max"], &paused["remainder"], &paused["origin"]),
        (&json!(0), &json!(-2), &json!("runtime"))
    );
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert!(blocked.is_silent(), "paused");
    assert_eq!(patch(r#"{"max":1}"#).shape(200)["max"], 1);
    blocked.answer().shape(200);
    assert_eq!(patch(r#"{"level":5}"#).shape(200)["level"], 5);
    let same = server.ask("PATCH", "/v1/semaphores/B", "{}").shape(200);
    assert_eq!(same["origin"], "file", "nothing was changed");
    for body in [r#"{"max":-1}"#, r#"{"per":"0s"}"#, r#"{"nope":1}"#, "[]", "1"] {
        patch(body).problem(400, "invalid_request");
    }
    server.ask("PATCH", "/v1/semaphores/C", r#"{"max":1}"#).problem(404, "unknown_semaphore");
}

#[test]
fn removed() {
    let server = Server::start(FILE);
    server.delete("/v1/semaphores/B").is_empty();
    server.delete("/v1/semaphores/B").problem(404, "unknown_semaphore");
    server.delete("/v1/semaphores/A?force=yes").problem(400, "invalid_request");
    let holder = server.v1_holder(&json!({"A": 2}));
    let waiter = server.v1_peer("10m");
    let path = format!("/v1/peers/{waiter}/locks");
    let mut blocked = server.blocked("PUT", &path, &json!({"locks": {"A": 1}, "wait": "10m"}));
    for query in ["", "?force=false"] {
        let detail = server.delete(&format!("/v1/semaphores/A{query}")).problem(409, "in_use");
        assert!(
            detail.contains("1 lock and 1 waiting request.") && detail.contains("force=true"),
            "{detail}"
        );
    }
    server.delete("/v1/semaphores/A?force=true").is_empty();
    blocked.answer().problem(404, "unknown_semaphore");
    let peer = server.get(&format!("/v1/peers/{holder}")).shape(200);
    assert_eq!((id(&peer), &peer["locks"]), (holder, &json!([])));
}

#[test]
fn their_number_has_a_bound() {
    let server = Server::start("[semaphores]\nA = 1\n'p/*' = 1\n[limits]\nsemaphores = 2");
    server.put("/v1/semaphores/B", r#"{"max": 1}"#).shape(201);
    server.put("/v1/semaphores/C", r#"{"max": 1}"#).problem(429, "limit_reached");
    server.ask("PATCH", "/v1/semaphores/p%2Fa", r#"{"max": 1}"#).problem(429, "limit_reached");
    let peer = server.peer("5m");
    assert_eq!(server.lock(peer, "p%2Fa", 1).status, 503, "the older dialects have their own word for it");
    server.put("/v1/semaphores/B", r#"{"max": 2}"#).shape(200);
    server.delete("/v1/semaphores/B").is(204, "");
    assert_eq!(server.lock(peer, "p%2Fa", 1).status, 200);
}
