//! Locks that outlive the process which took them: `throttle acquire`, `throttle renew`, `throttle run --peer`.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Launch, Server, free_port};

const SEMAPHORES: &str = "[semaphores]\nA = 1\nB = 3\n\"it's\" = 1";

fn throttle(server: &Server, arguments: &[&str]) -> Launch {
    Launch::new(arguments).env("THROTTLE_URL", &format!("http://127.0.0.1:{}", server.port))
}

/// Runs a script whose `$0` is throttle. Returns its exit code, what it writes, and what it complains of.
fn script(server: &Server, text: &str) -> (i32, String, String) {
    let output = Command::new("sh")
        .args(["-c", text, env!("CARGO_BIN_EXE_throttle")])
        .env("THROTTLE_URL", format!("http://127.0.0.1:{}", server.port))
        .env("GITHUB_ENV", "")
        .output()
        .expect("a shell");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("not killed"), text(output.stdout), text(output.stderr))
}

/// The one holder of a semaphore.
fn holder(server: &Server, semaphore: &str) -> Value {
    let seen = server.get(&format!("/v1/semaphores/{semaphore}")).shape(200);
    assert_eq!(seen["holders_total"], json!(1), "{seen}");
    seen["holders"][0].clone()
}

#[test]
fn a_shell_takes_a_lock_keeps_it_and_gives_it_back() {
    let server = Server::start(SEMAPHORES);
    let (code, stdout, stderr) = script(
        &server,
        r#"eval "$("$0" acquire -s A -s B -n 2 -s "it's" --ttl 1h)" || exit
        echo "$THROTTLE_PEER_ID"
        echo "$THROTTLE_FENCING_TOKEN"
        echo "$THROTTLE_FENCING_TOKENS"
        "$0" renew "$THROTTLE_PEER_ID" --ttl 2h -o json
        "#,
    );
    assert_eq!((code, &*stderr), (0, ""));
    let held = holder(&server, "A");
    let mut lines = stdout.splitn(4, '\n');
    let peer = lines.next().expect("a peer").to_owned();
    assert_eq!(json!(peer), held["peer"]);
    assert_eq!(lines.next().map(Value::from).as_ref(), Some(&held["token"]));
    let tokens: Value = serde_json::from_str(lines.next().expect("tokens")).expect("JSON");
    assert_eq!(tokens["A"], held["token"]);
    assert_eq!(tokens["it's"], holder(&server, "it's")["token"]);
    let renewed: Value = serde_json::from_str(lines.next().expect("a peer")).expect("JSON");
    assert_eq!(renewed["id"], held["peer"]);
    let time = |of: &str| humantime::parse_rfc3339(renewed[of].as_str().expect("a time")).expect("a time");
    let lives_for = time("expires_at").duration_since(time("created_at")).expect("it lives");
    assert!(lives_for >= Duration::from_hours(2), "{renewed}");
    let (code, _, stderr) = throttle(&server, &["release", &peer]).run();
    assert_eq!((code, &*stderr), (0, ""));
    assert_eq!((server.remainder("A"), server.remainder("B")), (1, 3));
}

#[test]
fn what_a_file_takes_as_it_is_has_no_quotes() {
    let server = Server::start(SEMAPHORES);
    let (code, stdout, stderr) = script(
        &server,
        r#"file=$(mktemp)
        GITHUB_ENV=$file "$0" acquire -s A >> "$file" && GITHUB_ENV=/no/file "$0" acquire -s B -o dotenv >> "$file"
        cat "$file"; rm "$file""#,
    );
    assert_eq!((code, &*stderr), (0, ""));
    let (a, b) = (holder(&server, "A"), holder(&server, "B"));
    let lines = |held: &Value, name: &str| {
        let (peer, token) = (held["peer"].as_str().expect("an id"), held["token"].as_str().expect("a token"));
        format!(
            "THROTTLE_PEER_ID={peer}\nTHROTTLE_FENCING_TOKEN={token}\nTHROTTLE_FENCING_TOKENS={{\"{name}\":\"{token}\"}}\n"
        )
    };
    assert_eq!(stdout, lines(&a, "A") + &lines(&b, "B"));
}

#[test]
fn a_program_reads_the_peer() {
    let server = Server::start(SEMAPHORES);
    let (code, stdout, stderr) = throttle(
        &server,
        &["acquire", "-s", "B", "-n", "2", "--ttl", "1h", "-o", "json", "--label", "job=7"],
    )
    .run();
    assert_eq!((code, &*stderr), (0, ""));
    let peer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(peer["locks"][0]["count"], json!(2));
    assert_eq!(peer["labels"]["job"], json!("7"));
    assert_eq!(
        peer["labels"]["pid"],
        json!(std::process::id().to_string()),
        "that of the caller, who lives on"
    );
    assert_eq!(holder(&server, "B")["peer"], peer["id"]);
}

#[test]
fn why_there_is_no_lock_shows_in_the_exit_code() {
    let server = Server::start(SEMAPHORES);
    server.holder("A", 1, "1h");
    for (arguments, expected) in [
        (&["-s", "A", "--try"] as &[_], 75),
        (&["-s", "A", "--wait", "50ms", "-E", "9"], 9),
        (&["-s", "Z"], 69),
        (&["-s", "B", "-n", "4"], 69),
        (&["-s", "B", "--ttl", "10ms"], 2),
    ] {
        let (code, stdout, stderr) = throttle(&server, &[&["acquire"], arguments].concat()).run();
        assert_eq!((code, &*stdout), (expected, ""), "{stderr}");
        assert!(!stderr.is_empty());
    }
    server.until_waiting("A", 0);
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, _, _) = Launch::new(&["acquire", "-s", "A", "--try", "--url", &url]).run();
    assert_eq!(code, 69);
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_that_cannot_be_told_of_is_given_back() {
    let server = Server::start(SEMAPHORES);
    let status = Command::new(env!("CARGO_BIN_EXE_throttle"))
        .args(["acquire", "-s", "A", "--url", &format!("http://127.0.0.1:{}", server.port)])
        .stdout(File::options().write(true).open("/dev/full").expect("a full device"))
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    assert_eq!((status.code(), server.remainder("A")), (Some(1), 1));
}

#[test]
fn a_command_takes_over_what_another_process_acquired() {
    let server = Server::start(SEMAPHORES);
    let (code, stdout, stderr) = script(
        &server,
        r#"eval "$("$0" acquire -s A --ttl 1h)"
        echo "$THROTTLE_PEER_ID" "$THROTTLE_FENCING_TOKEN"
        "$0" run --peer "$THROTTLE_PEER_ID" --ttl 1s -- sh -c '
            sleep 2
            echo "$THROTTLE_PEER_ID" "$THROTTLE_FENCING_TOKEN"
            exit 7'"#,
    );
    assert_eq!((code, &*stderr), (7, ""), "it was renewed all the while");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(server.get("/v1/peers").shape(200)["items"], json!([]), "it is released");
}

#[test]
fn what_is_gone_cannot_be_renewed_or_taken_over() {
    let server = Server::start(SEMAPHORES);
    for (arguments, said) in [
        (&["renew", "7"] as &[_], "throttle: "),
        (&["run", "--peer", "7", "--", "echo", "ran"], "throttle run: "),
    ] {
        let (code, stdout, stderr) = throttle(&server, arguments).run();
        assert_eq!((code, &*stdout), (76, ""), "{stderr}");
        assert!(stderr.starts_with(said), "{stderr}");
    }
    let empty = server.v1_peer("1h");
    let (code, _, stderr) =
        throttle(&server, &["run", "--peer", &empty, "--lost-exit-code", "5", "true"]).run();
    assert_eq!(code, 5);
    assert!(stderr.contains("holds no lock"), "{stderr}");
}
