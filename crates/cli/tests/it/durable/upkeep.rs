//! A journal that cannot be made short: nothing is lost, and the operator is told.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::{
    disk::{Disk, Fault},
    home::Home,
};
use crate::support::{Server, until};

/// No snapshot is made, so only the write-ahead log is to be copied.
const FILE: &str =
    "[durability]\nsnapshot_bytes = 1000000000\n[semaphores]\nA = 1000000\n[limits]\nlabel_bytes = 8192";
/// More than it takes until the log is to be copied.
const PEERS_MOST: usize = 2000;
const TROUBLE: &str = "throttle_journal_trouble";

/// Makes peers, each as long as a page, until something is the case.
fn work_until(server: &Server, is_so: impl Fn() -> bool) {
    let label = "x".repeat(4000);
    let body = json!({ "expires_in": "1h", "labels": { "a": label } }).to_string();
    for _ in 0..PEERS_MOST {
        if is_so() {
            return;
        }
        server.post("/v1/peers", &body).shape(201);
    }
    panic!("that never was so");
}

#[test]
fn a_log_that_cannot_be_copied_into_the_database_is_told_of() {
    let (disk, home) = (Disk::new(), Home::new());
    let fault = Fault { call: "write journal.db", at: 0, kind: "broken" };
    let file = format!("{FILE}\nlabel_length = 5000");
    let mut server = Server::launch(disk.under(home.launch(&file), &home, fault));
    assert!(server.metric(TROUBLE) < 1.0);
    disk.hold();
    work_until(&server, || server.metric(TROUBLE) > 0.0);
    let line = server.process.stderr.line("The journal cannot be made short");
    assert!(line.contains("WARN"), "{line}");
    let log = home.file("journal.db-wal");
    let sentence = format!(
        "{} cannot be copied into the database (disk I/O error): see whether the disk",
        log.display()
    );
    assert!(line.contains(&sentence), "{line}");
    assert!(line.contains("Nothing is lost and the server goes on"), "{line}");
    // It goes on, and however often that fails, it is told once.
    let tries = || disk.calls().iter().filter(|call| *call == "fault write journal.db").count();
    let before = tries();
    work_until(&server, || tries() > before + 1);
    let size = fs::metadata(&log).expect("it is there").len();

    disk.let_go();
    work_until(&server, || server.metric(TROUBLE) < 1.0);
    server.process.stderr.line("The journal is made short again: its write-ahead log is in the database.");
    // It begins anew, and grows no more.
    for _ in 0..2 {
        work_until(&server, || disk.calls().iter().rev().take(20).any(|call| call == "sync journal.db"));
        server.v1_peer("1h");
    }
    let grown = fs::metadata(&log).expect("it is there").len();
    assert!(grown < size + (8 << 20), "{size}, {grown}");
    let peers = server.peers();
    server.process.signal(Signal::KILL);
    server.process.wait();
    let lines = server.process.stderr.all();
    assert_eq!(lines.iter().filter(|line| line.contains("cannot be made short")).count(), 1, "{lines:#?}");
    let server = home.start(&file);
    assert_eq!(server.peers(), peers);
    server.stop();
}

/// What a server says that ends though its disk does not answer.
fn ends(call: &str, ask: impl FnOnce(&Server)) -> String {
    let (disk, home) = (Disk::new(), Home::new());
    let fault = Fault { call, at: 0, kind: "hold" };
    let mut server = Server::launch(disk.under(home.launch(FILE), &home, fault));
    let kept = server.v1_holder(&json!({ "A": 1 }));
    disk.hold();
    ask(&server);
    disk.until_held();
    server.process.signal(Signal::TERM);
    // The disk never answers: a server without a bound would be there for ever, and so would this test.
    assert_eq!(server.process.wait().code(), Some(1));
    let line = server.process.stderr.line("throttle: The data directory ");
    let beginning = format!("throttle: The data directory {}: ", home.path().display());
    disk.let_go();
    let server = home.start(FILE);
    assert!(server.peers().contains_key(&kept), "what was acknowledged is there");
    server.stop();
    line.strip_prefix(&beginning).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn a_disk_that_hangs_at_the_end_is_not_waited_for_without_end() {
    let told = ends("sync mark", |server| {
        let mut asked = server.send("POST", "/v1/peers", r#"{"expires_in":"10m"}"#);
        let mut other = server.send("POST", "/v1/peers", r#"{"expires_in":"10m"}"#);
        until("both are made", || server.figure("throttle_peers") == Some(3.0));
        assert!(asked.is_silent() && other.is_silent(), "nobody is told");
    });
    assert_eq!(
        told,
        "the disk did not answer for 5s, so the server ended without it. What was acknowledged is on it. The last 2 \
         changes may not be: nobody was told of them, and whether they had an effect shows after the next start."
    );
}
