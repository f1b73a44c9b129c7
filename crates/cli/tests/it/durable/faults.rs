//! Disks that fail below the journal: short writes, EIO, ENOSPC, syncs that fail.
//!
//! Every case ends the same way: the server stops with one clear line and a code that is not 0, or nothing was wrong
//! for it; and whatever it acknowledged is there after a start on a disk that works.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    disk::{Disk, Fault},
    format,
    home::Home,
};
use crate::support::{Answer, Server, request, until};

const FILE: &str = "[durability]\nsnapshot_bytes = 65536\n[semaphores]\nA = 1000000\n[limits]\nlabel_bytes = 20000\n\
    label_length = 2000\nbody_bytes = 65536";
/// Before which no snapshot is made.
const FILE_BEFORE: &str = "[durability]\nsnapshot_bytes = 100000000\n[semaphores]\nA = 1000000\n[limits]\n\
    label_bytes = 20000\nlabel_length = 2000\nbody_bytes = 65536";
/// The write-ahead log is copied into the database when it has a thousand pages; these make nearly as many, and the
/// database lacks some of them.
const PEERS_BEFORE: usize = 400;

/// What the runs of a test have in common.
struct Bench {
    /// A directory with a long write-ahead log, as a killed server leaves it.
    template: Home,
    /// What is in it.
    peers: BTreeMap<String, Value>,
    disk: Disk,
}

impl Bench {
    fn new() -> Self {
        let template = Home::new();
        let server = template.start(FILE_BEFORE);
        for _ in 0..PEERS_BEFORE {
            server.post("/v1/locks", &session()).shape(201);
        }
        let peers = server.peers();
        server.kill();
        Self { template, peers, disk: Disk::new() }
    }

    /// Runs a server on a failing disk, and one on the same files after that.
    fn run(&self, fault: Fault<'_>) -> Run {
        let home = Home::copy(self.template.path());
        let mut process = self.disk.under(home.launch(FILE), &home, fault).start();
        let mut acknowledged = self.peers.clone();
        let mut refused = None;
        let listens = process.stderr.either("Listening on http://127.0.0.1:");
        if let Some(line) = &listens {
            let port: u16 = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            refused = work(port, &mut acknowledged);
            if refused.is_none() {
                process.stderr.either("The journal was made short");
                refused = work(port, &mut acknowledged);
            }
            process.signal(Signal::TERM);
        }
        let code = process.wait().code().expect("not killed");
        let calls = self.disk.calls();
        let lines = process.stderr.all();
        let told: Vec<_> = lines.iter().filter(|line| line.starts_with("throttle: ")).collect();
        if code == 0 {
            assert!(told.is_empty() && refused.is_none() && listens.is_some(), "{fault:?}: {lines:#?}");
        } else {
            assert_eq!((code, told.len()), (1, 1), "{fault:?}: {lines:#?}");
            let beginning = format!("throttle: The data directory {}: ", home.path().display());
            assert!(told[0].starts_with(&beginning), "{fault:?}: {lines:#?}");
        }
        if let Some(Refusal::Answer(answer)) = &refused {
            answer.problem(503, "unavailable");
        }
        let server = home.start(FILE);
        let mut found = server.peers();
        for (id, peer) in &acknowledged {
            assert_eq!(found.remove(id).as_ref(), Some(peer), "{fault:?}: lost");
        }
        // The request that was not answered may have had its effect.
        assert!(found.len() <= usize::from(refused.is_some()), "{fault:?}: {found:?}");
        let held = i64::try_from(acknowledged.len() + found.len()).expect("few");
        assert_eq!(server.remainder("A"), 1_000_000 - held);
        server.kill();
        Run { calls, failed: code != 0 }
    }

    /// Has calls fail at many places. Tells how many of these runs failed.
    fn try_all(&self, kind: &str, call: &str, most: usize) -> usize {
        let calm = self.run(Fault { call: "none", at: 0, kind });
        assert!(!calm.failed);
        let runs = places(&calm.calls, call, most).into_iter().map(|at| {
            let run = self.run(Fault { call, at, kind });
            let was_hit = run.calls.contains(&format!("fault {call}"));
            assert!(was_hit || !run.failed, "{call} {at}");
            run.failed
        });
        runs.filter(|failed| *failed).count()
    }

    /// Has calls fail at many places, each of which ends the server. What is written in one go varies a little, so the
    /// last of these calls may not come in a run.
    fn all_noticed(&self, kind: &str, call: &str, most: usize) {
        let failed = self.try_all(kind, call, most);
        assert!(failed + 1 >= most, "{kind}, {call}: only {failed} of {most} runs failed");
    }
}

/// A peer that is long enough for two pages of its own.
fn session() -> String {
    session_of(560)
}

/// A peer that is too long for the mark.
fn long_session() -> String {
    session_of(1300)
}

fn session_of(length: usize) -> String {
    let labels: BTreeMap<_, _> =
        (0..14).map(|number| (format!("label-{number}"), "x".repeat(length))).collect();
    json!({ "locks": { "A": 1 }, "expires_in": "1h", "labels": labels }).to_string()
}

/// What became of a run.
struct Run {
    /// Every call on the files, in order.
    calls: Vec<String>,
    /// Whether it did not end well.
    failed: bool,
}

/// An answer, or none if the server is gone.
fn try_ask(port: u16, text: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(text.as_bytes()).ok()?;
    Answer::read(&mut BufReader::new(stream), false).ok()
}

/// How a request ended that was not acknowledged.
enum Refusal {
    Answer(Answer),
    CutOff,
}

/// Makes peers until there is one that is not acknowledged.
fn work(port: u16, acknowledged: &mut BTreeMap<String, Value>) -> Option<Refusal> {
    for number in 0..6 {
        let session = if number == 2 { long_session() } else { session() };
        match try_ask(port, &request("POST", "/v1/locks", &session)) {
            Some(answer) if answer.status == 201 => {
                let mut peer = answer.json();
                let id = peer["id"].as_str().expect("an id").to_owned();
                peer.as_object_mut().expect("a peer").remove("expires_at");
                acknowledged.insert(id, peer);
            }
            Some(answer) => return Some(Refusal::Answer(answer)),
            None => return Some(Refusal::CutOff),
        }
    }
    None
}

/// Some of the calls of this kind, from the first to the last.
fn places(calls: &[String], call: &str, most: usize) -> Vec<usize> {
    let count = calls.iter().filter(|found| *found == call).count();
    assert!(count > 0, "no {call} in {calls:?}");
    let mut places: Vec<usize> =
        (0..most).map(|step| 1 + step * count.saturating_sub(1) / (most - 1)).collect();
    places.dedup();
    places
}

#[test]
fn a_write_that_fails() {
    let bench = Bench::new();
    bench.all_noticed("eio", "write journal.db-wal", 8);
    bench.all_noticed("eio", "write mark", 6);
}

#[test]
fn a_sync_that_fails() {
    let bench = Bench::new();
    // Some are made once more before the log is copied into the database: of what is safe already.
    assert!(bench.try_all("eio", "sync journal.db-wal", 6) >= 3);
    bench.all_noticed("eio", "sync mark", 6);
}

#[test]
fn a_full_disk() {
    let bench = Bench::new();
    bench.all_noticed("enospc", "write journal.db-wal", 6);
    bench.all_noticed("enospc", "write mark", 4);
    assert!(bench.try_all("enospc", "write journal.db", 4) >= 1);
}

#[test]
fn a_write_that_is_cut_off() {
    let bench = Bench::new();
    bench.all_noticed("short", "write journal.db-wal", 6);
    bench.all_noticed("short", "write mark", 4);
    assert!(bench.try_all("short", "write journal.db", 4) >= 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_system_that_takes_no_direct_write_gets_it_through_the_cache() {
    let bench = Bench::new();
    assert_eq!(bench.try_all("einval", "write mark", 4), 0);
    // It is no cure for other files.
    assert!(bench.try_all("einval", "write journal.db-wal", 2) >= 1);
}

#[test]
fn a_log_that_cannot_be_copied_into_the_database_is_kept() {
    let bench = Bench::new();
    for call in ["write journal.db", "sync journal.db", "truncate journal.db"] {
        assert_eq!(bench.try_all("eio", call, 4), 0);
    }
}

/// The calls of a start, in a directory that is not there or in a copy of one that is.
fn calls_of_a_start(disk: &Disk, home: &Home) -> usize {
    let calm = Fault { call: "any", at: 0, kind: "eio" };
    Server::launch(disk.under(home.launch(FILE), home, calm)).kill();
    disk.calls().len()
}

#[test]
fn a_directory_that_cannot_be_made_whole() {
    let disk = Disk::new();
    let calls = calls_of_a_start(&disk, &Home::new());
    assert!(calls > 20, "{:?}", disk.calls());
    let mut refused = 0;
    for (at, kind) in (1..=calls).zip(["eio", "enospc", "short"].into_iter().cycle()) {
        let home = Home::new();
        let mut process = disk.under(home.launch(FILE), &home, Fault { call: "any", at, kind }).start();
        if process.stderr.either("Listening on").is_none() {
            assert_eq!(process.wait().code(), Some(1));
            let line = process.stderr.line("throttle: The data directory ");
            assert!(line.contains(&*home.path().to_string_lossy()), "{line}");
            refused += 1;
        }
        drop(process);
        // Nothing was there, so nothing is lost.
        let server = home.start(FILE);
        server.holder("A", 1, "1h");
        server.kill();
    }
    assert!(refused > calls / 2, "{refused} of {calls}");
}

#[test]
fn a_start_that_ends_anywhere() {
    let disk = Disk::new();
    let first = Home::new();
    let server = first.start(FILE);
    server.holder("A", 1, "1h");
    let peers = server.peers();
    server.kill();
    let nothing = Home::new();
    fs::create_dir_all(nothing.path()).expect("made");
    // All batches are in the mark alone, with the epoch in which they were written.
    let cut_off = Home::copy(first.path());
    OpenOptions::new()
        .write(true)
        .open(cut_off.file("journal.db-wal"))
        .and_then(|log| log.set_len(0))
        .expect("cut");
    let earlier = [3, 4].map(|version| Home::copy(&format::golden(version)));
    let peers_before = earlier.each_ref().map(|earlier| {
        let home = Home::copy(earlier.path());
        let server = home.start(FILE);
        let peers = server.peers();
        server.kill();
        peers
    });
    // Of the later one, too, the last batch is in the mark alone.
    let log = OpenOptions::new().write(true).open(earlier[1].file("journal.db-wal")).expect("there");
    log.set_len(log.metadata().expect("known").len() - 1).expect("cut");
    let [before, later] = &peers_before;
    let cases = [
        (&nothing, &BTreeMap::new()),
        (&first, &peers),
        (&cut_off, &peers),
        (&earlier[0], before),
        (&earlier[1], later),
    ];
    for (before, peers) in cases {
        let calls = calls_of_a_start(&disk, &Home::copy(before.path()));
        assert!(calls > 0);
        for at in 1..=calls {
            let home = Home::copy(before.path());
            disk.hold();
            let mut process =
                disk.under(home.launch(FILE), &home, Fault { call: "any", at, kind: "hold" }).start();
            until("it waits or listens", || disk.is_held() || process.stderr.has("Listening on"));
            process.signal(Signal::KILL);
            process.wait();
            disk.let_go();
            let server = home.start(FILE);
            assert_eq!(server.peers(), *peers, "ended before call {at}");
            server.kill();
        }
    }
}
