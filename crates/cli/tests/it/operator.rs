//! The subcommands of an operator, against a real server.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Launch, Server, Terminal, id};

const THROTTLE: &str = env!("CARGO_BIN_EXE_throttle");

/// Runs a subcommand against a server: its exit code, standard output and standard error.
fn throttle(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    Launch::new(arguments).env("THROTTLE_URL", &format!("http://127.0.0.1:{}", server.port)).run()
}

/// What it writes, if all went well.
#[track_caller]
fn said(server: &Server, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = throttle(server, arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

fn json_of(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[arguments, &["-o", "json"]].concat())).expect("JSON")
}

#[test]
fn status_shows_the_semaphores() {
    let server = Server::start(
        "[semaphores]\nA = 2\nlong_name = { max = 1, level = 3 }\n'b/c' = { max = 3, per = '1m' }\npaused = 0",
    );
    server.holder("A", 2, "5m");
    for (peer, name) in [(7, "paused"), (8, "long_name"), (9, "long_name")] {
        let body = format!(r#"{{"expires_in":"10m","peer_id":{peer},"acquired":{{"{name}":1}}}}"#);
        server.post("/restore", &body).is(200, "Ok");
    }
    let waiter = server.peer("5m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    let table = said(&server, &["status"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "SEMAPHORE  ACQUIRED  PENDING  WAITING  LONGEST WAIT  LEVEL  RATE      ORIGIN  NOTE"
    );
    let waits = lines[1].strip_prefix("A          2/2       1        1        ").expect("what is known");
    let wait = waits.split_whitespace().next().expect("a wait");
    assert!(wait.strip_suffix('s').is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{table}");
    assert_eq!(
        lines[2..],
        [
            "b/c        0/3       0        0        -             0      3 per 1m  file",
            "long_name  2/1       0        0        -             3      -         file    over by 1",
            "paused     1/0       0        0        -             0      -         file    paused",
        ]
    );
    assert_eq!(said(&server, &["status", "b/c"]).lines().count(), 2);
    assert_eq!(json_of(&server, &["status", "A"])["items"][0]["holders_total"], 1);
    assert_eq!(json_of(&server, &["status"])["items"].as_array().expect("a list").len(), 4);
    assert!(said(&server, &["status", "--limit", "2"]).contains("There are more"));
    let (code, _, stderr) = throttle(&server, &["status", "a"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("No semaphore is called \"a\"") && stderr.contains("near"), "{stderr}");
}

#[test]
fn status_can_be_watched() {
    let server = Server::start("[semaphores]\nA = 1");
    let url = format!("http://127.0.0.1:{}", server.port);
    let watch = Launch::new(&["status", "--watch"]).env("THROTTLE_URL", &url).start();
    watch.stdout.line("A          0/1");
    server.holder("A", 1, "5m");
    watch.stdout.line("A          1/1");
}

#[test]
fn peers_are_shown_and_released_with_a_reason() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");
    let labels = json!({"host": "w1\u{1b}[31m", "pid": "7"});
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "labels": labels});
    let holder = server.post("/v1/locks", &body.to_string()).shape(201);
    let id = holder["id"].as_str().expect("an id");
    let waiter = server.peer("5m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    let table = said(&server, &["peers"]);
    assert!(table.starts_with("WHO "), "{table}");
    assert!(table.contains("A=1") && table.contains("#1 A=1"), "{table}");
    let row = table.lines().nth(1).expect("a row");
    assert!(
        row.starts_with(&format!("@w1\\u{{1b}}[31m  {id} ")),
        "signs that steer a terminal are escaped: {table}"
    );
    assert!(row.ends_with("  pid 7"), "{table}");
    let expires = row.rsplit_once("in ").and_then(|(_, rest)| rest.split("  ").next()).expect("a time");
    assert!(expires == "5m" || expires.starts_with("4m "), "{table}");
    for label in ["pid:7", "pid=7"] {
        assert_eq!(said(&server, &["peers", "--label", label]).lines().count(), 2);
    }
    assert_eq!(said(&server, &["peers", "--semaphore", "B"]).lines().count(), 1);
    assert_eq!(json_of(&server, &["peers", "--label", "pid:7"])["items"][0]["id"], id);

    let answer = said(&server, &["release", id, "--reason", "stuck since noon"]);
    assert_eq!(answer, format!("Peer {id} is released."));
    let detail = server.get(&format!("/v1/peers/{id}")).problem(410, "peer_gone");
    assert!(detail.contains("stuck since noon"), "{detail}");
    assert!(server.get(&format!("/peers/{waiter}/is_acquired")).text() == "true", "the next one has it");
    let (code, stdout, stderr) = throttle(&server, &["release", id]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("was released by an operator"), "{stderr}");
}

#[test]
fn semaphores_are_set_and_removed() {
    let server = Server::start("[semaphores]\nA = 1");
    let set = |arguments: &[&str]| json_of(&server, &[&["semaphore", "set"], arguments].concat());
    let made = set(&["B", "--max", "3", "--level", "-2", "--per", "1s"]);
    assert_eq!((&made["max"], &made["level"], &made["per"]), (&json!(3), &json!(-2), &json!("1s")));
    let changed = set(&["B", "--max", "0"]);
    assert_eq!((&changed["max"], &changed["level"]), (&json!(0), &json!(-2)), "what is not named stays");
    let changed = set(&["B", "--per", "none", "--deadlock", "detect"]);
    assert_eq!((&changed["per"], &changed["deadlock"]), (&Value::Null, &json!("detect")));
    let sentence = said(&server, &["semaphore", "set", "B", "--max", "4", "--per", "1m"]);
    assert_eq!(
        sentence,
        "Semaphore \"B\" has max 4, level -2, rate 4 per 1m, deadlock detect, order strict; 0 acquired."
    );
    let sentence = said(&server, &["semaphore", "set", "B", "--max", "0"]);
    assert!(sentence.starts_with("Semaphore \"B\" is paused (max 0), level -2, "), "{sentence}");
    assert!(sentence.ends_with(" To resume it: throttle semaphore set B --max 4"), "{sentence}");
    let sentence = said(&server, &["semaphore", "set", "B", "--max", "0"]);
    assert!(sentence.ends_with(" To resume it: throttle semaphore set B --max N"), "{sentence}");
    let (code, _, stderr) = throttle(&server, &["semaphore", "set", "C", "--level", "1"]);
    assert!(code == 1 && stderr.ends_with(" A new one needs its full count: --max N."), "{stderr}");

    server.holder("A", 1, "5m");
    let (code, _, stderr) = throttle(&server, &["semaphore", "rm", "A"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("in use by 1 lock and 0 waiting requests") && stderr.contains("or give --force to"),
        "{stderr}"
    );
    assert_eq!(said(&server, &["semaphore", "rm", "A", "--force"]), "Semaphore \"A\" is removed.");
    server.get("/v1/semaphores/A").problem(404, "unknown_semaphore");
}

#[test]
fn what_is_guessed_is_understood_or_said() {
    let server = Server::start("[semaphores]\nA = 1\nB = 2");
    assert_eq!(said(&server, &["semaphore", "list"]), said(&server, &["status"]));
    assert_eq!(said(&server, &["semaphore", "B"]), said(&server, &["status", "B"]));
    assert_eq!(json_of(&server, &["semaphore", "B"])["items"][0]["max"], 2);
    for (arguments, expected) in [
        (&["semaphore", "pause", "A"] as &[_], "write: throttle semaphore set A --max 0"),
        (&["semaphore", "resume", "a b"], "throttle semaphore set 'a b' --max N"),
        (&["resume", "A"], "throttle semaphore set A --max N"),
        (&["semaphore", "A", "--max", "3"], "set NAME --max N makes or changes it"),
        (&["semaphore", "A", "B"], "set NAME --max N makes or changes it"),
    ] {
        let (code, stdout, stderr) = throttle(&server, arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let (code, _, stderr) = throttle(&server, &["semaphore", "C"]);
    assert!(code == 1 && stderr.contains("No semaphore is called \"C\". "), "{stderr}");
    assert_eq!(server.remainder("A"), 1, "nothing was done");
}

#[test]
fn wrong_command_lines_are_told_as_such() {
    let server = Server::start("[semaphores]\nA = 1");
    let set = "Usage: throttle semaphore set [OPTIONS] <NAME>";
    for (arguments, expected, usage) in [
        (&["semaphore", "set", "A"] as &[_], "name at least one of --max, --level, --per,", set),
        (
            &["status", "--url", "ftp://x"],
            "the server URL is \"ftp://x\"",
            "Usage: throttle status [OPTIONS]",
        ),
        (
            &["run", "-s", "A", "--url", "ftp://x", "true"],
            "the server URL is",
            "Usage: throttle run [OPTIONS]",
        ),
        (&["acquire", "-s", ".."], "the semaphore is \"..\"", "Usage: throttle acquire [OPTIONS]"),
        (&["run", "-n", "2", "-s", "A", "true"], "--count 2 belongs behind", "Usage: throttle run [OPTIONS]"),
        (&["semaphore", "pause", "A"], "--max 0", "Usage: throttle semaphore <NAME>"),
        // Of these clap tells by itself.
        (&["renew", "abc"], "'<PEER>': the id of a peer is a number", ""),
        (&["release", "abc"], "'<PEER>': the id of a peer is a number", ""),
        (&["run", "--peer", "abc", "true"], "'--peer <ID>': the id of a peer is a number", ""),
        (&["semaphore", "set", "A", "--max=-1"], "-1 is not in 0..", ""),
        (
            &["semaphore", "set", "A", "--per", "0s"],
            "a rate is from 1ms to 365 days; none stands for no rate",
            "",
        ),
        (&["run", "-s", "A", "--wait", "soon", "true"], "write a duration with its unit", ""),
        (&["run", "-s", "A", "--ttl", "11years", "true"], "longer than 10 years", ""),
        (&["peers", "--label", "=x"], "the key is missing", ""),
    ] {
        let (code, stdout, stderr) = throttle(&server, arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{stderr}");
        assert!(
            stderr.contains(usage) && stderr.ends_with("For more information, try '--help'."),
            "{stderr}"
        );
        assert!(!stderr.contains("\n\n\n"), "{stderr}");
    }
    assert_eq!(server.remainder("A"), 1, "nothing was done");
    let help = said(&server, &["semaphore", "--help"]);
    assert!(
        help.contains("Usage: throttle semaphore <NAME>\n") && help.contains("<NAME>  Shows that"),
        "{help}"
    );
}

#[test]
fn a_level_is_shown_where_it_means_something() {
    let server = Server::start("[semaphores]\nA = 1\nB = { max = 1, deadlock = 'detect' }");
    let table = said(&server, &["status"]);
    let levels: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split_whitespace().nth(5)).collect();
    assert_eq!(levels, ["0", "-"], "{table}");
    let sentence = said(&server, &["semaphore", "set", "B", "--max", "2"]);
    assert!(sentence.starts_with("Semaphore \"B\" has max 2, no rate, deadlock detect"), "{sentence}");
    let sentence = said(&server, &["semaphore", "set", "A", "--max", "2"]);
    assert!(sentence.starts_with("Semaphore \"A\" has max 2, level 0, no rate"), "{sentence}");
}

#[test]
fn advice_is_for_a_person_at_a_shell() {
    let server = Server::start("[semaphores]\nimport = 1");
    for command in
        [&["status", "imports"] as &[_], &["run", "-s", "imports", "true"], &["acquire", "-s", "imports"]]
    {
        let (code, _, stderr) = throttle(&server, command);
        assert!(code == 1 || code == 69, "{stderr}");
        let advice = "No semaphore is called \"imports\". Known names that are near: \"import\".";
        assert!(stderr.ends_with(advice), "{stderr}");
    }
    for command in [&["status", "zzz"] as &[_], &["run", "-s", "zzz", "true"]] {
        let (_, _, stderr) = throttle(&server, command);
        let advice = "No semaphore is called \"zzz\". throttle status lists those that there are.";
        assert!(stderr.ends_with(advice), "{stderr}");
    }
    for command in [&["release", "7"] as &[_], &["renew", "7"], &["run", "--peer", "7", "true"]] {
        let (code, _, stderr) = throttle(&server, command);
        assert!(code != 0 && stderr.contains("Peer 7 is unknown") && !stderr.contains("/v1/"), "{stderr}");
    }
}

#[test]
fn a_url_that_leads_nowhere_has_a_cause() {
    let server = Server::start("[semaphores]\nA = 1");
    let bare = format!("http://127.0.0.1:{}", server.port);
    let at = |url: &str, command: &[&str]| Launch::new(command).env("THROTTLE_URL", url).run();
    for command in [&["status"] as &[_], &["peers"], &["run", "-s", "A", "--try", "true"]] {
        for path in ["/team", "/v1"] {
            let (code, _, stderr) = at(&format!("{bare}{path}"), command);
            assert!(code == 1 || code == 69, "{stderr}");
            let cause = format!(
                "no Throttle server of this version is at {bare}{path}; is its path right? Without it, it would be {bare}"
            );
            assert!(stderr.ends_with(&cause), "{stderr}");
        }
        let (code, _, stderr) = at(&bare.replace("http:", "https:"), command);
        assert_eq!(code, 69, "{stderr}");
        let cause = " does not speak TLS there; a URL that begins with http:// may be meant";
        assert!(stderr.contains(cause), "{stderr}");
    }
}

#[test]
fn tables_heed_the_width_of_the_terminal() {
    let server =
        Server::start("[semaphores]\n\"a-name-that-goes-on-and-on-and-on\" = { max = 2, level = 7 }\nB = 0");
    let labels =
        json!({"host": "worker-01.example.com", "user": "jane", "program": "import-of-all-customers.sh"});
    let locks = json!({"a-name-that-goes-on-and-on-and-on": 1});
    let body = json!({"locks": locks, "expires_in": "5m", "labels": labels});
    let holder = id(&server.post("/v1/locks", &body.to_string()).shape(201));
    let url = format!("http://127.0.0.1:{}", server.port);
    let show = |columns: usize, command: &str| {
        let script = format!("stty rows 24 cols {columns}; \"$0\" {command}; echo code $?");
        let mut terminal = Terminal::open_with(&[("THROTTLE_URL", &url)], &["sh", "-c", &script, THROTTLE]);
        let text = terminal.text_until("code 0");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= columns), "{text}");
        lines
    };
    let status = show(80, "status");
    assert!(status[0].starts_with("SEMAPHORE") && status[0].ends_with("NOTE"), "{status:?}");
    assert!(
        !status[0].contains("ORIGIN") && status[0].contains("LEVEL"),
        "what says least goes first: {status:?}"
    );
    assert!(status[1].starts_with("B ") && status[1].ends_with("paused"), "{status:?}");
    assert!(status[2].starts_with("a-name-that-") && status[2].contains("…  1/2 "), "{status:?}");
    let peers = show(80, "peers");
    // Who it is goes before what it holds.
    assert!(peers[1].starts_with("import-of-all-customers.sh jane@wor"), "{peers:?}");
    assert!(peers[1].contains(&format!("…  {holder} ")), "{peers:?}");
    assert!(show(160, "status")[2].starts_with("a-name-that-goes-on-and-on-and-on  1/2 "));
    // What reads it as a file gets all of it.
    assert!(said(&server, &["peers"]).contains("import-of-all-customers.sh jane@worker-01.example.com"));
}

#[test]
fn the_file_is_read_again() {
    let launch = Launch::new(&["--port", "0"]).file("[semaphores]\nA = 1").env("THROTTLE_LOG", "info");
    let file = launch.path("throttle.toml");
    let server = Server::launch(launch);
    fs::write(&file, "[semaphores]\nB = 1\n[queue]\nageing_step = '5m'").expect("written");
    let answer = said(&server, &["reload"]);
    assert_eq!(
        answer,
        "Added: B; changed: none; removed: A. Needs a restart: queue. \
         Warning: 1 semaphore of 1 in the configuration is removed: \"A\"."
    );
    // It still does, and no more once the file says again what the start read.
    let unchanged = "Added: none; changed: none; removed: none.";
    assert_eq!(said(&server, &["reload"]), format!("{unchanged} Needs a restart: queue."));
    fs::write(&file, "[semaphores]\nB = 1").expect("written");
    assert_eq!(said(&server, &["reload"]), unchanged);
    fs::write(&file, "[semaphores]\nB = x").expect("written");
    assert_eq!(throttle(&server, &["reload"]).0, 1);
}

#[test]
fn a_server_out_of_reach_has_an_exit_code_of_its_own() {
    let url = format!("http://127.0.0.1:{}", crate::support::free_port());
    let (code, stdout, stderr) = Launch::new(&["status", "--url", &url]).run();
    assert_eq!((code, stdout.as_str()), (69, ""));
    assert!(stderr.contains(&url), "{stderr}");
}
