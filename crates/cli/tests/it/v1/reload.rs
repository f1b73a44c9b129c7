//! The configuration file, read again.

use std::fs;

use serde_json::json;

use crate::support::{Launch, Server};

struct Edited {
    server: Server,
    file: std::path::PathBuf,
}

impl Edited {
    fn start(text: &str) -> Self {
        let launch = Launch::new(&["--port", "0"]).file(text).env("THROTTLE_LOG", "info");
        let file = launch.path("throttle.toml");
        Self { server: Server::launch(launch), file }
    }

    fn edit(&self, text: &str) -> &Server {
        fs::write(&self.file, text).expect("written");
        &self.server
    }
}

#[test]
fn what_changed_comes_into_force_and_is_told() {
    let edited = Edited::start("[semaphores]\nA = 1\nB = 1\nC = 1\n'p/*' = 1");
    let server = &edited.server;
    server.holder("A", 1, "5m");
    let waiter = server.peer("5m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=1m");
    edited.edit(
        "port = 1\n[semaphores]\nA = { max = 2, level = 3 }\nB = 1\nD = { max = 4, per = '1s' }\n'q/*' = 2",
    );
    let difference = server.post("/v1/reload", "").shape(200);
    assert_eq!(
        difference,
        json!({
            "added": {
                "D": {"max": 4, "level": 0, "per": "1s", "deadlock": "hierarchy", "order": "strict"},
                "q/*": {"max": 2, "level": 0, "per": null, "deadlock": "hierarchy", "order": "strict"}
            },
            "changed": {"A": {
                "before": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy", "order": "strict"},
                "now": {"max": 2, "level": 3, "per": null, "deadlock": "hierarchy", "order": "strict"}
            }},
            "removed": {
                "C": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy", "order": "strict"},
                "p/*": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy", "order": "strict"}
            },
            "needs_restart": [],
            "removed_in_use": {},
            "warnings": []
        })
    );
    assert_eq!(blocked.answer().status, 200, "growing wakes who waits");
    server.get("/v1/semaphores/C").problem(404, "unknown_semaphore");
    assert_eq!(server.remainder("q/x"), 2);
    server.get("/remainder?semaphore=p/x").is(400, "Unknown semaphore");
    let line = server.process.stderr.line("was reloaded");
    assert!(
        line.contains(
            "Added: \"D\", \"q/*\"; changed: \"A\" (max 1 -> 2, level 0 -> 3); removed: \"C\", \"p/*\"."
        ),
        "{line}"
    );
    assert_eq!(server.post("/v1/reload", "").shape(200)["changed"], json!({}));
}

#[test]
fn a_wrong_file_changes_nothing() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = edited.edit("[semaphores]\nA = 2\nB = -1");
    let detail = server.post("/v1/reload", "").problem(409, "invalid_configuration");
    assert!(detail.contains("throttle.toml:3: semaphores.B"), "{detail}");
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn the_later_word_wins() {
    let edited = Edited::start("[semaphores]\nA = 1\nB = 1");
    let server = &edited.server;
    for name in ["A", "B"] {
        server.ask("PATCH", &format!("/v1/semaphores/{name}"), r#"{"max": 7}"#).shape(200);
    }
    edited.edit("[semaphores]\nA = 1\nB = 2").post("/v1/reload", "").shape(200);
    let origin = |name: &str| server.get(&format!("/v1/semaphores/{name}")).shape(200)["origin"].clone();
    assert_eq!(
        (server.remainder("A"), origin("A")),
        (7, json!("runtime")),
        "the file says what it said before"
    );
    assert_eq!((server.remainder("B"), origin("B")), (2, json!("file")), "the file was edited since");
}

#[test]
fn a_used_semaphore_that_is_gone_drains() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = &edited.server;
    let holder = server.holder("A", 1, "5m");
    let waiter = server.peer("5m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=1m");
    edited.edit("[semaphores]").post("/v1/reload", "").shape(200);
    let late = server.peer("5m");
    server.put(&format!("/peers/{late}/A"), "1").is(400, "Unknown semaphore");
    assert_eq!(server.lock(holder, "A", 1).status, 200, "whoever holds it goes on");
    server.release(holder, "A");
    assert_eq!(blocked.answer().status, 200, "whoever waits has a turn");
    server.release(waiter, "A");
    server.get("/v1/semaphores/A").problem(404, "unknown_semaphore");
}

#[cfg(unix)]
#[test]
fn a_reload_tells_what_there_was_and_who_changed_it() {
    let edited = Edited::start("[semaphores]\nA = 1\nB = 1\nC = 1\n'p/*' = 1");
    let server = &edited.server;
    // Since the file was read last an operator has changed one, and made another.
    server.ask("PATCH", "/v1/semaphores/A", r#"{"max":5}"#).shape(200);
    server.ask("PUT", "/v1/semaphores/D", r#"{"max":1}"#).shape(201);
    let mut events = server.stream("/v1/events?kind=resized,removed", "");
    edited.edit("[semaphores]\nA = 8\nB = { max = 1, per = '1s' }\nD = 2\nE = 3\n'p/*' = 2");
    server.post("/v1/reload", "").shape(200);
    let line = server.process.stderr.line("was reloaded");
    assert!(
        line.contains(
            r#"Added: "D" (max 1 -> 2), "E"; changed: "A" (max 5 -> 8), "B" (per none -> 1s), "p/*" (max 1 -> 2); removed: "C"."#
        ),
        "{line}"
    );
    let told: Vec<_> = events
        .take(5)
        .into_iter()
        .map(|event| (event.data["semaphore"].clone(), event.data["by"].clone()))
        .collect();
    let by = |name| (json!(name), json!("configuration"));
    assert_eq!(told, [by("D"), by("E"), by("A"), by("B"), by("C")]);
    // What happens next is nobody's act.
    server.ask("PATCH", "/v1/semaphores/A", r#"{"max":9}"#).shape(200);
    assert_eq!(events.next().data["by"], json!(null));
}

#[test]
fn sighup_reloads() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = edited.edit("[semaphores]\nA = 3");
    server.process.signal(rustix::process::Signal::HUP);
    server.process.stderr.line("was reloaded");
    assert_eq!(server.remainder("A"), 3);
    edited.edit("[semaphores]\nA = x");
    server.process.signal(rustix::process::Signal::HUP);
    server.process.stderr.line("ERROR throttle] The configuration stays as it is. throttle.toml:2: ");
    assert_eq!(server.remainder("A"), 3);
}

/// A reload that is refused by every way to ask for it, and changes nothing.
#[track_caller]
fn is_refused(edited: &Edited, why: &str, nth: usize) {
    let server = &edited.server;
    let detail = server.post("/v1/reload", "").problem(409, "invalid_configuration");
    assert!(detail.starts_with("Nothing changed. throttle.toml: ") && detail.contains(why), "{detail}");
    #[cfg(unix)]
    {
        let url = format!("http://127.0.0.1:{}", server.port);
        let (code, stdout, stderr) = Launch::new(&["reload"]).env("THROTTLE_URL", &url).run();
        assert_eq!((code, &*stdout), (1, ""), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        server.process.signal(rustix::process::Signal::HUP);
        server.process.stderr.until(why, nth);
        let line = server.process.stderr.line(why);
        assert!(line.contains("ERROR throttle] The configuration stays as it is. throttle.toml: "), "{line}");
    }
    assert_eq!((server.remainder("A"), server.remainder("q/x")), (3, 2));
}

const VANISHING: &str = "[semaphores]\nA = 3\n'q/*' = 2";

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let edited = Edited::start(VANISHING);
    fs::remove_file(&edited.file).expect("removed");
    is_refused(&edited, "is gone, though it was read before.", 1);
    // Twice as well, and it is fine once it is back.
    is_refused(&edited, "is gone, though it was read before.", 2);
    let reloaded = edited.edit("[semaphores]\nA = 4\n'q/*' = 2").post("/v1/reload", "").shape(200);
    assert_eq!(reloaded["changed"]["A"]["before"]["max"], 3);
    assert_eq!(edited.server.remainder("A"), 4);
}

#[test]
fn a_file_that_says_nothing_any_more_changes_nothing() {
    for nothing in ["", " \n\t\r\n", "# [semaphores]\n# A = 3\n", "\u{feff}"] {
        let edited = Edited::start(VANISHING);
        edited.edit(nothing);
        is_refused(&edited, "is empty, though it said something when it was last read.", 1);
    }
    let edited = Edited::start(VANISHING);
    fs::remove_file(&edited.file).expect("removed");
    fs::create_dir(&edited.file).expect("made");
    is_refused(&edited, "is a directory", 1);
}

#[test]
fn a_file_may_appear_after_the_start_and_is_missed_from_then_on() {
    let launch = Launch::new(&["--port", "0"]).env("THROTTLE_LOG", "info");
    let file = launch.path("throttle.toml");
    let edited = Edited { server: Server::launch(launch), file };
    assert_eq!(
        edited.server.post("/v1/reload", "").shape(200)["removed"],
        json!({}),
        "it is still not there"
    );
    edited.edit("# nothing yet").post("/v1/reload", "").shape(200);
    edited.edit(VANISHING).post("/v1/reload", "").shape(200);
    fs::remove_file(&edited.file).expect("removed");
    is_refused(&edited, "is gone, though it was read before.", 1);
}

#[test]
fn semaphores_in_use_are_removed_with_a_warning() {
    let edited = Edited::start("[semaphores]\nA = 2\nB = 1\nC = 1\nD = 1\n'p/*' = 3\n'q/*' = 1");
    let server = &edited.server;
    server.holder("A", 2, "5m");
    server.v1_holder(&json!({ "p/1": 1 }));
    server.v1_holder(&json!({ "p/2": 2 }));
    let waiter = server.peer("5m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    let reloaded =
        edited.edit("[semaphores]\nB = 1\nC = 1\nD = 1\n'q/*' = 1").post("/v1/reload", "").shape(200);
    let in_use = json!({ "A": {"acquired": 2, "pending": 1}, "p/*": {"acquired": 3, "pending": 0} });
    assert_eq!(reloaded["removed_in_use"], in_use);
    let warning = "Semaphores in use are removed; they take no new requests, and go when they are idle: \
                   \"A\" (2 acquired, 1 pending), \"p/*\" (3 acquired, 0 pending).";
    assert_eq!(reloaded["warnings"], json!([warning]));
    let line = server.process.stderr.line("Semaphores in use are removed");
    assert!(line.ends_with(&format!("WARN  throttle] {warning}")), "{line}");
}

#[test]
fn a_reload_that_removes_most_semaphores_says_so() {
    let lines: Vec<String> = (0..30).map(|number| format!("s{number:02} = 1")).collect();
    let edited = Edited::start(&format!("[semaphores]\n{}", lines.join("\n")));
    let server = edited.edit("[semaphores]\ns00 = 1");
    let reloaded = server.post("/v1/reload", "").shape(200);
    let warning = reloaded["warnings"][0].as_str().expect("a warning");
    assert!(
        warning.starts_with("29 semaphores of 30 in the configuration are removed: \"s01\", "),
        "{warning}"
    );
    assert!(warning.ends_with("\"s20\" and 9 more."), "{warning}");
    let line = server.process.stderr.line("29 semaphores of 30");
    assert!(line.ends_with(&format!("WARN  throttle] {warning}")), "{line}");
    // All of them are, if that is what the file says.
    let reloaded = edited.edit("[semaphores]").post("/v1/reload", "").shape(200);
    assert_eq!(reloaded["warnings"], json!(["1 semaphore of 1 in the configuration is removed: \"s00\"."]));
    let names = server.get("/v1/semaphores").shape(200);
    assert_eq!(names["items"], json!([]));
}
