//! Nothing is told before it is safe: a disk that holds on to a write shows it.

use serde_json::json;

use super::{
    disk::{Disk, Fault},
    home::Home,
};
use crate::support::{Client, Server, free_port, id, until};

const FILE: &str = "[durability]\npending_bytes = 65536\n[semaphores]\nA = 1\nB = 10000";
/// Something that happens before a batch is acknowledged.
const LAST: Fault<'_> = Fault { call: "sync mark", at: 0, kind: "hold" };

fn start(disk: &Disk, home: &Home) -> Server {
    Server::launch(disk.under(home.launch(FILE), home, LAST))
}

/// Asks something that is answered at once, so that whatever was asked before on other connections had its time.
fn pass(server: &Server) {
    server.get("/livez");
}

#[test]
fn an_answer_leaves_when_all_that_it_tells_is_safe() {
    let (disk, home) = (Disk::new(), Home::new());
    let server = start(&disk, &home);
    let holder = server.v1_holder(&json!({ "A": 1 }));
    let waiter = server.v1_peer("10m");
    server.v1_locks(&waiter, &json!({ "A": 1 })).shape(202);
    let mut blocked = server.blocked(
        "PUT",
        &format!("/v1/peers/{waiter}/locks"),
        &json!({ "locks": { "A": 1 }, "wait": "10m" }),
    );
    let old = server.peer("10m");

    disk.hold();
    let mut release = server.send("DELETE", &format!("/v1/peers/{holder}"), "");
    disk.until_held();
    // The waiter has its lock, but nobody may know yet.
    let look = |path: &str| server.send("GET", path, "");
    let beat = |path: &str| server.send("POST", path, "");
    let mut asked: Vec<Client> = vec![
        look(&format!("/v1/peers/{waiter}")),
        look("/v1/peers"),
        look("/v1/semaphores/A"),
        look(&format!("/peers/{waiter}/is_acquired")),
        look("/remainder?semaphore=A"),
        beat(&format!("/v1/peers/{waiter}/heartbeat")),
        server.send("PUT", &format!("/peers/{waiter}/A"), "1"),
        server.send("POST", "/v1/heartbeats", &json!({ "expires_in": "1m", "peers": [holder] }).to_string()),
    ];
    // That a peer is gone must not be taken back.
    let mut gone = server.send("PUT", &format!("/peers/{holder}"), r#"{"expires_in":"1m"}"#);
    // What changes nothing that is kept, and tells nothing else, need not wait.
    server.heartbeat(old, "10m").is(200, "Ok");
    let body = json!({ "expires_in": "10m", "peers": [old.to_string()] }).to_string();
    server.post("/v1/heartbeats", &body).shape(200);
    for path in ["/livez", "/readyz", "/health"] {
        server.get(path).is(200, "Ok");
    }
    pass(&server);
    assert!(release.is_silent() && blocked.is_silent());
    for (at, client) in asked.iter_mut().enumerate() {
        assert!(client.is_silent(), "number {at} was answered");
    }

    assert!(gone.is_silent());

    disk.let_go();
    release.answer().is_empty();
    gone.answer().is(400, "Unknown peer");
    assert_eq!(id(&blocked.answer().shape(200)), waiter);
    for client in &mut asked {
        assert_eq!(client.answer().status, 200);
    }
    server.stop();
}

#[test]
fn what_was_not_answered_may_be_forgotten_and_nothing_else() {
    let (disk, home) = (Disk::new(), Home::new());
    let server = start(&disk, &home);
    let kept = server.v1_holder(&json!({ "A": 1 }));
    disk.hold();
    let mut lost = server.send("POST", "/v1/peers", r#"{"expires_in":"10m"}"#);
    disk.until_held();
    let mut heartbeat =
        server.send("POST", &format!("/v1/peers/{kept}/heartbeat"), r#"{"expires_in":"20m"}"#);
    pass(&server);
    assert!(lost.is_silent() && heartbeat.is_silent(), "a new length of a lease is kept, too");
    server.kill();
    disk.let_go();
    let server = home.start(FILE);
    assert!(server.peers().contains_key(&kept));
    assert_eq!(server.remainder("A"), 0);
}

#[test]
fn a_journal_that_is_behind_takes_no_more() {
    let (disk, home) = (Disk::new(), Home::new());
    let server = start(&disk, &home);
    let peer = server.peer("10m");
    let waiter = server.peer("10m");
    server.v1_holder(&json!({ "A": 1 }));
    server.v1_locks(&waiter.to_string(), &json!({ "A": 1 })).shape(202);
    disk.hold();
    let label = "x".repeat(250);
    let body =
        json!({ "locks": { "B": 1 }, "expires_in": "10m", "labels": { "a": label, "b": label } }).to_string();
    let mut first = server.send("POST", "/v1/locks", &body);
    disk.until_held();
    let mut waiting = Vec::new();
    let refused = loop {
        let mut client = server.send("POST", "/v1/locks", &body);
        pass(&server);
        // Either it waits for the disk, or it is refused at once.
        until("it is counted or refused", || {
            !client.is_silent()
                || server.figure("throttle_grants_total{semaphore=\"B\"}") == Some(count(waiting.len() + 2))
        });
        if !client.is_silent() {
            break client.answer();
        }
        waiting.push(client);
        assert!(waiting.len() < 1000, "there is no bound");
    };
    let detail = refused.problem(503, "unavailable");
    assert!(detail.contains("The journal is behind; nothing was changed."), "{detail}");
    assert!(waiting.len() > 65536 / 1000, "{} were taken", waiting.len());
    server.post("/new_peer", r#"{"expires_in":"5m"}"#).says(503, "The journal is behind");
    // Leases are kept all the while: that adds nothing.
    server.heartbeat(peer, "10m").is(200, "Ok");
    let many = |length: &str| json!({ "expires_in": length, "peers": [peer.to_string()] }).to_string();
    server.post("/v1/heartbeats", &many("10m")).shape(200);
    // Another length would add to the journal. It is not taken, and that is told at once; the lease begins anew.
    let kept = "The journal is behind, so the lease began anew with the length that it had";
    for refused in [
        server.post("/v1/heartbeats", &many("20m")),
        server.post(&format!("/v1/peers/{peer}/heartbeat"), r#"{"expires_in":"20m"}"#),
    ] {
        assert!(refused.header("retry-after").is_some());
        let detail = refused.problem(503, "unavailable");
        assert!(detail.contains(kept), "{detail}");
    }
    let refused = server.heartbeat(peer, "20m");
    assert!(refused.header("retry-after").is_some());
    refused.says(503, kept);
    // So would the first dialect's way to bring a peer back, and the word of one who waits that he is there.
    let back = r#"{"expires_in":"10m","active":{"B":1}}"#;
    server.put(&format!("/peers/{peer}"), back).is(200, "Ok");
    server.put("/peers/4711", back).says(503, "The journal is behind; nothing was changed.");
    let waits = format!("/peers/{waiter}/is_acquired");
    server.get(&waits).says(503, "The journal is behind; nothing was changed.");

    disk.let_go();
    first.answer().shape(201);
    for client in &mut waiting {
        client.answer().shape(201);
    }
    server.post("/v1/locks", &body).shape(201);
    server.heartbeat(peer, "20m").is(200, "Ok");
    server.get(&waits).is(200, "false");
    assert_eq!(server.remainder("B"), 10_000 - i64::try_from(waiting.len()).expect("few") - 2);
    server.kill();
    assert_eq!(home.start(FILE).peers().len(), waiting.len() + 5);
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("few"))
}

#[test]
fn a_repeat_tells_what_the_first_request_did() {
    let (disk, home) = (Disk::new(), Home::new());
    let server = start(&disk, &home);
    let peer = server.peer("1m");
    let longer = |server: &Server| server.send("PUT", &format!("/peers/{peer}"), r#"{"expires_in":"10m"}"#);
    let many = json!({ "expires_in": "10m", "peers": [peer.to_string()] }).to_string();

    disk.hold();
    let mut asked = vec![longer(&server)];
    disk.until_held();
    asked.push(longer(&server));
    asked.push(server.send("POST", "/v1/heartbeats", &many));
    pass(&server);
    for (at, client) in asked.iter_mut().enumerate() {
        assert!(client.is_silent(), "number {at} was answered");
    }
    disk.let_go();
    for client in &mut asked {
        assert_eq!(client.answer().status, 200);
    }
    longer(&server).answer().is(200, "Ok");
    server.stop();
}

#[test]
fn a_server_that_recovers_is_not_ready() {
    let (disk, home) = (Disk::new(), Home::new());
    let server = home.start(FILE);
    let peer = server.v1_holder(&json!({ "A": 1 }));
    server.kill();

    disk.hold();
    let port = free_port();
    let process = disk.under(home.launch_at(port, FILE), &home, LAST).start();
    disk.until_held();
    let server = Server { process, port };
    let detail = server.get("/readyz").problem(503, "unavailable");
    assert!(detail.contains("it reads its journal"), "{detail}");
    let refused = server.get(&format!("/v1/peers/{peer}"));
    refused.problem(503, "unavailable");
    assert!(refused.header("throttle-instance").is_some());
    server.post("/new_peer", r#"{"expires_in":"5m"}"#).says(503, "it reads its journal");
    server.get("/livez").is(200, "Ok");
    server.get("/health").says(503, "it reads its journal");
    // There is nothing to reload yet, but that must not end it.
    server.process.signal(rustix::process::Signal::HUP);
    server.get("/livez").is(200, "Ok");

    disk.let_go();
    server.process.stderr.line("Listening on");
    server.get("/readyz").is(200, "Ok");
    assert_eq!(id(&server.get(&format!("/v1/peers/{peer}")).shape(200)), peer);
}
