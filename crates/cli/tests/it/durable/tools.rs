//! Copies of a data directory, and looks into it.

use serde_json::{Value, json};

use super::home::Home;
use crate::support::Launch;

const FILE: &str = "[semaphores]\nA = 3\n\"tenant/*\" = 2";

fn throttle(command: &[&str], home: &Home) -> Launch {
    let path = home.path().to_str().expect("text");
    Launch::new(&[command, &["--data-dir", path]].concat())
}

fn said(command: &[&str], home: &Home) -> String {
    let (code, stdout, stderr) = throttle(command, home).run();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

/// The records of a journal: the batch and the kind of each.
fn records(home: &Home, more: &[&str]) -> Vec<(Value, String)> {
    let lines = said(&[&["journal", "inspect", "-o", "json"], more].concat(), home);
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let kind = line["record"].as_object().and_then(|record| record.keys().next()).expect("a record");
        (line["batch"].clone(), kind.clone())
    };
    lines.lines().map(of).collect()
}

#[test]
fn a_copy_is_whole_and_goes_on_by_itself() {
    let home = Home::new();
    let server = home.start(FILE);
    let labelled = json!({"locks": {"A": 1, "tenant/a": 2}, "expires_in": "1h", "labels": {"host": "w1"}});
    server.post("/v1/locks", &labelled.to_string()).shape(201);
    let waiter = server.peer("1h");
    server.lock(waiter, "A", 3).is(202, &waiter.to_string());
    let instance = |answer: crate::support::Answer| answer.header("throttle-instance").map(str::to_owned);
    let (peers, id) = (server.peers(), instance(server.get("/livez")));
    let copy = Home::new();
    let told = said(&["backup", copy.path().to_str().expect("text")], &home);
    assert!(told.contains("has everything up to batch"), "{told}");
    // What comes later is not in it.
    server.v1_holder(&json!({"tenant/b": 1}));
    server.kill();
    let restored = copy.start(FILE);
    assert_eq!(restored.peers(), peers);
    assert_eq!(instance(restored.get("/livez")), id);
    restored.v1_holder(&json!({"tenant/b": 1}));
    restored.kill();
    assert_eq!(copy.start(FILE).peers().len(), peers.len() + 1);
    // Named as everybody guesses, whatever the environment names.
    let other = Home::new();
    let paths = [&home, &other].map(|home| home.path().to_str().expect("text"));
    let (code, told, stderr) =
        Launch::new(&["backup", paths[0], paths[1]]).env("THROTTLE_DATA_DIR", "/no/such").run();
    assert_eq!((code, stderr.as_str()), (0, ""), "{told}");
    let (code, inspected, stderr) = Launch::new(&["journal", "inspect", paths[1]]).run();
    assert_eq!((code, stderr.as_str()), (0, ""), "{inspected}");
    let (code, _, stderr) = Launch::new(&["backup", paths[1]]).run();
    assert!(code == 2 && stderr.contains("--data-dir <DIR>"), "{stderr}");
    let line = throttle(&["backup", copy.path().to_str().expect("text")], &home).fails();
    assert!(line.contains("is there already and not empty; name a new directory."), "{line}");
}

#[test]
fn a_copy_has_the_snapshot_too() {
    let home = Home::new();
    let file = format!("{FILE}\n[durability]\nsnapshot_bytes = 65536");
    let server = home.start(&file);
    let labels = json!({"expires_in": "1h", "labels": {"text": "x".repeat(200)}}).to_string();
    // Enough for a snapshot, and for batches behind it.
    while server.metric("throttle_journal_snapshot_seconds_count") < 1.0 {
        server.post("/v1/peers", &labels).shape(201);
    }
    server.post("/v1/peers", &labels).shape(201);
    let peers = server.metric("throttle_peers");
    let copy = Home::new();
    said(&["backup", copy.path().to_str().expect("text")], &home);
    let batches: Vec<Value> = records(&copy, &[]).into_iter().map(|(batch, _)| batch).collect();
    assert!(
        batches.first() == Some(&Value::Null) && batches.last().is_some_and(Value::is_u64),
        "{batches:?}"
    );
    let restored = copy.start(&file);
    restored.until_metric("throttle_peers", peers);
}

#[test]
fn a_journal_is_shown_while_it_is_in_use() {
    let home = Home::new();
    let server = home.start(FILE);
    let key = "Idempotency-Key: once\r\n";
    server.ask_with("POST", "/v1/locks", key, r#"{"locks":{"tenant/a":1},"expires_in":"1h"}"#).shape(201);
    let of = |batch: u64| {
        let all = records(&home, &["--after", &(batch - 1).to_string()]);
        let of_batch = all.into_iter().filter(|(found, _)| *found == batch);
        of_batch.map(|(_, kind)| kind).collect::<Vec<_>>()
    };
    // What one command does is in one batch, so that no crash can leave a part of it.
    assert_eq!(of(1), ["declared", "semaphore_set"]);
    assert_eq!(of(2), ["key_taken", "peer_created", "semaphore_set", "granted"]);
    let text = said(&["journal", "inspect"], &home);
    assert!(text.contains("2 granted at=20"), "{text}");
    assert!(
        text.lines().last().is_some_and(|line| line.contains("is whole. It ends with batch 2:")),
        "{text}"
    );
    let line = throttle(&["journal", "inspect"], &Home::new()).fails();
    assert!(line.contains("there is no "), "{line}");
}
