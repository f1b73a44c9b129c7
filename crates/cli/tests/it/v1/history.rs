//! How busy semaphores were.

use serde_json::{Value, json};

use crate::support::{Server, until};

fn history(server: &Server, query: &str) -> Value {
    server.get(&format!("/v1/history{query}")).shape(200)
}

#[test]
fn samples_are_taken_in_steps() {
    let server = Server::start("[semaphores]\nA = 2\nB = 1\n[limits]\nhistory_step = '1s'");
    let peer = server.v1_holder(&json!({ "A": 2 }));
    let waiter = server.v1_peer("10m");
    server.v1_locks(&waiter, &json!({ "A": 1 })).shape(202);
    let last = |seen: &Value, item: usize, kind: &str| {
        seen["items"][item][kind].as_array().expect("a list").last().cloned().expect("a sample")
    };
    // One may be taken before the waiter stands in line.
    until("a sample is taken", || last(&history(&server, "?semaphore=A"), 0, "pending") == 1);
    let seen = history(&server, "?semaphore=B&semaphore=A&semaphore=nope");
    assert_eq!(seen["step"], "1s");
    let names: Vec<_> =
        seen["items"].as_array().expect("a list").iter().map(|item| item["semaphore"].clone()).collect();
    assert_eq!(names, ["B", "A", "nope"]);
    assert_eq!((last(&seen, 1, "acquired"), last(&seen, 1, "pending")), (json!(2), json!(1)));
    for idle in [0, 2] {
        assert_eq!((last(&seen, idle, "acquired"), last(&seen, idle, "pending")), (json!(0), json!(0)));
    }
    server.delete(&format!("/v1/peers/{waiter}")).is_empty();
    server.delete(&format!("/v1/peers/{peer}")).is_empty();
    until("another sample is taken", || last(&history(&server, "?semaphore=A"), 0, "acquired") == 0);
    let seen = history(&server, "?semaphore=A");
    let acquired = seen["items"][0]["acquired"].as_array().expect("a list");
    assert!(acquired.contains(&json!(2)) && acquired.len() <= 60, "{acquired:?}");
    assert_eq!(history(&server, "")["items"], json!([]));
}

#[test]
fn grants_are_counted_between_samples() {
    let server = Server::start("[semaphores]\nA = 1\n'tenant/*' = 1\n[limits]\nhistory_step = '1s'");
    for _ in 0..3 {
        for name in ["A", "tenant/a"] {
            let peer = server.v1_holder(&json!({ name: 1 }));
            server.delete(&format!("/v1/peers/{peer}")).is_empty();
        }
    }
    let counted = |name: &str| -> u64 {
        let seen = history(&server, &format!("?semaphore={name}"));
        let item = &seen["items"][0];
        let grants = item["grants"].as_array().expect("a list");
        assert_eq!(Some(grants.len()), item["acquired"].as_array().map(Vec::len));
        grants.iter().filter_map(Value::as_u64).sum()
    };
    // A member of a pattern is gone when the sample is taken.
    until("a sample is taken", || counted("tenant/a") == 3);
    assert_eq!((counted("A"), counted("B")), (3, 0));
}

#[test]
fn requests_for_it_are_bounded() {
    let server = Server::start("");
    let many = |number: usize| format!("/v1/history?{}", vec!["semaphore=A"; number].join("&"));
    assert_eq!(server.get(&many(100)).shape(200)["items"].as_array().map(Vec::len), Some(100));
    let detail = server.get(&many(101)).problem(400, "invalid_request");
    assert!(detail.contains("101") && detail.contains("at most 100"), "{detail}");
    server.get("/v1/history?name=A").problem(400, "invalid_request");
}

#[test]
fn semaphores_beyond_the_limit_have_none() {
    let server = Server::start("[semaphores]\nA = 2\nB = 2\n[limits]\nhistory_step = '1s'\nhistories = 1");
    server.v1_holder(&json!({ "A": 1, "B": 1 }));
    let sum = |item: usize| {
        let seen = history(&server, "?semaphore=A&semaphore=B");
        let acquired = seen["items"][item]["acquired"].as_array().expect("a list");
        acquired.iter().filter_map(Value::as_i64).sum::<i64>()
    };
    until("a sample is taken", || sum(0) > 0);
    assert_eq!(sum(1), 0);
}
