//! Those who wait keep their places.

use serde_json::{Value, json};

use super::home::Home;
use crate::support::{Server, id};

const FILE: &str = "[semaphores]\nA = 4\nB = { max = 1, level = 1 }";

fn queue(server: &Server, semaphore: &str) -> Vec<(String, i64)> {
    let seen = server.get(&format!("/v1/semaphores/{semaphore}")).shape(200);
    let waiter = |waiter: &Value| {
        (waiter["peer"].as_str().expect("an id").to_owned(), waiter["count"].as_i64().expect("a count"))
    };
    seen["queue"].as_array().expect("a queue").iter().map(waiter).collect()
}

fn ask(server: &Server, locks: &Value, priority: i32) -> String {
    let body = json!({ "locks": locks, "expires_in": "1h", "priority": priority }).to_string();
    id(&server.post("/v1/locks", &body).shape(202))
}

#[test]
fn a_queue_is_as_it_was() {
    let home = Home::new();
    let server = home.start(FILE);
    let holder = server.v1_holder(&json!({ "A": 4, "B": 1 }));
    let large = ask(&server, &json!({ "A": 4 }), 0);
    let joint = ask(&server, &json!({ "A": 1, "B": 1 }), 0);
    let small = ask(&server, &json!({ "A": 2 }), 0);
    let urgent = ask(&server, &json!({ "A": 3 }), 5);
    let patient = ask(&server, &json!({ "A": 1 }), -1);
    server.v1_locks(&small, &json!({ "A": 1 })).shape(202);
    let expected = [(&urgent, 3), (&large, 4), (&joint, 1), (&small, 1), (&patient, 1)];
    let expected = expected.map(|(peer, count)| (peer.clone(), count));
    assert_eq!(queue(&server, "A"), expected);

    server.kill();
    let server = home.start(FILE);
    assert_eq!(queue(&server, "A"), expected);
    assert_eq!(queue(&server, "B"), [(joint.clone(), 1)]);
    // Who asks anew stands behind them, who asks again where it stood.
    let late = ask(&server, &json!({ "A": 1 }), -1);
    server.v1_locks(&joint, &json!({ "A": 1, "B": 1 })).shape(202);
    assert_eq!(queue(&server, "A")[..5], expected);
    assert_eq!(queue(&server, "A")[5].0, late);

    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    server.kill();
    let server = home.start(FILE);
    assert_eq!(server.v1_locks(&urgent, &json!({ "A": 3 })).status, 200);
    assert_eq!(queue(&server, "A")[..2], expected[1..3]);
    server.delete(&format!("/v1/peers/{urgent}")).is_empty();
    server.v1_locks(&large, &json!({ "A": 4 })).shape(200);
    server.delete(&format!("/v1/peers/{large}")).is_empty();
    // All that are left fit at once.
    for (peer, locks) in
        [(&joint, json!({ "A": 1, "B": 1 })), (&small, json!({ "A": 1 })), (&patient, json!({ "A": 1 }))]
    {
        server.v1_locks(peer, &locks).shape(200);
    }
}

#[test]
fn a_wait_that_a_restart_cut_off_goes_on() {
    let home = Home::new();
    let server = home.start(FILE);
    let holder = server.holder("A", 4, "1h");
    let waiter = server.peer("1h");
    let cut_off = server.wait_for(waiter, "A", "block_for=10m");
    server.kill();
    drop(cut_off);
    let server = home.start(FILE);
    let mut again = server.wait_for(waiter, "A", "block_for=10m");
    server.release(holder, "A");
    again.answer().is(200, &waiter.to_string());
}
