//! Answers end in time, however much there is to show.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Server, request};

/// A page, and an item of it that may have been begun before.
const PAGE_BYTES: usize = 256 * 1024;

/// Ten who hold `A` and a hundred who wait for it, all with as many labels as there may be.
fn crowd() -> Server {
    let server = Server::start("[semaphores]\nA = 10\n[limits]\nlabel_bytes = 8192");
    let labels: Value = (0..16).map(|n| (format!("label{n:02}"), "x".repeat(255))).collect();
    for _ in 0..110 {
        let body = json!({"locks": {"A": 1}, "expires_in": "10m", "labels": labels});
        let status = server.post("/v1/locks", &body.to_string()).status;
        assert!(matches!(status, 201 | 202), "{status}");
    }
    server
}

#[test]
fn a_list_of_peers_ends_by_bytes() {
    let server = crowd();
    let (mut seen, mut pages, mut query) = (BTreeSet::new(), 0, String::new());
    loop {
        let answer = server.get(&format!("/v1/peers?limit=1000{query}"));
        assert!(answer.text().len() < PAGE_BYTES + 100, "{}", answer.text().len());
        let page = answer.shape(200);
        for peer in page["items"].as_array().expect("a list") {
            assert!(seen.insert(peer["id"].as_str().expect("an id").to_owned()), "once each");
            assert_eq!(peer["labels"].as_object().map(serde_json::Map::len), Some(16));
            for blocker in peer["pending"]["blocked_by"].as_array().into_iter().flatten() {
                assert_eq!(blocker["labels"], json!({}), "not again and again");
            }
        }
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 110);
    assert!(pages > 1, "{pages}");
    // One peer alone is shown with all that there is.
    let waiter = server.get("/v1/peers?limit=1000").json();
    let waiter = waiter["items"].as_array().expect("a list").iter().find(|peer| !peer["pending"].is_null());
    let id = waiter.expect("some wait")["id"].as_str().expect("an id");
    let shown = server.get(&format!("/v1/peers/{id}")).shape(200);
    assert_eq!(shown["pending"]["blocked_by"][0]["labels"].as_object().map(serde_json::Map::len), Some(16));
}

#[test]
fn a_list_of_semaphores_ends_by_bytes() {
    let server = Server::start("[semaphores]\n\"ü*\" = 1");
    let names: Vec<String> = (0..700).map(|n| format!("ü{n:03}{}", "ü".repeat(250))).collect();
    for names in names.chunks(20) {
        let locks: Value = names.iter().map(|name| (name.clone(), json!(1))).collect();
        let body = json!({"locks": locks, "expires_in": "10m"}).to_string();
        server.post("/v1/locks", &body).shape(201);
    }
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let answer = server.get(&format!("/v1/semaphores?limit=1000{query}"));
        assert!(answer.text().len() < PAGE_BYTES + 2_000, "{}", answer.text().len());
        let page = answer.shape(200);
        found.extend(page["items"].as_array().expect("a list").iter().map(|item| item["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&cursor={next}");
    }
    assert_eq!(found, names);
}

#[test]
fn a_semaphore_shows_as_many_as_there_is_room_for() {
    let server = crowd();
    let answer = server.get("/v1/semaphores/A?limit=1000");
    let seen = answer.shape(200);
    assert!(answer.text().len() < 2 * PAGE_BYTES + 2_000, "{}", answer.text().len());
    assert_eq!((&seen["holders_total"], &seen["queue_total"]), (&json!(10), &json!(100)));
    let queue = seen["queue"].as_array().expect("a list");
    assert!((50..100).contains(&queue.len()), "{}", queue.len());
    assert_eq!(queue[0]["position"], 1);
    // What there was no room for comes next.
    let next = seen["queue_next"].as_str().expect("there are more");
    let rest = server.get(&format!("/v1/semaphores/A?limit=1000&queue_cursor={next}")).shape(200);
    assert_eq!(rest["queue"][0]["position"], queue.len() + 1);
}

#[test]
fn a_head_is_not_built() {
    let server = crowd();
    let head = |path: &str| server.connect().send(request("HEAD", path, "")).answer_to_head();
    for path in ["/v1/peers?limit=1000", "/v1/semaphores"] {
        let answer = head(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert!(matches!(answer.header("content-length"), None | Some("0")), "{path}");
    }
    assert_eq!(head("/v1/peers?limit=0").status, 400);
    assert_eq!(head("/v1/peers?semaphore=B").status, 404);
}
