//! What others wrote never steers the terminal of whoever reads it, whichever command prints it.

use std::fs;

use serde_json::json;

use crate::support::{Launch, Server};

/// A name with everything that must not reach a terminal, and letters that must stay readable.
const NAME: &str = "größe\n\r\t\u{1b}[31m\u{7f}\u{9b}2J\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}日本";
const FILE: &str = "größe\\n\\r\\t\\u001b[31m\\u007f\\u009b2J\\u2028\\u2029\\u202a\\u202e\\u2066\\u2069日本";

/// Both outputs, of which neither may have a sign that steers. The lines are those of the command itself.
#[track_caller]
fn plain(launch: Launch) -> (i32, String) {
    let (code, stdout, stderr) = launch.run();
    let text = format!("{stdout}{stderr}");
    let steers = |sign: char| {
        sign != '\n'
            && (sign.is_control() || matches!(sign, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    assert!(!text.contains(steers), "{text:?}");
    assert!(!text.contains("größe\n"), "{text:?}");
    (code, text)
}

#[test]
fn check_shows_names_on_one_line() {
    let file = format!("address = \"a\\u001b\"\n[semaphores]\n\"{FILE}\" = 1\nB = 2");
    let (code, text) = plain(Launch::new(&["check"]).file(file));
    assert_eq!(code, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].contains("a\\u{1b}") && lines[2].contains("\\u{1b}[31m"), "{text}");
    assert!(
        lines[2].contains("größe\\n") && lines[2].contains("\\u{202e}") && lines[2].contains("日本"),
        "{text}"
    );
    assert_eq!(lines[2].find("  max 1").map(|at| lines[2][..at].chars().count()), {
        lines[3].find("  max 2").map(|at| lines[3][..at].chars().count())
    });
    let wrong = Launch::new(&["check"]).file(format!("[semaphores]\n\"{FILE}\" = \"{FILE}\""));
    let (code, text) = plain(wrong);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    let (code, text) = plain(Launch::new(&["check", "-c", "no\nsuch\u{1b}\u{202e}file"]));
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains("no\\nsuch\\u{1b}\\u{202e}file"), "{text}");
}

#[test]
fn the_commands_that_ask_a_server_show_escapes() {
    let launch = Launch::new(&["--port", "0"]).env("THROTTLE_LOG", "debug");
    let file = launch.path("throttle.toml");
    let server = Server::launch(launch.file(format!("[semaphores]\n\"{FILE}\" = 1")));
    let url = format!("http://127.0.0.1:{}", server.port);
    let labels = json!({ "host": NAME, "größe\u{202e}\n": "x" });
    let session = json!({ "locks": { NAME: 1 }, "expires_in": "5m", "labels": labels });
    let holder = server.post("/v1/locks", &session.to_string()).shape(201);
    let id = holder["id"].as_str().expect("an id");
    server.post("/v1/locks", &session.to_string()).shape(202);
    let ask = |arguments: &[&str]| plain(Launch::new(arguments).env("THROTTLE_URL", &url));
    for arguments in [
        &["status"][..],
        &["status", NAME],
        &["peers"],
        &["peers", "--semaphore", NAME],
        &["semaphore", "set", NAME, "--max", "3"],
    ] {
        for format in ["table", "json"] {
            let (code, text) = ask(&[arguments, &["-o", format]].concat());
            assert_eq!(code, 0, "{text}");
            assert!(text.contains("größe") && text.contains("日本"), "{text}");
        }
    }
    let (_, text) = ask(&["status", "-o", "json"]);
    let known: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(known["items"][0]["name"], NAME, "a program reads the name as it is");
    for arguments in [
        &["status", "größe\u{202e}\n\u{1b}"][..],
        &["semaphore", "rm", NAME],
        &["run", "-s", NAME, "-n", "100", "true"],
        &["run", "-s", NAME, "-n", "3", "--try", "true"],
    ] {
        let (code, text) = ask(arguments);
        assert_ne!(code, 0, "{text}");
        assert!(text.contains("größe"), "{text}");
    }
    fs::write(file, format!("[semaphores]\n\"new {FILE}\" = 1")).expect("written");
    for format in ["table", "json"] {
        let (code, text) = ask(&["reload", "-o", format]);
        assert_eq!(code, 0, "{text}");
    }
    let (code, text) = ask(&["release", id, "--reason", NAME]);
    assert_eq!(code, 1, "a reason has no control characters: {text}");
    assert!(text.contains("größe\\n"), "it is in the refusal: {text}");
    let (code, text) = ask(&["release", id, "--reason", "größe\u{2028}"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = ask(&["release", id]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("größe"), "the reason is in the refusal: {text}");
    assert_eq!(ask(&["semaphore", "rm", &format!("new {NAME}")]).0, 0);
    for line in server.stop() {
        assert!(
            !line.contains(|sign: char| sign.is_control() || matches!(sign, '\u{2028}' | '\u{202e}')),
            "{line:?}"
        );
        assert!(line.starts_with('['), "every line of the log begins as a line of the log: {line:?}");
    }
}
