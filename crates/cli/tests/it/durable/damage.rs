//! Files that were damaged, cut off, lost or exchanged while no server ran.
//!
//! Every case ends in a refusal that leaves the files as they are, or in a state with everything that was acknowledged.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

use serde_json::{Value, json};

use super::home::Home;
use crate::support::{Launch, Server};

const FILE: &str = "[durability]\nsnapshot_bytes = 65536\n[semaphores]\nA = 1000000\nB = 1";
const FILES: [&str; 3] = ["journal.db", "journal.db-wal", "mark"];
/// How many batches the mark has places for, and how much room each of the two copies there has. Between them is a gap.
const PLACES: usize = 64;
const COPY: usize = 16 * 1024;
const GAP: usize = 4096;
const PLACE: usize = COPY + GAP + COPY;

/// A directory with a snapshot, batches behind it and a write-ahead log, as a killed server leaves it; and what it
/// acknowledged.
fn template() -> (Home, BTreeMap<String, Value>) {
    let home = Home::new();
    let server = home.start(FILE);
    let session = |server: &Server, semaphore: &str, length: usize| {
        let body = json!({
            "locks": { semaphore: 1 }, "expires_in": "1h", "labels": { "a": "x".repeat(length) },
        });
        server.post("/v1/locks", &body.to_string());
    };
    while server.figure("throttle_journal_snapshot_seconds_count").is_none_or(|count| count < 1.0) {
        session(&server, "A", 250);
    }
    // The database gets what there is by now; the rest stays in the log.
    server.stop();
    let server = home.start(FILE);
    // More than the mark has places for: it has the last, and the log those before.
    for length in 0..PLACES + 8 {
        session(&server, "B", length % 8);
    }
    let peers = server.peers();
    server.kill();
    (home, peers)
}

#[derive(Default)]
struct Tally {
    refused: u32,
    recovered: u32,
}

impl Tally {
    /// Starts a server on damaged files, and counts what it made of them.
    #[track_caller]
    fn judge(&mut self, home: &Home, peers: &BTreeMap<String, Value>, what: &str) {
        let before = home.bytes();
        let mut process = home.launch(FILE).start();
        if let Some(line) = process.stderr.either("Listening on http://127.0.0.1:") {
            let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            let server = Server { process, port };
            assert!(server.peers() == *peers, "{what}: something was lost");
            server.kill();
            self.recovered += 1;
            return;
        }
        let code = process.wait().code();
        let lines = process.stderr.all();
        assert_eq!(code, Some(1), "{what}: {lines:?}");
        let told: Vec<_> = lines.iter().filter(|line| line.starts_with("throttle: ")).collect();
        assert_eq!(told.len(), 1, "{what}: {lines:?}");
        let beginning = format!("throttle: The data directory {}: ", home.path().display());
        assert!(told[0].starts_with(&beginning), "{what}: {lines:?}");
        assert!(home.bytes() == before, "{what}: files were changed: {lines:?}");
        self.refused += 1;
    }
}

fn writable(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("there")
}

fn length(home: &Home, name: &str) -> u64 {
    fs::metadata(home.file(name)).expect("there").len()
}

/// Places from the first byte to the last: all of the head, then some.
fn places(length: u64, head: u64, most: u64) -> Vec<u64> {
    let step = (length / most).max(1);
    // An odd step meets all parts of a page.
    let step = step + 1 - step % 2;
    (0..length.min(head))
        .step_by(5)
        .chain((head..length).step_by(usize::try_from(step).expect("small")))
        .collect()
}

fn flip(home: &Home, name: &str, at: u64) {
    let file = writable(&home.file(name));
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).expect("written");
}

#[test]
fn a_bit_that_changed() {
    let (template, peers) = template();
    for (name, head, most) in [("journal.db", 100, 50), ("journal.db-wal", 56, 50), ("mark", 64, 20)] {
        let mut tally = Tally::default();
        let mut places = places(length(&template, name), head, most);
        if name == "mark" {
            // Within the batches: the rest of a place is empty.
            places.extend((0..PLACES).step_by(3).flat_map(|place| {
                let (middle, far) = (place * PLACE + COPY, 60 + place % 40);
                [(middle - far) as u64, (middle + GAP + far) as u64]
            }));
        }
        for at in places {
            let home = Home::copy(template.path());
            flip(&home, name, at);
            tally.judge(&home, &peers, &format!("{name}, byte {at}"));
        }
        // Each batch is in the mark twice.
        assert_eq!(tally.refused > 0, name != "mark", "{name}: {} refused", tally.refused);
    }
}

#[test]
fn a_log_that_was_cut_off() {
    let (template, peers) = template();
    let length = length(&template, "journal.db-wal");
    let mut tally = Tally::default();
    for end in places(length, 32, 40) {
        let home = Home::copy(template.path());
        writable(&home.file("journal.db-wal")).set_len(end).expect("cut");
        tally.judge(&home, &peers, &format!("cut off at {end}"));
    }
    // The mark lacks some of what is cut off, unless that is nothing but the end.
    assert!(tally.refused > tally.recovered, "{} {}", tally.refused, tally.recovered);
}

#[test]
fn a_mark_that_was_cut_off() {
    let (template, _) = template();
    for end in (0..length(&template, "mark")).step_by(4 * PLACE) {
        let home = Home::copy(template.path());
        writable(&home.file("mark")).set_len(end).expect("cut");
        let line = home.refused();
        assert!(line.contains("`mark` is missing or cannot be read"), "cut off at {end}: {line}");
    }
}

#[test]
fn a_page_that_was_torn() {
    const PAGE: u64 = 4096;
    const FRAME: u64 = PAGE + 24;
    let (template, peers) = template();
    let wal = length(&template, "journal.db-wal");
    let last_frame = 32 + ((wal - 32) / FRAME - 1) * FRAME;
    let last_page = length(&template, "journal.db") - PAGE;
    let mut tally = Tally::default();
    for (name, at) in [
        ("journal.db-wal", last_frame + 24),
        ("journal.db", last_page),
        ("journal.db", 0),
        ("mark", COPY as u64 - PAGE),
        ("mark", (COPY + GAP) as u64),
    ] {
        for (from, to) in [(0, PAGE / 2), (PAGE / 2, PAGE), (PAGE - 512, PAGE)] {
            for old in [0, 0x5a] {
                let home = Home::copy(template.path());
                let bytes = vec![old; usize::try_from(to - from).expect("small")];
                writable(&home.file(name)).write_all_at(&bytes, at + from).expect("written");
                tally.judge(&home, &peers, &format!("{name}, {from} to {to} of the page at {at}"));
            }
        }
    }
    assert!(tally.refused > 0);
}

/// Where the last batch is in a mark, which is younger than another: what differs in both of its copies.
fn copies_of_last(before: &[u8], after: &[u8]) -> [Range<usize>; 2] {
    let changed = |at: &usize| before[*at] != after[*at];
    let (first, last) = ((0..before.len()).find(changed), (0..before.len()).rfind(changed));
    let (first, last) = (first.expect("it was written"), last.expect("it was written"));
    let middle = first / PLACE * PLACE + COPY;
    assert!(
        first < middle && middle + GAP <= last && last < middle + GAP + COPY,
        "one batch, in both copies"
    );
    let end = (0..middle).rfind(changed).expect("there") + 1;
    let begin = (middle..before.len()).find(changed).expect("there");
    [first..end, begin..last + 1]
}

#[test]
fn what_was_never_acknowledged_may_end_anywhere() {
    let template = Home::new();
    let server = template.start(FILE);
    let first = server.v1_holder(&json!({ "A": 1 }));
    let before = fs::read(template.file("mark")).expect("there");
    let peers = server.peers();
    let second = server.v1_peer("1h");
    server.kill();
    let after = fs::read(template.file("mark")).expect("there");
    let [one, other] = copies_of_last(&before, &after);
    let (length, other_length) = (one.len(), other.len());
    // As if the process had ended in the middle of a write: of the first copy, or of the second.
    let ends: Vec<_> = (0..length).step_by(7).chain([length]).map(|end| (end, 0)).collect();
    for (end, other_end) in ends.into_iter().chain([(length, other_length / 2), (length, other_length)]) {
        let home = Home::copy(template.path());
        let mut mark = before.clone();
        for (begin, end) in [(one.start, end), (other.start, other_end)] {
            mark[begin..begin + end].copy_from_slice(&after[begin..begin + end]);
        }
        fs::write(home.file("mark"), mark).expect("written");
        let server = home.start(FILE);
        let mut found = server.peers();
        assert_eq!(found.remove(&second).is_some(), end == length, "cut off at {end}");
        assert!(found == peers && found.contains_key(&first), "cut off at {end}");
        // And it goes on from there.
        server.v1_holder(&json!({ "A": 3 }));
        let peers = server.peers();
        server.kill();
        assert!(home.start(FILE).peers() == peers, "cut off at {end}");
    }
}

#[test]
fn the_last_batches_are_in_the_mark_twice() {
    let template = Home::new();
    let server = template.start(FILE);
    // Each is a batch.
    let marks = [(); 3].map(|()| {
        server.v1_peer("1h");
        fs::read(template.file("mark")).expect("there")
    });
    let peers = server.peers();
    server.kill();
    let damaged = |copies: &[Range<usize>]| {
        let home = Home::copy(template.path());
        for copy in copies {
            flip(&home, "mark", copy.start as u64);
        }
        home
    };
    let second = copies_of_last(&marks[0], &marks[1]);
    let line = damaged(&second).refused();
    assert!(line.contains("was acknowledged, but the journal ends with batch"), "{line}");
    // Nothing of them is anywhere else.
    let home = damaged(&second[..1]);
    writable(&home.file("journal.db-wal")).set_len(0).expect("cut");
    let copy = Home::new();
    let paths = [&home, &copy].map(|home| home.path().to_str().expect("text"));
    let (code, told, stderr) = Launch::new(&["backup", paths[0], paths[1]]).run();
    assert_eq!((code, stderr.as_str()), (0, ""), "{told}");
    for home in [home, copy] {
        let server = home.start(FILE);
        assert!(server.peers() == peers);
        server.v1_holder(&json!({ "A": 1 }));
        server.kill();
        assert_eq!(home.start(FILE).peers().len(), peers.len() + 1);
    }
}

#[test]
fn a_file_that_is_missing() {
    let (template, _) = template();
    for name in FILES {
        let home = Home::copy(template.path());
        fs::remove_file(home.file(name)).expect("removed");
        let line = home.refused();
        assert!(line.contains("is damaged: ") && line.contains("Restore a backup"), "{line}");
    }
}

#[test]
fn a_file_that_is_another_one() {
    let (template, _) = template();
    let other = Home::new();
    let server = other.start(FILE);
    server.v1_peer("1h");
    server.stop();
    let text = "just some text\n".repeat(1000);
    let empty = "SQLite format 3\0";
    for (name, bytes, says) in [
        ("journal.db", text.as_bytes().to_vec(), "not a journal of Throttle"),
        ("journal.db", b"short".to_vec(), "not a journal of Throttle"),
        ("journal.db", Vec::new(), "not a journal of Throttle"),
        ("journal.db", [empty.as_bytes(), &[0; 4080]].concat(), "not a journal of Throttle"),
        ("journal.db", fs::read(other.file("journal.db")).expect("there"), "different journals"),
        ("mark", text.into_bytes(), "`mark` is missing or cannot be read"),
        ("mark", fs::read(other.file("mark")).expect("there"), "different journals"),
        ("mark", Vec::new(), "`mark` is missing or cannot be read"),
    ] {
        let home = Home::copy(template.path());
        if name == "journal.db" {
            // SQLite's checksums do not tell whose log it is.
            fs::remove_file(home.file("journal.db-wal")).expect("removed");
        }
        fs::write(home.file(name), bytes).expect("written");
        let line = home.refused();
        assert!(line.contains(says), "{line}");
    }
}

#[test]
fn another_database_is_left_alone() {
    let home = Home::new();
    fs::create_dir_all(home.path()).expect("made");
    let other = rusqlite::Connection::open(home.file("journal.db")).expect("made");
    other.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1);").expect("written");
    drop(other);
    assert!(home.refused().contains("not a journal of Throttle"));
}

#[test]
fn a_later_version() {
    let (template, _) = template();
    let home = Home::copy(template.path());
    // Where SQLite keeps the version of an application: in the log, and then in the database.
    let database = rusqlite::Connection::open(home.file("journal.db")).expect("a database");
    for step in ["PRAGMA user_version = 6;", "PRAGMA wal_checkpoint(TRUNCATE);"] {
        database.execute_batch(step).expect("written");
        let copy = Home::copy(home.path());
        let line = copy.refused();
        assert!(line.contains("written by a later release") && line.contains("version 6"), "{line}");
    }
}
