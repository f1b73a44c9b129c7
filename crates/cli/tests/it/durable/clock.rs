//! What is shown after a restart, when the wall clock was set before it.

use serde_json::{Value, json};

use super::home::Home;
use crate::support::{Launch, Server, WallClock, until};

const FILE: &str = "[semaphores]\nA = 3";
const SNAPSHOTS: &str = "[durability]\nsnapshot_bytes = 65536\n[semaphores]\nA = 3";
const HOUR: i64 = 3_600;

fn inspected(home: &Home, more: &[&str]) -> String {
    let path = home.path().to_str().expect("text");
    let (code, stdout, stderr) =
        Launch::new(&[&["journal", "inspect", "--data-dir", path], more].concat()).run();
    assert_eq!((code, &*stderr), (0, ""));
    stdout
}

#[test]
fn a_restart_shows_the_same_times() {
    let mut clock = WallClock::new();
    let home = Home::new();
    let start = |clock: &WallClock, file: &str| Server::launch(clock.under(home.launch(file)));
    let server = start(&clock, FILE);
    let (early, granted) = clock.during(|| server.v1_holder(&json!({ "A": 1 })));
    clock.set(HOUR);
    let granted = granted.and(HOUR);
    let (late, granted_late) = clock.during(|| server.v1_holder(&json!({ "A": 1 })));
    let since = |server: &Server, peer: &str| {
        server.get(&format!("/v1/peers/{peer}")).shape(200)["locks"][0]["since"].clone()
    };
    granted.has(&since(&server, &early));
    granted_late.has(&since(&server, &late));
    until("the journal knows of it", || {
        inspected(&home, &["-o", "json"]).contains(r#"{"wall":{"ahead_us":36"#)
    });
    // For people it goes by the clock of the moment.
    let third = server.v1_holder(&json!({ "A": 1 }));
    let shown = since(&server, &third);
    let line = format!(" at={}", shown.as_str().expect("a time"));
    let (after, text) = (inspected(&home, &["--after", "1"]), inspected(&home, &[]));
    assert!(text.lines().any(|text| text.contains(" granted ") && text.contains(&line)), "{line}\n{text}");
    assert!(after.contains(&line), "{line}\n{after}");

    let before = server.peers();
    server.kill();
    let server = start(&clock, SNAPSHOTS);
    assert_eq!(server.peers(), before, "to the microsecond");
    let (waiter, asked) = clock.during(|| server.peer("1h"));
    assert_eq!(clock.during(|| server.lock(waiter, "A", 1).status).0, 202);
    asked.has(&server.get(&format!("/v1/peers/{waiter}")).shape(200)["created_at"]);
    // A snapshot keeps it as well.
    while server.metric("throttle_journal_snapshot_seconds_count") < 1.0 {
        let labels: Value =
            (0..7).map(|number| (format!("label-{number}"), json!("x".repeat(250)))).collect();
        let made = server.post("/v1/peers", &json!({ "expires_in": "1h", "labels": labels }).to_string());
        server.delete(&format!("/v1/peers/{}", made.shape(201)["id"].as_str().expect("an id"))).is_empty();
    }
    let before = server.peers();
    server.kill();
    // Set back by two hours while nobody ran, which nobody can know: times begin where they were, and none is lost.
    let server = start(&clock, FILE);
    assert_eq!(server.peers(), before);
    clock.set(-HOUR);
    granted.and(-2 * HOUR).has(&since(&server, &early));
    server.stop();
}
